"""What of a session's past is dropped: acks and events, never a message or a block of the API's history."""

from __future__ import annotations

import sqlite3


def trim(conn: sqlite3.Connection, before: int, *, keep: int) -> None:
    """Drop acks from before a time (ms), and of the events those that are older or not among the ``keep`` newest.

    The newest event stays: it holds the session's number and time.
    """
    conn.execute("DELETE FROM commands WHERE created_at < ?", (before,))
    newest = conn.execute("SELECT max(seq) FROM events").fetchone()[0]
    if newest is None:
        return
    # By number: the clock may have gone backwards in between.
    recent = conn.execute("SELECT min(seq) FROM events WHERE ts >= ?", (before,)).fetchone()[0]
    kept = conn.execute("SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?", (keep - 1,)).fetchone()
    first = min(newest, max(recent if recent is not None else newest, kept[0] if kept else 0))
    conn.execute("DELETE FROM events WHERE seq < ?", (first,))
