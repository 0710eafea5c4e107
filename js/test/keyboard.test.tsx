// @vitest-environment jsdom
import { describe, expect, test } from "vitest";
import type { SessionLibrary } from "../src/panel/context";
import { aMessage, aText, aTurn, opening } from "./example";
import { named, painted, press, scene, show, type } from "./shown";

const line = (root: HTMLElement, id: string) => root.querySelector(`[data-queue-id="${id}"]`) as HTMLElement;

describe("the keyboard", () => {
  test("goes to the message box when what had it is gone", async () => {
    const { root, recorder, say } = await show(scene("approval"));
    named(line(root, "que_1"), "Remove")?.focus();
    named(line(root, "que_1"), "Remove")?.click();
    await say(recorder.durable("queue.updated", { items: [], paused: false, rev: 2 }));
    await painted();
    expect(document.activeElement).toBe(named(root, "Message"));
  });

  test("stays where the user took it, whatever goes", async () => {
    const { root, recorder, say } = await show(scene("approval"));
    named(line(root, "que_1"), "Remove")?.focus();
    const elsewhere = document.createElement("input");
    document.body.append(elsewhere);
    elsewhere.focus();
    await say(recorder.durable("queue.updated", { items: [], paused: false, rev: 2 }));
    await painted();
    expect(document.activeElement).toBe(elsewhere);
  });

  test.each(["Enter", "Escape"])("is back on Edit when %s ends the edit of what waits", async (key) => {
    const { root } = await show(scene("approval"));
    named(line(root, "que_1"), "Edit")?.click();
    await painted();
    const box = line(root, "que_1").querySelector("textarea") as HTMLTextAreaElement;
    expect(document.activeElement).toBe(box);
    press(box, key);
    await painted();
    expect(document.activeElement).toBe(named(line(root, "que_1"), "Edit"));
  });

  test.each(["Enter", "Escape"])("is back on the menu when %s ends a new title", async (key) => {
    const { root } = await show(scene("rich"));
    named(root, "This session")?.click();
    await painted();
    named(root, "Rename")?.click();
    await painted();
    press(root.querySelector('[aria-label="Title"]') as HTMLElement, key);
    await painted();
    expect(document.activeElement).toBe(named(root, "This session"));
  });
});

describe("a box that hangs from the header", () => {
  const library = { list: async () => ({ sessions: [], has_more: false }) } as unknown as SessionLibrary;
  const open = async (root: HTMLElement) => {
    named(root, "Sessions")?.click();
    await painted();
    expect(document.activeElement).toBe(root.querySelector("[type=search]"));
  };

  test("closes when the keyboard goes on", async () => {
    const { root } = await show(scene("rich"), { library });
    await open(root);
    named(root, "Message")?.focus();
    await painted();
    expect(root.querySelector("[role=dialog]")).toBeNull();
  });

  test("is closed by the button that opened it", async () => {
    const { root } = await show(scene("rich"), { library });
    await open(root);
    named(root, "Sessions")?.focus(); // as a press of the mouse does
    await painted();
    named(root, "Sessions")?.click();
    await painted();
    expect(root.querySelector("[role=dialog]")).toBeNull();
  });
});

describe("what a screen reader hears", () => {
  const heard = (root: HTMLElement) => root.querySelector(".jp-agent-sr")?.textContent;

  test("is nothing when a session is opened, and its turning points then", async () => {
    const { root, recorder, say } = await show((r) => opening(r, [aMessage("m", "user", [aText("p", 0, "Hi")])]));
    expect(heard(root)).toBe("");
    await say(recorder.durable("turn.started", { turn: aTurn() }, "trn_1"));
    expect(heard(root)).toBe("The agent is working.");
    const ended = { turn: "trn_1", outcome: "completed", error: null, message_ids: [], ended_at: 1 } as const;
    const usage = { input_tokens: 0, output_tokens: 0, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 };
    await say(
      recorder.durable("turn.ended", { ...ended, message_ids: [], usage: { ...usage, cost_usd: null } }, "trn_1"),
    );
    expect(heard(root)).toBe("The agent is ready.");
  });

  test("is not the message that is being written", async () => {
    const { root } = await show(scene("rich"));
    expect(root.querySelector("[role=log]")?.getAttribute("aria-live")).toBe("off");
    type(root, "Hello");
    await painted();
    expect(heard(root)).toBe("");
  });
});
