"""A session in a tab of JupyterLab's main area."""

from __future__ import annotations

import re

from playwright.async_api import Locator, expect

from tests.browser.conftest import Script
from tests.browser.lab import START_MS, Lab, LabPage, code
from tests.model_server import Gate, Reply, Text


def tab(page: LabPage) -> Locator:
    """The panel in the main area."""
    return page.page.locator('.jp-agent[data-surface="main"]')


async def open_from_list(page: LabPage) -> Locator:
    """Open the side panel's session in the main area, from the list of sessions."""
    await page.side.get_by_role("button", name="Sessions", exact=True).click()
    row = page.side.locator("[data-session-id]", has=page.page.locator("[aria-current]"))
    await row.get_by_role("button", name=re.compile("^More about")).click()
    await row.get_by_role("button", name="Open in the main area").click()
    await page.ready(tab(page))
    return tab(page)


async def test_a_session_in_a_tab_and_beside_it_tells_one_story(page: LabPage, lab: Lab, script: Script) -> None:
    middle = Gate()
    word = script([Reply(Text("The first half, ", middle, "and the second."))])
    await page.open(lab.write("tab.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    main = await open_from_list(page)
    await expect(main).to_have_attribute("data-session", await side.get_attribute("data-session") or "")
    await page.ask(f"Say it, {word}", main)
    await middle.until_reached()
    for panel in (side, main):
        await expect(panel.locator('[data-role="assistant"]')).to_contain_text("The first half,")
    middle.open()
    for panel in (side, main):
        await page.ready(panel)
        await expect(panel).to_contain_text("and the second.")
    assert await page.transcript(side) == await page.transcript(main)
    await page.picture("tab-and-side")


async def test_a_tab_is_there_after_a_reload(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply("Still here.")])
    await page.open(lab.write("tab-reload.ipynb", [code("x = 1", "first")]))
    await page.open_panel()
    await page.ask(f"Stay, {word}")
    await expect(page.side).to_contain_text("Still here.")
    session = await page.side.get_attribute("data-session") or ""
    async with page.layout_saved(f"jupyter-agent:{session}"):
        main = await open_from_list(page)
    await page.page.reload()
    await expect(main).to_have_attribute("data-status", "ready", timeout=START_MS)
    await expect(main).to_have_attribute("data-session", session)
    await expect(main).to_contain_text("Still here.")
    box = await main.get_by_label("Message", exact=True).bounding_box()
    assert box is not None
    assert box["height"] < 60, "an empty message box is one line high"


async def test_commands_act_on_the_tab_in_front(page: LabPage, lab: Lab, script: Script) -> None:
    await page.open(lab.write("tab-commands.ipynb", [code("x = 1", "first")]))
    await page.open_panel()
    first = await page.side.get_attribute("data-session") or ""
    await page.command("jupyter-agent:open-in-main-area")
    main = tab(page)
    await page.ready(main)
    await page.command("jupyter-agent:new-session")
    await expect(page.side).not_to_have_attribute("data-session", first)
    await page.ready(page.side)
    await page.command("jupyter-agent:open-in-main-area", session_id=first)
    await expect(main.get_by_label("Message", exact=True)).to_be_focused()
    await page.command("jupyter-agent:toggle-mode")
    await expect(main.get_by_role("radio", name="Plan")).to_be_checked()
    await expect(page.side.get_by_role("radio", name="Build")).to_be_checked()
    gate = Gate()
    await page.ask(f"Go on, {script([Reply(Text('Half ', gate, 'and half.'))])}", main)
    await gate.until_reached()
    await page.command("jupyter-agent:stop")
    await expect(main).to_contain_text("Stopped.")
    gate.open()


async def test_a_session_is_opened_once_and_closed_like_any_tab(page: LabPage, lab: Lab) -> None:
    await page.open(lab.write("tab-once.ipynb", [code("x = 1", "first")]))
    await page.open_panel()
    await open_from_list(page)
    await page.command("jupyter-agent:open-in-main-area")
    await expect(tab(page)).to_have_count(1)
    await page.page.locator(".lm-DockPanel-tabBar .lm-mod-current .lm-TabBar-tabCloseIcon").click()
    await expect(tab(page)).to_have_count(0)
    await page.ready(page.side)


async def test_details_tell_the_kernel_and_the_branch(page: LabPage, lab: Lab) -> None:
    kept = lab.server.notebooks / "study" / ".git"
    kept.mkdir(parents=True)
    (kept / "HEAD").write_text("ref: refs/heads/plots\n")
    await page.open(lab.write("study/details.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await side.get_by_role("button", name="This session").click()
    await side.get_by_role("menuitem", name="Details").click()
    details = side.get_by_role("dialog", name="Details")
    await expect(details).to_contain_text("plots")
    await expect(details).to_contain_text("details.ipynb")
    await expect(details).to_contain_text(re.compile(r"Python 3.*idle"))
    (kept / "HEAD").write_text("ref: refs/heads/other\n")
    await page.page.evaluate("window.dispatchEvent(new Event('focus'))")
    await expect(details).to_contain_text("other")
    await page.picture("details", side)
