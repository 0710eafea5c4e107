/** Messages that wait for the running turn. */
import { useState } from "preact/hooks";
import type { QueueItem } from "../protocol.gen";
import { usePanel } from "./context";
import { Icon } from "./icons";

export function Queue() {
  const { client } = usePanel();
  const { queue, paused } = client.view.value;
  if (queue.length === 0) return null;
  return (
    <section class="jp-agent-queue" aria-label="Waiting">
      <div class="jp-agent-queue-head">
        <span>{`${queue.length} queued${paused ? ", paused" : ""}`}</span>
        {paused ? (
          <button type="button" class="jp-agent-button" onClick={() => client.resumeQueue()}>
            Resume
          </button>
        ) : null}
      </div>
      <ol>
        {queue.map((item) => (
          <QueueLine key={item.id} item={item} />
        ))}
      </ol>
    </section>
  );
}

function QueueLine({ item }: { item: QueueItem }) {
  const { client } = usePanel();
  const [draft, setDraft] = useState<string | null>(null);
  const text = item.parts.map((part) => (part.type === "text" ? part.text : part.name)).join(" ");
  const keep = () => {
    if (draft?.trim() && draft !== text) client.editQueued(item, draft);
    setDraft(null);
  };
  if (draft !== null) {
    return (
      <li data-queue-id={item.id}>
        <input
          class="jp-agent-input"
          aria-label="Edit what waits"
          value={draft}
          ref={(input) => input?.focus()}
          onInput={(event) => setDraft(event.currentTarget.value)}
          onBlur={keep}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.isComposing) keep();
            if (event.key === "Escape") {
              event.stopPropagation();
              setDraft(null);
            }
          }}
        />
      </li>
    );
  }
  return (
    <li data-queue-id={item.id}>
      <span class="jp-agent-queue-text" title={text}>
        {text}
      </span>
      <Action icon="next" name="Start this next" onClick={() => client.sendQueuedNow(item)} />
      {item.parts.some((part) => part.type === "text" && part.truncated) ? null : (
        <Action icon="edit" name="Edit" onClick={() => setDraft(text)} />
      )}
      <Action icon="close" name="Remove" onClick={() => client.removeQueued(item)} />
    </li>
  );
}

function Action({ icon, name, onClick }: { icon: "next" | "edit" | "close"; name: string; onClick: () => void }) {
  return (
    <button type="button" class="jp-agent-tool-button" aria-label={name} title={name} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}
