/** The one sign of life, shown exactly while the session works and nothing else on screen moves. */
import { usePanel } from "./context";

export function Working() {
  const { client } = usePanel();
  const status = client.status.value;
  const turn = client.view.value.turn;
  if (client.readOnly.value !== null) return null; // whatever goes on, it does not go on here
  if (status === "recovering")
    return (
      <Line text={`Picking up where it stopped${turn && turn.attempt > 1 ? ` (attempt ${turn.attempt})` : ""}…`} />
    );
  if (status !== "submitted" && status !== "streaming") return null;
  if (turn?.status === "stopping") return <Line text="Stopping…" />;
  if (status === "streaming" && somethingMoves(client.view.value.messages.at(-1)?.parts.at(-1))) return null;
  return <Line text="Working…" />;
}

function somethingMoves(part: { type: string; state?: string; running?: boolean } | undefined): boolean {
  if (part === undefined) return false;
  return part.state === "streaming" || part.state === "input-streaming" || part.running === true;
}

function Line({ text }: { text: string }) {
  return (
    <div class="jp-agent-working">
      <span class="jp-agent-mark" data-mark="busy" aria-hidden="true" />
      {text}
    </div>
  );
}
