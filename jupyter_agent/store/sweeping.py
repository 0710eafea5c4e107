"""Blobs that nothing names any more, and how they go.

::

    look   every 64 hex digits in the snapshots' and the session's own tables, whatever the column, name a blob;
           an old one that none of them names is unwanted     (nobody is held up: read beside the session)
    drop   aside/<address> ◄── blobs/<address>    touched meanwhile? it goes back : it is gone
                                                  (by the session's owner, between two of its commits)

Whoever is about to name a blob touches it first (``Blobs.save``, ``Blobs.hold``), so a look that is out of date
harms nobody. What a crash leaves aside is still read there, and settled by the next drop.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .blobs import BLOBS, Blobs
from .faults import as_store_error
from .opening import connect
from .snapshots import QUARANTINE, listed

_DB_NAME = "session.db"
_ADDRESS = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwanted:
    """Addresses with the time (ns) each was touched last, and the snapshots that were looked into."""

    blobs: dict[str, int]
    snapshots: frozenset[str]


def look(folder: Path, before: int, own: sqlite3.Connection | None = None) -> Unwanted:
    """Find the blobs from before a time (ms) that nothing names. Raises ``StoreError``.

    ``own``: the session's database where nobody else can open it.
    """
    names = _snapshots(folder)
    unwanted = Blobs(folder / BLOBS).old(before)
    if (folder / QUARANTINE).exists():
        unwanted = {}  # Nobody can tell what a damaged file names.
    try:
        if unwanted and own is not None:
            _spare(own, unwanted)
        elif unwanted:
            with closing(connect(folder / _DB_NAME, read_only=True).conn) as conn:
                _spare(conn, unwanted)
        for snapshot in listed(folder) if unwanted else ():
            with closing(connect(snapshot.path, read_only=True).conn) as conn:
                _spare(conn, unwanted)
    except sqlite3.Error as error:
        raise as_store_error(error) from error
    return Unwanted(blobs=unwanted, snapshots=names)


def drop(folder: Path, unwanted: Unwanted) -> int:
    """Drop what was found, but for what is wanted again; return how many that were. The caller owns the session."""
    if _snapshots(folder) != unwanted.snapshots:
        return 0  # It was snapped, put back or pruned meanwhile: another day.
    blobs = Blobs(folder / BLOBS)
    return sum(blobs.drop(address, touched) for address, touched in unwanted.blobs.items())


def _snapshots(folder: Path) -> frozenset[str]:
    return frozenset(snapshot.path.name for snapshot in listed(folder))


def _spare(conn: sqlite3.Connection, unwanted: dict[str, int]) -> None:
    """Take what this database names off the list, wherever it names it, at one moment."""
    conn.execute("BEGIN")
    try:
        _spare_named(conn, unwanted)
    finally:
        conn.execute("COMMIT")


def _spare_named(conn: sqlite3.Connection, unwanted: dict[str, int]) -> None:
    tables = conn.execute("SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite_%'").fetchall()
    for (table,) in tables:
        columns = [f'"{row[1]}"' for row in conn.execute(f'PRAGMA table_info("{table}")')]
        for row in conn.execute(f'SELECT {", ".join(columns)} FROM "{table}"'):
            for address in _addresses(row):
                unwanted.pop(address, None)


def _addresses(row: Iterable[object]) -> Iterable[str]:
    for value in row:
        if isinstance(value, str) and len(value) >= 64:
            yield from _ADDRESS.findall(value)
