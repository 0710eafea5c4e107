"""One session in two places: the side panel by WebSocket, the inline panel through the kernel."""

from __future__ import annotations

import re

from playwright.async_api import Locator, expect

from tests.browser.conftest import Script
from tests.browser.lab import BOUND_MS, START_MS, WIDGET, Lab, LabPage, code, waits_for
from tests.browser.test_job import HASH
from tests.model_server import Gate, Pace, Reply, Text, Think, ToolUse, words

MAX_STATE_BYTES = 8 * 1024

WATCH_KERNEL = """() => {
    window.kernelSaid = [];
    const { sessionContext } = window.jupyterapp.shell.currentWidget;
    sessionContext.statusChanged.connect((_, status) => window.kernelSaid.push(status));
    const dot = document.querySelector(".jp-NotebookPanel .jp-Notebook-ExecutionIndicator");
    new MutationObserver(() => window.kernelSaid.push(`shown: ${dot.dataset.status}`))
        .observe(dot, { attributes: true, attributeFilter: ["data-status"] });
}"""


async def same_session(page: LabPage) -> tuple[Locator, Locator]:
    """Show the notebook's session beside it and in its first cell."""
    side = await page.open_panel()
    widget = await page.show_widget()
    shown = await side.get_attribute("data-session")
    assert shown is not None
    await expect(widget).to_have_attribute("data-session", shown)
    return side, widget


async def test_both_panels_show_the_same_words_while_they_stream(page: LabPage, lab: Lab, script: Script) -> None:
    first, second = Gate(), Gate()
    word = script(
        [
            Reply(
                Think("Let me ", first, "think about it."),
                Text("The **first** half, ", second, "and the second.\n\n- one\n- two"),
            )
        ]
    )
    await page.open(lab.write("both.ipynb", [code(WIDGET, "panel")]))
    side, widget = await same_session(page)
    await page.ask(f"Say it, {word}", widget)
    for gate, heard in ((first, "Thinking"), (second, "The first half,")):
        await gate.until_reached()
        for panel in (side, widget):
            await expect(panel.locator('[data-role="assistant"]')).to_contain_text(heard)
            await expect(panel).to_have_attribute("data-status", "streaming")
        assert await page.transcript(side) == await page.transcript(widget)
        await page.picture(f"both-{heard.split()[-1].strip(',')}")
        gate.open()
    for panel in (side, widget):
        await page.ready(panel)
        await expect(panel).to_contain_text("and the second.")
    assert await page.transcript(side) == await page.transcript(widget)
    await page.picture("both-done")


async def test_an_approval_asked_in_one_panel_is_answered_in_the_other(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply(ToolUse("insert_cell", {"source": "z = 26"})), Reply("There it is.")])
    await page.open(lab.write("answer.ipynb", [code(WIDGET, "panel")]))
    side, widget = await same_session(page)
    await page.ask(f"Insert something, {word}")
    await page.question("Insert this cell?")
    await page.allow("Insert this cell?", widget)
    await expect(side.get_by_role("region", name="Insert this cell?")).to_have_count(0)
    await expect(page.cells).to_have_count(2)
    for panel in (side, widget):
        await expect(panel).to_contain_text("There it is.")


async def test_each_panel_shows_the_mode_and_a_switch_in_one_shows_in_both(page: LabPage, lab: Lab) -> None:
    await page.open(lab.write("mode.ipynb", [code(WIDGET, "panel")]))
    for_both = await same_session(page)
    for panel in for_both:
        await expect(panel.get_by_role("radio", name="Build")).to_be_checked()
    await for_both[1].get_by_role("radio", name="Plan").check()
    for panel in for_both:
        await expect(panel.get_by_role("radio", name="Plan")).to_be_checked()


async def test_a_cell_asks_by_the_panel_that_it_made(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply("Asked from a cell.")])
    asks = f"panel.ask('Hear me, {word}')"
    await page.open(lab.write("ask.ipynb", [code(WIDGET, "panel"), code(asks, "ask")]))
    side, widget = await same_session(page)
    await page.run_cell(1)
    for panel in (side, widget):
        await expect(panel).to_contain_text("Asked from a cell.")
        await page.ready(panel)
    assert await page.transcript(side) == await page.transcript(widget) == [f"Hear me, {word}", "Asked from a cell."]


async def test_a_reload_in_the_middle_goes_on_to_the_end(page: LabPage, lab: Lab, script: Script) -> None:
    before, after = Gate(), Gate()
    word = script([Reply(Text("Alpha ", before, "beta ", after, "gamma."))])
    await page.open(lab.write("reload.ipynb", [code("x = 1", "first")]))
    async with page.layout_saved():
        side = await page.open_panel()
    await page.ask(f"Count, {word}")
    await before.until_reached()
    await expect(side).to_contain_text("Alpha")
    session = await side.get_attribute("data-session")
    await page.page.reload()
    before.open()
    await after.until_reached()
    await expect(side).to_contain_text("Alpha beta", timeout=START_MS)
    await expect(side).to_have_attribute("data-status", "streaming")
    await expect(side).to_have_attribute("data-session", session or "")
    after.open()
    await page.ready(side)
    said = await page.transcript(side)
    assert said == [f"Count, {word}", "Alpha beta gamma."]


async def test_frames_through_the_kernel_leave_its_indicator_alone(page: LabPage, lab: Lab, script: Script) -> None:
    await page.open(lab.write("indicator.ipynb", [code(WIDGET, "panel"), code(waits_for("indicator"), "mine")]))
    await page.needs_untracked_messages()
    gate = Gate()
    word = script([Reply(Text("Here it comes. ", gate, Pace(80), words(160), " The end."))])
    widget = await page.show_widget()
    await page.ask(f"Talk for a while, {word}", widget)
    await gate.until_reached()
    await expect(widget).to_contain_text("Here it comes.")
    await page.page.evaluate(WATCH_KERNEL)
    gate.open()
    await expect(widget).to_contain_text("The end.")
    await page.ready(widget)
    assert await page.page.evaluate("window.kernelSaid") == []
    await page.start_cell(1)
    await page.page.wait_for_function("['busy', 'shown: busy'].every((said) => window.kernelSaid.includes(said))")
    lab.touch("indicator")
    await expect(page.prompt(1)).to_have_text(re.compile(r"\[\d+\]"))


async def test_a_saved_notebook_grows_by_little_for_a_panel(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply(Text(words(2000)))])
    await page.open(lab.write("saved.ipynb", [code(WIDGET, "panel")]))
    widget = await page.show_widget()
    await page.ask(f"Talk much, {word}", widget)
    await expect(widget).to_contain_text("w01999")
    await page.ready(widget)
    before = (lab.server.notebooks / "saved.ipynb").stat().st_size
    await page.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    notebook = lab.read("saved.ipynb")
    assert "widgets" in notebook["metadata"], "the state of widgets was not saved: nothing is shown by this test"
    grown = (lab.server.notebooks / "saved.ipynb").stat().st_size - before
    assert grown <= MAX_STATE_BYTES


# -- the kernel goes ------------------------------------------------------------------


async def test_after_a_kernel_restart_the_panel_says_so_and_a_rerun_attaches_again(
    page: LabPage, lab: Lab, script: Script
) -> None:
    word = script([Reply("I was here before.")])
    await page.open(lab.write("restart.ipynb", [code(WIDGET, "panel")]))
    widget = await page.show_widget()
    await page.ask(f"Say something, {word}", widget)
    await expect(widget).to_contain_text("I was here before.")
    await page.ready(widget)
    session = await widget.get_attribute("data-session")
    await page.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    await expect(widget).to_contain_text("the kernel restarted. Run the cell again", timeout=BOUND_MS)
    await page.picture("restarted")
    await page.loaded()
    await page.run_cell(0)
    await page.ready(widget)
    await expect(widget).to_have_attribute("data-session", session or "")
    await expect(widget).to_contain_text("I was here before.")


# -- Stop -----------------------------------------------------------------------------


async def stop(panel: Locator) -> None:
    """Press Stop, and wait until the panel says that it stopped."""
    await panel.get_by_role("button", name="Stop").click()
    await expect(panel.locator(".jp-agent-outcome")).to_contain_text("Stopped.")


async def stop_beside_a_busy_cell(page: LabPage, lab: Lab, script: Script, name: str, busy: str) -> None:
    source = f"from pathlib import Path\nPath('{name}').touch()\n{busy}"
    await page.open(lab.write(f"{name}.ipynb", [code(WIDGET, "panel"), code(source, "busy")]))
    await page.needs_subshell()
    gate = Gate()
    word = script([Reply(Text("I talk, ", gate, "and talk."))])
    widget = await page.show_widget()
    await page.start_cell(1)
    await page.page.wait_for_function(
        "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
    )
    await expect(page.prompt(1)).to_have_text("[*]:")
    await page.ask(f"Talk, {word}", widget)
    await gate.until_reached()
    await expect(widget).to_contain_text("I talk,")
    await stop(widget)
    await expect(widget).to_contain_text("I talk,")
    await expect(page.prompt(1)).to_have_text("[*]:")
    await expect(page.cells.nth(1).locator(".jp-OutputArea-output")).to_have_count(0)
    await page.picture(f"stopped-{name}")
    gate.open()
    await page.interrupt_and_rest()


async def test_stop_works_beside_a_cell_that_sleeps_and_leaves_it_alone(
    page: LabPage, lab: Lab, script: Script
) -> None:
    await stop_beside_a_busy_cell(page, lab, script, "sleeping", "import time\ntime.sleep(600)")


async def test_stop_works_beside_a_loop_of_pure_python_and_leaves_it_alone(
    page: LabPage, lab: Lab, script: Script
) -> None:
    await stop_beside_a_busy_cell(page, lab, script, "looping", "n = 0\nwhile True:\n    n += 1")


async def test_stop_interrupts_the_cell_that_the_turn_itself_runs(page: LabPage, lab: Lab, script: Script) -> None:
    word = script(
        [
            Reply(ToolUse("read_cell", {"cell_id": "slow"})),
            lambda request: Reply(ToolUse("run_cell", {"cell_id": "slow", "base_hash": request.find(HASH)})),
        ]
    )
    await page.open(lab.write("own.ipynb", [code(WIDGET, "panel"), code("import time\ntime.sleep(600)", "slow")]))
    widget = await page.show_widget()
    await page.ask(f"Run the slow one, {word}", widget)
    await page.allow("Run this cell?", widget)
    await expect(page.prompt(1)).to_have_text("[*]:")
    await page.page.wait_for_function(
        "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
    )
    await stop(widget)
    await expect(page.prompt(1)).to_have_text(re.compile(r"\[\d+\]"))
    await expect(page.cells.nth(1)).to_contain_text("KeyboardInterrupt")
