"""A tool that ends when it likes, not when it is told to: what it says then changes nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.agent.claude import ClaudeModel
from jupyter_agent.notebook.ports import Cell
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


@asynccontextmanager
async def stubborn(server: ModelServer, folder: Path) -> AsyncGenerator[tuple[SessionHost, Stubborn]]:
    """A host over such a disk; nobody is asked before a cell is inserted."""
    write_notebook(folder, "a.ipynb")
    settings = Settings(data_dir=folder / "data", base_url=server.url, api_key=server.key, auto_title=False)
    model, workspace = ClaudeModel(settings), Stubborn(folder, settings)
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
