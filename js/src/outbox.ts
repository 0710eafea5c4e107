/**
 * Commands that must arrive: kept until they are acknowledged, over reloads too.
 *
 *     waiting ── ack ──────────────► gone
 *        │  ▲
 *        │  └─ refused for what passes: sent again, with the same cmd_id
 *        └─ a message refused for good ─► kept for its words, until the user takes them
 *
 * They rest in `sessionStorage`, one list a session. Several views of one tab may
 * share a list; each changes only its own entries, and a command that two of them
 * send has one effect, since the server knows its `cmd_id`.
 */
import type { Command } from "./connection";

/** Why the server refused, as its ack says it. */
export interface Refusal {
  code: string;
  message: string;
  hint?: string | null;
  /** It passes: the same command may be sent again. */
  retryable?: boolean;
}

/** A command; why it was refused for good, if it was; whether it waits until its text is a file at the server. */
export type Entry = Command & { refused?: Refusal; upload?: true };

export type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export class Outbox {
  private entries: Entry[] = [];
  private key: string | null = null;

  constructor(private readonly store: Store | null = sessionStore()) {}

  /** Name the session; commands that an earlier page left behind join the list. */
  open(session_id: string): Entry[] {
    this.key = `jupyter_agent:outbox:${session_id}`;
    const known = new Set(this.entries.map((entry) => entry.cmd_id));
    const left = this.load().filter((entry) => !known.has(entry.cmd_id));
    this.entries = [...left, ...this.entries];
    this.save(this.entries);
    return left;
  }

  add(entry: Entry): void {
    this.entries = [...this.entries, entry];
    if (this.key !== null) this.save([...this.load(), entry]);
  }

  /** Say it in another way, in the same place. */
  replace(changed: Entry): void {
    const swap = (entry: Entry) => (entry.cmd_id === changed.cmd_id ? changed : entry);
    this.entries = this.entries.map(swap);
    if (this.key !== null) this.save(this.load().map(swap));
  }

  find(cmd_id: string): Entry | undefined {
    return this.entries.find((entry) => entry.cmd_id === cmd_id);
  }

  /** Send this one no more, but keep what it said. */
  keep(cmd_id: string, refused: Refusal): void {
    const mark = (entry: Entry) => (entry.cmd_id === cmd_id ? { ...entry, refused } : entry);
    this.entries = this.entries.map(mark);
    if (this.key !== null) this.save(this.load().map(mark));
  }

  /** Forget a command; tell what it was. */
  settle(cmd_id: string): Entry | undefined {
    const command = this.find(cmd_id);
    if (command === undefined) return undefined;
    this.entries = this.entries.filter((entry) => entry.cmd_id !== cmd_id);
    this.save(this.load().filter((entry) => entry.cmd_id !== cmd_id));
    return command;
  }

  /** What is not acknowledged yet, oldest first. */
  get waiting(): readonly Entry[] {
    return this.entries.filter((entry) => entry.refused === undefined);
  }

  /** Every message, also what was refused. */
  get messages(): readonly Entry[] {
    return this.entries.filter((entry) => entry.type === "message.send");
  }

  private load(): Entry[] {
    if (this.key === null || this.store === null) return [];
    try {
      const entries = JSON.parse(this.store.getItem(this.key) ?? "[]") as unknown;
      return Array.isArray(entries) ? entries.filter(isCommand) : [];
    } catch {
      return [];
    }
  }

  private save(entries: readonly Entry[]): void {
    if (this.key === null || this.store === null) return;
    // Browsers keep 5 MB or so: what does not fit must not take the rest with it.
    for (const kept of [entries, entries.filter((entry) => !entry.upload)]) {
      try {
        if (kept.length === 0) this.store.removeItem(this.key);
        else this.store.setItem(this.key, JSON.stringify(kept));
        return;
      } catch {
        // Full or forbidden: the commands live in memory until the page goes.
      }
    }
  }
}

function isCommand(value: unknown): value is Entry {
  const entry = value as Partial<Command> | null;
  return typeof entry?.cmd_id === "string" && typeof entry.type === "string" && typeof entry.d === "object";
}

/** The page's own storage; null where there is none. */
export function sessionStore(): Store | null {
  try {
    return globalThis.sessionStorage ?? null; // reading the property may itself be forbidden
  } catch {
    return null;
  }
}
