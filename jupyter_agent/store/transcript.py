"""The transcript as it is stored: pages of it, single messages, single parts.

Answers are plain JSON already: rows hold the wire's shape, so a page of
history is not decoded and encoded again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

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
_HEAD = "m.id, m.role, m.status, m.turn_id, m.parent_id, m.created_at, m.meta"


def page_of(
    conn: sqlite3.Connection, *, before: str | None, limit: int, limit_bytes: int, message_bytes: int = NO_LIMIT
) -> Page | None:
    """Return what comes before a message, or before a part; None for an unknown cursor.

    A message with more than ``message_bytes`` of parts comes with the newest of them, and is the page's oldest.
    However long the session, and however long a message, what is not shown is not read.
    """
    place = _place(conn, before)
    if place is None:
        return None
    top, idx = place
    # The index by ``ord`` has the branch's messages alone: what was cleared away is not walked over.
    rows = conn.execute(
        f"SELECT {_HEAD} FROM messages m WHERE m.removed=0 AND m.ord < ? ORDER BY m.ord DESC LIMIT ?", (top, limit + 1)
    ).fetchall()
    newest_first: list[Wire] = []
    size = 0
    for row in rows[:limit]:
        found = _filled(conn, _headed(row), below=idx, message_bytes=message_bytes)
        idx = None
        size += min(found.bytes, message_bytes) + len(row[6]) + _ENVELOPE_BYTES
        if newest_first and size > limit_bytes:
            break
        newest_first.append(found.message)
        if found.partial:
            return Page(newest_first[::-1], cursor_of(newest_first[-1:], partial=True))
    messages = newest_first[::-1]
    return Page(messages, cursor_of(messages, partial=False) if len(rows) > len(messages) else None)


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
    return [message for it in ids for message in messages_where(conn, "WHERE m.id=?", (it,))]


def texts(conn: sqlite3.Connection, *, limit: int = -1) -> list[tuple[str, str]]:
    """Return ``(message id, its text)`` of the branch's messages that say something, the oldest first."""
    return conn.execute(
        "SELECT id, content FROM messages WHERE removed=0 AND content != '' ORDER BY ord LIMIT ?", (limit,)
    ).fetchall()


def has_message(conn: sqlite3.Connection, message_id: str) -> bool:
    """Tell whether a message has this id."""
    return conn.execute("SELECT 1 FROM messages WHERE id=?", (message_id,)).fetchone() is not None


def part_of(conn: sqlite3.Connection, blobs: Blobs, message_id: str, part_id: str) -> Wire | None:
    """Return one part, whole, None for an unknown one. Raises ``StoreDamaged``."""
    row = conn.execute(
        "SELECT m.status, p.data FROM parts p JOIN messages m ON m.id = p.message_id"
        " WHERE p.id=? AND m.id=? AND m.removed=0",
        (part_id, message_id),
    ).fetchone()
    if row is None:
        return None
    part: Wire = json.loads(row[1])
    if row[0] == "streaming":
        _add_open_text(conn, [part])
    address = part.pop("whole", None)
    return part if address is None else {**part, **blob_of(blobs, address), "truncated": False}


def stored_part(conn: sqlite3.Connection, part_id: str) -> Wire:
    """Return a part as its row has it; one that is still open lacks its newest text."""
    return json.loads(conn.execute("SELECT data FROM parts WHERE id=?", (part_id,)).fetchone()[0])


def messages_where(
    conn: sqlite3.Connection, where: str, values: tuple[str, ...], *, message_bytes: int = NO_LIMIT
) -> list[Wire]:
    """Return the messages ``m`` that the clause picks, oldest first, with their parts as ``page_of`` gives them."""
    rows = conn.execute(f"SELECT {_HEAD} FROM messages m {where} ORDER BY m.ord", values).fetchall()
    return [_filled(conn, _headed(row), below=None, message_bytes=message_bytes).message for row in rows]


def _headed(row: tuple[Any, ...]) -> Wire:
    return {
        "id": row[0], "role": row[1], "status": row[2], "turn_id": row[3], "parent_id": row[4],
        "created_at": row[5], "parts": [], "meta": json.loads(row[6]), "truncated": False,
    }  # fmt: skip


class _Filled(NamedTuple):
    """A message with its newest parts, the bytes they have, and whether there are earlier ones."""

    message: Wire
    bytes: int
    partial: bool


def _filled(conn: sqlite3.Connection, message: Wire, *, below: int | None, message_bytes: int) -> _Filled:
    """Put the parts below an ``idx`` into the message: the newest ones, as many as fit, at least one."""
    newest_first: list[str] = []
    size, earlier = 0, False
    for (data,) in conn.execute(
        "SELECT data FROM parts WHERE message_id=? AND idx < ? ORDER BY idx DESC",
        (message["id"], NO_LIMIT if below is None else below),
    ):
        more = len(data) + 1  # Rows are spelled as frames are.
        if newest_first and size + more > message_bytes:
            earlier = True
            break
        newest_first.append(data)
        size += more
    parts: list[Wire] = json.loads(f"[{','.join(reversed(newest_first))}]")
    open_text = message["status"] == "streaming" and _add_open_text(conn, parts)
    whole = message | {"parts": parts}
    if earlier and message["status"] != "streaming" and _has_cut_part(conn, message["id"]):
        whole["truncated"] = True
    whole = marked(whole)
    shown = fit_message(whole, message_bytes) if open_text or size > message_bytes else whole
    return _Filled(shown, size, earlier or len(shown["parts"]) < len(parts))


def _has_cut_part(conn: sqlite3.Connection, message_id: str) -> bool:
    # The first test is cheap, and leaves little for the second.
    row = conn.execute(
        "SELECT 1 FROM parts WHERE message_id=? AND instr(data, '\"truncated\":true')"
        " AND json_extract(data, '$.truncated') LIMIT 1",
        (message_id,),
    ).fetchone()
    return row is not None


def _add_open_text(conn: sqlite3.Connection, parts: list[Wire]) -> bool:
    """Put the packed deltas onto those of the parts that are still open; tell whether there were any."""
    still_open = {part["id"]: part for part in parts if part.get("state") in ("streaming", "input-streaming")}
    grown = False
    for _, _, delta in deltas(conn, after=0) if still_open else ():
        part = still_open.get(delta["part_id"])
        if part is not None:
            part[delta["field"]] = (part.get(delta["field"]) or "") + delta["delta"]
            grown = True
    return grown


def deltas(conn: sqlite3.Connection, *, after: int) -> Iterator[tuple[int, int, Wire]]:
    """Yield ``(seq, ts, delta)`` of the live turn's packed deltas after a seq."""
    for (body,) in conn.execute("SELECT body FROM segments WHERE seq_to > ? ORDER BY seq_to", (after,)):
        yield from json.loads(body)
