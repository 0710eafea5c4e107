"""What an event means to the tables. One function a group, so that each fits one look."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from ..protocol.content import Message, Part
from ..protocol.events import (
    ApprovalRequested,
    ApprovalResolved,
    MessageAdded,
    MessageRemoved,
    MessageUpdated,
    PartAdded,
    PartDone,
    QueueUpdated,
    StepEnded,
    StepReset,
    StepStarted,
    TaskUpdated,
    ToolStateChanged,
    TurnEnded,
    TurnStarted,
    TurnStatusChanged,
)
from ..protocol.frames import Recorded, dump_json
from ..protocol.plain import to_plain


def project(conn: sqlite3.Connection, at: Recorded) -> None:
    """Change the rows that the event speaks of; deltas and notices have none."""
    _transcript(conn, at)
    _turns(conn, at)
    _waiting(conn, at)


def _transcript(conn: sqlite3.Connection, at: Recorded) -> None:
    match at.event:
        case MessageAdded(message=message):
            _insert_message(conn, message)
        case MessageUpdated(message=message):
            conn.execute(
                "UPDATE messages SET status=?, content=?, meta=? WHERE id=?",
                (message.status, _plain_text(message), dump_json(to_plain(message.meta)), message.id),
            )
        case MessageRemoved(message_id=message_id):
            conn.execute("UPDATE messages SET removed=1 WHERE id=?", (message_id,))
        case PartAdded(message_id=message_id, part=part) | PartDone(message_id=message_id, part=part):
            _upsert_part(conn, message_id, part)
        case ToolStateChanged() as event:
            _patch_tool_part(conn, event)
        case StepReset(parts=parts):
            for part_id in parts:
                _patch_part(conn, part_id, {"superseded": True})
        case _:
            pass


def _turns(conn: sqlite3.Connection, at: Recorded) -> None:
    match at.event:
        case TurnStarted(turn=turn):
            conn.execute(
                "INSERT INTO turns (id, ord, message_id, mode, trigger, status, step, attempt, started_at, user)"
                " VALUES (?, (SELECT coalesce(max(ord), 0) + 1 FROM turns), ?,?,?,?,?,?,?,?)",
                (
                    turn.id, turn.message_id, turn.mode, turn.trigger, turn.status, turn.step, turn.attempt,
                    turn.started_at, turn.user,
                ),
            )  # fmt: skip
        case TurnStatusChanged(status=status, attempt=attempt):
            conn.execute("UPDATE turns SET status=?, attempt=? WHERE id=?", (status, attempt, at.turn))
        case TurnEnded() as event:
            _end_turn(conn, event)
        case StepStarted(step=step, model=model):
            conn.execute("UPDATE turns SET step=? WHERE id=?", (step, at.turn))
            conn.execute(
                "INSERT INTO steps (turn_id, step, model) VALUES (?,?,?)"
                " ON CONFLICT DO UPDATE SET model=excluded.model",
                (at.turn, step, model),
            )
        case StepEnded() as event:
            conn.execute(
                "UPDATE steps SET request_id=?, stop_reason=?, usage=?, closed=1 WHERE turn_id=? AND step=?",
                (event.request_id, event.stop_reason, dump_json(to_plain(event.usage)), at.turn, event.step),
            )
            conn.execute("UPDATE turns SET cuts=0 WHERE id=?", (at.turn,))
        case _:
            pass


def _waiting(conn: sqlite3.Connection, at: Recorded) -> None:
    match at.event:
        case ApprovalRequested(approval=approval):
            conn.execute(
                "INSERT OR REPLACE INTO approvals (id, tool_call_id, part_id, state, rev, data, requested_at,"
                " expires_at, input_hash) VALUES (?,?,?,'open',?,?,?,?,?)",
                (
                    approval.id, approval.tool_call_id, approval.part_id, approval.rev,
                    dump_json(to_plain(approval)), approval.requested_at, approval.expires_at, approval.input_hash,
                ),
            )  # fmt: skip
        case ApprovalResolved() as event:
            conn.execute(
                "UPDATE approvals SET state='resolved', rev=?, decision=?, reason=?, decided_by=?, road=?, decided_at=?"
                " WHERE id=?",
                (event.rev, event.decision, event.reason, event.by, event.road, at.ts, event.id),
            )
        case QueueUpdated(items=items, paused=paused, rev=rev):
            conn.execute("DELETE FROM queue")
            conn.executemany(
                "INSERT INTO queue (id, pos, message_id, data) VALUES (?,?,?,?)",
                [(item.id, pos, item.message_id, dump_json(to_plain(item))) for pos, item in enumerate(items)],
            )
            put_meta(conn, "queue", {"paused": paused, "rev": rev})
        case TaskUpdated(task=task):
            # A changed task keeps its row, and so its place: what a view that saw it made has it where it was.
            conn.execute(
                "INSERT INTO tasks (id, title, description, mode, status, created_at, completed_at, turn_id, rev)"
                " VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET title=excluded.title,"
                " description=excluded.description, mode=excluded.mode, status=excluded.status,"
                " created_at=excluded.created_at, completed_at=excluded.completed_at, turn_id=excluded.turn_id,"
                " rev=excluded.rev",
                (
                    task.id, task.title, task.description, task.mode, task.status,
                    task.created_at, task.completed_at, task.turn_id, task.rev,
                ),
            )  # fmt: skip
        case _:
            pass


def put_meta(conn: sqlite3.Connection, key: str, value: Any) -> None:
    """Store one fact of ``meta`` as JSON."""
    conn.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?,?)", (key, dump_json(value)))


def _insert_message(conn: sqlite3.Connection, message: Message) -> None:
    if conn.execute("UPDATE messages SET removed=0 WHERE id=?", (message.id,)).rowcount:
        return  # It comes back from an old branch, as it was; the event may show it cut.
    conn.execute(
        "INSERT INTO messages (id, ord, parent_id, role, status, turn_id, content, created_at, meta)"
        " VALUES (?, (SELECT coalesce(max(ord), 0) + 1 FROM messages), ?,?,?,?,?,?,?)",
        (
            message.id, message.parent_id, message.role, message.status, message.turn_id,
            _plain_text(message), message.created_at, dump_json(to_plain(message.meta)),
        ),
    )  # fmt: skip
    for part in message.parts:
        _upsert_part(conn, message.id, part)


def _upsert_part(conn: sqlite3.Connection, message_id: str, part: Part) -> None:
    conn.execute(
        "INSERT INTO parts (id, message_id, idx, type, state, tool_call_id, data) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (id) DO UPDATE SET state=excluded.state, data=excluded.data",
        (
            part.id, message_id, part.idx, part.type, getattr(part, "state", None),
            getattr(part, "tool_call_id", None), dump_json(to_plain(part)),
        ),
    )  # fmt: skip


def _patch_part(conn: sqlite3.Connection, part_id: str, patch: dict[str, Any]) -> None:
    row = conn.execute("SELECT data FROM parts WHERE id=?", (part_id,)).fetchone()
    data = {**json.loads(row[0]), **patch}
    if data.get("state") != "input-streaming":
        data.pop("input_json", None)
    conn.execute("UPDATE parts SET state=?, data=? WHERE id=?", (data.get("state"), dump_json(data), part_id))


def _patch_tool_part(conn: sqlite3.Connection, event: ToolStateChanged) -> None:
    patch = to_plain(event)
    patch.pop("part_id")
    patch.pop("progress", None)
    _patch_part(conn, event.part_id, patch)


def _end_turn(conn: sqlite3.Connection, event: TurnEnded) -> None:
    conn.execute(
        "UPDATE turns SET status='ended', outcome=?, error=?, usage=?, ended_at=? WHERE id=?",
        (
            event.outcome, dump_json(to_plain(event.error)), dump_json(to_plain(event.usage)), event.ended_at,
            event.turn,
        ),
    )  # fmt: skip
    conn.execute("DELETE FROM segments")
    put_meta(conn, "last_outcome", to_plain(event))


def _plain_text(message: Message) -> str:
    return "\n\n".join(part.text for part in message.parts if part.type == "text" and not part.superseded)
