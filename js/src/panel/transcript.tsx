/** The column of messages. It follows what is written until the reader scrolls up. */
import { useComputed } from "@preact/signals";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { ApprovalCard } from "./approval-card";
import { usePanel } from "./context";
import { Empty } from "./empty";
import { Icon } from "./icons";
import { MessageView, SentMessageView } from "./message";
import { cutMark, latestOutcome, Outcome } from "./outcome";
import { StickyScroll } from "./sticky-scroll";
import { Unsent } from "./unsent";
import { Working } from "./working";

export function Transcript() {
  const { client } = usePanel();
  const messages = useComputed(() => client.view.value.messages).value;
  const approvals = useComputed(() => client.view.value.approvals).value;
  const latest = useComputed(() => latestOutcome(client)).value;
  const sent = client.sent.value;
  const unsent = client.unsent.value;
  const status = client.status.value;
  const { scroller, column, following, follow } = useStickyScroll(
    `${messages[0]?.id} ${messages[0]?.parts[0]?.idx ?? 0}`,
  );
  const known = new Set(messages.flatMap((message) => message.parts.map((part) => part.id)));
  const orphans = approvals.filter((approval) => !known.has(approval.part_id));
  const empty = messages.length === 0 && sent.length === 0 && unsent.length === 0;
  return (
    <div class="jp-agent-transcript">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <div ref={scroller} class="jp-agent-scroll" role="log" aria-live="off" aria-label="Conversation" tabIndex={0}>
        <div ref={column} class="jp-agent-column">
          <Older />
          {empty && (status === "ready" || status === "error") ? <Empty /> : null}
          {messages.map((message) => (
            <MessageView key={message.id} message={message} approvals={approvals} cut={cutMark(message, latest)} />
          ))}
          {orphans.map((approval) => (
            <ApprovalCard key={approval.id} approval={approval} part={null} />
          ))}
          {sent
            .filter(({ id }) => !messages.some((message) => message.id === id))
            .map((message) => (
              <SentMessageView key={message.id} message={message} />
            ))}
          {unsent.map((message) => (
            <Unsent key={message.id} message={message} />
          ))}
          <Working />
          <Outcome />
        </div>
      </div>
      {following ? null : (
        <button type="button" class="jp-agent-follow" aria-label="Go to the end" title="Go to the end" onClick={follow}>
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}

function Older() {
  const { client } = usePanel();
  const more = useComputed(() => client.view.value.page.has_more).value;
  const [loading, setLoading] = useState(false);
  if (!more) return null;
  const load = () => {
    setLoading(true);
    void client.loadOlder().finally(() => setLoading(false));
  };
  return (
    <button type="button" class="jp-agent-button jp-agent-older" disabled={loading} onClick={load}>
      {loading ? "Loading…" : "Show earlier messages"}
    </button>
  );
}

function useStickyScroll(first: string) {
  const scroller = useRef<HTMLDivElement>(null);
  const column = useRef<HTMLDivElement>(null);
  const sticky = useRef<StickyScroll | null>(null);
  const [following, setFollowing] = useState(true);
  useLayoutEffect(() => {
    if (scroller.current === null || column.current === null) return;
    const made = new StickyScroll(scroller.current, column.current, setFollowing);
    sticky.current = made;
    return () => made.dispose();
  }, []);
  useLayoutEffect(() => sticky.current?.grewAbove(), [first]);
  return { scroller, column, following, follow: () => sticky.current?.follow() };
}
