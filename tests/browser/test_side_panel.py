"""The side panel's own manners: where it opens, its sessions, keyboard, queue, modes, answers, look."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Locator, WebSocketRoute, expect

from tests.browser.conftest import Script
from tests.browser.lab import DATA, START_MS, Lab, LabPage, code
from tests.hosts.running_server import TOKEN
from tests.model_server import Gate, Reply, Text, Think, ToolUse

SESSIONS = re.compile(r"/jupyter-agent/api/v1/sessions(\?|$)")

# -- where it is ----------------------------------------------------------------------


async def test_it_opens_by_its_icon_the_palette_and_the_menu(page: LabPage, lab: Lab) -> None:
    await page.open(lab.write("entries.ipynb", [code("x = 1", "first")]))
    icon = page.page.get_by_role("tab", name="Agent")
    await icon.click()
    await page.ready(page.side)
    await icon.click()
    await expect(page.side).to_be_hidden()
    await page.page.get_by_role("menuitem", name="View", exact=True).click()
    await page.page.locator(".lm-Menu-item", has_text=re.compile("^Agent")).hover()
    await page.page.locator(".lm-Menu-item", has_text="Open Agent").click()
    await expect(page.side).to_be_visible()
    await icon.click()
    await expect(page.side).to_be_hidden()
    await page.command("apputils:activate-command-palette")
    await page.page.locator(".lm-CommandPalette-input:visible").fill("Open Agent")
    await page.page.locator(".lm-CommandPalette-item", has_text="Open Agent").click()
    await expect(page.side).to_be_visible()


async def test_a_notebook_keeps_its_session_through_new_ones_and_a_reload(
    page: LabPage, lab: Lab, script: Script
) -> None:
    word = script([Reply("I remember.")])
    await page.open(lab.write("kept.ipynb", [code("x = 1", "first")]))
    async with page.layout_saved():
        side = await page.open_panel()
    await page.ask(f"Remember {word}")
    await expect(side).to_contain_text("I remember.")
    first = await side.get_attribute("data-session") or ""
    await side.get_by_role("button", name="New session").click()
    await expect(page.side).not_to_have_attribute("data-session", first)
    await page.ready(page.side)
    await expect(page.side).not_to_contain_text("I remember.")
    await page.side.get_by_role("button", name="Sessions").click()
    await page.picture("sessions", page.side)
    await page.side.get_by_role("dialog", name="Sessions").get_by_role("button").filter(has_text=word).click()
    await expect(page.side).to_have_attribute("data-session", first)
    # At once: JupyterLab writes its own state a second late.
    await page.reload()
    await expect(page.side).to_have_attribute("data-session", first, timeout=START_MS)
    await expect(page.side).to_contain_text("I remember.")


async def test_each_notebook_has_its_own_session(page: LabPage, lab: Lab) -> None:
    lab.write("second.ipynb", [code("y = 2", "other")])
    await page.open(lab.write("first.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    first = await side.get_attribute("data-session") or ""
    await side.get_by_label("Message", exact=True).fill("Half a thou")
    await page.command("docmanager:open", path="second.ipynb")
    await expect(page.side).not_to_have_attribute("data-session", first)
    await page.ready(page.side)
    await expect(page.side.get_by_label("Message", exact=True)).to_have_value("")
    await page.command("docmanager:open", path="first.ipynb")
    await expect(page.side).to_have_attribute("data-session", first)
    await expect(page.side.get_by_label("Message", exact=True)).to_have_value("Half a thou")


async def test_a_page_that_opens_on_a_notebook_begins_with_that_notebooks_session(page: LabPage, lab: Lab) -> None:
    made: list[str] = []
    page.page.on("request", lambda it: made.append(it.url) if it.method == "POST" and SESSIONS.search(it.url) else None)
    address = f"{lab.server.base}/lab/workspaces/begins/tree/{lab.write('begins.ipynb', [code('x = 1', 'first')])}"
    await page.page.goto(f"{address}?token={TOKEN}&agent=open")
    await page.ready(page.side)
    begun = await page.side.get_attribute("data-session") or ""
    await page.loaded()
    await expect(page.side).to_have_attribute("data-session", begun)
    assert len(made) == 1, "a session for no notebook came first, and what was said there was left behind"


# -- writing --------------------------------------------------------------------------


async def test_enter_sends_and_shift_enter_breaks_the_line(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply("Two lines, I see.")])
    await page.open(lab.write("keys.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    box = side.get_by_label("Message", exact=True)
    await box.click()
    await page.page.keyboard.type(f"one {word}")
    await page.page.keyboard.press("Shift+Enter")
    await page.page.keyboard.type("two")
    await expect(box).to_have_value(f"one {word}\ntwo")
    assert await page.transcript(side) == []
    await page.page.keyboard.press("Enter")
    await expect(box).to_have_value("")
    await expect(side).to_contain_text("Two lines, I see.")
    assert (await page.transcript(side))[0] == f"one {word}\ntwo"


async def test_what_is_sent_while_a_turn_runs_waits_and_is_counted(page: LabPage, lab: Lab, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("First ", gate, "answer.")), Reply("Second answer.")])
    await page.open(lab.write("queue.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"First, {word}")
    await gate.until_reached()
    await expect(side.get_by_role("button", name="Stop")).to_be_visible()
    waiting = side.get_by_role("region", name="Waiting")
    await page.ask("Second, please")
    await expect(waiting).to_contain_text("1 queued")
    await page.ask("Third, which I regret")
    await expect(waiting).to_contain_text("2 queued")
    await page.picture("queue", side)
    await waiting.get_by_role("listitem").nth(1).get_by_role("button", name="Remove").click()
    await expect(waiting).to_contain_text("1 queued")
    gate.open()
    await expect(side).to_contain_text("Second answer.")
    await expect(waiting).to_have_count(0)
    assert await page.transcript(side) == [f"First, {word}", "First answer.", "Second, please", "Second answer."]
    await expect(side.get_by_role("button", name="Stop")).to_have_count(0)
    await expect(side.get_by_role("button", name="Send")).to_be_visible()


# -- modes and answers ----------------------------------------------------------------


async def test_plan_changes_nothing_until_its_plan_is_allowed(page: LabPage, lab: Lab, script: Script) -> None:
    write = ToolUse("insert_cell", {"source": "planned = True"})
    word = script(
        [
            Reply("I try at once.", write),
            Reply(ToolUse("exit_plan", {"plan": "1. Insert **one** cell.\n2. Nothing else."})),
            Reply(write),
            Reply("As planned."),
        ]
    )
    await page.open(lab.write("plan.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await side.get_by_role("radio", name="Plan").check()
    await page.ask(f"Plan it, {word}")
    card = await page.question("Go on with this plan?")
    await expect(page.cells).to_have_count(1)
    await expect(card.locator("strong")).to_have_text("one")
    await page.picture("plan", side)
    await page.allow("Go on with this plan?")
    await expect(side.get_by_role("radio", name="Build")).to_be_checked()
    await page.allow("Insert this cell?")
    await expect(page.cells).to_have_count(2)
    await expect(side).to_contain_text("As planned.")


async def test_the_model_reads_why_it_was_denied(page: LabPage, lab: Lab, script: Script) -> None:
    word = script(
        [
            Reply(ToolUse("insert_cell", {"source": "import os"})),
            lambda request: Reply("I see why." if "use pathlib" in request.result_text() else "I read nothing."),
        ]
    )
    await page.open(lab.write("deny.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Insert, {word}")
    card = await page.question("Insert this cell?")
    await card.get_by_label("Reason").fill("use pathlib")
    await card.get_by_role("button", name="Deny").click()
    await expect(side).to_contain_text("I see why.")
    await expect(side.locator('[data-tool="insert_cell"]')).to_have_attribute("data-state", "output-denied")
    await expect(page.cells).to_have_count(1)


async def test_allowed_for_the_session_it_asks_no_more(page: LabPage, lab: Lab, script: Script) -> None:
    word = script(
        [
            Reply(ToolUse("insert_cell", {"source": "a = 1"})),
            Reply(ToolUse("insert_cell", {"source": "b = 2"})),
            Reply("Both are there."),
        ]
    )
    await page.open(lab.write("scope.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Insert two, {word}")
    card = await page.question("Insert this cell?")
    await card.get_by_role("button", name="More choices").click()
    await card.get_by_role("menuitem", name="Allow for this session").click()
    await expect(side).to_contain_text("Both are there.")
    await expect(page.cells).to_have_count(3)


# -- the wire -------------------------------------------------------------------------


async def test_a_lost_connection_is_said_and_comes_back_with_all_that_was_missed(
    page: LabPage, lab: Lab, script: Script
) -> None:
    gate = Gate()
    word = script([Reply(Text("Before the cut, ", gate, "and after it."))])
    sockets: list[WebSocketRoute] = []
    broken = False

    async def pass_on(socket: WebSocketRoute) -> None:
        if broken:
            await socket.close(code=1011)
            return
        sockets.append(socket)
        socket.connect_to_server()

    await page.page.route_web_socket(re.compile("/sessions/.*/connect"), pass_on)
    await page.open(lab.write("cut.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Talk, {word}")
    await gate.until_reached()
    await expect(side).to_contain_text("Before the cut,")
    broken = True
    await sockets[-1].close(code=1011)
    await expect(side.locator(".jp-agent-status")).to_contain_text("Disconnected. Trying again")
    await page.picture("disconnected", side)
    await side.get_by_role("button", name="Retry").click()
    await expect(side.locator(".jp-agent-status")).to_contain_text("Disconnected. Trying again")
    gate.open()
    broken = False  # from here on it comes back by itself
    await expect(side).to_contain_text("and after it.")
    await page.ready(side)
    assert await page.transcript(side) == [f"Talk, {word}", "Before the cut, and after it."]
    await expect(side.locator(".jp-agent-status")).to_have_count(0)


# -- the look -------------------------------------------------------------------------

RICH = """## What I found

The column `price` has **four** values, *all* of them positive; see
[the documentation](https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.describe.html).

| name | mean | min | max |
|:-----|-----:|----:|----:|
| price | 25.4 | 10 | 40 |
| rooms | 2.5 | 1 | 4 |

1. Look at the data.
2. Draw it:

```python
def draw(frame: pd.DataFrame, *, column: str = "price", bins: int = 20) -> None:
    \"\"\"Draw a histogram, in a line that is wider than the panel.\"\"\"
    frame[column].plot.hist(bins=bins)  # and no wider
```

> A calm column is easy to read.
"""


async def overflows(panel: Locator) -> list[str]:
    """Name the parts that are wider than the panel and don't scroll by themselves."""
    return await panel.evaluate(
        """panel => [panel, ...panel.querySelectorAll(".jp-agent-scroll, .jp-agent-column, footer, header")]
            .filter(part => part.scrollWidth > part.clientWidth)
            .map(part => `${part.className}: ${part.scrollWidth} > ${part.clientWidth}`)"""
    )


async def allow_narrow(page: LabPage) -> None:
    """Take back the width that the panel asks JupyterLab for, which is more than it needs."""
    await page.page.evaluate("document.querySelector('#jupyter-agent-panel').style.minWidth = '0'")
    icon = page.page.get_by_role("tab", name="Agent")
    await icon.click()
    await expect(page.side).to_be_hidden()
    await icon.click()
    await expect(page.side).to_be_visible()


async def widen(page: LabPage, width: int) -> None:
    """Draw the border between the notebook and the side area to where the panel is this wide."""
    handle = page.page.locator("#jp-main-split-panel > .lm-SplitPanel-handle:not(.lm-mod-hidden)").last
    border, panel = await handle.bounding_box(), await page.side.bounding_box()
    assert border is not None
    assert panel is not None
    x, mouse = border["x"] + border["width"] / 2, page.page.mouse
    await mouse.move(x, 500)
    await mouse.down()
    await mouse.move(x + panel["width"] - width, 500, steps=4)
    await mouse.up()
    await page.page.wait_for_function(
        "width => Math.abs(document.querySelector('.jp-agent').clientWidth - width) <= 4", arg=width
    )


async def test_it_follows_the_theme_and_is_in_order_when_narrow_and_wide(
    page: LabPage, lab: Lab, script: Script
) -> None:
    word = script(
        [
            Reply(
                Think("First the notebook, then the numbers."),
                "I read the notebook.",
                ToolUse("read_notebook"),
                ToolUse("read_cell", {"cell_id": "not-there"}),
            ),
            Reply(RICH, ToolUse("insert_cell", {"source": DATA + "\n\ndf.describe()", "after": "first"})),
            Reply("Done."),
        ]
    )
    await page.open(lab.write("look.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Profile my data, and show me how you would draw the prices of all flats. {word}")
    await page.question("Insert this cell?")
    shades: dict[str, str] = {}
    await allow_narrow(page)
    for width in (280, 640):
        await widen(page, width)
        for theme, light in (("Light", "true"), ("Dark", "false")):
            await page.command("apputils:change-theme", theme=f"JupyterLab {theme}")
            await expect(page.page.locator("body")).to_have_attribute("data-jp-theme-light", light)
            await expect(page.page.locator("#jupyterlab-splash")).to_have_count(0)
            shades[theme] = await side.evaluate("panel => getComputedStyle(panel).backgroundColor")
            await page.picture(f"look-{theme.lower()}-{width}")
            assert await overflows(side) == []
    assert shades["Light"] != shades["Dark"]
    await side.get_by_label("Message", exact=True).press("Control+Enter")
    await expect(side).to_contain_text("Done.")


@pytest.mark.parametrize("tool", ["Read the notebook", "Read a cell"])
async def test_a_tool_card_is_one_line_of_28_pixels_until_it_is_opened(
    page: LabPage, lab: Lab, script: Script, tool: str
) -> None:
    call = ToolUse("read_notebook") if tool == "Read the notebook" else ToolUse("read_cell", {"cell_id": "first"})
    word = script([Reply(call), Reply("Read.")])
    await page.open(lab.write("card.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Read, {word}")
    await expect(side).to_contain_text("Read.")
    line = side.get_by_role("button", name=tool)
    box = await line.bounding_box()
    assert box is not None
    assert round(box["height"]) == 28
    await expect(line).to_have_attribute("aria-expanded", "false")
    await line.click()
    await expect(line).to_have_attribute("aria-expanded", "true")
    await expect(side.locator(".jp-agent-body")).to_be_visible()
