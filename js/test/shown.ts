/** A panel on a page of its own, on a road that plays what the test says. */
import { afterEach, vi } from "vitest";
import type { JupyterPage } from "../src/connections/page";
import { ReplayConnection } from "../src/connections/replay";
import { mountPanel, type PanelHandle, type PanelOptions } from "../src/panel";
import type { EventFrame, Frame } from "../src/protocol.gen";
import { SCENES, SID } from "./example";
import { Recorder } from "./recorder";

/** The latest one shown. */
export let panel: PanelHandle | null = null;

afterEach(async () => {
  await painted(); // effects that wait for a frame would find the page gone
  panel?.dispose();
  panel = null;
  await painted(); // so does what disposing begins
  document.body.replaceChildren();
  sessionStorage.clear();
  vi.unstubAllGlobals();
});

export interface Shown {
  root: HTMLElement;
  road: ReplayConnection;
  recorder: Recorder;
  say(...frames: EventFrame[]): Promise<void>;
}

/** Mount a panel and let it follow the frames that `begin` makes. */
export async function show(
  begin: (recorder: Recorder) => Frame[],
  options: PanelOptions = {},
  page: JupyterPage | null = null,
  name: "panel" | "comm" = "panel",
): Promise<Shown> {
  const recorder = new Recorder(SID);
  const host = document.createElement("div");
  document.body.append(host);
  const road = Object.assign(new ReplayConnection(begin(recorder)), { page, road: name }) as ReplayConnection;
  panel = mountPanel(host, road, options);
  const say = async (...frames: EventFrame[]) => {
    for (const frame of frames) road.play(frame);
    await painted();
  };
  await painted();
  return { root: host.querySelector(".jp-agent") as HTMLElement, road, recorder, say };
}

/** Until everything that was said is on screen: what follows the first change waits for a frame. */
export async function painted(): Promise<void> {
  await settled();
  await settled();
}

/** Until the next frame has been drawn. */
export function settled(): Promise<void> {
  return new Promise((done) => requestAnimationFrame(() => done()));
}

/** Until this holds of what no frame tells of; longer than it takes on any machine. */
export function until<T>(holds: () => T): Promise<T> {
  return vi.waitFor(holds, { timeout: 20_000 });
}

export const scene = (name: string) => SCENES[name] as (recorder: Recorder) => EventFrame[];
export const named = (root: ParentNode, name: string) =>
  [...root.querySelectorAll<HTMLElement>("button, textarea, [role=radiogroup]")].find(
    (element) => (element.getAttribute("aria-label") ?? element.textContent?.trim()) === name,
  );

export function type(root: ParentNode, text: string): HTMLTextAreaElement {
  const box = named(root, "Message") as HTMLTextAreaElement;
  box.value = text;
  box.dispatchEvent(new Event("input", { bubbles: true }));
  return box;
}

export function press(element: HTMLElement, key: string, more: KeyboardEventInit = {}): KeyboardEvent {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  element.dispatchEvent(event);
  return event;
}
