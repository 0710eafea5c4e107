/** A question: may this run? Shows the code or the change itself, never raw parameters. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { AnswerOptions } from "../client";
import { accepted } from "../orders";
import type { Approval, Decision, Scope, ToolPart } from "../protocol.gen";
import { usePanel } from "./context";
import { Displays } from "./display";
import { Icon } from "./icons";
import { CodeBlock } from "./markdown-view";
import { type Choice, Menu } from "./menu";
import { codeField, toolCode, toolInput, toolTitle } from "./tool-text";

const QUESTIONS: Record<string, string> = {
  run_cell: "Run this cell?",
  insert_cell: "Insert this cell?",
  edit_cell: "Make this change?",
  delete_cell: "Delete this cell?",
  exit_plan: "Go on with this plan?",
};

const WIDER: readonly { scope: Scope; name: string }[] = [
  { scope: "session", name: "Allow for this session" },
  { scope: "always", name: "Always allow in this notebook" },
];

export function ApprovalCard({ approval, part }: { approval: Approval; part: ToolPart | null }) {
  const { client, focusComposer } = usePanel();
  const [reason, setReason] = useState("");
  const [source, setSource] = useState<string | null>(null);
  const [answered, setAnswered] = useState<Decision | null>(null);
  const answer = (decision: Decision, more: AnswerOptions = {}) => {
    setAnswered(decision);
    focusComposer();
    void client.answer(approval, decision, more).then((ack) => {
      if (!accepted(ack)) setAnswered(null);
    });
  };
  const allow = (scope: Scope = "once", more: AnswerOptions = {}) =>
    answer("allow", { scope, ...edited(part, source), ...more });
  const deny = () => answer("deny", reason.trim() ? { reason: reason.trim() } : {});
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || answered) return;
    event.preventDefault();
    event.stopPropagation();
    allow();
  };
  const question = QUESTIONS[part?.name ?? ""] ?? `${toolTitle(part?.name ?? "Go on")}?`;
  const wider = WIDER.filter(({ scope }) => approval.scopes.includes(scope))
    // What is allowed for good is not the kernel's to say, whose code may be the model's.
    .filter(({ scope }) => scope !== "always" || client.connection.road !== "comm")
    .map(({ scope, name }): Choice => ({ name, act: () => allow(scope) }));
  const pattern = folderPattern(part, client.view.value.session?.notebook_path ?? null);
  const patterns = client.welcome.value?.features.includes("rule_patterns") && client.connection.road !== "comm";
  if (pattern !== null && patterns && approval.scopes.includes("always")) {
    wider.push({ name: "Always allow in this folder", act: () => allow("always", { pattern }) });
  }
  return (
    <section class="jp-agent-approval" aria-label={question} data-approval-id={approval.id} onKeyDown={onKeyDown}>
      <div class="jp-agent-question">{question}</div>
      {source === null ? (
        <Preview approval={approval} part={part} />
      ) : (
        <SourceBox source={source} onInput={setSource} onCancel={() => setSource(null)} />
      )}
      <div class="jp-agent-answers">
        <span class="jp-agent-split">
          <button
            type="button"
            class="jp-agent-button jp-agent-primary"
            title={source === null ? "Allow (Ctrl+Enter)" : "Allow it as it stands here (Ctrl+Enter)"}
            disabled={answered !== null}
            onClick={() => allow()}
          >
            Allow
          </button>
          {wider.length > 0 ? (
            <Menu
              name="More choices"
              choices={wider}
              class="jp-agent-button jp-agent-primary jp-agent-more"
              disabled={answered !== null}
              keepFocus
            >
              <Icon name="down" />
            </Menu>
          ) : null}
        </span>
        {canEdit(part) ? (
          <button
            type="button"
            class="jp-agent-button"
            disabled={answered !== null}
            onClick={() => setSource(source === null ? (toolCode(toolInput(part as ToolPart))?.text ?? "") : null)}
          >
            {source === null ? "Edit" : "Undo edit"}
          </button>
        ) : null}
        <button type="button" class="jp-agent-button" disabled={answered !== null} onClick={deny}>
          Deny
        </button>
        <input
          class="jp-agent-input"
          aria-label="Reason"
          placeholder="Reason, if you deny"
          value={reason}
          disabled={answered !== null}
          onInput={(event) => setReason(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.isComposing || event.ctrlKey || event.metaKey) return;
            event.preventDefault();
            if (reason.trim()) deny();
          }}
        />
      </div>
    </section>
  );
}

/** A call can be changed where it brings code, and all of it came here. */
function canEdit(part: ToolPart | null): boolean {
  return part !== null && !part.truncated && codeField(toolInput(part)) !== null;
}

/** Whatever lies below the folder of the notebook that the call is about; code runs in one notebook alone. */
function folderPattern(part: ToolPart | null, sessionPath: string | null): string | null {
  if (part === null || part.truncated || part.effect === "execute") return null;
  const { path } = toolInput(part);
  const named = typeof path === "string" && path !== "" ? path : sessionPath;
  const folder = named?.replace(/^\/+/, "").split("/").slice(0, -1).join("/");
  return folder ? `${folder.replace(/[*?[]/g, "[$&]")}/*` : null;
}

function edited(part: ToolPart | null, source: string | null): AnswerOptions {
  if (part === null || source === null) return {};
  const input = toolInput(part);
  const field = codeField(input);
  return field === null || input[field] === source ? {} : { edited_input: { ...input, [field]: source } };
}

interface SourceProps {
  source: string;
  onInput: (source: string) => void;
  onCancel: () => void;
}

function SourceBox({ source, onInput, onCancel }: SourceProps) {
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => area.current?.focus(), []);
  return (
    <textarea
      class="jp-agent-source"
      aria-label="Source"
      spellcheck={false}
      rows={Math.min(16, source.split("\n").length + 1)}
      value={source}
      ref={area}
      onInput={(event) => onInput(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        onCancel();
      }}
    />
  );
}

function Preview({ approval, part }: { approval: Approval; part: ToolPart | null }) {
  if (approval.preview.length > 0) return <Displays items={approval.preview} />;
  const code = part === null ? null : toolCode(toolInput(part));
  return code === null ? null : <CodeBlock text={code.text} language={code.language} />;
}
