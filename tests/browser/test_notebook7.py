"""Notebook 7: the same panels, opened from where it has room for them."""

from __future__ import annotations

import re

from playwright.async_api import expect

from tests.browser.conftest import Script
from tests.browser.lab import WIDGET, Lab, LabPage, code
from tests.browser.test_job import HASH
from tests.model_server import Reply, ToolUse


async def test_a_cell_is_inserted_and_run_from_its_side_panel(page: LabPage, lab: Lab, script: Script) -> None:
    word = script(
        [
            Reply(ToolUse("insert_cell", {"source": "print('from Notebook 7')"})),
            lambda request: Reply(
                ToolUse("run_cell", {"cell_id": request.find(r"cell (\S+) as"), "base_hash": request.find(HASH)})
            ),
            Reply("It ran."),
        ]
    )
    await page.open_classic(lab.write("seven.ipynb", [code(WIDGET, "panel")]))
    await page.page.get_by_role("button", name="Open Agent").click()
    await page.ready(page.side)
    await page.ask(f"Insert and run, {word}")
    await page.allow("Insert this cell?")
    await page.allow("Run this cell?")
    await expect(page.cells).to_have_count(2)
    await expect(page.prompt(1)).to_have_text(re.compile(r"\[\d+\]"))
    await expect(page.cells.nth(1).locator(".jp-OutputArea")).to_contain_text("from Notebook 7")
    await expect(page.side).to_contain_text("It ran.")
    widget = await page.show_widget()
    await expect(widget).to_contain_text("It ran.")
    assert await page.transcript(widget) == await page.transcript(page.side)
    await page.picture("notebook7")


async def test_its_menu_opens_the_side_panel(page: LabPage, lab: Lab) -> None:
    await page.open_classic(lab.write("menu.ipynb", [code("x = 1", "first")]))
    await page.page.get_by_role("menuitem", name="View", exact=True).click()
    await page.page.locator(".lm-Menu-item", has_text=re.compile("^Agent")).hover()
    await page.page.locator(".lm-Menu-item", has_text="Open Agent").click()
    await page.ready(page.side)
