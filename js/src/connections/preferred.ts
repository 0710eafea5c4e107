/**
 * The road of an inline widget whose cell asked for a socket.
 *
 *     the comm tells the session ──► a socket to the page's server ── opens ──► it is the road
 *                                                                  └─ fails, or takes long ──► the comm is
 *
 * Chosen once: a socket that opened comes back by itself, and the server that it
 * leads to is the one that has the session.
 */
import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { type Command, type Connection, type ConnectionStatus, Listeners } from "../connection";
import type { Frame } from "../protocol.gen";
import type { JupyterPage } from "./page";

export const TRY_MS = 5_000;
const SESSION = /^ses_[a-z0-9]{16,32}$/;

export class PreferredSocket implements Connection {
  readonly status: ReadonlySignal<ConnectionStatus>;
  readonly session_id: ReadonlySignal<string | null>;

  private readonly chosen = signal<Connection | null>(null);
  private readonly frames = new Listeners<Frame>();
  private readonly unwatch: () => void;
  private socket: Connection | null = null;
  private unhear: (() => void) | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly comm: Connection,
    readonly page: JupyterPage,
    private readonly open: (session_id: string) => Connection,
  ) {
    this.session_id = computed(() => (this.chosen.value ?? comm).session_id.value);
    this.status = computed(() => this.chosen.value?.status.value ?? whileChoosing(comm.status.value));
    this.unwatch = effect(() => this.decide());
  }

  get road(): "panel" | "comm" {
    return this.chosen.peek()?.road ?? "comm";
  }

  post(order: Command): void {
    this.chosen.peek()?.post(order);
  }

  subscribe(onFrame: (frame: Frame) => void): () => void {
    return this.frames.add(onFrame);
  }

  retry(): void {
    (this.chosen.peek() ?? this.comm).retry();
  }

  close(): void {
    this.unwatch();
    clearTimeout(this.timer);
    this.unhear?.();
    this.socket?.close();
    this.comm.close();
  }

  /** Runs again whenever what it reads has changed. */
  private decide(): void {
    if (this.chosen.value !== null) return;
    const session_id = this.comm.session_id.value;
    if (session_id === null) return;
    if (!SESSION.test(session_id)) {
      this.choose(this.comm); // it would become part of an address
      return;
    }
    if (this.socket === null) {
      this.socket = this.open(session_id);
      this.timer = setTimeout(() => this.choose(this.comm), TRY_MS);
    }
    const { state } = this.socket.status.value;
    if (state === "connected") this.choose(this.socket);
    else if (state === "disconnected") this.choose(this.comm);
  }

  private choose(road: Connection): void {
    if (this.chosen.peek() !== null) return;
    clearTimeout(this.timer);
    this.unhear = road.subscribe((frame) => this.frames.emit(frame));
    this.chosen.value = road; // before the other one closes, which is news that would have us choose again
    if (road === this.comm) this.socket?.close();
    else this.comm.close();
  }
}

/** That the comm is there doesn't mean that it will be the road. */
function whileChoosing(status: ConnectionStatus): ConnectionStatus {
  return status.state === "connected" ? { state: "connecting" } : status;
}
