"""Disks that are full, files that are damaged or gone: an error in words with a code, never a traceback."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.errors import SessionFailed, SessionNotFound, StoreError
from jupyter_agent.session.host import SessionHost
from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.session.test_host import hosting, until, viewing
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What happens to files is no surprise to us."""
    yield
    assert "Traceback" not in caplog.text


def garbage(folder: Path) -> None:
    (folder / "session.db").write_bytes(b"this was a database once " * 500)


def beheaded(folder: Path) -> None:
    data = bytearray((folder / "session.db").read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    (folder / "session.db").write_bytes(data)


def emptied(folder: Path) -> None:
    (folder / "session.db").write_bytes(b"")


def missing(folder: Path) -> None:
    (folder / "session.db").unlink()


def a_folder(folder: Path) -> None:
    missing(folder)
    (folder / "session.db").mkdir()


def a_link_to_nowhere(folder: Path) -> None:
    missing(folder)
    (folder / "session.db").symlink_to(folder / "nowhere" / "session.db")


def no_facts(folder: Path) -> None:
    with sqlite3.connect(folder / "session.db") as db:
        db.execute("DELETE FROM meta WHERE key='session'")
    db.close()


def odd_facts(folder: Path) -> None:
    with sqlite3.connect(folder / "session.db") as db:
        db.execute("UPDATE meta SET value='[1' WHERE key='session'")
    db.close()


def no_table(folder: Path) -> None:
    with sqlite3.connect(folder / "session.db") as db:
        db.execute("DROP TABLE queue")
    db.close()


Harm = Callable[[Path], None]


def other_facts(folder: Path) -> None:
    with sqlite3.connect(folder / "session.db") as db:
        db.execute("UPDATE meta SET value='{}' WHERE key='session'")
    db.close()


HARMS: list[Harm] = [
    *(garbage, beheaded, emptied, missing, a_folder, a_link_to_nowhere),
    *(no_facts, odd_facts, other_facts, no_table),
]


async def asleep(host: SessionHost, tmp_path: Path) -> tuple[str, Path]:
    """Make a session and let it sleep."""
    session = await host.create(title="Once whole")
    return session.id, tmp_path / "data" / "sessions" / session.id


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
async def test_a_damaged_session_says_so_on_every_road_and_can_be_deleted(
    model_server: ModelServer, tmp_path: Path, harm: Harm
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session_id, folder = await asleep(host, tmp_path)
        harm(folder)
        for _ in range(2):
            with pytest.raises(StoreError) as refused:
                await host.session(session_id)
            assert refused.value.code in ("store_damaged", "store_error")
        heard: list[dict[str, Any]] = []
        connection = host.connect(session_id, lambda frame: heard.append(frame.data), user="me", road="panel")
        connection.receive({"v": 1, "cmd_id": "c", "type": "subscribe", "d": {}})
        connection.receive({"v": 1, "cmd_id": "d", "type": "history", "d": {}})
        await until(lambda: len(heard) == 2)
        assert {frame["type"] for frame in heard} == {"error", "ack"}
        await host.delete(session_id)
        assert not folder.exists()
        with pytest.raises(SessionNotFound):
            await host.session(session_id)


@pytest.mark.parametrize("harm", ["UPDATE parts SET data='5'", "UPDATE events SET body='5' WHERE type='part.added'"])
async def test_a_turn_that_cannot_be_taken_up_is_told_and_bars_nobody(
    model_server: ModelServer, tmp_path: Path, harm: str
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half ", gate, "lost"))])
    async with hosting(model_server, tmp_path, snapshot_days=0.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("go")
            await view.event("part.delta")
    gate.open()
    with sqlite3.connect(tmp_path / "data" / "sessions" / session.id / "session.db") as db:
        db.execute(harm)
    db.close()
    async with hosting(model_server, tmp_path) as host:
        await host.wake_unfinished()
        view = Stranger(lambda command: connection.receive(command))
        connection = host.connect(session.id, lambda frame: view.hear(frame.data), user="me", road="panel")
        for n in range(2):
            here = len(view.events)
            ack = await view.acked(view.send("session.set", cmd_id=f"try-{n}", title="x"), after=here)
            assert (ack["status"], ack["error"]["code"]) == ("rejected", "store_damaged")
        connection.close()


async def test_a_session_damaged_while_awake_says_so(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        session_id, folder = await asleep(host, tmp_path)
        async with viewing(host, session_id) as view:
            with sqlite3.connect(folder / "session.db") as db:
                db.execute("DROP TABLE commands")
            db.close()
            ack = await view.ask("message.send", id="m1", parts=[{"type": "text", "text": "hello"}])
            assert (ack["status"], ack["error"]["code"]) == ("rejected", "store_error")


async def test_a_session_whose_folder_was_removed_is_not_found(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session_id, folder = await asleep(host, tmp_path)
        shutil.rmtree(folder)
        with pytest.raises(SessionNotFound):
            await host.session(session_id)


async def test_a_full_disk_is_told_and_the_turn_goes_on_once_there_is_room(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(Text("x" * 200_000)), "Now it fits."])
    async with hosting(model_server, tmp_path, idle_s=60.0, recovery_backoff_s=0.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            actor = await host.get(session.id)
            connection = actor.journal._store.db.conn  # pyright: ignore[reportPrivateUsage] -- the disk is at the database's end
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages + 8}")
            await view.say("go")
            error = await view.event("error")
            assert error["d"]["code"] == "store_unwritable"
            assert "disk is full" in error["d"]["message"]
            assert "Free some space" in error["d"]["hint"]
            await view.event("resync")
            await view.subscribe()
            await view.event("turn.ended", outcome="completed")
            assert view.text.endswith("Now it fits.")
    assert model_server.refusals == []


async def test_a_data_directory_that_cannot_be_used_is_told(model_server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a directory")
    async with hosting(model_server, tmp_path) as host:
        with pytest.raises(StoreError, match="could not be stored"):
            await host.create()
        with pytest.raises(StoreError, match="cannot be used"):
            await host.list_sessions()


async def test_a_damaged_list_is_made_anew(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
    (tmp_path / "data" / "index.db").write_bytes(b"no list " * 1000)
    async with hosting(model_server, tmp_path) as host:
        assert [found.id for found in (await host.list_sessions())[0]] == [session.id]


async def test_a_list_that_is_damaged_in_use_is_made_anew(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        with sqlite3.connect(tmp_path / "data" / "index.db") as db:
            db.execute("DROP TABLE sessions")
        db.close()
        with pytest.raises(StoreError):
            await host.list_sessions()
        for file in (tmp_path / "data").glob("index.db*"):
            file.unlink()
        assert [found.id for found in (await host.list_sessions())[0]] == [session.id]


async def test_a_call_cut_off_beside_an_open_question_is_not_run_again_and_the_question_stays(
    model_server: ModelServer, tmp_path: Path
) -> None:
    calls = [ToolUse("create_task", {"title": "One"}), ToolUse("exit_plan", {"plan": "Do it."})]
    model_server.script([Reply(*calls), "Fine."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await view.say("plan")
            await view.event("turn.status", status="awaiting")
            await view.event("task.updated")
            await view.event(lambda e: e["type"] == "tool.state" and e["d"]["state"] == "output-available")
    with sqlite3.connect(tmp_path / "data" / "sessions" / session.id / "session.db") as db:
        # As if the server had died while the first call ran.
        db.execute("UPDATE tool_calls SET state='executing', effect='write', result=NULL WHERE name='create_task'")
    db.close()
    async with hosting(model_server, tmp_path) as host, viewing(host, session.id) as view:
        assert view.view["turn"]["status"] == "awaiting"
        (asked,) = view.view["approvals"]
        await view.ask("approval.answer", id=asked["id"], rev=1, decision="deny", scope="once")
        await view.event("turn.ended", outcome="completed")
        assert len(view.view["tasks"]) == 1
        told = json.dumps(model_server.requests[-1].body["messages"])
        assert "may or may not have completed" in told
    assert model_server.refusals == []


@pytest.mark.parametrize("harm", [garbage, beheaded, odd_facts, other_facts], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("list_lost", [False, True], ids=["list kept", "list lost"])
async def test_the_list_shows_a_damaged_session_as_damaged(
    model_server: ModelServer, tmp_path: Path, harm: Harm, list_lost: bool
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session_id, folder = await asleep(host, tmp_path)
        whole = await host.create(title="Whole")
    harm(folder)
    if list_lost:
        for file in (tmp_path / "data").glob("index.db*"):
            file.unlink()
    async with hosting(model_server, tmp_path) as host:
        listed = {found.id: found for found in (await host.list_sessions())[0]}
        assert listed.keys() == {session_id, whole.id}
        assert listed[session_id].status == "error"
        assert listed[session_id].title == ("Damaged session" if list_lost else "Once whole")
        assert listed[whole.id].status == "ready"
        await host.delete(session_id)
        assert [found.id for found in (await host.list_sessions())[0]] == [whole.id]


async def test_a_session_found_damaged_is_listed_as_such(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session_id, folder = await asleep(host, tmp_path)
        garbage(folder)
        with pytest.raises(StoreError):
            await host.session(session_id)
        assert [(found.title, found.status) for found in (await host.list_sessions())[0]] == [("Once whole", "error")]


async def test_a_clock_that_was_ahead_changes_no_order(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script(["One.", "Two."])
    async with hosting(model_server, tmp_path) as host:
        session_id, folder = await asleep(host, tmp_path)
        async with viewing(host, session_id) as view:
            await view.say("first")
            await view.event("turn.ended")
        await until(lambda: not (folder / "session.db-wal").exists())
        with sqlite3.connect(folder / "session.db") as db:
            # As if the first message had been written a month from now.
            for table, column in {"events": "ts", "messages": "created_at", "commands": "created_at"}.items():
                db.execute(f"UPDATE {table} SET {column} = {column} + 2592000000")
        db.close()
        async with viewing(host, session_id) as view:
            after = len(view.events)
            await view.say("second")
            await view.event("turn.ended", after=after)
            snapshot = (await view.subscribe())["d"]
            said = [part["text"] for message in snapshot["messages"] for part in message["parts"]]
            assert said == ["first", "One.", "second", "Two."]
            since = await view.subscribe(since={"ep": view.ep, "seq": 1})
            assert since["type"] != "snapshot"
            newest = await view.ask("history", limit=1)
            assert newest["result"]["messages"][0]["parts"][0]["text"] == "Two."
    asked = [message["role"] for message in model_server.requests[-1].body["messages"]]
    assert asked == ["user", "assistant", "user"]
    assert model_server.refusals == []


async def test_a_lost_file_of_the_history_is_told_to_the_model_and_the_session_goes_on(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script(["Long.", "And on."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("é" * 300_000)  # its JSON is longer than a row may be
            await view.event("turn.ended", outcome="completed")
            for blob in host.blobs(session.id).iterdir():
                blob.unlink()
            heard = len(view.events)
            await view.say("and now?")
            await view.event("turn.ended", after=heard, outcome="completed")
    assert "was lost" in json.dumps(model_server.requests[-1].body["messages"][0])
    assert model_server.refusals == []


async def test_a_session_that_opens_too_late_is_let_go_and_opens_the_next_time(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path, activate_timeout_s=0.5) as host:
        session = await host.create()
        database = tmp_path / "data" / "sessions" / session.id / "session.db"
        with sqlite3.connect(database, isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(SessionFailed, match="in time"):
                await host.get(session.id)
            other.execute("ROLLBACK")
        other.close()
        async with asyncio.timeout(45):
            while True:
                try:
                    actor = await host.get(session.id)
                    break
                except (SessionFailed, StoreError):
                    await asyncio.sleep(0.05)  # the late one lets go in its own time
        assert actor.id == session.id
