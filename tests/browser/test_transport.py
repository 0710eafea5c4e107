"""The inline panel's two roads to the server: its kernel's comm, and a socket of its own."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Script
from tests.browser.lab import WIDGET, Lab, LabPage, code
from tests.model_server import Gate, Reply, Text, ToolUse

ROADS = ["comm", "socket"]


def cell(transport: str) -> str:
    """Return the cell that makes a panel on this road."""
    return WIDGET.replace("AgentPanel()", f"AgentPanel(transport={transport!r})")


def sockets(page: LabPage) -> list[str]:
    """Return the sockets that were opened to sessions."""
    return [url for url in page.requests if "/sessions/" in url and url.partition("?")[0].endswith("/connect")]


@pytest.mark.parametrize("transport", ROADS)
async def test_an_inline_panel_asks_and_is_asked(page: LabPage, lab: Lab, script: Script, transport: str) -> None:
    word = script([Reply(ToolUse("insert_cell", {"source": "z = 26"})), Reply("There it is.")])
    await page.open(lab.write(f"asks-{transport}.ipynb", [code(cell(transport), "panel")]))
    widget = await page.show_widget()
    await page.ask(f"Insert something, {word}", widget)
    await page.allow("Insert this cell?", widget)
    await expect(widget).to_contain_text("There it is.")
    await expect(page.cells).to_have_count(2)
    assert len(sockets(page)) == (1 if transport == "socket" else 0)


@pytest.mark.parametrize("transport", ROADS)
async def test_an_inline_panel_stops_what_it_asked_for(page: LabPage, lab: Lab, script: Script, transport: str) -> None:
    middle = Gate()
    word = script([Reply(Text("Some words, ", middle, "and more."))])
    await page.open(lab.write(f"stops-{transport}.ipynb", [code(cell(transport), "panel")]))
    widget = await page.show_widget()
    await page.ask(f"Go on, {word}", widget)
    await middle.until_reached()
    await expect(widget).to_contain_text("Some words,")
    await widget.get_by_role("button", name="Stop").click()
    await page.ready(widget)
    await expect(widget).to_contain_text("Stopped.")
    middle.open()


async def test_a_panel_with_a_socket_outlives_its_kernel(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply("Without a kernel.")])
    await page.open(lab.write("outlives.ipynb", [code(cell("socket"), "panel")]))
    widget = await page.show_widget()
    await page.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    await page.loaded()
    await page.ask(f"Are you there, {word}", widget)
    await expect(widget).to_contain_text("Without a kernel.")
