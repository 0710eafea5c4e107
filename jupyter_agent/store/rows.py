"""What a write means to the tables: the ledger that no view sees. Its neighbour for events is ``projection``."""

from __future__ import annotations

import sqlite3
from typing import Any

from ..protocol.frames import dump_json
from ..protocol.plain import to_plain
from .blobs import Blobs
from .branch import keep_branch
from .projection import put_meta
from .writes import (
    Call,
    Decide,
    DropJob,
    KeepBranch,
    PutBlob,
    PutBlocks,
    PutCall,
    PutCommand,
    PutCounts,
    PutJob,
    PutMeta,
    PutSession,
    UsePermission,
    Write,
)

ROW_BYTES = 3 << 19
"""A longer body goes into a blob, and its row says which."""


def put(conn: sqlite3.Connection, write: Write, blobs: Blobs) -> None:
    """Change the rows that the write speaks of; what is too large for a row goes to the blobs before."""
    _facts(conn, write)
    _turn(conn, write, blobs)
    _alarms(conn, write)


def body(value: Any, blobs: Blobs) -> str:
    """Return what the row keeps: the JSON, or where it is (``history.body_of``)."""
    text = dump_json(value)
    return text if len(text) <= ROW_BYTES else dump_json({"blob": blobs.save(text.encode("ascii"))})


def _facts(conn: sqlite3.Connection, write: Write) -> None:
    match write:
        case PutSession(session=session):
            put_meta(conn, "session", to_plain(session))
        case PutMeta(key=key, value=value):
            put_meta(conn, key, value)
        case PutCommand():
            conn.execute(
                "INSERT INTO commands (cmd_id, type, message_id, ack, created_at) VALUES (?,?,?,?,?)",
                (write.cmd_id, write.type, write.message_id, dump_json(write.ack), write.created_at),
            )
        case _:
            pass


def _turn(conn: sqlite3.Connection, write: Write, blobs: Blobs) -> None:
    match write:
        case PutBlocks():
            _put_blocks(conn, write, body(write.content, blobs))
        case PutCall(call=call):
            _put_call(conn, call, result=body(call.result, blobs))
        case PutBlob(content=content):
            blobs.save(content)
        case Decide():
            edited = None if write.edited_input is None else dump_json(write.edited_input)
            conn.execute(
                "UPDATE approvals SET scope=?, input_hash=?, edited_input=? WHERE id=?",
                (write.scope, write.input_hash, edited, write.approval_id),
            )
        case UsePermission():
            _use_permission(conn, write)
        case KeepBranch():
            keep_branch(conn)
        case PutCounts():
            conn.execute(
                "UPDATE turns SET interrupted=?, cuts=? WHERE id=?", (write.interrupted, write.cuts, write.turn_id)
            )
        case _:
            pass


def _alarms(conn: sqlite3.Connection, write: Write) -> None:
    match write:
        case PutJob(job=job):
            conn.execute(
                "INSERT OR REPLACE INTO jobs (id, kind, due_at, payload, attempts, last_error) VALUES (?,?,?,?,?,?)",
                (job.id, job.kind, job.due_at, dump_json(job.payload), job.attempts, job.last_error),
            )
        case DropJob(job_id=job_id):
            conn.execute("DELETE FROM jobs WHERE id=?", (job_id,))
        case _:
            pass


def _put_blocks(conn: sqlite3.Connection, write: PutBlocks, content: str) -> None:
    place = write.ord
    if write.behind:
        taken = "SELECT max(ord) FROM api_blocks WHERE turn_id=? AND step=? AND ord >= ?"
        newest = conn.execute(taken, (write.turn_id, write.step, write.ord)).fetchone()[0]
        place = write.ord if newest is None else newest + 1
    conn.execute(
        "INSERT INTO api_blocks (turn_id, step, ord, role, body) VALUES (?,?,?,?,?)",
        (write.turn_id, write.step, place, write.role, content),
    )


def _put_call(conn: sqlite3.Connection, call: Call, *, result: str) -> None:
    conn.execute(
        "INSERT OR REPLACE INTO tool_calls (id, turn_id, step, ord, part_id, name, input, effect, state, attempt,"
        " started_at, ended_at, result) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            call.id, call.turn_id, call.step, call.ord, call.part_id, call.name, dump_json(call.input), call.effect,
            call.state, call.attempt, call.started_at, call.ended_at, result,
        ),
    )  # fmt: skip


def _use_permission(conn: sqlite3.Connection, write: UsePermission) -> None:
    permission, call = write.permission, write.call
    if permission.approval_id is not None:
        conn.execute("UPDATE approvals SET state='used' WHERE id=?", (permission.approval_id,))
        return
    # Nobody was asked about this very call: what decided in their place is kept all the same.
    conn.execute(
        "INSERT OR REPLACE INTO approvals (id, tool_call_id, part_id, state, rev, data, requested_at, decision, scope,"
        " decided_by, decided_at, input_hash) VALUES (?,?,?,'used',1,'null',?,'allow',?,?,?,?)",
        (
            f"auto_{call.id}", call.id, call.part_id, write.at, permission.scope, permission.by, write.at,
            permission.input_hash,
        ),
    )  # fmt: skip
