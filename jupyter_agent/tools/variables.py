"""Tools that look at the kernel's variables."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from ..protocol.content import DisplayTable, DisplayText, Effect
from .cells import Path
from .outputs import clip, plain_text
from .tool import Params, Tool, ToolContext, ToolOutcome, text_outcome


class ListVariablesParams(Params):
    """What list_variables takes."""

    path: Path = None


class ListVariables(Tool[ListVariablesParams]):
    """Names, types and short previews."""

    name: ClassVar[str] = "list_variables"
    effect: ClassVar[Effect] = "read"
    words: ClassVar[str] = "variables.md"
    params = ListVariablesParams

    async def run(self, params: ListVariablesParams, context: ToolContext) -> ToolOutcome:
        variables = await context.workspace.variables(context.path(params.path))
        if not variables:
            return text_outcome("The kernel has no variables yet.")
        text = "\n".join(f"{v.name}: {v.type} = {v.summary}" if v.type else f"{v.name} {v.summary}" for v in variables)
        rows = [[v.name, v.type, v.summary] for v in variables]
        return text_outcome(
            clip(text, self.settings.max_output_chars),
            display=[DisplayTable(header=["Name", "Type", "Value"], rows=rows)],
        )


class InspectVariableParams(Params):
    """What inspect_variable takes."""

    path: Path = None
    name: Annotated[str, StringConstraints(min_length=1), Field(description="The variable's name, no expression.")]


class InspectVariable(Tool[InspectVariableParams]):
    """One variable, closely."""

    name: ClassVar[str] = "inspect_variable"
    effect: ClassVar[Effect] = "read"
    words: ClassVar[str] = "variables.md"
    params = InspectVariableParams

    async def run(self, params: InspectVariableParams, context: ToolContext) -> ToolOutcome:
        # A value's own repr is somebody's code: it may run in Build mode only.
        text = await context.workspace.inspect(context.path(params.path), name=params.name, safe=context.mode == "plan")
        text = clip(text, self.settings.max_output_chars)
        return text_outcome(plain_text(text), display=[DisplayText(text=text)])
