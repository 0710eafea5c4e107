"""Snapshots: going back, undoing it, and standing in for a damaged file."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from jupyter_agent.errors import CommandRejected, StoreError
from jupyter_agent.notebook.ports import base_hash
from jupyter_agent.protocol.content import Session
from jupyter_agent.protocol.frames import dump_json
from jupyter_agent.protocol.ids import new_id, now_ms
from jupyter_agent.protocol.plain import to_plain
from jupyter_agent.session import safekeeping
from jupyter_agent.session.host import SessionHost
from jupyter_agent.store import snapshots
from jupyter_agent.store.schema import SCHEMA_VERSION, session_migrations
from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.roads import write_notebook
from tests.session.test_damage import HARMS, Harm, beheaded
from tests.session.test_host import hosting, until, viewing
from tests.session.test_list_kept import overwrite
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(60)


def folder_of(tmp_path: Path, session_id: str) -> Path:
    return tmp_path / "data" / "sessions" / session_id


async def answered(model_server: ModelServer, view: Stranger, text: str) -> None:
    model_server.script([text])
    after = len(view.events)
    await view.say(f"say {text}")
    await view.event("turn.ended", after=after, outcome="completed")


async def snapped(host: SessionHost, tmp_path: Path, session_id: str) -> int:
    """Take a snapshot; return its time."""
    await safekeeping.take(host, session_id, folder_of(tmp_path, session_id), now_ms())
    return (await host.snapshots(session_id))[0].at


def texts(view: Stranger) -> list[str]:
    return [part["text"] for message in view.view["messages"] for part in message["parts"]]


async def test_going_back_shows_every_view_the_session_as_it_was(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view, viewing(host, session.id) as other:
            await answered(model_server, view, "one")
            at = await snapped(host, tmp_path, session.id)
            await answered(model_server, view, "two")
            before = view.ep
            await host.restore(session.id, at)
            for each in (view, other):
                assert (await each.event("resync"))["d"] == {"reason": "epoch"}
                await each.subscribe(since={"ep": before, "seq": 1})
                assert each.ep != before
                assert texts(each)[:2] == ["say one", "one"]
                assert "put back to its state of" in texts(each)[2]
                assert "the notebook may be ahead" in texts(each)[2]
            view.same_story_as(await other.subscribe())
            await answered(model_server, view, "three")
            assert texts(view)[3:] == ["say three", "three"]
            await answered(model_server, view, "four")
    asked = [message["content"] for message in model_server.requests[-1].body["messages"]]
    assert "two" not in str(asked)
    told = ["they may hold what was done since" in str(content) for content in asked]
    assert told == [False, False, True, False, False], "Claude is told once, with what is said next"
    assert model_server.refusals == []


async def test_a_session_that_was_put_back_is_rewound_without_losing_what_came_before(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await answered(model_server, view, "one")
            at = await snapped(host, tmp_path, session.id)
            await host.restore(session.id, at)
            await host.restore(session.id, (await host.snapshots(session.id))[0].at + 1)
            await view.subscribe()
            await answered(model_server, view, "two")
            question = view.view["messages"][-2]["id"]
            story = texts(view)[:-1]
            assert (await view.ask("session.rewind", message_id=question))["status"] == "accepted"
            await view.subscribe()
            assert texts(view) == story
            assert story[:2] == ["say one", "one"]


async def test_going_back_can_be_undone(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await answered(model_server, view, "one")
            at = await snapped(host, tmp_path, session.id)
            await answered(model_server, view, "two")
            await host.restore(session.id, at)
            newest = (await host.snapshots(session.id))[0]
            assert newest.reason == "restore"
            await host.restore(session.id, newest.at)
            await view.subscribe()
            assert texts(view)[:4] == ["say one", "one", "say two", "two"]


async def test_a_running_turn_is_stopped_before_going_back(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            at = await snapped(host, tmp_path, session.id)
            gate = Gate()
            model_server.script([Reply(Text("Half,", gate, " whole."))])
            await view.say("talk")
            await view.reads("Half,")
            await host.restore(session.id, at)
            await view.event("turn.ended", outcome="stopped")
            await view.event("resync", reason="epoch")
            await view.subscribe()
            assert (view.view["turn"], len(view.view["messages"])) == (None, 1)
            gate.open()
            await answered(model_server, view, "fine")


async def test_a_question_that_was_open_is_open_again(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."})), "Not done.", "Done."])
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await view.say("plan")
            asked = (await view.event("approval.requested"))["d"]["approval"]
            await view.event("turn.status", status="awaiting")
            at = await snapped(host, tmp_path, session.id)
            await view.ask("approval.answer", id=asked["id"], rev=1, decision="deny", scope="once")
            await view.event("turn.ended")
            await host.restore(session.id, at)
        async with viewing(host, session.id) as view:
            assert [open_one["id"] for open_one in view.view["approvals"]] == [asked["id"]]
            await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow", scope="once")
            await view.event("turn.ended", outcome="completed")
    result, note = model_server.requests[-1].body["messages"][-1]["content"]
    assert (result["type"], note["type"]) == ("tool_result", "text")
    assert "they may hold what was done since" in note["text"], "Claude goes on with this turn, and is told in it"
    assert model_server.refusals == []


async def test_what_ran_when_the_snapshot_was_taken_does_not_happen_again_by_itself(
    model_server: ModelServer, tmp_path: Path
) -> None:
    write_notebook(tmp_path, "a.ipynb")
    adding = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "once = 1"})
    async with hosting(model_server, tmp_path, recovery_backoff_s=0.0) as host:
        await host.rules.add("me", "insert_cell", "a.ipynb")
        session = await host.create(notebook_path="a.ipynb")
        async with viewing(host, session.id) as view:
            gate = Gate()
            model_server.script([Reply(Text("I will"), gate, adding), "Inserted.", Reply(adding), "Twice."])
            await view.say("insert it once")
            await view.reads("I will")
            at = await snapped(host, tmp_path, session.id)
            gate.open()
            await view.event("turn.ended", outcome="completed")
            await host.restore(session.id, at)
            await view.event("resync", reason="epoch")
            await view.subscribe()
            assert (view.view["turn"], view.view["last_outcome"]["outcome"]) == (None, "interrupted")
    assert (tmp_path / "a.ipynb").read_text(encoding="utf-8").count("once = 1") == 1
    assert len(model_server.requests) == 2


async def test_what_waited_behind_an_answer_that_a_snapshot_caught_complete_is_not_sent_again_by_itself(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path, recovery_backoff_s=0.0) as host:
        session = await host.create()
        folder = folder_of(tmp_path, session.id)
        async with viewing(host, session.id) as view:
            gate = Gate()
            model_server.script([Reply(Text("One", gate, ".")), "Two.", "Two again."])
            await view.say("one")
            await view.reads("One")
            await view.say("two")

            def snap_between() -> None:
                # The answer is on disk, and the end of its turn is not.
                if view.events[-1]["type"] == "step.ended":
                    view.heard = lambda: None
                    with closing(sqlite3.connect(folder / "session.db")) as conn:
                        snapshots.take(folder, "daily", now_ms(), conn)

            view.heard = snap_between
            gate.open()
            await until(lambda: len(view.of("turn.ended")) == 2)
            await host.restore(session.id, (await host.snapshots(session.id))[0].at)
            await view.event("resync", reason="epoch")
            await view.subscribe()
            assert (view.view["turn"], view.view["paused"], len(view.view["queue"])) == (None, True, 1)
    assert len(model_server.requests) == 2


@pytest.mark.parametrize("by", ["answer", "rule"])
async def test_what_was_allowed_and_waited_for_another_answer_does_not_run_again_behind_it(
    model_server: ModelServer, tmp_path: Path, by: str
) -> None:
    write_notebook(tmp_path, "a.ipynb")
    adding = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "once = 1"})
    asking = ToolUse("delete_cell", {"cell_id": "first", "base_hash": base_hash("code", "x = 20 + 1")})
    async with hosting(model_server, tmp_path) as host:
        if by == "rule":
            await host.rules.add("me", "insert_cell", "a.ipynb")
        session = await host.create(notebook_path="a.ipynb")
        # What a rule allows waits only behind what is asked.
        calls = (adding, asking) if by == "answer" else (asking, adding)
        model_server.script([Reply(*calls), "Inserted.", "I will look."])
        async with viewing(host, session.id) as view:
            await view.say("insert it once, and delete")
            await view.event("turn.status", status="awaiting")
            *allowed, other = view.view["approvals"]
            assert len(allowed) == (by == "answer")
            for one in allowed:
                await view.ask("approval.answer", id=one["id"], rev=1, decision="allow")
            at = await snapped(host, tmp_path, session.id)
            await view.ask("approval.answer", id=other["id"], rev=1, decision="deny")
            await view.event("turn.ended", outcome="completed")
            await host.restore(session.id, at)
        async with viewing(host, session.id) as view:
            assert [one["id"] for one in view.view["approvals"]] == [other["id"]]
            await view.ask("approval.answer", id=other["id"], rev=1, decision="deny")
            await view.event("turn.ended", outcome="completed")
            parts = [part for message in view.view["messages"] for part in message["parts"]]
            states = {part["name"]: part["state"] for part in parts if part["type"] == "tool"}
            assert states == {"insert_cell": "output-error", "delete_cell": "output-denied"}
    assert (tmp_path / "a.ipynb").read_text(encoding="utf-8").count("once = 1") == 1
    assert "may have run since" in str(model_server.requests[-1].body["messages"][-1])
    assert model_server.refusals == []


async def test_a_snapshot_takes_the_place_of_no_other(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        for _ in range(3):
            await safekeeping.take(host, session.id, folder_of(tmp_path, session.id), 1_795_413_353_559)
        assert len(await host.snapshots(session.id)) == 3


async def test_what_is_no_snapshot_is_neither_listed_nor_gone_back_to(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(title="Here")
        at = await snapped(host, tmp_path, session.id)
        snapshots = folder_of(tmp_path, session.id) / "snapshots"
        for name in ("99999999999999999999.daily.db", "-5.daily.db", "nan.daily.db", "\u0663.daily.db", "7.daily.db"):
            (snapshots / name).write_bytes(b"no database")
        (snapshots / "1.2.3.db").mkdir()
        assert [one.at for one in await host.snapshots(session.id)] == [at, 7]
        with pytest.raises(StoreError) as refused:
            await host.restore(session.id, 7)
        assert "snapshot" in refused.value.message
        assert [one.at for one in await host.snapshots(session.id)] == [at, 7]
        assert (await host.restore(session.id, 1 << 80)).title == "Here"


async def test_without_a_snapshot_from_then_nothing_changes(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(title="Here")
        at = await snapped(host, tmp_path, session.id)
        with pytest.raises(CommandRejected) as refused:
            await host.restore(session.id, at - 1)
        assert refused.value.code == "no_snapshot"
        assert (await host.session(session.id)).title == "Here"


async def test_a_snapshot_of_a_sleeping_session_leaves_it_asleep(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        folder = folder_of(tmp_path, session.id)
        await snapped(host, tmp_path, session.id)
        assert sorted(path.name for path in folder.iterdir()) == ["session.db", "session.lock", "snapshots"]
        assert host.room(session.id).actor is None


@pytest.mark.parametrize("harm", HARMS[:7], ids=lambda harm: harm.__name__)
async def test_a_damaged_session_comes_back_as_its_last_snapshot_and_says_so(
    model_server: ModelServer, tmp_path: Path, harm: Harm
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        folder = folder_of(tmp_path, session.id)
        async with viewing(host, session.id) as view:
            await answered(model_server, view, "one")
            await snapped(host, tmp_path, session.id)
            await answered(model_server, view, "two")
            await until(lambda: not (folder / "session.db-wal").exists())
            harm(folder)
            await view.subscribe()
            assert texts(view)[:2] == ["say one", "one"]
            assert view.view["messages"][2]["parts"][0]["code"] == "mended"
            assert list((folder / "quarantine").iterdir())
            await answered(model_server, view, "three")


@pytest.mark.parametrize("storage", ["local", "network"])
@pytest.mark.parametrize("table", ["parts", "api_blocks", "commands"])
async def test_damage_that_shows_only_in_use_is_mended_too(
    model_server: ModelServer, tmp_path: Path, table: str, storage: str
) -> None:
    async with hosting(model_server, tmp_path, storage=storage) as host:
        session = await host.create(title="Once whole")
        folder = folder_of(tmp_path, session.id)
        async with viewing(host, session.id) as view:
            await answered(model_server, view, "one")
            await snapped(host, tmp_path, session.id)
            await answered(model_server, view, "two")
            await until(lambda: host.awake(session.id) is None and not (folder / "session.owner").exists())
            overwrite(folder / "session.db", table)
            view.send("subscribe", page=25)
            view.send("message.send", id="msg_lost", parts=[{"type": "text", "text": "into the damage"}])
            await view.event("error", code="store_damaged")
            await view.event("resync")
            await view.subscribe()
            assert texts(view)[:2] == ["say one", "one"]
            assert view.view["messages"][2]["parts"][0]["code"] == "mended"
            assert [one.status for one in (await host.list_sessions())[0]] == ["ready"]
            await answered(model_server, view, "three")


async def test_damage_without_a_snapshot_leaves_what_can_be_read(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(title="Once whole")
        folder = folder_of(tmp_path, session.id)
        async with viewing(host, session.id) as view:
            await answered(model_server, view, "one")
        await until(lambda: host.rooms == 0)
        overwrite(folder / "session.db", "parts")
        for _ in range(2):
            assert (await host.session(session.id)).title == "Once whole"
            with pytest.raises(StoreError) as refused:
                await host.messages(session.id)
            assert refused.value.code == "store_damaged"


@pytest.mark.parametrize("list_lost", [False, True], ids=["list kept", "list lost"])
async def test_what_was_mended_is_listed_as_it_is_now(
    model_server: ModelServer, tmp_path: Path, *, list_lost: bool
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(title="Kept")
        await snapped(host, tmp_path, session.id)
    beheaded(folder_of(tmp_path, session.id))
    if list_lost:
        (tmp_path / "data" / "index.db").unlink()
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        assert [one.status for one in (await host.list_sessions())[0]] == ["error"]
        told: list[Any] = []
        host.library.listing.watch(lambda frame: told.append(frame.data))
        assert (await host.session(session.id)).status == "ready"
        assert [frame["d"]["session"]["status"] for frame in told] == ["ready"]
        assert [(one.title, one.status) for one in (await host.list_sessions())[0]] == [("Kept", "ready")]


async def test_a_damaged_snapshot_is_passed_over(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(title="Old")
        folder = folder_of(tmp_path, session.id)
        await snapped(host, tmp_path, session.id)
        await host.update(session.id, {"title": "New"})
        await snapped(host, tmp_path, session.id)
        await until(lambda: not (folder / "session.db-wal").exists())
        newest = (await host.snapshots(session.id))[0].path
        newest.rename(folder / "snapshots" / "session.db")
        beheaded(folder / "snapshots")
        (folder / "snapshots" / "session.db").rename(newest)
        beheaded(folder)
        assert (await host.session(session.id)).title == "Old"


async def test_what_this_code_cannot_read_but_is_whole_is_not_put_back(
    model_server: ModelServer, tmp_path: Path
) -> None:
    """Else a mistake of ours would cost the user a day."""
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        folder = folder_of(tmp_path, session.id)
        await snapped(host, tmp_path, session.id)
        with sqlite3.connect(folder / "session.db") as db:
            db.execute("UPDATE meta SET value='[1' WHERE key='session'")
        db.close()
        with pytest.raises(StoreError):
            await host.session(session.id)
        assert not (folder / "quarantine").exists()


def first_version(folder: Path) -> str:
    """Make a session as the first version did, with one answered message."""
    session = Session(id=new_id("ses"), title="From before", created_at=now_ms(), updated_at=now_ms())
    folder = folder / "data" / "sessions" / session.id
    folder.mkdir(parents=True)
    db = Database(folder / "session.db")
    db.conn.isolation_level = None
    db.conn.execute("PRAGMA journal_mode=WAL")
    session_migrations.apply(db, stop_before="m002_durability")
    db.conn.execute("PRAGMA user_version=1")
    message = "messages (id, ord, role, status, turn_id, content, created_at)"
    turn = "turns (id, ord, message_id, mode, trigger, status, outcome, started_at)"
    part, blocks = "parts (id, message_id, idx, type, state, data)", "api_blocks (turn_id, step, ord, role, body)"
    rows: list[tuple[str, tuple[Any, ...]]] = [
        ("meta (key, value)", ("epoch", dump_json(str(uuid.uuid4())))),
        ("meta (key, value)", ("gen", "3")),
        ("meta (key, value)", ("session", dump_json(to_plain(session)))),
        (message, ("m1", 1, "user", "complete", "t1", "hi", 1)),
        (message, ("m2", 2, "assistant", "complete", "t1", "ho", 2)),
        (part, ("p1", "m1", 0, "text", "done", text_part("p1", "hi"))),
        (part, ("p2", "m2", 0, "text", "done", text_part("p2", "ho"))),
        (turn, ("t1", 1, "m2", "build", "user", "ended", "completed", 1)),
        (blocks, ("t1", 0, 0, "user", '[{"type":"text","text":"hi"}]')),
        (blocks, ("t1", 1, 0, "assistant", '[{"type":"text","text":"ho"}]')),
        ("events (seq, ts, type, body)", (9, 2, "message.removed", '{"message_id":"m0"}')),
    ]
    for into, values in rows:
        db.conn.execute(f"INSERT INTO {into} VALUES ({','.join('?' * len(values))})", values)
    db.conn.close()
    return session.id


def text_part(part_id: str, text: str) -> str:
    return dump_json({"id": part_id, "idx": 0, "type": "text", "text": text, "state": "done", "superseded": False})


async def test_a_session_of_the_first_version_is_backed_up_migrated_and_goes_on(
    model_server: ModelServer, tmp_path: Path
) -> None:
    session_id = first_version(tmp_path)
    async with hosting(model_server, tmp_path) as host:
        assert [found.title for found in (await host.list_sessions())[0]] == ["From before"]
        async with viewing(host, session_id) as view:
            assert texts(view) == ["hi", "ho"]
            await answered(model_server, view, "two")
        snapshots = await host.snapshots(session_id)
        assert [snapshot.reason for snapshot in snapshots] == ["migration"]
        with sqlite3.connect(snapshots[0].path) as old:
            assert old.execute("PRAGMA user_version").fetchone() == (1,)
        old.close()
        await host.restore(session_id, snapshots[0].at)
        async with viewing(host, session_id) as view:
            assert texts(view)[:2] == ["hi", "ho"]
            await answered(model_server, view, "three")
    assert model_server.refusals == []


async def test_a_session_of_a_newer_version_is_shown_and_not_touched(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(title="From the future")
        folder = folder_of(tmp_path, session.id)
        with sqlite3.connect(folder / "session.db") as db:
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
        db.close()
        before = (folder / "session.db").read_bytes()
        async with viewing(host, session.id) as view:
            error = (await view.event("error"))["d"]
            assert error["code"] == "store_too_new"
            assert "newer jupyter-agent-panel" in error["message"]
            assert view.view["session"]["title"] == "From the future"
            ack = await view.ask("message.send", id="m1", parts=[{"type": "text", "text": "hello"}])
            assert ack["error"]["code"] == "store_too_new"
        assert (folder / "session.db").read_bytes() == before
