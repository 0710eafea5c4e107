/**
 * Where the user writes. Enter sends, Shift+Enter breaks the line; never while an
 * input method composes. Ctrl+Enter in the empty box allows what is asked.
 */
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { usePanel } from "./context";
import { Icon } from "./icons";
import { ModeSwitch } from "./mode-switch";
import { ModelName } from "./model-name";

const BUSY: ReadonlySet<string> = new Set(["submitted", "streaming", "awaiting", "recovering"]);
const MAX_HEIGHT = 240;

export function Composer({ input }: { input: { current: HTMLTextAreaElement | null } }) {
  const { client } = usePanel();
  const [text, setText] = useState("");
  const area = useRef<HTMLTextAreaElement>(null);
  const turn = client.view.value.turn;
  const busy = BUSY.has(client.status.value) || turn !== null;
  const blank = text.trim() === "";
  useLayoutEffect(() => {
    input.current = area.current;
    fitHeight(area.current);
  }, [text]);

  const send = () => {
    if (blank) return;
    setText("");
    void client.send(text.trim()).then((ack) => {
      if ((ack.original ?? ack.status) === "rejected") setText((now) => now || text); // give it back
    });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // keyCode 229: Safari ends a composition before the Enter that confirmed it
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    const asked = client.view.peek().approvals[0];
    if (blank && asked !== undefined && (event.ctrlKey || event.metaKey)) void client.answer(asked, "allow");
    else send();
  };
  return (
    <div class="jp-agent-composer">
      <textarea
        ref={area}
        rows={1}
        aria-label="Message"
        placeholder={busy ? "Write what comes next" : "Ask about your notebook"}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div class="jp-agent-composer-row">
        <ModeSwitch />
        <ModelName />
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
            title={turn === null ? "Send" : "Send when this is done"}
            disabled={blank}
            onClick={send}
          >
            <Icon name="send" />
          </button>
        ) : null}
      </div>
    </div>
  );
}

function fitHeight(area: HTMLTextAreaElement | null): void {
  if (area === null) return;
  area.style.height = "auto";
  area.style.height = `${Math.min(MAX_HEIGHT, area.scrollHeight)}px`;
}
