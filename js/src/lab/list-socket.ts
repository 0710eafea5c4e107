/** The list of sessions as it changes: a WebSocket while somebody looks at the list; without it, a look now and then. */
import { SocketConnection, type SocketOptions } from "../connections/socket";
import type { SessionChange } from "../panel/context";
import type { Session } from "../protocol.gen";

export const LOOK_MS = 30_000;

type ListFrame =
  | { type: "sessions" }
  | { type: "session.changed"; d: { session: Session } }
  | { type: "session.removed"; d: { id: string } };

/** Tell of every change until the returned function is called. What may have been missed meanwhile: a `reset`. */
export function watchSessions(
  url: () => string,
  told: (change: SessionChange) => void,
  options: Pick<SocketOptions, "WebSocket" | "random"> = {},
): () => void {
  const road = new SocketConnection({ ...options, session_id: null, url });
  let missed = false;
  const stop = road.subscribe((frame) => {
    const change = read(frame as unknown as ListFrame);
    if (change === null || (change.type === "reset" && !missed)) return;
    missed = false;
    told(change);
  });
  const unwatch = road.status.subscribe(({ state }) => {
    if (state === "disconnected") missed = true;
  });
  const timer = setInterval(() => {
    const hidden = globalThis.document?.visibilityState === "hidden";
    if (road.status.peek().state !== "connected" && !hidden) told({ type: "reset" });
  }, LOOK_MS);
  return () => {
    clearInterval(timer);
    unwatch();
    stop();
    road.close();
  };
}

function read(frame: ListFrame): SessionChange | null {
  switch (frame.type) {
    case "sessions":
      return { type: "reset" };
    case "session.changed":
      return { type: "changed", session: frame.d.session };
    case "session.removed":
      return { type: "removed", id: frame.d.id };
    default:
      return null;
  }
}
