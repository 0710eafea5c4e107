import { describe, expect, test } from "vitest";
import type { Frame, ToolPart } from "../src/protocol.gen";
import { prependHistory, reduce } from "../src/reduce";
import { emptyView, type View } from "../src/view";
import { APPROVAL, aMessage, aText, aTool, aTurn, opening, SID } from "./example";
import { Recorder } from "./recorder";

function start(
  messages = [aMessage("msg_b", "assistant", [aText("prt_1", 0, "", "streaming")], { turn_id: "trn_2" })],
) {
  const recorder = new Recorder(SID);
  recorder.seq = 10;
  const view = fold(emptyView, opening(recorder, messages, { turn: aTurn() }));
  return { recorder, view };
}

function fold(view: View, frames: readonly Frame[]): View {
  return frames.reduce(reduce, view);
}

function textOf(view: View, part_id: string): string | undefined {
  const part = view.messages.flatMap((message) => message.parts).find((candidate) => candidate.id === part_id);
  return part?.type === "text" ? part.text : undefined;
}

const delta = (at: number, text: string) => ({ part_id: "prt_1", at, field: "text" as const, delta: text });

describe("order", () => {
  test("an event is applied once, however often it comes", () => {
    const { recorder, view } = start();
    const frame = recorder.durable("part.delta", delta(0, "Hello"));
    expect(textOf(fold(view, [frame, frame, frame]), "prt_1")).toBe("Hello");
  });

  test("a missing event makes the view stale and changes nothing else", () => {
    const { recorder, view } = start();
    recorder.durable("part.delta", delta(0, "Hello"));
    const after = reduce(view, recorder.durable("part.delta", delta(5, " there")));
    expect(after.stale).toBe("gap");
    expect({ ...after, stale: null }).toEqual(view);
  });

  test("what was missing puts the view right when it is replayed", () => {
    const { recorder, view } = start();
    const lost = recorder.durable("part.delta", delta(0, "Hello"));
    const next = recorder.durable("part.delta", delta(5, " there"));
    const after = fold(view, [next, lost, next, recorder.transient("caught_up", { seq: recorder.seq })]);
    expect(textOf(after, "prt_1")).toBe("Hello there");
    expect(after.stale).toBeNull();
  });

  test("an event of another epoch asks for a new beginning", () => {
    const { view } = start();
    const other = new Recorder(SID, "ep2");
    other.seq = 10;
    expect(reduce(view, other.durable("session.updated", { patch: { title: "x" }, rev: 2 })).stale).toBe("epoch");
  });

  test("the events of a batch are applied in order", () => {
    const { recorder, view } = start();
    const events = [recorder.durable("part.delta", delta(0, "a")), recorder.durable("part.delta", delta(1, "b"))];
    const batch: Frame = { v: 1, sid: SID, ep: recorder.ep, batch: events };
    const after = reduce(view, batch);
    expect([textOf(after, "prt_1"), after.seq]).toEqual(["ab", 12]);
  });

  test("caught_up with a higher seq than ours shows that the replay had a hole", () => {
    const { recorder, view } = start();
    const after = reduce({ ...view, syncing: true }, recorder.transient("caught_up", { seq: 12 }));
    expect([after.syncing, after.stale]).toEqual([false, "gap"]);
  });

  test("a part of a kind that a newer server has is kept as it is, and takes no text from us", () => {
    const { recorder, view } = start();
    const part = { id: "prt_new", idx: 0, type: "hologram", state: "spinning" };
    const message = aMessage("msg_new", "assistant", [], { status: "streaming" });
    const frames = [
      recorder.durable("message.added", { message }),
      recorder.durable("part.added", { message_id: "msg_new", part: part as never }),
      recorder.durable("part.delta", { part_id: "prt_new", at: 0, field: "text", delta: "?" }),
      recorder.durable("turn.status", { status: "dreaming" as never, attempt: 0 }),
    ];
    const after = frames.reduce((last, frame) => reduce(last, frame), view);
    expect(after.stale).toBeNull();
    expect(after.seq).toBe(recorder.seq);
    expect(after.messages.at(-1)?.parts).toEqual([part]);
  });

  test("an unknown event has its place in the order and no other effect", () => {
    const { recorder, view } = start();
    const frame = { ...recorder.durable("step.ended", {} as never), type: "x-future" } as unknown as Frame;
    const after = reduce(view, frame);
    expect(after.seq).toBe(11);
    expect(after.messages).toBe(view.messages);
  });
});

describe("snapshots", () => {
  test("one older than what was applied is ignored", () => {
    const { recorder, view } = start();
    const early = opening(recorder, [])[0] as Frame;
    const after = reduce(view, recorder.durable("part.delta", delta(0, "Hello")));
    expect(reduce(after, early)).toBe(after);
  });

  test("one that was asked for counts, whatever its age", () => {
    const { recorder, view } = start();
    const early = opening(recorder, [])[0] as Frame;
    const after = reduce(view, recorder.durable("part.delta", delta(0, "Hello")));
    expect(reduce({ ...after, syncing: true }, early).messages).toEqual([]);
  });
});

describe("deltas", () => {
  test("an overlap is skipped", () => {
    const { recorder, view } = start();
    const after = fold(view, [
      recorder.durable("part.delta", delta(0, "Hello")),
      recorder.durable("part.delta", delta(3, "lo there")),
    ]);
    expect(textOf(after, "prt_1")).toBe("Hello there");
  });

  test("offsets count UTF-16 units", () => {
    const { recorder, view } = start();
    const after = fold(view, [
      recorder.durable("part.delta", delta(0, "a🐧")),
      recorder.durable("part.delta", delta(3, "b")),
    ]);
    expect(textOf(after, "prt_1")).toBe("a🐧b");
  });

  test("one that begins beyond the end is a gap, and its seq is not taken", () => {
    const { recorder, view } = start();
    const after = reduce(view, recorder.durable("part.delta", delta(4, "x")));
    expect([after.stale, after.seq]).toEqual(["gap", 10]);
  });

  test("a merged range that straddles the cursor adds only what is new", () => {
    const { recorder, view } = start();
    const before = reduce(view, recorder.durable("part.delta", delta(0, "Hel")));
    const { seq: _, ...merged } = { ...recorder.durable("part.delta", delta(0, "Hello there")) };
    const after = reduce(before, { ...merged, covers: [11, 14] } as Frame);
    expect([textOf(after, "prt_1"), after.seq]).toEqual(["Hello there", 14]);
  });

  test("only the changed part and its message get a new identity", () => {
    const other = aMessage("msg_0", "user", [aText("prt_0", 0, "Hi")]);
    const mine = aMessage("msg_b", "assistant", [aText("prt_2", 0, "done"), aText("prt_1", 1, "", "streaming")]);
    const { recorder, view } = start([other, mine]);
    const after = reduce(view, recorder.durable("part.delta", delta(0, "x")));
    expect(after.messages[0]).toBe(view.messages[0]);
    expect(after.messages[1]?.parts[0]).toBe(view.messages[1]?.parts[0]);
    expect(after.messages[1]?.parts[1]).not.toBe(view.messages[1]?.parts[1]);
  });

  test("part.done overwrites what the deltas built", () => {
    const { recorder, view } = start();
    const after = fold(view, [
      recorder.durable("part.delta", delta(0, "Helo")),
      recorder.durable("part.done", { message_id: "msg_b", part: aText("prt_1", 0, "Hello") }),
    ]);
    expect(after.messages[0]?.parts).toEqual([aText("prt_1", 0, "Hello")]);
  });
});

describe("tools", () => {
  const tool = (changes: Partial<ToolPart>) =>
    aMessage("msg_b", "assistant", [aTool("prt_t", 0, "run_cell", changes)], { turn_id: "trn_2" });
  const partOf = (view: View) => view.messages[0]?.parts[0] as ToolPart;

  test("a state that is older than ours is dropped", () => {
    const { recorder, view } = start([tool({ state: "input-available", running: true, rev: 4 })]);
    const late = recorder.durable("tool.state", { part_id: "prt_t", state: "input-streaming", running: false, rev: 3 });
    expect(partOf(reduce(view, late)).state).toBe("input-available");
  });

  test("a final state is final", () => {
    const { recorder, view } = start([tool({ state: "output-denied", rev: 4 })]);
    const late = recorder.durable("tool.state", {
      part_id: "prt_t",
      state: "output-available",
      running: false,
      rev: 5,
    });
    expect(partOf(reduce(view, late)).state).toBe("output-denied");
  });

  test("the input's JSON text goes when the input is whole", () => {
    const { recorder, view } = start([tool({ state: "input-streaming", input: null, input_json: '{"a"' })]);
    const whole = recorder.durable("tool.state", {
      part_id: "prt_t",
      state: "input-available",
      running: false,
      input: { a: 1 },
      rev: 2,
    });
    expect(partOf(reduce(view, whole))).toMatchObject({ input: { a: 1 } });
    expect(partOf(reduce(view, whole))).not.toHaveProperty("input_json");
  });

  test("progress without a seq is shown and not counted", () => {
    const { recorder, view } = start([tool({ state: "input-available", running: true, rev: 2 })]);
    const progress = recorder.transient("tool.state", {
      part_id: "prt_t",
      state: "input-available",
      running: true,
      rev: 2,
      progress: "3 of 7",
    });
    expect([partOf(reduce(view, progress)).progress, reduce(view, progress).seq]).toEqual(["3 of 7", 10]);
  });

  test("the end of the turn closes every part that is still open", () => {
    const message = aMessage(
      "msg_b",
      "assistant",
      [aText("prt_1", 0, "so fa", "streaming"), aTool("prt_t", 1, "run_cell", { state: "approval-requested", rev: 2 })],
      { turn_id: "trn_2" },
    );
    const { recorder, view } = start([message]);
    const usage = {
      input_tokens: 3,
      output_tokens: 5,
      cache_read_input_tokens: 0,
      cache_creation_input_tokens: 0,
      cost_usd: null,
    };
    const after = reduce(
      view,
      recorder.durable("turn.ended", {
        turn: "trn_2",
        outcome: "stopped",
        error: null,
        usage,
        message_ids: ["msg_b"],
        ended_at: 1,
      }),
    );
    expect(after.messages[0]?.parts.map((part) => ("state" in part ? part.state : null))).toEqual([
      "done",
      "output-error",
    ]);
    expect(
      partOf({ ...after, messages: [{ ...message, parts: after.messages[0]?.parts.slice(1) ?? [] }] }).reason,
    ).toBe("stopped");
    expect([after.turn, after.session?.status, after.session?.usage.output_tokens]).toEqual([null, "ready", 5]);
  });
});

describe("the rest of a session", () => {
  test("an approval stays open until it is answered", () => {
    const { recorder, view } = start();
    const asked = reduce(view, recorder.durable("approval.requested", { approval: APPROVAL }));
    expect(asked.approvals).toHaveLength(1);
    const answered = recorder.durable("approval.resolved", {
      id: "apr_1",
      rev: 2,
      decision: "allow",
      by: "me",
      road: "panel",
      reason: null,
    });
    expect(reduce(asked, answered).approvals).toEqual([]);
  });

  test("parts of a step that is asked again are kept, and marked", () => {
    const { recorder, view } = start();
    const after = reduce(view, recorder.durable("step.reset", { step: 1, parts: ["prt_1"] }));
    expect(after.messages[0]?.parts[0]).toMatchObject({ superseded: true });
  });

  test("older messages join before the ones we have, once each", () => {
    const { view } = start();
    const older = [aMessage("msg_0", "user", []), aMessage("msg_b", "assistant", [])];
    const after = prependHistory(view, { messages: older, has_more: false, before: null });
    expect(after.messages.map((message) => message.id)).toEqual(["msg_0", "msg_b"]);
  });

  test("a message too large for a frame keeps the parts that are here", () => {
    const text = (idx: number) => aText(`prt_${idx}`, idx, `${idx}`);
    const { recorder, view } = start([aMessage("msg_b", "assistant", [0, 1, 2].map(text), { status: "streaming" })]);
    const message = aMessage("msg_b", "assistant", [text(2), text(3)], { status: "complete" });
    const after = reduce(view, recorder.durable("message.updated", { message }));
    expect(after.messages[0]?.parts.map((part) => part.idx)).toEqual([0, 1, 2, 3]);
    expect(after.messages[0]?.status).toBe("complete");
  });

  test("the earlier parts of the oldest message come with it", () => {
    const text = (idx: number) => aText(`prt_${idx}`, idx, `${idx}`);
    const { view } = start([aMessage("msg_b", "assistant", [text(3), text(4)], { turn_id: "trn_2" })]);
    const rest = { has_more: true, before: "prt_1" };
    const after = prependHistory(view, { messages: [aMessage("msg_b", "assistant", [text(1), text(2)])], ...rest });
    expect(after.messages[0]?.parts.map((part) => part.idx)).toEqual([1, 2, 3, 4]);
    expect(after.page).toEqual({ before: "prt_1", has_more: true });
  });
});
