"""What SQLite and the system complain of, in words that a user can act on.

It stands apart from the opening of databases: a server that nobody asks for a session does without
``sqlite_utils`` (see ``tests/hosts/test_start.py``).
"""

from __future__ import annotations

import errno
import sqlite3

from ..errors import StoreDamaged, StoreError, StoreLocked, StoreUnwritable

DISK_HINT = "Check the disk's free space and the permissions of the data directory."
FULL_HINT = (
    "Free some space on the disk of the data directory (`jupyter agent doctor` says where it is); "
    "what you wrote is kept, and sent again by itself."
)
ODD = (TypeError, ValueError, LookupError, AttributeError, RecursionError)
"""What reading a row raises that holds something else than what was ever written there."""
DAMAGE_HINT = "Put its file back from a backup, or delete the session."


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another process holds the database."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def unwritable(what: str, error: OSError) -> StoreUnwritable:
    """Return the system's complaint as something a user can act on; ``what`` could not be done."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StoreUnwritable(f"{what}: {error.strerror}.", hint=FULL_HINT if full else DISK_HINT)


def as_store_error(error: sqlite3.Error) -> StoreError:
    """Return SQLite's complaint as something a user can act on."""
    text = str(error)
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return StoreUnwritable("The session could not be stored: the disk is full.", hint=FULL_HINT)
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")) or "readonly" in text:
        return StoreUnwritable(f"The session could not be stored: {text}.", hint=DISK_HINT)
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreDamaged(f"The session's database is damaged: {text}.", hint=DAMAGE_HINT)
    if is_busy(error):
        return StoreLocked("Another program has this session's database open.", hint="Close it there, then try again.")
    return StoreError(f"The session's database refused: {text}.")
