/** What a tool shows to the eye: text, prose, code, a diff, an image, a table. */
import type { Display, DisplayDiff, DisplayImage, DisplayTable } from "../protocol.gen";
import { ansiRuns, settleReturns } from "./ansi";
import { diffLines, withoutDistant } from "./diff";
import { highlightLines } from "./highlight";
import { CodeBlock, Markdown } from "./markdown-view";
import { memo } from "./memo";
import { isInlineImage } from "./sanitise";
import { useScrollable } from "./scrollable";

export function Displays({ items }: { items: readonly Display[] }) {
  return (
    <>
      {items.map((item, index) => (
        <DisplayView key={index} item={item} />
      ))}
    </>
  );
}

const DisplayView = memo(function DisplayView({ item }: { item: Display }) {
  switch (item.type) {
    case "text":
      return <Terminal text={item.text} />;
    case "markdown":
      return <Markdown text={item.text} />;
    case "code":
      return <CodeBlock text={item.text} language={item.language} label={item.label} />;
    case "diff":
      return <Diff item={item} />;
    case "image":
      return <Picture item={item} />;
    case "table":
      return <Table item={item} />;
    default:
      return <Unsupported type={(item as { type: string }).type} />;
  }
});

/** Something that a newer server knows and we don't. */
export function Unsupported({ type }: { type: string }) {
  return <div class="jp-agent-muted">This version can't show “{type}”. Update jupyter-agent-panel.</div>;
}

/** Text as a terminal shows it. */
export const Terminal = memo(function Terminal({ text }: { text: string }) {
  const box = useScrollable<HTMLPreElement>(text);
  return (
    <pre ref={box} class="jp-agent-terminal">
      {ansiRuns(settleReturns(text)).map((run, index) =>
        run.style ? (
          <span key={index} class={run.style}>
            {run.text}
          </span>
        ) : (
          run.text
        ),
      )}
    </pre>
  );
});

function Diff({ item }: { item: DisplayDiff }) {
  const before = linesOf(item.before);
  const after = linesOf(item.after);
  const oldHtml = highlightLines(before.join("\n"), item.language);
  const newHtml = highlightLines(after.join("\n"), item.language);
  const box = useScrollable<HTMLPreElement>(`${item.before}\0${item.after}`);
  return (
    <div class="jp-agent-code">
      {item.label ? <div class="jp-agent-label">{item.label}</div> : null}
      <pre ref={box} class="jp-agent-diff">
        <code class="hljs">
          {withoutDistant(diffLines(before, after)).map((line, index) =>
            line.kind === "skip" ? (
              <span
                key={index}
                class="jp-agent-diff-skip"
              >{`⋯ ${line.lines} unchanged ${line.lines === 1 ? "line" : "lines"}\n`}</span>
            ) : (
              <span key={index} class={`jp-agent-diff-${line.kind}`}>
                <span class="jp-agent-diff-sign">{SIGN[line.kind]}</span>
                <span
                  dangerouslySetInnerHTML={{
                    __html: `${(line.kind === "removed" ? oldHtml : newHtml)[line.line] ?? ""}\n`,
                  }}
                />
              </span>
            ),
          )}
        </code>
      </pre>
    </div>
  );
}

const SIGN = { same: "  ", added: "+ ", removed: "- " } as const;

function linesOf(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

function Picture({ item }: { item: DisplayImage }) {
  const src = `data:${item.mime};base64,${item.data}`;
  if (!isInlineImage(src)) return <Unsupported type={item.mime} />;
  return <img class="jp-agent-image" src={src} alt={item.alt} />;
}

function Table({ item }: { item: DisplayTable }) {
  const box = useScrollable<HTMLDivElement>(String(item.rows.length));
  return (
    <div ref={box} class="jp-agent-table">
      <table>
        <thead>
          <tr>
            {item.header.map((cell, index) => (
              <th key={index}>{cell}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {item.rows.map((row, index) => (
            <tr key={index}>
              {row.map((cell, column) => (
                <td key={column}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
