"""What a session's database can be asked. Plain functions of a connection.

Answers that go on the wire are plain JSON already: rows hold the wire's shape,
so a page of history is not decoded and encoded again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import StoreDamaged
from ..protocol.commands import Cursor
from ..protocol.cut import cursor_of, fit_message, marked
from ..protocol.fold import status_of
from ..protocol.plain import utf16_len
from .blobs import Blobs
from .writes import NEVER, Call, Job, Permission

Wire = dict[str, Any]

NO_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The newest request of the live turn; ``stop_reason`` is None until it closed."""

    step: int
    model: str
    closed: bool
    stop_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """All that an actor needs to go on where the last one stopped (wire shapes)."""

    ep: str
    seq: int
    snapshot: Wire
    message_ids: list[str]
    """What the live turn has written; more than one message when it was steered."""
    step: Step | None
    step_parts: list[str]
    """Parts of the newest step's newest attempt."""
    spoken_step: int
    """The newest step whose answer is in the API's history, complete or cut; 0 for none."""
    answered_step: int
    interrupted: int
    cuts: int
    seen_at: int
    """When the user was last here, as far as the database knows."""
    repair_level: int
    calls: list[Call]
    turn_usage: list[Wire]
    queue_rev: int
    grants: list[str]
    permissions: dict[str, Permission]
    """By the call that each lets run."""
    prefix: Wire | None
    last_looked: bool
    left_plan: str | None
    mixed_turn: str | None
    held_turn: str | None
    start_next: str | None
    jobs: list[Job]
    titled_by: str | None
    head: str | None
    """The branch's last message."""


def load(conn: sqlite3.Connection, blobs: Blobs) -> Loaded:
    """Read what a session is in the middle of. Raises ``StoreDamaged``."""
    snap = snapshot(conn, page=1, page_bytes=0)
    turn = snap["turn"]
    message_ids: list[str] = []
    if turn is not None:
        message_ids = _turn_messages(conn, turn)
        snap["messages"] = _messages(conn, "WHERE m.id=?", (message_ids[-1],))
    queue = _meta(conn, "queue", {"rev": 0})
    step = _last_step(conn, turn["id"]) if turn else None
    counts = conn.execute("SELECT interrupted, cuts FROM turns WHERE live = 1").fetchone() or (0, 0)
    head = conn.execute("SELECT id FROM messages WHERE removed=0 ORDER BY ord DESC LIMIT 1").fetchone()
    return Loaded(
        ep=epoch(conn),
        seq=snap["as_of"],
        snapshot=snap,
        message_ids=message_ids,
        step=step,
        step_parts=_step_parts(conn, turn["id"]) if turn else [],
        spoken_step=_newest_step(conn, turn["id"], ord_=0) if turn else 0,
        answered_step=_newest_step(conn, turn["id"], ord_=1) if turn else 0,
        interrupted=counts[0],
        cuts=counts[1],
        seen_at=_seen_at(conn),
        repair_level=int(_meta(conn, "repair_level", 0)),
        calls=_calls(conn, blobs, turn["id"], step.step) if turn and step else [],
        turn_usage=_usages(conn, turn["id"]) if turn else [],
        queue_rev=queue["rev"],
        grants=_meta(conn, "grants") or [],
        permissions=_permissions(conn, turn["id"]) if turn else {},
        prefix=_meta(conn, "prefix"),
        last_looked=snap["last_outcome"] is not None and only_looked(conn, snap["last_outcome"]["turn"]),
        left_plan=_meta(conn, "left_plan"),
        mixed_turn=_meta(conn, "mixed_turn"),
        held_turn=_meta(conn, "held_turn"),
        start_next=_meta(conn, "start_next"),
        jobs=_jobs(conn),
        titled_by=_meta(conn, "titled_by"),
        head=head[0] if head else None,
    )


def only_looked(conn: sqlite3.Connection, turn_id: str | None) -> bool:
    """Tell whether a turn was a task's for Plan mode, in which the user has not agreed to more."""
    row = conn.execute("SELECT trigger, mode FROM turns WHERE id=?", (turn_id,)).fetchone()
    return row == ("task", "plan") and _meta(conn, "left_plan") != turn_id


def under_way(conn: sqlite3.Connection) -> bool:
    """Tell whether a turn is live or a message waits for its own."""
    if conn.execute("SELECT 1 FROM turns WHERE live = 1").fetchone() is not None:
        return True
    waits = conn.execute("SELECT 1 FROM queue LIMIT 1").fetchone() is not None
    return waits and not _meta(conn, "queue", {"paused": False})["paused"]


def epoch(conn: sqlite3.Connection) -> str:
    """Return the id of this log; it changes when the log is replaced."""
    return str(_meta(conn, "epoch"))


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
        turn = _live_turn(conn)
        snap: Wire = {
            "as_of": last_seq(conn),
            "session": session(conn),
            "messages": messages,
            "page": {"before": before, "has_more": before is not None},
            "turn": turn,
            "queue": [json.loads(row[0]) for row in conn.execute("SELECT data FROM queue ORDER BY pos")],
            "paused": _meta(conn, "queue", {"paused": False})["paused"],
            "approvals": [
                json.loads(row[0])
                for row in conn.execute("SELECT data FROM approvals WHERE state='open' ORDER BY rowid")
            ],
            "tasks": list(_tasks(conn)),
            "last_outcome": _meta(conn, "last_outcome"),
        }
    finally:
        conn.execute("COMMIT")
    snap["session"]["status"] = status_of(snap)
    return snap


def session(conn: sqlite3.Connection) -> Wire:
    """Return the session's facts; ``status`` is as stored, see ``snapshot`` for the derived one."""
    facts = dict(_meta(conn, "session"))
    # Times follow the order, so the newest row has the latest: a max over all would read the whole log.
    for newest in (
        "SELECT ts FROM events ORDER BY seq DESC LIMIT 1",
        "SELECT ts FROM segments ORDER BY seq_to DESC LIMIT 1",
    ):
        row = conn.execute(newest).fetchone()
        facts["updated_at"] = max(int(row[0]) if row else 0, facts["updated_at"])
    return facts


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
    found = _messages(conn, f"WHERE m.id IN ({marks})", tuple(ids))
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


def _messages(conn: sqlite3.Connection, where: str, values: tuple[str, ...]) -> list[Wire]:
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
    for _, _, delta in _deltas(conn, after=0):
        part = parts.get(delta["part_id"])
        if part is not None and part["state"] in ("streaming", "input-streaming"):
            part[delta["field"]] = (part.get(delta["field"]) or "") + delta["delta"]


def _deltas(conn: sqlite3.Connection, *, after: int) -> Iterator[tuple[int, int, Wire]]:
    for (body,) in conn.execute("SELECT body FROM segments WHERE seq_to > ? ORDER BY seq_to", (after,)):
        yield from json.loads(body)


def replay(conn: sqlite3.Connection, since: Cursor, *, limit: int, limit_bytes: int) -> list[Wire] | None:
    """Return the events after ``since``, neighbouring deltas as one; None when a snapshot is cheaper.

    ``covers`` stands where one event answers for many. None as well when the cursor
    belongs to another epoch, is ahead of the log, or is older than what the log still has.
    """
    conn.execute("BEGIN")
    try:
        top = last_seq(conn)
        if since.ep != epoch(conn) or since.seq > top or top - since.seq > limit:
            return None
        if since.seq < top and since.seq + 1 < _oldest(conn):
            return None
        events = [_rehydrate(conn, *row) for row in conn.execute(
            "SELECT seq, ts, turn_id, type, body FROM events WHERE seq > ? ORDER BY seq", (since.seq,)
        )]  # fmt: skip
        live = _live_turn(conn)
        turn = live["id"] if live else None
        events += [
            {"seq": seq, "ts": ts, "turn": turn, "type": "part.delta", "d": delta}
            for seq, ts, delta in _deltas(conn, after=since.seq)
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


def _rehydrate(conn: sqlite3.Connection, seq: int, ts: int, turn: str | None, kind: str, body: str) -> Wire:
    d = json.loads(body)
    if "ref" in d:
        match kind:
            case "message.updated" | "message.added":
                d = {"message": _messages(conn, "WHERE m.id=?", (d["ref"],))[0]}
            case "part.done":
                d = {"message_id": d["message_id"], "part": _part(conn, d["ref"])}
            case _:
                part = _part(conn, d["ref"])
                names = ("state", "running", "rev", "input", "output", "error", "reason", "started_at", "ended_at")
                d = {"part_id": part["id"], **{name: part[name] for name in names if part[name] is not None}}
                if part.get("whole"):
                    d |= {"truncated": True, "whole": part["whole"]}
    return {"seq": seq, "ts": ts, "turn": turn, "type": kind, "d": d}


def _part(conn: sqlite3.Connection, part_id: str) -> Wire:
    return json.loads(conn.execute("SELECT data FROM parts WHERE id=?", (part_id,)).fetchone()[0])


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


def part_of(conn: sqlite3.Connection, blobs: Blobs, message_id: str, part_id: str) -> Wire | None:
    """Return one part, whole, None for an unknown one. Raises ``StoreDamaged``."""
    for message in _messages(conn, "WHERE m.removed=0 AND m.id=?", (message_id,)):
        for part in message["parts"]:
            if part["id"] == part_id:
                address = part.pop("whole", None)
                return part if address is None else {**part, **_blob(blobs, address), "truncated": False}
    return None


def body_of(blobs: Blobs, text: str) -> Any:
    """Return what a row's body says, from the blob that it names if it names one."""
    value = json.loads(text)
    return _blob(blobs, value["blob"]) if isinstance(value, dict) and value.keys() == {"blob"} else value  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType] -- free-form JSON


def _blob(blobs: Blobs, address: str) -> Any:
    content = blobs.load(address)
    if content is None:
        raise StoreDamaged(
            "A file of the session is missing.", hint=f"Put blobs/{address} back from a backup of its folder."
        )
    return json.loads(content)


def api_history(conn: sqlite3.Connection, blobs: Blobs) -> list[tuple[str, list[Wire]]]:
    """Return ``(role, content)`` of every message of the branch's API history, verbatim.

    Where a file that held a part of it is gone, the model is told so: the session goes on.
    """
    rows = conn.execute(
        "SELECT b.role, b.body FROM api_blocks b JOIN turns t ON t.id = b.turn_id"
        " WHERE t.kept_steps IS NULL OR b.step <= t.kept_steps ORDER BY t.ord, b.step, b.ord"
    )
    return [(role, _body_or_loss(blobs, body)) for role, body in rows]


def _body_or_loss(blobs: Blobs, text: str) -> list[Wire]:
    try:
        return body_of(blobs, text)
    except (StoreDamaged, ValueError):
        return [{"type": "text", "text": "(This part of the conversation was lost.)"}]


def texts(conn: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return ``(message id, its text)`` of the branch's messages that say something."""
    return conn.execute("SELECT id, content FROM messages WHERE removed=0 AND content != '' ORDER BY ord").fetchall()


def messages_of(conn: sqlite3.Connection, ids: list[str]) -> list[Wire]:
    """Return these messages, with all their parts."""
    found = (_messages(conn, "WHERE m.id=?", (message_id,)) for message_id in ids)
    return [message for messages in found for message in messages]


def has_message(conn: sqlite3.Connection, message_id: str) -> bool:
    """Tell whether a message has this id."""
    return conn.execute("SELECT 1 FROM messages WHERE id=?", (message_id,)).fetchone() is not None


def find_ack(conn: sqlite3.Connection, cmd_id: str, message_id: str | None) -> Wire | None:
    """Return the ack a command got before, by its id or by the message it sent."""
    row = conn.execute("SELECT ack FROM commands WHERE cmd_id=?", (cmd_id,)).fetchone()
    if row is None and message_id is not None:
        row = conn.execute(
            "SELECT ack FROM commands WHERE message_id=? AND json_extract(ack, '$.status')='accepted'", (message_id,)
        ).fetchone()
    return json.loads(row[0]) if row else None


def _meta(conn: sqlite3.Connection, key: str, default: Any = None) -> Any:
    row = conn.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
    return json.loads(row[0]) if row else default


def _live_turn(conn: sqlite3.Connection) -> Wire | None:
    names = ("id", "trigger", "message_id", "mode", "status", "step", "attempt", "started_at", "user")
    found = conn.execute("SELECT * FROM turns WHERE live = 1")
    columns = [column[0] for column in found.description]
    row = found.fetchone()
    if row is None:
        return None
    turn = dict(zip(columns, row, strict=True))
    # The list reads sessions that an older version wrote and nobody has opened since.
    return {name: turn.get(name, "") for name in names}


def _last_step(conn: sqlite3.Connection, turn_id: str) -> Step | None:
    row = conn.execute(
        "SELECT step, model, closed, stop_reason FROM steps WHERE turn_id=? ORDER BY step DESC LIMIT 1", (turn_id,)
    ).fetchone()
    return Step(step=row[0], model=row[1], closed=bool(row[2]), stop_reason=row[3]) if row else None


def _newest_step(conn: sqlite3.Connection, turn_id: str, *, ord_: int) -> int:
    """Return the newest step with an answer (0) or its results (1) in the API's history, 0 when there is none."""
    row = conn.execute(
        "SELECT coalesce(max(step), 0) FROM api_blocks WHERE turn_id=? AND ord=?", (turn_id, ord_)
    ).fetchone()
    return int(row[0])


def _turn_messages(conn: sqlite3.Connection, turn: Wire) -> list[str]:
    rows = conn.execute(
        "SELECT id FROM messages WHERE turn_id=? AND role='assistant' AND removed=0 ORDER BY ord", (turn["id"],)
    )
    return [row[0] for row in rows] or [turn["message_id"]]


def _step_parts(conn: sqlite3.Connection, turn_id: str) -> list[str]:
    row = conn.execute(
        "SELECT seq FROM events WHERE turn_id=? AND type IN ('step.started', 'step.reset') ORDER BY seq DESC LIMIT 1",
        (turn_id,),
    ).fetchone()
    if row is None:
        return []
    added = conn.execute(
        "SELECT json_extract(body, '$.part.id') FROM events WHERE turn_id=? AND seq > ? AND type='part.added'"
        " ORDER BY seq",
        (turn_id, row[0]),
    )
    return [part_id for (part_id,) in added]


def _seen_at(conn: sqlite3.Connection) -> int:
    last = conn.execute("SELECT coalesce(max(created_at), 0) FROM commands").fetchone()[0]
    return max(int(last), int(_meta(conn, "seen_at", 0)))


def _usages(conn: sqlite3.Connection, turn_id: str) -> list[Wire]:
    rows = conn.execute("SELECT usage FROM steps WHERE turn_id=? AND usage IS NOT NULL", (turn_id,))
    return [json.loads(row[0]) for row in rows]


def _calls(conn: sqlite3.Connection, blobs: Blobs, turn_id: str, step: int) -> list[Call]:
    rows = conn.execute(
        "SELECT id, turn_id, step, ord, part_id, name, input, effect, state, attempt, started_at, ended_at, result"
        " FROM tool_calls WHERE turn_id=? AND step=? ORDER BY ord",
        (turn_id, step),
    )
    return [
        Call(
            id=row[0], turn_id=row[1], step=row[2], ord=row[3], part_id=row[4], name=row[5], input=json.loads(row[6]),
            effect=row[7], state=row[8], attempt=row[9], started_at=row[10], ended_at=row[11],
            result=body_of(blobs, row[12]) if row[12] else None,
        )
        for row in rows
    ]  # fmt: skip


def next_due(conn: sqlite3.Connection) -> int | None:
    """Return when the session's earliest alarm rings; None when none will."""
    if conn.execute("SELECT 1 FROM sqlite_schema WHERE name='jobs'").fetchone() is None:
        return None  # An older version wrote it, and nobody has opened it since.
    return conn.execute("SELECT min(due_at) FROM jobs WHERE due_at < ?", (NEVER,)).fetchone()[0]


def _jobs(conn: sqlite3.Connection) -> list[Job]:
    rows = conn.execute("SELECT id, kind, due_at, payload, attempts, last_error FROM jobs")
    return [
        Job(id=row[0], kind=row[1], due_at=row[2], payload=json.loads(row[3]), attempts=row[4], last_error=row[5])
        for row in rows
    ]


def _permissions(conn: sqlite3.Connection, turn_id: str) -> dict[str, Permission]:
    rows = conn.execute(
        "SELECT c.id, a.id, a.scope, a.decided_by, a.input_hash, a.edited_input IS NOT NULL FROM approvals a"
        " JOIN tool_calls c ON c.id = a.tool_call_id WHERE c.turn_id=? AND a.decision='allow'",
        (turn_id,),
    )
    return {
        row[0]: Permission(approval_id=row[1], scope=row[2], by=row[3], input_hash=row[4], edited=bool(row[5]))
        for row in rows
    }


def _tasks(conn: sqlite3.Connection) -> Iterator[Wire]:
    names = ("id", "title", "description", "mode", "status", "created_at", "completed_at", "turn_id", "rev")
    for row in conn.execute(f"SELECT {', '.join(names)} FROM tasks ORDER BY created_at, id"):
        yield dict(zip(names, row, strict=True))
