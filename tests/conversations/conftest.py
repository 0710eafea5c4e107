"""One model server and one Jupyter server for all conversations; each test brings its own script."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_agent.agent.claude import ClaudeModel
from jupyter_agent.session.host import SessionHost
from jupyter_agent.settings import Settings
from jupyter_agent.tools.toolbox import Toolbox
from tests.fakes import DiskWorkspace
from tests.hosts.running_server import RunningServer
from tests.model_server import Answer, ModelServer
from tests.roads import CommRoad, MemoryRoad, Road, SocketRoad


@pytest.fixture(scope="session")
def claude() -> Iterator[ModelServer]:
    """The Messages API. What it refuses fails the run."""
    with ModelServer() as server:
        yield server
        assert server.refusals == []


@pytest.fixture(scope="session")
def jupyter(claude: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Jupyter server that asks the scripted model; it may not log a traceback."""
    folder = tmp_path_factory.mktemp("jupyter")
    key_file = folder / "key"
    key_file.write_text(claude.key, encoding="utf-8")
    running = RunningServer(
        folder / "server",
        "--AgentExtension.demo=False",
        f"--AgentExtension.base_url={claude.url}",
        f"--AgentExtension.api_key_file={key_file}",
    )
    yield running
    running.stop()
    assert running.tracebacks == ""


@pytest_asyncio.fixture
async def host(claude: ModelServer, tmp_path: Path) -> AsyncIterator[SessionHost]:
    """A session host in this process, over notebooks on disk."""
    settings = Settings(
        data_dir=tmp_path / "data", base_url=claude.url, api_key=claude.key, idle_s=0.2, auto_title=False
    )
    model = ClaudeModel(settings)
    workspace = DiskWorkspace(tmp_path, settings)
    host = SessionHost(settings, workspace=workspace, model=model, toolbox=Toolbox(settings, lambda: [claude.key]))
    yield host
    await host.close()
    await model.close()
    await workspace.close()


@pytest.fixture(params=["memory", "socket", "comm"])
def road(request: pytest.FixtureRequest, tmp_path: Path) -> Road:
    """Each of the roads in turn."""
    match request.param:
        case "memory":
            return MemoryRoad(request.getfixturevalue("host"), tmp_path)
        case "socket":
            return SocketRoad(request.getfixturevalue("jupyter"))
        case _:
            return CommRoad(request.getfixturevalue("jupyter"))


@pytest.fixture
def script(claude: ModelServer) -> Iterator[Callable[[Sequence[Answer]], str]]:
    """Play answers to the conversation that says the word this returns."""

    words: list[str] = []

    def play(answers: Sequence[Answer]) -> str:
        word = f"word-{uuid.uuid4().hex[:12]}"
        claude.script(answers, match=word)
        words.append(word)
        return word

    yield play
    unasked = [claude.take_back(word) for word in words]
    assert not any(unasked), "the model was not asked as often as the script says"


Script = Callable[[Sequence[Any]], str]
