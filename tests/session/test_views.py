"""What may wait for a view, and what makes it start over."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.protocol.events import Hb
from jupyter_agent.protocol.frames import transient
from jupyter_agent.protocol.ids import now_ms
from jupyter_agent.session.connection import Connection
from jupyter_agent.session.host import SessionHost
from tests.model_server import ModelServer, Reply, Text, ToolUse
from tests.session.test_host import hosting, until, viewing
from tests.stranger import Stranger


@asynccontextmanager
async def lagging(host: SessionHost, session_id: str, waits: list[int]) -> AsyncGenerator[tuple[Stranger, Connection]]:
    """A view of which the road says that so many frames and bytes wait for it."""
    view = Stranger(lambda command: connection.receive(command))
    connection = host.connect(
        session_id,
        lambda frame: view.hear(frame.data),
        user="me",
        road="panel",
        backlog=lambda: (waits[0], waits[1]),
    )
    await view.open()
    yield view, connection
    connection.close()


async def test_a_view_that_leaves_too_many_frames_unread_starts_over_however_small_they_are(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(Text("One."))])
    waits = [0, 0]
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as other, lagging(host, session.id, waits) as (view, _):
            waits[:] = [501, 501]
            await other.say("hello")
            await other.event("turn.ended")
            assert [event["d"]["reason"] for event in view.of("resync")] == ["slow"]
            assert view.of("message.added") == []
            waits[:] = [500, 500]
            view.same_story_as(await view.subscribe())


async def test_more_than_may_be_held_for_a_view_that_syncs_is_asked_for_again(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(Text("One ", "two ", "three."))])
    async with hosting(model_server, tmp_path, pending_frames=3) as host:
        session = await host.create()
        async with viewing(host, session.id) as other, lagging(host, session.id, [0, 0]) as (view, connection):
            token = connection.begin_sync()
            await other.say("hello")
            ended = await other.event("turn.ended")
            # The database was slow: only now comes what it was asked for.
            connection.end_sync(token, [], 0)
            assert [event["d"]["reason"] for event in view.of("resync")] == ["gap"]
            assert view.seq == 0
            await view.subscribe(since={"ep": view.ep, "seq": view.seq})
            assert view.seq == ended["seq"]
            view.same_story_as(await other.subscribe())


async def test_a_little_that_is_held_for_a_view_that_syncs_comes_behind_what_it_missed(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(Text("One ", "two ", "three."))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as other, lagging(host, session.id, [0, 0]) as (view, connection):
            token = connection.begin_sync()
            await other.say("hello")
            ended = await other.event("turn.ended")
            assert view.seq == 0
            connection.end_sync(token, [], 0)
            assert view.seq == ended["seq"]
            assert view.of("resync") == []


async def test_a_session_that_is_migrated_under_its_views_is_told_to_them_anew(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(Text("One.")), Reply(Text("Two."))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("hello")
            await view.event("turn.ended")
            folder = tmp_path / "data" / "sessions" / session.id
            await until(lambda: not (folder / "session.db-wal").exists())
            # It is as an older version would leave it.
            with sqlite3.connect(folder / "session.db") as db:
                db.execute("PRAGMA user_version=1")
            db.close()
            before = {"ep": view.ep, "seq": view.seq}
            await view.ask("session.set", title="Wake up")
            assert [event["d"]["reason"] for event in view.of("resync")] == ["migrated"]
            assert (await view.subscribe(since=before))["type"] == "snapshot"
            after = {"ep": view.ep, "seq": view.seq}
            await view.event("turn.ended", turn=(await view.say("again"))["turn"])
            assert (await view.subscribe(since=after))["type"] != "snapshot"
            view.same_story_as(await view.subscribe())


@pytest.mark.parametrize("limit", [{"replay_events": 3}, {"replay_bytes": 600}])
async def test_a_cursor_that_is_far_behind_gets_a_snapshot(
    model_server: ModelServer, tmp_path: Path, limit: dict[str, Any]
) -> None:
    model_server.script([Reply(Text("A word " * 30))])
    async with hosting(model_server, tmp_path, **limit) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            start = {"ep": view.ep, "seq": view.seq}
            await view.say("hello")
            end = (await view.event("turn.ended"))["seq"]
            assert (await view.subscribe(since=start))["type"] == "snapshot"
            assert (await view.subscribe(since={"ep": view.ep, "seq": end - 1}))["seq"] == end


@pytest.mark.parametrize("seq", [-1, -(1 << 70), "next", 1 << 70, 0], ids=str)
async def test_a_cursor_that_the_log_cannot_serve_gets_a_snapshot(
    model_server: ModelServer, tmp_path: Path, seq: Any
) -> None:
    model_server.script([Reply(Text("One."))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("hello")
            end = (await view.event("turn.ended"))["seq"]
            actor = await host.get(session.id)
            await actor.journal.read(lambda store: store.tidy(1 << 62))  # Only the newest event is left.
            told = await view.subscribe(since={"ep": view.ep, "seq": end + 1 if seq == "next" else seq})
            assert told["type"] == "snapshot"
            assert (await view.subscribe(since={"ep": view.ep, "seq": end}))["type"] == "caught_up"
            assert (await view.subscribe(since={"ep": view.ep, "seq": end - 1}))["seq"] == end


@pytest.mark.parametrize("seq", [0.5, None, [], {}, "one"], ids=str)
async def test_a_cursor_that_is_no_number_is_malformed_and_changes_nothing(
    model_server: ModelServer, tmp_path: Path, seq: Any
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            view.send("subscribe", since={"ep": view.ep, "seq": seq})
            await view.event("error", code="malformed")
            view.same_story_as(await view.subscribe())


async def test_each_road_hears_how_far_the_session_is_in_its_own_rhythm(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."}))])
    async with hosting(model_server, tmp_path, comm_heartbeat_s=0.05, heartbeat_s=60.0) as host:
        session = await host.create(mode="plan")
        inline = Stranger(lambda command: connection.receive(command))
        connection = host.connect(session.id, lambda frame: inline.hear(frame.data), user="me", road="comm")
        async with viewing(host, session.id) as panel:
            await inline.open()
            await panel.say("plan")
            await panel.event("turn.status", status="awaiting")
            for _ in range(5):
                assert (await inline.event("hb", after=len(inline.events)))["d"]["seq"] == inline.seq
            assert len(panel.of("hb")) <= 1
        connection.close()


def spoil(database: Path, statement: str) -> None:
    with sqlite3.connect(database) as db:
        db.execute(statement)
    db.close()


async def test_a_view_that_could_not_be_brought_up_to_date_is_asked_to_start_over(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path, heartbeat_s=0.05, idle_s=60.0) as host:
        session = await host.create()
        database = tmp_path / "data" / "sessions" / session.id / "session.db"
        async with viewing(host, session.id) as view:
            await view.ask("session.set", title="Something happened")
            spoil(database, "ALTER TABLE messages RENAME TO elsewhere")
            heard = len(view.events)
            view.send("subscribe", page=25)
            await view.event("error", code="store_error", after=heard)
            spoil(database, "ALTER TABLE elsewhere RENAME TO messages")
            await view.event("resync", reason="gap", after=heard, within=10.0)
            view.same_story_as(await view.subscribe())


async def test_who_only_looks_and_could_not_be_shown_it_is_asked_to_start_over(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with (
        hosting(model_server, tmp_path, idle_s=60.0) as owner,
        hosting(model_server, tmp_path) as host,
    ):
        session = await owner.create()
        database = tmp_path / "data" / "sessions" / session.id / "session.db"
        async with viewing(owner, session.id), lagging(host, session.id, [0, 0]) as (view, connection):
            spoil(database, "ALTER TABLE messages RENAME TO elsewhere")
            heard = len(view.events)
            view.send("subscribe", page=25)
            await view.event("error", after=heard)
            connection.beat(transient(session.id, connection.ep, now_ms(), Hb(seq=view.seq or 0)))
            await view.event("resync", reason="gap", after=heard, within=10.0)


async def test_a_character_that_the_model_cut_in_two_arrives_whole(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(Text("a \ud83d", "\udc0d b \ud83d", "c"))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("hello")
            await view.event("turn.ended", outcome="completed")
            assert view.text == "a 🐍 b \ufffdc"
            for delta in view.of("part.delta"):
                delta["d"]["delta"].encode()  # no half of a character
            view.same_story_as(await view.subscribe())


async def test_commands_to_a_session_that_is_awake_pass_no_barrier(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(Text("One."))])
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            statements: list[str] = []
            store = (await host.get(session.id)).journal._store  # pyright: ignore[reportPrivateUsage] -- what reaches the disk
            store.db.conn.set_trace_callback(statements.append)
            # Whoever wakes, restores or deletes a session holds this; nobody else waits for it.
            async with host.room(session.id).lock:
                await view.say("hello")
                await view.event("turn.ended", outcome="completed")
                await view.ask("session.set", title="Named")
                view.same_story_as(await view.subscribe())
            made = [text for text in statements if text.startswith(("CREATE", "ALTER", "PRAGMA user_version"))]
            assert made == []


async def test_a_page_ends_where_its_bytes_do_and_the_next_goes_on_from_there(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(Text(f"{n} " * 3_000)) for n in range(6)])
    async with hosting(model_server, tmp_path, page_bytes=16 * 1024) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            for n in range(6):
                await view.say(f"{n}")
                await view.event(lambda e, n=n: e["type"] == "turn.ended" and len(view.ended) == n + 1)
            shown = [message["id"] for message in view.view["messages"]]
            first = (await view.subscribe(page=25))["d"]
            pages = [first["messages"]]
            before = first["page"]["before"]
            while before is not None:
                older = (await view.ask("history", before=before, limit=25))["result"]
                pages.append(older["messages"])
                before = older["before"]
    assert [message["id"] for page in reversed(pages) for message in page] == shown
    assert [len(page) for page in pages] == [4, 8], (
        "the first is small, so that it is there at once; the next is larger"
    )
