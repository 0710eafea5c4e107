"""Tools about the work itself: tasks for later, and leaving Plan mode."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, model_validator

from ..protocol.content import Display, DisplayMarkdown, DisplayText, Effect, Mode, TaskStatus
from .tool import Params, Tool, ToolContext, ToolOutcome, text_outcome


class CreateTaskParams(Params):
    """What create_task takes."""

    title: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
        Field(description="What is to be done, in one line."),
    ]
    description: Annotated[
        str,
        StringConstraints(max_length=20_000),
        Field(description="All that whoever does it must know."),
    ] = ""
    mode: Annotated[Mode, Field(description="The mode that it needs: plan only looks, build changes things.")] = "build"


class CreateTask(Tool[CreateTaskParams]):
    """Something written down for later."""

    name: ClassVar[str] = "create_task"
    effect: ClassVar[Effect] = "idempotent"
    words: ClassVar[str] = "planning.md"
    params = CreateTaskParams

    async def run(self, params: CreateTaskParams, context: ToolContext) -> ToolOutcome:
        task = await context.tasks.create(params.title, params.description, params.mode, call_id=context.call_id)
        return text_outcome(f"Created task {task.id}: {task.title}", display=[DisplayText(text=task.title)])


class UpdateTaskParams(Params):
    """What update_task takes."""

    task_id: Annotated[str, Field(description="The task's id, as create_task or the context said it.")]
    status: Annotated[
        TaskStatus | None,
        Field(description="What has become of it: pending, running, done, failed or cancelled."),
    ] = None
    title: Annotated[
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] | None,
        Field(description="A new title."),
    ] = None
    description: Annotated[
        Annotated[str, StringConstraints(max_length=20_000)] | None, Field(description="A new description.")
    ] = None

    @model_validator(mode="after")
    def _says_something(self) -> UpdateTaskParams:
        if self.status is None and self.title is None and self.description is None:
            raise ValueError("pass status, title or description")
        return self


class UpdateTask(Tool[UpdateTaskParams]):
    """A line of the plan, crossed out or written anew."""

    name: ClassVar[str] = "update_task"
    effect: ClassVar[Effect] = "idempotent"
    words: ClassVar[str] = "planning.md"
    params = UpdateTaskParams

    async def run(self, params: UpdateTaskParams, context: ToolContext) -> ToolOutcome:
        task = await context.tasks.update(
            params.task_id, title=params.title, description=params.description, status=params.status
        )
        said = f"{task.title}: {task.status}"
        return text_outcome(f"Task {task.id} is now {task.status}: {task.title}", display=[DisplayText(text=said)])


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
