/** What the user wants of a session, beyond saying something: each a command that must arrive. */
import type { AckBody, AgentClient } from "./client";
import type { Message, Mode, QueueItem, Task, TaskUpdate } from "./protocol.gen";

type Reply = Promise<AckBody>;

/** Tell whether the server took a command. */
export function accepted(ack: AckBody): boolean {
  return (ack.original ?? ack.status) === "accepted";
}

// -- turns ------------------------------------------------------------------------

/** Go on where this turn ended. */
export function goOn(client: AgentClient, after: string): Reply {
  return client.order("turn.continue", { after });
}

/** Answer once more what this answer answers. */
export function tryAgain(client: AgentClient, message_id: string): Reply {
  return client.order("turn.retry", { message_id });
}

// -- what waits -------------------------------------------------------------------

/** Change the text of a waiting message; its files stay. */
export function editQueued(client: AgentClient, item: QueueItem, text: string): Reply {
  const files = item.parts.filter((part) => part.type === "file");
  const parts = [
    { type: "text", text },
    ...files.map(({ sha256, mime, name, bytes, type }) => ({ sha256, mime, name, bytes, type })),
  ];
  return client.order("queue.edit", { id: item.id, rev: item.rev, parts });
}

export function removeQueued(client: AgentClient, item: QueueItem): Reply {
  return client.order("queue.remove", { id: item.id, rev: item.rev });
}

export function sendQueuedNow(client: AgentClient, item: QueueItem): Reply {
  return client.order("queue.send_now", { id: item.id, rev: item.rev });
}

/** Put a waiting message before another one, or last. */
export function moveQueued(client: AgentClient, item: QueueItem, before: string | null): Reply {
  return client.order("queue.reorder", { id: item.id, rev: item.rev, before });
}

export function resumeQueue(client: AgentClient): Reply {
  return client.order("queue.resume");
}

// -- branches ---------------------------------------------------------------------

/** Make this message the last one; null begins anew. */
export function rewind(client: AgentClient, message_id: string | null): Reply {
  return message_id === null ? client.order("session.clear") : client.order("session.rewind", { message_id });
}

/** Copy everything up to this message; the id of the new session, null when the server refused. */
export async function fork(client: AgentClient, message_id: string | null): Promise<string | null> {
  const ack = await client.order("session.fork", { message_id });
  const id = accepted(ack) ? ack.result?.id : null;
  return typeof id === "string" ? id : null;
}

/**
 * The message that is last once `message` and all after it are gone: null when none is,
 * undefined when this page doesn't know it.
 */
export function lastBefore(
  messages: readonly Message[],
  message: Message,
  has_more: boolean,
): string | null | undefined {
  const at = messages.findIndex((candidate) => candidate.id === message.id);
  if (at > 0) return messages[at - 1]?.id;
  if (at < 0) return undefined;
  return has_more ? (message.parent_id ?? undefined) : null;
}

// -- the session and its tasks ------------------------------------------------------

export function rename(client: AgentClient, title: string): Reply {
  return client.order("session.set", { title });
}

export function setModel(client: AgentClient, model: string): Reply {
  return client.order("session.set", { model });
}

export function createTask(client: AgentClient, title: string, mode: Mode): Reply {
  return client.order("task.create", { title, mode });
}

export function updateTask(client: AgentClient, task: Task, changes: Partial<TaskUpdate>): Reply {
  return client.order("task.update", { id: task.id, rev: task.rev, ...changes });
}

export function runTask(client: AgentClient, task: Task): Reply {
  return client.order("task.run", { id: task.id, rev: task.rev });
}
