/** How the last turn ended, when it didn't simply finish, and what can be done. */
import type { ComponentChildren } from "preact";
import type { AgentClient } from "../client";
import { goOn, tryAgain } from "../orders";
import type { Message, TurnEnded } from "../protocol.gen";
import { findLast } from "../view";
import { usePanel } from "./context";

/** The last turn's end, while that is the last thing there is to say. */
export function latestOutcome({ view, sent }: AgentClient): TurnEnded | null {
  const { last_outcome: outcome, turn, messages } = view.value;
  if (outcome === null || turn !== null || sent.value.length > 0) return null;
  // Rewound or cleared, the answer is no part of the story any more.
  return messages.some((message) => outcome.message_ids.includes(message.id)) ? outcome : null;
}

const CUT: Partial<Record<Message["status"], string>> = {
  stopped: "Stopped.",
  interrupted: "Interrupted.",
  failed: "Failed.",
};

/** What stands below an answer that was cut off and left behind: else it would look as if it was all there. */
export function cutMark(message: Message, latest: TurnEnded | null): string | null {
  if (message.role !== "assistant" || latest?.message_ids.includes(message.id)) return null;
  return CUT[message.status] ?? null;
}

export function Outcome() {
  const { client, focusComposer } = usePanel();
  const { messages } = client.view.value;
  const outcome = latestOutcome(client);
  if (outcome === null) return null;
  const resume = action("Continue", () => {
    focusComposer(); // the button goes, and would take the keyboard with it
    void goOn(client, outcome.turn);
  });
  switch (outcome.outcome) {
    case "stopped":
      return <Line action={saidSomething(messages, outcome) ? resume : undefined}>Stopped.</Line>;
    case "interrupted":
      return (
        <Line level="warning" action={outcome.error?.retryable === false ? undefined : resume}>
          {outcome.error?.message ?? "This was interrupted."}
        </Line>
      );
    case "step_limit":
      return (
        <Line level="warning" action={resume}>
          The limit of steps for one answer is reached.
        </Line>
      );
    case "failed": {
      const failed = failedAnswer(messages, outcome);
      const again = () => {
        focusComposer();
        void (failed === undefined ? goOn(client, outcome.turn) : tryAgain(client, failed.id));
      };
      return <Failed outcome={outcome} again={action("Try again", again)} />;
    }
    default:
      return null;
  }
}

function Failed({ outcome, again }: { outcome: TurnEnded; again: Action }) {
  const error = outcome.error;
  return (
    <Line level="error" action={error?.retryable ? again : undefined}>
      {error?.message ?? "Something went wrong."}
      {error?.hint ? <div>{error.hint}</div> : null}
      <div class="jp-agent-fine">
        {error?.code}
        {error?.request_id ? ` · request ${error.request_id}` : ""}
      </div>
    </Line>
  );
}

/** Nothing was begun: then there is nothing to go on with, and to ask again is as good. */
function saidSomething(messages: readonly Message[], outcome: TurnEnded): boolean {
  return messages.some((message) => outcome.message_ids.includes(message.id) && message.parts.length > 0);
}

function failedAnswer(messages: readonly Message[], outcome: TurnEnded): Message | undefined {
  return findLast(messages, (message) => message.role === "assistant" && outcome.message_ids.includes(message.id));
}

interface Action {
  name: string;
  act: () => void;
}

const action = (name: string, act: () => void): Action => ({ name, act });

interface LineProps {
  level?: "info" | "warning" | "error";
  action: Action | undefined;
  children: ComponentChildren;
}

function Line({ level = "info", action, children }: LineProps) {
  return (
    <div class="jp-agent-outcome" data-level={level}>
      <div>{children}</div>
      {action ? (
        <button type="button" class="jp-agent-button" onClick={action.act}>
          {action.name}
        </button>
      ) : null}
    </div>
  );
}
