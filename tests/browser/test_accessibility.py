"""For everybody: by keyboard alone, readable in both themes, and nothing that axe-core knows to be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.browser.conftest import Script
from tests.browser.lab import START_MS, Lab, LabPage, code
from tests.model_server import Gate, Reply, Text, Think, ToolUse

AXE = Path(__file__).parents[2] / "js" / "node_modules" / "axe-core" / "axe.min.js"
LONG = "print('" + "a very long line, " * 20 + "')"

PROSE = "See `x`, [a link](https://jupyter.org) and\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```"

LOOK = """async () => {
    // What the panel does once a frame is drawn is to be done.
    await new Promise((done) => requestAnimationFrame(() => setTimeout(() => setTimeout(done))));
    const { violations, passes } = await axe.run({ include: [[".jp-agent"]] });
    if (!passes.some(({ id }) => id === "color-contrast")) return ["the colours could not be told"];
    return violations.flatMap(({ id, nodes }) =>
        nodes.map(({ target, any, all, none }) =>
            `${id}: ${target.join(" ")}: ${[...any, ...all, ...none][0]?.message}`));
}"""


async def faults(page: LabPage) -> list[str]:
    """Return what axe-core holds against the panel as it stands."""
    if not await page.page.evaluate("() => 'axe' in window"):
        await page.page.evaluate(AXE.read_text(encoding="utf-8"))
    return await page.page.evaluate(LOOK)


async def theme(page: LabPage, name: str) -> None:
    """Choose one of JupyterLab's themes and wait until it holds."""
    await page.command("apputils:change-theme", theme=f"JupyterLab {name}")
    light = "false" if name == "Dark" else "true"
    await page.page.locator(f"body[data-jp-theme-light={light}]").wait_for(state="attached", timeout=START_MS)


async def press_until(page: LabPage, key: str, target: Locator) -> None:
    """Press a key until the keyboard has come to an element that is there to be seen."""
    for _ in range(40):
        if await target.evaluate("element => element === document.activeElement"):
            await expect(target).to_be_visible()
            return
        await page.page.keyboard.press(key)
    raise AssertionError(f"the keyboard does not come to {target}")


@pytest.mark.parametrize("name", ["Light", "Dark"])
async def test_nothing_in_the_panel_is_out_of_reach_or_unreadable(
    page: LabPage, lab: Lab, script: Script, name: str
) -> None:
    word = script(
        [
            Reply(
                Think("Which one?"),
                Text(PROSE),
                ToolUse("insert_cell", {"source": LONG}),
            ),
            Reply("Well, then not."),
        ]
    )
    await page.open(lab.write(f"axe-{name}.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await theme(page, name)
    found: dict[str, Any] = {"empty": await faults(page)}
    await page.ask(f"Insert something, {word}")
    await page.question("Insert this cell?")
    await page.ask("And then this")
    await expect(side.locator("[data-queue-id]")).to_have_count(1)
    for line in await side.locator(".jp-agent-line").all():
        await line.click()
    found["asked"] = await faults(page)
    for button, box in (("This session", "menu"), ("Sessions", "dialog"), ("More choices", "menu")):
        await side.get_by_role("button", name=button, exact=True).click()
        await side.get_by_role(box).wait_for()  # pyright: ignore[reportArgumentType] -- a role, told by a variable
        found[button] = await faults(page)
        await page.page.keyboard.press("Escape")
        await expect(side.get_by_role("button", name=button, exact=True)).to_be_focused()
    await side.get_by_role("button", name="This session").click()
    await side.get_by_role("menuitem", name="Details").click()
    await expect(side.get_by_role("dialog")).to_contain_text("Kernel")
    found["details"] = await faults(page)
    await page.page.keyboard.press("Escape")
    await side.get_by_role("button", name="Remove").click()
    await expect(side.locator("[data-queue-id]")).to_have_count(0)
    await side.get_by_role("button", name="Deny").click()
    await page.ready(side)
    found["denied"] = await faults(page)
    await page.picture(f"axe-{name}", side)
    await theme(page, "Light")
    assert {where: what for where, what in found.items() if what} == {}


async def test_a_conversation_is_had_by_keyboard_alone(page: LabPage, lab: Lab, script: Script) -> None:
    middle = Gate()
    word = script([Reply(ToolUse("insert_cell", {"source": "z = 26"})), Reply(Text("Now ", middle, "this."))])
    keyboard = page.page.keyboard
    await page.open(lab.write("keyboard.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    box = side.get_by_label("Message", exact=True)
    await page.command("jupyter-agent:focus-composer")
    await expect(box).to_be_focused()
    await keyboard.type(f"Insert something, {word}")
    await keyboard.press("Enter")
    await page.question("Insert this cell?")
    await keyboard.type("Wait for me")
    await keyboard.press("Enter")
    waiting = side.locator("[data-queue-id]")
    await press_until(page, "Shift+Tab", waiting.get_by_role("button", name="Edit", exact=True))
    await keyboard.press("Enter")
    await keyboard.type(", please")
    await keyboard.press("Enter")
    await expect(waiting).to_contain_text("Wait for me, please")
    await press_until(page, "Tab", waiting.get_by_role("button", name="Remove"))
    await keyboard.press("Space")
    await expect(waiting).to_have_count(0)
    await expect(box).to_be_focused()
    await press_until(page, "Shift+Tab", side.get_by_role("button", name="Allow", exact=True))
    await keyboard.press("Enter")
    await middle.until_reached()
    await expect(box).to_be_focused()
    await press_until(page, "Tab", side.get_by_role("button", name="Stop"))
    await keyboard.press("Enter")
    await page.ready(side)
    await expect(side).to_contain_text("Stopped.")
    middle.open()
    await expect(box).to_be_focused()
    await press_until(page, "Shift+Tab", side.get_by_role("button", name="Sessions", exact=True))
    await keyboard.press("Enter")
    await expect(side.get_by_label("Search the sessions")).to_be_focused()
    first = side.locator("[data-session-id] .jp-agent-session").first
    await first.wait_for()
    await keyboard.press("Tab")
    await expect(first).to_be_focused()
    await keyboard.press("Escape")
    await expect(side.get_by_role("button", name="Sessions", exact=True)).to_be_focused()
