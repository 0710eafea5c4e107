"""``SessionIndex``: the list of sessions, so that showing it wakes none of them.

It holds nothing that the sessions' own databases do not; at start it is
reconciled with them by the stamp (size and time) of their files.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, Literal

from ..errors import StoreDamaged, StoreError, StoreUnwritable
from ..protocol.frames import dump_json
from ..protocol.ids import is_session_id
from . import reading
from .schema import index_migrations
from .store import DB_NAME, DISK_HINT, as_store_error, connect

INDEX_NAME = "index.db"

Wire = dict[str, Any]
State = Literal["active", "archived", "all"]
_WHERE: dict[State, str] = {"active": "archived_at IS NULL", "archived": "archived_at IS NOT NULL", "all": "1"}


class SessionIndex:
    """One small database beside the sessions' folders. Synchronous; one thread at a time."""

    def __init__(self, sessions_dir: Path) -> None:
        self._dir = sessions_dir
        try:
            sessions_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnwritable(f"The data directory cannot be used: {error.strerror}.", hint=DISK_HINT) from None
        self._db = connect(sessions_dir.parent / INDEX_NAME)
        try:
            index_migrations.apply(self._db)
        except sqlite3.Error as error:
            self._db.conn.close()
            raise as_store_error(error) from error

    @classmethod
    def open(cls, sessions_dir: Path) -> SessionIndex:
        """Open the list; a damaged one is begun anew. Raises ``StoreError``."""
        try:
            return cls(sessions_dir)
        except StoreDamaged:
            for end in ("", "-wal", "-shm"):
                (sessions_dir.parent / f"{INDEX_NAME}{end}").unlink(missing_ok=True)
            return cls(sessions_dir)

    def close(self) -> None:
        """Close the database."""
        self._db.conn.close()

    def put(self, facts: Wire) -> None:
        """Store a session's facts as they are now."""
        self._db.conn.execute(
            "INSERT OR REPLACE INTO sessions (id, updated_at, archived_at, notebook_path, title, data, stamp)"
            " VALUES (?,?,?,?,?,?,?)",
            (
                facts["id"], facts["updated_at"], facts["archived_at"], facts["notebook_path"], facts["title"],
                dump_json(facts), self._stamp(facts["id"]),
            ),
        )  # fmt: skip

    def remove(self, session_id: str) -> None:
        """Forget a session."""
        self._db.conn.execute("DELETE FROM sessions WHERE id=?", (session_id,))
        self.set_alarm(session_id, None)

    def set_alarm(self, session_id: str, due_at: int | None) -> None:
        """Mirror when the session's earliest job is due; None: it has none."""
        if due_at is None:
            self._db.conn.execute("DELETE FROM alarms WHERE session_id=?", (session_id,))
        else:
            self._db.conn.execute(
                "INSERT OR REPLACE INTO alarms (session_id, due_at) VALUES (?,?)", (session_id, due_at)
            )

    def alarms(self) -> dict[str, int]:
        """Return when each session that has something due is to be woken."""
        return dict(self._db.conn.execute("SELECT session_id, due_at FROM alarms").fetchall())

    def list(
        self, *, state: State = "active", q: str = "", limit: int = 25, before: str | None = None
    ) -> tuple[list[Wire], bool] | None:
        """Return ``(sessions newest first, has_more)``; None when ``before`` is no session."""
        where, values = [_WHERE[state]], list[Any]()
        if q:
            where.append("title LIKE ? ESCAPE '\\'")
            values.append("%" + q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%")
        if before is not None:
            row = self._db.conn.execute("SELECT updated_at FROM sessions WHERE id=?", (before,)).fetchone()
            if row is None:
                return None
            where.append("(updated_at, id) < (?, ?)")
            values += [row[0], before]
        rows = self._db.conn.execute(
            f"SELECT data FROM sessions WHERE {' AND '.join(where)} ORDER BY updated_at DESC, id DESC LIMIT ?",
            (*values, limit + 1),
        ).fetchall()
        return [json.loads(row[0]) for row in rows[:limit]], len(rows) > limit

    def newest_of_notebook(self, path: str) -> str | None:
        """Return the id of the notebook's newest active session."""
        row = self._db.conn.execute(
            "SELECT id FROM sessions WHERE notebook_path=? AND archived_at IS NULL"
            " ORDER BY updated_at DESC, id DESC LIMIT 1",
            (path,),
        ).fetchone()
        return row[0] if row else None

    def reconcile(self) -> int:
        """Make the list agree with the folders; return how many rows changed."""
        known = dict(self._db.conn.execute("SELECT id, stamp FROM sessions").fetchall())
        present = {entry.name for entry in self._dir.iterdir() if is_session_id(entry.name)}
        changed = 0
        for session_id in known.keys() - present:
            self.remove(session_id)
            changed += 1
        for session_id in present:
            if known.get(session_id) != self._stamp(session_id) and self._read(session_id):
                changed += 1
        return changed

    def _read(self, session_id: str) -> bool:
        try:
            db = connect(self._dir / session_id / DB_NAME, read_only=True)
            try:
                facts = reading.snapshot(db.conn, page=1, page_bytes=0)["session"]
                due_at = reading.next_due(db.conn)
            finally:
                db.conn.close()
        except (sqlite3.Error, StoreError, OSError, TypeError, ValueError):
            return False  # A damaged or half-made session stays out of the list; its folder is not touched.
        self.put(facts)
        self.set_alarm(session_id, due_at)
        return True

    def _stamp(self, session_id: str) -> str:
        """Return the size and time of the session's files, the log of unfolded writes included."""
        stamps: list[str] = []
        for name in (DB_NAME, f"{DB_NAME}-wal"):
            try:
                stat = (self._dir / session_id / name).stat()
                stamps.append(f"{stat.st_size}:{stat.st_mtime_ns}")
            except OSError:
                stamps.append("-")
        return " ".join(stamps)
