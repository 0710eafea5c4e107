/** The list of sessions as it changes: a WebSocket while somebody looks at the list. */
import type { SessionChange } from "../panel/context";
import type { Session } from "../protocol.gen";

const AGAIN_MS = 5_000;

type ListFrame =
  | { type: "sessions" }
  | { type: "session.changed"; d: { session: Session } }
  | { type: "session.removed"; d: { id: string } };

/** Tell of every change until the returned function is called. What was missed meanwhile: a `reset`. */
export function watchSessions(url: () => string, told: (change: SessionChange) => void): () => void {
  let socket: WebSocket | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  const open = (again: boolean) => {
    socket = new WebSocket(url());
    socket.onmessage = ({ data }) => {
      const change = read(data);
      if (change !== null && (again || change.type !== "reset")) told(change);
    };
    socket.onclose = () => {
      if (!over) timer = setTimeout(() => open(true), AGAIN_MS);
    };
  };
  open(false);
  return () => {
    over = true;
    clearTimeout(timer);
    socket?.close();
  };
}

function read(data: unknown): SessionChange | null {
  try {
    const frame = JSON.parse(data as string) as ListFrame;
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
  } catch {
    return null;
  }
}
