"""What a user does with messages, sessions, what waits and tasks, from the side panel."""

from __future__ import annotations

from playwright.async_api import Locator, expect

from tests.browser.conftest import Script
from tests.browser.lab import START_MS, Lab, LabPage, code
from tests.model_server import Gate, Reply, Text, ToolUse


async def choose(panel: Locator, message: int, name: str) -> None:
    """Take a choice from a message's menu."""
    article = panel.locator("[data-message-id]").nth(message)
    await article.hover()
    await article.get_by_role("button", name="Message actions").click()
    await article.get_by_role("menuitem", name=name).click()


async def test_a_message_is_edited_and_resent_and_that_can_be_undone(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply("One."), Reply("Two."), Reply("Two, said better.")])
    await page.open(lab.write("edit-resend.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"First {word}")
    await expect(side).to_contain_text("One.")
    await page.ready(side)
    await page.ask("Second")
    await expect(side).to_contain_text("Two.")
    await page.ready(side)
    before = await page.transcript(side)
    await choose(side, 2, "Edit and resend")
    box = side.get_by_label("Message", exact=True)
    await expect(box).to_have_value("Second")
    await expect(box).to_be_focused()
    await expect(side.locator("[data-message-id]")).to_have_count(2)
    await page.picture("edit-and-resend", side)
    await side.get_by_role("button", name="Undo").click()
    await expect(side.locator("[data-message-id]")).to_have_count(4)
    assert await page.transcript(side) == before
    await choose(side, 2, "Edit and resend")
    await expect(side.locator("[data-message-id]")).to_have_count(2)
    await box.fill("Second, but better")
    await box.press("Enter")
    await expect(side).to_contain_text("Two, said better.")
    await page.ready(side)
    assert await page.transcript(side) == [*before[:2], "Second, but better", "Two, said better."]


async def test_a_fork_goes_its_own_way(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply("Both know this."), Reply("Only the fork knows this.")])
    await page.open(lab.write("fork.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Begin {word}")
    await expect(side).to_contain_text("Both know this.")
    await page.ready(side)
    first = await side.get_attribute("data-session") or ""
    await choose(side, 1, "Fork from here")
    await expect(page.side).not_to_have_attribute("data-session", first)
    await expect(page.side).to_contain_text("Both know this.")
    await page.ask("Go on")
    await expect(page.side).to_contain_text("Only the fork knows this.")
    await page.ready(page.side)
    await page.side.get_by_role("button", name="Sessions").click()
    await page.side.locator(f'[data-session-id="{first}"]').get_by_role("button").first.click()
    await expect(page.side).to_have_attribute("data-session", first)
    await expect(page.side).to_contain_text("Both know this.")
    await expect(page.side).not_to_contain_text("Only the fork")


async def test_an_answer_is_tried_again(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply("A first try."), Reply("A second try.")])
    await page.open(lab.write("again.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Try {word}")
    await expect(side).to_contain_text("A first try.")
    await page.ready(side)
    await choose(side, 1, "Try again")
    await expect(side).to_contain_text("A second try.")
    await page.ready(side)
    assert await page.transcript(side) == [f"Try {word}", "A second try."]


async def test_a_deleted_session_comes_back_with_all_that_was_said(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply("Do not lose me.")])
    await page.open(lab.write("delete.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Delete me, {word}")
    await expect(side).to_contain_text("Do not lose me.")
    await page.ready(side)
    session = await side.get_attribute("data-session") or ""
    await side.get_by_role("button", name="Sessions").click()
    await side.get_by_role("searchbox").fill(word)
    row = side.locator(f'[data-session-id="{session}"]')
    await expect(side.locator("[data-session-id]")).to_have_count(1)
    await row.get_by_role("button", name="More about").click()
    await page.picture("session-actions", side)
    await row.get_by_role("button", name="Delete", exact=True).click()
    await expect(row).to_have_count(0)
    await expect(side).to_contain_text("This session was deleted.")
    await page.picture("session-deleted", side)
    await side.get_by_role("button", name="Undo").click()
    await page.ready(page.side)
    await expect(page.side).to_have_attribute("data-session", session)
    await expect(page.side).to_contain_text("Do not lose me.")


async def test_what_waits_is_reordered_and_changed(page: LabPage, lab: Lab, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("One ", gate, "done.")), Reply("Two done."), Reply("Three done.")])
    await page.open(lab.write("reorder.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"One {word}")
    await gate.until_reached()
    await expect(side.get_by_role("button", name="Stop")).to_be_visible()
    await page.ask("Three")
    await page.ask("Tow")
    waiting = side.get_by_role("region", name="Waiting").get_by_role("listitem")
    await expect(waiting).to_have_count(2)
    await waiting.nth(1).get_by_role("button", name="Move up").click()
    await expect(waiting.first).to_contain_text("Tow")
    await waiting.first.get_by_role("button", name="Edit").click()
    box = side.get_by_label("Edit what waits")
    await box.fill("Two")
    await box.press("Enter")
    await expect(waiting.first).to_contain_text("Two")
    await page.picture("reordered", side)
    gate.open()
    await expect(side).to_contain_text("Three done.")
    await page.ready(side)
    said = await page.transcript(side)
    assert said == [f"One {word}", "One done.", "Two", "Two done.", "Three", "Three done."]


async def test_a_message_steers_the_running_answer(page: LabPage, lab: Lab, script: Script) -> None:
    gate = Gate()
    word = script(
        [
            Reply(Text("I look ", gate, "at it."), ToolUse("read_notebook")),
            lambda request: Reply("In metres." if "in metres" in str(request.body["messages"][-1]) else "In feet."),
        ]
    )
    await page.open(lab.write("steer.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"How long? {word}")
    await gate.until_reached()
    await expect(side.get_by_role("button", name="Stop")).to_be_visible()
    box = side.get_by_label("Message", exact=True)
    await box.fill("Tell me in metres")
    await box.press("Alt+Enter")
    await expect(side.get_by_role("region", name="Waiting")).to_contain_text("steers")
    gate.open()
    await expect(side).to_contain_text("In metres.")
    await page.ready(side)
    await expect(side.locator('[data-role="user"]')).to_have_count(2)


async def test_code_is_changed_before_it_is_allowed(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply(ToolUse("insert_cell", {"source": "y = 1"})), Reply("Inserted.")])
    await page.open(lab.write("edited-input.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Insert {word}")
    card = await page.question("Insert this cell?")
    await card.get_by_role("button", name="Edit").click()
    await card.get_by_label("Source").fill("y = 2")
    await page.picture("edit-approval", side)
    await page.allow("Insert this cell?")
    await expect(page.cells.nth(1).locator(".cm-content")).to_have_text("y = 2")
    await expect(side).to_contain_text("Inserted.")


async def test_a_task_is_written_down_and_run(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply("The task is done.")])
    await page.open(lab.write("task.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await side.get_by_role("button", name="This session").click()
    await side.get_by_role("menuitem", name="Add a task").click()
    box = side.get_by_label("New task")
    await expect(box).to_be_focused()
    await box.fill(f"Look at {word}")
    await box.press("Enter")
    tasks = side.get_by_role("region", name="Tasks")
    await expect(tasks.get_by_role("listitem")).to_have_count(1)
    await expect(box).to_have_value("")
    await tasks.get_by_role("button", name="Run").click()
    await expect(side).to_contain_text("The task is done.", timeout=START_MS)
    await expect(tasks.get_by_role("listitem")).to_have_attribute("data-status", "done")
    await page.picture("task-done", side)
