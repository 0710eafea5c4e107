"""A database with the log that was left beside it, read where SQLite cannot: on a full or read-only disk.

SQLite keeps an index of the log in a file of its own, also for those who only read, and that file must be made first.
Here both files are read into memory, and the log is played as SQLite would play it (its "WAL file format")::

    header   magic (which says how its sums count), page size, two salts, its own sum
    frame    page number, the database's size in pages if a transaction ends here, the salts, the sum so far; the page
             … as far as salts and sums are right; what comes after the last whole transaction never happened
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

_MAGIC = 0x377F0682
_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_SUMMED = 24
"""How much of the log's header its sum covers; of a frame's it is ``_FRAME_SUMMED``."""
_FRAME_SUMMED = 8
_LEAST_PAGE = 512
_PLAIN = b"\x01\x01"
"""What the database says of itself where it has no log."""

Sums = tuple[int, int]
Pages = list[tuple[int, bytes]]


def opened(database: Path, log: Path) -> sqlite3.Connection:
    """Return the database as it is, in memory. Raises ``OSError``, ``sqlite3.Error``."""
    pages = bytearray(database.read_bytes())
    for length, changed in _played(log.read_bytes()):
        pages[length:] = bytes(max(0, length - len(pages)))  # What they stand in: they come in any order.
        for at, page in changed:
            if at < length:
                pages[at : at + len(page)] = page
    pages[18:20] = _PLAIN
    conn = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        conn.deserialize(bytes(pages))
    except BaseException:
        conn.close()
        raise
    return conn


def _played(log: bytes) -> Iterator[tuple[int, Pages]]:
    """Yield each whole transaction: how long the database is after it, and its pages with their places."""
    if len(log) < _HEADER.size:
        return
    magic, _, size, _, *salts, first, second = _HEADER.unpack_from(log)
    order = ">" if magic & 1 else "<"
    sums = _summed(order, log[:_SUMMED], (0, 0))
    if magic & ~1 != _MAGIC or sums != (first, second) or size < _LEAST_PAGE or size & (size - 1):
        return
    pages: Pages = []
    for at in range(_HEADER.size, len(log) - _FRAME.size - size + 1, _FRAME.size + size):
        number, ends, *its_salts, first, second = _FRAME.unpack_from(log, at)
        page = log[at + _FRAME.size : at + _FRAME.size + size]
        sums = _summed(order, page, _summed(order, log[at : at + _FRAME_SUMMED], sums))
        if its_salts != salts or sums != (first, second):
            return
        pages.append(((number - 1) * size, page))
        if ends:
            yield ends * size, pages
            pages = []


def _summed(order: str, data: bytes, sums: Sums) -> Sums:
    one, two = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for word in words:
        one = (one + word + two) & 0xFFFFFFFF
        two = (two + next(words) + one) & 0xFFFFFFFF
    return one, two
