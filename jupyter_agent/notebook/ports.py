"""All that a tool may ask of notebooks and kernels, and the values it gets back.

Tools know ``Workspace`` and nothing else: whether a notebook is open in a tab
or only lies on disk, and who runs its cells, is decided behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

from ..errors import ToolError

Json = Any
CellType = Literal["code", "markdown", "raw"]
Report = Callable[[Json], None]
"""Told how a run is going; what it is told is shown and never stored."""


def fields(value: Json) -> dict[str, Json]:
    """Return a JSON object's fields; what is no object has none."""
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}


def base_hash(cell_type: str, source: str) -> str:
    r"""Return the fingerprint that an edit names: what the cell was when it was read.

    Lower-case hex sha256 of type, newline and source as UTF-8, with newlines as
    ``\n`` and half characters replaced, as a browser's ``TextEncoder`` does.
    """
    text = f"{cell_type}\n{source}".replace("\r\n", "\n").replace("\r", "\n")
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return hashlib.sha256(whole.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell as it is in the document now. ``outputs`` are nbformat 4 outputs."""

    id: str
    index: int
    cell_type: CellType
    source: str
    execution_count: int | None = None
    outputs: list[dict[str, Json]] = field(default_factory=list[dict[str, Json]])

    @property
    def hash(self) -> str:
        """The ``base_hash`` of its type and source."""
        return base_hash(self.cell_type, self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """A notebook's cells, and where they were read: in an open tab or on disk."""

    path: str
    cells: list[Cell]
    language: str = "python"
    open: bool = False
    kernel: Literal["none", "unknown", "starting", "idle", "busy", "dead"] = "none"

    def cell(self, cell_id: str) -> Cell:
        """Return one cell.

        Raises:
            CellNotFound: no cell has this id now.
        """
        for cell in self.cells:
            if cell.id == cell_id:
                return cell
        raise CellNotFound(cell_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """What became of a run. ``cell`` is the cell afterwards, its outputs those of this run."""

    status: Literal["ok", "error", "aborted"]
    cell: Cell
    error: tuple[str, str] | None = None
    note: str = ""
    """Something the reader must know, e.g. that the tab went away meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A name of the kernel's user namespace, described without touching what it holds."""

    name: str
    type: str
    summary: str = ""


class Workspace(Protocol):
    """Notebooks and their kernels. Every method raises ``ToolError`` in words for the model.

    ``op_id`` names one change for good: sent again, it has no second effect.
    """

    @property
    def root(self) -> str | None:
        """The folder that paths are below; None when they are not on a disk that is seen from here."""
        ...

    async def read(self, path: str) -> Notebook:
        """Return the live notebook."""
        ...

    async def insert(
        self, path: str, *, cell_type: CellType, source: str, after: str | None, before: str | None, op_id: str
    ) -> Cell:
        """Add a cell after one, before one, or at the end; return it as read back."""
        ...

    async def edit(self, path: str, *, cell_id: str, base_hash: str, source: str, op_id: str) -> Cell:
        """Replace a cell's source if it still is what ``base_hash`` says; return it as read back."""
        ...

    async def delete(self, path: str, *, cell_id: str, base_hash: str, op_id: str) -> Cell:
        """Remove a cell if it still is what ``base_hash`` says; return what it was."""
        ...

    async def run(
        self, path: str, *, cell_id: str, base_hash: str, op_id: str, report: Report | None = None
    ) -> RunOutcome:
        """Run a code cell in the notebook's kernel, starting one if there is none.

        Cancelling interrupts this run, and never one that somebody else started.
        """
        ...

    async def variables(self, path: str) -> list[Variable]:
        """List the kernel's variables."""
        ...

    async def inspect(self, path: str, *, name: str, safe: bool) -> str:
        """Describe one variable; ``safe`` runs no code of the value's own class."""
        ...


# -- what may go wrong, in words for the model --------------------------------------


class CellNotFound(ToolError):
    """No cell has this id."""

    code = "cell_not_found"

    def __init__(self, cell_id: str) -> None:
        super().__init__(f"There is no cell with the id {cell_id!r}. Read the notebook again to see its cells.")


class CellChanged(ToolError):
    """The cell is not what the caller read."""

    code = "cell_changed"

    def __init__(self, cell_id: str, now: str) -> None:
        super().__init__(
            f"Cell {cell_id} changed since you read it, so nothing was done. Its hash is now {now}. "
            "Read the cell again before you decide what to do."
        )


class NotebookNotFound(ToolError):
    """No such file, or not a notebook."""

    code = "notebook_not_found"


class NotebookReadOnly(ToolError):
    """It may not be written."""

    code = "notebook_read_only"


class TabSilent(ToolError):
    """The tab that has the notebook open did not answer."""

    code = "tab_silent"


class NoKernel(ToolError):
    """Nothing runs, so there is nothing to look at."""

    code = "no_kernel"


def check_unchanged(cell: Cell, wanted: str) -> None:
    """Refuse when the cell is not what the caller read.

    Raises:
        CellChanged: its hash differs.
    """
    if cell.hash != wanted:
        raise CellChanged(cell.id, cell.hash)
