/**
 * Markdown to safe HTML, cheap while it grows.
 *
 *     # Title          ┐
 *     A paragraph.     │ settled blocks: parsed once, never again
 *     - a list         ┘
 *     The paragraph that is being wr…    the tail: parsed with each delta
 *
 * A block is settled when another one follows it. So the cost of a delta is that
 * of its block, however long the answer.
 */
import { Marked, type Token } from "marked";
import { highlight } from "./highlight";
import { sanitise } from "./sanitise";

const marked = new Marked({ gfm: true, async: false });
marked.use({
  renderer: {
    code: ({ text, lang }) => codeHtml(text, languageOf(lang)),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

/** One top-level block: prose, or a fenced code block that may still be open. */
export interface Block {
  raw: string;
  /** Where it begins in the text: its identity while the text grows. */
  at: number;
  code: { text: string; language: string } | null;
}

/** Splits a growing text; only what follows the last settled block is read again. */
export class BlockReader {
  private text = "";
  private settled: Block[] = [];
  private settledTo = 0;

  read(source: string): readonly Block[] {
    const text = source.includes("\r") ? source.replace(/\r\n?/g, "\n") : source; // as the lexer does
    if (!text.startsWith(this.text)) {
      this.settled = [];
      this.settledTo = 0;
    }
    this.text = text;
    const blocks = split(text.slice(this.settledTo), this.settledTo);
    const fresh = blocks.slice(0, -1);
    const tail = blocks.at(-1);
    if (fresh.length > 0 && tail !== undefined) {
      this.settled = [...this.settled, ...fresh];
      this.settledTo = tail.at;
    }
    return tail === undefined ? this.settled : [...this.settled, tail];
  }
}

function split(text: string, from: number): Block[] {
  const blocks: Block[] = [];
  let at = 0;
  for (const token of marked.lexer(text)) {
    const found = text.indexOf(token.raw, at); // the lexer trims some blocks, e.g. lists
    if (found >= 0) at = found;
    if (token.type !== "space") blocks.push({ raw: token.raw, at: from + at, code: fenced(token) });
    at += token.raw.length;
  }
  return blocks;
}

function fenced(token: Token): Block["code"] {
  if (token.type !== "code" || token.codeBlockStyle === "indented") return null;
  return { text: token.text as string, language: languageOf(token.lang as string | undefined) };
}

/** Return markdown as HTML that may be put into the page. */
export function markdownHtml(raw: string): string {
  return sanitise(marked.parse(raw) as string).trimEnd();
}

function codeHtml(code: string, language: string): string {
  return `<pre><code class="hljs">${highlight(code, language)}</code></pre>`;
}

function languageOf(info: string | undefined): string {
  return /^[\w+#-]+/.exec(info ?? "")?.[0].toLowerCase() ?? "";
}

/**
 * Colours code that grows without colouring all of it with each token: what came
 * since the last time is plain until it is a tenth of the whole.
 */
export class GrowingCode {
  private coloured = "";
  private html = "";

  read(code: string, language: string, done: boolean): { html: string; plain: string } {
    const grown = code.length - this.coloured.length;
    const kept = code.startsWith(this.coloured);
    if (done || !kept || grown > Math.max(80, this.coloured.length / 10)) {
      this.coloured = done ? code : code.slice(0, code.lastIndexOf("\n") + 1);
      this.html = done || this.coloured ? highlight(this.coloured, language) : "";
    }
    return { html: this.html, plain: code.slice(this.coloured.length) };
  }
}
