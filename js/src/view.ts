/**
 * What a view knows: the snapshot's fields in wire shape, and how current they are.
 *
 * A view is a plain value. `reduce` makes the next one out of a frame; parts that
 * did not change keep their identity, so that a component can tell by `===`.
 */
import type {
  Approval,
  Message,
  Notice,
  Page,
  Part,
  QueueItem,
  Session,
  Task,
  ToolPart,
  Turn,
  TurnEnded,
} from "./protocol.gen";

/** Why the view no longer follows and must subscribe again. */
export type Stale = "gap" | "epoch" | "resync";

export interface View {
  ep: string | null;
  seq: number;
  session: Session | null;
  messages: readonly Message[];
  page: Page;
  turn: Turn | null;
  queue: readonly QueueItem[];
  paused: boolean;
  approvals: readonly Approval[];
  tasks: readonly Task[];
  last_outcome: TurnEnded | null;
  /** A subscription is under way: the next snapshot counts, whatever its age. */
  syncing: boolean;
  stale: Stale | null;
  /** The session was deleted; nothing more will come. */
  deleted: boolean;
  /** The latest remark of the running turn, e.g. that a request is being repeated. */
  notice: Notice | null;
}

export const emptyView: View = {
  ep: null,
  seq: 0,
  session: null,
  messages: [],
  page: { before: null, has_more: false },
  turn: null,
  queue: [],
  paused: false,
  approvals: [],
  tasks: [],
  last_outcome: null,
  syncing: true,
  stale: null,
  deleted: false,
  notice: null,
};

const TERMINAL: ReadonlySet<string> = new Set(["output-available", "output-error", "output-denied"]);

/** Tell whether a tool call has come to its end. */
export function isTerminal(part: ToolPart): boolean {
  return TERMINAL.has(part.state);
}

/** Tell whether a part is still being written or worked on. */
export function isOpen(part: Part): boolean {
  switch (part.type) {
    case "text":
    case "reasoning":
      return part.state === "streaming";
    case "tool":
      return !isTerminal(part);
    default:
      return false;
  }
}

export type SessionStatus = Session["status"];

/** Derive `session.status` from the turn and the last outcome, as the server does. */
export function sessionStatus(view: Pick<View, "turn" | "last_outcome" | "messages">): SessionStatus {
  const turn = view.turn;
  if (turn === null) return view.last_outcome?.outcome === "failed" ? "error" : "ready";
  if (turn.status === "awaiting" || turn.status === "recovering") return turn.status;
  const message = findLast(view.messages, (candidate) => candidate.id === turn.message_id);
  return message !== undefined && message.parts.length > 0 ? "streaming" : "submitted";
}

export type Transport = "connecting" | "connected" | "disconnected";

/** What `data-status` says. */
export type ClientStatus = "connecting" | "syncing" | "offline" | SessionStatus;

/** Derive the one word that the whole panel is in. `sending`: a message left us and is not acknowledged. */
export function clientStatus(view: View, transport: Transport, sending: boolean): ClientStatus {
  if (transport === "disconnected") return "offline";
  if (transport === "connecting") return "connecting";
  if (view.syncing) return "syncing";
  const status = sessionStatus(view);
  return sending && view.turn === null ? "submitted" : status;
}

/** The last element that satisfies the test. */
export function findLast<T>(items: readonly T[], test: (item: T) => boolean): T | undefined {
  for (let index = items.length - 1; index >= 0; index--) {
    const item = items[index] as T;
    if (test(item)) return item;
  }
  return undefined;
}
