/** What the user said: a long text, as pasted ones are, folded to its beginning. */
import type { ComponentChild } from "preact";
import { useState } from "preact/hooks";

const LONG = { chars: 2_400, lines: 24 };
const SHOWN = { chars: 1_200, lines: 12 };

interface Props {
  text: string;
  /** What stands below all of it. */
  more?: ComponentChild;
}

export function UserText({ text, more }: Props) {
  const [open, setOpen] = useState(false);
  const long = beginning(text, LONG) !== text;
  const folded = long && !open;
  return (
    <>
      <div class="jp-agent-said">{folded ? `${beginning(text, SHOWN)}…` : text}</div>
      {long ? (
        <button type="button" class="jp-agent-link jp-agent-fold" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? "Show less" : "Show more"}
        </button>
      ) : null}
      {folded ? null : more}
    </>
  );
}

function beginning(text: string, { chars, lines }: { chars: number; lines: number }): string {
  let end = 0;
  for (let line = 0; line < lines && end >= 0 && end <= chars; line += 1) end = text.indexOf("\n", end + 1);
  if (end < 0 || end > chars) end = chars;
  // A character is not cut in two.
  return text.slice(0, /[\ud800-\udbff]/.test(text.charAt(end - 1)) ? end - 1 : end);
}
