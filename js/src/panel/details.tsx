/** What is around a session: looked up when it is opened, and again when somebody comes back to the page. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Details, fetchDetails } from "../connections/page";
import type { Task, Usage } from "../protocol.gen";
import { usePanel } from "./context";
import { Icon } from "./icons";
import { leavesFor } from "./keyboard";

const MODES = { plan: "Plan: looks only", build: "Build: acts, and asks first" } as const;

interface DetailsProps {
  /** Whether the keyboard should go back to where it came from. */
  onClose: (back: boolean) => void;
}

export function DetailsBox({ onClose }: DetailsProps) {
  const { client } = usePanel();
  const { session, tasks } = client.view.value;
  const { found, failed } = useDetails();
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    root.current?.focus({ preventScroll: true });
    const away = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) onClose(false);
    };
    document.addEventListener("pointerdown", away);
    return () => document.removeEventListener("pointerdown", away);
  }, []);
  if (session === null) return null;
  return (
    <div
      ref={root}
      class="jp-agent-sessions jp-agent-details"
      role="dialog"
      aria-label="Details"
      tabIndex={-1}
      onFocusOut={(event) => leavesFor(event) && onClose(false)}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        onClose(true);
      }}
    >
      <div class="jp-agent-details-head">
        <span>Details</span>
        <button
          type="button"
          class="jp-agent-tool-button"
          aria-label="Close"
          title="Close"
          onClick={() => onClose(true)}
        >
          <Icon name="close" />
        </button>
      </div>
      <dl>
        <Fact name="Notebook">
          <Path path={session.notebook_path} none="none" />
        </Fact>
        {found === null ? null : <Around found={found} />}
        <Fact name="Mode">{MODES[session.mode]}</Fact>
        <Fact name="Model">{client.welcome.value?.features.includes("model:demo") ? "Demo model" : session.model}</Fact>
        <Fact name="Tasks">{tasksText(tasks)}</Fact>
        <Fact name="Tokens">{usageText(session.usage)}</Fact>
        <Fact name="Session">
          <code>{session.id}</code>
        </Fact>
      </dl>
      {failed === null ? null : <div class="jp-agent-muted">{failed}</div>}
    </div>
  );
}

/** What only the server can tell. */
function Around({ found: { kernel, git, storage } }: { found: Details }) {
  return (
    <>
      <Fact name="Kernel">{kernel === null ? "not running" : `${kernel.display_name}, ${kernel.state}`}</Fact>
      {git === null ? (
        <Fact name="Repository">none</Fact>
      ) : (
        <>
          <Fact name="Repository">
            <Path path={git.root} none="" />
          </Fact>
          <Fact name="Branch">{git.branch ?? (git.commit ? `none, at ${git.commit.slice(0, 8)}` : "unknown")}</Fact>
        </>
      )}
      {storage === "network" ? <Fact name="Stored">on a network disk</Fact> : null}
    </>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="jp-agent-fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Its last name; the whole of it is told to those who point at it. */
function Path({ path, none }: { path: string | null; none: string }) {
  const name = path?.split(/[\\/]/).findLast((part) => part !== "");
  return <span title={path ?? undefined}>{name ?? path ?? none}</span>;
}

function useDetails(): { found: Details | null; failed: string | null } {
  const { client } = usePanel();
  const { page, session_id } = client.connection;
  const session = session_id.value;
  const status = client.status.value; // a turn starts kernels
  const [found, setFound] = useState<Details | null>(null);
  const [failed, setFailed] = useState<string | null>(null);
  const asked = useRef(0);
  const look = () => {
    if (!page || session === null || document.visibilityState === "hidden") return;
    const mine = ++asked.current;
    fetchDetails(page, session).then(
      (details) => {
        if (mine !== asked.current) return;
        setFound(details);
        setFailed(null);
      },
      (error: Error) => mine === asked.current && setFailed(error.message),
    );
  };
  useEffect(look, [session, status]);
  useEffect(() => {
    // Branches are switched elsewhere: in a terminal, or in another window.
    globalThis.addEventListener("focus", look);
    document.addEventListener("visibilitychange", look);
    return () => {
      globalThis.removeEventListener("focus", look);
      document.removeEventListener("visibilitychange", look);
      ++asked.current;
    };
  }, [session]);
  return { found, failed };
}

function tasksText(tasks: readonly Task[]): string {
  if (tasks.length === 0) return "none";
  const open = tasks.filter(({ status }) => status === "pending" || status === "running").length;
  return open === 0 ? `${tasks.length}, all settled` : `${open} open of ${tasks.length}`;
}

function usageText(usage: Usage): string {
  const cached = usage.cache_read_input_tokens;
  const read = usage.input_tokens + usage.cache_creation_input_tokens + cached;
  const parts: string[] = [];
  if (read > 0) parts.push(`${count(read)} read${cached > 0 ? ` (${count(cached)} from cache)` : ""}`);
  if (usage.output_tokens > 0) parts.push(`${count(usage.output_tokens)} written`);
  if (usage.cost_usd !== null) parts.push(`$${usage.cost_usd.toFixed(usage.cost_usd < 1 ? 3 : 2)}`);
  return parts.join(", ") || "none yet";
}

function count(tokens: number): string {
  return tokens.toLocaleString("en-US");
}
