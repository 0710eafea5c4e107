"""From pressing Stop to a turn that says it stopped, in an inline panel, beside a cell that never lets go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.async_api import expect

from tests.model_server import Gate, Reply, Text

from .figures import Figure, spread
from .stage import Asker, stage

STOPS = 10
GOAL_MS = 1_000

HOLD = """() => {
    const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
    kernel.requestExecute({ code: "while True: pass" });
}"""
HELD = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
STOP = """async (panel) => {
    const outcomes = () => panel.querySelectorAll(".jp-agent-outcome").length;
    const before = outcomes(), pressed = performance.now();
    const stopped = new Promise((done) => {
        const watch = new MutationObserver(() => {
            if (outcomes() === before) return;
            watch.disconnect();
            done(performance.now() - pressed);
        });
        watch.observe(panel, { childList: true, subtree: true });
    });
    panel.querySelector("button[aria-label=Stop]").click();
    return stopped;
}"""


async def measure(folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """Stop, and stop again."""
    say(f"stop beside a busy cell, {STOPS} times")
    async with stage(folder) as set_up, set_up.page("widget") as asker:
        page = asker.page.page
        await page.evaluate(HOLD)
        await page.wait_for_function(HELD)
        took = [await _stop(asker) for _ in range(STOPS)]
        await asker.page.interrupt_and_rest()
    return [
        Figure(part="stop", name="Stop → stopped, comm beside a busy cell", unit="ms", goal=GOAL_MS, **spread(took))
    ]


async def _stop(asker: Asker) -> float:
    gate, panel = Gate(), asker.page.widget
    asker.claude.default = Reply(Text("I talk, ", gate, "and talk."))
    answers = panel.locator('[data-role="assistant"]')
    count = await answers.count()
    await asker.page.ask("Talk", panel)
    await expect(answers).to_have_count(count + 1)
    await expect(answers.last).to_contain_text("I talk,")
    took = await panel.evaluate(STOP)
    await asker.page.ready(panel)
    gate.open()
    return float(took)
