"""Files that nothing names any more go, in time; one that a branch, a snapshot or a fork needs never does."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.session.host import SessionHost
from jupyter_agent.store import sweeping
from jupyter_agent.store.blobs import Blobs
from jupyter_agent.store.snapshots import take
from jupyter_agent.store.store import SessionStore
from tests.clock import HandClock
from tests.model_server import Gate, ModelServer, Reply, Text
from tests.session.test_host import hosting, viewing
from tests.session.test_housekeeping import pass_days, started

pytestmark = pytest.mark.timeout(60)

LATER = 1 << 50
"""A time that everything is from before."""


def uploaded(host: SessionHost, session_id: str, text: str) -> dict[str, Any]:
    """A file as the user attached it: a part to send."""
    content = text.encode()
    address = Blobs(host.blobs(session_id)).save(content)
    return {"type": "file", "sha256": address, "mime": "text/plain", "name": f"{text}.txt", "bytes": len(content)}


def kept(folder: Path) -> set[str]:
    """What the files of a session say."""
    return {path.read_text() for path in (folder / "blobs").glob("[!.]*")}


def swept(folder: Path) -> set[str]:
    sweeping.drop(folder, sweeping.look(folder, LATER))
    return kept(folder)


async def test_a_file_goes_when_nothing_has_named_it_for_a_week(model_server: ModelServer, tmp_path: Path) -> None:
    clock = HandClock()
    async with hosting(model_server, tmp_path, clock=clock, snapshot_days=0.0) as host:
        await started(host, clock)
        session = await host.create()
        folder = tmp_path / "data" / "sessions" / session.id
        sent, cleared = uploaded(host, session.id, "sent"), uploaded(host, session.id, "cleared")
        queued, taken_out = uploaded(host, session.id, "queued"), uploaded(host, session.id, "taken out")
        uploaded(host, session.id, "never sent")
        gate = Gate()
        model_server.script(["One."])
        async with viewing(host, session.id) as view:
            await view.ask("message.send", id="m1", parts=[cleared])
            await view.event("turn.ended")
            await view.ask("session.clear")
            model_server.script([Reply(Text("Two."), gate), "Three."])
            await view.ask("message.send", id="m2", parts=[sent])
            waits = await view.ask("message.send", id="m3", parts=[taken_out])
            await view.ask("message.send", id="m4", parts=[queued])
            await view.ask("queue.remove", id=waits["result"]["queue_id"], rev=1)
            gate.open()
            await view.event("turn.ended", after=len(view.events))
        await pass_days(host, clock, 6, "tidy", "blobs")
        assert len(kept(folder)) == 5
        # The log of events names what left the queue, for as long as it is kept.
        await pass_days(host, clock, 3, "tidy", "blobs")
        await pass_days(host, clock, 1, "blobs")
        assert kept(folder) == {"sent", "cleared", "queued"}
        async with viewing(host, session.id) as view:
            await view.ask("session.rewind", message_id="m1")
            assert (await view.subscribe())["d"]["messages"][0]["parts"][0]["sha256"] == cleared["sha256"]


async def test_a_fork_has_its_own_and_the_original_keeps_all(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script(["One.", "Two."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.ask("message.send", id="m1", parts=[uploaded(host, session.id, "first")])
            await view.event("turn.ended")
            sent = await view.ask("message.send", id="m2", parts=[uploaded(host, session.id, "second")])
            await view.event("turn.ended", turn=sent["result"]["turn"])
            fork = (await view.ask("session.fork", message_id="m1"))["result"]["id"]
    sessions = tmp_path / "data" / "sessions"
    assert kept(sessions / fork) == {"first", "second"}
    assert swept(sessions / fork) == {"first"}
    assert swept(sessions / session.id) == {"first", "second"}
    SessionStore.remove(sessions / session.id)
    assert kept(sessions / fork) == {"first"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A session with one file that nothing names."""
    from jupyter_agent.protocol.content import Session
    from jupyter_agent.protocol.ids import new_id

    session = Session(id=new_id("ses"))
    folder = tmp_path / session.id
    SessionStore.create(folder, session).close()
    Blobs(folder / "blobs").save(b"a file")
    return folder


def name(folder: Path, *, removed: bool = False) -> None:
    """Have the session's database name the file, or no more."""
    address = next((folder / "blobs").glob("[!.]*")).name
    with closing(SessionStore.open(folder)) as store:
        conn = store.db.conn
        if removed:
            conn.execute("DELETE FROM queue")
        else:
            conn.execute("INSERT INTO queue VALUES ('q', 1, 'm', ?)", (f'{{"parts":[{{"sha256":"{address}"}}]}}',))


def test_what_a_snapshot_names_stays_as_long_as_the_snapshot(folder: Path) -> None:
    name(folder)
    with closing(SessionStore.open(folder)) as store:
        take(folder, "daily", 1, store.db.conn)
    name(folder, removed=True)
    assert swept(folder) == {"a file"}
    for snapshot in (folder / "snapshots").iterdir():
        snapshot.unlink()
    assert swept(folder) == set()


def test_a_file_that_somebody_is_about_to_name_stays(folder: Path) -> None:
    unwanted = sweeping.look(folder, LATER)
    assert len(unwanted.blobs) == 1
    assert Blobs(folder / "blobs").hold(*unwanted.blobs)
    assert sweeping.drop(folder, unwanted) == 0
    assert kept(folder) == {"a file"}
    assert swept(folder) == set()


def test_a_session_that_was_put_back_meanwhile_is_left_for_another_day(folder: Path) -> None:
    unwanted = sweeping.look(folder, LATER)
    with closing(SessionStore.open(folder)) as store:
        take(folder, "restore", 1, store.db.conn)
    assert sweeping.drop(folder, unwanted) == 0
    assert kept(folder) == {"a file"}


def test_where_a_damaged_file_is_kept_nothing_goes(folder: Path) -> None:
    (folder / "quarantine").mkdir()
    assert swept(folder) == {"a file"}


@pytest.mark.parametrize("named", [True, False])
def test_a_crash_in_the_middle_of_a_drop_loses_nothing(folder: Path, *, named: bool) -> None:
    if named:
        name(folder)
    blobs = folder / "blobs"
    address = next(blobs.glob("[!.]*")).name
    (blobs / ".aside").mkdir()
    (blobs / address).rename(blobs / ".aside" / address)
    (blobs / f".{'0' * 64}.{'0' * 8}").write_text("half a file")
    assert Blobs(blobs).load(address) == b"a file"
    assert swept(folder) == ({"a file"} if named else set())
    assert {entry.name for entry in os.scandir(blobs)} == ({".aside", address} if named else {".aside"})
