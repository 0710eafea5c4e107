/** Messages that wait for the running turn. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { editQueued, moveQueued, removeQueued, resumeQueue, sendQueuedNow } from "../orders";
import type { QueueItem } from "../protocol.gen";
import { usePanel } from "./context";
import { Icon, type IconName } from "./icons";

export function Queue() {
  const { client } = usePanel();
  const { queue, paused } = client.view.value;
  const list = useRef<HTMLOListElement>(null);
  const moved = useRef<{ id: string; name: string } | null>(null);
  const order = queue.map((item) => item.id).join(" ");
  useLayoutEffect(() => {
    refocus(list.current, moved.current);
    moved.current = null;
  }, [order]);
  if (queue.length === 0) return null;
  const move = (at: number, by: -1 | 1) => {
    const item = queue[at] as QueueItem;
    moved.current = { id: item.id, name: by < 0 ? "Move up" : "Move down" };
    const before = queue[by < 0 ? at - 1 : at + 2];
    void moveQueued(client, item, before?.id ?? null);
  };
  return (
    <section class="jp-agent-queue" aria-label="Waiting">
      <div class="jp-agent-queue-head">
        <span>{`${queue.length} queued${paused ? ", paused" : ""}`}</span>
        {paused ? (
          <button type="button" class="jp-agent-button" onClick={() => void resumeQueue(client)}>
            Resume
          </button>
        ) : null}
      </div>
      <ol ref={list}>
        {queue.map((item, at) => (
          <QueueLine
            key={item.id}
            item={item}
            up={at > 0 ? () => move(at, -1) : null}
            down={at < queue.length - 1 ? () => move(at, 1) : null}
          />
        ))}
      </ol>
    </section>
  );
}

/** An element that moves in its list loses the keyboard on the way. */
function refocus(list: HTMLElement | null, moved: { id: string; name: string } | null): void {
  const elsewhere = document.activeElement !== document.body && !list?.contains(document.activeElement);
  if (moved === null || elsewhere) return;
  const line = [...(list?.children ?? [])].find((one) => (one as HTMLElement).dataset.queueId === moved.id);
  const button = line?.querySelector<HTMLButtonElement>(`[aria-label="${moved.name}"]`);
  const other = line?.querySelector<HTMLButtonElement>(".jp-agent-queue-move:enabled");
  (button?.disabled ? other : button)?.focus();
}

interface LineProps {
  item: QueueItem;
  up: (() => void) | null;
  down: (() => void) | null;
}

function QueueLine({ item, up, down }: LineProps) {
  const { client } = usePanel();
  const [draft, setDraft] = useState<string | null>(null);
  const line = useRef<HTMLLIElement>(null);
  const back = useRef(false);
  useEffect(() => {
    if (draft === null && back.current) line.current?.querySelector<HTMLElement>('[aria-label="Edit"]')?.focus();
    back.current = false;
  }, [draft === null]);
  const kept = useRef(false); // the field that goes after Enter loses the keyboard, which would keep it again
  const text = item.parts.map((part) => (part.type === "text" ? part.text : part.name)).join(" ");
  const words = item.parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n\n");
  if (draft !== null) {
    const keep = () => {
      if (!kept.current && draft.trim() && draft !== words) void editQueued(client, item, draft);
      kept.current = true;
      setDraft(null);
    };
    return (
      <li data-queue-id={item.id}>
        <textarea
          class="jp-agent-input"
          aria-label="Edit what waits"
          rows={Math.min(8, draft.split("\n").length)}
          value={draft}
          ref={(input) => input?.focus()}
          onInput={(event) => setDraft(event.currentTarget.value)}
          onBlur={keep}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
              event.preventDefault();
              back.current = true;
              keep();
            }
            if (event.key === "Escape") {
              event.stopPropagation();
              back.current = true;
              kept.current = true;
              setDraft(null);
            }
          }}
        />
      </li>
    );
  }
  const edit = () => {
    kept.current = false;
    setDraft(words);
  };
  const editable = item.task_id === null && !item.parts.some((part) => part.type === "text" && part.truncated);
  return (
    <li ref={line} data-queue-id={item.id}>
      <span class="jp-agent-queue-text" title={text}>
        {item.when_busy === "steer" ? <span class="jp-agent-muted">steers: </span> : null}
        {item.task_id !== null ? <span class="jp-agent-muted">task: </span> : null}
        {text}
      </span>
      {up !== null || down !== null ? (
        <>
          <Action icon="up" name="Move up" onClick={up} narrow />
          <Action icon="down" name="Move down" onClick={down} narrow />
        </>
      ) : null}
      <Action icon="next" name="Send now" onClick={() => void sendQueuedNow(client, item)} />
      {editable ? <Action icon="edit" name="Edit" onClick={edit} /> : null}
      <Action icon="close" name="Remove" onClick={() => void removeQueued(client, item)} />
    </li>
  );
}

interface ActionProps {
  icon: IconName;
  name: string;
  onClick: (() => void) | null;
  narrow?: boolean;
}

function Action({ icon, name, onClick, narrow = false }: ActionProps) {
  return (
    <button
      type="button"
      class={narrow ? "jp-agent-tool-button jp-agent-queue-move" : "jp-agent-tool-button"}
      aria-label={name}
      title={name}
      disabled={onClick === null}
      onClick={() => onClick?.()}
    >
      <Icon name={icon} />
    </button>
  );
}
