"""The other storage profile, for network file systems: one process at a time, no shared memory, the same promises."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from jupyter_agent.errors import StoreError, StoreLocked
from jupyter_agent.protocol.ids import now_ms
from jupyter_agent.session import safekeeping
from jupyter_agent.session.host import SessionHost
from jupyter_agent.store.profile import file_system_of, is_remote, profile_of
from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.session.test_host import hosting, until, viewing
from tests.session.test_snapshots import answered, folder_of, texts

pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def networked(model_server: ModelServer, tmp_path: Path, **settings: Any) -> AsyncGenerator[SessionHost, None]:
    async with hosting(model_server, tmp_path, storage="network", **settings) as host:
        yield host


async def test_a_conversation_sleeps_wakes_and_survives_the_server(model_server: ModelServer, tmp_path: Path) -> None:
    async with networked(model_server, tmp_path) as host:
        session = await host.create(title="Far away")
        folder = folder_of(tmp_path, session.id)
        async with viewing(host, session.id) as view:
            for text in ("one", "two"):
                await answered(model_server, view, text)
                await until(lambda: not (folder / "session.db-wal").exists())
            view.same_story_as(await view.subscribe())
    async with networked(model_server, tmp_path) as host, viewing(host, session.id) as view:
        assert texts(view) == ["say one", "one", "say two", "two"]
        assert [found.title for found in (await host.list_sessions())[0]] == ["Far away"]
    assert model_server.refusals == []


@pytest.fixture
def no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk without locks: there SQLite takes no write-ahead log."""
    connect = sqlite3.connect

    def without_locks(database: str, **options: Any) -> sqlite3.Connection:
        return connect(f"{database}&nolock=1" if database.startswith("file:") else database, **options)

    monkeypatch.setattr(sqlite3, "connect", without_locks)


@pytest.mark.usefixtures("no_log")
async def test_a_disk_that_takes_no_log_is_told_to_every_view(model_server: ModelServer, tmp_path: Path) -> None:
    async with networked(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            error = (await view.event("error"))["d"]
            assert error["code"] == "plain_journal"
            assert "safely, but slowly" in error["message"]
            assert "data_dir" in error["hint"]
            await answered(model_server, view, "one")
        async with viewing(host, session.id) as view:
            await view.event("error", code="plain_journal")
            assert texts(view) == ["say one", "one"]
    assert model_server.refusals == []


async def test_nothing_is_shared_with_other_processes(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(Text("First,", gate, " last."))])
    async with networked(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("talk")
            await view.reads("First,")
            assert list((tmp_path / "data").rglob("*-shm")) == []
            other = sqlite3.connect(folder_of(tmp_path, session.id) / "session.db", timeout=0)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("SELECT * FROM meta")
            other.close()
            gate.open()
            await view.event("turn.ended", outcome="completed")


async def test_a_question_waits_through_a_restart(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."})), "Done."])
    async with networked(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await view.say("plan")
            asked = (await view.event("approval.requested"))["d"]["approval"]
            await view.event("turn.status", status="awaiting")
    async with networked(model_server, tmp_path) as host, viewing(host, session.id) as view:
        await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow", scope="once")
        await view.event("turn.ended", outcome="completed")


@pytest.mark.parametrize("idle_s", [0.05, 60.0], ids=["asleep", "awake"])
async def test_snapshots_are_taken_and_gone_back_to(model_server: ModelServer, tmp_path: Path, idle_s: float) -> None:
    async with networked(model_server, tmp_path, idle_s=idle_s) as host:
        session = await host.create()
        folder = folder_of(tmp_path, session.id)
        async with viewing(host, session.id) as view:
            await answered(model_server, view, "one")
            if idle_s < 1:
                await until(lambda: not (folder / "session.db-wal").exists())
            await safekeeping.take(host, session.id, folder, now_ms())
            await answered(model_server, view, "two")
            await host.restore(session.id, now_ms())
            await view.event("resync", reason="epoch")
            await view.subscribe()
            assert texts(view)[:2] == ["say one", "one"]


async def test_a_second_server_is_told_who_has_the_session_and_takes_it_over(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with networked(model_server, tmp_path, idle_s=60.0) as first, networked(model_server, tmp_path) as second:
        session = await first.create(title="Far away")
        async with viewing(first, session.id) as view:
            await answered(model_server, view, "one")
            with pytest.raises(StoreError) as refused:
                await second.session(session.id)
            assert refused.value.code == "open_elsewhere"
            assert "network disk" in (refused.value.hint or "")
            assert [one.id for one in (await second.list_sessions())[0]] == [session.id]
            await second.take_over(session.id)
            await view.event("error", code="open_elsewhere")
            async with viewing(second, session.id) as here:
                assert texts(here) == ["say one", "one"]
            assert [one.title for one in (await second.list_sessions())[0]] == ["Far away"]


async def test_what_comes_to_a_network_disk_from_outside_can_be_searched_at_once(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with networked(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await answered(model_server, view, "pineapple")
        made = await host.take_in(await host.export(session.id), "A copy")
        await host.delete(session.id)
        await host.undelete(session.id)
        found, _ = await host.list_sessions(q="pineapple")
        assert {one.id for one in found} == {session.id, made.id}


async def test_where_there_are_no_locks_a_session_can_be_deleted_unless_another_server_has_it(
    model_server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(_lock: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "_acquire", no_locks)
    async with (
        hosting(model_server, tmp_path, storage="network", idle_s=60.0) as host,
        hosting(model_server, tmp_path, storage="network", idle_s=60.0) as other,
    ):
        session = await host.create(title="Here")
        await host.session(session.id)
        with pytest.raises(StoreLocked):
            await other.delete(session.id)
        await host.delete(session.id)
        assert not other.exists(session.id)
        assert (await host.undelete(session.id)).title == "Here"


def test_the_kind_of_disk_is_read_from_the_mounts() -> None:
    mounts = "\n".join(
        [
            "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
            "30 22 0:40 / /home rw,relatime shared:2 - nfs4 server:/home rw",
            r"31 30 0:41 / /home/with\040space rw - fuse.sshfs far: rw",
            "32 22 8:2 / /home/local rw - xfs /dev/sdb rw",
        ]
    )
    for path, kind in {
        "/": "ext4",
        "/homes": "ext4",
        "/home/me/data": "nfs4",
        "/home/with space/x": "fuse.sshfs",
        "/home/local": "xfs",
    }.items():
        assert file_system_of(Path(path), mounts) == kind
    assert profile_of(Path("/x"), "network") == "network"
    assert profile_of(Path("/x"), "local") == "local"
    assert profile_of(Path("/"), "auto") in ("local", "network")


def test_where_only_mount_tells_a_disk_that_is_not_local_is_a_networks() -> None:
    mounts = "\n".join(
        [
            "/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)",
            "/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse)",
            "//me@files/share on /Volumes/My (shared) files (smbfs, nodev, nosuid, mounted by me)",
            "files:/home on /Volumes/home (nfs, nodev, nosuid)",
            "me@far: on /Users/me/far (macfuse, nodev, nosuid, synchronous, mounted by me)",
            "what is this",
        ]
    )
    for path, remote in {
        "/Users/me/Library/Jupyter": False,
        "/System/Volumes/Data/Users/me": False,
        "/Volumes/My (shared) files/jupyter_agent": True,
        "/Volumes/homes": False,
        "/Volumes/home/me": True,
        "/Users/me/far/away": True,
    }.items():
        assert is_remote(Path(path), mounts) is remote, path
    assert not is_remote(Path("/x"), "")
