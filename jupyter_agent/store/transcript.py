"""The transcript as it is stored: pages of it, single messages, single parts.

Answers are plain JSON already: rows hold the wire's shape, so a page of
history is not decoded and encoded again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from ..protocol.cut import cursor_of, fit_message, marked
from .blobs import Blobs
from .history import Wire, blob_of

NO_LIMIT = 1 << 62


class Page(NamedTuple):
    """A stretch of the transcript, oldest first."""

    messages: list[Wire]
    before: str | None
    """The cursor of what comes before: a message, or a part where that one's message has earlier ones."""


NOTHING = Page([], None)


_ENVELOPE_BYTES = 512
"""What a message takes besides its parts."""


def page_of(
    conn: sqlite3.Connection, *, before: str | None, limit: int, limit_bytes: int, message_bytes: int = NO_LIMIT
) -> Page | None:
    """Return what comes before a message, or before a part; None for an unknown cursor.

    A message with more than ``message_bytes`` of parts comes with the newest of them, and is the page's oldest.
    """
    place = _place(conn, before)
    if place is None:
        return None
    top, idx = place
    rows = conn.execute(
        "SELECT m.id, coalesce((SELECT sum(length(p.data)) FROM parts p WHERE p.message_id = m.id), 0),"
        " length(m.meta) FROM messages m WHERE m.removed=0 AND m.ord < ? ORDER BY m.ord DESC LIMIT ?",
        (top, limit + 1),
    ).fetchall()
    ids: list[str] = []
    size = 0
    for message_id, length, meta in rows[:limit]:
        size += min(length, message_bytes) + meta + _ENVELOPE_BYTES
        if ids and size > limit_bytes:
            break
        ids.append(message_id)
    marks = ",".join("?" * len(ids))
    found = messages_where(conn, f"WHERE m.id IN ({marks})", tuple(ids))
    if found and idx is not None:
        found[-1]["parts"] = [part for part in found[-1]["parts"] if part["idx"] < idx]
    messages: list[Wire] = []
    for message in reversed(found):
        shown = fit_message(message, message_bytes)
        messages.insert(0, shown)
        if len(shown["parts"]) < len(message["parts"]):
            return Page(messages, cursor_of(messages, partial=True))
    return Page(messages, cursor_of(messages, partial=False) if len(rows) > len(ids) else None)


def _place(conn: sqlite3.Connection, cursor: str | None) -> tuple[int, int | None] | None:
    """Return what to read from: messages below an ``ord``, and of the newest only the parts below an ``idx``."""
    if cursor is None:
        return 1 << 62, None
    row = conn.execute("SELECT ord FROM messages WHERE id=?", (cursor,)).fetchone()
    if row is not None:
        return int(row[0]), None
    row = conn.execute(
        "SELECT m.ord, p.idx, (SELECT min(idx) FROM parts WHERE message_id=m.id)"
        " FROM parts p JOIN messages m ON m.id = p.message_id WHERE p.id=?",
        (cursor,),
    ).fetchone()
    if row is None:
        return None
    ord_, idx, least = row
    return (ord_, None) if idx == least else (ord_ + 1, idx)


def messages_of(conn: sqlite3.Connection, ids: list[str]) -> list[Wire]:
    """Return these messages, with all their parts."""
    found = (messages_where(conn, "WHERE m.id=?", (message_id,)) for message_id in ids)
    return [message for messages in found for message in messages]


def texts(conn: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return ``(message id, its text)`` of the branch's messages that say something."""
    return conn.execute("SELECT id, content FROM messages WHERE removed=0 AND content != '' ORDER BY ord").fetchall()


def has_message(conn: sqlite3.Connection, message_id: str) -> bool:
    """Tell whether a message has this id."""
    return conn.execute("SELECT 1 FROM messages WHERE id=?", (message_id,)).fetchone() is not None


def part_of(conn: sqlite3.Connection, blobs: Blobs, message_id: str, part_id: str) -> Wire | None:
    """Return one part, whole, None for an unknown one. Raises ``StoreDamaged``."""
    for message in messages_where(conn, "WHERE m.removed=0 AND m.id=?", (message_id,)):
        for part in message["parts"]:
            if part["id"] == part_id:
                address = part.pop("whole", None)
                return part if address is None else {**part, **blob_of(blobs, address), "truncated": False}
    return None


def stored_part(conn: sqlite3.Connection, part_id: str) -> Wire:
    """Return a part as its row has it; one that is still open lacks its newest text."""
    return json.loads(conn.execute("SELECT data FROM parts WHERE id=?", (part_id,)).fetchone()[0])


def messages_where(conn: sqlite3.Connection, where: str, values: tuple[str, ...]) -> list[Wire]:
    """Return the messages ``m`` that the clause picks, with their parts, oldest first."""
    messages: dict[str, Wire] = {}
    for row in conn.execute(
        "SELECT m.id, m.role, m.status, m.turn_id, m.parent_id, m.created_at, m.meta"
        f" FROM messages m {where} ORDER BY m.ord",
        values,
    ):
        messages[row[0]] = {
            "id": row[0], "role": row[1], "status": row[2], "turn_id": row[3], "parent_id": row[4],
            "created_at": row[5], "parts": [], "meta": json.loads(row[6]), "truncated": False,
        }  # fmt: skip
    marks = ",".join("?" * len(messages))
    for message_id, data in conn.execute(
        f"SELECT message_id, data FROM parts WHERE message_id IN ({marks}) ORDER BY message_id, idx", tuple(messages)
    ):
        messages[message_id]["parts"].append(json.loads(data))
    if any(message["status"] == "streaming" for message in messages.values()):
        _add_open_text(conn, messages)
    return [marked(message) for message in messages.values()]


def _add_open_text(conn: sqlite3.Connection, messages: dict[str, Wire]) -> None:
    """Put the packed deltas onto the parts that are still open."""
    parts = {part["id"]: part for message in messages.values() for part in message["parts"]}
    for _, _, delta in deltas(conn, after=0):
        part = parts.get(delta["part_id"])
        if part is not None and part["state"] in ("streaming", "input-streaming"):
            part[delta["field"]] = (part.get(delta["field"]) or "") + delta["delta"]


def deltas(conn: sqlite3.Connection, *, after: int) -> Iterator[tuple[int, int, Wire]]:
    """Yield ``(seq, ts, delta)`` of the live turn's packed deltas after a seq."""
    for (body,) in conn.execute("SELECT body FROM segments WHERE seq_to > ? ORDER BY seq_to", (after,)):
        yield from json.loads(body)
