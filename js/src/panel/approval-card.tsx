/** A question: may this run? Shows the code or the change itself, never raw parameters. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Approval, Decision, Scope, ToolPart } from "../protocol.gen";
import { usePanel } from "./context";
import { Displays } from "./display";
import { Icon } from "./icons";
import { CodeBlock } from "./markdown-view";
import { toolCode, toolInput, toolTitle } from "./tool-text";

const QUESTIONS: Record<string, string> = {
  run_cell: "Run this cell?",
  insert_cell: "Insert this cell?",
  edit_cell: "Make this change?",
  delete_cell: "Delete this cell?",
  exit_plan: "Go on with this plan?",
};

export function ApprovalCard({ approval, part }: { approval: Approval; part: ToolPart | null }) {
  const { client, focusComposer } = usePanel();
  const [reason, setReason] = useState("");
  const [answered, setAnswered] = useState<Decision | null>(null);
  const answer = (decision: Decision, scope: Scope = "once") => {
    setAnswered(decision);
    focusComposer();
    const told = decision === "deny" ? reason.trim() : "";
    void client.answer(approval, decision, scope, told).then((ack) => {
      if (ack.status === "rejected") setAnswered(null);
    });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || answered) return;
    event.preventDefault();
    event.stopPropagation();
    answer("allow");
  };
  const question = QUESTIONS[part?.name ?? ""] ?? `${toolTitle(part?.name ?? "Go on")}?`;
  const session = approval.scopes.includes("session");
  return (
    <section class="jp-agent-approval" aria-label={question} data-approval-id={approval.id} onKeyDown={onKeyDown}>
      <div class="jp-agent-question">{question}</div>
      <Preview approval={approval} part={part} />
      <div class="jp-agent-answers">
        <span class="jp-agent-split">
          <button
            type="button"
            class="jp-agent-button jp-agent-primary"
            title="Allow (Ctrl+Enter)"
            disabled={answered !== null}
            onClick={() => answer("allow")}
          >
            Allow
          </button>
          {session ? <ScopeMenu disabled={answered !== null} onSession={() => answer("allow", "session")} /> : null}
        </span>
        <button type="button" class="jp-agent-button" disabled={answered !== null} onClick={() => answer("deny")}>
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
            if (reason.trim()) answer("deny");
          }}
        />
      </div>
    </section>
  );
}

function Preview({ approval, part }: { approval: Approval; part: ToolPart | null }) {
  if (approval.preview.length > 0) return <Displays items={approval.preview} />;
  const code = part === null ? null : toolCode(toolInput(part));
  return code === null ? null : <CodeBlock text={code.text} language={code.language} />;
}

/** The wider answer, one step further away than the plain one. */
function ScopeMenu({ disabled, onSession }: { disabled: boolean; onSession: () => void }) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLSpanElement>(null);
  const item = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    item.current?.focus();
    const away = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", away);
    return () => document.removeEventListener("pointerdown", away);
  }, [open]);
  return (
    <span ref={root} class="jp-agent-menu-root">
      <button
        type="button"
        class="jp-agent-button jp-agent-primary jp-agent-more"
        aria-label="More choices"
        aria-haspopup="menu"
        aria-expanded={open}
        disabled={disabled}
        onClick={() => setOpen(!open)}
      >
        <Icon name="down" />
      </button>
      {open ? (
        <span
          class="jp-agent-menu"
          role="menu"
          onKeyDown={(event) => {
            if (event.key !== "Escape") return;
            event.stopPropagation();
            setOpen(false);
          }}
        >
          <button
            ref={item}
            type="button"
            role="menuitem"
            onClick={() => {
              setOpen(false);
              onSession();
            }}
          >
            Allow for this session
          </button>
        </span>
      ) : null}
    </span>
  );
}
