/** One quiet line about the connection and what holds things up; absent when there is nothing to say. */
import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Fault } from "../client";
import type { ConnectionStatus } from "../connection";
import { takeOver } from "../connections/page";
import { usePanel } from "./context";
import { Icon } from "./icons";

export function StatusLine() {
  const { client } = usePanel();
  const status = client.status.value;
  const { notice, deleted, turn } = client.view.value;
  const fault = client.fault.value;
  if (deleted) return <Line level="warning">This session was deleted.</Line>;
  if (status === "offline") return <Offline status={client.connection.status.value} />;
  if (fault !== null) {
    return (
      <Line level="error" role="alert" onClose={() => (client.fault.value = null)}>
        {said(fault)}
        {fault.code === "open_elsewhere" ? <TakeOver /> : null}
      </Line>
    );
  }
  if (client.readOnly.value !== null) return <ReadOnly why={client.readOnly.value} />;
  if (status === "connecting" || status === "syncing") return <Late text="Connecting…" />;
  if (client.warning.value !== null) {
    return (
      <Line level="warning" role="status" onClose={() => (client.warning.value = null)}>
        {said(client.warning.value)}
      </Line>
    );
  }
  return notice !== null && turn !== null ? <Line level={notice.level}>{notice.text}</Line> : null;
}

function said({ message, hint }: Fault): string {
  return hint ? `${message} ${hint}` : message;
}

/** It stands as long as it holds: what is written meanwhile is not sent. */
function ReadOnly({ why }: { why: Fault }) {
  const { client } = usePanel();
  return (
    <Line level="warning" role="status">
      {client.view.value.session === null ? null : <strong>Read only. </strong>}
      {said(why)}
      {why.code === "open_elsewhere" ? <TakeOver /> : null}
    </Line>
  );
}

/** Another server has this session: here it can be looked at, or had. */
function TakeOver() {
  const { client } = usePanel();
  const [asked, setAsked] = useState(false);
  const { page, session_id } = client.connection;
  const session = session_id.value;
  if (!page || session === null) return null;
  const act = async () => {
    setAsked(true);
    try {
      await takeOver(page, session); // it tells its views to start over
      client.fault.value = null;
      client.readOnly.value = null;
    } catch (error) {
      client.fault.value = { code: "open_elsewhere", message: (error as Error).message };
      setAsked(false);
    }
  };
  return (
    <button type="button" class="jp-agent-link" disabled={asked} onClick={() => void act()}>
      {asked ? "Taking over…" : "Take over"}
    </button>
  );
}

function Offline({ status }: { status: ConnectionStatus }) {
  const { client } = usePanel();
  const seconds = useSecondsUntil(status.retry_at);
  const when = seconds === null ? "" : seconds <= 1 ? " Trying again…" : ` Trying again in ${seconds} s.`;
  return (
    <Line level="warning">
      {status.detail ?? "Disconnected."}
      {status.detail ? "" : when}
      {status.final ? null : (
        <button type="button" class="jp-agent-link" onClick={() => client.connection.retry()}>
          Retry
        </button>
      )}
    </Line>
  );
}

function useSecondsUntil(time: number | undefined): number | null {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (time === undefined) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [time]);
  return time === undefined ? null : Math.max(0, Math.ceil((time - now) / 1_000));
}

/** Said only when it takes a while: a flash of text helps nobody. */
function Late({ text }: { text: string }) {
  const [shown, setShown] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setShown(true), 700);
    return () => clearTimeout(timer);
  }, []);
  return shown ? <Line level="info">{text}</Line> : null;
}

interface LineProps {
  level: "info" | "warning" | "error";
  /** Only for what is said once: a line that counts seconds would be read each time. */
  role?: "alert" | "status";
  onClose?: () => void;
  // biome-ignore lint/suspicious/noExplicitAny: whatever JSX takes
  children: any;
}

function Line({ level, role, onClose, children }: LineProps) {
  return (
    <div class="jp-agent-status" data-level={level} role={role}>
      <span>{children}</span>
      {onClose ? (
        <button type="button" class="jp-agent-tool-button" aria-label="Dismiss" title="Dismiss" onClick={onClose}>
          <Icon name="close" />
        </button>
      ) : null}
    </div>
  );
}

/** What a screen reader hears: the turning points, not each token. */
export function Announcer() {
  const { client } = usePanel();
  const [text, setText] = useState("");
  const busy = useRef(false);
  useSignalEffect(() => {
    const status = client.status.value;
    // That it is ready is news to who waited for it; to who opened a session it is not.
    setText(status === "ready" && !busy.current ? "" : (ANNOUNCED[status] ?? ""));
    if (status !== "connecting" && status !== "syncing") busy.current = status !== "ready";
  });
  return (
    <div class="jp-agent-sr" role="status" aria-live="polite">
      {text}
    </div>
  );
}

const ANNOUNCED: Record<string, string> = {
  submitted: "The agent is working.",
  streaming: "The agent is answering.",
  awaiting: "The agent needs your answer.",
  recovering: "The agent is picking up again.",
  ready: "The agent is ready.",
  error: "The agent could not finish.",
  offline: "Disconnected.",
};
