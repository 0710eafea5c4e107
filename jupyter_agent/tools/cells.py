"""Tools for the cells of a notebook: read, insert, edit, delete, run.

Cells go by id, never by their place; whatever changes or runs one names the
hash it was read with, so nothing happens to a cell that is not what the model
and the user saw.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, model_validator

from ..errors import ToolError
from ..notebook.ports import Cell, CellType, Notebook, RunOutcome, check_unchanged
from ..protocol.content import Display, DisplayCode, DisplayDiff, DisplayText, Effect
from .outputs import Shown, clip, show
from .tool import Params, Tool, ToolContext, ToolOutcome, text_outcome

OVERVIEW_OUTPUT_CHARS = 1_000
OVERVIEW_SOURCE_CHARS = 8_000

Path = Annotated[
    str | None, Field(description="The notebook, relative to the server's root. Leave out for this session's notebook.")
]
CellId = Annotated[str, StringConstraints(min_length=1), Field(description="The cell's id, as read_notebook gives it.")]
Hash = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{64}$"),
    Field(description="The cell's hash, exactly as you last read it."),
]


class ReadNotebookParams(Params):
    """What read_notebook takes."""

    path: Path = None
    after: Annotated[str | None, Field(description="Go on after the cell with this id, when a notebook is long.")] = (
        None
    )
    outputs: Annotated[bool, Field(description="Whether to show the beginning of each cell's outputs.")] = True


class ReadNotebook(Tool[ReadNotebookParams]):
    """All cells, with ids and hashes."""

    name: ClassVar[str] = "read_notebook"
    effect: ClassVar[Effect] = "read"
    words: ClassVar[str] = "cells.md"
    params = ReadNotebookParams

    async def run(self, params: ReadNotebookParams, context: ToolContext) -> ToolOutcome:
        notebook = await context.workspace.read(context.path(params.path))
        start = notebook.cells.index(notebook.cell(params.after)) + 1 if params.after is not None else 0
        parts, used = [_heading(notebook)], 0
        for cell in notebook.cells[start:]:
            text = self._overview(cell, outputs=params.outputs)
            if used and used + len(text) > self.settings.max_output_chars * 2:
                left = len(notebook.cells) - cell.index
                before = notebook.cells[cell.index - 1].id
                parts.append(f'[{left} more cells: call read_notebook with after="{before}" to go on]')
                break
            used += len(text)
            parts.append(text)
        summary = f"{notebook.path}: {_count(len(notebook.cells), 'cell')}"
        return text_outcome("\n\n".join(parts), display=[DisplayText(text=summary)])

    def _overview(self, cell: Cell, *, outputs: bool) -> str:
        text = _tagged(cell, OVERVIEW_SOURCE_CHARS)
        if outputs and cell.outputs:
            shown = show(cell.outputs, max_chars=OVERVIEW_OUTPUT_CHARS, max_image_bytes=self.settings.max_image_bytes)
            told = shown.text.replace(", shown below]", "; read_cell shows it]")
            text += f"\n<outputs>\n{told}\n</outputs>"
        return text


class ReadCellParams(Params):
    """What read_cell takes."""

    path: Path = None
    cell_id: CellId


class ReadCell(Tool[ReadCellParams]):
    """One cell with all of its outputs."""

    name: ClassVar[str] = "read_cell"
    effect: ClassVar[Effect] = "read"
    words: ClassVar[str] = "cells.md"
    params = ReadCellParams

    async def run(self, params: ReadCellParams, context: ToolContext) -> ToolOutcome:
        notebook = await context.workspace.read(context.path(params.path))
        cell = notebook.cell(params.cell_id)
        shown = show(
            cell.outputs, max_chars=self.settings.max_output_chars, max_image_bytes=self.settings.max_image_bytes
        )
        text = _tagged(cell, self.settings.max_output_chars * 2)
        if cell.outputs:
            text += f"\n<outputs>\n{shown.text}\n</outputs>"
        code = DisplayCode(text=cell.source, language=_language(notebook, cell.cell_type), label=_label(cell))
        return ToolOutcome(content=[{"type": "text", "text": text}, *shown.images], display=[code, *shown.display])


class InsertCellParams(Params):
    """What insert_cell takes."""

    path: Path = None
    source: Annotated[str, Field(description="The whole source of the new cell.")]
    cell_type: Annotated[CellType, Field(description="What kind of cell.")] = "code"
    after: Annotated[str | None, Field(description="Insert after the cell with this id.")] = None
    before: Annotated[str | None, Field(description="Insert before the cell with this id.")] = None

    @model_validator(mode="after")
    def _one_place(self) -> InsertCellParams:
        if self.after is not None and self.before is not None:
            raise ValueError("give after or before, not both")
        return self


class InsertCell(Tool[InsertCellParams]):
    """A new cell."""

    name: ClassVar[str] = "insert_cell"
    effect: ClassVar[Effect] = "write"
    words: ClassVar[str] = "cells.md"
    params = InsertCellParams
    eager: ClassVar[bool] = True

    async def run(self, params: InsertCellParams, context: ToolContext) -> ToolOutcome:
        path = context.path(params.path)
        cell = await context.workspace.insert(
            path,
            cell_type=params.cell_type,
            source=params.source,
            after=params.after,
            before=params.before,
            op_id=context.call_id,
        )
        notebook = await _read_softly(context, path)
        return text_outcome(
            f"Inserted {cell.cell_type} cell {cell.id} as cell {cell.index + 1}. Its hash is {cell.hash}.",
            display=[_inserted(params.source, cell.cell_type, notebook, _label(cell))],
        )

    async def preview(self, params: InsertCellParams, context: ToolContext) -> list[Display]:
        notebook = await context.workspace.read(context.path(params.path))
        label = "new cell at the end"
        for place, cell_id in (("after", params.after), ("before", params.before)):
            if cell_id is not None:
                label = f"new cell {place} {_label(notebook.cell(cell_id))}"
        return [_inserted(params.source, params.cell_type, notebook, label)]


class EditCellParams(Params):
    """What edit_cell takes."""

    path: Path = None
    cell_id: CellId
    base_hash: Hash
    source: Annotated[str, Field(description="The whole new source of the cell.")]


class EditCell(Tool[EditCellParams]):
    """Another source for a cell."""

    name: ClassVar[str] = "edit_cell"
    effect: ClassVar[Effect] = "write"
    words: ClassVar[str] = "cells.md"
    params = EditCellParams
    eager: ClassVar[bool] = True

    async def run(self, params: EditCellParams, context: ToolContext) -> ToolOutcome:
        path = context.path(params.path)
        before = await _read_softly(context, path)
        cell = await context.workspace.edit(
            path, cell_id=params.cell_id, base_hash=params.base_hash, source=params.source, op_id=context.call_id
        )
        return text_outcome(
            f"Edited cell {cell.id}. Its hash is now {cell.hash}.", display=_edited(before, cell, params)
        )

    async def preview(self, params: EditCellParams, context: ToolContext) -> list[Display]:
        notebook = await context.workspace.read(context.path(params.path))
        cell = notebook.cell(params.cell_id)
        check_unchanged(cell, params.base_hash)
        return _edited(notebook, cell, params)


class DeleteCellParams(Params):
    """What delete_cell takes."""

    path: Path = None
    cell_id: CellId
    base_hash: Hash


class DeleteCell(Tool[DeleteCellParams]):
    """One cell less."""

    name: ClassVar[str] = "delete_cell"
    effect: ClassVar[Effect] = "write"
    words: ClassVar[str] = "cells.md"
    params = DeleteCellParams

    async def run(self, params: DeleteCellParams, context: ToolContext) -> ToolOutcome:
        path = context.path(params.path)
        cell = await context.workspace.delete(
            path, cell_id=params.cell_id, base_hash=params.base_hash, op_id=context.call_id
        )
        notebook = await _read_softly(context, path)
        return text_outcome(f"Deleted cell {cell.id}.", display=[_deleted(cell, notebook)])

    async def preview(self, params: DeleteCellParams, context: ToolContext) -> list[Display]:
        notebook = await context.workspace.read(context.path(params.path))
        cell = notebook.cell(params.cell_id)
        check_unchanged(cell, params.base_hash)
        return [_deleted(cell, notebook)]


class RunCellParams(Params):
    """What run_cell takes."""

    path: Path = None
    cell_id: CellId
    base_hash: Hash


class RunCell(Tool[RunCellParams]):
    """A cell's outputs, by running it."""

    name: ClassVar[str] = "run_cell"
    effect: ClassVar[Effect] = "execute"
    words: ClassVar[str] = "cells.md"
    params = RunCellParams
    eager: ClassVar[bool] = True

    async def run(self, params: RunCellParams, context: ToolContext) -> ToolOutcome:
        outcome = await context.workspace.run(
            context.path(params.path),
            cell_id=params.cell_id,
            base_hash=params.base_hash,
            op_id=context.call_id,
            report=context.report,
        )
        shown = show(
            outcome.cell.outputs,
            max_chars=self.settings.max_output_chars,
            max_image_bytes=self.settings.max_image_bytes,
        )
        ran = DisplayCode(text=outcome.cell.source, label=_label(outcome.cell))
        return ToolOutcome(
            content=[{"type": "text", "text": _told(outcome, shown)}, *shown.images],
            display=[ran, *shown.display, *([DisplayText(text=outcome.note)] if outcome.note else [])],
            is_error=outcome.status != "ok",
        )

    async def preview(self, params: RunCellParams, context: ToolContext) -> list[Display]:
        notebook = await context.workspace.read(context.path(params.path))
        cell = notebook.cell(params.cell_id)
        check_unchanged(cell, params.base_hash)
        return [DisplayCode(text=cell.source, language=_language(notebook, cell.cell_type), label=_label(cell))]


# -- words ------------------------------------------------------------------------


def _heading(notebook: Notebook) -> str:
    where = "open in a JupyterLab tab" if notebook.open else "not open in a tab"
    kernel = "no kernel running" if notebook.kernel == "none" else f"kernel {notebook.kernel}"
    return f"{notebook.path}: {_count(len(notebook.cells), 'cell')}, {notebook.language}, {where}, {kernel}."


def _tagged(cell: Cell, limit: int) -> str:
    count = f' execution_count="{cell.execution_count}"' if cell.execution_count is not None else ""
    head = f'<cell id="{cell.id}" type="{cell.cell_type}" hash="{cell.hash}"{count}>'
    return f"{head}\n{clip(cell.source, limit)}\n</cell>"


def _told(outcome: RunOutcome, shown: Shown) -> str:
    cell = outcome.cell
    number = f" as In [{cell.execution_count}]" if cell.execution_count is not None else ""
    match outcome.status:
        case "ok":
            head = f"Cell {cell.id} ran{number}."
        case "error":
            head = f"Cell {cell.id} ran{number} and raised {outcome.error[0] if outcome.error else 'an error'}."
        case "aborted":
            head = f"Cell {cell.id} was not run."
    outputs = shown.text or ("It printed nothing." if outcome.status == "ok" else "")
    return "\n".join(part for part in (head, outcome.note, outputs) if part)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _label(cell: Cell) -> str:
    return f"cell {cell.index + 1}"


def _language(notebook: Notebook | None, cell_type: str) -> str:
    match cell_type:
        case "markdown":
            return "markdown"
        case "raw":
            return "text"
        case _:
            return notebook.language.lower() if notebook is not None else "python"


def _inserted(source: str, cell_type: str, notebook: Notebook | None, label: str) -> Display:
    return DisplayDiff(before="", after=source, language=_language(notebook, cell_type), label=label)


def _edited(before: Notebook | None, cell: Cell, params: EditCellParams) -> list[Display]:
    old = next((c for c in before.cells if c.id == params.cell_id), None) if before is not None else None
    return [
        DisplayDiff(
            before=old.source if old is not None else "",
            after=params.source,
            language=_language(before, cell.cell_type),
            label=_label(cell),
        )
    ]


def _deleted(cell: Cell, notebook: Notebook | None) -> Display:
    return DisplayDiff(
        before=cell.source, after="", language=_language(notebook, cell.cell_type), label=f"{_label(cell)}, deleted"
    )


async def _read_softly(context: ToolContext, path: str) -> Notebook | None:
    # Only for what is shown: a change that was made does not fail because of it.
    try:
        return await context.workspace.read(path)
    except ToolError:
        return None
