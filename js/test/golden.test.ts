/** Recorded conversations fold here to the view that they fold to in Python. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import type { Frame } from "../src/protocol.gen";
import { reduce } from "../src/reduce";
import { emptyView, type View } from "../src/view";

const FOLDER = fileURLToPath(new URL("../../tests/golden/", import.meta.url));
/** Those of today, and those that were frozen with a protocol version: what was said then is still understood. */
const files = ["", "v1/"].flatMap((folder) =>
  readdirSync(FOLDER + folder)
    .filter((name) => name.endsWith(".jsonl"))
    .map((name) => folder + name),
);

/** The session as a view sees it: what both languages must agree on. */
function sharedFace(view: View): Record<string, unknown> {
  const { seq, ep, session, messages, turn, queue, paused, approvals, tasks, last_outcome } = view;
  return { seq, ep, session, messages, turn, queue, paused, approvals, tasks, last_outcome };
}

describe("golden conversations", () => {
  test.each(files)("%s", (name) => {
    const lines = readFileSync(`${FOLDER}/${name}`, "utf8")
      .split("\n")
      .filter((line) => line.trim() !== "");
    let view = emptyView;
    let compared = 0;
    for (const line of lines) {
      const entry = JSON.parse(line) as { frame?: Frame; view?: Record<string, unknown> };
      if (entry.frame !== undefined) view = reduce(view, entry.frame);
      if (entry.view === undefined) continue;
      const { page: _, ...expected } = entry.view;
      // A view may know more than it did when this was frozen.
      if (name.startsWith("v")) expect(sharedFace(view)).toMatchObject(expected);
      else expect(sharedFace(view)).toEqual(expected);
      compared += 1;
    }
    expect(compared).toBeGreaterThan(0);
  });
});
