"""Alarms: what is due is done at least once, whoever sleeps and whatever was lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.errors import AgentError, SessionFailed
from jupyter_agent.session import jobs
from jupyter_agent.session.actor import SessionActor
from jupyter_agent.session.host import SessionHost
from jupyter_agent.store.alarmed import alarmed
from jupyter_agent.store.writes import Job
from tests.clock import HandClock
from tests.model_server import ModelServer
from tests.session.test_host import hosting, until, viewing

pytestmark = pytest.mark.timeout(60)
HOUR = 3_600_000


class Bell:
    """A kind of job that counts how often it was done, and fails when told to."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.fails = 0

    def __call__(self, actor: SessionActor, job: Job) -> None:
        self.rung.append(job.id)
        if self.fails:
            self.fails -= 1
            raise AgentError("The bell is cracked.")
        actor.patch({"title": f"rung {job.id} at {actor.state.session.rev}"})


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell()
    jobs.handles("test.bell")(bell)
    yield bell
    jobs.forget("test.bell")


@asynccontextmanager
async def timed(model_server: ModelServer, folder: Path, clock: HandClock) -> AsyncGenerator[SessionHost, None]:
    async with hosting(model_server, folder, clock=clock) as host:
        yield host


async def set_bell(host: SessionHost, session_id: str, name: str, due_at: int) -> None:
    actor = await host.get(session_id)
    jobs.put(actor, Job(id=name, kind="test.bell", due_at=due_at))
    await actor.journal.committed()


def asleep(tmp_path: Path, session_id: str) -> Callable[[], bool]:
    return lambda: not (tmp_path / "data" / "sessions" / session_id / "session.db-wal").exists()


def rows(tmp_path: Path, session_id: str) -> list[Any]:
    with sqlite3.connect(tmp_path / "data" / "sessions" / session_id / "session.db") as db:
        found = db.execute("SELECT id, attempts, last_error FROM jobs").fetchall()
    db.close()
    return found


async def test_an_alarm_wakes_a_session_that_sleeps(model_server: ModelServer, tmp_path: Path, bell: Bell) -> None:
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        await set_bell(host, session.id, "tea", clock.now_ms() + HOUR)
        await until(asleep(tmp_path, session.id))
        clock.move(HOUR - 1)
        assert bell.rung == []
        clock.move(1)
        await until(lambda: bell.rung == ["tea"])
        await until(asleep(tmp_path, session.id))
        assert rows(tmp_path, session.id) == []
        clock.move(10 * HOUR)
        assert (await host.session(session.id)).title.startswith("rung tea")
        assert bell.rung == ["tea"]


async def test_views_hear_what_an_alarm_did(model_server: ModelServer, tmp_path: Path, bell: Bell) -> None:
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await set_bell(host, session.id, "tea", clock.now_ms() + HOUR)
            await until(asleep(tmp_path, session.id))
            clock.move(HOUR)
            await view.event("session.updated")
            assert bell.rung == ["tea"]
            view.same_story_as(await view.subscribe())


async def test_what_became_due_while_the_server_was_down_is_done_when_it_starts(
    model_server: ModelServer, tmp_path: Path, bell: Bell
) -> None:
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        await set_bell(host, session.id, "tea", clock.now_ms() + HOUR)
    clock.move(2 * HOUR)
    assert bell.rung == []
    async with timed(model_server, tmp_path, clock) as host:
        host.start()
        await until(lambda: bell.rung == ["tea"])


async def test_alarms_survive_the_loss_of_the_index(model_server: ModelServer, tmp_path: Path, bell: Bell) -> None:
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        await set_bell(host, session.id, "tea", clock.now_ms() + HOUR)
    for file in (tmp_path / "data").glob("index.db*"):
        file.unlink()
    async with timed(model_server, tmp_path, clock) as host:
        host.start()
        await until(lambda: host.alarms.due(session.id) == clock.now_ms() + HOUR)
        clock.move(HOUR)
        await until(lambda: bell.rung == ["tea"])


async def test_an_alarm_that_was_set_anew_rings_only_then(
    model_server: ModelServer, tmp_path: Path, bell: Bell
) -> None:
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        await set_bell(host, session.id, "tea", clock.now_ms() + HOUR)
        await set_bell(host, session.id, "tea", clock.now_ms() + 3 * HOUR)
        clock.move(2 * HOUR)
        assert clock.waiting == [HOUR]
        clock.move(HOUR)
        await until(lambda: bell.rung == ["tea"])


async def test_one_timer_serves_all_sessions(model_server: ModelServer, tmp_path: Path, bell: Bell) -> None:
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        for hours in (3, 1, 2):
            session = await host.create()
            await set_bell(host, session.id, f"in {hours}", clock.now_ms() + hours * HOUR)
            await set_bell(host, session.id, f"in {hours} and a half", clock.now_ms() + hours * HOUR + HOUR // 2)
        assert clock.waiting == [HOUR]
        for count in range(1, 7):
            await until(lambda: len(clock.waiting) == 1)
            clock.move(HOUR if count == 1 else HOUR // 2)
            await until(lambda count=count: len(bell.rung) == count)
        assert bell.rung == ["in 1", "in 1 and a half", "in 2", "in 2 and a half", "in 3", "in 3 and a half"]


async def test_a_job_that_fails_is_tried_again_and_again_each_time_later(
    model_server: ModelServer, tmp_path: Path, bell: Bell
) -> None:
    clock = HandClock()
    bell.fails = 2
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        await set_bell(host, session.id, "tea", clock.now_ms() + HOUR)
        clock.move(HOUR)
        for tries, wait in ((1, 2_000), (2, 4_000)):
            await until(lambda wait=wait: clock.waiting == [wait])
            assert rows(tmp_path, session.id) == [("tea", tries, "The bell is cracked.")]
            clock.move(wait)
        await until(lambda: bell.rung == ["tea"] * 3)
        await until(lambda: rows(tmp_path, session.id) == [])
        assert clock.waiting == []


async def test_a_job_that_never_succeeds_rests_after_six_tries_and_says_why(
    model_server: ModelServer, tmp_path: Path, bell: Bell
) -> None:
    clock = HandClock()
    bell.fails = 100
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        await set_bell(host, session.id, "tea", clock.now_ms())
        for wait in (2_000, 4_000, 8_000, 16_000, 32_000):
            await until(lambda wait=wait: clock.waiting == [wait])
            clock.move(wait)
        await until(lambda: rows(tmp_path, session.id) == [("tea", 6, "The bell is cracked.")])
        assert clock.waiting == []
    async with timed(model_server, tmp_path, clock) as host:
        host.start()
        await host.list_sessions()
        clock.move(1000 * HOUR)
        await host.list_sessions()
    assert len(bell.rung) == 6


async def test_a_job_of_a_kind_that_nobody_knows_is_kept(model_server: ModelServer, tmp_path: Path) -> None:
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        actor = await host.get(session.id)
        jobs.put(actor, Job(id="later", kind="of.the.future", due_at=clock.now_ms()))
        await actor.journal.committed()
        await until(lambda: rows(tmp_path, session.id) == [("later", 1, "Nothing here does 'of.the.future'.")])


async def test_what_a_job_did_and_its_end_are_one_commit(model_server: ModelServer, tmp_path: Path, bell: Bell) -> None:
    """Else a crash between the two would let it happen twice."""
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        await set_bell(host, session.id, "tea", clock.now_ms() + HOUR)
        actor = await host.get(session.id)
        seen: list[str] = []
        actor.journal._store.db.conn.set_trace_callback(seen.append)  # pyright: ignore[reportPrivateUsage] -- what reaches the disk
        clock.move(HOUR)
        await until(lambda: any("DELETE FROM jobs" in statement for statement in seen))
        first = next(i for i, statement in enumerate(seen) if "rung tea" in statement)
        last = next(i for i, statement in enumerate(seen) if "DELETE FROM jobs" in statement)
        assert "COMMIT" not in seen[first:last]


class Slow:
    """A kind of job that takes until it is told to end, and shows that it began."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.end = asyncio.Event()

    async def __call__(self, actor: SessionActor, job: Job) -> None:
        self.begun.append(job.id)
        actor.patch({"title": f"{job.id} began {len(self.begun)}"})
        await self.end.wait()


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    jobs.handles("test.slow")(slow)
    yield slow
    jobs.forget("test.slow")


async def set_slow(host: SessionHost, session_id: str, due_at: int) -> None:
    actor = await host.get(session_id)
    jobs.put(actor, Job(id="long", kind="test.slow", due_at=due_at))
    await actor.journal.committed()


async def test_a_job_that_takes_its_time_is_not_begun_again_meanwhile(
    model_server: ModelServer, tmp_path: Path, slow: Slow
) -> None:
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await set_slow(host, session.id, clock.now_ms() + HOUR)
            clock.move(HOUR)
            # What it shows mirrors the session's alarms anew, and so does whatever else happens.
            await view.event("session.updated", patch={"title": "long began 1"})
            await view.ask("session.set", title="meanwhile")
            await host.list_sessions()
            slow.end.set()
            await until(lambda: rows(tmp_path, session.id) == [])
            assert slow.begun == ["long"]


async def test_a_job_that_hangs_has_failed_after_a_while_and_is_tried_again(
    model_server: ModelServer, tmp_path: Path, slow: Slow
) -> None:
    clock = HandClock()
    async with hosting(model_server, tmp_path, clock=clock, job_timeout_s=0.05) as host:
        session = await host.create()
        await set_slow(host, session.id, clock.now_ms())
        await until(lambda: clock.waiting == [2_000])
        assert rows(tmp_path, session.id) == [("long", 1, "It was not done within 0.05 s.")]
        slow.end.set()
        clock.move(2_000)
        await until(lambda: rows(tmp_path, session.id) == [])
        assert slow.begun == ["long", "long"]


async def test_a_server_that_ends_waits_for_no_job_and_the_next_one_does_it(
    model_server: ModelServer, tmp_path: Path, slow: Slow
) -> None:
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        await set_slow(host, session.id, clock.now_ms())
        await until(lambda: slow.begun == ["long"])
    assert rows(tmp_path, session.id) == [("long", 0, None)]
    slow.end.set()
    async with timed(model_server, tmp_path, clock) as host:
        host.start()
        await until(lambda: rows(tmp_path, session.id) == [])
        assert slow.begun == ["long", "long"]


async def test_a_session_that_another_server_left_rings_here(
    model_server: ModelServer, tmp_path: Path, bell: Bell
) -> None:
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        host.start()
        await host.list_sessions()
        async with timed(model_server, tmp_path, clock) as other:
            session = await other.create()
            await set_bell(other, session.id, "tea", clock.now_ms() + HOUR)
        assert (await host.session(session.id)).title == ""
        clock.move(HOUR)
        await until(lambda: bell.rung == ["tea"])


async def test_a_job_whose_session_is_put_away_under_its_waking_is_done_once_it_wakes_again(
    model_server: ModelServer, tmp_path: Path, slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        await set_slow(host, session.id, clock.now_ms() + HOUR)
        await host.put_to_sleep(session.id)
        clock.move(HOUR)
        while not host.room(session.id).lock.locked():  # noqa: ASYNC110 -- waking is by design invisible from outside
            await asyncio.sleep(0)
        # Whoever puts it away is next.
        async with host.alone(session.id, SessionFailed("It is put back.", code="closing")):
            pass
        await until(lambda: slow.begun == ["long"], within=10)
        assert host.awake(session.id) is not None
        slow.end.set()
        await until(lambda: rows(tmp_path, session.id) == [], within=10)
        assert slow.begun == ["long"]
    assert "could not be stored" not in caplog.text


async def test_a_session_that_is_brought_back_rings_as_it_would_have(
    model_server: ModelServer, tmp_path: Path, bell: Bell
) -> None:
    clock = HandClock()
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        await set_bell(host, session.id, "tea", clock.now_ms() + HOUR)
        await host.delete(session.id)
        await host.undelete(session.id)
        clock.move(HOUR)
        await until(lambda: bell.rung == ["tea"])


async def test_a_servers_start_sees_whether_anything_is_due_some_day(
    model_server: ModelServer, tmp_path: Path, bell: Bell
) -> None:
    assert bell.rung == []
    clock, data = HandClock(), tmp_path / "data"
    assert not alarmed(data)
    async with timed(model_server, tmp_path, clock) as host:
        session = await host.create()
        assert not alarmed(data)
        await set_bell(host, session.id, "tea", clock.now_ms() + HOUR)
        await until(lambda: alarmed(data))
    assert alarmed(data)
    (data / "index.db").write_bytes(b"no list")
    assert not alarmed(data)
