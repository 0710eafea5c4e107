// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { command } from "../src/connection";
import { BACKOFF, Backoff } from "../src/connections/backoff";
import { ATTACH_MS, CommConnection, type WidgetModel } from "../src/connections/comm";
import { jupyterPage, socketUrl } from "../src/connections/page";
import { PreferredSocket, TRY_MS } from "../src/connections/preferred";
import { PING_MS, SocketConnection } from "../src/connections/socket";
import { LOOK_MS, watchSessions } from "../src/lab/list-socket";
import type { SessionChange } from "../src/panel/context";
import type { Frame } from "../src/protocol.gen";
import { SID } from "./example";
import { Recorder } from "./recorder";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  document.body.replaceChildren();
});

describe("backoff", () => {
  test("the first try comes within a second, the following double up to the limit", () => {
    const backoff = new Backoff(BACKOFF, () => 0);
    const delays = Array.from({ length: 8 }, () => backoff.next());
    expect(delays).toEqual([0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  test("up to half is added at random", () => {
    const backoff = new Backoff(BACKOFF, () => 1);
    expect([backoff.next(), backoff.next(), backoff.next()]).toEqual([1_000, 1_500, 3_000]);
  });

  test("after ten tries it goes on slowly", () => {
    const backoff = new Backoff(BACKOFF, () => 0.5);
    for (let tries = 0; tries < 10; tries++) backoff.next();
    expect(backoff.exhausted).toBe(false);
    expect(backoff.next()).toBe(45_000);
    expect(backoff.exhausted).toBe(true);
  });
});

/** A socket as browsers have it, with the server's end in the test's hands. */
class FakeSocket {
  static made: FakeSocket[] = [];
  readyState = 0;
  sent: string[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;

  constructor(readonly url: string) {
    FakeSocket.made.push(this);
  }
  static get last(): FakeSocket {
    return FakeSocket.made.at(-1) as FakeSocket;
  }
  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  fail(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code });
  }
  send(text: string): void {
    this.sent.push(text);
  }
  close(): void {
    this.readyState = 3;
  }
}

function socket(random = () => 0.5): SocketConnection {
  FakeSocket.made = [];
  return new SocketConnection({
    session_id: SID,
    url: () => "ws://test/",
    WebSocket: FakeSocket as unknown as typeof WebSocket,
    random,
  });
}

describe("the socket", () => {
  test("says connecting, connected, disconnected", () => {
    const road = socket();
    const states = [road.status.value.state];
    FakeSocket.last.open();
    states.push(road.status.value.state);
    FakeSocket.last.fail();
    states.push(road.status.value.state);
    expect(states).toEqual(["connecting", "connected", "disconnected"]);
    road.close();
  });

  test("comes back by itself within a second of a break", () => {
    const road = socket();
    FakeSocket.last.open();
    FakeSocket.last.fail();
    vi.advanceTimersByTime(1_000);
    FakeSocket.last.open();
    expect([FakeSocket.made.length, road.status.value.state]).toEqual([2, "connected"]);
    road.close();
  });

  test("a connection that lasted starts the count anew; one that broke at once doesn't", () => {
    const road = socket(() => 0);
    const delay = () => (road.status.value.retry_at ?? 0) - Date.now();
    FakeSocket.last.open();
    FakeSocket.last.fail();
    vi.advanceTimersByTime(0);
    FakeSocket.last.open();
    FakeSocket.last.fail();
    expect(delay()).toBe(1_000);
    vi.advanceTimersByTime(1_000);
    FakeSocket.last.open();
    vi.advanceTimersByTime(BACKOFF.uptime_ms);
    FakeSocket.last.fail();
    expect(delay()).toBe(0);
    road.close();
  });

  test("after the last quick try it waits for somebody who looks", () => {
    const hidden = vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
    const road = socket();
    for (let tries = 0; tries < 11; tries++) {
      FakeSocket.last.fail();
      vi.advanceTimersByTime(60_000);
    }
    const tried = FakeSocket.made.length;
    vi.advanceTimersByTime(600_000);
    expect(FakeSocket.made.length).toBe(tried);
    hidden.mockReturnValue("visible");
    document.dispatchEvent(new Event("visibilitychange"));
    expect(FakeSocket.made.length).toBe(tried + 1);
    hidden.mockRestore();
    road.close();
  });

  test("tries at once when the network is back", () => {
    const road = socket();
    FakeSocket.last.fail();
    window.dispatchEvent(new Event("online"));
    expect(FakeSocket.made).toHaveLength(2);
    road.close();
  });

  test("a deleted session and another version end it, with a sentence", () => {
    for (const [code, words] of [
      [4404, "deleted"],
      [4400, "Reload"],
    ] as const) {
      const road = socket();
      FakeSocket.last.open();
      FakeSocket.last.fail(code);
      vi.advanceTimersByTime(600_000);
      expect(FakeSocket.made).toHaveLength(1);
      expect(road.status.value).toMatchObject({ state: "disconnected", final: true });
      expect(road.status.value.detail).toContain(words);
    }
  });

  test("one that answers no ping is dead", () => {
    const road = socket();
    FakeSocket.last.open();
    vi.advanceTimersByTime(PING_MS * 2);
    expect(FakeSocket.last.sent.map((text) => JSON.parse(text).type)).toEqual(["ping", "ping"]);
    expect(road.status.value.state).toBe("connected");
    vi.advanceTimersByTime(PING_MS);
    expect(road.status.value.state).toBe("disconnected");
    road.close();
  });

  test("any frame shows that it lives", () => {
    const road = socket();
    const recorder = new Recorder(SID);
    FakeSocket.last.open();
    for (let pings = 0; pings < 5; pings++) {
      vi.advanceTimersByTime(PING_MS);
      FakeSocket.last.onmessage?.({ data: JSON.stringify(recorder.transient("pong", {})) });
    }
    expect(road.status.value.state).toBe("connected");
    road.close();
  });

  test("once disconnected on purpose it stays so", () => {
    const road = socket();
    FakeSocket.last.open();
    road.disconnect();
    vi.advanceTimersByTime(600_000);
    window.dispatchEvent(new Event("online"));
    road.retry();
    expect(FakeSocket.made).toHaveLength(1);
  });
});

/** A widget model whose kernel end is in the test's hands. */
class FakeModel implements WidgetModel {
  sent: Record<string, unknown>[] = [];
  dead = false;
  traits: Record<string, unknown> = {};
  private readonly listeners = new Map<string, Set<(...args: unknown[]) => void>>();

  get(name: string): unknown {
    return this.traits[name];
  }
  send(content: object): void {
    if (this.dead) throw new Error("Cannot send");
    this.sent.push(content as Record<string, unknown>);
  }
  on(event: string, listener: (...args: unknown[]) => void): void {
    this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(listener));
  }
  off(event: string, listener?: ((...args: unknown[]) => void) | null): void {
    if (listener) this.listeners.get(event)?.delete(listener);
  }
  fire(event: string, ...args: unknown[]): void {
    for (const listener of this.listeners.get(event) ?? []) listener(...args);
  }
  say(content: object): void {
    this.fire("msg:custom", content, []);
  }
  get kinds(): string[] {
    return this.sent.map((content) => Object.keys(content)[0] as string);
  }
}

describe("the comm", () => {
  const recorder = new Recorder(SID);
  const hello = { hello: { session_id: SID } };

  function comm() {
    const model = new FakeModel();
    const road = new CommConnection(model, null);
    const frames: Frame[] = [];
    road.subscribe((frame) => frames.push(frame));
    return { model, road, frames };
  }

  test("attaches until somebody answers", async () => {
    const { model, road } = comm();
    await vi.advanceTimersByTimeAsync(ATTACH_MS * 2);
    expect(model.kinds).toEqual(["attach", "attach", "attach"]);
    model.say(hello);
    await vi.advanceTimersByTimeAsync(ATTACH_MS * 2);
    expect(model.kinds).toHaveLength(3);
    expect([road.status.value.state, road.session_id.value]).toEqual(["connected", SID]);
    road.close();
  });

  test("says what to do when nobody answers, and is ready when somebody does", async () => {
    const { model, road } = comm();
    await vi.advanceTimersByTimeAsync(6_000);
    expect(road.status.value.detail).toContain("jupyter-agent-panel");
    model.say(hello);
    expect(road.status.value).toEqual({ state: "connected" });
    road.close();
  });

  test("passes on what the kernel says for itself", () => {
    const { model, road, frames } = comm();
    model.say({
      frames: [
        { v: 1, sid: "", ep: "", type: "error", d: { code: "no_server", message: "No server.", hint: "Install it." } },
      ],
    });
    expect(road.status.value).toMatchObject({ state: "disconnected", detail: "No server. Install it." });
    expect(frames).toEqual([]);
    road.close();
  });

  test("puts fragments together in any order", () => {
    const { model, frames, road } = comm();
    const frame = recorder.transient("hb", { seq: 1 });
    const text = JSON.stringify({ frames: [frame] });
    const piece = (n: number, part: string) => model.say({ fragment: { id: "f", n, of: 2, text: part } });
    piece(1, text.slice(20));
    expect(frames).toEqual([]);
    piece(0, text.slice(0, 20));
    expect(frames).toEqual([frame]);
    road.close();
  });

  test("a comm that throws is a kernel that restarted", () => {
    const { model, road } = comm();
    model.say(hello);
    model.dead = true;
    model.fire("comm_live_update");
    expect(road.status.value.detail).toContain("kernel restarted");
    expect(() => road.post(command("ping"))).not.toThrow();
    road.close();
  });

  test("a kernel that answers no ping is gone", async () => {
    const { model, road } = comm();
    model.say(hello);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(road.status.value.state).toBe("disconnected");
    model.say({ frames: [recorder.transient("pong", {})] });
    expect(road.status.value.state).toBe("connected");
    road.close();
  });

  test("Stop goes by comm and REST, an approval by REST", async () => {
    const fetched: { url: string; headers: Record<string, string>; order: { type: string; cmd_id: string } }[] = [];
    vi.stubGlobal("fetch", async (url: URL, init: { headers: Record<string, string>; body: string }) => {
      const order = JSON.parse(init.body);
      fetched.push({ url: String(url), headers: init.headers, order });
      return { json: async () => ({ cmd_id: order.cmd_id, status: "accepted", result: {}, error: null }) };
    });
    // biome-ignore lint/suspicious/noDocumentCookie: the cookie is what is tested
    document.cookie = "_xsrf=2|abc";
    const model = new FakeModel();
    const road = new CommConnection(model, { base_url: "https://hub.example/user/me/", token: "" });
    const frames: Frame[] = [];
    road.subscribe((frame) => frames.push(frame));
    model.say(hello);
    road.post(command("turn.stop", { turn: "trn_1" }));
    road.post(command("approval.answer", { id: "apr_1", rev: 1, decision: "allow" }));
    await vi.advanceTimersByTimeAsync(0);
    expect(fetched.map(({ order }) => order.type)).toEqual(["turn.stop", "approval.answer"]);
    expect(fetched[0]?.url).toBe(`https://hub.example/user/me/jupyter-agent/api/v1/sessions/${SID}/commands`);
    expect(fetched[0]?.headers).toMatchObject({ "X-XSRFToken": "2|abc" });
    expect(model.sent.flatMap((content) => (content.command as { type: string } | undefined)?.type ?? [])).toEqual([
      "turn.stop",
    ]);
    expect(frames.map((frame) => ("type" in frame ? frame.type : "batch"))).toEqual(["ack", "ack"]);
    road.close();
  });

  test("an approval takes the comm where REST leads nowhere", async () => {
    vi.stubGlobal("fetch", async () => {
      throw new TypeError("Failed to fetch");
    });
    const model = new FakeModel();
    const road = new CommConnection(model, { base_url: "https://hub.example/", token: "" });
    model.say(hello);
    road.post(command("approval.answer", { id: "apr_1", rev: 1, decision: "deny" }));
    await vi.advanceTimersByTimeAsync(0);
    expect(model.kinds).toContain("command");
    road.close();
  });
});

describe("a comm whose cell asked for a socket", () => {
  function roads(session_id: string | null = SID) {
    FakeSocket.made = [];
    const model = new FakeModel();
    model.traits = session_id === null ? {} : { session_id };
    const page = { base_url: "http://jupyter.test/", token: "" };
    const comm = new CommConnection(model, page);
    const road = new PreferredSocket(
      comm,
      page,
      (id) =>
        new SocketConnection({
          session_id: id,
          url: () => socketUrl(page, id),
          WebSocket: FakeSocket as unknown as typeof WebSocket,
        }),
    );
    const frames: Frame[] = [];
    road.subscribe((frame) => frames.push(frame));
    return { model, road, frames };
  }
  const frame = new Recorder(SID).transient("pong", {});

  test("takes the socket where it opens, and leaves the comm", async () => {
    const { model, road, frames } = roads();
    expect(road.status.value.state).toBe("connecting");
    FakeSocket.last.open();
    expect([road.status.value.state, road.road]).toEqual(["connected", "panel"]);
    road.post(command("turn.stop"));
    expect(FakeSocket.last.sent).toHaveLength(1);
    model.say({ frames: [frame] });
    expect(frames).toEqual([]);
    FakeSocket.last.onmessage?.({ data: JSON.stringify(frame) });
    expect(frames).toEqual([frame]);
    road.close();
  });

  test("waits for the comm to tell the session", () => {
    const { model, road } = roads(null);
    expect(FakeSocket.made).toEqual([]);
    model.say({ hello: { session_id: SID } });
    expect(FakeSocket.last.url).toBe(`ws://jupyter.test/jupyter-agent/api/v1/sessions/${SID}/connect`);
    expect(road.status.value.state).toBe("connecting");
    road.close();
  });

  test.each([
    ["the page's server does not have the session", () => FakeSocket.last.fail()],
    ["the socket is held up on the way", () => vi.advanceTimersByTime(TRY_MS)],
  ])("stays with the comm where %s", (_, happens) => {
    const { model, road, frames } = roads(null);
    model.say({ hello: { session_id: SID } });
    happens();
    expect([road.status.value.state, road.road]).toEqual(["connected", "comm"]);
    road.post(command("history"));
    expect(model.sent.at(-1)).toMatchObject({ command: { type: "history" } });
    model.say({ frames: [frame] });
    expect(frames).toEqual([frame]);
    vi.advanceTimersByTime(60_000);
    expect(FakeSocket.made).toHaveLength(1);
    road.close();
  });

  test("asks the page's server for no address that a kernel made up", () => {
    const { road } = roads("../../../api/kernels");
    expect(FakeSocket.made).toEqual([]);
    expect(road.road).toBe("comm");
    road.close();
  });

  test("says what the comm says while there is no session to open a socket for", () => {
    const { model, road } = roads(null);
    model.say({ frames: [{ v: 1, sid: "", ep: "", type: "error", d: { code: "no_server", message: "No server." } }] });
    expect(road.status.value).toMatchObject({ state: "disconnected", detail: "No server." });
    road.close();
  });
});

describe("the page's server", () => {
  test("is read from Jupyter's configuration, and is unknown elsewhere", () => {
    expect(jupyterPage()).toBeNull();
    document.body.innerHTML = `<script id="jupyter-config-data" type="application/json">{"baseUrl": "/user/me/", "token": ""}</script>`;
    expect(jupyterPage()?.base_url).toBe(new URL("/user/me/", location.href).href);
  });

  test("has its sockets beside its pages", () => {
    const url = socketUrl({ base_url: "https://hub.example/user/me/", token: "t" }, SID);
    expect(url).toBe(`wss://hub.example/user/me/jupyter-agent/api/v1/sessions/${SID}/connect?token=t`);
  });
});

describe("the socket of the list", () => {
  const frame = (type: string, d: object) => ({ data: JSON.stringify({ v: 1, type, d }) });
  const watch = () => {
    FakeSocket.made = [];
    const told: SessionChange[] = [];
    const options = { WebSocket: FakeSocket as unknown as typeof WebSocket, random: () => 0.5 };
    const end = watchSessions(
      () => "ws://test/list",
      (change) => told.push(change),
      options,
    );
    return { told, end };
  };

  test("tells of each change, and of the list only what may have been missed", () => {
    const { told, end } = watch();
    FakeSocket.last.open();
    FakeSocket.last.onmessage?.(frame("sessions", { sessions: [], has_more: false }));
    FakeSocket.last.onmessage?.(frame("session.removed", { id: SID }));
    expect(told).toEqual([{ type: "removed", id: SID }]);
    FakeSocket.last.fail(1013);
    vi.advanceTimersByTime(1_000);
    FakeSocket.last.open();
    FakeSocket.last.onmessage?.(frame("sessions", { sessions: [], has_more: false }));
    expect(told.at(-1)).toEqual({ type: "reset" });
    end();
  });

  test("without it the list is looked at every thirty seconds, and not once it is closed", () => {
    const { told, end } = watch();
    vi.advanceTimersByTime(LOOK_MS);
    expect(told).toEqual([{ type: "reset" }]);
    FakeSocket.last.open();
    vi.advanceTimersByTime(LOOK_MS / 2);
    FakeSocket.last.onmessage?.(frame("pong", {}));
    vi.advanceTimersByTime(LOOK_MS / 2);
    expect(told).toHaveLength(1);
    end();
    vi.advanceTimersByTime(10 * LOOK_MS);
    expect([told.length, FakeSocket.last.readyState]).toEqual([1, 3]);
  });
});
