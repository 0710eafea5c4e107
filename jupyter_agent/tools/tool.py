"""What a tool is, what it is given and what it gives back.

A tool's parameters are a pydantic model, its words for the model are prose in
the ``.md`` file beside its module, its ``effect`` tells the gate what it may
do to the world. A result has two faces: ``content`` for the model, ``display``
for the eye.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import GenerateJsonSchema

from ..errors import ToolError
from ..notebook.ports import Workspace
from ..protocol.content import Display, Effect, Json, Mode, Task, TaskStatus
from ..settings import Settings

Block = dict[str, Any]
"""A content block of a ``tool_result``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """What a call came to. ``switch_mode`` is what the session's mode becomes because of it."""

    content: list[Block]
    display: list[Display] = field(default_factory=list[Display])
    is_error: bool = False
    switch_mode: Mode | None = None


class TaskBook(Protocol):
    """Where the session keeps its tasks."""

    async def create(self, title: str, description: str, mode: Mode, *, call_id: str) -> Task:
        """Write a task down, once however often the call is made."""
        ...

    async def update(
        self, task_id: str, *, title: str | None, description: str | None, status: TaskStatus | None
    ) -> Task:
        """Change a task; a None stays as it is. Raises ``ToolError`` for one that is not there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """The world as one call may see it.

    ``call_id`` is the call's idempotency key: it names its effect for good, and is the same when a crash
    has the call run again. Edits take it as their ``op_id``, a new task gets its id from it.
    """

    session_id: str
    call_id: str
    mode: Mode
    notebook_path: str | None
    workspace: Workspace
    tasks: TaskBook
    report: Callable[[Json], None]

    def path(self, asked: str | None) -> str:
        """Return the notebook that is meant: the one asked for, else the session's.

        Raises:
            ToolError: neither names one.
        """
        path = asked or self.notebook_path
        if not path:
            raise ToolError(
                "This session belongs to no notebook. Pass path, or ask the user to open a notebook first.",
                code="no_notebook",
            )
        return path


class Params(BaseModel):
    """A tool's input: what is not declared is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


P = TypeVar("P", bound=Params)


class Tool(Generic[P]):
    """One tool. ``eager`` ones show their input while the model still writes it."""

    name: ClassVar[str]
    effect: ClassVar[Effect]
    words: ClassVar[str]
    """The ``.md`` file that describes it, under a heading of its name."""
    params: type[P]
    eager: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def run(self, params: P, context: ToolContext) -> ToolOutcome:
        """Do it.

        Raises:
            ToolError: it cannot be done; the message tells the model what to do next.
        """
        raise NotImplementedError

    async def preview(self, params: P, context: ToolContext) -> list[Display]:
        """Return what an approval shows: what will happen, never raw parameters."""
        del params, context
        return []

    def definition(self) -> dict[str, Json]:
        """Return the tool as the Messages API takes it."""
        definition: dict[str, Json] = {
            "name": self.name,
            "description": _description(self.words, self.name),
            "input_schema": _schema(self.params),
        }
        if self.eager:
            definition["eager_input_streaming"] = True
        return definition


def text_outcome(text: str, *, display: list[Display] | None = None, is_error: bool = False) -> ToolOutcome:
    """Return an outcome that says one thing to the model."""
    return ToolOutcome(content=[{"type": "text", "text": text}], display=display or [], is_error=is_error)


# -- definitions ------------------------------------------------------------------


class _PlainSchema(GenerateJsonSchema):
    """Without the titles that pydantic makes up from the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def _schema(params: type[Params]) -> dict[str, Json]:
    schema = params.model_json_schema(schema_generator=_PlainSchema)
    properties = {name: _without_null(value) for name, value in schema.get("properties", {}).items()}
    return {
        "type": "object",
        "properties": properties,
        "required": schema.get("required", []),
        "additionalProperties": False,
    }


def _without_null(schema: dict[str, Json]) -> dict[str, Json]:
    # An optional parameter is one that may be left out; nobody has to learn of null.
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**kinds[0], **rest}


@cache
def _description(words: str, name: str) -> str:
    text = importlib.resources.files("jupyter_agent.tools").joinpath(words).read_text(encoding="utf-8")
    for section in text.split("\n# "):
        heading, _, body = section.removeprefix("# ").partition("\n")
        if heading.strip() == name:
            return body.strip()
    raise LookupError(f"{words} does not describe {name}")
