/**
 * The road of the side panel: one WebSocket to the session, reopened when it breaks.
 *
 *     connecting ──open──► connected ──close──► wait (backoff) ──► connecting …
 *                                       │ after the last quick try
 *                                       └──► disconnected, slow tries while the page is looked at
 */
import { type Signal, signal } from "@preact/signals";
import { type Command, type Connection, type ConnectionStatus, command, Listeners } from "../connection";
import type { Frame } from "../protocol.gen";
import { BACKOFF, Backoff } from "./backoff";
import type { JupyterPage } from "./page";

export const PING_MS = 20_000;
const MISSED_PINGS = 2;
const CLOSE_VERSION = 4400;
const CLOSE_DELETED = 4404;

export interface SocketOptions {
  /** Null for the socket that is no session's. */
  session_id: string | null;
  /** Asked before each try, so that a renewed token is used. */
  url: () => string;
  page?: JupyterPage | null;
  WebSocket?: typeof WebSocket;
  random?: () => number;
}

export class SocketConnection implements Connection {
  readonly road = "panel";
  readonly status: Signal<ConnectionStatus> = signal<ConnectionStatus>({ state: "connecting" });
  readonly session_id: Signal<string | null>;
  readonly page: JupyterPage | null;

  private readonly frames = new Listeners<Frame>();
  private readonly backoff: Backoff;
  private socket: WebSocket | null = null;
  private opened_at = 0;
  private missed = 0;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private pingTimer: ReturnType<typeof setInterval> | undefined;
  private closed = false;

  constructor(private readonly options: SocketOptions) {
    this.page = options.page ?? null;
    this.session_id = signal(options.session_id);
    this.backoff = new Backoff(BACKOFF, options.random);
    globalThis.addEventListener?.("online", this.wake);
    globalThis.document?.addEventListener("visibilitychange", this.wake);
    this.connect();
  }

  post(order: Command): void {
    if (this.socket?.readyState === 1) this.socket.send(JSON.stringify(order));
  }

  subscribe(onFrame: (frame: Frame) => void): () => void {
    return this.frames.add(onFrame);
  }

  retry(): void {
    if (this.closed || this.status.peek().state === "connected") return;
    this.backoff.reset();
    this.connect();
  }

  /** End it for good: no reconnect follows. */
  disconnect(): void {
    this.closed = true;
    globalThis.removeEventListener?.("online", this.wake);
    globalThis.document?.removeEventListener("visibilitychange", this.wake);
    this.drop();
    this.status.value = { state: "disconnected", final: true };
  }

  close(): void {
    this.disconnect();
  }

  private connect(): void {
    this.drop();
    this.status.value = { state: "connecting" };
    const Socket = this.options.WebSocket ?? WebSocket;
    let socket: WebSocket;
    try {
      socket = new Socket(this.options.url());
    } catch {
      this.wait();
      return;
    }
    this.socket = socket;
    socket.onopen = () => this.opened(socket);
    socket.onmessage = (event) => this.received(event.data);
    socket.onclose = (event) => {
      if (socket === this.socket) this.broken(event.code);
    };
  }

  private opened(socket: WebSocket): void {
    if (socket !== this.socket) return;
    this.opened_at = Date.now();
    this.missed = 0;
    this.pingTimer = setInterval(() => this.ping(), PING_MS);
    this.status.value = { state: "connected" };
  }

  private received(data: unknown): void {
    this.missed = 0;
    if (typeof data !== "string") return;
    let frame: Frame;
    try {
      frame = JSON.parse(data) as Frame;
    } catch {
      return;
    }
    this.frames.emit(frame);
  }

  private ping(): void {
    if (this.missed >= MISSED_PINGS) {
      this.broken(1006);
      return;
    }
    this.missed += 1;
    this.post(command("ping"));
  }

  private broken(code: number): void {
    if (this.opened_at > 0 && Date.now() - this.opened_at >= BACKOFF.uptime_ms) this.backoff.reset();
    this.opened_at = 0;
    this.drop();
    if (code === CLOSE_VERSION) this.end("This page is older or newer than the server. Reload the page.");
    else if (code === CLOSE_DELETED) this.end("This session was deleted.");
    else this.wait();
  }

  private end(detail: string): void {
    this.disconnect();
    this.status.value = { state: "disconnected", detail, final: true };
  }

  private wait(): void {
    const delay = this.backoff.next();
    const given_up = this.backoff.exhausted;
    if (given_up && globalThis.document?.visibilityState === "hidden") {
      this.status.value = { state: "disconnected" };
      return; // `wake` goes on when somebody looks again
    }
    // The timer first: whoever hears of the break may close us for good.
    this.retryTimer = setTimeout(() => this.connect(), delay);
    this.status.value = { state: "disconnected", retry_at: Date.now() + delay };
  }

  private readonly wake = (): void => {
    const { state, final } = this.status.peek();
    if (final || state !== "disconnected" || globalThis.document?.visibilityState === "hidden") return;
    this.connect();
  };

  private drop(): void {
    clearTimeout(this.retryTimer);
    clearInterval(this.pingTimer);
    const socket = this.socket;
    this.socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
