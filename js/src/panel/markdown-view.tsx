/** An answer's prose. Settled blocks are drawn once; a delta redraws the tail. */
import { useRef, useState } from "preact/hooks";
import { Icon } from "./icons";
import { type Block, BlockReader, GrowingCode, markdownHtml } from "./markdown";
import { memo } from "./memo";
import { useScrollable } from "./scrollable";

export function Markdown({ text, streaming = false }: { text: string; streaming?: boolean }) {
  const reader = useRef<BlockReader | null>(null);
  reader.current ??= new BlockReader();
  const blocks = reader.current.read(text);
  const last = blocks.length - 1;
  return (
    <div class="jp-agent-markdown">
      {blocks.map((block, index) => (
        <BlockView key={block.at} block={block} growing={streaming && index === last} />
      ))}
    </div>
  );
}

const BlockView = memo(function BlockView({ block, growing }: { block: Block; growing: boolean }) {
  if (block.code !== null) return <CodeBlock {...block.code} growing={growing} />;
  const html = markdownHtml(block.raw);
  if (html.includes("<table")) return <Wide html={html} growing={growing} />;
  return <div class="jp-agent-block" dangerouslySetInnerHTML={{ __html: html }} />;
});

/** Prose that may be wider than the panel. */
function Wide({ html, growing }: { html: string; growing: boolean }) {
  const box = useScrollable<HTMLDivElement>(growing ? null : html);
  return <div ref={box} class="jp-agent-block" dangerouslySetInnerHTML={{ __html: html }} />;
}

interface CodeProps {
  text: string;
  language: string;
  label?: string;
  growing?: boolean;
}

/** Code with its label and a button that copies it. */
export const CodeBlock = memo(function CodeBlock({ text, language, label, growing = false }: CodeProps) {
  const colours = useRef<GrowingCode | null>(null);
  colours.current ??= new GrowingCode();
  const { html, plain } = colours.current.read(text, language, !growing);
  const box = useScrollable<HTMLPreElement>(growing ? null : text);
  return (
    <div class="jp-agent-code">
      {label ? <div class="jp-agent-label">{label}</div> : null}
      <CopyButton text={text} />
      <pre ref={box}>
        <code class="hljs">
          <span dangerouslySetInnerHTML={{ __html: html }} />
          {plain}
        </code>
      </pre>
    </div>
  );
});

function CopyButton({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  const copy = () => {
    navigator.clipboard?.writeText(text).then(
      () => {
        setCopied(true);
        setTimeout(() => setCopied(false), 1_500);
      },
      () => {},
    );
  };
  return (
    <button type="button" class="jp-agent-copy" aria-label="Copy code" title="Copy" onClick={copy}>
      <Icon name={copied ? "check" : "copy"} />
    </button>
  );
}
