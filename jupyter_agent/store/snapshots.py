"""Snapshots: a session's database as it was at a time, one clean file each, beside it.

::

    snapshots/1795413353559.daily.db        <time in ms>.<why>.db
              └── copied aside, synced, then named: half a snapshot never has a name

Going back copies one over the database, with a new epoch, so that no cursor
of before means anything after::

    restoring/session.db ◄── copy ── snapshot           present state ──► snapshot, or quarantine/ when damaged
        │  migrated, new epoch, a notice that says so
        └──────────────► session.db, by one rename
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ..errors import StoreDamaged, StoreError, StoreUnwritable
from ..protocol.content import Message, NoticePart
from ..protocol.events import MessageAdded
from ..protocol.frames import Recorded
from ..protocol.ids import new_id
from . import branch, reading
from .faults import DISK_HINT, as_store_error, unwritable
from .opening import connect
from .owning import Claim

SNAPSHOTS = "snapshots"
QUARANTINE = "quarantine"
_RESTORING = "restoring"
_DB_NAME = "session.db"
_AT = re.compile("[0-9]{1,15}")
_FILES = (_DB_NAME, f"{_DB_NAME}-wal", f"{_DB_NAME}-shm")

_CELLS_STAY = "Cells were not put back: the notebook may be ahead of what is said here."

Reason = Literal["daily", "migration", "restore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """``at``: ms since the epoch."""

    at: int
    bytes: int
    reason: str
    path: Path

    def when(self) -> str:
        """Return the time in words."""
        return f"{datetime.fromtimestamp(self.at / 1000, UTC):%d %b %Y, %H:%M} UTC"


def listed(folder: Path) -> list[Snapshot]:
    """Return a session's snapshots, newest first. Raises ``StoreUnwritable``."""
    found: list[Snapshot] = []
    try:
        paths = [path for path in (folder / SNAPSHOTS).iterdir() if path.match("*.*.db")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unwritable("The session's snapshots cannot be read", error) from None
    for path in paths:
        at, reason, _ = path.name.split(".", 2)
        with contextlib.suppress(OSError):
            if _AT.fullmatch(at) and path.is_file():
                found.append(Snapshot(at=int(at), bytes=path.stat().st_size, reason=reason, path=path))
    return sorted(found, key=lambda snapshot: snapshot.at, reverse=True)


def at_or_before(folder: Path, at: int) -> Snapshot | None:
    """Return the newest snapshot from then or before."""
    return next((snapshot for snapshot in listed(folder) if snapshot.at <= at), None)


def take(folder: Path, reason: Reason, at: int, source: sqlite3.Connection) -> None:
    """Copy the database behind ``source`` as it is now; writers elsewhere go on meanwhile. Raises ``StoreError``."""
    try:
        (folder / SNAPSHOTS).mkdir(exist_ok=True)
        while (folder / SNAPSHOTS / f"{at}.{reason}.db").exists():
            at += 1  # None takes the place of another.
        draft = folder / SNAPSHOTS / f"{at}.{reason}.part"
        draft.unlink(missing_ok=True)
        try:
            copy = sqlite3.connect(draft, isolation_level=None)
            try:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")  # One file, that can be read where nothing can be written.
            finally:
                copy.close()
            _settle(draft, draft.with_suffix(".db"))
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except sqlite3.Error as error:
        raise as_store_error(error) from error
    except OSError as error:
        raise StoreUnwritable(f"The session could not be backed up: {error.strerror}.", hint=DISK_HINT) from None


def prune(folder: Path, before: int) -> None:
    """Drop snapshots from before a time; the newest one stays, however old."""
    for snapshot in listed(folder)[1:]:
        if snapshot.at < before:
            snapshot.path.unlink(missing_ok=True)


def is_broken(folder: Path) -> bool:
    """Tell whether the database is damaged itself, and not only beyond this code's understanding."""
    if not (folder / _DB_NAME).is_file():
        return True
    try:
        db = connect(folder / _DB_NAME, read_only=True)
        try:
            return not is_whole(db.conn) or db.conn.execute("SELECT 1 FROM meta WHERE key='session'").fetchone() is None
        finally:
            db.conn.close()
    except StoreError as error:
        return error.code == "store_damaged"
    except sqlite3.Error as error:
        return as_store_error(error).code == "store_damaged" or "no such table" in str(error)


def go_back(claim: Claim, snapshot: Snapshot, now: int) -> None:
    """Put the session back to a snapshot; what is there now becomes one itself. Raises ``StoreError``."""
    folder = claim.folder
    if not _is_sound(snapshot.path):
        raise StoreDamaged("This snapshot is damaged; the session is as it was.", hint="Choose another one.")
    db = connect(folder / _DB_NAME, profile=claim.profile)
    try:
        gen = _gen(db.conn)
        take(folder, "restore", now, db.conn)
        db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.conn.close()
    text = (
        f"This session was put back to its state of {snapshot.when()}. {_CELLS_STAY} "
        "Its state before that is kept as a snapshot."
    )
    _replace(folder, snapshot, gen, now, NoticePart(id=new_id("prt"), idx=0, level="info", code="restored", text=text))


def mend(claim: Claim, now: int) -> bool:
    """Put a damaged session back to its newest sound snapshot, the damaged files aside; False without one."""
    folder = claim.folder
    snapshot = newest_sound(folder)
    if snapshot is None:
        return False
    aside = folder / QUARANTINE / str(now)
    try:
        aside.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            _set_aside(folder / name, aside / name)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise unwritable("The damaged session could not be set aside", error) from None
    text = (
        f"This session's database was damaged, so it was put back to its state of {snapshot.when()}. "
        f"{_CELLS_STAY} The damaged file is kept in {QUARANTINE}/{aside.name} of the session's folder."
    )
    notice = NoticePart(id=new_id("prt"), idx=0, level="warning", code="mended", text=text)
    _replace(folder, snapshot, 0, now, notice)
    return True


def _set_aside(path: Path, aside: Path) -> None:
    if path.is_dir():
        path.rename(aside)  # Whatever it is: the database comes where it stands.
        return
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(path, aside)


def newest_sound(folder: Path) -> Snapshot | None:
    """Return the newest snapshot that is not damaged itself."""
    return next((snapshot for snapshot in listed(folder) if _is_sound(snapshot.path)), None)


def _is_sound(path: Path) -> bool:
    try:
        conn = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return False
    try:
        return is_whole(conn)
    finally:
        conn.close()


def is_whole(conn: sqlite3.Connection) -> bool:
    """Tell whether every page of a database can be read."""
    try:
        return conn.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    except sqlite3.Error:
        return False


def _replace(folder: Path, snapshot: Snapshot, gen: int, now: int, notice: NoticePart) -> None:
    from .store import SessionStore
    from .writes import Batch, PutMeta

    aside = folder / _RESTORING
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        shutil.copyfile(snapshot.path, aside / _DB_NAME)
        store = SessionStore.open(aside)
        try:
            message = Message(
                id=new_id("msg"),
                role="assistant",
                status="complete",
                turn_id=None,
                parent_id=branch.last(store.db.conn),
                created_at=now,
                parts=[notice],
            )
            said = Recorded(
                seq=reading.last_seq(store.db.conn) + 1, ts=now, turn=None, event=MessageAdded(message=message)
            )
            writes = [
                PutMeta(key="epoch", value=str(uuid.uuid4())),
                PutMeta(key="gen", value=max(gen, _gen(store.db.conn))),
                # What ran when the snapshot was taken has gone on since: nothing of it happens again by itself.
                PutMeta(key="held_turn", value=_running(store.db.conn)),
                PutMeta(key="start_next", value=None),
                PutMeta(key="restored_to", value=snapshot.at),
            ]
            store.commit(Batch(events=[said], writes=[*writes], full=True))
        finally:
            store.close()
        for name in _FILES[1:]:
            (folder / name).unlink(missing_ok=True)
        _settle(aside / _DB_NAME, folder / _DB_NAME)
    except OSError as error:
        raise StoreUnwritable(f"The session could not be put back: {error.strerror}.", hint=DISK_HINT) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _running(conn: sqlite3.Connection) -> str | None:
    row = conn.execute("SELECT id FROM turns WHERE live = 1").fetchone()
    return row[0] if row else None


def _gen(conn: sqlite3.Connection) -> int:
    row = conn.execute("SELECT value FROM meta WHERE key='gen'").fetchone()
    return int(row[0]) if row else 0


def _settle(draft: Path, final: Path) -> None:
    """Give a file its name once it is on the disk."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    draft.replace(final)
    harden(final.parent)


def harden(*folders: Path) -> None:
    """Let names just made survive a power cut; where folders cannot be synced, the system sees to it."""
    for folder in folders:
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
