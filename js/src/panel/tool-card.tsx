/** One tool call: a line that follows `part.state`, and behind it what was done and what came of it. */
import type { ComponentChild } from "preact";
import { useState } from "preact/hooks";
import type { ToolPart } from "../protocol.gen";
import { isTerminal } from "../view";
import { Displays, Terminal } from "./display";
import { Icon } from "./icons";
import { CodeBlock } from "./markdown-view";
import { toolCode, toolFacts, toolInput, toolStateText, toolSummary, toolTitle } from "./tool-text";

/** `more` stands below what is shown cut. */
export function ToolCard({ part, more }: { part: ToolPart; more: ComponentChild }) {
  const [chosen, setChosen] = useState<boolean | null>(null);
  const writing = part.state === "input-streaming";
  const open = chosen ?? false;
  const asked = part.state === "approval-requested"; // the question below says it in full
  return (
    <div class="jp-agent-card">
      <button type="button" class="jp-agent-line" aria-expanded={open} onClick={() => setChosen(!open)}>
        <Mark part={part} />
        <span class="jp-agent-line-title">{toolTitle(part.name)}</span>
        <span class="jp-agent-line-summary">{asked ? "" : toolSummary(part)}</span>
        <span class="jp-agent-line-state">{toolStateText(part)}</span>
        <Icon name="chevron" />
      </button>
      {part.state === "output-error" && part.reason === "interrupted" ? <Unknown part={part} /> : null}
      {open ? <ToolBody part={part} more={more} /> : writing ? <Writing part={part} /> : null}
    </div>
  );
}

/** Nobody was there to see how it ended: never shown as failed alone, since it may have been done. */
function Unknown({ part }: { part: ToolPart }) {
  const changes = part.effect === "write" || part.effect === "execute";
  return (
    <div class="jp-agent-unknown">
      {changes
        ? "Cut off while it ran: it may have taken effect. Look before you do it again."
        : "Cut off while it ran."}
    </div>
  );
}

/** A dot that says how it went; it turns while work is going on. */
function Mark({ part }: { part: ToolPart }) {
  const kind = markOf(part);
  return <span class="jp-agent-mark" data-mark={kind} aria-hidden="true" />;
}

function markOf(part: ToolPart): string {
  if (part.state === "output-error") return part.reason === "stopped" || part.reason === "never_ran" ? "off" : "error";
  if (part.state === "output-denied") return "off";
  if (isTerminal(part) && !part.running) return "done";
  if (part.state === "approval-requested") return "ask";
  return "busy";
}

/** The end of the code that is being written; it goes when the code is whole. */
function Writing({ part }: { part: ToolPart }) {
  const code = toolCode(toolInput(part));
  if (code === null || code.text === "") return null;
  return (
    <div class="jp-agent-writing">
      <CodeBlock text={code.text} language={code.language} growing />
    </div>
  );
}

function ToolBody({ part, more }: { part: ToolPart; more: ComponentChild }) {
  const input = toolInput(part);
  const display = part.output?.display ?? [];
  const shown = display.some((item) => item.type === "code" || item.type === "diff" || item.type === "markdown");
  const code = shown ? null : toolCode(input);
  const facts = toolFacts(input);
  const nothing = code === null && facts.length === 0 && display.length === 0 && !part.error;
  return (
    <div class="jp-agent-body">
      {facts.length > 0 ? (
        <dl class="jp-agent-facts">
          {facts.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      ) : null}
      {code ? <CodeBlock text={code.text} language={code.language} growing={part.state === "input-streaming"} /> : null}
      <Displays items={display} />
      {part.error ? (
        <div class="jp-agent-error-text">
          <Terminal text={part.error} />
        </div>
      ) : null}
      {more}
      {nothing ? <div class="jp-agent-muted">Nothing to show.</div> : null}
    </div>
  );
}
