"""What comes between two lines of the code that were never meant to be apart."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.errors import SessionFailed
from jupyter_agent.protocol.commands import TurnStop
from jupyter_agent.store.marks import marked
from tests.clock import HandClock
from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.roads import write_notebook
from tests.session.test_host import hosting, until, viewing

Json = dict[str, Any]
pytestmark = pytest.mark.timeout(60)


def inserting(source: str) -> ToolUse:
    return ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": source})


async def test_a_turn_that_is_stopped_before_its_first_line_runs_ends(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script(["Still here."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            actor = await host.get(session.id)

            def stop_at_once() -> None:
                # A commit tells of the turn in the breath in which its task is made.
                if view.events[-1]["type"] == "turn.started":
                    view.heard = lambda: None
                    actor.stop(TurnStop(turn=view.events[-1]["turn"]))

            view.heard = stop_at_once
            await view.say("go")
            await view.event("turn.ended", outcome="stopped")
            assert model_server.requests == []
            await view.say("and now?")
            await view.event("turn.ended", outcome="completed")
            view.same_story_as(await view.subscribe())


async def test_a_server_that_ends_while_a_session_is_about_to_wake_leaves_nobody_awake(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        waking = asyncio.create_task(host.get(session.id))
        await asyncio.sleep(0)
    with pytest.raises(SessionFailed):
        await waking
    assert host.awake(session.id) is None


async def test_a_server_that_ends_while_a_session_falls_asleep_waits_until_it_sleeps(
    model_server: ModelServer, tmp_path: Path
) -> None:
    slow = threading.Event()
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        actor = await host.get(session.id)
        reading = asyncio.create_task(actor.journal.read(lambda _: slow.wait(10)))
        while host.awake(session.id) is not None:  # noqa: ASYNC110 -- eviction is by design invisible from outside
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.2, slow.set)
    assert await reading, "the server was gone before the session's database was closed"
    assert not (tmp_path / "data" / "sessions" / session.id / "session.db-wal").exists()


async def test_a_session_that_came_back_is_not_lost_with_the_room_that_it_had(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate, slow = Gate(), threading.Event()
    model_server.script([Reply(Text("Long ", gate, "answer."))])
    async with hosting(model_server, tmp_path) as host:
        first, second = await host.create(), await host.create()
        reading = asyncio.create_task((await host.get(first.id)).journal.read(lambda _: slow.wait(10)))
        await host.get(second.id)
        while host.awake(first.id) is not None:  # noqa: ASYNC110 -- eviction is by design invisible from outside
            await asyncio.sleep(0)
        # Whoever puts the first one to sleep waits, and looks at the second one's place as it was then.
        await host.delete(second.id)
        await host.undelete(second.id)
        async with viewing(host, second.id) as view:
            await view.say("go")
            await view.event("part.delta")
            slow.set()
            await reading
            await until(lambda: not (tmp_path / "data" / "sessions" / first.id / "session.db-wal").exists())
            gate.open()
            await view.event("turn.ended")
            assert (await view.ask("session.set", title="Heard"))["status"] == "accepted"


@pytest.mark.parametrize("road", ["panel", "rest"])
@pytest.mark.parametrize("when", ["wakes", "is awake"])
async def test_a_command_that_comes_while_the_session_is_put_away_is_held(
    model_server: ModelServer, tmp_path: Path, road: str, when: str
) -> None:
    model_server.script(["Heard."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await until(lambda: host.awake(session.id) is None)
            message: Json = {
                "v": 1, "cmd_id": "one", "type": "message.send",
                "d": {"id": "msg_one", "parts": [{"type": "text", "text": "hear me"}]},
            }  # fmt: skip
            command = asyncio.create_task(host.command(session.id, message, user="me")) if road == "rest" else None
            if command is None:
                view.send_raw(message)
            if when == "wakes":
                await asyncio.sleep(0)  # The waking has the session's lock, and whoever puts it away is next.
                await asyncio.sleep(0)
            async with host.alone(session.id, SessionFailed("It is put back.", code="closing")):
                pass
            ack = await command if command is not None else await view.acked("one")
            assert ack["status"] == "accepted"
            await view.event("turn.ended", outcome="completed")


async def test_a_turn_whose_disk_refused_goes_on_with_nobody_looking(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half ", gate, "lost")), "and whole."])
    clock = HandClock()
    async with hosting(model_server, tmp_path, clock=clock, recovery_backoff_s=0.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("go")
            await view.event("part.delta")
        with database(tmp_path, session.id) as db:
            db.execute("CREATE TRIGGER full BEFORE INSERT ON segments BEGIN SELECT RAISE(ABORT, 'no room'); END")
        gate.open()
        await until(lambda: host.awake(session.id) is None)
        with database(tmp_path, session.id) as db:
            db.execute("DROP TRIGGER full")
        clock.move(60_000)
        await until(lambda: not marked(tmp_path / "data"), within=10)
        messages, _ = await host.messages(session.id)
        assert messages[-1].status == "complete"


async def test_a_session_that_another_server_has_at_our_start_is_taken_up_once_that_one_is_gone(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate, clock = Gate(), HandClock()
    model_server.script([Reply(Text("Half ", gate, "lost")), "and whole."])
    async with hosting(model_server, tmp_path, clock=clock, recovery_backoff_s=0.0) as ours:
        async with hosting(model_server, tmp_path) as other:
            session = await other.create()
            async with viewing(other, session.id) as view:
                await view.say("go")
                await view.event("part.delta")
            await ours.wake_unfinished()
            assert ours.awake(session.id) is None
        gate.open()
        clock.move(60_000)
        await until(lambda: not marked(tmp_path / "data"))
        messages, _ = await ours.messages(session.id)
        assert messages[-1].status == "complete"


def database(folder: Path, session: str) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(folder / "data" / "sessions" / session / "session.db", isolation_level=None))


async def test_no_is_said_twice_within_one_step(model_server: ModelServer, tmp_path: Path) -> None:
    base_hash = hashlib.sha256(b"markdown\n# Numbers").hexdigest()
    edit = ToolUse("edit_cell", {"cell_id": "title", "base_hash": base_hash, "source": "# Mine"})
    model_server.script([Reply(edit, inserting("y = 1")), "Neither, then."])
    write_notebook(tmp_path, "a.ipynb")
    async with hosting(model_server, tmp_path) as host:
        rule = await host.rules.add("me", "insert_cell", "a.ipynb")
        session = await host.create(notebook_path="a.ipynb")
        async with viewing(host, session.id) as view:
            await view.say("go")
            await view.event("approval.requested")
            await view.event("turn.status", status="awaiting")
            await host.rules.remove(rule.id)
            here = len(view.events)
            await view.say("not that", deny_pending=True)
            await view.event("approval.requested", after=here)
            await view.event("turn.status", after=here, status="awaiting")
            await view.say("nor that", deny_pending=True)
            await view.event("turn.ended", outcome="completed")
            roles = [message["role"] for message in view.view["messages"]]
            assert roles == ["user", "assistant", "user", "user", "assistant"]
            parents = [message["parent_id"] for message in view.view["messages"]]
            assert parents == [None, *(message["id"] for message in view.view["messages"][:-1])]
            view.same_story_as(await view.subscribe())
    said = [block.get("text") for block in model_server.requests[-1].body["messages"][-1]["content"]]
    assert [text for text in said if text in ("not that", "nor that")] == ["not that", "nor that"]
    assert model_server.refusals == []


@pytest.mark.parametrize("way", ["steer", "instead"])
async def test_a_disk_that_refuses_between_the_results_and_the_users_words_parts_them_not(
    model_server: ModelServer, tmp_path: Path, way: str
) -> None:
    gate = Gate()
    first = Reply(gate, ToolUse("read_notebook", {})) if way == "steer" else Reply(inserting("y = 1"))
    model_server.script([first, "As you say."])
    write_notebook(tmp_path, "a.ipynb")
    async with hosting(model_server, tmp_path, recovery_backoff_s=0.0, idle_s=60.0) as host:
        session = await host.create(notebook_path="a.ipynb")
        async with viewing(host, session.id) as view:
            await view.say("go")
            if way == "steer":
                await gate.until_reached()
                await view.say("in red", when_busy="steer")
            else:
                await view.event("turn.status", status="awaiting")
            with database(tmp_path, session.id) as db:
                # The answer goes on in another message, below what the user said.
                db.execute(
                    "CREATE TRIGGER full BEFORE INSERT ON messages WHEN NEW.role='assistant'"
                    " BEGIN SELECT RAISE(ABORT, 'no room'); END"
                )
            if way == "steer":
                gate.open()
            else:
                await view.say("in red", deny_pending=True)
            await view.event("error")
            with database(tmp_path, session.id) as db:
                db.execute("DROP TRIGGER full")
            await view.subscribe()
            if view.view["turn"] is not None:
                await view.event("turn.ended", outcome="completed")
            told = (await view.subscribe())["d"]["messages"]
            assert [(m["role"], bool(m["parts"])) for m in told] == [
                ("user", True), ("assistant", True), ("user", True), ("assistant", True),
            ]  # fmt: skip
            assert "".join(part["text"] for part in told[-1]["parts"]) == "As you say."
