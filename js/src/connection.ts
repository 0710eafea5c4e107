/**
 * The seam between the panel and the road its frames take.
 *
 * A road delivers frames in any state of completeness; the order is the client's
 * business. It never throws: what can't be sent now is dropped, and the client's
 * outbox sends it again.
 */
import type { ReadonlySignal } from "@preact/signals";
import type { JupyterPage } from "./connections/page";
import type { Frame } from "./protocol.gen";
import type { Transport } from "./view";

/** What a view asks for; `d` as in `protocol/commands.py`. */
export interface Command {
  v: 1;
  cmd_id: string;
  type: string;
  d: object;
}

export interface ConnectionStatus {
  state: Transport;
  /** One sentence for the user: why there is no connection, and what to do. */
  detail?: string;
  /** When the next try is, ms since the epoch; absent when none is planned. */
  retry_at?: number;
  /** Trying again is pointless: the session is gone, or the versions don't fit. */
  final?: boolean;
}

export interface Connection {
  /** Which road this is, as approvals record it. */
  readonly road: "panel" | "comm";
  readonly status: ReadonlySignal<ConnectionStatus>;
  /** The session on the other end; null until the road knows. */
  readonly session_id: ReadonlySignal<string | null>;
  post(command: Command): void;
  subscribe(onFrame: (frame: Frame) => void): () => void;
  /** The Jupyter server that the page can ask by REST; absent where there is none. */
  readonly page?: JupyterPage | null;
  /** Try now instead of waiting. */
  retry(): void;
  close(): void;
}

/** A fresh command. */
export function command(type: string, d: object = {}): Command {
  return { v: 1, cmd_id: uuid(), type, d };
}

/** A random UUID, also in pages that are not a secure context (plain HTTP on a network). */
export function uuid(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const hex = randomHex(32);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`;
}

/** A fresh id such as `msg_…`, in the form the server makes its own: eight digits for the second, then random ones. */
export function newId(prefix: string): string {
  const second = Math.floor(Date.now() / 1000) % 2 ** 32;
  return `${prefix}_${second.toString(16).padStart(8, "0")}${randomHex(12)}`;
}

function randomHex(digits: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(digits / 2));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Listeners of a road: one that throws doesn't keep the others from hearing. */
export class Listeners<T> {
  private readonly listeners = new Set<(value: T) => void>();

  add(listener: (value: T) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  emit(value: T): void {
    for (const listener of [...this.listeners]) {
      try {
        listener(value);
      } catch (error) {
        console.error("jupyter_agent: a listener failed", error);
      }
    }
  }
}
