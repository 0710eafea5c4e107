"""Opening a database the way all of ours are opened."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from sqlite_utils import Database

from ..errors import StoreUnwritable
from . import left_log
from .faults import as_store_error, is_busy, unwritable
from .profile import Profile

log = logging.getLogger(__name__)


def connect(path: Path, *, read_only: bool = False, profile: Profile = "local") -> Database:
    """Open a database: WAL, foreign keys, our own transactions. Raises ``StoreError``.

    With the ``network`` profile no other process can open it meanwhile, not even to read.
    """
    conn = None
    try:
        new = not path.exists() or path.stat().st_size == 0
        conn = _opened_to_read(path) if read_only else _opened(path, "rwc")
        if read_only:
            conn.execute("SELECT 1 FROM sqlite_schema").fetchone()  # Locked, or no database: say so here.
        else:
            if new:  # An old file would be written to.
                conn.execute("PRAGMA auto_vacuum=INCREMENTAL")
            if profile == "network":
                # Before the first access: then SQLite keeps the log's index in memory and shares none.
                conn.execute("PRAGMA locking_mode=EXCLUSIVE")
            _choose_journal(conn, profile)
            conn.execute("PRAGMA foreign_keys=ON")
    except sqlite3.Error as error:
        if conn is not None:
            conn.close()
        raise as_store_error(error) from error
    except OSError as error:
        raise unwritable("The session could not be opened", error) from None
    return Database(conn, execute_plugins=False)


def in_memory() -> Database:
    """Open a database that is gone when it is closed."""
    return Database(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False), execute_plugins=False)


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    conn = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode if '=' in mode else f'mode={mode}'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    conn.execute("PRAGMA busy_timeout=2000")
    return conn


def _opened_to_read(path: Path) -> sqlite3.Connection:
    log_file = path.with_name(f"{path.name}-wal")
    if not log_file.exists():
        # Nobody has it open: read the file as it is, so that none is left beside it, and none is needed there.
        return _opened(path, "mode=ro&immutable=1")
    conn = _opened(path, "ro")
    conn.execute("PRAGMA busy_timeout=200")  # Who shares lets us look at once; who does not, never will.
    try:
        conn.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except sqlite3.Error as error:
        conn.close()
        if not isinstance(as_store_error(error), StoreUnwritable):
            raise
        try:
            return left_log.opened(path, log_file)
        except (OSError, MemoryError):
            raise error from None
    return conn


def _choose_journal(conn: sqlite3.Connection, profile: Profile) -> None:
    try:
        mode = conn.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    except sqlite3.OperationalError as error:
        if profile == "local" or is_busy(error):
            raise
        mode = "refused"
    if mode == "wal":
        conn.execute("PRAGMA synchronous=NORMAL")
        return
    log.warning("This file system takes no write-ahead log; sessions are stored safely, but slowly.")
    conn.execute("PRAGMA journal_mode=DELETE")
    conn.execute("PRAGMA synchronous=FULL")
