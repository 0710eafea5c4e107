"""Folders that may not be written, or not even be read: what can be shown is, the rest is refused in words."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jupyter_agent.errors import StoreUnwritable
from jupyter_agent.store.alarmed import alarmed
from tests.clock import HandClock
from tests.model_server import ModelServer
from tests.session.test_host import hosting, viewing
from tests.session.test_housekeeping import pass_days, started

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform == "win32", reason="permissions are other things there"),
    pytest.mark.skipif(sys.platform == "darwin" and os.geteuid() == 0, reason="root may do everything there"),
]
_VERSION_3 = 0x20080522
_PASS_BY_PERMISSIONS = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextmanager
def as_anybody() -> Generator[None]:
    """Let root be held by permissions as anybody is: this thread, and those it starts."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert libc.capget(header, sets) == 0
    before = sets[0]
    sets[0] = before & ~_PASS_BY_PERMISSIONS
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert libc.capset(header, sets) == 0


@contextmanager
def mode(path: Path, bits: int) -> Generator[None]:
    """Change the permissions of a folder, and of what is in it, for a while."""
    below = [path, *path.rglob("*")]
    before = {each: each.stat().st_mode for each in below}
    for each in reversed(below):
        each.chmod(bits if each.is_dir() else bits & 0o666)
    try:
        yield
    finally:
        for each in below:
            each.chmod(before[each])


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with as_anybody():
        yield
    assert "Traceback" not in caplog.text


async def two_sessions(model_server: ModelServer, tmp_path: Path) -> tuple[str, Path]:
    """Make two sessions; the first one's folder."""
    model_server.script(["Kept."])
    async with hosting(model_server, tmp_path) as host:
        first, _ = await host.create(title="One"), await host.create(title="Two")
        async with viewing(host, first.id) as view:
            await view.say("remember this")
            await view.event("turn.ended")
        await host.rules.add("me", "edit_cell", "a.ipynb")
    return first.id, tmp_path / "data" / "sessions" / first.id


async def test_what_may_only_be_read_is_shown(model_server: ModelServer, tmp_path: Path) -> None:
    session_id, _ = await two_sessions(model_server, tmp_path)
    with mode(tmp_path / "data", 0o555):
        async with hosting(model_server, tmp_path) as host:
            assert {one.title for one in (await host.list_sessions())[0]} == {"One", "Two"}
            assert [one.title for one in (await host.list_sessions("all", "remember"))[0]] == ["One"]
            assert len((await host.messages(session_id))[0]) == 2
            async with viewing(host, session_id) as view:
                assert view.text == "Kept."
                ack = await view.ask("message.send", id="msg_1", parts=[{"type": "text", "text": "and on"}])
                assert ack["error"]["code"] == "store_unwritable"
            for refused in (host.create(), host.delete(session_id), host.update(session_id, {"title": "New"})):
                with pytest.raises(StoreUnwritable):
                    await refused
    async with hosting(model_server, tmp_path) as host:
        assert (await host.update(session_id, {"title": "New"})).title == "New"


async def test_a_folder_that_is_locked_away_hides_no_other_and_keeps_no_chore(
    model_server: ModelServer, tmp_path: Path
) -> None:
    clock = HandClock()
    session_id, folder = await two_sessions(model_server, tmp_path)
    async with hosting(model_server, tmp_path, clock=clock) as host:
        await started(host, clock)
        with mode(folder, 0):
            assert {one.title for one in (await host.list_sessions())[0]} == {"One", "Two"}
            for refused in (host.session(session_id), host.messages(session_id), host.snapshots(session_id)):
                with pytest.raises(StoreUnwritable):
                    await refused
            await pass_days(host, clock, 2, "snapshots", "tidy", "blobs", "trash")
            other = next(one.id for one in (await host.list_sessions())[0] if one.title == "Two")
            assert len(await host.snapshots(other)) == 1
            with mode(tmp_path / "data" / "sessions" / other / "snapshots", 0), pytest.raises(StoreUnwritable):
                await host.snapshots(other)
        assert (await host.session(session_id)).title == "One"


async def test_one_session_of_which_nothing_can_be_read_hides_no_other(
    model_server: ModelServer, tmp_path: Path
) -> None:
    _, folder = await two_sessions(model_server, tmp_path)
    (folder / "session.db").write_bytes(b"")
    (folder / "snapshots").mkdir()
    for path in (tmp_path / "data").glob("index.db*"):
        path.unlink()
    with mode(folder / "snapshots", 0):
        async with hosting(model_server, tmp_path) as host:
            assert {one.title for one in (await host.list_sessions())[0]} == {"Two", "Damaged session"}


async def test_a_data_directory_that_is_locked_away_is_told(model_server: ModelServer, tmp_path: Path) -> None:
    session_id, _ = await two_sessions(model_server, tmp_path)
    async with hosting(model_server, tmp_path) as host:
        (tmp_path / "data").chmod(0)
        try:
            for refused in (
                *(host.list_sessions(), host.session(session_id), host.create(), host.delete(session_id)),
                *(host.undelete(session_id), host.library.purge_trash(), host.rules.list()),
            ):
                with pytest.raises(StoreUnwritable):
                    await refused
            assert await host.rules.match("me", "edit_cell", "a.ipynb", "write") is None
            assert not alarmed(tmp_path / "data")
        finally:
            (tmp_path / "data").chmod(0o755)
