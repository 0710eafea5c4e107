/**
 * Where the user writes. Enter sends, Shift+Enter breaks the line; never while an
 * input method composes. Ctrl+Enter in the empty box allows what is asked.
 *
 *     while a turn runs      Enter queues, Alt+Enter steers
 *     while it awaits us     Enter queues, Alt+Enter denies and is read instead
 */
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { SendOptions } from "../client";
import type { Turn } from "../protocol.gen";
import { usePanel } from "./context";
import { DraftFiles } from "./files";
import { Icon } from "./icons";
import { ModeSwitch } from "./mode-switch";
import { ModelName } from "./model-name";

const BUSY: ReadonlySet<string> = new Set(["submitted", "streaming", "awaiting", "recovering"]);
const MAX_HEIGHT = 240;

export function Composer({ input }: { input: { current: HTMLTextAreaElement | null } }) {
  const { client, draft, draftFiles, undo } = usePanel();
  const text = draft.value;

  const area = useRef<HTMLTextAreaElement>(null);
  const turn = client.view.value.turn;
  const busy = BUSY.has(client.status.value) || turn !== null;
  const blank = text.trim() === "" && draftFiles.value.length === 0;
  useLayoutEffect(() => {
    input.current = area.current;
    fitHeight(area.current);
  }, [text]);
  useEffect(() => keepFitting(area.current), []);

  const otherwise = otherWay(turn, client.view.value.approvals.length > 0);
  const send = (options: SendOptions = {}) => {
    // As they are now: a key may come before what the one before it changed is drawn.
    const [words, along] = [draft.peek().trim(), draftFiles.peek()];
    if (words === "" && along.length === 0) return;
    draft.value = "";
    draftFiles.value = [];
    undo.value = null;
    area.current?.focus({ preventScroll: true });
    void client.send(words, { ...options, files: along }); // refused, it stays in sight as not sent
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // keyCode 229: Safari ends a composition before the Enter that confirmed it
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    const asked = client.view.peek().approvals[0];
    if (blank && asked !== undefined && (event.ctrlKey || event.metaKey)) void client.answer(asked, "allow");
    else send(event.altKey ? otherwise?.options : {});
  };
  return (
    <div class="jp-agent-composer">
      <DraftFiles />
      <textarea
        ref={area}
        rows={1}
        aria-label="Message"
        placeholder={busy ? "Write what comes next" : "Ask about your notebook"}
        value={text}
        onInput={(event) => (draft.value = event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div class="jp-agent-composer-row">
        <ModeSwitch />
        <ModelName />
        {otherwise !== null && !blank ? (
          <button
            type="button"
            class="jp-agent-button jp-agent-otherwise"
            data-wide={otherwise.name.length > 8 || undefined}
            title={`${otherwise.title} (Alt+Enter)`}
            onClick={() => send(otherwise.options)}
          >
            {otherwise.name}
          </button>
        ) : null}
        {turn !== null ? (
          <button
            type="button"
            class="jp-agent-round jp-agent-stop"
            aria-label="Stop"
            title="Stop"
            disabled={turn.status === "stopping"}
            onClick={() => client.stop()}
          >
            <Icon name="stop" />
          </button>
        ) : null}
        {turn === null || !blank ? (
          <button
            type="button"
            class="jp-agent-round jp-agent-send"
            aria-label="Send"
            title={turn === null ? "Send" : "Send when this is done (Enter)"}
            disabled={blank}
            onClick={() => send()}
          >
            <Icon name="send" />
          </button>
        ) : null}
      </div>
    </div>
  );
}

interface OtherWay {
  name: string;
  title: string;
  options: SendOptions;
}

/** What can become of a message while a turn runs, other than to wait for its end. */
function otherWay(turn: Turn | null, asked: boolean): OtherWay | null {
  if (turn === null || turn.status === "stopping") return null;
  if (asked) {
    const title = "Deny what is asked; the agent reads this instead";
    return { name: "Deny and send", title, options: { deny_pending: true } };
  }
  return { name: "Steer", title: "Say it to the running answer", options: { when_busy: "steer" } };
}

/** In another width the same text has another height; a tab that is being laid out has next to none. */
function keepFitting(area: HTMLTextAreaElement | null): (() => void) | undefined {
  if (area === null || typeof ResizeObserver !== "function") return undefined;
  let width = -1; // it is told once at the start, when all is laid out
  const observer = new ResizeObserver(() => {
    if (area.clientWidth === width) return; // our own doing
    width = area.clientWidth;
    fitHeight(area);
  });
  observer.observe(area);
  return () => observer.disconnect();
}

function fitHeight(area: HTMLTextAreaElement | null): void {
  if (area === null) return;
  area.style.height = "auto";
  area.style.height = `${Math.min(MAX_HEIGHT, area.scrollHeight)}px`;
}
