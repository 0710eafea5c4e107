/** What was just done and can be taken back, in one line. */
import { accepted, rewind } from "../orders";
import { type PanelContext, usePanel } from "./context";
import { Icon } from "./icons";

export interface Undo {
  text: string;
  act: () => void;
}

/** Before messages leave the story: offer to go back to the one that is last now. */
export function offerBack({ client, undo }: PanelContext, text: string): void {
  const last = client.view.peek().messages.at(-1)?.id;
  if (last === undefined) return;
  const act = () =>
    void rewind(client, last).then((ack) => {
      if (!accepted(ack)) undo.value = null;
    });
  undo.value = { text, act };
}

export function UndoLine() {
  const { undo, focusComposer } = usePanel();
  const offer = undo.value;
  if (offer === null) return null;
  const close = () => {
    undo.value = null;
    focusComposer();
  };
  return (
    <div class="jp-agent-status jp-agent-undo" role="status">
      <span class="jp-agent-undo-text">{offer.text}</span>
      <button
        type="button"
        class="jp-agent-link"
        onClick={() => {
          close();
          offer.act();
        }}
      >
        Undo
      </button>
      <button type="button" class="jp-agent-tool-button" aria-label="Dismiss" title="Dismiss" onClick={close}>
        <Icon name="close" />
      </button>
    </div>
  );
}
