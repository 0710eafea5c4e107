// @vitest-environment jsdom
import { type Signal, signal } from "@preact/signals";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ACK_TIMEOUT_MS, AgentClient, SYNC_TIMEOUT_MS } from "../src/client";
import { type Command, type Connection, type ConnectionStatus, Listeners } from "../src/connection";
import type { JupyterPage } from "../src/connections/page";
import { Outbox } from "../src/outbox";
import type { Frame } from "../src/protocol.gen";
import { aMessage, aText, aTurn, opening, SID } from "./example";
import { Recorder } from "./recorder";

/** A road whose other end is in the test's hands. */
class TestRoad implements Connection {
  readonly road = "panel";
  readonly status: Signal<ConnectionStatus> = signal({ state: "connecting" });
  readonly session_id = signal<string | null>(SID);
  page: JupyterPage | null = null;
  posted: Command[] = [];
  private readonly frames = new Listeners<Frame>();

  post(order: Command): void {
    if (this.status.peek().state === "connected") this.posted.push(order);
  }
  subscribe(onFrame: (frame: Frame) => void): () => void {
    return this.frames.add(onFrame);
  }
  retry(): void {}
  close(): void {}
  open(): void {
    this.status.value = { state: "connected" };
  }
  drop(): void {
    this.status.value = { state: "disconnected" };
  }
  say(...frames: Frame[]): void {
    for (const frame of frames) this.frames.emit(frame);
  }
  types(): string[] {
    return this.posted.map((order) => order.type);
  }
  last(type: string): Command {
    return this.posted.findLast((order) => order.type === type) as Command;
  }
}

let road: TestRoad;
let client: AgentClient;
let recorder: Recorder;

beforeEach(() => {
  vi.useFakeTimers();
  sessionStorage.clear();
  road = new TestRoad();
  client = new AgentClient(road);
  recorder = new Recorder(SID);
  recorder.seq = 10;
});

afterEach(() => {
  client.dispose();
  vi.useRealTimers();
});

const ack = (order: Command, more: object = {}) =>
  recorder.transient("ack", { cmd_id: order.cmd_id, status: "accepted", result: {}, error: null, ...more });

function follow(): void {
  road.open();
  road.say(...opening(recorder, []));
  vi.advanceTimersByTime(200);
}

describe("following", () => {
  test("greets and subscribes from nothing when the road opens", () => {
    road.open();
    expect(road.types()).toEqual(["hello", "subscribe"]);
    expect(road.last("subscribe").d).toEqual({ since: null, page: 25 });
  });

  test("goes on from its cursor when the road comes back", () => {
    follow();
    road.drop();
    expect(client.status.value).toBe("offline");
    road.open();
    expect(road.last("subscribe").d).toMatchObject({ since: { ep: "ep1", seq: 10 } });
  });

  test("a hole is filled from the cursor first, then from nothing", () => {
    follow();
    recorder.seq = 11;
    road.say(recorder.durable("session.updated", { patch: { title: "x" }, rev: 2 }));
    expect(road.last("subscribe").d).toMatchObject({ since: { seq: 10 } });
    road.say(recorder.transient("caught_up", { seq: 12 }));
    expect(road.last("subscribe").d).toMatchObject({ since: null });
  });

  test("asks again when a subscription gets no answer", () => {
    road.open();
    vi.advanceTimersByTime(SYNC_TIMEOUT_MS);
    expect(road.types()).toEqual(["hello", "subscribe", "hello", "subscribe"]);
  });

  test("a heartbeat shows a lost tail", () => {
    follow();
    road.say(recorder.transient("hb", { seq: 13 }));
    vi.advanceTimersByTime(1_000);
    expect(road.last("subscribe").d).toMatchObject({ since: { seq: 10 } });
  });

  test("a heartbeat that only overtook its events asks for nothing", () => {
    follow();
    const event = recorder.durable("session.updated", { patch: { title: "x" }, rev: 2 });
    road.say(recorder.transient("hb", { seq: 11 }), event);
    vi.advanceTimersByTime(1_000);
    expect(road.types().filter((type) => type === "subscribe")).toHaveLength(1);
  });
});

describe("another version", () => {
  test("of the protocol is named, and changes nothing that is shown", () => {
    follow();
    const before = client.view.value;
    const frame = recorder.durable("session.updated", { patch: { title: "x" }, rev: 2 });
    road.say({ ...frame, v: 2 } as unknown as Frame);
    vi.advanceTimersByTime(200);
    expect(client.view.value).toBe(before);
    expect(client.fault.value).toMatchObject({ code: "version" });
    expect(client.fault.value?.hint).toContain("Install the same jupyter-agent-panel");
  });

  test("of the server gives back what it doesn't take, and it isn't sent again", async () => {
    follow();
    const said = client.send("Hello");
    const order = road.last("message.send");
    const error = { code: "malformed", message: "message.send: when_busy: …", hint: "Install …", retryable: false };
    road.say(recorder.transient("error", error), ack(order, { status: "rejected", result: null, error }));
    expect((await said).status).toBe("rejected");
    expect(client.unsent.value).toMatchObject([{ text: "Hello", why: { code: "malformed" } }]);
    vi.advanceTimersByTime(4 * ACK_TIMEOUT_MS);
    expect(road.types().filter((type) => type === "message.send")).toHaveLength(1);
  });
});

describe("painting", () => {
  test("the first change is shown at once, what follows with the next frame", () => {
    follow();
    const title = (text: string) => recorder.durable("session.updated", { patch: { title: text }, rev: 2 });
    road.say(title("a"));
    expect(client.view.value.session?.title).toBe("a");
    road.say(title("b"), title("c"));
    expect(client.view.value.session?.title).toBe("a");
    vi.advanceTimersByTime(20);
    expect(client.view.value.session?.title).toBe("c");
  });
});

describe("the outbox", () => {
  test("a message is resent with the same cmd_id until it is acknowledged", () => {
    follow();
    void client.send("Hello");
    const first = road.last("message.send");
    vi.advanceTimersByTime(ACK_TIMEOUT_MS * 2);
    const sent = road.posted.filter((order) => order.type === "message.send");
    expect(sent.length).toBeGreaterThanOrEqual(2);
    expect(new Set(sent.map((order) => order.cmd_id)).size).toBe(1);
    road.say(ack(first));
    vi.advanceTimersByTime(ACK_TIMEOUT_MS * 4);
    expect(road.posted.filter((order) => order.type === "message.send")).toHaveLength(sent.length);
  });

  test("what was said while offline is sent when the road opens", () => {
    follow();
    road.drop();
    void client.send("Hello");
    expect(road.types()).not.toContain("message.send");
    road.open();
    expect(road.types()).toContain("message.send");
  });

  test("a message survives a reload of the page", () => {
    follow();
    void client.send("Hello");
    const { cmd_id } = road.last("message.send");
    client.dispose();
    road = new TestRoad();
    client = new AgentClient(road, { outbox: new Outbox() });
    expect(client.sent.value).toMatchObject([{ text: "Hello" }]);
    road.open();
    expect(road.last("message.send").cmd_id).toBe(cmd_id);
  });

  const refusal = (order: Command, code: string, retryable: boolean) =>
    ack(order, { status: "rejected", result: null, error: { code, message: `It is ${code}.`, retryable } });
  const said = () => road.posted.filter((order) => order.type === "message.send");
  const texts = () => said().map((order) => (order.d as { parts: { text: string }[] }).parts[0]?.text);

  function reload(): void {
    client.dispose();
    road = new TestRoad();
    client = new AgentClient(road, { outbox: new Outbox() });
  }

  test("a message refused for what passes is sent again with the same cmd_id, until it is taken", async () => {
    follow();
    let taken = false;
    void client.send("Hello").then(() => {
      taken = true;
    });
    for (let times = 1; times <= 5; times++) {
      road.say(refusal(road.last("message.send"), "closing", true));
      expect(client.sent.value).toMatchObject([{ text: "Hello", held: { code: "closing" } }]);
      vi.advanceTimersByTime(60_000);
      expect(said().length).toBeGreaterThan(times);
    }
    expect(taken).toBe(false);
    road.say(ack(road.last("message.send")));
    await vi.advanceTimersByTimeAsync(0);
    expect(taken).toBe(true);
    expect(new Set(said().map((order) => order.cmd_id)).size).toBe(1);
    expect(sessionStorage.length).toBe(0);
  });

  test("while it is held it is not sent more often than patience says", () => {
    follow();
    void client.send("Hello");
    for (let times = 0; times < 30; times++) {
      const before = said().length;
      road.say(refusal(road.last("message.send"), "store_unwritable", true));
      vi.advanceTimersByTime(60_000);
      expect(said().length - before).toBe(1);
    }
  });

  test("a message refused for what passes survives a reload, and is sent when the road opens", () => {
    follow();
    void client.send("Hello");
    const { cmd_id } = road.last("message.send");
    road.say(refusal(road.last("message.send"), "closing", true));
    reload();
    expect(client.sent.value).toMatchObject([{ text: "Hello" }]);
    road.open();
    expect(road.last("message.send").cmd_id).toBe(cmd_id);
    road.say(refusal(road.last("message.send"), "closing", true));
    reload();
    road.open();
    expect(road.last("message.send").cmd_id).toBe(cmd_id);
  });

  test("what is held goes at once when the session comes back", () => {
    follow();
    void client.send("Hello");
    road.say(refusal(road.last("message.send"), "store_unwritable", true));
    const before = said().length;
    road.say(recorder.transient("resync", { reason: "gap" }), ...opening(recorder, []));
    expect(said()).toHaveLength(before + 1);
  });

  test("later messages stay behind one that is held", () => {
    follow();
    void client.send("First");
    road.say(refusal(road.last("message.send"), "closing", true));
    void client.send("Second");
    vi.advanceTimersByTime(ACK_TIMEOUT_MS * 3);
    expect(texts()).not.toContain("Second");
    road.say(ack(road.last("message.send")));
    expect(texts().at(-1)).toBe("Second");
  });

  test("a discarded message lets the next one go", () => {
    follow();
    void client.send("First");
    road.say(refusal(road.last("message.send"), "closing", true));
    void client.send("Second");
    client.discard((road.last("message.send").d as { id: string }).id);
    expect(texts().at(-1)).toBe("Second");
    expect(client.sent.value).toMatchObject([{ text: "Second" }]);
  });

  test("a command other than a message is kept too, and its fault goes when it is taken", () => {
    follow();
    void client.setMode("plan");
    road.say(refusal(road.last("session.set"), "closing", true));
    expect(client.fault.value?.code).toBe("closing");
    vi.advanceTimersByTime(60_000);
    expect(road.posted.filter((order) => order.type === "session.set").length).toBeGreaterThan(1);
    road.say(ack(road.last("session.set")));
    expect(client.fault.value).toBeNull();
  });

  test("a message refused for good keeps its words over reloads, and is not sent again", () => {
    follow();
    void client.send("Hello");
    road.say(refusal(road.last("message.send"), "queue_full", false));
    reload();
    expect(client.unsent.value).toMatchObject([{ text: "Hello", whole: true, why: { code: "queue_full" } }]);
    expect(client.sent.value).toEqual([]);
    road.open();
    vi.advanceTimersByTime(ACK_TIMEOUT_MS * 3);
    expect(said()).toEqual([]);
    client.sendAgain(client.unsent.value[0]?.id as string);
    expect(texts()).toEqual(["Hello"]);
    expect(client.unsent.value).toEqual([]);
  });

  test("a message refused for good after a reload is given back", () => {
    follow();
    void client.send("Hello");
    reload();
    road.open();
    road.say(refusal(road.last("message.send"), "queue_full", false));
    expect(client.unsent.value).toMatchObject([{ text: "Hello" }]);
  });

  describe("whose text goes up as a file", () => {
    const LONG = "long ".repeat(400_000);
    const FILE = { sha256: "0".repeat(64), mime: "text/plain", name: "message.txt", bytes: LONG.length };
    let uploads: ((status: number) => void)[];

    beforeEach(() => {
      uploads = [];
      road.page = { base_url: "https://hub.example/", token: "" };
      const answer = (status: number) =>
        new Response(JSON.stringify(status < 300 ? { attachment: FILE } : { error: { message: "Not so." } }), {
          status,
        });
      vi.stubGlobal("fetch", () => new Promise((tell) => uploads.push((status) => tell(answer(status)))));
    });
    afterEach(() => vi.unstubAllGlobals());

    const answered = async (status: number) => {
      uploads.shift()?.(status);
      await vi.advanceTimersByTimeAsync(0);
    };

    test("it is not overtaken by what is said after it", async () => {
      follow();
      void client.send(LONG);
      void client.send("Second");
      vi.advanceTimersByTime(ACK_TIMEOUT_MS * 3);
      expect(said()).toEqual([]);
      expect(uploads).toHaveLength(1);
      await answered(201);
      expect(texts().map((text) => text?.slice(0, 5))).toEqual(["long ", "Secon"]);
      expect(road.posted.at(-2)?.d).toMatchObject({ parts: [{ type: "text" }, { ...FILE, type: "file" }] });
      expect(road.posted.at(-2)).not.toHaveProperty("upload");
    });

    test("a reload during its upload does not lose it", async () => {
      follow();
      void client.send(LONG);
      const page = road.page;
      reload();
      road.page = page;
      expect(client.sent.value[0]?.text).toMatch(/^long /);
      expect(client.sent.value[0]?.text.length).toBeLessThan(1_000);
      road.open();
      uploads.shift(); // the old page is gone
      await answered(201);
      expect(said()).toHaveLength(1);
      road.say(ack(road.last("message.send")));
      expect(sessionStorage.length).toBe(0);
    });

    test("it is sent again when the server does not answer or can't now, and holds what comes after it", async () => {
      follow();
      void client.send(LONG);
      void client.send("Second");
      await answered(507);
      expect(client.sent.value[0]).toMatchObject({ held: { message: "Not so." } });
      await vi.advanceTimersByTimeAsync(60_000);
      expect(said()).toEqual([]);
      await answered(201);
      expect(said()).toHaveLength(2);
      expect(client.sent.value[0]).not.toHaveProperty("held");
    });

    test("refused for good it comes back whole, and what comes after it goes", async () => {
      follow();
      void client.send(LONG);
      void client.send("Second");
      await answered(413);
      expect(client.unsent.value).toMatchObject([{ text: LONG, whole: true, why: { message: "Not so." } }]);
      expect(texts()).toEqual(["Second"]);
    });

    test("discarded it is not sent when its upload ends, and what comes after it goes", async () => {
      follow();
      void client.send(LONG);
      void client.send("Second");
      client.discard(client.sent.value[0]?.id as string);
      expect(texts()).toEqual(["Second"]);
      await answered(201);
      expect(texts()).toEqual(["Second"]);
    });

    test("where the page can't keep it, it still keeps the short ones", () => {
      const kept = new Map<string, string>();
      const small = {
        getItem: (key: string) => kept.get(key) ?? null,
        removeItem: (key: string) => void kept.delete(key),
        setItem: (key: string, value: string) => {
          if (value.length > 500_000) throw new DOMException("full", "QuotaExceededError");
          kept.set(key, value);
        },
      };
      client.dispose();
      client = new AgentClient(road, { outbox: new Outbox(small) });
      follow();
      void client.send(LONG);
      void client.send("Second");
      const left = new Outbox(small).open(SID);
      expect(left).toMatchObject([{ d: { parts: [{ text: "Second" }] } }]);
    });
  });

  test("nothing stays in storage after the acknowledgement", () => {
    follow();
    void client.send("Hello");
    road.say(ack(road.last("message.send")));
    expect(sessionStorage.length).toBe(0);
  });
});

describe("saying", () => {
  test("a message shows at once and once", () => {
    follow();
    void client.send("Hello");
    expect(client.status.value).toBe("submitted");
    const { id } = road.last("message.send").d as { id: string };
    road.say(ack(road.last("message.send")));
    expect(client.sent.value.map((message) => message.id)).toEqual([id]);
    road.say(recorder.durable("message.added", { message: aMessage(id, "user", [aText("p", 0, "Hello")]) }));
    expect(client.sent.value).toEqual([]);
  });

  test("a message refused for good is given back with the reason", async () => {
    follow();
    const reply = client.send("Hello");
    road.say(
      ack(road.last("message.send"), {
        status: "rejected",
        result: null,
        error: { code: "busy", message: "Not now." },
      }),
    );
    expect((await reply).status).toBe("rejected");
    expect(client.sent.value).toEqual([]);
    expect(client.unsent.value).toMatchObject([{ text: "Hello", why: { message: "Not now." } }]);
  });

  test("Stop names the running turn, and does nothing without one", () => {
    follow();
    client.stop();
    expect(road.types()).not.toContain("turn.stop");
    road.say(recorder.durable("turn.started", { turn: aTurn() }));
    client.stop();
    expect(road.last("turn.stop").d).toEqual({ turn: "trn_2" });
  });

  test("a Stop that came too late is no fault", () => {
    follow();
    road.say(recorder.durable("turn.started", { turn: aTurn() }));
    client.stop();
    road.say(ack(road.last("turn.stop"), { status: "rejected", error: { code: "not_running", message: "Over." } }));
    expect(client.fault.value).toBeNull();
  });

  test("older messages join in front", async () => {
    road.open();
    road.say(...opening(recorder, [aMessage("msg_9", "user", [])], { page: { before: "msg_9", has_more: true } }));
    const loaded = client.loadOlder();
    const order = road.last("history");
    expect(order.d).toEqual({ before: "msg_9", limit: 25 });
    road.say(ack(order, { result: { messages: [aMessage("msg_8", "user", [])], has_more: false, before: null } }));
    await loaded;
    vi.advanceTimersByTime(200);
    expect(client.view.value.messages.map((message) => message.id)).toEqual(["msg_8", "msg_9"]);
  });
});

describe("status", () => {
  test("is the transport's first, then the subscription's, then the turn's", () => {
    const seen = [client.status.value];
    road.open();
    vi.advanceTimersByTime(200);
    seen.push(client.status.value);
    road.say(...opening(recorder, []));
    vi.advanceTimersByTime(200);
    seen.push(client.status.value);
    const say = (frame: Frame) => {
      road.say(frame);
      vi.advanceTimersByTime(200);
      seen.push(client.status.value);
    };
    say(recorder.durable("turn.started", { turn: aTurn() }));
    say(
      recorder.durable("message.added", {
        message: aMessage("msg_b", "assistant", [aText("p", 0, "")], { status: "streaming" }),
      }),
    );
    say(recorder.durable("turn.status", { status: "awaiting", attempt: 0 }));
    say(recorder.durable("turn.status", { status: "recovering", attempt: 1 }));
    expect(seen).toEqual(["connecting", "syncing", "ready", "submitted", "streaming", "awaiting", "recovering"]);
  });
});
