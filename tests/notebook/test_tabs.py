from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jupyter_agent.errors import ToolError
from jupyter_agent.notebook.ports import CellChanged, NotebookReadOnly, TabSilent, base_hash
from jupyter_agent.notebook.tabs import TabGone, Tabs

from .server import BOUND_S, Page, Server, until

OLD = base_hash("code", "x = 1")


async def edit(server: Server, source: str = "x = 2", op_id: str = "call-1"):
    return await server.workspace.edit("a.ipynb", cell_id="cell-0", base_hash=OLD, source=source, op_id=op_id)


async def test_an_open_notebook_is_edited_in_its_tab_and_not_in_its_file(server: Server):
    server.write("a.ipynb", "x = 1")
    page = Page(server).open("a.ipynb", "x = 1").connect()
    cell = await edit(server)
    assert cell.hash == base_hash("code", "x = 2")
    assert page.source("a.ipynb") == "x = 2"
    assert server.load("a.ipynb").cells[0].source == "x = 1"


@pytest.mark.parametrize("spelled", ["./a.ipynb", "work/../a.ipynb", "/a.ipynb", ".//./a.ipynb", "linked.ipynb"])
async def test_an_open_notebook_is_edited_in_its_tab_however_its_path_is_spelled(server: Server, spelled: str):
    server.write("a.ipynb", "x = 1")
    (server.root / "linked.ipynb").symlink_to(server.root / "a.ipynb")
    page = Page(server).open("a.ipynb", "x = 1").connect()
    page.open("other.ipynb", "never saved")
    edit = server.workspace.edit(spelled, cell_id="cell-0", base_hash=OLD, source="x = 2", op_id="call-1")
    if ".." in spelled:
        with pytest.raises(ToolError, match="stays inside"):
            await edit
    else:
        await edit
        assert page.source("a.ipynb") == "x = 2"
    assert server.load("a.ipynb").cells[0].source == "x = 1"


async def test_an_open_notebook_is_read_as_the_tab_has_it(server: Server):
    server.write("a.ipynb", "x = 1")
    Page(server).open("a.ipynb", "typed, not saved").connect()
    notebook = await server.workspace.read("a.ipynb")
    assert notebook.open
    assert [cell.source for cell in notebook.cells] == ["typed, not saved"]


async def test_a_cell_that_changed_in_the_tab_is_not_touched(server: Server):
    page = Page(server).open("a.ipynb", "changed by the user").connect()
    with pytest.raises(CellChanged, match=base_hash("code", "changed by the user")):
        await edit(server)
    assert page.source("a.ipynb") == "changed by the user"


async def test_the_page_that_was_focused_last_holds_the_lease(server: Server):
    first = Page(server, "first").open("a.ipynb", "x = 1").connect()
    second = Page(server, "second").open("a.ipynb", "x = 1").connect()
    # Its clock is far behind the other's; what counts is that it was focused since.
    first.focused_at = 2
    first.announce()
    await edit(server)
    assert (first.source("a.ipynb"), second.source("a.ipynb")) == ("x = 2", "x = 1")


async def test_a_silent_tab_is_an_error_and_never_a_reason_to_write_the_file(server: Server):
    server.write("a.ipynb", "x = 1")
    page = Page(server, silent={"edit"}).open("a.ipynb", "x = 1").connect()
    with pytest.raises(TabSilent, match="did not answer"):
        await edit(server)
    assert server.load("a.ipynb").cells[0].source == "x = 1"
    assert page.requests[-1]["type"] == "cancel"


async def test_a_page_that_lost_its_socket_is_asked_again_when_it_is_back(server: Server):
    page = Page(server, silent={"edit"}).open("a.ipynb", "x = 1").connect()
    editing = asyncio.create_task(edit(server))
    await until(lambda: page.requests)
    page.disconnect()
    page.silent.clear()
    page.connect()
    assert (await editing).source == "x = 2"


async def test_an_answer_that_was_lost_on_the_way_is_not_an_edit_made_twice(server: Server):
    page = Page(server).open("a.ipynb", "x = 1").connect()
    connection, page.connection = page.connection, None  # it hears, but its words do not arrive
    editing = asyncio.create_task(edit(server))
    await until(lambda: page.source("a.ipynb") == "x = 2")
    assert connection is not None
    connection.close()
    page.connect()
    assert (await editing).source == "x = 2"
    assert [r["method"] for r in page.requests if r["type"] == "request"] == ["edit", "edit"]


async def test_while_a_page_may_be_back_its_notebooks_are_not_edited_on_disk(server: Server):
    server.write("a.ipynb", "x = 1")
    page = Page(server).open("a.ipynb", "x = 1").connect()
    page.disconnect()
    with pytest.raises(TabGone):
        await edit(server)
    assert server.load("a.ipynb").cells[0].source == "x = 1"
    # It never came back: the file is the truth again.
    await edit(server, op_id="call-2")
    assert server.load("a.ipynb").cells[0].source == "x = 2"


async def test_a_page_that_said_bye_is_gone_at_once(server: Server):
    server.write("a.ipynb", "x = 1")
    Page(server).open("a.ipynb", "x = 1").connect().say_bye()
    await edit(server)
    assert server.load("a.ipynb").cells[0].source == "x = 2"


async def test_after_a_start_pages_get_time_to_come_back():
    tabs = Tabs(start_grace_s=2 * BOUND_S)
    asking = asyncio.create_task(tabs.has_open("a.ipynb"))
    await asyncio.sleep(0)
    page = tabs.attach(lambda message: None, "ada")
    page.receive({"type": "documents", "page": "p", "documents": [{"path": "a.ipynb", "focused_at": 1}]})
    async with asyncio.timeout(BOUND_S):
        assert await asking


async def test_a_read_only_document_is_not_changed(server: Server):
    Page(server, read_only=True).open("a.ipynb", "x = 1").connect()
    with pytest.raises(NotebookReadOnly):
        await edit(server)


async def test_only_the_page_that_was_asked_may_answer(server: Server):
    page = Page(server, silent={"edit"}).open("a.ipynb", "x = 1").connect()
    other = Page(server, "other", user="eve").connect()
    editing = asyncio.create_task(edit(server))
    await until(lambda: page.requests)
    forged = {"id": "cell-0", "index": 0, "cell_type": "code", "source": "x = 2"}
    other.say({"type": "response", "id": page.requests[0]["id"], "result": {"cell": forged}})
    with pytest.raises(TabSilent):
        await editing


async def test_a_page_that_claims_what_was_not_asked_for_is_not_believed(server: Server):
    page = Page(server, silent={"edit"}).open("a.ipynb", "x = 1").connect()
    editing = asyncio.create_task(edit(server))
    await until(lambda: page.requests)
    other = {"id": "cell-0", "index": 0, "cell_type": "code", "source": "something else"}
    page.say({"type": "response", "id": page.requests[0]["id"], "result": {"cell": other}})
    with pytest.raises(ToolError, match="does not hold what was written"):
        await editing


async def test_malformed_messages_of_a_page_change_nothing(server: Server):
    page = Page(server).open("a.ipynb", "x = 1").connect()
    malformed: list[dict[str, Any]] = [
        {},
        {"type": 1},
        {"type": "documents"},
        {"type": "documents", "documents": [1]},
        {"type": "documents", "documents": 1},
        {"type": "response"},
        {"type": "response", "id": "none", "result": []},
        {"type": "event", "id": []},
    ]
    for message in malformed:
        page.say(message)
    page.announce()
    assert (await edit(server)).source == "x = 2"
