"""What an actor needs to go on where the last one stopped: the session's facts, and all of the live turn."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from . import branch
from .blobs import Blobs
from .history import body_of
from .reading import epoch, facts, meta, only_looked
from .transcript import Wire, messages_where
from .writes import Call, Job, Permission


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
    facts: Wire
    """As ``reading.facts`` has them."""
    message: Wire | None
    """What the live turn writes now."""
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
    progress_at: int
    """When the live turn last came further, by the model, a tool or the user; 0 without one."""
    recovering_since: int | None
    """When it was first taken up again after that; None when it was not."""
    put_down: str | None
    """The turn that an orderly end of the server left running."""
    seen_at: int
    """When the user was last here, as far as the database knows."""
    repair_level: int
    begins_at: str | None
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
    restored_to: int | None
    """The time of the snapshot that the session was put back to, until the model is told."""
    root: str | None
    start_next: str | None
    jobs: list[Job]
    titled_by: str | None
    head: str | None
    """The branch's last message."""
    head_turn: str | None
    """The turn whose answer the branch ends with."""


def load(conn: sqlite3.Connection, blobs: Blobs) -> Loaded:
    """Read what a session is in the middle of. Raises ``StoreDamaged``."""
    known = facts(conn)
    turn = known["turn"]
    message_ids = _turn_messages(conn, turn) if turn else []
    queue = meta(conn, "queue", {"rev": 0})
    step = _last_step(conn, turn["id"]) if turn else None
    counts = conn.execute("SELECT interrupted, cuts FROM turns WHERE live = 1").fetchone() or (0, 0)
    progress_at = _progress_at(conn, turn) if turn else 0
    return Loaded(
        ep=epoch(conn),
        seq=known["as_of"],
        facts=known,
        message=messages_where(conn, "WHERE m.id=?", (message_ids[-1],))[0] if turn else None,
        message_ids=message_ids,
        step=step,
        step_parts=_step_parts(conn, turn["id"]) if turn else [],
        spoken_step=_newest_step(conn, turn["id"], ord_=0) if turn else 0,
        answered_step=_newest_step(conn, turn["id"], ord_=1) if turn else 0,
        interrupted=counts[0],
        cuts=counts[1],
        progress_at=progress_at,
        recovering_since=_recovering_since(conn, turn["id"], progress_at) if turn else None,
        put_down=meta(conn, "put_down"),
        seen_at=_seen_at(conn),
        repair_level=int(meta(conn, "repair_level", 0)),
        begins_at=meta(conn, "begins_at"),
        calls=_calls(conn, blobs, turn["id"], step.step) if turn and step else [],
        turn_usage=_usages(conn, turn["id"]) if turn else [],
        queue_rev=queue["rev"],
        grants=meta(conn, "grants") or [],
        permissions=_permissions(conn, turn["id"]) if turn else {},
        prefix=meta(conn, "prefix"),
        last_looked=known["last_outcome"] is not None and only_looked(conn, known["last_outcome"]["turn"]),
        left_plan=meta(conn, "left_plan"),
        mixed_turn=meta(conn, "mixed_turn"),
        held_turn=meta(conn, "held_turn"),
        restored_to=meta(conn, "restored_to"),
        root=meta(conn, "root"),
        start_next=meta(conn, "start_next"),
        jobs=_jobs(conn),
        titled_by=meta(conn, "titled_by"),
        head=branch.last(conn),
        head_turn=_head_turn(conn),
    )


def _head_turn(conn: sqlite3.Connection) -> str | None:
    """Return what ``branch.turn_at_end`` says of the branch's last message, without reading them all."""
    row = conn.execute(
        "SELECT CASE WHEN m.role='assistant' OR m.turn_id = p.turn_id THEN m.turn_id END"
        " FROM messages m LEFT JOIN messages p ON p.id = m.parent_id"
        " WHERE m.removed=0 AND m.turn_id IS NOT NULL ORDER BY m.ord DESC LIMIT 1"
    ).fetchone()
    return row[0] if row else None


def _last_step(conn: sqlite3.Connection, turn_id: str) -> Step | None:
    row = conn.execute(
        "SELECT step, model, closed, stop_reason FROM steps WHERE turn_id=? ORDER BY step DESC LIMIT 1", (turn_id,)
    ).fetchone()
    return Step(step=row[0], model=row[1], closed=bool(row[2]), stop_reason=row[3]) if row else None


def _newest_step(conn: sqlite3.Connection, turn_id: str, *, ord_: int) -> int:
    """Return the newest step with an answer (0) or its results (1) in the API's history, 0 when there is none."""
    row = conn.execute(
        "SELECT step FROM api_blocks WHERE turn_id=? AND ord=? ORDER BY step DESC LIMIT 1", (turn_id, ord_)
    ).fetchone()
    return int(row[0]) if row else 0


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


def _progress_at(conn: sqlite3.Connection, turn: Wire) -> int:
    """Return when the turn last came further; what only says that it was taken up again does not count."""
    newest = (
        "SELECT ts FROM events WHERE turn_id=?1 AND type IN ('part.added', 'step.ended', 'approval.resolved',"
        " 'message.added') ORDER BY seq DESC LIMIT 1",
        "SELECT ts FROM segments WHERE turn_id=?1 ORDER BY seq_to DESC LIMIT 1",
        "SELECT max(ended_at) FROM tool_calls WHERE turn_id=?1",
    )
    found = (conn.execute(query, (turn["id"],)).fetchone() for query in newest)
    return max([int(turn["started_at"]), *(int(row[0]) for row in found if row is not None and row[0] is not None)])


def _recovering_since(conn: sqlite3.Connection, turn_id: str, progress_at: int) -> int | None:
    return conn.execute(
        "SELECT min(ts) FROM events WHERE turn_id=? AND type='turn.status' AND ts >= ?"
        " AND json_extract(body, '$.status')='recovering'",
        (turn_id, progress_at),
    ).fetchone()[0]


def _seen_at(conn: sqlite3.Connection) -> int:
    last = conn.execute("SELECT coalesce(max(created_at), 0) FROM commands").fetchone()[0]
    return max(int(last), int(meta(conn, "seen_at", 0)))


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
