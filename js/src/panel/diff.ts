/** What changed between two texts, by line. */

export interface DiffLine {
  kind: "same" | "added" | "removed";
  /** Line number (from 0) in the text it stands in: `after`, or `before` when removed. */
  line: number;
}

/** A stretch of unchanged lines that is not worth showing. */
export interface Skip {
  kind: "skip";
  lines: number;
}

/** Beyond this many comparisons the change is shown as a whole. */
const MAX_CELLS = 4_000_000;

/** Longest common subsequence over what is left between the common head and tail. */
export function diffLines(before: readonly string[], after: readonly string[]): DiffLine[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head++;
  let tail = 0;
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  ) {
    tail++;
  }
  const lines: DiffLine[] = [];
  for (let line = 0; line < head; line++) lines.push({ kind: "same", line });
  lines.push(...middle(before.slice(head, before.length - tail), after.slice(head, after.length - tail), head));
  for (let line = after.length - tail; line < after.length; line++) lines.push({ kind: "same", line });
  return lines;
}

function middle(before: readonly string[], after: readonly string[], from: number): DiffLine[] {
  const rows = before.length;
  const columns = after.length;
  const removed = (line: number): DiffLine => ({ kind: "removed", line: from + line });
  const added = (line: number): DiffLine => ({ kind: "added", line: from + line });
  if (rows * columns > MAX_CELLS || rows === 0 || columns === 0) {
    return [...before.map((_, line) => removed(line)), ...after.map((_, line) => added(line))];
  }
  const length = lcsTable(before, after);
  const at = (row: number, column: number) => length[row * (columns + 1) + column] as number;
  const lines: DiffLine[] = [];
  let row = 0;
  let column = 0;
  while (row < rows || column < columns) {
    if (row < rows && column < columns && before[row] === after[column]) {
      lines.push({ kind: "same", line: from + column });
      row++;
      column++;
    } else if (column >= columns || (row < rows && at(row + 1, column) >= at(row, column + 1))) {
      lines.push(removed(row++));
    } else {
      lines.push(added(column++));
    }
  }
  return lines;
}

function lcsTable(before: readonly string[], after: readonly string[]): Uint32Array {
  const width = after.length + 1;
  const table = new Uint32Array((before.length + 1) * width);
  for (let row = before.length - 1; row >= 0; row--) {
    for (let column = after.length - 1; column >= 0; column--) {
      table[row * width + column] =
        before[row] === after[column]
          ? (table[(row + 1) * width + column + 1] as number) + 1
          : Math.max(table[(row + 1) * width + column] as number, table[row * width + column + 1] as number);
    }
  }
  return table;
}

/** Leave out unchanged lines that are further than `context` from a change. */
export function withoutDistant(lines: readonly DiffLine[], context = 3): (DiffLine | Skip)[] {
  const near = new Array<boolean>(lines.length).fill(false);
  lines.forEach((line, index) => {
    if (line.kind === "same") return;
    for (let i = Math.max(0, index - context); i <= Math.min(lines.length - 1, index + context); i++) near[i] = true;
  });
  const shown: (DiffLine | Skip)[] = [];
  for (const [index, line] of lines.entries()) {
    const last = shown.at(-1);
    if (near[index]) shown.push(line);
    else if (last?.kind === "skip") last.lines += 1;
    else shown.push({ kind: "skip", lines: 1 });
  }
  return shown;
}
