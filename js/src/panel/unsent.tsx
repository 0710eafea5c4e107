/** What the server did not take: the words stay until the user does something with them. */
import type { Fault, UnsentMessage } from "../client";
import { usePanel } from "./context";
import { FileChip, joined } from "./files";

/** Of a very long text the beginning is enough to know it by. */
const SHOWN = 2_000;

/** It passes: the message is sent again without anybody's doing. */
export function Held({ id, why }: { id: string; why: Fault }) {
  const { client, focusComposer } = usePanel();
  const discard = () => {
    focusComposer();
    client.discard(id);
  };
  return (
    <div class="jp-agent-unsent" data-level="warning" role="status">
      <div>Not sent yet. {why.message}</div>
      <Choice name="Discard" act={discard} />
    </div>
  );
}

/** It was refused for good. */
export function Unsent({ message }: { message: UnsentMessage }) {
  const { client, draft, draftFiles, focusComposer } = usePanel();
  const { id, text, files, whole, why } = message;
  const edit = () => {
    client.discard(id);
    const written = draft.peek().trimEnd();
    draft.value = written === "" ? text : `${written}\n\n${text}`; // what stands there is the user's too
    draftFiles.value = joined(draftFiles.peek(), files);
    focusComposer();
  };
  const choose = (act: () => void) => () => {
    focusComposer(); // the button goes, and would take the keyboard with it
    act();
  };
  return (
    <article
      class="jp-agent-message"
      data-message-id={id}
      data-role="user"
      data-message-status="unsent"
      aria-label="You, not sent"
    >
      <div data-part="text" class="jp-agent-part">
        <div class="jp-agent-said">{text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text}</div>
      </div>
      {files.map((file) => (
        <FileChip key={file.sha256} file={file} />
      ))}
      <div class="jp-agent-unsent" data-level="error" role="alert">
        <div>
          Not sent. {why.message}
          {why.hint ? ` ${why.hint}` : ""}
        </div>
        <div class="jp-agent-unsent-choices">
          <Choice name="Retry" act={choose(() => client.sendAgain(id))} />
          {whole ? <Choice name="Edit" act={edit} /> : null}
          <Choice name="Discard" act={choose(() => client.discard(id))} />
        </div>
      </div>
    </article>
  );
}

function Choice({ name, act }: { name: string; act: () => void }) {
  return (
    <button type="button" class="jp-agent-button" onClick={act}>
      {name}
    </button>
  );
}
