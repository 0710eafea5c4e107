// @vitest-environment jsdom
/** A server of a later minor version: its panel of today shows what it understands. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { readRecording } from "../src/connections/replay";
import { named, show } from "./shown";

describe("a conversation as a newer server tells it", () => {
  const file = join(import.meta.dirname, "../../tests/golden/v1/newer.jsonl");
  const frames = readRecording(readFileSync(file, "utf8"));
  const end = frames.findIndex((frame) => "type" in frame && (frame.type as string) === "turn.ended");

  test.each([
    ["while it goes on", end],
    ["when it is over", frames.length],
  ])("is shown as far as it is understood, %s", async (_, upTo) => {
    const complained = vi.spyOn(console, "error");
    const { root } = await show(() => frames.slice(0, upTo));
    expect(root.textContent).toContain("video");
    expect(root.textContent).toContain("Dream");
    expect(root.textContent).toContain("The title stays.");
    expect(named(root, "Message")).toBeDefined();
    expect(complained).not.toHaveBeenCalled();
    complained.mockRestore();
  });

  test("is shown with each of its questions", async () => {
    const asked = frames.findIndex((frame) => "type" in frame && frame.type === "approval.requested");
    expect(asked).toBeGreaterThan(0);
    const { root } = await show(() => frames.slice(0, asked + 1));
    expect(named(root, "Allow")).toBeDefined();
    expect(named(root, "Deny")).toBeDefined();
  });
});
