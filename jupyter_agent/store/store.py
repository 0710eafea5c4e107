"""``SessionStore``: one session's database, written a batch at a time.

::

    batch ──► BEGIN IMMEDIATE; am I still the owner (gen)? ──► rows of each event, ledger rows ──► COMMIT
                                    │ no: StoreLocked, nothing written
    events but deltas  → events (those whose truth is a row by reference) + the row they change
    deltas             → one row of segments a batch; gone when the turn ends

Every method is synchronous and belongs to the session's own thread; the
event loop never waits for a disk. Reading is in ``reading``.
"""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlite_utils import Database

from ..errors import StoreDamaged, StoreTooNew, StoreUnwritable
from ..protocol.content import Session
from ..protocol.events import (
    Event,
    MessageAdded,
    MessageUpdated,
    PartDelta,
    PartDone,
    QueueUpdated,
    ToolStateChanged,
    TurnEnded,
    TurnStarted,
)
from ..protocol.frames import Recorded, dump_json
from ..protocol.ids import now_ms
from ..protocol.plain import to_plain
from . import failpoints, loading, marks, owning, reading, snapshots
from .blobs import BLOBS, Blobs
from .faults import DAMAGE_HINT, DISK_HINT, ODD, as_store_error, unwritable
from .opening import connect
from .owning import THIS_PROCESS, Claim, Server
from .profile import Profile
from .projection import project, put_meta
from .rows import put
from .schema import APPLICATION_ID, SCHEMA_VERSION, session_migrations
from .trimming import trim
from .writes import Batch, PutMeta, PutSession

DB_NAME = "session.db"
_FULL = 2
"""What ``PRAGMA synchronous`` says then."""
_NOBODYS = -1
_KEPT_EVENTS = 5_000

T = TypeVar("T")


class SessionStore:
    """The one writer of a session's database."""

    def __init__(self, folder: Path, db: Database, claim: Claim | None, gen: int, *, migrated: bool = False) -> None:
        self.folder = folder
        self.migrated = migrated
        """Whether the tables were brought to this version just now."""
        self.db = db
        self.blobs = Blobs(folder / BLOBS)
        self._claim = claim
        self._gen = gen
        self._full = db.conn.execute("PRAGMA synchronous").fetchone()[0] == _FULL
        self._always_full = self._full

    @property
    def plain_journal(self) -> bool:
        """Whether the disk takes no write-ahead log, so that each step waits for it."""
        return self._always_full

    # -- opening and closing -----------------------------------------------------

    @classmethod
    def create(
        cls, folder: Path, session: Session, *, profile: Profile = "local", root: str | None = None
    ) -> SessionStore:
        """Make the folder and the database of a new session; ``root``: what its notebook's path is below.

        Raises ``StoreError``.
        """
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise unwritable("The session could not be stored", error) from None
        store = cls.open(folder, new=True, profile=profile)
        try:
            facts = [PutMeta(key="epoch", value=str(uuid.uuid4())), PutMeta(key="root", value=root)]
            store.commit(Batch(writes=[*facts, PutSession(session=session)], full=True))
        except BaseException:
            store.close()
            raise
        snapshots.harden(folder, folder.parent)
        return store

    @classmethod
    def open(
        cls, folder: Path, *, new: bool = False, server: Server = THIS_PROCESS, profile: Profile = "local"
    ) -> SessionStore:
        """Own the session of this folder. Raises ``StoreError``, for a folder without a database too."""
        claim = owning.claim(folder, server, profile)
        try:
            if not new and not (folder / DB_NAME).is_file():
                raise StoreDamaged("The session's database is missing.", hint=DAMAGE_HINT)
            _check_version(_version_in_header(folder / DB_NAME))  # before SQLite writes anything
            log_is_new = not new and profile == "local" and not (folder / f"{DB_NAME}-wal").exists()
            db = connect(folder / DB_NAME, profile=profile)
            try:
                migrated = _migrate(folder, db)
                gen = _take_over(db, log_is_new=log_is_new)
                claim.announce(gen)
                return cls(folder, db, claim, gen, migrated=migrated)
            except sqlite3.Error as error:
                db.conn.close()
                raise as_store_error(error) from error
            except BaseException:
                db.conn.close()
                raise
        except BaseException:
            claim.release()
            raise

    @classmethod
    def wake(cls, folder: Path, server: Server, profile: Profile) -> tuple[SessionStore, loading.Loaded]:
        """Own the session of this folder and read what it is in the middle of. Raises ``StoreError``."""
        store = cls.open(folder, server=server, profile=profile)
        try:
            loaded = store.ask(lambda store: loading.load(store.db.conn, store.blobs))
            store.ask(lambda store: store.set_mark())
            return store, loaded
        except ODD as error:
            store.close()
            raise StoreDamaged("The session's database cannot be read.", hint=DAMAGE_HINT) from error
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Close the database (which folds the write-ahead log into it) and let go of the session."""
        try:
            self.db.conn.close()
        finally:
            if self._claim is not None:
                self._claim.release()

    @classmethod
    def peek(cls, folder: Path, question: Callable[[SessionStore], T]) -> T:
        """Answer from a session's database without owning it. Raises ``StoreError``."""
        db = connect(folder / DB_NAME, read_only=True)
        try:
            return cls(folder, db, None, _NOBODYS).ask(question)
        finally:
            db.conn.close()

    @staticmethod
    def let_go(folder: Path, profile: Profile = "local") -> None:
        """Make sure that nobody has the session open. Raises ``StoreLocked``, ``SessionNotFound``."""
        owning.claim(folder, THIS_PROCESS, profile).release()

    @staticmethod
    def remove(folder: Path, profile: Profile = "local") -> None:
        """Delete a session that nobody has open, damaged or not, from the disk. Raises ``StoreError``."""
        SessionStore.let_go(folder, profile)
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            raise StoreUnwritable("The session could not be deleted.", hint=DISK_HINT)

    def ask(self, question: Callable[[SessionStore], T]) -> T:
        """Answer from the database. Raises ``StoreError``."""
        try:
            return question(self)
        except sqlite3.Error as error:
            raise as_store_error(error) from error

    def tidy(self, before: int) -> None:
        """Drop acks and events from before a time (ms), and events beyond the newest ``_KEPT_EVENTS``.

        A view whose cursor is that old gets a snapshot. Raises ``StoreError``.
        """
        conn = self.db.conn
        try:
            conn.execute("BEGIN IMMEDIATE")
            try:
                self._check_owner(conn)
                trim(conn, before, keep=_KEPT_EVENTS)
                conn.execute("COMMIT")
            except BaseException:
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
                raise
            conn.execute("PRAGMA incremental_vacuum").fetchall()
        except sqlite3.Error as error:
            raise as_store_error(error) from error

    def look_out(self) -> bool:
        """Show that the owner lives; tell whether another server asks for the session."""
        if self._claim is None:
            return False
        self._claim.beat()
        return self._claim.is_asked_for()

    # -- the one way to write ----------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """Write the batch in one transaction, or nothing of it. Raises ``StoreError``."""
        conn = self.db.conn
        try:
            if any(isinstance(recorded.event, TurnStarted | QueueUpdated) for recorded in batch.events):
                self._mark()
            self._synchronous(full=batch.full)
            conn.execute("BEGIN IMMEDIATE")
            try:
                self._check_owner(conn)
                for recorded in batch.events:
                    project(conn, recorded)
                self._log(conn, batch.events)
                for write in batch.writes:
                    put(conn, write, self.blobs)
                if failpoints.armed is not None:
                    failpoints.armed.pass_by("before", batch)
                conn.execute("COMMIT")
                if failpoints.armed is not None:
                    failpoints.armed.pass_by("after", batch)
            except BaseException:
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise as_store_error(error) from error
        if any(isinstance(recorded.event, TurnEnded | QueueUpdated) for recorded in batch.events):
            self.unmark_if_at_rest()

    def _mark(self) -> None:
        try:
            marks.mark(self.folder)
        except OSError as error:
            raise unwritable("The session could not be stored", error) from None

    def set_mark(self) -> None:
        """Mark what is under way: a session that was brought back, or put back, may have lost its mark."""
        if reading.under_way(self.db.conn):
            self._mark()
        else:
            marks.unmark(self.folder)

    def unmark_if_at_rest(self) -> None:
        """Take the mark away that has the session woken at the server's start, unless something is under way."""
        if not reading.under_way(self.db.conn):
            marks.unmark(self.folder)

    def _synchronous(self, *, full: bool) -> None:
        # A FULL commit fsyncs the whole log, so it hardens the NORMAL ones before it too.
        if full != self._full and not self._always_full:
            self.db.conn.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
            self._full = full

    def _check_owner(self, conn: sqlite3.Connection) -> None:
        row = conn.execute("SELECT value FROM meta WHERE key='gen'").fetchone()
        if row is None or int(row[0]) != self._gen:
            raise owning.deposed()
        if self._claim is not None:
            self._claim.check()

    def _log(self, conn: sqlite3.Connection, events: list[Recorded]) -> None:
        run: list[Recorded] = []
        for recorded in events:
            if isinstance(recorded.event, PartDelta):
                run.append(recorded)
            else:
                conn.execute(
                    "INSERT INTO events (seq, ts, turn_id, type, body) VALUES (?,?,?,?,?)",
                    (recorded.seq, recorded.ts, recorded.turn, recorded.event.tag, dump_json(_logged(recorded.event))),
                )
        # Deltas of a turn that ended within the same batch have done their work already.
        if run and not any(isinstance(r.event, TurnEnded) for r in events):
            body = dump_json([[r.seq, r.ts, to_plain(r.event)] for r in run])
            conn.execute(
                "INSERT INTO segments (seq_to, seq_from, ts, turn_id, body) VALUES (?,?,?,?,?)",
                (run[-1].seq, run[0].seq, run[-1].ts, run[-1].turn, body),
            )


# -- rows ---------------------------------------------------------------------------


def _migrate(folder: Path, db: Database) -> bool:
    """Bring the tables to this version; tell whether there was anything to bring."""
    version = db.conn.execute("PRAGMA user_version").fetchone()[0]
    _check_version(version)
    if version < SCHEMA_VERSION:
        if version > 0:
            snapshots.take(folder, "migration", now_ms(), db.conn)
        session_migrations.apply(db)
        if version > 0:
            # What a view knows from before may be told otherwise now: its cursor gets a snapshot.
            put_meta(db.conn, "migrated_seq", reading.last_seq(db.conn))
        db.conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.conn.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    return 0 < version < SCHEMA_VERSION


def _version_in_header(path: Path) -> int:
    """Return ``user_version`` as the file itself has it, 0 where it has none."""
    try:
        with path.open("rb") as file:
            header = file.read(64)
    except OSError:
        return 0  # Opening it says what is wrong.
    return int.from_bytes(header[60:64], "big") if header.startswith(b"SQLite format 3") else 0


def _check_version(version: int) -> None:
    if version > SCHEMA_VERSION:
        raise StoreTooNew(
            "This session was written by a newer jupyter-agent-panel.", hint="Upgrade jupyter-agent-panel."
        )


def _take_over(db: Database, *, log_is_new: bool) -> int:
    """Bump ``gen``: whoever had the session before can write no more.

    SQLite hardens the head of a log at its first write, because old pages might stand behind it. In a log that is
    new there are none, and this first write is worth no wait for the disk: the first commit that counts hardens it.
    """
    conn = db.conn
    row = conn.execute("SELECT value FROM meta WHERE key='gen'").fetchone()
    gen = (int(row[0]) if row else 0) + 1
    level = conn.execute("PRAGMA synchronous").fetchone()[0]
    if log_is_new and level != _FULL:
        conn.execute("PRAGMA synchronous=OFF")
    put_meta(conn, "gen", gen)
    conn.execute(f"PRAGMA synchronous={level}")
    return gen


def _logged(event: Event) -> Any:
    """What the log keeps: by reference where a row holds the same, maybe large, truth."""
    match event:
        case PartDone(message_id=message_id, part=part):
            return {"message_id": message_id, "ref": part.id}
        case MessageUpdated(message=message):
            return {"ref": message.id}
        case MessageAdded(message=message) if message.role == "assistant" and message.parts:
            return {"ref": message.id}  # It comes back from an old branch.
        case ToolStateChanged(part_id=part_id, output=output) if output is not None:
            return {"ref": part_id}
        case _:
            return to_plain(event)
