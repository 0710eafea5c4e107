"""A log that was left beside a database says what SQLite would read in it."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jupyter_agent.store import left_log


@pytest.fixture
def written(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database with a log that nothing folds back, and a cache that holds a few pages."""
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as conn:
        for pragma in ("journal_mode=WAL", "wal_autocheckpoint=0", "cache_size=5"):
            conn.execute(f"PRAGMA {pragma}")
        conn.execute("CREATE TABLE said (id INTEGER PRIMARY KEY, body BLOB)")
        conn.execute("CREATE INDEX said_body ON said (body)")
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield conn


def read_beside(tmp_path: Path, conn: sqlite3.Connection) -> None:
    """Read copies of both files, and compare them with what SQLite says."""
    for end in ("", "-wal"):
        shutil.copy(tmp_path / f"a.db{end}", tmp_path / f"copy.db{end}")
    with closing(left_log.opened(tmp_path / "copy.db", tmp_path / "copy.db-wal")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = "SELECT id, body FROM said ORDER BY id"
        assert copy.execute(rows).fetchall() == conn.execute(rows).fetchall()


def say(conn: sqlite3.Connection, count: int) -> None:
    chance = random.Random(1)
    ids = list(range(count))
    chance.shuffle(ids)
    conn.execute("BEGIN")
    conn.executemany("INSERT INTO said VALUES (?,?)", [(one, chance.randbytes(300)) for one in ids])
    conn.execute("COMMIT")


def test_a_transaction_too_long_for_the_cache_whose_pages_come_in_any_order(
    written: sqlite3.Connection, tmp_path: Path
) -> None:
    say(written, 3000)
    read_beside(tmp_path, written)


def test_a_database_that_became_shorter(written: sqlite3.Connection, tmp_path: Path) -> None:
    say(written, 3000)
    written.execute("DELETE FROM said WHERE id > 10")
    written.execute("VACUUM")
    read_beside(tmp_path, written)


def test_what_never_happened_is_not_read(written: sqlite3.Connection, tmp_path: Path) -> None:
    say(written, 10)
    written.execute("BEGIN")
    written.executemany("INSERT INTO said VALUES (?, zeroblob(3000))", [(one,) for one in range(10, 500)])
    spilled = (tmp_path / "a.db-wal").stat().st_size
    for end in ("", "-wal"):
        shutil.copy(tmp_path / f"a.db{end}", tmp_path / f"copy.db{end}")
    written.execute("ROLLBACK")
    assert spilled > 1_000_000
    with closing(left_log.opened(tmp_path / "copy.db", tmp_path / "copy.db-wal")) as copy:
        assert copy.execute("SELECT count(*) FROM said").fetchone() == (10,)


@pytest.mark.parametrize("page_size", [0, 4, 12, 1000])
def test_a_log_with_pages_of_no_size_that_there_is_holds_nothing(
    written: sqlite3.Connection, tmp_path: Path, page_size: int
) -> None:
    """Its sum is right all the same: somebody made it."""
    magic = 0x377F0682
    head = struct.pack(">6I", magic, 3007000, page_size, 0, 0, 0)
    one = two = 0
    words = struct.unpack("<6I", head)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    shutil.copy(tmp_path / "a.db", tmp_path / "copy.db")
    (tmp_path / "copy.db-wal").write_bytes(head + struct.pack(">2I", one, two) + bytes(200))
    with closing(left_log.opened(tmp_path / "copy.db", tmp_path / "copy.db-wal")) as copy:
        assert copy.execute("SELECT count(*) FROM said").fetchone() == (0,)
