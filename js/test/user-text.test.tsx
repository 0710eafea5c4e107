// @vitest-environment jsdom
import { describe, expect, test } from "vitest";
import { aMessage, aText, opening } from "./example";
import { named, painted, press, scene, settled, show, type } from "./shown";

describe("a long text of the user's", () => {
  const lines = (count: number) => Array.from({ length: count }, (_, n) => `line ${n}`).join("\n");
  const said = (text: string) => show((r) => opening(r, [aMessage("msg_a", "user", [aText("prt_a", 0, text)])]));

  test("is folded to its beginning, and shown whole when asked for", async () => {
    const { root } = await said(lines(100));
    const shown = () => root.querySelector(".jp-agent-said")?.textContent;
    expect(shown()).toBe(`${lines(12)}…`);
    named(root, "Show more")?.click();
    await settled();
    expect(shown()).toBe(lines(100));
    named(root, "Show less")?.click();
    await settled();
    expect(shown()).toBe(`${lines(12)}…`);
  });

  test.each([
    ["one line of many characters", "🍎".repeat(2_000), `${"🍎".repeat(600)}…`],
    ["an odd cut through a character", `x${"🍎".repeat(2_000)}`, `x${"🍎".repeat(599)}…`],
    ["as many lines as fit", lines(24), lines(24)],
    ["nothing but breaks", "\n".repeat(20), "\n".repeat(20)],
  ])("%s", async (_, text, shown) => {
    const { root } = await said(text);
    expect(root.querySelector(".jp-agent-said")?.textContent).toBe(shown);
  });

  test("is folded while it is on its way, too", async () => {
    const { root } = await show(scene("rich"));
    press(type(root, lines(100)), "Enter");
    await painted();
    expect(root.querySelector('[data-message-status="sending"] .jp-agent-said')?.textContent).toBe(`${lines(12)}…`);
  });
});
