/** Files that go along with a message: named, never opened here. */
import type { FilePart, SentFile } from "../protocol.gen";
import { usePanel } from "./context";
import { Icon } from "./icons";

type Named = Pick<SentFile, "name" | "bytes">;

export function FileChip({ file }: { file: Named }) {
  return (
    <div class="jp-agent-file">
      {file.name} <span class="jp-agent-muted">{size(file.bytes)}</span>
    </div>
  );
}

/** What goes along with the draft, each until it is taken away. */
export function DraftFiles() {
  const { draftFiles, focusComposer } = usePanel();
  const files = draftFiles.value;
  if (files.length === 0) return null;
  const remove = (file: SentFile) => {
    draftFiles.value = files.filter((other) => other !== file);
    focusComposer(); // the button goes, and would take the keyboard with it
  };
  return (
    <ul class="jp-agent-draft-files" aria-label="Attached">
      {files.map((file) => (
        <li key={file.sha256} class="jp-agent-file">
          <span class="jp-agent-file-name" title={file.name}>
            {file.name}
          </span>
          <span class="jp-agent-muted">{size(file.bytes)}</span>
          <button
            type="button"
            class="jp-agent-tool-button"
            aria-label={`Remove ${file.name}`}
            title="Remove"
            onClick={() => remove(file)}
          >
            <Icon name="close" />
          </button>
        </li>
      ))}
    </ul>
  );
}

/** A file of the transcript, as it is sent once more. */
export function again({ sha256, mime, name, bytes }: FilePart): SentFile {
  return { type: "file", sha256, mime, name, bytes };
}

/** Both, each file once. */
export function joined(some: readonly SentFile[], more: readonly SentFile[]): SentFile[] {
  return [...some, ...more.filter((file) => !some.some(({ sha256 }) => sha256 === file.sha256))];
}

function size(bytes: number | undefined): string {
  if (bytes === undefined) return "";
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1 << 20 ? `${Math.round(bytes / 1024)} kB` : `${(bytes / (1 << 20)).toFixed(1)} MB`;
}
