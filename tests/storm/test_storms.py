"""After a storm every client tells the session's own story, to the byte.

The clients are the panel's own code over its socket and its comm, and a twin
in Python; the server's end is a real session host, with the real relay's
outbox on the comm. Between them frames and commands are lost, doubled, late
and out of order, roads break, and the session falls asleep whenever it may.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

from jupyter_agent.agent.claude import ClaudeModel
from jupyter_agent.session.host import SessionHost
from jupyter_agent.settings import Settings
from jupyter_agent.tools.toolbox import Toolbox
from tests.fakes import DiskWorkspace
from tests.model_server import ModelServer
from tests.roads import write_notebook
from tests.session.test_any_order import improvise
from tests.stranger import Stranger

from .clients import Node
from .storms import Storm, pass_time

Json = dict[str, Any]
SAMPLE = hypothesis_settings().derandomize
"""`make test` takes a sample; `make sweep` takes a thousand seeds."""
SEEDS = {"socket": 16 if SAMPLE else 400, "comm": 16 if SAMPLE else 400, "twin": 8 if SAMPLE else 200}
BATCH = 8 if SAMPLE else 20
STEPS = 100
DEAF_STEPS = 30
"""Longer than a relay's outbox waits."""
BOUND_S = 60.0
BATCHES = [(kind, first) for kind, seeds in SEEDS.items() for first in range(0, seeds, BATCH)]
STORY = ("seq", "ep", "session", "messages", "turn", "queue", "paused", "approvals", "tasks", "last_outcome")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The panel's client, built for Node."""
    return Node.bundle(tmp_path_factory.mktemp("storm"))


@asynccontextmanager
async def hosting(folder: Path) -> AsyncGenerator[tuple[SessionHost, Settings]]:
    """A host whose sessions sleep at once, and whose model says anything."""
    with ModelServer() as server:
        server.default = improvise
        settings = Settings(
            data_dir=folder / "data", base_url=server.url, api_key=server.key, idle_s=0.05, max_steps=4, max_cuts=1,
            heartbeat_s=0.1, comm_heartbeat_s=0.1, comm_flush_ms=5, max_retry_delay_s=0.01, auto_title=False,
        )  # fmt: skip
        model, workspace = ClaudeModel(settings), DiskWorkspace(folder, settings)
        host = SessionHost(settings, workspace=workspace, model=model, toolbox=Toolbox(settings))
        try:
            yield host, settings
        finally:
            await host.close()
            await model.close()
            await workspace.close()
        assert server.refusals == []


@asynccontextmanager
async def watching(host: SessionHost, session_id: str) -> AsyncGenerator[Stranger]:
    """A view in fair weather."""
    stranger = Stranger(lambda command: connection.receive(command))
    connection = host.connect(session_id, lambda frame: stranger.hear(json.loads(frame.text)), user="me", road="panel")
    await stranger.open()
    yield stranger
    connection.close()


@pytest.mark.parametrize(("kind", "first"), BATCHES)
async def test_after_a_storm_every_client_tells_the_sessions_own_story(
    kind: str, first: int, bundle: Path, tmp_path: Path
) -> None:
    write_notebook(tmp_path, "a.ipynb")
    node = await Node.start(bundle)
    async with hosting(tmp_path) as (host, settings), AsyncExitStack() as stack:
        storms: list[tuple[Storm, Stranger]] = []
        for seed in range(first, first + BATCH):
            session = await host.create(notebook_path="a.ipynb")
            observer = await stack.enter_async_context(watching(host, session.id))
            storms.append((Storm(kind, host, session.id, settings, seed, node), observer))
        for _ in range(STEPS):
            for storm, _observer in storms:
                storm.blow()
            await pass_time(node, [storm for storm, _ in storms])
        await _settle(node, storms)
        await _lose_the_tail(node, storms)
        await _settle(node, storms)
        for storm, observer in storms:
            await _compare(storm, observer)
            storm.end()
    await node.close()


async def _lose_the_tail(node: Node, storms: list[tuple[Storm, Stranger]]) -> None:
    """Something happens that no client hears of, and nothing after it."""
    for storm, observer in storms:
        storm.deafen()
        assert (await observer.ask("session.set", title="Told to nobody"))["status"] == "accepted"
    for _ in range(DEAF_STEPS):
        await pass_time(node, [storm for storm, _ in storms])


async def _settle(node: Node, storms: list[tuple[Storm, Stranger]]) -> None:
    unsettled = list(storms)
    for storm, _ in storms:
        storm.calm()
    try:
        async with asyncio.timeout(BOUND_S):
            while unsettled:
                await pass_time(node, [storm for storm, _ in storms])
                unsettled = [pair for pair in unsettled if not await pair[0].is_settled(_rest(pair[1]))]
    except TimeoutError:
        storm, observer = unsettled[0]
        view = {name: storm.told["view"].get(name) for name in ("ep", "seq", "syncing", "stale", "turn", "queue")}
        raise AssertionError(
            f"storm {storm.seed} never settled: the session at {observer.seq}, {observer.view['turn']};"
            f" the client at {storm.told | {'view': view}}"
        ) from None


async def _compare(storm: Storm, observer: Stranger) -> None:
    truth = (await observer.subscribe())["d"]
    assert observer.fault is None, observer.fault
    truth |= {"seq": truth["as_of"], "ep": observer.ep}
    story, expected = ({name: view[name] for name in STORY} for view in (storm.told["view"], truth))
    assert json.dumps(story, sort_keys=True) == json.dumps(expected, sort_keys=True), f"storm {storm.seed}"
    assert sorted(_said(truth)) == sorted(storm.sent), f"storm {storm.seed}: each message once"


def _rest(observer: Stranger) -> int | None:
    """Where the session has come to rest, None while it works."""
    view = observer.view
    return None if view["turn"] or (view["queue"] and not view["paused"]) else observer.seq


def _said(truth: Json) -> list[str]:
    """What the user said, in the transcript or in the queue."""
    parts = [m["parts"] for m in truth["messages"] if m["role"] == "user"] + [q["parts"] for q in truth["queue"]]
    return [part["text"] for said in parts for part in said]
