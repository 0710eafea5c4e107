"""The main job: ask beside a notebook, allow, and see the cell with its plot appear in it."""

from __future__ import annotations

from playwright.async_api import expect

from tests.browser.conftest import Script, Visit
from tests.browser.lab import DATA, PLOT, START_MS, Lab, LabPage, code, waits_for
from tests.model_server import Reply, Request, ToolUse

HASH = r"\b([0-9a-f]{64})\b"


async def test_the_demo_plots_a_column_in_the_open_notebook(demo_lab: Lab, visit: Visit) -> None:
    page = await visit(demo_lab)
    await page.open(demo_lab.write("demo.ipynb", [code(DATA, "data")]))
    await page.run_cell(0)
    side = await page.open_panel()
    await expect(side.get_by_text("Demo model")).to_be_visible()
    await page.ask("Plot the price column")
    card = await page.question("Insert this cell?")
    await expect(card.locator("code")).to_contain_text("price")
    await page.picture("approval")
    await page.allow("Insert this cell?")
    await expect(page.cells).to_have_count(2)
    await page.allow("Run this cell?")
    await expect(page.cells.nth(1).locator(".jp-OutputArea img")).to_be_visible(timeout=START_MS)
    await expect(page.prompt(1)).to_have_text("[2]:")
    await page.ready(side)
    await page.picture("plotted")
    await page.command("notebook:undo-cell-action")
    await expect(page.cells).to_have_count(1)


async def test_a_cell_is_inserted_and_run_and_its_plot_is_seen(page: LabPage, lab: Lab, script: Script) -> None:
    word = script(
        [
            Reply("I insert a cell.", ToolUse("insert_cell", {"source": waits_for("plot") + PLOT, "after": "first"})),
            lambda request: Reply(
                "Now I run it.",
                ToolUse("run_cell", {"cell_id": request.find(r"cell (\S+) as"), "base_hash": request.find(HASH)}),
            ),
            lambda request: Reply("The picture has arrived." if _saw_picture(request) else "I saw nothing."),
        ]
    )
    await page.open(lab.write("plot.ipynb", [code("x = 1", "first"), code("y = 2", "last")]))
    side = await page.open_panel()
    await page.ask(f"Plot something, {word}")
    await page.allow("Insert this cell?")
    await expect(page.cells).to_have_count(3)
    await expect(page.cells.nth(1).locator(".cm-content")).to_contain_text("plt.plot")
    await page.allow("Run this cell?")
    await expect(page.prompt(1)).to_have_text("[*]:")
    lab.touch("plot")
    await expect(page.cells.nth(1).locator(".jp-OutputArea img")).to_be_visible(timeout=START_MS)
    await expect(page.prompt(1)).to_have_text("[1]:")
    await page.ready(side)
    await expect(side).to_contain_text("The picture has arrived.")


def _saw_picture(request: Request) -> bool:
    blocks = request.tool_results[-1]["content"]
    return any(block["type"] == "image" for block in blocks)


async def test_an_edit_is_shown_as_a_difference_and_can_be_undone(page: LabPage, lab: Lab, script: Script) -> None:
    word = script(
        [
            Reply(ToolUse("read_cell", {"cell_id": "first"})),
            lambda request: Reply(
                ToolUse("edit_cell", {"cell_id": "first", "base_hash": request.find(HASH), "source": "x = 41 + 1"})
            ),
            Reply("Done."),
        ]
    )
    await page.open(lab.write("edit.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Make it 42, {word}")
    card = await page.question("Make this change?")
    await expect(card.locator(".jp-agent-diff-removed")).to_contain_text("x = 1")
    await expect(card.locator(".jp-agent-diff-added")).to_contain_text("x = 41 + 1")
    await page.allow("Make this change?")
    source = page.cells.first.locator(".cm-content")
    await expect(source).to_have_text("x = 41 + 1")
    await page.ready(side)
    await source.click()
    await page.page.keyboard.press("Control+z")
    await expect(source).to_have_text("x = 1")


async def test_a_closed_notebook_is_edited_on_disk(page: LabPage, lab: Lab, script: Script) -> None:
    lab.write("closed.ipynb", [code("a = 1", "only")])
    word = script(
        [
            Reply(ToolUse("insert_cell", {"path": "closed.ipynb", "source": "print(6 * 7)"})),
            lambda request: Reply(
                ToolUse(
                    "run_cell",
                    {
                        "path": "closed.ipynb",
                        "cell_id": request.find(r"cell (\S+) as"),
                        "base_hash": request.find(HASH),
                    },
                )
            ),
            lambda request: Reply("I read 42." if "42" in request.result_text() else "I read nothing."),
        ]
    )
    await page.open(lab.write("open.ipynb", [code("b = 2", "other")]))
    side = await page.open_panel()
    await page.ask(f"Add to the other notebook, {word}")
    await page.allow("Insert this cell?")
    await page.allow("Run this cell?")
    await expect(side).to_contain_text("I read 42.")
    await page.ready(side)
    cells = lab.read("closed.ipynb")["cells"]
    assert ["".join(cell["source"]) for cell in cells] == ["a = 1", "print(6 * 7)"]
    assert "".join(cells[1]["outputs"][0]["text"]) == "42\n"
    await expect(page.cells).to_have_count(1)
