// @vitest-environment jsdom
import { describe, expect, test, vi } from "vitest";
import type { Command } from "../src/connection";
import type { JupyterPage } from "../src/connections/page";
import type { SessionChange, SessionLibrary } from "../src/panel/context";
import type { OutcomeKind, Part, QueueItem, Scope, Session, TurnError } from "../src/protocol.gen";
import { APPROVAL, aMessage, aSession, aTask, aText, aTool, aTurn, opening, SID, USAGE } from "./example";
import type { Recorder } from "./recorder";
import { named, painted, panel, press, scene, settled, show, type, until } from "./shown";

describe("the DOM that others rely on", () => {
  test("the root says which session it shows and how it is", async () => {
    const { root } = await show(scene("rich"));
    expect([root.dataset.session, root.dataset.status]).toEqual([SID, "ready"]);
  });

  test("messages and parts say what they are", async () => {
    const { root } = await show(scene("rich"));
    const roles = [...root.querySelectorAll<HTMLElement>("[data-message-id]")].map((element) => element.dataset.role);
    expect(roles).toEqual(["user", "assistant"]);
    const failed = root.querySelector<HTMLElement>('[data-part="tool"][data-tool="edit_cell"]');
    expect(failed?.dataset.state).toBe("output-error");
    expect(root.querySelectorAll('[data-part="reasoning"]')).toHaveLength(1);
  });

  test("the composer, the mode and the buttons have their names", async () => {
    const { root } = await show(scene("rich"), { onNew: () => {} });
    for (const name of ["Message", "Send", "Mode", "New session"]) expect(named(root, name)).toBeDefined();
    const radios = [...root.querySelectorAll<HTMLInputElement>("[role=radiogroup] input[type=radio]")];
    expect(radios.map((radio) => [radio.closest("label")?.textContent, radio.checked])).toEqual([
      ["Plan", false],
      ["Build", true],
    ]);
  });

  test("what waits can be found by its id", async () => {
    const { root } = await show(scene("approval"));
    expect([...root.querySelectorAll<HTMLElement>("[data-queue-id]")].map((item) => item.dataset.queueId)).toEqual([
      "que_1",
      "que_2",
    ]);
    expect(root.textContent).toContain("2 queued");
  });
});

describe("the composer", () => {
  test("Enter sends and empties the box", async () => {
    const { root, road } = await show(scene("rich"));
    const box = type(root, "Hello");
    await settled();
    press(box, "Enter");
    await settled();
    expect(road.posted.at(-1)).toMatchObject({
      type: "message.send",
      d: { parts: [{ type: "text", text: "Hello" }], when_busy: "queue" },
    });
    expect(box.value).toBe("");
    expect(root.querySelector('[data-message-status="sending"]')?.textContent).toBe("Hello");
  });

  test("Shift+Enter breaks the line, and Enter that ends a composition is the input method's", async () => {
    const { root, road } = await show(scene("rich"));
    const box = type(root, "Hello");
    await settled();
    const sent = road.posted.length;
    expect(press(box, "Enter", { shiftKey: true }).defaultPrevented).toBe(false);
    expect(press(box, "Enter", { isComposing: true }).defaultPrevented).toBe(false);
    expect(press(box, "Enter", { keyCode: 229 }).defaultPrevented).toBe(false);
    expect(road.posted).toHaveLength(sent);
  });

  test("Send becomes Stop while a turn runs, and stops that turn", async () => {
    const { root, road } = await show(scene("streaming"));
    expect(named(root, "Send")).toBeUndefined();
    named(root, "Stop")?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "turn.stop", d: { turn: "trn_2" } });
  });

  test("what is written while a turn runs can be sent, too", async () => {
    const { root } = await show(scene("streaming"));
    type(root, "And then?");
    await settled();
    expect(named(root, "Send")).toBeDefined();
    expect(named(root, "Stop")).toBeDefined();
  });

  test("while a turn runs a message can steer it, by its button or Alt+Enter", async () => {
    const { root, road } = await show(scene("streaming"));
    expect(named(root, "Steer")).toBeUndefined();
    const box = type(root, "Shorter");
    await settled();
    named(root, "Steer")?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "message.send", d: { when_busy: "steer" } });
    type(root, "Shorter still");
    await settled();
    press(box, "Enter", { altKey: true });
    expect(road.posted.at(-1)).toMatchObject({ d: { when_busy: "steer", parts: [{ text: "Shorter still" }] } });
  });

  test("while an answer is awaited a message can stand for No", async () => {
    const { root, road } = await show(scene("approval"));
    type(root, "Rather not");
    await settled();
    named(root, "Deny and send")?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "message.send", d: { deny_pending: true } });
  });

  describe("a message that is refused", () => {
    const refused = { status: "rejected" as const, result: null };
    const busy = { code: "busy", message: "Not now.", retryable: false };

    /** Say something, have it refused, and have begun to write something else. */
    async function refuse(error = busy) {
      const shown = await show(scene("rich"));
      const box = type(shown.root, "Hello");
      await settled();
      press(box, "Enter");
      await settled();
      type(shown.root, "What next?");
      const order = shown.road.posted.at(-1) as { cmd_id: string; d: { id: string } };
      await shown.say(shown.recorder.transient("ack", { cmd_id: order.cmd_id, ...refused, error }));
      return { ...shown, box, order, unsent: () => shown.root.querySelector('[data-message-status="unsent"]') };
    }

    test("stays in sight, and leaves alone what is being written", async () => {
      const { box, unsent } = await refuse();
      expect(unsent()?.textContent).toContain("Hello");
      expect(unsent()?.textContent).toContain("Not now.");
      expect(box.value).toBe("What next?");
    });

    test("can be written on, behind what stands in the box", async () => {
      const { root, box, unsent } = await refuse();
      named(root, "Edit")?.click();
      await painted();
      expect(box.value).toBe("What next?\n\nHello");
      expect(unsent()).toBeNull();
    });

    test("can be sent again, as a new message", async () => {
      const { root, road, order, unsent } = await refuse();
      named(root, "Retry")?.click();
      await painted();
      const again = road.posted.at(-1) as { cmd_id: string; type: string; d: { id: string; parts: object[] } };
      expect(again.type).toBe("message.send");
      expect(again.d.parts).toEqual([{ type: "text", text: "Hello" }]);
      expect(again.cmd_id).not.toBe(order.cmd_id);
      expect(again.d.id).not.toBe(order.d.id);
      expect(unsent()).toBeNull();
    });

    test("can be discarded", async () => {
      const { root, box, unsent } = await refuse();
      named(root, "Discard")?.click();
      await painted();
      expect(unsent()).toBeNull();
      expect(box.value).toBe("What next?");
      expect(sessionStorage.getItem(`jupyter_agent:outbox:${SID}`)).toBeNull();
    });

    test("for what passes waits, and says why", async () => {
      const { root, unsent } = await refuse({ code: "closing", message: "The session is closing.", retryable: true });
      expect(unsent()).toBeNull();
      expect(root.querySelector('[data-message-status="sending"]')?.textContent).toContain(
        "Not sent yet. The session is closing.",
      );
    });
  });

  test("the mode switch asks for the other mode", async () => {
    const { root, road } = await show(scene("rich"));
    root.querySelector<HTMLInputElement>('[role=radiogroup] input[value="plan"]')?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "session.set", d: { mode: "plan" } });
  });

  test("the mode that was chosen stays shown, unless it is refused", async () => {
    const { root, road, recorder, say } = await show(scene("rich"));
    const plan = root.querySelector<HTMLInputElement>('[role=radiogroup] input[value="plan"]') as HTMLInputElement;
    const answer = (status: "accepted" | "rejected") => {
      const { cmd_id } = road.posted.at(-1) as { cmd_id: string };
      const error = status === "rejected" ? { code: "busy", message: "Not now.", retryable: false } : null;
      return say(recorder.transient("ack", { cmd_id, status, result: null, error }));
    };
    plan.click();
    await answer("rejected");
    expect(plan.checked).toBe(false);
    plan.click();
    await answer("accepted"); // its event is still on the way
    expect(plan.checked).toBe(true);
    await say(recorder.durable("session.updated", { patch: { mode: "plan" }, rev: 2 }));
    expect(plan.checked).toBe(true);
    await say(recorder.durable("session.updated", { patch: { mode: "build" }, rev: 3 }));
    expect(plan.checked).toBe(false);
  });
});

describe("what is too large for a frame", () => {
  const PAGE: JupyterPage = { base_url: "https://hub.example/user/me/", token: "secret" };
  const output = (text: string) => ({ model: null, display: [{ type: "text" as const, text }] });
  const cut = aTool("prt_1", 0, "run_cell", { output: output("the beginning"), truncated: true });
  const whole = { ...cut, output: output("the beginning and the end"), truncated: false };
  const begin = (recorder: Recorder) => opening(recorder, [aMessage("msg_1", "assistant", [cut], { truncated: true })]);
  const answering = (status: number, body: object) => {
    const asked: { url: string; init: RequestInit }[] = [];
    vi.stubGlobal("fetch", async (url: URL, init: RequestInit) => {
      asked.push({ url: String(url), init });
      return new Response(JSON.stringify(body), { status });
    });
    return asked;
  };
  const openCard = async (root: HTMLElement) => {
    root.querySelector<HTMLElement>(".jp-agent-line")?.click();
    await painted();
  };

  test("a part that came cut shows its preview, and all of it when asked to", async () => {
    const asked = answering(200, { part: whole });
    const { root } = await show(begin, {}, PAGE);
    await openCard(root);
    expect(root.textContent).toContain("the beginning");
    expect(root.textContent).not.toContain("This message is shortened.");
    named(root, "Show all")?.click();
    await until(() => expect(root.textContent).toContain("and the end"));
    expect(named(root, "Show all")).toBeUndefined();
    expect(asked[0]?.url).toBe(
      `https://hub.example/user/me/jupyter-agent/api/v1/sessions/${SID}/messages/msg_1/parts/prt_1`,
    );
    expect(asked[0]?.init.headers).toMatchObject({ Authorization: "token secret" });
  });

  test("why all of it can't be had is said, and it can be asked for again", async () => {
    answering(404, { error: { code: "unknown_part", message: "There is no such part." } });
    const { root } = await show(begin, {}, PAGE);
    await openCard(root);
    named(root, "Show all")?.click();
    await until(() => expect(root.textContent).toContain("There is no such part."));
    answering(200, { part: whole });
    named(root, "Show all")?.click();
    await until(() => expect(root.textContent).toContain("and the end"));
  });

  test("a page without a way to the server says where it can be seen", async () => {
    const { root } = await show(begin);
    await openCard(root);
    expect(named(root, "Show all")).toBeUndefined();
    expect(root.textContent).toContain("side panel");
  });

  test("a message over the limit goes up as a file, and its beginning is sent with it", async () => {
    const file = { sha256: "0".repeat(64), mime: "text/plain", name: "message.txt", bytes: 5_000_000 };
    const asked = answering(201, { attachment: file });
    const { root, road } = await show(scene("rich"), {}, PAGE);
    const box = type(root, "x".repeat(5_000_000));
    await settled();
    press(box, "Enter");
    await until(() => expect(road.posted.at(-1)?.type).toBe("message.send"));
    const { parts } = (road.posted.at(-1) as Command).d as { parts: { type: string; text?: string }[] };
    expect(parts[0]?.text).toMatch(/^x{500}…/);
    expect(parts[1]).toEqual({ ...file, type: "file" });
    expect(asked[0]?.url).toContain("/attachments?name=message.txt");
    expect((asked[0]?.init.body as Blob | undefined)?.size).toBe(5_000_000);
  });

  test("a message over the limit that can't go up comes back, and the fault is said", async () => {
    const { root, road } = await show(scene("rich"));
    const box = type(root, "x".repeat(2_000_000));
    await settled();
    press(box, "Enter");
    await until(() => expect(root.textContent).toContain("This message is too long"));
    named(root, "Edit")?.click();
    await painted();
    expect(box.value).toHaveLength(2_000_000);
    expect(road.posted.map((order) => order.type)).not.toContain("message.send");
  });
});

describe("approvals", () => {
  test("show the change with its signs, and no parameters", async () => {
    const { root } = await show(scene("approval"));
    const card = root.querySelector("[data-approval-id]") as HTMLElement;
    expect(card.querySelectorAll(".jp-agent-diff-added")).toHaveLength(3);
    expect(card.querySelectorAll(".jp-agent-diff-removed")).toHaveLength(3);
    expect(card.textContent).not.toContain("base_hash");
  });

  test("Allow allows once", async () => {
    const { root, road } = await show(scene("approval"));
    named(root, "Allow")?.click();
    expect(road.posted.at(-1)).toMatchObject({
      type: "approval.answer",
      d: { id: "apr_1", rev: 1, decision: "allow", scope: "once" },
    });
  });

  test("an answer leaves the keyboard in the composer, where Ctrl+Enter allows the next", async () => {
    const { root, road } = await show(scene("approval"));
    const box = named(root, "Message") as HTMLElement;
    press(box, "Enter");
    expect(road.posted.at(-1)?.type).not.toBe("approval.answer");
    press(box, "Enter", { ctrlKey: true });
    expect(road.posted.at(-1)).toMatchObject({ type: "approval.answer", d: { decision: "allow" } });
    named(root, "Allow")?.focus();
    named(root, "Allow")?.click();
    expect(document.activeElement).toBe(box);
  });

  test("the wider answer is one step away", async () => {
    const { root, road } = await show(scene("approval"));
    named(root, "More choices")?.click();
    await settled();
    named(root, "Allow for this session")?.click();
    expect(road.posted.at(-1)).toMatchObject({ d: { decision: "allow", scope: "session" } });
  });

  const asking = (scopes: Scope[]) => (recorder: Recorder) =>
    opening(recorder, [aMessage("msg_b", "assistant", [ASKED], { turn_id: "trn_2", status: "streaming" })], {
      turn: aTurn({ status: "awaiting" }),
      approvals: [{ ...APPROVAL, scopes, input_hash: "abc", preview: [] }],
    });
  const ASKED = aTool("prt_c", 0, "run_cell", {
    state: "approval-requested",
    input: { cell_id: "c1", source: "x = 1" },
  });

  test("a menu is walked by arrows, closed by Escape, and gives the keyboard back", async () => {
    const { root, road } = await show(asking(["once", "session", "always"]));
    named(root, "More choices")?.click();
    await painted();
    const menu = root.querySelector("[role=menu]") as HTMLElement;
    await until(() => expect(document.activeElement?.textContent).toBe("Allow for this session"));
    press(menu, "ArrowDown");
    expect(document.activeElement?.textContent).toBe("Always allow in this notebook");
    press(menu, "Escape");
    await settled();
    expect(root.querySelector("[role=menu]")).toBeNull();
    expect(document.activeElement).toBe(named(root, "More choices"));
    named(root, "More choices")?.click();
    await painted();
    named(root, "Always allow in this notebook")?.click();
    expect(road.posted.at(-1)).toMatchObject({ d: { decision: "allow", scope: "always", input_hash: "abc" } });
  });

  test("a change can be allowed for good in the notebook's folder, code cannot", async () => {
    const told = (path: string, effect: "write" | "execute") => (recorder: Recorder) => {
      const tool = aTool("prt_c", 0, "edit_cell", { state: "approval-requested", effect, input: { path } });
      const welcome = recorder.transient("welcome", {
        protocol: 1,
        server: "jupyter-agent-panel/0.1.0",
        features: ["rule_patterns"],
        limits: { frame_bytes: 1 << 20, page: 25, attachment_bytes: 20 << 20 },
        user: "me",
      });
      const message = aMessage("msg_b", "assistant", [tool], { turn_id: "trn_2", status: "streaming" });
      const approvals = [{ ...APPROVAL, scopes: ["once", "always"] as Scope[], input_hash: "abc", preview: [] }];
      return [welcome, ...opening(recorder, [message], { turn: aTurn({ status: "awaiting" }), approvals })];
    };
    const { root, road } = await show(told("work/[1]/a.ipynb", "write"));
    named(root, "More choices")?.click();
    await painted();
    named(root, "Always allow in this folder")?.click();
    expect(road.posted.at(-1)).toMatchObject({ d: { scope: "always", pattern: "work/[[]1]/*", input_hash: "abc" } });
    for (const [path, effect] of [
      ["a.ipynb", "write"],
      ["work/a.ipynb", "execute"],
    ] as const) {
      panel?.dispose();
      document.body.replaceChildren();
      const other = await show(told(path, effect));
      named(other.root, "More choices")?.click();
      await painted();
      expect(named(other.root, "Always allow in this notebook")).toBeDefined();
      expect(named(other.root, "Always allow in this folder")).toBeUndefined();
    }
  });

  test("a comm is not offered what only a page may allow", async () => {
    const { root, road } = await show(asking(["once", "always"]));
    expect(named(root, "More choices")).toBeDefined();
    panel?.dispose();
    document.body.replaceChildren();
    expect(road.road).toBe("panel");
    const comm = await show(asking(["once", "always"]), {}, null, "comm");
    expect(named(comm.root, "More choices")).toBeUndefined();
  });

  test("code can be changed before it is allowed", async () => {
    const { root, road } = await show(asking(["once"]));
    named(root, "Edit")?.click();
    await settled();
    const box = named(root, "Source") as HTMLTextAreaElement;
    expect(box.value).toBe("x = 1");
    box.value = "x = 2";
    box.dispatchEvent(new Event("input", { bubbles: true }));
    await settled();
    named(root, "Allow")?.click();
    expect(road.posted.at(-1)).toMatchObject({
      d: { decision: "allow", edited_input: { cell_id: "c1", source: "x = 2" } },
    });
  });

  test("code that was looked at in the editor and left as it was is allowed as it was", async () => {
    const { root, road } = await show(asking(["once"]));
    named(root, "Edit")?.click();
    await settled();
    named(root, "Allow")?.click();
    expect((road.posted.at(-1) as Command).d).not.toHaveProperty("edited_input");
  });

  test("Deny takes the reason along", async () => {
    const { root, road } = await show(scene("approval"));
    const reason = root.querySelector<HTMLInputElement>('[aria-label="Reason"]') as HTMLInputElement;
    reason.value = "Keep the old name";
    reason.dispatchEvent(new Event("input", { bubbles: true }));
    await settled();
    named(root, "Deny")?.click();
    expect(road.posted.at(-1)).toMatchObject({ d: { decision: "deny", reason: "Keep the old name" } });
  });

  test("the card goes when somebody answered", async () => {
    const { root, recorder, say } = await show(scene("approval"));
    await say(
      recorder.durable("approval.resolved", {
        id: "apr_1",
        rev: 2,
        decision: "allow",
        by: "me",
        road: "rest",
        reason: null,
      }),
    );
    expect(root.querySelector("[data-approval-id]")).toBeNull();
  });
});

describe("tool cards and thoughts", () => {
  test("are one line until they are opened", async () => {
    const { root } = await show(scene("rich"));
    expect(root.querySelector(".jp-agent-body")).toBeNull();
    const line = root.querySelector<HTMLElement>('[data-tool="run_cell"] .jp-agent-line') as HTMLElement;
    line.click();
    await settled();
    const body = root.querySelector('[data-tool="run_cell"] .jp-agent-body');
    expect(body?.querySelector("img")?.getAttribute("src")).toMatch(/^data:image\/svg\+xml;base64,/);
    expect(body?.querySelector(".jp-agent-ansi-fg2")?.textContent).toBe("done");
    expect(body?.querySelector("svg:not(.jp-agent-icon)")).toBeNull();
  });

  test("show code while it is written, and close when it is whole", async () => {
    const { root, recorder, say } = await show(scene("writing"));
    expect(root.querySelector(".jp-agent-writing")?.textContent).toContain("def clean(frame");
    await say(
      recorder.durable("tool.state", {
        part_id: "prt_c",
        state: "input-available",
        running: true,
        input: { source: "x" },
        rev: 2,
      }),
    );
    expect(root.querySelector(".jp-agent-writing")).toBeNull();
    expect(root.querySelector<HTMLElement>('[data-tool="insert_cell"]')?.dataset.state).toBe("input-available");
  });
});

describe("text that grows", () => {
  test("is on screen with its first token", async () => {
    const { root, recorder, road } = await show((r) =>
      opening(
        r,
        [
          aMessage("msg_b", "assistant", [aText("prt_c", 0, "", "streaming")], {
            turn_id: "trn_2",
            status: "streaming",
          }),
        ],
        { turn: aTurn() },
      ),
    );
    road.play(recorder.durable("part.delta", { part_id: "prt_c", at: 0, field: "text", delta: "Hel" }));
    await Promise.resolve();
    expect(root.querySelector('[data-part="text"]')?.textContent).toBe("Hel");
  });

  test("a delta leaves settled blocks and other messages as they are in the DOM", async () => {
    const { root, recorder, say } = await show((r) =>
      opening(
        r,
        [
          aMessage("msg_a", "user", [aText("prt_a", 0, "Hi")]),
          aMessage("msg_b", "assistant", [aText("prt_c", 0, "First.\n\nSec", "streaming")], {
            turn_id: "trn_2",
            status: "streaming",
          }),
        ],
        { turn: aTurn() },
      ),
    );
    const blocks = root.querySelectorAll(".jp-agent-block");
    const settledText = blocks[0]?.firstChild;
    await say(recorder.durable("part.delta", { part_id: "prt_c", at: 11, field: "text", delta: "ond." }));
    expect(root.querySelectorAll(".jp-agent-block")[0]?.firstChild).toBe(settledText);
    expect(root.querySelectorAll(".jp-agent-block")[1]?.textContent?.trim()).toBe("Second.");
  });

  test("hostile text brings nothing that acts or fetches", async () => {
    const text =
      "<img src=https://evil.example/p.png onerror=alert(1)> ![x](https://evil.example/q.png) <script>alert(1)</script>";
    const { root } = await show((r) => opening(r, [aMessage("msg_b", "assistant", [aText("prt_c", 0, text)])]));
    expect(root.querySelector("[data-message-id] img, [data-message-id] script")).toBeNull();
  });
});

describe("how it ended", () => {
  test("a failure says why, with the request, and offers another try", async () => {
    const { root, road } = await show(scene("failed"));
    expect(root.dataset.status).toBe("error");
    expect(root.textContent).toContain("Claude is overloaded at the moment.");
    expect(root.textContent).toContain("req_011CSHoEeqs5C35K2UUqR7Fy");
    named(root, "Try again")?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "turn.retry", d: { message_id: "msg_b" } });
  });

  const ended =
    (outcome: OutcomeKind, parts: Part[], error: TurnError | null = null) =>
    (recorder: Recorder) =>
      opening(recorder, [aMessage("msg_b", "assistant", parts, { turn_id: "trn_2" })], {
        last_outcome: { turn: "trn_2", outcome, error, usage: USAGE, message_ids: ["msg_b"], ended_at: 0 },
      });

  test.each<OutcomeKind>(["interrupted", "step_limit", "stopped"])(
    "what was %s can be gone on with",
    async (outcome) => {
      const { root, road } = await show(ended(outcome, [aText("prt_b", 0, "I was about to")]));
      named(root, "Continue")?.click();
      expect(road.posted.at(-1)).toMatchObject({ type: "turn.continue", d: { after: "trn_2" } });
      expect(document.activeElement).toBe(named(root, "Message"));
    },
  );

  test("where the server's setting is never to take replies up, that is not offered either", async () => {
    const error = { code: "interrupted", message: "The server stopped.", retryable: false };
    const { root } = await show(ended("interrupted", [aText("prt_b", 0, "I was about to")], error));
    expect(root.textContent).toContain("The server stopped.");
    expect(named(root, "Continue")).toBeUndefined();
  });

  test("what was stopped before it said anything is not gone on with", async () => {
    const { root } = await show(ended("stopped", []));
    expect(root.textContent).toContain("Stopped.");
    expect(named(root, "Continue")).toBeUndefined();
  });

  test("an answer that was cut off says so for good, and once", async () => {
    const cut = aMessage("msg_b", "assistant", [aText("prt_b", 0, "I was about to")], { status: "stopped" });
    const begun = (recorder: Recorder) =>
      opening(recorder, [cut], {
        last_outcome: {
          turn: "trn_1",
          outcome: "stopped",
          error: null,
          usage: USAGE,
          message_ids: ["msg_b"],
          ended_at: 0,
        },
      });
    const { root, say, recorder } = await show(begun);
    const marks = () => root.textContent?.match(/Stopped\./g)?.length;
    const answer = () => root.querySelector('[data-message-id="msg_b"]')?.textContent;
    expect([marks(), answer()]).toEqual([1, "I was about to"]);
    press(type(root, "And now?"), "Enter");
    await painted();
    expect([marks(), answer()]).toEqual([1, "I was about toStopped."]);
    await say(recorder.durable("turn.started", { turn: aTurn({ message_id: "msg_c" }) }, "trn_2"));
    expect([marks(), answer()]).toEqual([1, "I was about toStopped."]);
  });

  test("an answer that failed before its first word and was left behind says so", async () => {
    const messages = [aMessage("msg_b", "assistant", [], { status: "failed" }), aMessage("msg_c", "assistant", [])];
    const { root } = await show((recorder) => opening(recorder, messages));
    expect(root.querySelector('[data-message-id="msg_b"]')?.textContent).toBe("Failed.");
  });

  test("nothing is said of an answer that the session was rewound past", async () => {
    const { root } = await show((recorder) =>
      opening(recorder, [aMessage("msg_a", "user", [aText("prt_a", 0, "Plot it")])], {
        last_outcome: {
          turn: "trn_2",
          outcome: "interrupted",
          error: null,
          usage: USAGE,
          message_ids: ["msg_b"],
          ended_at: 0,
        },
      }),
    );
    expect(named(root, "Continue")).toBeUndefined();
    expect(root.textContent).not.toContain("interrupted");
  });

  test("a call whose outcome nobody saw says so without being opened", async () => {
    const call = aTool("prt_b", 0, "run_cell", { effect: "execute", state: "output-error", reason: "interrupted" });
    const { root } = await show(ended("interrupted", [call]));
    expect(root.querySelector('[data-tool="run_cell"]')?.textContent).toContain("it may have taken effect");
  });

  test("a paused queue can be resumed", async () => {
    const { root, road } = await show(scene("failed"));
    named(root, "Resume")?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "queue.resume" });
  });

  test("what waits is moved by its neighbours, and keeps the keyboard", async () => {
    const { root, road, recorder, say } = await show(scene("approval"));
    const line = (id: string) => root.querySelector(`[data-queue-id="${id}"]`) as HTMLElement;
    expect((named(line("que_1"), "Move up") as HTMLButtonElement).disabled).toBe(true);
    named(line("que_2"), "Move up")?.focus();
    named(line("que_2"), "Move up")?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "queue.reorder", d: { id: "que_2", rev: 1, before: "que_1" } });
    named(line("que_1"), "Move down")?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "queue.reorder", d: { id: "que_1", before: null } });
    named(line("que_2"), "Move up")?.focus();
    named(line("que_2"), "Move up")?.click();
    const items = [...(panel?.client.view.peek().queue ?? [])].reverse();
    await say(recorder.durable("queue.updated", { items, paused: false, rev: 2 }));
    expect(root.querySelector("[data-queue-id]")).toBe(line("que_2"));
    expect(document.activeElement).toBe(named(line("que_2"), "Move down"));
  });

  test("what waits is edited in its words alone, line by line, and keeps its files", async () => {
    const { root, road, recorder, say } = await show(scene("approval"));
    const [item] = panel?.client.view.peek().queue ?? [];
    const file = { id: "f", idx: 1, type: "file", mime: "text/csv", name: "data.csv", sha256: "ab", bytes: 2 } as const;
    const words = { ...item?.parts[0], text: "for x in y:\n  print(x)" };
    const items = [{ ...item, parts: [words, file] }] as QueueItem[];
    await say(recorder.durable("queue.updated", { items, paused: false, rev: 2 }));
    expect(root.querySelector("[data-queue-id]")?.textContent).toContain("data.csv");
    named(root.querySelector("[data-queue-id]") as HTMLElement, "Edit")?.click();
    await settled();
    const box = root.querySelector('[aria-label="Edit what waits"]') as HTMLTextAreaElement;
    expect(box.value).toBe("for x in y:\n  print(x)");
    box.value = box.value.replace("print", "show");
    box.dispatchEvent(new Event("input", { bubbles: true }));
    await settled();
    press(box, "Enter", { shiftKey: true });
    expect(road.posted.at(-1)?.type).not.toBe("queue.edit");
    press(box, "Enter");
    const { id: _id, idx: _idx, ...sent } = file;
    expect(road.posted.at(-1)).toMatchObject({
      type: "queue.edit",
      d: { id: "que_1", parts: [{ type: "text", text: "for x in y:\n  show(x)" }, sent] },
    });
  });

  test("a broken connection offers to retry", async () => {
    const { root, road } = await show(scene("rich"));
    road.status.value = { state: "disconnected", retry_at: Date.now() + 9_000 };
    await painted();
    expect(root.dataset.status).toBe("offline");
    named(root, "Retry")?.click();
    expect(road.status.value.state).toBe("connected");
  });
});

describe("a session that another server has", () => {
  const elsewhere = (recorder: Recorder) =>
    recorder.transient("error", { code: "open_elsewhere", message: "It is open in another server." });
  const page: JupyterPage = { base_url: "https://hub.example/", token: "" };

  test("can be taken over", async () => {
    const asked: string[] = [];
    vi.stubGlobal("fetch", async (url: URL) => {
      asked.push(url.pathname);
      return new Response(JSON.stringify({ session: aSession() }), { status: 200 });
    });
    const { root, recorder, say } = await show(scene("rich"), {}, page);
    await say(elsewhere(recorder));
    expect(root.textContent).toContain("It is open in another server.");
    named(root, "Take over")?.click();
    await until(() => expect(root.textContent).not.toContain("another server"));
    expect(asked).toEqual([`/jupyter-agent/api/v1/sessions/${SID}/take-over`]);
  });

  test("can only be looked at where there is no way to that server", async () => {
    const { root, recorder, say } = await show(scene("rich"));
    await say(elsewhere(recorder));
    expect(named(root, "Take over")).toBeUndefined();
  });
});

describe("the model", () => {
  const page: JupyterPage = { base_url: "https://hub.example/", token: "" };

  test("is chosen from those on offer", async () => {
    const models = [
      { id: "claude-sonnet-5-5", display_name: "Claude Sonnet 5.5", deprecated: false },
      { id: "claude-opus-5-5", display_name: "Claude Opus 5.5", deprecated: false },
      { id: "claude-old", display_name: "Claude Old", deprecated: true },
    ];
    vi.stubGlobal("fetch", async () => new Response(JSON.stringify({ models }), { status: 200 }));
    const { root, road } = await show(scene("rich"), {}, page);
    named(root, "Model: claude-sonnet-5-5")?.click();
    const items = () => [...root.querySelectorAll<HTMLElement>("[role=menuitemradio]")];
    await until(() => expect(items()).toHaveLength(2));
    expect(items()[0]?.getAttribute("aria-checked")).toBe("true");
    items()[1]?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "session.set", d: { model: "claude-opus-5-5" } });
  });
});

describe("an empty session", () => {
  test("suggests what to ask, says that the demo model is one, and starts on a click", async () => {
    const { root, road } = await show(scene("empty"));
    expect(root.textContent).toContain("Demo model");
    root.querySelector<HTMLElement>(".jp-agent-prompt")?.click();
    expect(road.posted.at(-1)?.type).toBe("message.send");
  });
});

describe("sessions", () => {
  const library = (sessions: Session[]) => {
    const asked: unknown[][] = [];
    const note =
      (name: string, reply?: unknown) =>
      async (...args: unknown[]) => {
        asked.push([name, ...args]);
        return reply as never;
      };
    const list = async (query: string, before?: string) => {
      const found = sessions.filter(({ title }) => title.includes(query));
      const from = found.findIndex(({ id }) => id === before) + 1;
      return { sessions: found.slice(from, from + 25), has_more: found.length > from + 25 };
    };
    const acts = Object.fromEntries(["rename", "archive", "unarchive", "remove", "bringBack"].map((n) => [n, note(n)]));
    const duplicate = note("duplicate", aSession({ id: "ses_3" }));
    return { asked, library: { ...acts, list, duplicate } as unknown as SessionLibrary };
  };
  const TWO = [aSession(), aSession({ id: "ses_2", title: "Another" })];
  const row = (root: HTMLElement, id: string) => root.querySelector(`[data-session-id="${id}"]`) as HTMLElement;
  const open = async (root: HTMLElement) => {
    named(root, "Sessions")?.click();
    await until(() => expect(root.querySelectorAll(".jp-agent-session").length).toBeGreaterThan(0));
  };
  test("one that was put away is found by its words, and taken out again", async () => {
    const { asked, library: there } = library([aSession({ id: "ses_9", title: "Long ago", archived_at: 1 })]);
    const { root } = await show(scene("rich"), { library: there });
    await open(root);
    expect(row(root, "ses_9").textContent).toContain("archived");
    await act(root, "ses_9", "Unarchive");
    expect(asked).toContainEqual(["unarchive", "ses_9"]);
  });

  const act = async (root: HTMLElement, id: string, name: string) => {
    row(root, id).querySelector<HTMLElement>("[aria-expanded=false]")?.click();
    await painted();
    named(row(root, id), name)?.click();
    await painted();
  };

  test("are listed on request and can be chosen", async () => {
    const chosen: string[] = [];
    const { root } = await show(scene("rich"), { library: library(TWO).library, onSelect: (id) => chosen.push(id) });
    await open(root);
    row(root, "ses_2").querySelector("button")?.click();
    expect(chosen).toEqual(["ses_2"]);
  });

  test("are searched a moment after the last key", async () => {
    const { root } = await show(scene("rich"), { library: library(TWO).library });
    await open(root);
    const box = root.querySelector("[type=search]") as HTMLInputElement;
    await until(() => expect(document.activeElement).toBe(box));
    box.value = "Anot";
    box.dispatchEvent(new Event("input", { bubbles: true }));
    await until(() => expect(root.querySelectorAll(".jp-agent-session")).toHaveLength(1));
    press(box, "Escape");
    await painted();
    expect(document.activeElement).toBe(named(root, "Sessions"));
  });

  test("one that was deleted leaves at once and can be brought back", async () => {
    const { library: one, asked } = library(TWO);
    const { root } = await show(scene("rich"), { library: one });
    await open(root);
    await act(root, "ses_2", "Delete");
    expect(row(root, "ses_2")).toBeNull();
    expect(asked).toEqual([["remove", "ses_2"]]);
    named(root, "Undo")?.click(); // which lies beside the list, and so closes it
    await painted();
    expect(asked.at(-1)).toEqual(["bringBack", "ses_2"]);
    await open(root);
    expect(row(root, "ses_2")).not.toBeNull();
    expect(named(root, "Undo")).toBeUndefined();
  });

  test("one is renamed where it stands, and not by Escape", async () => {
    const { library: one, asked } = library(TWO);
    const { root } = await show(scene("rich"), { library: one });
    await open(root);
    for (const key of ["Escape", "Enter"]) {
      await act(root, "ses_2", "Rename");
      const box = root.querySelector<HTMLInputElement>('[aria-label="Title"]') as HTMLInputElement;
      box.value = "Renamed";
      box.dispatchEvent(new Event("input", { bubbles: true }));
      await painted();
      press(box, key);
      await painted();
      named(row(root, "ses_2"), "More about Another")?.click(); // folded again, for the next
      await painted();
    }
    expect(asked).toEqual([["rename", "ses_2", "Renamed"]]);
    expect(row(root, "ses_2").textContent).toContain("Renamed");
  });

  test("the list follows what happens while it is open", async () => {
    let tell: (change: SessionChange) => void = () => {};
    let watched = 0;
    const watch = (told: typeof tell) => {
      tell = told;
      watched += 1;
      return () => (watched -= 1);
    };
    const { root } = await show(scene("rich"), { library: { ...library(TWO).library, watch } });
    await open(root);
    tell({ type: "changed", session: aSession({ id: "ses_2", title: "Another", status: "awaiting" }) });
    tell({ type: "changed", session: aSession({ id: "ses_5", title: "New", updated_at: Date.now() }) });
    tell({ type: "removed", id: SID });
    await painted();
    const rows = [...root.querySelectorAll<HTMLElement>("[data-session-id]")].map((one) => one.dataset.sessionId);
    expect(rows).toEqual(["ses_5", "ses_2"]);
    expect(row(root, "ses_2").textContent).toContain("needs your answer");
    named(root, "Sessions")?.click();
    await painted();
    expect(watched).toBe(0);
  });

  test("come by twenty-five, and more when asked for", async () => {
    const many = Array.from({ length: 30 }, (_, n) => aSession({ id: `ses_${100 - n}`, updated_at: 9_000 - n }));
    let tell: (change: SessionChange) => void = () => {};
    const watch = (told: typeof tell) => {
      tell = told;
      return () => {};
    };
    const { root } = await show(scene("rich"), { library: { ...library(many).library, watch } });
    await open(root);
    const rows = () => [...root.querySelectorAll<HTMLElement>("[data-session-id]")].map((one) => one.dataset.sessionId);
    expect(rows()).toHaveLength(25);
    // A line that was busy meanwhile keeps its place, and the next page begins behind the oldest all the same.
    tell({ type: "changed", session: { ...(many[24] as Session), updated_at: 9_500 } });
    await painted();
    named(root, "More")?.click();
    await until(() => expect(rows()).toEqual(many.map(({ id }) => id)));
    expect(named(root, "More")).toBeUndefined();
    tell({ type: "reset" });
    await painted();
    expect(rows()).toHaveLength(30);
  });

  test("a copy is opened", async () => {
    const chosen: string[] = [];
    const { root } = await show(scene("rich"), { library: library(TWO).library, onSelect: (id) => chosen.push(id) });
    await open(root);
    await act(root, "ses_2", "Duplicate");
    expect(chosen).toEqual(["ses_3"]);
  });
});

describe("a message's menu", () => {
  const said = (recorder: Recorder) =>
    opening(recorder, [
      aMessage("msg_a", "user", [aText("prt_a", 0, "First?")], { turn_id: "trn_1" }),
      aMessage("msg_b", "assistant", [aText("prt_b", 0, "One.")], { turn_id: "trn_1" }),
      aMessage("msg_c", "user", [aText("prt_c", 0, "Second?")], { turn_id: "trn_2" }),
      aMessage("msg_d", "assistant", [aText("prt_d", 0, "Two.")], { turn_id: "trn_2" }),
    ]);
  const menu = async (root: HTMLElement, id: string) => {
    const message = root.querySelector(`[data-message-id="${id}"]`) as HTMLElement;
    named(message, "Message actions")?.click();
    await painted();
    return message;
  };
  const names = (message: HTMLElement) =>
    [...message.querySelectorAll("[role=menuitem]")].map((item) => item.textContent);

  test("offers what makes sense there", async () => {
    const { root } = await show(said, { onSelect: () => {} });
    expect(names(await menu(root, "msg_a"))).toEqual(["Copy", "Edit and resend", "Rewind to here", "Fork from here"]);
    expect(names(await menu(root, "msg_d"))).toEqual(["Copy", "Try again", "Fork from here"]);
  });

  test("a copy that the browser refuses is said", async () => {
    const { root } = await show(said);
    named(await menu(root, "msg_d"), "Copy")?.click();
    await until(() => expect(root.textContent).toContain("did not allow copying"));
  });

  test("a page that can't open another session doesn't offer to fork", async () => {
    const { root } = await show(said);
    expect(names(await menu(root, "msg_d"))).toEqual(["Copy", "Try again"]);
  });

  test("Edit and resend rewinds to before the message and puts its text into the composer", async () => {
    const { root, road } = await show(said);
    named(await menu(root, "msg_c"), "Edit and resend")?.click();
    await painted();
    expect(road.posted.at(-1)).toMatchObject({ type: "session.rewind", d: { message_id: "msg_b" } });
    expect((named(root, "Message") as HTMLTextAreaElement).value).toBe("Second?");
    expect(document.activeElement).toBe(named(root, "Message"));
    named(root, "Undo")?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "session.rewind", d: { message_id: "msg_d" } });
  });

  test("the first message is edited on an empty page", async () => {
    const { root, road } = await show(said);
    named(await menu(root, "msg_a"), "Edit and resend")?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "session.clear" });
  });

  test("what steered an answer is part of it: no branch ends there", async () => {
    const { root } = await show(
      (recorder) =>
        opening(recorder, [
          aMessage("msg_a", "user", [aText("prt_a", 0, "First?")], { turn_id: "trn_1" }),
          aMessage("msg_b", "assistant", [aText("prt_b", 0, "One.")], { turn_id: "trn_1" }),
          aMessage("msg_c", "user", [aText("prt_c", 0, "In metres.")], { turn_id: "trn_1" }),
          aMessage("msg_d", "assistant", [aText("prt_d", 0, "Two.")], { turn_id: "trn_1" }),
        ]),
      { onSelect: () => {} },
    );
    expect(names(await menu(root, "msg_b"))).toEqual(["Copy", "Try again"]);
    expect(names(await menu(root, "msg_c"))).toEqual(["Copy"]);
  });

  test("a fork is opened when it is made", async () => {
    const chosen: string[] = [];
    const { root, road, recorder, say } = await show(said, { onSelect: (id) => chosen.push(id) });
    named(await menu(root, "msg_b"), "Fork from here")?.click();
    const order = road.posted.at(-1) as Command;
    expect(order).toMatchObject({ type: "session.fork", d: { message_id: "msg_b" } });
    await say(
      recorder.transient("ack", { cmd_id: order.cmd_id, status: "accepted", result: { id: "ses_9" }, error: null }),
    );
    expect(chosen).toEqual(["ses_9"]);
  });
});

describe("tasks", () => {
  test("stand in one line until opened, and can be run, ended and added", async () => {
    const { root, road } = await show((recorder) =>
      opening(recorder, [], { tasks: [aTask("tsk_1", "Plot", "pending"), aTask("tsk_2", "Read", "done")] }),
    );
    const section = root.querySelector('[aria-label="Tasks"]') as HTMLElement;
    expect(section.textContent).toContain("1 open");
    expect(section.querySelector("li")).toBeNull();
    section.querySelector("button")?.click();
    await painted();
    named(root, "Run Plot")?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "task.run", d: { id: "tsk_1", rev: 3 } });
    named(root, "Cancel Plot")?.click();
    expect(road.posted.at(-1)).toMatchObject({ type: "task.update", d: { id: "tsk_1", status: "cancelled" } });
    const box = root.querySelector('[aria-label="New task"]') as HTMLInputElement;
    box.value = "Tidy up";
    box.dispatchEvent(new Event("input", { bubbles: true }));
    await painted();
    press(box, "Enter");
    expect(road.posted.at(-1)).toMatchObject({ type: "task.create", d: { title: "Tidy up", mode: "build" } });
  });

  test("the first is written down from the session's menu", async () => {
    const { root } = await show(scene("rich"));
    expect(root.querySelector('[aria-label="Tasks"]')).toBeNull();
    named(root, "This session")?.click();
    await painted();
    named(root, "Add a task")?.click();
    await until(() => expect(document.activeElement?.getAttribute("aria-label")).toBe("New task"));
  });
});

test("an approval whose call is not on screen can still be answered", async () => {
  const { root } = await show((r) =>
    opening(r, [aMessage("msg_b", "assistant", [aTool("prt_z", 0, "run_cell")])], {
      turn: aTurn({ status: "awaiting" }),
      approvals: [APPROVAL],
    }),
  );
  expect(named(root, "Allow")).toBeDefined();
});

test("a part of a kind we don't know is named instead of hidden", async () => {
  const strange = { id: "prt_s", idx: 0, type: "hologram" } as unknown as ReturnType<typeof aText>;
  const { root } = await show((r) => opening(r, [aMessage("msg_b", "assistant", [strange])]));
  expect(root.textContent).toContain("hologram");
});

describe("a session that can only be looked at", () => {
  const FULL = { code: "store_unwritable", message: "The disk is full.", hint: "Free some space." };

  test("says so and does not pretend to work, until something is stored again", async () => {
    const turn = aTurn();
    const { root, recorder, say } = await show((r) => opening(r, [aMessage("msg_1", "user", [])], { turn }));
    expect(root.textContent).toContain("Working…");
    await say(recorder.transient("error", FULL));
    expect(root.querySelector(".jp-agent-status")?.textContent).toBe("Read only. The disk is full. Free some space.");
    expect(root.textContent).not.toContain("Working…");
    await say(recorder.durable("session.updated", { patch: { title: "Again" }, rev: 2 }));
    expect(root.querySelector(".jp-agent-status")).toBeNull();
    expect(root.textContent).toContain("Working…");
  });

  test("is told of also when there is nothing of it to show", async () => {
    const damaged = { code: "store_damaged", message: "The session's database is damaged.", hint: "Delete it." };
    const { root } = await show((r) => [r.transient("error", damaged)]);
    expect(root.querySelector("[role=alert]")?.textContent).toContain("The session's database is damaged. Delete it.");
  });
});

test("a slow disk is told of once, and not again to who has read it", async () => {
  const slow = { code: "plain_journal", message: "Stored safely, but slowly.", hint: "Use a local disk." };
  const { root, recorder, say } = await show((r) => [...opening(r, []), r.transient("error", slow)]);
  expect(root.querySelector('.jp-agent-status[data-level="warning"]')?.textContent).toContain(
    "but slowly. Use a local",
  );
  named(root, "Dismiss")?.click();
  await painted();
  await say(recorder.transient("error", slow));
  expect(root.querySelector(".jp-agent-status")).toBeNull();
});
