"""A disk that takes no writes: what is there is shown, what cannot be stored is refused whole, with no half left."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jupyter_agent.errors import SessionNotFound, StoreUnwritable
from jupyter_agent.session.host import SessionHost
from jupyter_agent.store.blobs import Blobs
from jupyter_agent.store.kept_index import RETRY_S, KeptIndex
from tests.model_server import ModelServer
from tests.session.test_host import hosting, until, viewing
from tests.stranger import Stranger

if sys.platform == "win32":
    pytest.skip("there is no limit to files there", allow_module_level=True)

import resource

pytestmark = pytest.mark.timeout(60)


@contextmanager
def full_disk() -> Generator[None]:
    """Let this process write to no file, as on a disk without room; names can still be made and moved."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert "Traceback" not in caplog.text


async def talked(host: SessionHost, model_server: ModelServer, tmp_path: Path) -> str:
    """A session in which something was said, asleep."""
    model_server.script(["Kept."])
    session = await host.create(title="Before")
    async with viewing(host, session.id) as view:
        await view.say("remember this")
        await view.event("turn.ended")
    await until(lambda: not (tmp_path / "data" / "sessions" / session.id / "session.db-wal").exists())
    return session.id


async def listed(host: SessionHost, q: str = "") -> list[str]:
    return [session.title for session in (await host.list_sessions("all", q))[0]]


def shown(view: Stranger) -> list[str]:
    return [part["text"] for message in view.view["messages"] for part in message["parts"]]


async def test_what_is_there_is_shown_and_found(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session_id = await talked(host, model_server, tmp_path)
        with full_disk():
            for _ in range(2):  # The first look leaves an empty log behind, and no room to read it.
                assert (await host.session(session_id)).title == "Before"
                assert len((await host.messages(session_id))[0]) == 2
                assert await listed(host, "remember") == ["Before"]
            async with viewing(host, session_id) as view:
                assert shown(view) == ["remember this", "Kept."]
                assert view.of("error")[0]["d"]["code"] == "store_unwritable"
            with pytest.raises(StoreUnwritable):
                await host.update(session_id, {"title": "After"})
        assert (await host.update(session_id, {"title": "After"})).title == "After"
        assert await listed(host) == ["After"]


async def test_what_a_crash_left_in_the_log_is_shown_too(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session_id = await talked(host, model_server, tmp_path)
    folder = tmp_path / "data" / "sessions" / session_id
    other = sqlite3.connect(folder / "session.db", isolation_level=None)
    other.execute("UPDATE meta SET value = replace(value, 'Before', 'In the log') WHERE key = 'session'")
    log = (folder / "session.db-wal").read_bytes()
    database = (folder / "session.db").read_bytes()
    other.close()
    (folder / "session.db").write_bytes(database)
    (folder / "session.db-wal").write_bytes(log)
    async with hosting(model_server, tmp_path) as host:
        with full_disk():
            assert (await host.session(session_id)).title == "In the log"
        assert (await host.session(session_id)).title == "In the log"


async def test_a_session_that_cannot_be_made_leaves_nothing(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session_id = await talked(host, model_server, tmp_path)
        document = await host.export(session_id)
        actor = await host.get(session_id)
        with full_disk():
            with pytest.raises(StoreUnwritable):
                await host.create(title="No room")
            with pytest.raises(StoreUnwritable):
                await host.take_in(document)
            with pytest.raises(StoreUnwritable):
                await host.library.fork(actor, "ses_0123456789abcdef", None)
        assert [path.name for path in (tmp_path / "data" / "sessions").iterdir()] == [session_id]
        assert await listed(host) == ["Before"]


@pytest.mark.parametrize("archived_at", [None, 1])
async def test_deleting_makes_room_and_can_be_undone(
    model_server: ModelServer, tmp_path: Path, archived_at: int | None
) -> None:
    async with hosting(model_server, tmp_path, purge_after_days=30.0) as host:
        session_id = await talked(host, model_server, tmp_path)
        await host.update(session_id, {"archived_at": archived_at})
        async with viewing(host, session_id) as view:
            with full_disk():
                await host.delete(session_id)
                await view.event("session.deleted")
                assert await listed(host) == []
                with pytest.raises(SessionNotFound):
                    await host.session(session_id)
                assert (await host.undelete(session_id)).title == "Before"
                assert await listed(host) == ["Before"]


async def test_a_file_that_does_not_fit_leaves_no_half(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        blobs = Blobs(host.blobs(session.id))
        with full_disk(), pytest.raises(StoreUnwritable):
            await asyncio.to_thread(blobs.save, b"x" * 100_000)
        assert list(host.blobs(session.id).iterdir()) == []


async def test_a_list_in_memory_stands_in_until_the_disk_takes_writes_again(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session_id = await talked(host, model_server, tmp_path)
    at = 0.0
    index = KeptIndex(tmp_path / "data" / "sessions", clock=lambda: at)
    assert index.ask(lambda index: index.chores()) is not None
    with full_disk():
        index.ask(lambda index: index.put_chore("trash", 7))
        at += RETRY_S
        assert index.ask(lambda index: index.chores()) == {"trash": 7}, "the disk is still full"
        index.ask(lambda index: index.remove(session_id))
    index.ask(lambda index: index.put_chore("tidy", 8))
    assert "tidy" not in on_disk(tmp_path)
    at += RETRY_S
    rows = index.ask(lambda index: index.list(state="all"))
    assert rows is not None
    assert [row["id"] for row in rows[0]] == [session_id], "the list on the disk has it still"
    index.ask(lambda index: index.put_chore("tidy", 9))
    assert on_disk(tmp_path)["tidy"] == 9
    index.close()


def on_disk(tmp_path: Path) -> dict[str, int]:
    db = sqlite3.connect(tmp_path / "data" / "index.db")
    try:
        return dict(db.execute("SELECT name, ran_at FROM chores").fetchall())
    finally:
        db.close()
