"""What tool results say: cells, variables, columns, numbers. Nothing is known that is not read here."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

from .repair import Failure

# -- cells ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCell:
    """A cell as a tool showed it."""

    id: str
    cell_type: str
    hash: str
    source: str
    outputs: str = ""

    @property
    def failure(self) -> Failure | None:
        """The error that its outputs show."""
        return find_failure(self.outputs)

    @property
    def name(self) -> str:
        """How to speak of it to somebody who sees no ids."""
        lines = [line.strip() for line in self.source.splitlines() if line.strip()]
        telling = (
            [line for line in lines if not line.startswith(("import ", "from ", "%", "#"))] or lines or ["(empty)"]
        )
        return f"the cell that begins `{telling[0][:60]}`"


_CELL = re.compile(
    r'<cell id="(?P<id>[^"]+)" type="(?P<type>\w+)" hash="(?P<hash>\w+)"[^>\n]*>\n(?P<source>.*?)\n?</cell>'
    r"(?:\n<outputs>\n(?P<outputs>.*?)\n</outputs>)?",
    re.S,
)
_CHANGED = re.compile(r"cell (?P<id>\S+?)(?: as cell \d+)?\. Its hash is (?:now )?(?P<hash>\w+)")


def read_cells(text: str) -> list[SeenCell]:
    """Read what read_notebook or read_cell shows."""
    return [
        SeenCell(id=m["id"], cell_type=m["type"], hash=m["hash"], source=m["source"], outputs=m["outputs"] or "")
        for m in _CELL.finditer(text)
    ]


def read_change(text: str) -> tuple[str, str] | None:
    """Read the id and the hash that an insertion or an edit came back with."""
    found = _CHANGED.search(text)
    return (found["id"], found["hash"]) if found else None


def read_outputs(text: str) -> str:
    """Return what a run printed and showed, without the sentence before it."""
    lines = text.split("\n")
    return "\n".join(lines[1:] if re.match(r"Cell \S+ ran", lines[0]) else lines).strip()


# -- errors --------------------------------------------------------------------------

_ERROR = re.compile(
    r"^(?P<name>(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Iteration|Exit|Warning))(?:: ?(?P<value>.*))?$", re.M
)
_TRACE = re.compile(r"Traceback \(most recent call last\)|^\s*(?:Cell |File )\S.*?line \d+", re.M)
_ARROW = re.compile(r"^-+> ?\d+ ?(?P<line>.*)$", re.M)


def find_failure(outputs: str) -> Failure | None:
    """Return the error of a traceback, None where there is none."""
    if not _TRACE.search(outputs):
        return None
    errors = list(_ERROR.finditer(outputs))
    if not errors:
        return None
    last, arrow = errors[-1], _ARROW.search(outputs)
    return Failure(
        name=last["name"].rpartition(".")[2],
        value=(last["value"] or "").strip(),
        line=arrow["line"].strip() if arrow else "",
    )


# -- variables -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenVariable:
    """A line of list_variables."""

    name: str
    type: str
    summary: str

    @property
    def is_frame(self) -> bool:
        """Whether it is a DataFrame."""
        return self.type.rpartition(".")[2] == "DataFrame"


_VARIABLE = re.compile(r"^(?P<name>\w+): (?P<type>\S+) = (?P<summary>.*)$", re.M)


def read_variables(text: str) -> list[SeenVariable]:
    """Read what list_variables shows."""
    return [SeenVariable(name=m["name"], type=m["type"], summary=m["summary"]) for m in _VARIABLE.finditer(text)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFrame:
    """A DataFrame as inspect_variable shows it."""

    name: str
    rows: int = 0
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Types by label, in order; only columns whose label is a string."""
    width: int = 0
    pandas: bool = True

    @property
    def numbers(self) -> list[str]:
        """The numeric columns, those that look like mere keys last."""
        found = [label for label, kind in self.columns.items() if re.match(r"u?int|float|Int|Float|UInt", kind)]
        return sorted(found, key=_is_a_key)

    @property
    def dates(self) -> list[str]:
        """The columns of dates and times."""
        return [label for label, kind in self.columns.items() if kind.startswith("datetime")]


_SHAPE = re.compile(r"^(?P<rows>\d+) rows × (?P<width>\d+) columns$", re.M)
_COLUMN = re.compile(r"^  (?P<label>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")  (?P<kind>\S.*)$", re.M)


def read_frame(name: str, text: str) -> SeenFrame:
    """Read what inspect_variable shows of a DataFrame."""
    shape = _SHAPE.search(text)
    listed = text.partition("columns:\n")[2].partition("first rows:")[0].partition("\n\nrepr:")[0]
    columns = {str(ast.literal_eval(m["label"])): m["kind"].strip() for m in _COLUMN.finditer(listed)}
    return SeenFrame(
        name=name,
        rows=int(shape["rows"]) if shape else 0,
        width=int(shape["width"]) if shape else len(columns),
        columns=columns,
        pandas="pandas" in text.partition("\n")[0],
    )


def _is_a_key(label: str) -> bool:
    return re.search(r"(^|_)(id|index|key|year|zip|code)$|^Unnamed", label, re.I) is not None


# -- tables --------------------------------------------------------------------------


def read_table(text: str) -> dict[str, dict[str, float]]:
    """Read a printed table of numbers, rows by label, also where it was wrapped into several blocks."""
    table: dict[str, dict[str, float]] = {}
    header: list[str] = []
    for line in text.split("\n"):
        words = line.replace("\\", " ").split()
        if words and line[:1].isspace():
            header = words
            continue
        numbers = _numbers(words[-len(header) :]) if header and len(words) > len(header) else None
        if numbers is None:
            continue
        label = " ".join(words[: -len(header)])
        table.setdefault(label, {}).update(zip(header, numbers, strict=True))
    return table


def _numbers(words: list[str]) -> list[float] | None:
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def read_series(text: str) -> dict[str, float]:
    """Read a printed series of numbers."""
    pairs = [line.rsplit(None, 1) for line in text.split("\n") if len(line.split()) >= 2]
    read = {label.strip(): _numbers([number]) for label, number in pairs}
    return {label: numbers[0] for label, numbers in read.items() if numbers}
