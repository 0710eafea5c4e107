"""What a server does every day: nothing that lives is touched, nothing that is kept is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.errors import SessionNotFound
from jupyter_agent.session.host import SessionHost
from jupyter_agent.session.housekeeping import DAY_MS
from jupyter_agent.store import snapshots, trimming
from tests.clock import HandClock
from tests.model_server import ModelServer, Reply, ToolUse
from tests.session.test_host import hosting, until, viewing

pytestmark = pytest.mark.timeout(60)


async def listed(host: SessionHost, state: Any = "active") -> list[str]:
    return [session.title for session in (await host.list_sessions(state))[0]]


async def pass_days(host: SessionHost, clock: HandClock, days: float, *chores: str) -> None:
    """Let days pass, and wait until the chores have run then."""
    clock.move(int(days * DAY_MS))
    now = clock.now_ms()

    async with asyncio.timeout(20):
        while True:
            ran = await host.library.listing.ask(lambda index: index.chores())
            if all(ran.get(name) == now for name in chores):
                return


async def started(host: SessionHost, clock: HandClock) -> None:
    host.start()
    await until(lambda: len(clock.waiting) == 1 and host.alarms.due("chore:trash") is not None)


async def test_sessions_that_nobody_uses_are_archived_but_not_those_that_wait(
    model_server: ModelServer, tmp_path: Path
) -> None:
    clock = HandClock()
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."}))])
    async with hosting(model_server, tmp_path, clock=clock, archive_after_days=14.0) as host:
        await started(host, clock)
        await host.create(title="Old")
        waits = await host.create(title="Waits for an answer", mode="plan")
        async with viewing(host, waits.id) as view:
            await view.say("plan")
            await view.event("turn.status", status="awaiting")
        await pass_days(host, clock, 13, "archive")
        assert await listed(host, "archived") == []
        await pass_days(host, clock, 2, "archive")
        assert await listed(host, "archived") == ["Old"]
        assert await listed(host) == ["Waits for an answer"]


async def test_nothing_is_archived_or_purged_by_who_does_not_want_it(model_server: ModelServer, tmp_path: Path) -> None:
    clock = HandClock()
    async with hosting(model_server, tmp_path, clock=clock, archive_after_days=0.0) as host:
        await started(host, clock)
        await host.create(title="Old")
        put_away = await host.create(title="Put away")
        await host.update(put_away.id, {"archived_at": clock.now_ms()})
        await pass_days(host, clock, 1000, "archive", "purge")
        assert (await listed(host), await listed(host, "archived")) == (["Old"], ["Put away"])


async def test_what_is_archived_for_long_is_deleted_and_leaves_the_trash_in_time(
    model_server: ModelServer, tmp_path: Path
) -> None:
    clock = HandClock()
    async with hosting(model_server, tmp_path, clock=clock, archive_after_days=0.0, purge_after_days=30.0) as host:
        await started(host, clock)
        session = await host.create(title="Put away")
        await host.update(session.id, {"archived_at": clock.now_ms()})
        await pass_days(host, clock, 29, "purge")
        assert await listed(host, "archived") == ["Put away"]
        await pass_days(host, clock, 2, "purge", "trash")
        with pytest.raises(SessionNotFound):
            await host.session(session.id)
        await pass_days(host, clock, 2, "trash")
        assert list((tmp_path / "data" / "trash").iterdir()) == []


async def test_what_is_put_away_sleeps_again_at_once(model_server: ModelServer, tmp_path: Path) -> None:
    """Thousands may be old on one day, and each that is awake holds its files open."""
    clock = HandClock()
    async with hosting(model_server, tmp_path, clock=clock, archive_after_days=14.0, idle_s=60.0) as host:
        await started(host, clock)
        old = [await host.create(title=f"Old {n}") for n in range(10)]
        looked_at = old[0].id
        await host.session(looked_at)
        await pass_days(host, clock, 15, "archive")
        assert len(await listed(host, "archived")) == 10
        assert [one.id for one in old if host.awake(one.id) is not None] == [looked_at]


async def test_an_archived_session_that_is_used_again_is_not_purged(model_server: ModelServer, tmp_path: Path) -> None:
    clock = HandClock()
    model_server.script(["Here I am."])
    async with hosting(model_server, tmp_path, clock=clock, archive_after_days=0.0, purge_after_days=30.0) as host:
        await started(host, clock)
        session = await host.create(title="Put away")
        await host.update(session.id, {"archived_at": clock.now_ms() - 40 * DAY_MS})
        async with viewing(host, session.id) as view:
            await view.say("Are you there?")
            await view.event("turn.ended")
        await pass_days(host, clock, 1, "purge")
        assert await listed(host, "archived") == ["Put away"]
        await pass_days(host, clock, 30, "purge")
        assert await listed(host, "archived") == []


async def test_a_purged_session_that_is_brought_back_is_not_purged_again_the_next_day(
    model_server: ModelServer, tmp_path: Path
) -> None:
    clock = HandClock()
    async with hosting(model_server, tmp_path, clock=clock, archive_after_days=0.0, purge_after_days=30.0) as host:
        await started(host, clock)
        session = await host.create(title="Put away")
        await host.update(session.id, {"archived_at": clock.now_ms()})
        await pass_days(host, clock, 31, "purge")
        assert await listed(host, "archived") == []
        await host.undelete(session.id)
        await pass_days(host, clock, 1, "purge")
        assert await listed(host, "archived") == ["Put away"]
        await pass_days(host, clock, 31, "purge")
        assert await listed(host, "archived") == []


async def test_a_clock_that_was_years_ahead_deletes_nothing_and_does_not_end_the_chores(
    model_server: ModelServer, tmp_path: Path
) -> None:
    clock = HandClock()
    async with hosting(model_server, tmp_path, clock=clock, archive_after_days=14.0, purge_after_days=30.0) as host:
        await started(host, clock)
        await host.create(title="Old")
        gone = await host.create(title="Deleted")
        await pass_days(host, clock, 1000, "archive", "purge", "trash")
        await until_listed(host, "archived", {"Old", "Deleted"})
        await host.delete(gone.id)
        clock.move(-1000 * DAY_MS)
        await host.create(title="New")
        await until(lambda: (host.alarms.due("chore:archive") or 0) < clock.now_ms() + DAY_MS)
        for _ in range(16):
            clock.move(DAY_MS)
            await until(lambda: (host.alarms.due("chore:archive") or 0) > clock.now_ms())
        await until_listed(host, "archived", {"Old", "New"})
        assert (await host.undelete(gone.id)).title == "Deleted"


async def until_listed(host: SessionHost, state: Any, titles: set[str]) -> None:
    """Wait until the list holds these and no others."""
    async with asyncio.timeout(20):
        while set(await listed(host, state)) != titles:
            pass


async def test_a_session_that_changed_is_snapped_once_a_day_and_for_so_many_days(
    model_server: ModelServer, tmp_path: Path
) -> None:
    clock = HandClock()
    async with hosting(model_server, tmp_path, clock=clock, snapshot_days=30.0, archive_after_days=0.0) as host:
        await started(host, clock)
        session = await host.create()
        for _ in range(3):
            await pass_days(host, clock, 1, "snapshots")
        taken = await host.snapshots(session.id)
        assert [snapshot.reason for snapshot in taken] == ["daily"]
        folder = tmp_path / "data" / "sessions" / session.id
        source = sqlite3.connect(folder / "session.db")
        snapshots.take(folder, "restore", clock.now_ms() - 40 * DAY_MS, source)
        source.close()
        await pass_days(host, clock, 1, "snapshots")
        assert await host.snapshots(session.id) == taken
        await pass_days(host, clock, 100, "snapshots")
        assert await host.snapshots(session.id) == taken, "the newest one stays, however old"


async def test_a_snapshot_from_a_time_to_come_keeps_none_from_being_taken(
    model_server: ModelServer, tmp_path: Path
) -> None:
    """It was taken while the clock was years ahead, and would stand for what the session says until then."""
    clock = HandClock()
    async with hosting(model_server, tmp_path, clock=clock, archive_after_days=0.0) as host:
        await started(host, clock)
        session = await host.create(title="Before")
        await pass_days(host, clock, 1000, "snapshots")
        assert len(await host.snapshots(session.id)) == 1
        clock.move(-1000 * DAY_MS)
        await until(lambda: (host.alarms.due("chore:snapshots") or 0) < clock.now_ms() + DAY_MS)
        await host.update(session.id, {"title": "After"})
        for _ in range(3):
            await pass_days(host, clock, 1, "snapshots")
        assert len(await host.snapshots(session.id)) == 2
        await host.update(session.id, {"title": "Later"})
        assert (await host.restore(session.id, clock.now_ms())).title == "After"


async def test_a_cursor_older_than_what_is_kept_gets_a_snapshot(model_server: ModelServer, tmp_path: Path) -> None:
    clock = HandClock()
    model_server.script(["One.", "Two."])
    async with hosting(model_server, tmp_path, clock=clock, archive_after_days=0.0) as host:
        await started(host, clock)
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("first")
            await view.event("turn.ended")
            seq, ep = view.seq, view.ep
            assert seq is not None
            await pass_days(host, clock, 9, "tidy")
            assert (await view.subscribe(since={"ep": ep, "seq": seq}))["type"] == "caught_up"
            assert (await view.subscribe(since={"ep": ep, "seq": 1}))["type"] == "snapshot"
            after = len(view.events)
            await view.say("second")
            await view.event("turn.ended", after=after)
            assert view.text == "Two."
            view.same_story_as(await view.subscribe())
        database = tmp_path / "data" / "sessions" / session.id / "session.db"
        await until(lambda: not database.with_name("session.db-wal").exists())
        with sqlite3.connect(database) as db:
            assert db.execute("SELECT count(*) FROM messages").fetchone() == (4,)
            assert db.execute("SELECT min(seq) FROM events").fetchone() == (seq,)
        db.close()


def test_the_newest_event_is_never_dropped_and_order_is_by_number() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, ts INTEGER)")
    db.execute("CREATE TABLE commands (cmd_id TEXT, created_at INTEGER)")
    # The clock stood wrong for a while: numbers 3 and 4 look older than 2.
    db.executemany("INSERT INTO events VALUES (?,?)", [(1, 10), (2, 100), (3, 5), (4, 6), (7, 110), (9, 120)])
    trimming.trim(db, 50, keep=100)
    assert [row[0] for row in db.execute("SELECT seq FROM events")] == [2, 3, 4, 7, 9]
    trimming.trim(db, 50, keep=2)
    assert [row[0] for row in db.execute("SELECT seq FROM events")] == [7, 9]
    trimming.trim(db, 1000, keep=2)
    assert [row[0] for row in db.execute("SELECT seq FROM events")] == [9]
    db.close()


async def test_a_server_that_was_down_for_days_does_its_chores_when_it_starts(
    model_server: ModelServer, tmp_path: Path
) -> None:
    clock = HandClock()
    async with hosting(model_server, tmp_path, clock=clock) as host:
        await started(host, clock)
        session = await host.create()
        await pass_days(host, clock, 1, "archive", "snapshots")
    clock.move(20 * DAY_MS)
    async with hosting(model_server, tmp_path, clock=clock) as host:
        host.start()
        await pass_days(host, clock, 0, "archive", "snapshots")
        assert (await host.session(session.id)).archived_at is not None


async def test_one_damaged_session_keeps_no_chore_from_the_others(model_server: ModelServer, tmp_path: Path) -> None:
    clock = HandClock()
    async with hosting(model_server, tmp_path, clock=clock) as host:
        await started(host, clock)
        sessions = [await host.create(title=f"Session {n}") for n in range(3)]
        (tmp_path / "data" / "sessions" / sessions[1].id / "session.db").write_bytes(b"no database " * 1000)
        await pass_days(host, clock, 15, "snapshots", "tidy", "archive", "purge", "trash")
        assert sorted(await listed(host, "archived")) == ["Session 0", "Session 2"]
        assert [len(await host.snapshots(session.id)) for session in sessions] == [1, 0, 1]
