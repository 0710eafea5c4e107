"""What a session's database can be asked about the session itself. Plain functions of a connection.

Its neighbours: ``transcript`` (messages), ``replay`` (events), ``history``
(what the API reads), ``loading`` (what an actor starts from).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from ..protocol.fold import status_of
from .transcript import NO_LIMIT, NOTHING, Wire, page_of
from .writes import NEVER


def epoch(conn: sqlite3.Connection) -> str:
    """Return the id of this log; it changes when the log is replaced."""
    return str(meta(conn, "epoch"))


def last_seq(conn: sqlite3.Connection) -> int:
    """Return the seq of the newest committed event, 0 when there is none."""
    row = conn.execute(
        "SELECT max((SELECT coalesce(max(seq), 0) FROM events), (SELECT coalesce(max(seq_to), 0) FROM segments))"
    ).fetchone()
    return int(row[0])


def snapshot(conn: sqlite3.Connection, *, page: int, page_bytes: int, message_bytes: int = NO_LIMIT) -> Wire:
    """Return the ``d`` of a snapshot: newest messages until ``page`` or ``page_bytes``, at least one.

    A message of more than ``message_bytes`` comes with its newest parts.
    """
    conn.execute("BEGIN")
    try:
        newest = page_of(conn, before=None, limit=page, limit_bytes=page_bytes, message_bytes=message_bytes)
        messages, before = newest or NOTHING
        known = _facts(conn)
    finally:
        conn.execute("COMMIT")
    return {**known, "messages": messages, "page": {"before": before, "has_more": before is not None}}


def facts(conn: sqlite3.Connection) -> Wire:
    """Return what a snapshot says besides its messages."""
    conn.execute("BEGIN")
    try:
        return _facts(conn)
    finally:
        conn.execute("COMMIT")


def _facts(conn: sqlite3.Connection) -> Wire:
    turn, outcome = live_turn(conn), meta(conn, "last_outcome")
    known = session(conn)
    written = [{"id": turn["message_id"], "parts": _first_part(conn, turn["message_id"])}] if turn else []
    known["status"] = status_of({"turn": turn, "last_outcome": outcome, "messages": written})
    return {
        "as_of": last_seq(conn),
        "session": known,
        "turn": turn,
        "queue": [json.loads(row[0]) for row in conn.execute("SELECT data FROM queue ORDER BY pos")],
        "paused": meta(conn, "queue", {"paused": False})["paused"],
        "approvals": [
            json.loads(row[0]) for row in conn.execute("SELECT data FROM approvals WHERE state='open' ORDER BY rowid")
        ],
        "tasks": list(_tasks(conn)),
        "last_outcome": outcome,
    }


def _first_part(conn: sqlite3.Connection, message_id: str) -> list[Any]:
    return conn.execute("SELECT id FROM parts WHERE message_id=? LIMIT 1", (message_id,)).fetchall()


def session(conn: sqlite3.Connection) -> Wire:
    """Return the session's facts; ``status`` is as stored, see ``snapshot`` for the derived one."""
    facts = dict(meta(conn, "session"))
    # Times follow the order, so the newest row has the latest: a max over all would read the whole log.
    for newest in (
        "SELECT ts FROM events ORDER BY seq DESC LIMIT 1",
        "SELECT ts FROM segments ORDER BY seq_to DESC LIMIT 1",
    ):
        row = conn.execute(newest).fetchone()
        facts["updated_at"] = max(int(row[0]) if row else 0, facts["updated_at"])
    return facts


def only_looked(conn: sqlite3.Connection, turn_id: str | None) -> bool:
    """Tell whether a turn was a task's for Plan mode, in which the user has not agreed to more."""
    row = conn.execute("SELECT trigger, mode FROM turns WHERE id=?", (turn_id,)).fetchone()
    return row == ("task", "plan") and meta(conn, "left_plan") != turn_id


def under_way(conn: sqlite3.Connection) -> bool:
    """Tell whether a turn is live or a message waits for its own."""
    if conn.execute("SELECT 1 FROM turns WHERE live = 1").fetchone() is not None:
        return True
    waits = conn.execute("SELECT 1 FROM queue LIMIT 1").fetchone() is not None
    return waits and not meta(conn, "queue", {"paused": False})["paused"]


def find_ack(conn: sqlite3.Connection, cmd_id: str, message_id: str | None) -> Wire | None:
    """Return the ack a command got before, by its id or by the message it sent."""
    row = conn.execute("SELECT ack FROM commands WHERE cmd_id=?", (cmd_id,)).fetchone()
    if row is None and message_id is not None:
        row = conn.execute(
            "SELECT ack FROM commands WHERE message_id=? AND json_extract(ack, '$.status')='accepted'", (message_id,)
        ).fetchone()
    return json.loads(row[0]) if row else None


def next_due(conn: sqlite3.Connection) -> int | None:
    """Return when the session's earliest alarm rings; None when none will."""
    if conn.execute("SELECT 1 FROM sqlite_schema WHERE name='jobs'").fetchone() is None:
        return None  # An older version wrote it, and nobody has opened it since.
    return conn.execute("SELECT min(due_at) FROM jobs WHERE due_at < ?", (NEVER,)).fetchone()[0]


def live_turn(conn: sqlite3.Connection) -> Wire | None:
    """Return the turn that runs or waits for the user."""
    names = ("id", "trigger", "message_id", "mode", "status", "step", "attempt", "started_at", "user")
    found = conn.execute("SELECT * FROM turns WHERE live = 1")
    columns = [column[0] for column in found.description]
    row = found.fetchone()
    if row is None:
        return None
    turn = dict(zip(columns, row, strict=True))
    # The list reads sessions that an older version wrote and nobody has opened since.
    return {name: turn.get(name, "") for name in names}


def _tasks(conn: sqlite3.Connection) -> Iterator[Wire]:
    names = ("id", "title", "description", "mode", "status", "created_at", "completed_at", "turn_id", "rev")
    for row in conn.execute(f"SELECT {', '.join(names)} FROM tasks ORDER BY rowid"):
        yield dict(zip(names, row, strict=True))


def meta(conn: sqlite3.Connection, key: str, default: Any = None) -> Any:
    """Return one fact of ``meta``."""
    row = conn.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
    return json.loads(row[0]) if row else default
