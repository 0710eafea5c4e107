"""``SessionIndex``: the list of sessions, so that showing and searching it wakes none of them.

It holds nothing that the sessions' own databases do not; at start it is
reconciled with them by the stamp (size and time) of their files::

    sessions   one row a session: its facts, and the stamp of the file they were read from
    texts      which message each row of words is           words   what was said (full text, where SQLite has it)

A session that is awake has no stamp: if the process dies, it is read again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any, Literal

from ..errors import StoreDamaged, StoreError, StoreLocked
from ..protocol.content import Session
from ..protocol.frames import dump_json
from ..protocol.ids import is_session_id
from ..protocol.plain import to_plain, whole
from . import reading, transcript
from .faults import ODD, as_store_error, is_busy, unwritable
from .opening import connect, in_memory
from .profile import Profile
from .schema import has_full_text, index_migrations
from .search import Term, folded, terms_of
from .snapshots import listed
from .store import DB_NAME

INDEX_NAME = "index.db"
ELSEWHERE = "Open in another server"
PAGE_BYTES = 256 * 1024
"""A page of the list ends here, whatever its limit."""
_MOST_CHARS = 100_000
"""More of one message is not searched."""
_SLICE_S = 0.05
_PAUSE_S = 0.02
"""How long the list is locked at a stretch, and free after it: others wait for 2 s at most."""

Wire = dict[str, Any]
Rows = list[tuple[str, int]]
Ids = list[str]


@dataclass(frozen=True, slots=True)
class Place:
    """A notebook, or None for none, below a server's root directory: the same path is another one elsewhere."""

    path: str | None
    root: str | None


State = Literal["active", "archived", "all"]
_WHERE: dict[State, str] = {"active": "archived_at IS NULL", "archived": "archived_at IS NOT NULL", "all": "1"}


class SessionIndex:
    """One small database beside the sessions' folders. Synchronous; one thread at a time."""

    def __init__(self, sessions_dir: Path, profile: Profile = "local", *, private: bool = False) -> None:
        self._dir = sessions_dir
        self._profile: Profile = profile
        try:
            sessions_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable("The data directory cannot be used", error) from None
        self._db = in_memory() if private else connect(sessions_dir.parent / INDEX_NAME, profile=profile)
        self._conn = self._db.conn
        try:
            index_migrations.apply(self._db)
            self._full_text = has_full_text(self._db)
            self._check_words()
        except sqlite3.Error as error:
            self._conn.close()
            raise as_store_error(error) from error
        except StoreError:
            self._conn.close()
            raise

    @staticmethod
    def discard(sessions_dir: Path) -> bool:
        """Drop the file, so that the next one begins anew; tell whether that could be."""
        try:
            for end in ("", "-wal", "-shm"):
                (sessions_dir.parent / f"{INDEX_NAME}{end}").unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def check_writable(self) -> None:
        """Write something that changes nothing. Raises ``sqlite3.Error``."""
        with self._writing():
            self._conn.execute("INSERT INTO chores (name, ran_at) VALUES ('', 0)")
            self._conn.execute("DELETE FROM chores WHERE name=''")

    def _check_words(self) -> None:
        """An index made by a Python whose SQLite can more, or less, than this one's is begun anew."""
        sql = self._conn.execute("SELECT sql FROM sqlite_master WHERE name='words'").fetchone()
        if sql is None or ("fts5" in sql[0]) != self._full_text:
            raise StoreDamaged("The list of sessions was made by another SQLite.")

    def close(self) -> None:
        """Close the database."""
        self._conn.close()

    # -- writing -------------------------------------------------------------------

    def put(self, facts: Wire, *, awake: bool = False) -> None:
        """Store a session's facts as they are now; ``awake``: its file is about to change."""
        self._conn.execute(
            "INSERT OR REPLACE INTO sessions (id, updated_at, archived_at, notebook_path, title, data, stamp)"
            " VALUES (?,?,?,?,?,?,?)",
            (
                facts["id"], facts["updated_at"], facts["archived_at"], facts["notebook_path"],
                folded(whole(facts["title"])),
                dump_json(facts), "" if awake else self._stamp(facts["id"]),
            ),
        )  # fmt: skip

    def put_words(self, session_id: str, words: Iterable[tuple[str, str | None]]) -> None:
        """Store what messages say, by their ids; None: the message is gone."""
        with self._writing():
            for message_id, text in words:
                self._put_word(session_id, message_id, text)

    @contextmanager
    def _writing(self) -> Generator[None]:
        """Write all of it or nothing. The lock comes first: what is read then is what is replaced."""
        conn = self._conn
        conn.execute("BEGIN IMMEDIATE")
        try:
            yield
            conn.execute("COMMIT")
        except BaseException:
            if conn.in_transaction:  # A full disk has rolled back already.
                conn.execute("ROLLBACK")
            raise

    def _put_word(self, session_id: str, message_id: str, text: str | None) -> None:
        conn = self._conn
        key = (session_id, message_id)
        row = conn.execute("SELECT id FROM texts WHERE session_id=? AND message_id=?", key).fetchone()
        if row is not None:
            conn.execute("DELETE FROM words WHERE rowid=?", row)
        if not text:
            conn.execute("DELETE FROM texts WHERE session_id=? AND message_id=?", key)
            return
        if row is None:
            row = (conn.execute("INSERT INTO texts (session_id, message_id) VALUES (?,?)", key).lastrowid,)
        body = text[:_MOST_CHARS].encode("utf-8", "replace").decode("utf-8")
        conn.execute("INSERT INTO words (rowid, body) VALUES (?,?)", (row[0], body))

    def remove(self, session_id: str) -> None:
        """Forget a session."""
        self._conn.execute("DELETE FROM sessions WHERE id=?", (session_id,))
        self._forget_words(session_id)
        self.set_alarm(session_id, None)
        self.set_root(session_id, None)

    def _forget_words(self, session_id: str) -> None:
        self._conn.execute("DELETE FROM words WHERE rowid IN (SELECT id FROM texts WHERE session_id=?)", (session_id,))
        self._conn.execute("DELETE FROM texts WHERE session_id=?", (session_id,))

    def set_alarm(self, session_id: str, due_at: int | None) -> None:
        """Mirror when the session's earliest job is due; None: it has none."""
        if due_at is None:
            self._conn.execute("DELETE FROM alarms WHERE session_id=?", (session_id,))
        else:
            self._conn.execute("INSERT OR REPLACE INTO alarms (session_id, due_at) VALUES (?,?)", (session_id, due_at))

    def set_root(self, session_id: str, root: str | None) -> None:
        """Mirror which folder the path of the session's notebook is below."""
        if root is None:
            self._conn.execute("DELETE FROM roots WHERE session_id=?", (session_id,))
        else:
            self._conn.execute("INSERT OR REPLACE INTO roots (session_id, root) VALUES (?,?)", (session_id, root))

    def alarms(self) -> dict[str, int]:
        """Return when each session that has something due is to be woken."""
        return dict(self._conn.execute("SELECT session_id, due_at FROM alarms").fetchall())

    def chores(self) -> dict[str, int]:
        """Return when each of the server's chores ran last."""
        return dict(self._conn.execute("SELECT name, ran_at FROM chores").fetchall())

    def put_chore(self, name: str, ran_at: int) -> None:
        """Remember that a chore ran."""
        self._conn.execute("INSERT OR REPLACE INTO chores (name, ran_at) VALUES (?,?)", (name, ran_at))

    def changed_since(self, since: int) -> Rows:
        """Return ``(id, updated_at)`` of sessions, the archived ones too."""
        return self._conn.execute("SELECT id, updated_at FROM sessions WHERE updated_at > ?", (since,)).fetchall()

    def unused_since(self, before: int) -> Ids:
        """Return the ids of active sessions in which nothing has happened since."""
        rows = self._conn.execute("SELECT id FROM sessions WHERE archived_at IS NULL AND updated_at < ?", (before,))
        return [row[0] for row in rows]

    def archived_before(self, before: int) -> Ids:
        """Return the ids of sessions that were archived before a time, and in which nothing has happened since."""
        sql = "SELECT id FROM sessions WHERE archived_at < ? AND updated_at < ?"
        return [row[0] for row in self._conn.execute(sql, (before, before))]

    # -- asking --------------------------------------------------------------------

    def list(
        self,
        *,
        state: State = "active",
        q: str = "",
        limit: int = 25,
        before: str | None = None,
        notebook: Place | None = None,
    ) -> tuple[list[Wire], bool] | None:
        """Return ``(sessions newest first, has_more)``; None when ``before`` is no session.

        Every word of ``q`` stands in the title or in some message; the last one may be unfinished.
        """
        where, values = [_WHERE[state]], list[Any]()
        for term in terms_of(q, full_text=self._full_text):
            sql, value = self._found(term)
            where.append(f"(title LIKE ? ESCAPE '\\' OR id IN ({sql}))")
            values += [term.title, value]
        if notebook is not None:
            # The index holds paths alone, and is not asked where there may be none.
            where.append("notebook_path IS NULL" if notebook.path is None else "notebook_path = ?")
            values += [] if notebook.path is None else [notebook.path]
            where.append("ifnull((SELECT root FROM roots WHERE session_id=id), ?) IS ?")
            values += [notebook.root, notebook.root]
        if before is not None:
            row = self._conn.execute("SELECT updated_at FROM sessions WHERE id=?", (before,)).fetchone()
            if row is None:
                return None
            where.append("(updated_at, id) < (?, ?)")
            values += [row[0], before]
        rows = self._conn.execute(
            f"SELECT data FROM sessions WHERE {' AND '.join(where)} ORDER BY updated_at DESC, id DESC LIMIT ?",
            (*values, limit + 1),
        ).fetchall()
        page = _within(PAGE_BYTES, [row[0] for row in rows[:limit]])
        return [json.loads(data) for data in page], len(rows) > len(page)

    def _found(self, term: Term) -> tuple[str, str]:
        which = "SELECT session_id FROM texts JOIN words ON words.rowid = texts.id WHERE "
        if term.match is not None:
            return which + "words MATCH ?", term.match
        return which + "words.body LIKE ? ESCAPE '\\'", term.like

    def root_of(self, session_id: str) -> str | None:
        """Return the folder that the path of the session's notebook is below, None where that is not known."""
        row = self._conn.execute("SELECT root FROM roots WHERE session_id=?", (session_id,)).fetchone()
        return row[0] if row else None

    # -- agreeing with the folders ---------------------------------------------------

    def rebuild(self) -> int:
        """Read every session anew; return how many there are. Raises ``StoreDamaged``.

        A server may go on with the list meanwhile: it is never empty, and free in between.
        """
        if self._conn.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise StoreDamaged("The list of sessions is damaged.")
        self._conn.execute("UPDATE sessions SET stamp='anew'")
        self.reconcile(pause_s=_PAUSE_S)
        with self._writing():
            for table, key in (("texts", "session_id"), ("roots", "session_id"), ("alarms", "session_id")):
                self._conn.execute(f"DELETE FROM {table} WHERE {key} NOT IN (SELECT id FROM sessions)")
            self._conn.execute("DELETE FROM words WHERE rowid NOT IN (SELECT id FROM texts)")
        return self._conn.execute("SELECT count(*) FROM sessions").fetchone()[0]

    def reconcile(self, *, pause_s: float = 0.0) -> int:
        """Make the list agree with the folders, a slice at a time; return how many rows changed."""
        known = dict(self._conn.execute("SELECT id, stamp FROM sessions").fetchall())
        try:
            with os.scandir(self._dir) as entries:
                present = {entry.name for entry in entries if is_session_id(entry.name)}
        except OSError as error:
            raise unwritable("The data directory cannot be used", error) from None
        gone = known.keys() - present
        new = [session_id for session_id in present if known.get(session_id) != self._stamp(session_id)]
        changed = 0
        while gone or new:
            with self._writing():
                until = time.monotonic() + _SLICE_S
                while gone:
                    self.remove(gone.pop())
                    changed += 1
                while new and time.monotonic() < until:
                    changed += self._read(new.pop())
            if pause_s and new:
                time.sleep(pause_s)
        return changed

    def read(self, session_id: str) -> bool:
        """Read one session anew; False when it cannot be read."""
        with self._writing():
            return self._read(session_id)

    def _read(self, session_id: str) -> bool:
        # Taken before: what is written meanwhile makes the stamp an old one.
        stamp = self._stamp(session_id)
        try:
            db = connect(self._dir / session_id / DB_NAME, read_only=True)
            try:
                facts = reading.facts(db.conn)["session"]
                due_at = reading.next_due(db.conn)
                root = reading.meta(db.conn, "root")
                said = transcript.texts(db.conn)
            finally:
                db.conn.close()
        except sqlite3.Error as error:
            return self._put_elsewhere(session_id) if is_busy(error) else self.put_damaged(session_id)
        except StoreLocked:
            return self._put_elsewhere(session_id)
        except (StoreDamaged, *ODD):
            return self.put_damaged(session_id)
        except (StoreError, OSError):
            # What cannot be opened just now is as it was known.
            return _is_no_file(self._dir / session_id / DB_NAME) and self.put_damaged(session_id)
        self._forget_words(session_id)
        for message_id, text in said:
            self._put_word(session_id, message_id, text)
        try:
            self.put(facts)
        except ODD:
            return self.put_damaged(session_id)
        self.set_alarm(session_id, due_at)
        self.set_root(session_id, root)
        self._conn.execute("UPDATE sessions SET stamp=? WHERE id=?", (stamp, session_id))
        return True

    def _put_elsewhere(self, session_id: str) -> bool:
        """List a session that only its owner can read, so that it can be taken over; what is known of it stays."""
        if (
            self._profile == "local"
            or self._conn.execute("SELECT 1 FROM sessions WHERE id=?", (session_id,)).fetchone()
        ):
            return False
        try:
            at = (self._dir / session_id / DB_NAME).stat().st_mtime_ns // 1_000_000
        except OSError:
            return False
        self.put(to_plain(Session(id=session_id, title=ELSEWHERE, created_at=at, updated_at=at)), awake=True)
        return True

    def put_damaged(self, session_id: str) -> bool:
        """List a session whose file cannot be read: by what was known of it, with the status ``error``."""
        folder = self._dir / session_id
        row = self._conn.execute("SELECT data FROM sessions WHERE id=?", (session_id,)).fetchone()
        stat = None
        with contextlib.suppress(OSError):
            stat = (folder / DB_NAME).stat()
        if row is None and (stat is None or stat.st_size == 0) and not _has_snapshots(folder):
            return False  # A crash while it was made.
        at = 0 if stat is None else stat.st_mtime_ns // 1_000_000
        unknown = to_plain(Session(id=session_id, title="Damaged session", created_at=at, updated_at=at))
        self.put({**(json.loads(row[0]) if row else unknown), "status": "error"})
        return True

    def _stamp(self, session_id: str) -> str:
        """Return the size and time of the session's files, the log of unfolded writes included."""
        stamps: list[str] = []
        for name in (DB_NAME, f"{DB_NAME}-wal"):
            try:
                # Not pathlib: ten thousand of these are made at start.
                stat = os.stat(f"{self._dir}{os.sep}{session_id}{os.sep}{name}")  # noqa: PTH116
                stamps.append(f"{stat.st_size}:{stat.st_mtime_ns}")
            except OSError:
                stamps.append("-")
        return " ".join(stamps)


def _has_snapshots(folder: Path) -> bool:
    try:
        return bool(listed(folder))
    except StoreError:
        return True  # Nobody lets us see them; who was never whole has no folder for them.


def _is_no_file(path: Path) -> bool:
    try:
        return not S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # Nobody lets us see; ``is_file`` calls that none, from Python 3.14 on.


def _within(limit_bytes: int, rows: list[str]) -> list[str]:
    """Return the first rows that fit, at least one."""
    size = 0
    for at, row in enumerate(rows):
        size += len(row)
        if at and size > limit_bytes:
            return rows[:at]
    return rows
