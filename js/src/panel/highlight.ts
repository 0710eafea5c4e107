/** Code to coloured HTML. highlight.js escapes what it is given, so the result holds spans and text only. */
import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import css from "highlight.js/lib/languages/css";
import diff from "highlight.js/lib/languages/diff";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import julia from "highlight.js/lib/languages/julia";
import markdown from "highlight.js/lib/languages/markdown";
import python from "highlight.js/lib/languages/python";
import r from "highlight.js/lib/languages/r";
import sql from "highlight.js/lib/languages/sql";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";

const LANGUAGES = { bash, css, diff, javascript, json, julia, markdown, python, r, sql, xml, yaml };
for (const [name, language] of Object.entries(LANGUAGES)) hljs.registerLanguage(name, language);
hljs.registerAliases(["ipython", "ipython3", "py3"], { languageName: "python" });
hljs.registerAliases(["ts", "typescript", "tsx"], { languageName: "javascript" });

/** Beyond this colouring costs more than it helps. */
const MAX_LENGTH = 60_000;

/** Return `code` as safe HTML, coloured when the language is known. */
export function highlight(code: string, language: string): string {
  if (code.length > MAX_LENGTH || hljs.getLanguage(language) === undefined) return escapeHtml(code);
  return hljs.highlight(code, { language, ignoreIllegals: true }).value;
}

/** The same, a string a line: each is whole HTML by itself. */
export function highlightLines(code: string, language: string): string[] {
  const open: string[] = [];
  return highlight(code, language)
    .split("\n")
    .map((line) => {
      const before = open.join("");
      for (const [tag] of line.matchAll(/<span[^>]*>|<\/span>/g)) {
        if (tag === "</span>") open.pop();
        else open.push(tag);
      }
      return before + line + "</span>".repeat(open.length);
    });
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
