"""Notebooks that no tab has open: read and changed through the contents manager.

Every change reads the file anew, checks the cell's hash, looks again whether
the file moved meanwhile, and saves. Jupyter's contents manager keeps a copy
beside the file while it writes, and its next reading puts that back when a
crash left the file cut off. What the file's signature said about trust is left as it was:
nothing becomes trusted because it was edited here.

Notebooks from before nbformat 4.5 have no cell ids. Reading them gives ids
bound to what the file holds, so an id taken from another state of the file is
simply not found; the first change writes them and makes the file a 4.5.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast
from weakref import WeakValueDictionary

from ..errors import ToolError
from .ports import Cell, CellNotFound, CellType, Notebook, NotebookNotFound, NotebookReadOnly, check_unchanged, fields

Json = Any
Content = dict[str, Json]
Change = Callable[[list[dict[str, Json]]], Cell]

KEPT_OPERATIONS = 500


class DiskNotebooks:
    """The closed notebooks of one contents manager."""

    def __init__(self, contents_manager: Any) -> None:
        self._contents = contents_manager
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._done: OrderedDict[str, Cell] = OrderedDict()

    async def read(self, path: str) -> Notebook:
        """Return the notebook as the file has it.

        Raises:
            ToolError: missing, not a notebook, or not readable.
        """
        async with self._lock(path):
            return await self._read(path)

    async def kernel_name(self, path: str) -> str | None:
        """Return the name of the kernel that the notebook asks for."""
        async with self._lock(path):
            content, _ = await self._load(path)
        name = fields(fields(content.get("metadata")).get("kernelspec")).get("name")
        return name if isinstance(name, str) and name else None

    async def insert(
        self, path: str, *, cell: dict[str, Json], after: str | None, before: str | None, op_id: str
    ) -> Cell:
        """Add a cell; see ``Workspace.insert``."""

        def change(cells: list[dict[str, Json]]) -> Cell:
            for index, there in enumerate(cells):
                if there["id"] == cell["id"]:
                    return _cell(index, there)
            index = _place(cells, after, before)
            cells.insert(index, _new_cell(cell))
            return _cell(index, cells[index])

        return await self._change(path, change, op_id)

    async def edit(self, path: str, *, cell_id: str, base_hash: str, source: str, op_id: str) -> Cell:
        """Replace a cell's source; see ``Workspace.edit``."""

        def change(cells: list[dict[str, Json]]) -> Cell:
            index = _find(cells, cell_id)
            check_unchanged(_cell(index, cells[index]), base_hash)
            cells[index]["source"] = source
            return _cell(index, cells[index])

        return await self._change(path, change, op_id)

    async def delete(self, path: str, *, cell_id: str, base_hash: str, op_id: str) -> Cell:
        """Remove a cell; see ``Workspace.delete``."""

        def change(cells: list[dict[str, Json]]) -> Cell:
            index = _find(cells, cell_id)
            cell = _cell(index, cells[index])
            check_unchanged(cell, base_hash)
            del cells[index]
            return cell

        return await self._change(path, change, op_id, gone=True)

    async def write_outputs(
        self,
        path: str,
        *,
        cell_id: str,
        base_hash: str,
        outputs: list[dict[str, Json]],
        execution_count: int | None,
        op_id: str,
    ) -> Cell:
        """Store what a run printed, if the cell is still the one that ran."""

        def change(cells: list[dict[str, Json]]) -> Cell:
            index = _find(cells, cell_id)
            check_unchanged(_cell(index, cells[index]), base_hash)
            cells[index]["outputs"] = outputs
            cells[index]["execution_count"] = execution_count
            return _cell(index, cells[index])

        return await self._change(path, change, op_id)

    # -- inside --------------------------------------------------------------------

    def _lock(self, path: str) -> asyncio.Lock:
        # Reading too: the contents manager writes in place, with a copy beside it
        # that a reader who comes in between would take for the rescue.
        lock = self._locks.get(path)
        if lock is None:
            lock = self._locks[path] = asyncio.Lock()
        return lock

    async def _read(self, path: str) -> Notebook:
        content, _ = await self._load(path)
        return Notebook(path=path, cells=_cells(content), language=language_of(content))

    async def _change(self, path: str, change: Change, op_id: str, *, gone: bool = False) -> Cell:
        async with self._lock(path):
            if op_id in self._done:
                return self._done[op_id]
            content, stamp = await self._load(path, to_write=True)
            cells = cast("list[dict[str, Json]]", content["cells"])
            _give_ids(content)
            cell = change(cells)
            await self._save(path, content, stamp)
            read_back = await self._read(path)
            self._verify(read_back, cell, gone=gone)
            self._remember(op_id, cell)
            return cell

    def _verify(self, notebook: Notebook, cell: Cell, *, gone: bool) -> None:
        found = next((there for there in notebook.cells if there.id == cell.id), None)
        if gone != (found is None) or (found is not None and found.hash != cell.hash):
            raise ToolError(
                "The file does not hold the change after saving: something else wrote it too. Read it again.",
                code="not_saved",
            )

    def _remember(self, op_id: str, cell: Cell) -> None:
        self._done[op_id] = cell
        while len(self._done) > KEPT_OPERATIONS:
            self._done.popitem(last=False)

    async def _load(self, path: str, *, to_write: bool = False) -> tuple[Content, Json]:
        model = await self._get(path, content=True)
        if model.get("type") != "notebook" or not isinstance(fields(model.get("content")).get("cells"), list):
            raise NotebookNotFound(f"{path} is not a notebook.")
        if to_write and model.get("writable") is False:
            raise NotebookReadOnly(f"{path} is read-only, so it cannot be changed. Tell the user.")
        return model["content"], model.get("last_modified")

    async def _save(self, path: str, content: Content, stamp: Json) -> None:
        now = await self._get(path, content=False)
        if now.get("last_modified") != stamp:
            raise ToolError(
                f"{path} was written by something else at this moment, so nothing was changed. Read it again.",
                code="notebook_changed",
            )
        model = {"type": "notebook", "format": "json", "content": content}
        await self._ask(path, self._contents.save, model, path)

    async def _get(self, path: str, *, content: bool) -> dict[str, Json]:
        return await self._ask(path, self._contents.get, path, content=content, type="notebook")

    async def _ask(self, path: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Json]:
        try:
            result = method(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result
        except Exception as error:  # contents managers of any make; theirs are Tornado's HTTP errors
            raise _readable(path, error) from error


def _readable(path: str, error: Exception) -> ToolError:
    status = getattr(error, "status_code", None)
    reason = str(getattr(error, "log_message", None) or getattr(error, "reason", None) or error)
    match status:
        case 404:
            return NotebookNotFound(f"There is no notebook {path} under the server's root directory.")
        case 403:
            return NotebookReadOnly(f"{path} may not be accessed: permission denied.")
        case 400:
            return NotebookNotFound(f"{path} cannot be opened as a notebook: it is not valid.")
        case _ if isinstance(error, PermissionError):
            return NotebookReadOnly(f"{path} may not be accessed: permission denied.")
        case _:
            return ToolError(f"{path} could not be read or written: {reason}", code="contents_failed")


def language_of(content: Content) -> str:
    """Return the language that the notebook says it is written in."""
    metadata = fields(content.get("metadata"))
    spec = fields(metadata.get("kernelspec"))
    info = fields(metadata.get("language_info"))
    return str(spec.get("language") or info.get("name") or "python")


def _cells(content: Content) -> list[Cell]:
    ids = _ids(content)
    return [_cell(index, cell | {"id": ids[index]}) for index, cell in enumerate(content["cells"])]


def _cell(index: int, cell: dict[str, Json]) -> Cell:
    outputs: list[Json] = cell.get("outputs") or []
    return Cell(
        id=str(cell["id"]),
        index=index,
        cell_type=cell["cell_type"],
        source=text_of(cell.get("source")),
        execution_count=cell.get("execution_count"),
        outputs=[fields(output) for output in outputs],
    )


def text_of(text: Json) -> str:
    """Join a multi-line string of nbformat."""
    return "".join(str(line) for line in cast("list[str]", text)) if isinstance(text, list) else str(text or "")


def _has_own_ids(content: Content) -> bool:
    # An older file that was upgraded while it was read got ids that are new at
    # every reading; it says so in its metadata.
    metadata = fields(content.get("metadata"))
    if content.get("nbformat_minor", 0) < 5 or metadata.get("orig_nbformat", 4) < 4:
        return False
    ids = [cell.get("id") for cell in content["cells"]]
    return all(isinstance(i, str) and i for i in ids) and len(set(ids)) == len(ids)


def _ids(content: Content) -> list[str]:
    cells = content["cells"]
    if _has_own_ids(content):
        return [cell["id"] for cell in cells]
    whole = json.dumps([[cell.get("cell_type"), text_of(cell.get("source"))] for cell in cells])
    state = hashlib.sha256(whole.encode()).hexdigest()
    return [hashlib.sha256(f"{state}:{index}".encode()).hexdigest()[:12] for index in range(len(cells))]


def _give_ids(content: Content) -> None:
    ids = _ids(content)
    metadata: dict[str, Json] = content.setdefault("metadata", {})
    for mark in ("orig_nbformat", "orig_nbformat_minor"):
        metadata.pop(mark, None)
    content["nbformat"], content["nbformat_minor"] = 4, max(content.get("nbformat_minor", 5), 5)
    for cell, cell_id in zip(content["cells"], ids, strict=True):
        cell["id"] = cell_id
        cell["source"] = text_of(cell.get("source"))


def _find(cells: list[dict[str, Json]], cell_id: str) -> int:
    for index, cell in enumerate(cells):
        if cell["id"] == cell_id:
            return index
    raise CellNotFound(cell_id)


def _place(cells: list[dict[str, Json]], after: str | None, before: str | None) -> int:
    if after is not None:
        return _find(cells, after) + 1
    return _find(cells, before) if before is not None else len(cells)


def _new_cell(cell: dict[str, Json]) -> dict[str, Json]:
    cell_type: CellType = cell["cell_type"]
    new: dict[str, Json] = {"cell_type": cell_type, "id": cell["id"], "metadata": {}, "source": cell["source"]}
    if cell_type == "code":
        # Without outputs there is nothing that could be untrusted.
        new |= {"metadata": {"trusted": True}, "outputs": [], "execution_count": None}
    return new
