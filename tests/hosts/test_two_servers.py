"""Two real servers on one data directory: looking, taking over, dying."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.running_server import API, RunningServer
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(120)
BOUND_S = 30.0


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[RunningServer, RunningServer]]:
    """Two servers that share where sessions are kept, and nothing else."""
    option = f"--AgentExtension.data_dir={tmp_path / 'shared'}"
    servers = [RunningServer(tmp_path / name, option, "--AgentExtension.idle_s=60") for name in ("one", "two")]
    yield servers[0], servers[1]
    for server in servers:
        server.stop()
        assert server.tracebacks == ""


async def test_one_owns_the_other_looks_and_takes_over(pair: tuple[RunningServer, RunningServer]) -> None:
    one, two = pair
    session_id = await one.new_session(title="Shared")
    async with one.view(session_id) as there, two.view(session_id) as here:
        owner, looker = Stranger(there.send), Stranger(here.send)
        there.listeners.append(owner.hear)
        here.listeners.append(looker.hear)
        await owner.open()
        await owner.say("hello")
        await owner.event("turn.ended")
        await looker.open()
        error = (await looker.event("error", code="open_elsewhere"))["d"]
        assert one.base in error["message"]
        assert len(looker.view["messages"]) == 2
        status, body = await two.ask("GET", f"{API}/sessions/{session_id}")
        assert (status, body["session"]["title"], body["read_only"]["code"]) == (200, "Shared", "open_elsewhere")
        status, body = await two.ask("POST", f"{API}/sessions/{session_id}/take-over")
        assert status == 200, body
        await owner.event("error", code="open_elsewhere")
        await looker.event("resync")
        await looker.subscribe()
        after = len(looker.events)
        await looker.say("hello again")
        await looker.event("turn.ended", after=after)
        await owner.subscribe()
        assert len(owner.view["messages"]) == 4
        ack = await owner.ask("message.send", id="msg_late", parts=[{"type": "text", "text": "me"}])
        assert ack["error"]["code"] == "open_elsewhere"


async def test_after_a_servers_sudden_death_the_other_owns_its_sessions_at_once(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    session_id = await one.new_session()
    async with one.view(session_id) as there:
        owner = Stranger(there.send)
        there.listeners.append(owner.hear)
        await owner.open()
        await owner.say("hello")
        await owner.event("turn.ended")
        one.process.kill()
        await asyncio.to_thread(one.process.wait, BOUND_S)
    async with two.view(session_id) as here:
        heir = Stranger(here.send)
        here.listeners.append(heir.hear)
        await heir.open()
        assert len(heir.view["messages"]) == 2
        await heir.say("still there?")
        await heir.event("turn.ended", outcome="completed")
        assert heir.of("error") == []


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be frozen there")
async def test_a_frozen_owner_that_comes_back_writes_nothing_over_its_heir(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    """On a local disk the lock of a frozen process holds: nobody can take its session, and it is told so."""

    one, two = pair
    session_id = await one.new_session()
    async with one.view(session_id) as there:
        owner = Stranger(there.send)
        there.listeners.append(owner.hear)
        await owner.open()
        one.process.send_signal(signal.SIGSTOP)
        try:
            status, body = await two.ask("POST", f"{API}/sessions/{session_id}/take-over")
            assert (status, body["error"]["code"]) == (503, "open_elsewhere")
            assert "did not let go" in body["error"]["message"]
        finally:
            one.process.send_signal(signal.SIGCONT)
        await owner.say("I am back")
        await owner.event("turn.ended", outcome="completed")
