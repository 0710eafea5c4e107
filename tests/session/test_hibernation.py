"""A session sleeps whenever it may; whoever looks at it does not notice."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyter_agent.session.host import SessionHost
from tests.model_server import ModelServer, Reply, Text, ToolUse
from tests.roads import write_notebook
from tests.session.test_host import hosting, until, viewing
from tests.stranger import Stranger

Json = dict[str, Any]
MANY = 200


def asleep(folder: Path, session_id: str) -> bool:
    """Tell whether a session's database is closed: its write-ahead log is folded in then."""
    log = folder / "data" / "sessions" / session_id / "session.db-wal"
    return not log.exists() or log.stat().st_size == 0


async def test_a_ping_and_a_hello_wake_nobody(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await until(lambda: asleep(tmp_path, session.id))
            view.send("hello", protocol=[1], client="again")
            view.send("ping")
            await view.event("pong")
            assert asleep(tmp_path, session.id)


async def test_a_session_that_sleeps_while_it_awaits_its_user_is_still_heard_of(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."}))])
    async with hosting(model_server, tmp_path, heartbeat_s=0.05) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await view.say("plan")
            await view.event("turn.status", status="awaiting")
            await until(lambda: asleep(tmp_path, session.id))
            for _ in range(3):
                assert (await view.event("hb", after=len(view.events)))["d"]["seq"] == view.seq
            assert asleep(tmp_path, session.id)


async def test_a_view_that_was_dropped_and_did_not_hear_it_is_told_again(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(Text("One."))])
    behind = 0
    async with hosting(model_server, tmp_path, heartbeat_s=0.05) as host:
        session = await host.create()
        view = Stranger(lambda command: connection.receive(command))
        connection = host.connect(
            session.id, lambda frame: view.hear(frame.data), user="me", road="panel", backlog=lambda: (1, behind)
        )
        await view.open()
        async with viewing(host, session.id) as other:
            behind = 2 << 20
            await other.say("hello")
            await other.event("turn.ended")
            assert [event["d"]["reason"] for event in view.of("resync")] == ["slow"]
            assert view.of("message.added") == []
            behind = 0
            await view.event("resync", after=len(view.events))
            view.same_story_as(await view.subscribe())
        connection.close()


async def test_sessions_that_sleep_hold_neither_files_nor_threads_nor_tasks(
    model_server: ModelServer, tmp_path: Path
) -> None:
    process = psutil.Process()
    async with hosting(model_server, tmp_path) as host:
        sessions = [await host.create() for _ in range(MANY)]
        await until(lambda: all(asleep(tmp_path, session.id) for session in sessions))
        held = _held(process)
        views = [host.connect(session.id, lambda _frame: None, user="me", road="panel") for session in sessions]
        for session in sessions:
            await host.get(session.id)
        assert _held(process) > held
        await until(lambda: all(asleep(tmp_path, session.id) for session in sessions), within=30)
        await until(lambda: _held(process) <= held, within=30)
        for view in views:
            view.close()
        assert host.rooms == 0


def _held(process: psutil.Process) -> tuple[int, int]:
    """File descriptors, where the system counts them, and threads."""
    count = process.num_fds() if hasattr(process, "num_fds") else 0
    return count, threading.active_count()


async def test_what_a_connection_remembers_outlives_its_sessions_sleep(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        connection = host.connect(session.id, lambda _frame: None, user="me", road="panel")
        connection.attachment = {"cursor": 3, "user": "somebody else"}
        before = connection.attachment
        assert (before["cursor"], before["user"]) == (3, "me")
        await host.get(session.id)
        await until(lambda: asleep(tmp_path, session.id))
        assert connection.attachment == before
        connection.close()


async def test_a_session_that_wakes_finds_who_looks_at_it(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        ada = host.connect(session.id, lambda _frame: None, user="ada", road="panel")
        bob = host.connect(session.id, lambda _frame: None, user="bob", road="comm")
        ada.attachment = {"cursor": 3}
        first = await host.get(session.id)
        assert {one["user"] for one in first.connections.values()} == {"ada", "bob"}
        await until(lambda: asleep(tmp_path, session.id))
        bob.close()
        again = await host.get(session.id)
        assert again is not first
        assert again.connections == {ada.id: ada.attachment}
        assert again.connections[ada.id]["cursor"] == 3
        late = host.connect(session.id, lambda _frame: None, user="eve", road="panel")
        assert {one["user"] for one in again.connections.values()} == {"ada", "eve"}
        ada.close()
        late.close()
        assert again.connections == {}


async def test_whatever_a_view_sends_shows_that_it_is_there(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        connection = host.connect(session.id, lambda _frame: None, user="me", road="panel")
        joined = connection.attachment["joined_at"]
        assert connection.attachment["last_seen"] == joined

        def is_seen_later(than: int, sign: dict[str, Any]) -> bool:
            connection.receive(sign)
            return connection.attachment["last_seen"] > than

        await until(lambda: is_seen_later(joined, {"v": 1, "cmd_id": "c", "type": "ping", "d": {}}))
        seen = connection.attachment["last_seen"]
        await until(lambda: is_seen_later(seen, {"what": "is this"}))
        assert connection.attachment["joined_at"] == joined
        assert asleep(tmp_path, session.id)
        connection.close()


@pytest.mark.parametrize("nap", [False, True])
async def test_sleep_between_any_two_commands_changes_nothing(
    *, nap: bool, model_server: ModelServer, tmp_path: Path
) -> None:
    write_notebook(tmp_path, "a.ipynb")
    insert = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "y = 1"})
    model_server.script(
        [Reply(Text("Now. "), insert), Reply(Text("Done.")), Reply(Text("Next.")), Reply(Text("More."))]
    )
    async with hosting(model_server, tmp_path, idle_s=0.02 if nap else 60.0) as host:
        story = await _tell(host, tmp_path, nap=nap)
    assert story == (
        'build "First" ["user: go", "assistant: Now. Done.", "user: edited", "assistant: Next."'
        ', "user: two", "assistant: More."] [] completed'
    )


async def _tell(host: SessionHost, folder: Path, *, nap: bool) -> str:
    """Go through commands of every kind, and tell how it ended."""
    session = await host.create(notebook_path="a.ipynb", mode="build")

    async def rest() -> None:
        if nap:
            await until(lambda: asleep(folder, session.id))

    async with viewing(host, session.id) as view:
        await rest()
        await view.ask("session.set", title="First")
        await rest()
        await view.say("go")
        await view.event("turn.status", status="awaiting")
        asked = view.view["approvals"][0]
        await rest()
        for text in ("one", "two", "three"):
            await view.say(text)
            await rest()
        one, _, three = view.view["queue"]
        edited = [{"type": "text", "text": "edited"}]
        assert (await view.ask("queue.edit", id=one["id"], rev=one["rev"], parts=edited))["status"] == "accepted"
        await rest()
        assert (await view.ask("queue.remove", id=three["id"], rev=three["rev"]))["status"] == "accepted"
        await rest()
        await view.ask("approval.answer", id=asked["id"], rev=asked["rev"], decision="allow", scope="once")
        await view.event(lambda _: len(view.ended) == 3)
        await rest()
        told = (await view.subscribe())["d"]
    said = [f"{m['role']}: " + "".join(p.get("text", "") for p in m["parts"]) for m in told["messages"]]
    facts = told["session"]
    text = f"{facts['mode']} {json.dumps(facts['title'])} {json.dumps(said)} {told['queue']}"
    return re.sub(r"\s+$", "", f"{text} {told['last_outcome']['outcome']}")
