/** How the last turn ended, when it didn't simply finish, and what can be done. */
import type { ComponentChildren } from "preact";
import type { Message, TurnEnded } from "../protocol.gen";
import { findLast } from "../view";
import { usePanel } from "./context";

export function Outcome() {
  const { client } = usePanel();
  const { last_outcome: outcome, turn, messages } = client.view.value;
  if (outcome === null || turn !== null || client.sent.value.length > 0) return null;
  const say = (text: string) => void client.send(text);
  switch (outcome.outcome) {
    case "stopped":
      return <Line>Stopped.</Line>;
    case "interrupted":
      return (
        <Line level="warning" action={["Continue", () => say("Please continue.")]}>
          This was interrupted.
        </Line>
      );
    case "step_limit":
      return (
        <Line level="warning" action={["Continue", () => say("Please continue.")]}>
          The limit of steps for one answer is reached.
        </Line>
      );
    case "failed":
      return <Failed outcome={outcome} retry={retryOf(messages, say)} />;
    default:
      return null;
  }
}

function Failed({ outcome, retry }: { outcome: TurnEnded; retry: (() => void) | null }) {
  const error = outcome.error;
  return (
    <Line level="error" {...(error?.retryable && retry ? { action: ["Try again", retry] } : {})}>
      {error?.message ?? "Something went wrong."}
      {error?.hint ? <div>{error.hint}</div> : null}
      <div class="jp-agent-fine">
        {error?.code}
        {error?.request_id ? ` · request ${error.request_id}` : ""}
      </div>
    </Line>
  );
}

/** Ask the same again: what the user last said. */
function retryOf(messages: readonly Message[], say: (text: string) => void): (() => void) | null {
  const asked = findLast(messages, (message) => message.role === "user");
  const text = asked?.parts.map((part) => (part.type === "text" ? part.text : "")).join("\n");
  return text ? () => say(text) : null;
}

interface LineProps {
  level?: "info" | "warning" | "error";
  action?: [string, () => void];
  children: ComponentChildren;
}

function Line({ level = "info", action, children }: LineProps) {
  return (
    <div class="jp-agent-outcome" data-level={level}>
      <div>{children}</div>
      {action ? (
        <button type="button" class="jp-agent-button" onClick={action[1]}>
          {action[0]}
        </button>
      ) : null}
    </div>
  );
}
