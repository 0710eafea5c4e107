"""What a user allows for good: said once in the panel, known to the server, and taken back."""

from __future__ import annotations

from playwright.async_api import expect

from tests.browser.conftest import Script
from tests.browser.lab import Lab, LabPage, code
from tests.hosts.running_server import API
from tests.model_server import Reply, ToolUse


async def test_what_is_allowed_for_a_folder_is_not_asked_for_in_its_other_notebooks(
    page: LabPage, lab: Lab, script: Script
) -> None:
    (lab.server.notebooks / "sales").mkdir()
    insert = ToolUse("insert_cell", {"cell_type": "markdown", "source": "# Seen"})
    first, second = (script([Reply(insert), Reply("It is there.")]) for _ in range(2))
    third = script([Reply(insert), Reply("There is another.")])

    await page.open(lab.write("sales/may.ipynb", [code("x = 1", "x")]))
    side = await page.open_panel()
    await page.ask(f"Write something, {first}")
    card = await page.question("Insert this cell?")
    await card.get_by_role("button", name="More choices").click()
    await page.picture("always-allow")
    await side.get_by_role("menuitem", name="Always allow in this folder").click()
    await expect(side).to_contain_text("It is there.")

    await page.open(lab.write("sales/june.ipynb", [code("x = 1", "x")]))
    await page.open_panel()
    await page.ask(f"Write something, {second}")
    await expect(page.side).to_contain_text("It is there.")
    await expect(page.cells).to_have_count(2)

    _, told = await lab.server.ask("GET", f"{API}/rules")
    (rule,) = told["rules"]
    assert (rule["tool"], rule["notebook"]) == ("insert_cell", "sales/*")
    await lab.server.ask("DELETE", f"{API}/rules/{rule['id']}")
    await page.ask(f"Once more, {third}")
    await page.allow("Insert this cell?")
    await expect(page.side).to_contain_text("There is another.")
    await expect(page.cells).to_have_count(3)
