/** A road that plays a recorded conversation: the panel without a server. */
import { type Signal, signal } from "@preact/signals";
import { type Command, type Connection, type ConnectionStatus, Listeners } from "../connection";
import type { Frame } from "../protocol.gen";

export interface ReplayOptions {
  /** Milliseconds between frames; 0 plays all at once. */
  pace_ms?: number;
  /** Answer a command: the frames that follow from it. */
  answer?: (order: Command) => readonly Frame[];
}

export class ReplayConnection implements Connection {
  readonly road = "panel";
  readonly status: Signal<ConnectionStatus> = signal<ConnectionStatus>({ state: "connecting" });
  readonly session_id: Signal<string | null>;
  /** Every command that was posted, in order. */
  readonly posted: Command[] = [];

  private readonly listeners = new Listeners<Frame>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly recording: readonly Frame[],
    private readonly options: ReplayOptions = {},
  ) {
    this.session_id = signal(recording[0]?.sid ?? null);
    queueMicrotask(() => this.start());
  }

  post(order: Command): void {
    this.posted.push(order);
    for (const frame of this.options.answer?.(order) ?? []) this.play(frame);
  }

  subscribe(onFrame: (frame: Frame) => void): () => void {
    return this.listeners.add(onFrame);
  }

  /** Deliver one more frame, as a server would. */
  play(frame: Frame): void {
    this.listeners.emit(frame);
  }

  retry(): void {
    this.status.value = { state: "connected" };
  }

  close(): void {
    clearTimeout(this.timer);
    this.status.value = { state: "disconnected", final: true };
  }

  private start(): void {
    this.status.value = { state: "connected" };
    if (this.options.pace_ms) this.step(0);
    else for (const frame of this.recording) this.play(frame);
  }

  private step(index: number): void {
    const frame = this.recording[index];
    if (frame === undefined) return;
    this.play(frame);
    this.timer = setTimeout(() => this.step(index + 1), this.options.pace_ms);
  }
}

/** The frames of a golden file: a JSON object a line, `{"frame": …}`; other lines are not played. */
export function readRecording(text: string): Frame[] {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => JSON.parse(line) as { frame?: Frame })
    .flatMap((line) => (line.frame === undefined ? [] : [line.frame]));
}
