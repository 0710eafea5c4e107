/**
 * The road of the inline widget: custom messages of its comm, relayed by the kernel.
 *
 *     page ──{"attach"} {"command"}──► kernel ──► server
 *     page ◄──{"hello"} {"frames"} {"fragment"}── kernel ◄── server
 *
 * A comm is lossy, sometimes paused, and after a kernel restart looks alive while it
 * is dead. So we attach until somebody answers, and ping; what is missing, the
 * client's cursor finds. Stop and answers also go by REST where the page comes from
 * the same Jupyter server: quicker, and possible while the agent's own code runs.
 */
import { type Signal, signal } from "@preact/signals";
import { type Command, type Connection, type ConnectionStatus, command, Listeners } from "../connection";
import type { Frame, Mode, Session } from "../protocol.gen";
import { type JupyterPage, jupyterPage, postCommand } from "./page";

export const ATTACH_MS = 2_000;
export const UNANSWERED_MS = 5_000;
export const PING_MS = 20_000;
const MISSED_PINGS = 2;

const NO_SERVER =
  "No answer from the agent. Install jupyter-agent-panel where Jupyter Server runs, and restart the server.";
const NO_KERNEL = "Disconnected: the kernel restarted. Run the cell again.";

/** What we use of an anywidget model. */
export interface WidgetModel {
  get(name: string): unknown;
  send(content: object, callbacks?: unknown, buffers?: unknown): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: listeners differ by event
  on(event: string, listener: (...args: any[]) => void): void;
  // biome-ignore lint/suspicious/noExplicitAny: listeners differ by event
  off(event: string, listener?: ((...args: any[]) => void) | null): void;
}

/** What the kernel tells about the session: the values of the widget's traits. */
export interface HelloMessage {
  session_id?: string;
  mode?: Mode;
  model?: string;
  status?: Session["status"];
  title?: string;
}

interface FromKernel {
  frames?: Frame[];
  hello?: HelloMessage;
  fragment?: { id: string; n: number; of: number; text: string };
}

export class CommConnection implements Connection {
  readonly road = "comm";
  readonly status: Signal<ConnectionStatus> = signal<ConnectionStatus>({ state: "connecting" });
  readonly session_id: Signal<string | null>;

  private readonly frames = new Listeners<Frame>();
  private readonly fragments = new Fragments();
  private readonly started = Date.now();
  private readonly attachTimer: ReturnType<typeof setInterval>;
  private readonly pingTimer: ReturnType<typeof setInterval>;
  private missed = 0;
  private closed = false;

  constructor(
    private readonly model: WidgetModel,
    readonly page: JupyterPage | null = jupyterPage(),
  ) {
    this.session_id = signal((model.get("session_id") as string) || null);
    model.on("msg:custom", this.onMessage);
    model.on("change:session_id", this.onTrait);
    model.on("comm:close", this.onCommChange);
    model.on("comm_live_update", this.onCommChange);
    this.attachTimer = setInterval(() => this.attach(), ATTACH_MS);
    this.pingTimer = setInterval(() => this.ping(), PING_MS);
    queueMicrotask(() => this.attach()); // after the client listens
  }

  post(order: Command): void {
    if (order.type === "turn.stop") void this.rest(order); // both roads: the quicker one stops it
    if (order.type === "approval.answer" || isModeChange(order)) void this.restElseComm(order);
    else this.send({ command: order });
  }

  subscribe(onFrame: (frame: Frame) => void): () => void {
    return this.frames.add(onFrame);
  }

  retry(): void {
    this.missed = 0;
    if (!this.send({ attach: {} })) return;
    this.status.value = { state: "connecting" };
  }

  close(): void {
    this.closed = true;
    clearInterval(this.attachTimer);
    clearInterval(this.pingTimer);
    this.model.off("msg:custom", this.onMessage);
    this.model.off("change:session_id", this.onTrait);
    this.model.off("comm:close", this.onCommChange);
    this.model.off("comm_live_update", this.onCommChange);
  }

  private attach(): void {
    if (this.closed || this.status.peek().state === "connected") return;
    const sent = this.send({ attach: {} });
    if (sent && this.status.peek().state === "connecting" && Date.now() - this.started >= UNANSWERED_MS) {
      this.status.value = { state: "disconnected", detail: NO_SERVER };
    }
  }

  private ping(): void {
    if (this.status.peek().state !== "connected") return;
    if (this.missed >= MISSED_PINGS) {
      this.lost();
      return;
    }
    this.missed += 1;
    this.send({ command: command("ping") });
  }

  private lost(): void {
    this.status.value = { state: "disconnected", detail: NO_KERNEL };
  }

  /** Tell whether it left the page. A dead comm throws, at once or by its promise. */
  private send(content: object): boolean {
    try {
      const result = this.model.send(content);
      if (result instanceof Promise) result.catch(() => this.lost());
      return true;
    } catch {
      this.lost();
      return false;
    }
  }

  private readonly onMessage = (message: FromKernel): void => {
    if (message.fragment !== undefined) {
      const whole = this.fragments.take(message.fragment);
      if (whole !== null) this.onMessage(whole as FromKernel);
      return;
    }
    if (message.hello === undefined && message.frames === undefined) return;
    if (message.frames?.some((frame) => this.isKernelFault(frame))) return;
    this.missed = 0;
    if (message.hello?.session_id) this.session_id.value = message.hello.session_id;
    const first = message.frames?.find((frame) => frame.sid);
    if (first !== undefined && this.session_id.peek() === null) this.session_id.value = first.sid;
    if (this.status.peek().state !== "connected") this.status.value = { state: "connected" };
    for (const frame of message.frames ?? []) this.frames.emit(frame);
  };

  /** The kernel speaks for itself, outside of any log, when nobody stands behind it. */
  private isKernelFault(frame: Frame): boolean {
    if (frame.ep !== "" || !("type" in frame) || frame.type !== "error") return false;
    const { message, hint } = frame.d;
    this.status.value = { state: "disconnected", detail: [message, hint].filter(Boolean).join(" ") };
    return true;
  }

  private readonly onTrait = (): void => {
    const session_id = this.model.get("session_id") as string;
    if (session_id) this.session_id.value = session_id;
  };

  /** The comm went or came back: a send tells which. */
  private readonly onCommChange = (): void => {
    if (!this.closed) this.send({ attach: {} });
  };

  private async rest(order: Command): Promise<boolean> {
    const session_id = this.session_id.peek();
    if (this.page === null || session_id === null) return false;
    const ack = await postCommand(this.page, session_id, order);
    if (ack === null || this.closed) return false;
    this.frames.emit({ v: 1, sid: session_id, ep: "", ts: Date.now(), turn: null, type: "ack", d: ack });
    return true;
  }

  private async restElseComm(order: Command): Promise<void> {
    if (!(await this.rest(order))) this.send({ command: order });
  }
}

function isModeChange(order: Command): boolean {
  return order.type === "session.set" && "mode" in order.d;
}

/** Messages over the size that iopub likes come in pieces, each a slice of the whole's JSON text. */
class Fragments {
  private readonly open = new Map<string, Map<number, string>>();

  take(piece: { id: string; n: number; of: number; text: string }): unknown {
    const pieces = this.open.get(piece.id) ?? new Map<number, string>();
    this.open.set(piece.id, pieces.set(piece.n, piece.text));
    this.forgetOld();
    if (pieces.size < piece.of) return null;
    this.open.delete(piece.id);
    const text = [...pieces].sort(([a], [b]) => a - b).map(([, part]) => part);
    try {
      return JSON.parse(text.join(""));
    } catch {
      return null;
    }
  }

  /** A piece that was lost leaves its whole incomplete for ever; the cursor fetches it anew. */
  private forgetOld(): void {
    for (const id of this.open.keys()) {
      if (this.open.size <= 4) return;
      this.open.delete(id);
    }
  }
}
