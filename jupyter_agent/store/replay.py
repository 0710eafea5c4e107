"""What happened since a view last heard: the log's events, neighbouring deltas as one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

from ..protocol.commands import Cursor
from ..protocol.plain import utf16_len
from .reading import epoch, last_seq, live_turn, meta
from .transcript import NO_LIMIT, Wire, deltas, messages_where, stored_part


def replay(
    conn: sqlite3.Connection, since: Cursor, *, limit: int, limit_bytes: int, message_bytes: int = NO_LIMIT
) -> list[Wire] | None:
    """Return the events after ``since``, neighbouring deltas as one; None when a snapshot is cheaper.

    ``covers`` stands where one event answers for many. None as well when the cursor
    belongs to another epoch, is ahead of the log, is older than what the log still has, or was
    given out before the tables were migrated. Of a message come the newest parts, as in a frame.
    """
    conn.execute("BEGIN")
    try:
        top = last_seq(conn)
        if since.ep != epoch(conn) or since.seq > top or top - since.seq > limit:
            return None
        if since.seq < top and since.seq + 1 < _oldest(conn):
            return None
        if since.seq <= meta(conn, "migrated_seq", -1):
            return None
        events = [_rehydrate(conn, *row, message_bytes=message_bytes) for row in conn.execute(
            "SELECT seq, ts, turn_id, type, body FROM events WHERE seq > ? ORDER BY seq", (since.seq,)
        )]  # fmt: skip
        live = live_turn(conn)
        turn = live["id"] if live else None
        events += [
            {"seq": seq, "ts": ts, "turn": turn, "type": "part.delta", "d": delta}
            for seq, ts, delta in deltas(conn, after=since.seq)
            if seq > since.seq
        ]
    finally:
        conn.execute("COMMIT")
    events.sort(key=lambda event: event["seq"])
    if sum(len(str(event["d"])) for event in events) > limit_bytes:
        return None
    return list(_joined(_close_gaps(events, since.seq)))


def _oldest(conn: sqlite3.Connection) -> int:
    """Return the seq of the oldest event that the log still has."""
    row = conn.execute("SELECT seq FROM events ORDER BY seq LIMIT 1").fetchone()
    return int(row[0]) if row else 1 << 62


def _rehydrate(
    conn: sqlite3.Connection, seq: int, ts: int, turn: str | None, kind: str, body: str, *, message_bytes: int
) -> Wire:
    d = json.loads(body)
    if "ref" in d:
        match kind:
            case "message.updated" | "message.added":
                d = {"message": messages_where(conn, "WHERE m.id=?", (d["ref"],), message_bytes=message_bytes)[0]}
            case "part.done":
                d = {"message_id": d["message_id"], "part": stored_part(conn, d["ref"])}
            case _:
                part = stored_part(conn, d["ref"])
                names = ("state", "running", "rev", "input", "output", "error", "reason", "started_at", "ended_at")
                d = {"part_id": part["id"], **{name: part[name] for name in names if part[name] is not None}}
                if part.get("whole"):
                    d |= {"truncated": True, "whole": part["whole"]}
    return {"seq": seq, "ts": ts, "turn": turn, "type": kind, "d": d}


def _close_gaps(events: list[Wire], after: int) -> Iterator[Wire]:
    """Where deltas have been dropped, let the next event answer for their numbers."""
    last = after
    for event in events:
        seq = event["seq"]
        if seq > last + 1:
            event = {"covers": [last + 1, seq], **{k: v for k, v in event.items() if k != "seq"}}
        yield event
        last = seq


def _joined(events: Iterator[Wire]) -> Iterator[Wire]:
    """Join the deltas of a part that follow each other: a view that comes back paints once, not a thousand times."""
    last: Wire | None = None
    for event in events:
        if last is not None and _continues(last, event):
            d = {**last["d"], "delta": last["d"]["delta"] + event["d"]["delta"]}
            last = {**last, "covers": [range_of(last)[0], range_of(event)[1]], "ts": event["ts"], "d": d}
            last.pop("seq", None)
            continue
        if last is not None:
            yield last
        last = event
    if last is not None:
        yield last


def _continues(last: Wire, event: Wire) -> bool:
    if last["type"] != "part.delta" or event["type"] != "part.delta":
        return False
    said, more = last["d"], event["d"]
    same = (said["part_id"], said["field"]) == (more["part_id"], more["field"])
    return same and said["at"] + utf16_len(said["delta"]) == more["at"]


def range_of(event: Wire) -> tuple[int, int]:
    """Return the first and the last number that an event answers for."""
    first, last = event.get("covers") or (event["seq"], event["seq"])
    return first, last
