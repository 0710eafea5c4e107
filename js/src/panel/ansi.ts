/** Terminal text to runs of styled text: colours, bold, italic, underline; other escapes are dropped. */

export interface Run {
  text: string;
  /** CSS classes; empty for plain text. */
  style: string;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const ESCAPE = /\u001b(?:\[([0-9;:]*)([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;

interface Pen {
  fg: string;
  bg: string;
  bold: boolean;
  italic: boolean;
  underline: boolean;
}

const PLAIN: Pen = { fg: "", bg: "", bold: false, italic: false, underline: false };

/** Split `text` at its colour changes. */
export function ansiRuns(text: string): Run[] {
  const runs: Run[] = [];
  let pen = PLAIN;
  let from = 0;
  const put = (until: number) => {
    if (until > from) runs.push({ text: text.slice(from, until), style: styleOf(pen) });
  };
  for (const match of text.matchAll(ESCAPE)) {
    put(match.index);
    from = match.index + match[0].length;
    if (match[2] === "m") pen = turn(pen, match[1] ?? "");
  }
  put(text.length);
  return runs;
}

/** Overwrites of a line by carriage return, as progress bars do them. */
export function settleReturns(text: string): string {
  if (!text.includes("\r")) return text;
  return text
    .replace(/\r+\n/g, "\n")
    .split("\n")
    .map((line) => line.split("\r").reduce((shown, next) => next + shown.slice(next.length), ""))
    .join("\n");
}

function turn(pen: Pen, codes: string): Pen {
  let next = pen;
  const numbers = codes === "" ? [0] : codes.split(/[;:]/).map(Number);
  for (let index = 0; index < numbers.length; index++) {
    const code = numbers[index] as number;
    if (code === 38 || code === 48) {
      const [colour, used] = extended(numbers.slice(index + 1));
      next = { ...next, [code === 38 ? "fg" : "bg"]: colour };
      index += used;
    } else next = simple(next, code);
  }
  return next;
}

function simple(pen: Pen, code: number): Pen {
  if (code === 0) return PLAIN;
  if (code === 1) return { ...pen, bold: true };
  if (code === 3) return { ...pen, italic: true };
  if (code === 4) return { ...pen, underline: true };
  if (code === 22) return { ...pen, bold: false };
  if (code === 23) return { ...pen, italic: false };
  if (code === 24) return { ...pen, underline: false };
  if (code === 39) return { ...pen, fg: "" };
  if (code === 49) return { ...pen, bg: "" };
  const base = code % 10;
  if (base > 7) return pen;
  if (code >= 30 && code <= 37) return { ...pen, fg: `${base}` };
  if (code >= 40 && code <= 47) return { ...pen, bg: `${base}` };
  if (code >= 90 && code <= 97) return { ...pen, fg: `${base}` };
  if (code >= 100 && code <= 107) return { ...pen, bg: `${base}` };
  return pen;
}

/** 256 and true colours come down to the eight that the theme has. */
function extended(rest: number[]): [string, number] {
  if (rest[0] === 5) return [nearest(palette(rest[1] ?? 0)), 2];
  if (rest[0] === 2) return [nearest([rest[1] ?? 0, rest[2] ?? 0, rest[3] ?? 0]), 4];
  return ["", 0];
}

function palette(index: number): [number, number, number] {
  if (index < 16) {
    const on = index > 7 ? 255 : 170;
    return [index & 1 ? on : 0, index & 2 ? on : 0, index & 4 ? on : 0];
  }
  if (index > 231) return Array(3).fill(8 + (index - 232) * 10) as [number, number, number];
  const level = (step: number) => (step === 0 ? 0 : 55 + step * 40);
  const cube = index - 16;
  return [level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6)];
}

function nearest([red, green, blue]: [number, number, number]): string {
  const most = Math.max(red, green, blue);
  if (most < 60) return "";
  const bit = (value: number, weight: number) => (value > most * 0.6 ? weight : 0);
  const index = bit(red, 1) | bit(green, 2) | bit(blue, 4);
  return index === 7 ? "" : `${index}`;
}

function styleOf(pen: Pen): string {
  return [
    pen.fg && `jp-agent-ansi-fg${pen.fg}`,
    pen.bg && `jp-agent-ansi-bg${pen.bg}`,
    pen.bold && "jp-agent-ansi-bold",
    pen.italic && "jp-agent-ansi-italic",
    pen.underline && "jp-agent-ansi-underline",
  ]
    .filter(Boolean)
    .join(" ");
}
