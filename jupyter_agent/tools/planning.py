"""Tools about the work itself: tasks for later, and leaving Plan mode."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from ..protocol.content import Display, DisplayMarkdown, DisplayText, Effect, Mode
from .tool import Params, Tool, ToolContext, ToolOutcome, text_outcome


class CreateTaskParams(Params):
    """What create_task takes."""

    title: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
        Field(description="What is to be done, in one line."),
    ]
    description: Annotated[str, Field(description="All that whoever does it must know.")] = ""
    mode: Annotated[Mode, Field(description="The mode that it needs: plan only looks, build changes things.")] = "build"


class CreateTask(Tool[CreateTaskParams]):
    """Something written down for later."""

    name: ClassVar[str] = "create_task"
    effect: ClassVar[Effect] = "idempotent"
    words: ClassVar[str] = "planning.md"
    params = CreateTaskParams

    async def run(self, params: CreateTaskParams, context: ToolContext) -> ToolOutcome:
        task = await context.tasks.create(params.title, params.description, params.mode)
        return text_outcome(f"Created task {task.id}: {task.title}", display=[DisplayText(text=task.title)])


class ExitPlanParams(Params):
    """What exit_plan takes."""

    plan: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1),
        Field(description="The plan, in markdown: what will be changed and run, in which order."),
    ]


class ExitPlan(Tool[ExitPlanParams]):
    """The question whether the plan may be carried out."""

    name: ClassVar[str] = "exit_plan"
    effect: ClassVar[Effect] = "idempotent"
    words: ClassVar[str] = "planning.md"
    params = ExitPlanParams
    eager: ClassVar[bool] = True

    async def run(self, params: ExitPlanParams, context: ToolContext) -> ToolOutcome:
        if context.mode == "build":
            return text_outcome("You are in Build mode already. Go ahead.")
        return ToolOutcome(
            content=[{"type": "text", "text": "The user agreed to the plan. You are in Build mode now: carry it out."}],
            display=[DisplayMarkdown(text=params.plan)],
            switch_mode="build",
        )

    async def preview(self, params: ExitPlanParams, context: ToolContext) -> list[Display]:
        del context
        return [DisplayMarkdown(text=params.plan)]
