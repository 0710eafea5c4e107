/**
 * The fold: a frame in, the next view out. Pure; the same rules as `protocol/fold.py`.
 *
 *     durable event   seq or covers        applied once, in order; a hole makes the view stale
 *     snapshot        as_of                replaces everything
 *     the rest        neither              caught_up, resync, notice; acks are the client's
 *
 * A stale view keeps what it shows and ignores what it cannot place, until a
 * snapshot or a replay puts it right.
 */
import type {
  AgentEvent,
  Frame,
  Message,
  Part,
  PartDelta,
  Snapshot,
  ToolPart,
  ToolStateChanged,
  TurnEnded,
} from "./protocol.gen";
import { findLast, isOpen, isTerminal, type Stale, sessionStatus, type View } from "./view";

/** Return the view after `frame`. The given view is not changed. */
export function reduce(view: View, frame: Frame): View {
  let next = view;
  for (const event of eventsOf(frame)) next = applyEvent(next, frame.ep, event);
  return next;
}

/** The events of a frame, alone or in a batch; nothing for a frame we can't read. */
export function eventsOf(frame: Frame): readonly AgentEvent[] {
  if ("batch" in frame) return Array.isArray(frame.batch) ? frame.batch : [];
  return typeof frame.type === "string" ? [frame] : [];
}

function applyEvent(view: View, ep: string, event: AgentEvent): View {
  const range = event.covers ?? (event.seq === undefined ? null : ([event.seq, event.seq] as const));
  if (range === null) return applyTransient(view, ep, event);
  const [first, last] = range;
  if (view.ep !== ep) return stale(view, "epoch");
  if (last <= view.seq) return view;
  if (first > view.seq + 1) return stale(view, "gap");
  const applied = applyDurable(view, event);
  if (applied === null) return stale(view, "gap");
  const next = { ...applied, seq: last };
  if (next.session !== null) {
    next.session = { ...next.session, updated_at: event.ts, status: sessionStatus(next) };
  }
  return next;
}

/** While a subscription is under way its `caught_up` tells whether anything is missing, not each event. */
function stale(view: View, reason: Stale): View {
  return view.syncing || view.stale !== null ? view : { ...view, stale: reason };
}

function caughtUp(view: View, ep: string, seq: number): View {
  if (view.ep === null) return view; // another view's, on a shared road
  const current = { ...view, syncing: false, stale: null };
  if (view.ep !== ep) return stale(current, "epoch");
  return seq > view.seq ? stale(current, "gap") : current;
}

function applyTransient(view: View, ep: string, event: AgentEvent): View {
  switch (event.type) {
    case "snapshot":
      return applySnapshot(view, ep, event.d);
    case "caught_up":
      return caughtUp(view, ep, event.d.seq);
    case "resync":
      return stale(view, event.d.reason === "epoch" ? "epoch" : "resync");
    case "notice":
      return { ...view, notice: event.d };
    case "session.deleted": // it has no order any more
      return { ...view, deleted: true };
    case "tool.state": // progress only: it has no place in the order and is not kept
      return updatePart(view, event.d.part_id, (part) =>
        part.type === "tool" && !isTerminal(part) ? { ...part, progress: event.d.progress } : part,
      );
    default:
      return view;
  }
}

function applySnapshot(view: View, ep: string, d: Snapshot): View {
  const late = !view.syncing && view.stale === null && view.ep === ep && d.as_of < view.seq;
  if (late) return view;
  return {
    ...view,
    ep,
    seq: d.as_of,
    session: d.session,
    messages: d.messages,
    page: d.page,
    turn: d.turn ?? null,
    queue: d.queue,
    paused: d.paused,
    approvals: d.approvals,
    tasks: d.tasks,
    last_outcome: d.last_outcome ?? null,
    stale: null,
    deleted: false,
    notice: null,
  };
}

/** Apply an event that is next in order; null when a delta before it is missing. */
function applyDurable(view: View, event: AgentEvent): View | null {
  switch (event.type) {
    case "session.updated":
      return view.session === null
        ? view
        : { ...view, session: { ...view.session, ...event.d.patch, rev: event.d.rev } };
    case "session.deleted":
      return { ...view, deleted: true };
    case "turn.started":
      return { ...view, turn: event.d.turn, notice: null };
    case "turn.status":
      return view.turn === null
        ? view
        : { ...view, turn: { ...view.turn, status: event.d.status, attempt: event.d.attempt }, notice: null };
    case "turn.ended":
      return turnEnded(view, event.d);
    case "step.started":
      return view.turn === null ? view : { ...view, turn: { ...view.turn, step: event.d.step } };
    case "step.reset":
      return event.d.parts.reduce<View>(
        (next, id) => updatePart(next, id, (part) => ({ ...part, superseded: true }) as Part),
        view,
      );
    case "message.added":
    case "message.updated":
      return { ...view, messages: upsert(view.messages, withEarlierParts(view.messages, event.d.message)) };
    case "message.removed":
      return { ...view, messages: view.messages.filter((message) => message.id !== event.d.message_id) };
    case "part.added":
    case "part.done":
      return upsertPart(view, event.d.message_id, event.d.part);
    case "part.delta":
      return applyDelta(view, event.d);
    case "tool.state":
      return updatePart(view, event.d.part_id, (part) => (part.type === "tool" ? advanceTool(part, event.d) : part));
    case "approval.requested":
      return { ...view, approvals: upsert(view.approvals, event.d.approval) };
    case "approval.resolved":
      return { ...view, approvals: view.approvals.filter((approval) => approval.id !== event.d.id) };
    case "queue.updated":
      return { ...view, queue: event.d.items, paused: event.d.paused };
    case "task.updated":
      return { ...view, tasks: upsert(view.tasks, event.d.task) };
    case "notice":
      return { ...view, notice: event.d };
    default: // step.ended, and whatever a newer server says: it has its place in the order, and no face
      return view;
  }
}

// -- parts ------------------------------------------------------------------------

function applyDelta(view: View, d: PartDelta): View | null {
  const part = findPart(view, d.part_id);
  if (part === undefined || !takesDelta(part, d.field)) return view;
  const text = ((part as unknown as Record<string, unknown>)[d.field] as string | null | undefined) ?? "";
  if (d.at > text.length) return null;
  const fresh = d.delta.slice(text.length - d.at);
  if (fresh === "") return view;
  return updatePart(view, d.part_id, (old) => ({ ...old, [d.field]: text + fresh }) as Part);
}

/** A merged range may bring deltas of a part that is already whole here. */
function takesDelta(part: Part, field: PartDelta["field"]): boolean {
  if (part.type === "tool") return field === "input_json" && part.state === "input-streaming";
  return field === "text" && (part.type === "text" || part.type === "reasoning");
}

function advanceTool(part: ToolPart, d: ToolStateChanged): ToolPart {
  if (isTerminal(part) || d.rev <= part.rev) return part;
  const { part_id: _, ...changes } = d;
  const next = { ...part, ...changes } as ToolPart;
  if (next.state !== "input-streaming") delete (next as { input_json?: unknown }).input_json;
  if (isTerminal(next)) delete (next as { progress?: unknown }).progress;
  return next;
}

function findPart(view: View, id: string): Part | undefined {
  for (let index = view.messages.length - 1; index >= 0; index--) {
    const part = view.messages[index]?.parts.find((candidate) => candidate.id === id);
    if (part !== undefined) return part;
  }
  return undefined;
}

/** Change one part; all other messages and parts keep their identity. Searches from the newest. */
function updatePart(view: View, id: string, change: (part: Part) => Part): View {
  for (let at = view.messages.length - 1; at >= 0; at--) {
    const message = view.messages[at] as Message;
    const place = message.parts.findIndex((part) => part.id === id);
    if (place < 0) continue;
    const old = message.parts[place] as Part;
    const part = change(old);
    if (part === old) return view;
    const parts = message.parts.slice();
    parts[place] = part;
    return withMessage(view, at, { ...message, parts });
  }
  return view;
}

function upsertPart(view: View, message_id: string, part: Part): View {
  const at = view.messages.findLastIndex((message) => message.id === message_id);
  const message = view.messages[at];
  if (message === undefined) return view;
  const parts = [...upsert(message.parts, part)].sort((a, b) => a.idx - b.idx);
  return withMessage(view, at, { ...message, parts });
}

/** A message too large for a frame comes without its earlier parts: the ones that are here stay. */
function withEarlierParts(messages: readonly Message[], message: Message): Message {
  const first = message.parts[0]?.idx ?? 0;
  if (first === 0) return message;
  const known = findLast(messages, (candidate) => candidate.id === message.id);
  const earlier = known?.parts.filter((part) => part.idx < first) ?? [];
  return earlier.length === 0 ? message : { ...message, parts: [...earlier, ...message.parts] };
}

function withMessage(view: View, at: number, message: Message): View {
  const messages = view.messages.slice();
  messages[at] = message;
  return { ...view, messages };
}

function upsert<T extends { id: string }>(items: readonly T[], item: T): T[] {
  const at = items.findIndex((candidate) => candidate.id === item.id);
  if (at < 0) return [...items, item];
  const next = items.slice();
  next[at] = item;
  return next;
}

// -- the end of a turn ------------------------------------------------------------

function turnEnded(view: View, outcome: TurnEnded): View {
  return {
    ...view,
    turn: null,
    last_outcome: outcome,
    notice: null,
    session: view.session && { ...view.session, usage: addUsage(view.session.usage, outcome.usage) },
    messages: settle(view.messages, outcome),
  };
}

function addUsage<T extends object>(total: T, more: T): T {
  const sum = { ...total } as Record<string, number | null>;
  for (const [name, count] of Object.entries(more as Record<string, number | null>)) {
    if (typeof count === "number") sum[name] = (sum[name] ?? 0) + count;
  }
  return sum as T;
}

/** No spinner without work: whatever the turn left open is closed with it. */
function settle(messages: readonly Message[], outcome: TurnEnded): readonly Message[] {
  const reason = outcome.outcome === "stopped" ? "stopped" : "interrupted";
  const mine = (message: Message) => message.turn_id === outcome.turn && message.parts.some(isOpen);
  if (findLast(messages, mine) === undefined) return messages;
  return messages.map((message) =>
    mine(message) ? { ...message, parts: message.parts.map((part) => settlePart(part, reason)) } : message,
  );
}

function settlePart(part: Part, reason: "stopped" | "interrupted"): Part {
  if (!isOpen(part)) return part;
  if (part.type === "tool") {
    const { input_json: _, progress: __, ...kept } = part;
    return { ...kept, state: "output-error", running: false, reason } as ToolPart;
  }
  return { ...part, state: "done" } as Part;
}

// -- older messages ---------------------------------------------------------------

/** Put a page of older messages before the ones we have; its newest may hold the earlier parts of our oldest. */
export function prependHistory(
  view: View,
  page: { messages: Message[]; has_more: boolean; before: string | null },
): View {
  const paged = new Map(page.messages.map((message) => [message.id, message]));
  const known = new Set(view.messages.map((message) => message.id));
  const older = page.messages.filter((message) => !known.has(message.id));
  return {
    ...view,
    messages: [...older, ...view.messages.map((message) => prependParts(message, paged.get(message.id)))],
    page: { before: page.before, has_more: page.has_more },
  };
}

function prependParts(message: Message, page: Message | undefined): Message {
  const first = message.parts[0]?.idx ?? 0;
  const earlier = page?.parts.filter((part) => part.idx < first) ?? [];
  return earlier.length === 0 ? message : { ...message, parts: [...earlier, ...message.parts] };
}
