from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.errors import ToolError
from jupyter_agent.notebook.ports import CellChanged, CellNotFound, NotebookNotFound, NotebookReadOnly, base_hash

from .server import Server, nbformat


async def test_a_closed_notebook_is_edited_in_its_file(server: Server):
    server.write("a.ipynb", "x = 1", "y = 2")
    cell = (await server.workspace.read("a.ipynb")).cells[0]
    edited = await server.workspace.edit(
        "a.ipynb", cell_id=cell.id, base_hash=cell.hash, source="x = 10", op_id="call-1"
    )
    assert edited.hash == base_hash("code", "x = 10")
    assert [c.source for c in server.load("a.ipynb").cells] == ["x = 10", "y = 2"]


async def test_an_edit_of_another_state_is_refused_with_the_hash_as_it_is_now(server: Server):
    server.write("a.ipynb", "x = 1")
    with pytest.raises(CellChanged, match=base_hash("code", "x = 1")):
        await server.workspace.edit(
            "a.ipynb", cell_id="cell-0", base_hash=base_hash("code", "old"), source="new", op_id="call-1"
        )
    assert server.load("a.ipynb").cells[0].source == "x = 1"


async def test_the_same_operation_twice_has_one_effect(server: Server):
    server.write("a.ipynb", "x = 1")
    first = await server.workspace.insert(
        "a.ipynb", cell_type="code", source="new", after="cell-0", before=None, op_id="call-1"
    )
    again = await server.workspace.insert(
        "a.ipynb", cell_type="code", source="new", after="cell-0", before=None, op_id="call-1"
    )
    assert first.id == again.id
    assert [c.source for c in server.load("a.ipynb").cells] == ["x = 1", "new"]


@pytest.mark.parametrize(
    ("place", "order"),
    [
        ({"after": "cell-0", "before": None}, ["a", "NEW", "b"]),
        ({"after": None, "before": "cell-0"}, ["NEW", "a", "b"]),
        ({"after": None, "before": None}, ["a", "b", "NEW"]),
    ],
)
async def test_a_cell_is_inserted_where_it_was_asked_for(server: Server, place: dict[str, Any], order: list[str]):
    server.write("a.ipynb", "a", "b")
    cell = await server.workspace.insert("a.ipynb", cell_type="markdown", source="NEW", op_id="call-1", **place)
    assert [c.source for c in server.load("a.ipynb").cells] == order
    assert order.index("NEW") == cell.index


async def test_a_deleted_cell_is_gone_and_is_returned(server: Server):
    server.write("a.ipynb", "a", "b")
    cell = await server.workspace.delete("a.ipynb", cell_id="cell-0", base_hash=base_hash("code", "a"), op_id="call-1")
    assert cell.source == "a"
    assert [c.source for c in server.load("a.ipynb").cells] == ["b"]


async def test_an_old_notebook_gets_ids_with_its_first_edit(server: Server):
    server.write("old.ipynb", "a", "b", minor=4)
    cells = (await server.workspace.read("old.ipynb")).cells
    assert [c.id for c in cells] == [c.id for c in (await server.workspace.read("old.ipynb")).cells]
    await server.workspace.edit("old.ipynb", cell_id=cells[1].id, base_hash=cells[1].hash, source="b2", op_id="call-1")
    saved = server.load("old.ipynb")
    nbformat.validate(saved)
    assert (saved.nbformat, saved.nbformat_minor) == (4, 5)
    assert [c.id for c in saved.cells] == [c.id for c in cells]
    assert [c.source for c in saved.cells] == ["a", "b2"]


async def test_ids_of_an_old_notebook_do_not_outlive_another_change_of_the_file(server: Server):
    server.write("old.ipynb", "a", "b", minor=4)
    cell = (await server.workspace.read("old.ipynb")).cells[0]
    server.write("old.ipynb", "new first", "a", "b", minor=4)
    with pytest.raises(CellNotFound):
        await server.workspace.edit("old.ipynb", cell_id=cell.id, base_hash=cell.hash, source="x", op_id="call-1")


async def test_two_edits_at_once_both_arrive(server: Server):
    server.write("a.ipynb", "a", "b")

    async def edit(i: int, old: str) -> None:
        await server.workspace.edit(
            "a.ipynb", cell_id=f"cell-{i}", base_hash=base_hash("code", old), source=old * 2, op_id=f"call-{i}"
        )

    await asyncio.gather(edit(0, "a"), edit(1, "b"))
    assert [c.source for c in server.load("a.ipynb").cells] == ["aa", "bb"]


async def test_what_is_no_notebook_is_said_to_be_none(server: Server):
    (server.root / "notes.txt").write_text("hello", encoding="utf-8")
    (server.root / "broken.ipynb").write_text("{", encoding="utf-8")
    (server.root / "dir.ipynb").mkdir()
    for path in ("missing.ipynb", "notes.txt", "broken.ipynb", "dir.ipynb", "../a.ipynb", "", "a\0b"):
        with pytest.raises(ToolError) as caught:
            await server.workspace.read(path)
        assert isinstance(caught.value, NotebookNotFound), path
        assert "Traceback" not in caught.value.message


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everything")
async def test_a_read_only_file_is_not_written(server: Server):
    path = server.write("a.ipynb", "a")
    path.chmod(0o444)
    with pytest.raises(NotebookReadOnly, match="read-only"):
        await server.workspace.edit(
            "a.ipynb", cell_id="cell-0", base_hash=base_hash("code", "a"), source="b", op_id="call-1"
        )


async def test_a_file_that_the_contents_manager_calls_read_only_is_not_written(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    server.write("a.ipynb", "a")

    def access(path: str | Path, mode: int) -> bool:
        return mode != os.W_OK

    monkeypatch.setattr(os, "access", access)
    with pytest.raises(NotebookReadOnly, match="read-only"):
        await server.workspace.edit(
            "a.ipynb", cell_id="cell-0", base_hash=base_hash("code", "a"), source="b", op_id="call-1"
        )


async def test_editing_makes_nothing_trusted_that_was_not(server: Server):
    path = server.write("a.ipynb", "a", "b")
    notebook = server.load("a.ipynb")
    notebook.cells[0].outputs = [nbformat.v4.new_output("display_data", data={"text/html": "<script>1</script>"})]
    nbformat.write(notebook, path)
    await server.workspace.edit(
        "a.ipynb", cell_id="cell-1", base_hash=base_hash("code", "b"), source="c", op_id="call-1"
    )
    assert not server.contents.notary.check_signature(server.load("a.ipynb"))


async def test_a_trusted_notebook_stays_trusted(server: Server):
    path = server.write("a.ipynb", "a", "b")
    notebook = server.load("a.ipynb")
    notebook.cells[0].outputs = [nbformat.v4.new_output("display_data", data={"text/html": "<b>1</b>"})]
    nbformat.write(notebook, path)
    server.contents.notary.sign(notebook)
    await server.workspace.edit(
        "a.ipynb", cell_id="cell-1", base_hash=base_hash("code", "b"), source="c", op_id="call-1"
    )
    assert server.contents.notary.check_signature(server.load("a.ipynb"))
