"""A tool that ends when it likes, not when it is told to: what it says then changes nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.agent.claude import ClaudeModel
from jupyter_agent.agent.model import ModelEvent, ModelRequest
from jupyter_agent.notebook.ports import Cell, Notebook
from jupyter_agent.session.host import SessionHost
from jupyter_agent.settings import Settings
from jupyter_agent.tools.toolbox import Toolbox
from tests.fakes import DiskWorkspace
from tests.model_server import ModelServer, Reply, ToolUse
from tests.roads import write_notebook
from tests.session.test_host import viewing

pytestmark = pytest.mark.timeout(60)
INSERT = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "late = 1"})


class Stubborn(DiskWorkspace):
    """A disk that does not let itself be interrupted, as a driver in the kernel of the system may not."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        super().__init__(folder, settings)
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def insert(self, path: str, **wish: Any) -> Cell:  # pyright: ignore[reportIncompatibleMethodOverride] -- passed on as it is
        self.begun.set()
        while not self.may_end.is_set():
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                continue
        return await super().insert(path, **wish)


async def given_up() -> Any:
    """What a library does that cancels its own request, when its line breaks say."""
    request: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    request.cancel()
    return await request


class Torn(DiskWorkspace):
    """A drive over a network whose line breaks while it writes."""

    async def insert(self, path: str, **wish: Any) -> Cell:
        return await given_up()


class TornSooner(DiskWorkspace):
    """One whose line breaks while it reads."""

    async def read(self, path: str) -> Notebook:
        return await given_up()


class TornModel(ClaudeModel):
    """A model whose line breaks in a way that its client lets through."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        async for event in super().stream(request):
            yield event
            await given_up()


@asynccontextmanager
async def stubborn(server: ModelServer, folder: Path) -> AsyncGenerator[tuple[SessionHost, Stubborn]]:
    """A host over such a disk; nobody is asked before a cell is inserted."""
    async with over(Stubborn, server, folder) as (host, disk):
        assert isinstance(disk, Stubborn)
        yield host, disk


@asynccontextmanager
async def over(
    kind: type[DiskWorkspace], server: ModelServer, folder: Path, claude: type[ClaudeModel] = ClaudeModel
) -> AsyncGenerator[tuple[SessionHost, DiskWorkspace]]:
    """A host over a disk of this kind; nobody is asked before a cell is inserted."""
    write_notebook(folder, "a.ipynb")
    settings = Settings(data_dir=folder / "data", base_url=server.url, api_key=server.key, auto_title=False)
    model, workspace = claude(settings), kind(folder, settings)
    host = SessionHost(settings, workspace=workspace, model=model, toolbox=Toolbox(settings))
    await host.rules.add("me", "insert_cell", "a.ipynb")
    yield host, workspace
    await host.close()
    await model.close()
    await workspace.close()


@pytest.mark.parametrize("by", ["turn.stop", "session.clear"])
async def test_a_result_that_comes_after_the_stop_asks_the_model_nothing_more(
    model_server: ModelServer, tmp_path: Path, by: str
) -> None:
    model_server.script([Reply(INSERT), "After that."])
    async with stubborn(model_server, tmp_path) as (host, disk):
        session = await host.create(notebook_path="a.ipynb")
        async with viewing(host, session.id) as view:
            turn = (await view.say("insert it"))["turn"]
            await disk.begun.wait()
            stopping = view.send(by, **({"turn": turn} if by == "turn.stop" else {}))
            await view.event("turn.status", status="stopping")
            disk.may_end.set()
            await view.event("turn.ended", outcome="stopped")
            assert (await view.acked(stopping))["status"] == "accepted"
            assert len(model_server.requests) == 1, "the model was asked again by a turn that was stopped"
            if by == "turn.stop":
                assert view.tools[0]["state"] in ("output-available", "output-error")
                assert not view.tools[0]["running"]
            else:
                assert view.view["messages"] == []
            await view.say("and now?")
            await view.event("turn.ended", outcome="completed")
            view.same_story_as(await view.subscribe())
    assert model_server.refusals == []


async def test_a_drive_that_gives_its_request_up_fails_the_call_and_not_the_turn(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(INSERT), "It did not work."])
    async with over(Torn, model_server, tmp_path) as (host, _):
        session = await host.create(notebook_path="a.ipynb")
        async with viewing(host, session.id) as view:
            await view.say("insert it")
            await view.event("turn.ended", outcome="completed")
            (call,) = view.tools
            assert (call["state"], call["reason"]) == ("output-error", None)
            assert "look before you try again" in call["error"]


async def test_a_drive_that_gives_its_request_up_while_it_is_looked_at_bars_no_question(
    model_server: ModelServer, tmp_path: Path
) -> None:
    edit = ToolUse("edit_cell", {"cell_id": "first", "base_hash": "0" * 64, "source": "y"})
    model_server.script([Reply(edit), "As you wish."])
    async with over(TornSooner, model_server, tmp_path) as (host, _):
        session = await host.create(notebook_path="a.ipynb")
        async with viewing(host, session.id) as view:
            await view.say("edit it")
            asked = (await view.event("approval.requested"))["d"]["approval"]
            await view.ask("approval.answer", id=asked["id"], rev=asked["rev"], decision="deny")
            await view.event("turn.ended", outcome="completed")


async def test_a_model_whose_line_was_given_up_ends_the_turn(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script(["Lost.", "Lost."])
    async with over(DiskWorkspace, model_server, tmp_path, TornModel) as (host, _):
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("go")
            ended = await view.event("turn.ended", outcome="failed")
            assert ended["d"]["error"]["code"] == "internal"
            view.same_story_as(await view.subscribe())
