"""The demo does its jobs on a real notebook, with the real tools, in a real kernel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_agent.agent.demo import demo_model
from jupyter_agent.agent.model import ApiMessage, Block, ModelRequest, StepClosed, StepOpened, TextDelta
from jupyter_agent.protocol.content import Mode, Task, TaskStatus
from jupyter_agent.settings import Settings
from jupyter_agent.tools.tool import ToolContext, ToolOutcome
from jupyter_agent.tools.toolbox import PLAN_DENIAL, Toolbox
from tests.fakes import DiskWorkspace

DATA = """import pandas as pd

df = pd.DataFrame({
    "price": [10.0, 20.5, None, 40.0, 29.5],
    "rooms": [1, 2, 3, 4, 5],
    "city": ["Oslo", "Rome", "Oslo", "Cairo", "Rome"],
})"""

Answer = Callable[[str, dict[str, Any]], str | None]
"""A user who is asked: None allows, a text denies and says why."""


def allow(name: str, given: dict[str, Any]) -> str | None:
    return None


class Desk:
    """A notebook, a user and the demo: says things, runs what is called, keeps the history."""

    def __init__(self, workspace: DiskWorkspace, settings: Settings, path: str) -> None:
        self.workspace = workspace
        self.toolbox = Toolbox(settings)
        self.model = demo_model(settings, tokens_per_s=0)
        self.path = path
        self.mode: Mode = "build"
        self.history: list[ApiMessage] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.tasks: list[Task] = []
        self.answer: Answer = allow

    async def ask(self, text: str) -> str:
        """Say something; return all that the demo says until it rests."""
        note = f"<context>\nMode: {self.mode.capitalize()}.\nNotebook: {self.path}\n</context>"
        self._add("user", [{"type": "text", "text": text}, {"type": "text", "text": note}])
        said: list[str] = []
        for _ in range(30):
            content, words = await self._step()
            said.append(words)
            calls = [block for block in content if block["type"] == "tool_use"]
            if not calls:
                return "\n".join(said)
            self._add("user", [await self._run(call) for call in calls])
        raise AssertionError("the demo does not come to rest")

    async def _step(self) -> tuple[list[Block], str]:
        request = ModelRequest(
            model="demo", system=[], tools=self.toolbox.definitions(), messages=self.history, session_id="ses_demo"
        )
        events = [event async for event in self.model.stream(request)]
        first, last = events[0], events[-1]
        assert isinstance(first, StepOpened)
        assert first.model == "demo"
        assert isinstance(last, StepClosed), last
        self._add("assistant", last.content)
        return last.content, "".join(event.text for event in events if isinstance(event, TextDelta))

    async def _run(self, call: Block) -> Block:
        name, given = call["name"], call["input"]
        self.calls.append((name, given))
        outcome = await self._outcome(call["id"], name, given)
        if outcome.switch_mode is not None:
            self.mode = outcome.switch_mode
        result: Block = {"type": "tool_result", "tool_use_id": call["id"], "content": outcome.content}
        return {**result, "is_error": True} if outcome.is_error else result

    async def _outcome(self, call_id: str, name: str, given: dict[str, Any]) -> ToolOutcome:
        match self.toolbox.gate(name, self.mode, given):
            case "deny":
                return ToolOutcome(content=[{"type": "text", "text": PLAN_DENIAL}], is_error=True)
            case "ask":
                reason = self.answer(name, given)
                if reason is not None:
                    text = f"The user denied this call; it did not run. They said: {reason}"
                    return ToolOutcome(content=[{"type": "text", "text": text}], is_error=True)
            case "allow":
                pass
        context = ToolContext(
            session_id="ses_demo",
            call_id=call_id,
            mode=self.mode,
            notebook_path=self.path,
            workspace=self.workspace,
            tasks=self,
            report=lambda _: None,
        )
        return await self.toolbox.call(name, given, context)

    async def create(self, title: str, description: str, mode: Mode, *, call_id: str) -> Task:
        assert call_id
        self.tasks.append(Task(id="tsk_1", title=title, description=description, mode=mode))
        return self.tasks[-1]

    async def update(
        self, task_id: str, *, title: str | None, description: str | None, status: TaskStatus | None
    ) -> Task:
        del task_id, title, description, status
        return self.tasks[-1]

    def _add(self, role: Any, content: list[Block]) -> None:
        self.history.append(ApiMessage(role=role, content=content))

    @property
    def called(self) -> list[str]:
        return [name for name, _ in self.calls]

    async def sources(self) -> list[str]:
        return [cell.source for cell in (await self.workspace.read(self.path)).cells]


@pytest_asyncio.fixture
async def open_desk(tmp_path: Path) -> AsyncIterator[Callable[..., Desk]]:
    settings = Settings(data_dir=tmp_path / "data")
    workspace = DiskWorkspace(tmp_path, settings)
    desks: list[Desk] = []

    def open_(*sources: str) -> Desk:
        title: dict[str, Any] = {"id": "title", "cell_type": "markdown", "metadata": {}, "source": "# Flats"}
        cells = [title, *(code_cell(f"cell{n}", source) for n, source in enumerate(sources))]
        notebook: dict[str, Any] = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
        (tmp_path / "flats.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
        desks.append(Desk(workspace, settings, "flats.ipynb"))
        return desks[-1]

    yield open_
    await workspace.close()
    for desk in desks:
        await desk.model.close()


def code_cell(cell_id: str, source: str) -> dict[str, Any]:
    rest: dict[str, Any] = {"metadata": {}, "outputs": [], "execution_count": None}
    return {"id": cell_id, "cell_type": "code", "source": source, **rest}


async def run_all(desk: Desk) -> None:
    """Run the notebook's cells, as the user would."""
    for cell in (await desk.workspace.read(desk.path)).cells:
        if cell.cell_type == "code":
            await desk.workspace.run(desk.path, cell_id=cell.id, base_hash=cell.hash, op_id=f"op_{cell.id}")


# -- jobs ----------------------------------------------------------------------------


async def test_it_profiles_the_data_with_numbers_that_the_kernel_printed(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(DATA)
    said = await desk.ask("Profile the data, please")
    assert "`df` has 5 rows and 3 columns" in said
    assert "`price`: mean 25, between 10 and 40; 1 missing" in said
    assert "`rooms`: mean 3, between 1 and 5" in said
    assert "`city`: 3 different values" in said
    assert (await desk.sources())[-1].startswith("# Profile of df")
    assert desk.called == [
        "list_variables", "read_notebook", "run_cell", "list_variables", "inspect_variable", "insert_cell", "run_cell",
    ]  # fmt: skip


async def test_it_plots_the_column_that_was_named(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(DATA)
    await run_all(desk)
    said = await desk.ask("plot the price")
    assert "the distribution of `price` ran, and one picture came back" in said
    assert "4 values with the median 25, from 10 to 40" in said
    cell = (await desk.workspace.read(desk.path)).cells[-1]
    assert any("image/png" in output.get("data", {}) for output in cell.outputs)
    said = await desk.ask("and a chart of the city")
    assert "how often each `city` occurs" in said


async def test_it_explains_and_repairs_one_error_after_another(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(DATA, 'average = df.groupby("city")["prise"].mean()\nprint(np.round(averege, 1))')
    await run_all(desk)
    said = await desk.ask("Please fix the failing cell")
    assert "**KeyError**" in said
    assert "There is no column `prise`; the data has `price`" in said
    assert "`np` is used but never imported" in said
    assert "`averege` looks like a slip for `average`" in said
    assert "The cell runs now" in said
    fixed = (await desk.sources())[-1]
    assert fixed == 'import numpy as np\n\naverage = df.groupby("city")["price"].mean()\nprint(np.round(average, 1))'


async def test_without_a_repair_it_explains_and_leaves_the_cell_alone(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk("1 / 0")
    await run_all(desk)
    said = await desk.ask("why does this fail?")
    assert "**ZeroDivisionError**" in said
    assert "no repair" in said
    assert await desk.sources() == ["# Flats", "1 / 0"]


async def test_in_plan_mode_it_proposes_and_builds_only_after_the_user_agreed(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(DATA)
    await run_all(desk)
    desk.mode = "plan"
    desk.answer = lambda name, _: "not the plot" if name == "exit_plan" else None
    said = await desk.ask("Plan first, then build")
    assert "You said: not the plot" in said
    assert await desk.sources() == ["# Flats", DATA]
    desk.answer = allow
    said = await desk.ask("Plan again")
    plan = next(given["plan"] for name, given in reversed(desk.calls) if name == "exit_plan")
    assert plan.startswith("1. Add a cell that describes `df`")
    assert "The plan is carried out" in said
    assert desk.mode == "build"
    assert len(await desk.sources()) == 4


async def test_in_build_mode_a_plan_is_shown_and_carried_out(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(DATA, "df.pricee")
    await run_all(desk)
    said = await desk.ask("make a plan, then build it")
    assert "My plan:" in said
    assert "1. Repair the cell that begins `df.pricee`" in said
    assert "exit_plan" not in desk.called
    assert (await desk.sources())[2] == "df.price"


async def test_a_denial_is_accepted_with_its_reason(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(DATA)
    await run_all(desk)
    desk.answer = lambda name, _: "I have one already"
    said = await desk.ask("profile df")
    assert "leave the notebook as it is. You said: I have one already" in said
    assert desk.called[-1] == "insert_cell"
    assert await desk.sources() == ["# Flats", DATA]


async def test_it_has_data_of_its_own_to_play_with(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    assert "make sample data" in await desk.ask("profile the data")
    await desk.ask("make sample data")
    assert "`temperature`: mean" in await desk.ask("profile the data")
    assert "`temperature` over `day`" in await desk.ask("plot temperature over time")


async def test_it_explains_what_stands_in_the_notebook(open_desk: Callable[..., Desk]) -> None:
    said = await open_desk(DATA).ask("What is in this notebook?")
    assert "2 cells, 1 of them code" in said
    assert "- Flats" in said


async def test_it_writes_down_what_it_is_reminded_of(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    await desk.ask("Remind me to check the outliers.")
    assert [task.title for task in desk.tasks] == ["Check the outliers"]


@pytest.mark.parametrize("text", ["hello", "Are you Claude?", "help", "sing me a song"])
async def test_it_says_that_it_is_not_claude_and_how_to_get_claude(open_desk: Callable[..., Desk], text: str) -> None:
    said = await open_desk().ask(text)
    assert "I am not Claude" in said
    assert "ANTHROPIC_API_KEY" in said


async def test_a_notebook_that_is_gone_is_told_in_words(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    desk = open_desk()
    desk.path = "elsewhere.ipynb"
    said = await desk.ask("fix the error")
    assert "could not be read" in said


# -- the stream ----------------------------------------------------------------------


async def test_it_speaks_at_a_pace_and_can_be_cut_off(tmp_path: Path) -> None:
    model = demo_model(Settings(data_dir=tmp_path), tokens_per_s=1000)
    request = ModelRequest(
        model="demo", system=[], tools=[],
        messages=[ApiMessage(role="user", content=[{"type": "text", "text": "hello"}])],
    )  # fmt: skip
    await model.warm_up()
    loop = asyncio.get_running_loop()
    began = loop.time()
    events = [event async for event in model.stream(request)]
    tokens = sum(isinstance(event, TextDelta) for event in events)
    assert tokens / 1000 <= loop.time() - began < 10

    task = asyncio.ensure_future(anext(model.stream(request)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await model.close()


async def test_the_pace_may_be_set_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_agent.agent import demo

    monkeypatch.setenv(demo.PACE_VARIABLE, "250")
    assert demo.pace() == 250
    monkeypatch.setenv(demo.PACE_VARIABLE, "fast")
    assert demo.pace() == demo.TOKENS_PER_S


async def test_it_offers_itself_and_nothing_else(tmp_path: Path) -> None:
    model = demo_model(Settings(data_dir=tmp_path))
    assert model.kind == "demo"
    assert [(m.id, m.display_name) for m in await model.list_models()] == [("demo", "Demo (a script, not Claude)")]
    await model.close()
