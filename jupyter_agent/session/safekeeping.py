"""A session's snapshots: taken while it goes on, gone back to, and what stands in for a damaged file."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CommandRejected, SessionFailed, StoreDamaged
from ..protocol.commands import TurnStop
from ..protocol.ids import now_ms
from ..store import owning, snapshots, sweeping
from ..store.blobs import BLOBS, Blobs
from ..store.opening import connect
from ..store.owning import Server
from ..store.profile import Profile
from ..store.snapshots import Reason, Snapshot
from ..store.store import DB_NAME, SessionStore

if TYPE_CHECKING:
    from .actor import SessionActor
    from .host import SessionHost

log = logging.getLogger(__name__)

RESTORING = SessionFailed("The session is being put back.", code="closing", hint="Try again in a moment.")


async def restore(host: SessionHost, session_id: str, folder: Path, at: int) -> SessionActor:
    """Put the session back to its newest snapshot from ``at`` or before.

    A running turn is stopped first. Its new epoch has views start over. Raises ``CommandRejected`` without a snapshot.
    """
    found = await asyncio.to_thread(snapshots.at_or_before, folder, at)
    if found is None:
        raise CommandRejected("There is no snapshot from then or before.", code="no_snapshot")
    await _stop_turn(host, session_id)
    async with host.alone(session_id, RESTORING):
        await asyncio.to_thread(_go_back, folder, found, host.server, host.profile, host.alarms.clock.now_ms())
    await host.library.listing.read(session_id)
    actor = await host.get(session_id)
    host.changed(actor, [])
    return actor


async def _stop_turn(host: SessionHost, session_id: str) -> None:
    try:
        actor = await host.get(session_id)
    except StoreDamaged:
        return
    if (turn := actor.state.turn) is not None:
        actor.stop(TurnStop(turn=turn.id))
        await actor.at_rest()


def _go_back(folder: Path, snapshot: Snapshot, server: Server, profile: Profile, now: int) -> None:
    claim = owning.claim(folder, server, profile)
    try:
        snapshots.go_back(claim, snapshot, now)
    finally:
        claim.release()


def mend(folder: Path, server: Server, profile: Profile) -> bool:
    """Put a session whose file is damaged back to a snapshot; False when there is none, or no damage."""
    claim = owning.claim(folder, server, profile)
    try:
        if not snapshots.is_broken(folder) or not snapshots.mend(claim, now_ms()):
            return False
    finally:
        claim.release()
    log.error("The database of session %s was damaged, and was put back to a snapshot.", folder.name)
    return True


async def is_mendable(actor: SessionActor) -> bool:
    """Tell whether an awake session's database is damaged, and there is a snapshot to put it back to."""
    if await actor.journal.read(lambda store: snapshots.is_whole(store.db.conn)):
        return False
    return await asyncio.to_thread(snapshots.newest_sound, actor.folder) is not None


async def take(host: SessionHost, session_id: str, folder: Path, now: int, reason: Reason = "daily") -> None:
    """Take a snapshot without holding the session up. Raises ``StoreError``."""
    room = host.room(session_id)
    async with room.lock:  # It neither falls asleep nor wakes meanwhile; commits go on.
        if room.actor is None:
            await asyncio.to_thread(_with_claim, folder, host, lambda db: snapshots.take(folder, reason, now, db))
        elif host.profile == "local":
            await asyncio.to_thread(_take_beside, folder, reason, now)
        else:  # Nobody else can open it.
            await room.actor.journal.read(lambda store: snapshots.take(folder, reason, now, store.db.conn))
    host.leave(room)


def _with_claim(folder: Path, host: SessionHost, work: Callable[[sqlite3.Connection], None]) -> None:
    claim = owning.claim(folder, host.server, host.profile)
    try:
        db = connect(folder / DB_NAME, profile=host.profile)
        try:
            work(db.conn)
        finally:
            db.conn.close()
    finally:
        claim.release()


def _take_beside(folder: Path, reason: Reason, now: int) -> None:
    db = connect(folder / DB_NAME, read_only=True)
    try:
        snapshots.take(folder, reason, now, db.conn)
    finally:
        db.conn.close()


def newest(folder: Path, now: int) -> int | None:
    """Return the time of the newest snapshot; one from a time to come was taken while the clock was wrong."""
    found = snapshots.at_or_before(folder, now)
    return None if found is None else found.at


def prune(folder: Path, before: int) -> None:
    """Drop snapshots from before a time, but for the newest."""
    snapshots.prune(folder, before)


async def tidy(host: SessionHost, session_id: str, folder: Path, before: int) -> None:
    """Drop acks and events from before a time. Raises ``StoreError``."""
    room = host.room(session_id)
    async with room.lock:
        if room.actor is not None:
            await room.actor.journal.read(lambda store: store.tidy(before))
        else:
            await asyncio.to_thread(_tidy_asleep, folder, host.server, host.profile, before)
    host.leave(room)


def _tidy_asleep(folder: Path, server: Server, profile: Profile, before: int) -> None:
    store = SessionStore.open(folder, server=server, profile=profile)
    try:
        store.tidy(before)
    finally:
        store.close()


async def sweep(host: SessionHost, session_id: str, folder: Path, before: int) -> None:
    """Drop blobs that nothing names and nobody touched since a time. Raises ``StoreError``."""
    room = host.room(session_id)
    if host.profile == "local":
        unwanted = await asyncio.to_thread(sweeping.look, folder, before)
    elif room.actor is not None:
        unwanted = await room.actor.journal.read(lambda store: sweeping.look(folder, before, store.db.conn))
    else:
        async with room.lock:
            unwanted = await asyncio.to_thread(sweeping.look, folder, before)
    if unwanted.blobs:
        async with room.lock:
            if room.actor is not None:
                await room.actor.journal.read(lambda store: sweeping.drop(store.folder, unwanted))
            else:
                await asyncio.to_thread(_drop_asleep, folder, host.server, host.profile, unwanted)
    host.leave(room)


def _drop_asleep(folder: Path, server: Server, profile: Profile, unwanted: sweeping.Unwanted) -> None:
    claim = owning.claim(folder, server, profile)
    try:
        sweeping.drop(folder, unwanted)
    finally:
        claim.release()


def has_old_blobs(folder: Path, before: int, since: int) -> tuple[bool, bool]:
    """Tell whether a session has blobs from before a time (ms), and whether one of them is from ``since`` or later."""
    touched = Blobs(folder / BLOBS).old(before).values()
    return bool(touched), any(at >= since * 1_000_000 for at in touched)
