/** Title, the list of sessions, a new one. */
import { useComputed } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Session } from "../protocol.gen";
import { usePanel } from "./context";
import { Icon } from "./icons";

const UNTITLED = "New session";

export function Header() {
  const { client, options } = usePanel();
  const title = useComputed(() => client.view.value.session?.title ?? "").value;
  const [open, setOpen] = useState(false);
  return (
    <header class="jp-agent-header">
      <span class="jp-agent-title" title={title}>
        {title || UNTITLED}
      </span>
      {options.sessions ? (
        <button
          type="button"
          class="jp-agent-tool-button"
          aria-label="Sessions"
          title="Sessions"
          aria-expanded={open}
          onClick={() => setOpen(!open)}
        >
          <Icon name="list" />
        </button>
      ) : null}
      {options.onNew ? (
        <button
          type="button"
          class="jp-agent-tool-button"
          aria-label="New session"
          title="New session"
          onClick={() => options.onNew?.()}
        >
          <Icon name="plus" />
        </button>
      ) : null}
      {open ? <SessionList onClose={() => setOpen(false)} /> : null}
    </header>
  );
}

function SessionList({ onClose }: { onClose: () => void }) {
  const { client, options } = usePanel();
  const [sessions, setSessions] = useState<readonly Session[] | null>(null);
  const [failed, setFailed] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let alive = true;
    options.sessions?.().then(
      (list) => alive && setSessions(list),
      () => alive && setFailed(true),
    );
    root.current?.focus();
    const away = (event: Event) => {
      const header = root.current?.parentElement;
      if (!header?.contains(event.target as Node)) onClose();
    };
    document.addEventListener("pointerdown", away);
    return () => {
      alive = false;
      document.removeEventListener("pointerdown", away);
    };
  }, []);
  const current = client.view.value.session?.id;
  return (
    <div
      ref={root}
      class="jp-agent-sessions"
      role="dialog"
      aria-label="Sessions"
      tabIndex={-1}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        onClose();
      }}
    >
      {failed ? <div class="jp-agent-muted">The sessions could not be listed.</div> : null}
      {sessions === null && !failed ? <div class="jp-agent-muted">Loading…</div> : null}
      {sessions?.length === 0 ? <div class="jp-agent-muted">No sessions yet.</div> : null}
      <ul>
        {sessions?.map((session) => (
          <li key={session.id}>
            <button
              type="button"
              aria-current={session.id === current || undefined}
              onClick={() => {
                onClose();
                if (session.id !== current) options.onSelect?.(session.id);
              }}
            >
              <span class="jp-agent-session-title">{session.title || UNTITLED}</span>
              <span class="jp-agent-muted">{about(session)}</span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

const BUSY: Partial<Record<Session["status"], string>> = {
  submitted: "working",
  streaming: "working",
  awaiting: "needs your answer",
  recovering: "recovering",
};

function about(session: Session): string {
  const notebook = session.notebook_path?.split("/").at(-1);
  return [BUSY[session.status] ?? ago(session.updated_at), notebook].filter(Boolean).join(" · ");
}

function ago(then: number): string {
  const minutes = Math.round((Date.now() - then) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.round(minutes / 60)} h ago`;
  return new Date(then).toLocaleDateString();
}
