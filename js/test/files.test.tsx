// @vitest-environment jsdom
import { describe, expect, test } from "vitest";
import type { Command } from "../src/connection";
import type { EventFrame, Part, SentFile, TextPart } from "../src/protocol.gen";
import { aMessage, aText, opening } from "./example";
import type { Recorder } from "./recorder";
import { named, painted, press, show, type, until } from "./shown";

const DATA: SentFile = { type: "file", sha256: "a".repeat(64), mime: "text/csv", name: "penguins.csv", bytes: 2_048 };
const PLOT: SentFile = { type: "file", sha256: "b".repeat(64), mime: "image/png", name: "plot.png", bytes: 900 };
const aFile = (file: SentFile, idx: number): Part => ({ ...file, id: `prt_${file.name}`, idx, bytes: file.bytes ?? 0 });

const said = (recorder: Recorder) =>
  opening(recorder, [
    aMessage("msg_a", "user", [aText("prt_a", 0, "What is in these?"), aFile(DATA, 1), aFile(PLOT, 2)]),
    aMessage("msg_b", "assistant", [aText("prt_b", 0, "Penguins.")]),
  ]);

async function edit(root: HTMLElement): Promise<void> {
  const message = root.querySelector('[data-message-id="msg_a"]') as HTMLElement;
  named(message, "Message actions")?.click();
  await painted();
  named(message, "Edit and resend")?.click();
  await painted();
}

const attached = (root: HTMLElement) =>
  [...root.querySelectorAll('[aria-label="Attached"] .jp-agent-file-name')].map((name) => name.textContent);

describe("a message with files, edited and sent again", () => {
  test("keeps its files", async () => {
    const { root, road } = await show(said);
    await edit(root);
    expect(attached(root)).toEqual(["penguins.csv", "plot.png"]);
    press(type(root, "And in these?"), "Enter");
    expect(road.posted.at(-1)).toMatchObject({
      type: "message.send",
      d: { parts: [{ type: "text", text: "And in these?" }, DATA, PLOT] },
    });
    await painted();
    expect(attached(root)).toEqual([]);
    expect(root.querySelector('[data-message-status="sending"]')?.textContent).toContain("penguins.csv");
  });

  test("goes without a file that is taken away", async () => {
    const { root, road } = await show(said);
    await edit(root);
    named(root, "Remove penguins.csv")?.click();
    await painted();
    expect(attached(root)).toEqual(["plot.png"]);
    expect(document.activeElement).toBe(named(root, "Message"));
    press(named(root, "Message") as HTMLElement, "Enter");
    expect(road.posted.at(-1)).toMatchObject({ d: { parts: [{ text: "What is in these?" }, PLOT] } });
  });

  test("may be its files alone", async () => {
    const { root, road } = await show(said);
    await edit(root);
    type(root, "");
    await painted();
    named(root, "Send")?.click();
    expect(road.posted.at(-1)?.d).toMatchObject({ parts: [DATA, PLOT] });
  });

  test("gives words and files back when it is refused", async () => {
    const { root, road, recorder, say } = await show(said);
    await edit(root);
    press(named(root, "Message") as HTMLElement, "Enter");
    const { cmd_id } = road.posted.at(-1) as Command;
    const error = { code: "queue_full", message: "Too many messages wait.", retryable: false };
    await say(recorder.transient("ack", { cmd_id, status: "rejected", result: null, error }));
    await until(() => expect(root.textContent).toContain("Not sent. Too many messages wait."));
    named(root, "Edit")?.click();
    await painted();
    expect((named(root, "Message") as HTMLTextAreaElement).value).toBe("What is in these?");
    expect(attached(root)).toEqual(["penguins.csv", "plot.png"]);
  });

  test("what waited behind the first message is kept in sight when the conversation begins anew", async () => {
    const waits = { id: "que_1", message_id: "msg_q", rev: 1, created_at: 0, task_id: null, user: "me" };
    const queue = [{ ...waits, when_busy: "queue" as const, parts: [aText("prt_q", 0, "And then?") as TextPart] }];
    const { root, road, recorder, say } = await show((r) => {
      const [snapshot, caught_up] = said(r) as [EventFrame, EventFrame];
      return [{ ...snapshot, d: { ...snapshot.d, queue, paused: true } } as EventFrame, caught_up];
    });
    await edit(root);
    const { cmd_id, type: kind } = road.posted.at(-1) as Command;
    expect(kind).toBe("session.clear");
    await say(recorder.transient("ack", { cmd_id, status: "accepted", result: {}, error: null }));
    await until(() => expect(root.textContent).toContain("Not sent. It waited behind what left"));
    named(root, "Retry")?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "message.send", d: { parts: [{ text: "And then?" }] } });
  });

  test("a file's name that is markup is shown, not obeyed", async () => {
    const evil = { ...DATA, name: "<img src=x onerror=alert(1)>.csv" };
    const { root } = await show((r) =>
      opening(r, [aMessage("msg_a", "user", [aText("prt_a", 0, "?"), aFile(evil, 1)])]),
    );
    await edit(root);
    expect(attached(root)).toEqual([evil.name]);
    expect(root.querySelector("img")).toBeNull();
  });
});
