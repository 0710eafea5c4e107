"""A session out of another: its folder copied, and the copy made a session of its own.

::

    backup of the database ─► a running turn is settled: what its last step left open goes, it ends interrupted
      (in its own thread)  ─► what comes after the message goes, and with it what is the original's alone:
                              commands, events, queue, alarms, grants, costs
                           ─► new id, new epoch; then, whole, it gets its name in the sessions' folder
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..protocol import codec
from ..protocol.content import Session, Usage
from ..protocol.events import Event
from ..protocol.frames import Recorded
from ..protocol.ids import now_ms
from ..store import branch, loading, reading, transcript
from ..store.faults import as_store_error, unwritable
from ..store.making import half_made, whole_or_not
from ..store.profile import Profile
from ..store.store import BLOBS, DB_NAME, SessionStore
from ..store.writes import Batch, PutMeta, PutSession, Write
from . import ending
from .state import State

_TITLE_CHARS = 500
_COPY = re.compile(r"^(.*) \(copy(?: (\d+))?\)$", re.DOTALL)


def copy(store: SessionStore, target: Path) -> None:
    """Copy a session's database and attachments as they are now, or leave nothing. Raises ``StoreError``."""
    try:
        _copy(store, target)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _copy(store: SessionStore, target: Path) -> None:
    try:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for blob in (store.folder / BLOBS).glob("[!.]*"):
            _link(blob, target / BLOBS / blob.name)
    except OSError as error:
        raise unwritable("The session could not be copied", error) from None
    other = sqlite3.connect(target / DB_NAME)
    try:
        store.db.conn.backup(other)
    except sqlite3.Error as error:
        raise as_store_error(error) from error
    finally:
        other.close()


def _link(blob: Path, target: Path) -> None:
    """Attachments never change: two sessions may have the same bytes on disk."""
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(blob, target)
    except OSError:
        shutil.copyfile(blob, target)


def make_own(folder: Path, session_id: str, message_id: str | None, profile: Profile) -> Session:
    """Make the copy a session of its own that ends with ``message_id``; return its facts. Raises ``StoreError``."""
    half = half_made(folder)
    with whole_or_not(half, folder):
        store = SessionStore.open(half, profile=profile)
        try:
            return store.ask(lambda store: _own(store, session_id, message_id))
        finally:
            store.close()


def _own(store: SessionStore, session_id: str, message_id: str | None) -> Session:
    conn = store.db.conn
    _drop_open_step(conn)
    loaded = loading.load(conn, store.blobs)
    copied = _Copy(store, State.of(loaded))
    ending.end(copied, "interrupted", None)
    conn.execute("BEGIN IMMEDIATE")
    try:
        if message_id is not None:
            _cut(conn, message_id)
        outcome = _forget(conn)
        conn.execute("COMMIT")
    except BaseException:
        conn.execute("ROLLBACK")
        raise
    now = now_ms()
    session = replace(
        codec.decode_session(reading.session(conn)),
        id=session_id,
        title=title_of_copy(copied.state.session.title),
        status="ready",
        archived_at=None,
        created_at=now,
        updated_at=now,
        rev=1,
        usage=Usage(),
    )
    store.commit(
        Batch(
            writes=[
                PutMeta(key="epoch", value=str(uuid.uuid4())),
                PutMeta(key="last_outcome", value=outcome),
                PutSession(session=session),
            ],
            full=True,
        )
    )
    return session


def title_of_copy(title: str) -> str:
    """Return what the copy of a session is called."""
    if not title:
        return ""
    known = _COPY.match(title)
    base, number = (known[1], int(known[2] or 1) + 1) if known else (title, 1)
    mark = " (copy)" if number == 1 else f" (copy {number})"
    return base[: _TITLE_CHARS - len(mark)] + mark


def _drop_open_step(conn: sqlite3.Connection) -> None:
    """Take away what the model is in the middle of saying: the copy ends with the last whole step."""
    turn = conn.execute("SELECT id FROM turns WHERE live = 1").fetchone()
    if turn is None:
        return
    newest = conn.execute("SELECT step, closed FROM steps WHERE turn_id=? ORDER BY step DESC LIMIT 1", turn).fetchone()
    # One before it may have been cut off, and never closed: what it said was gone on from, and stays.
    if newest is None or newest[1]:
        return
    open_step = newest[0]
    begun = conn.execute("SELECT max(seq) FROM events WHERE turn_id=? AND type='step.started'", turn).fetchone()[0]
    rows = conn.execute("SELECT body FROM events WHERE turn_id=? AND type='part.added' AND seq > ?", (*turn, begun))
    for (body,) in rows.fetchall():
        conn.execute("DELETE FROM parts WHERE id=?", (json.loads(body)["part"]["id"],))
    conn.execute("DELETE FROM segments")
    conn.execute("DELETE FROM steps WHERE turn_id=? AND step=?", (*turn, open_step))
    conn.execute("DELETE FROM api_blocks WHERE turn_id=? AND step=?", (*turn, open_step))
    last = conn.execute("SELECT coalesce(max(step), 0) FROM steps WHERE turn_id=?", turn).fetchone()[0]
    conn.execute("UPDATE turns SET step=? WHERE id=?", (last, *turn))


def _cut(conn: sqlite3.Connection, message_id: str) -> None:
    """Leave nothing but the branch up to this message."""
    change = branch.change_to(branch.tree(conn), message_id)
    conn.executemany("UPDATE messages SET removed=1 WHERE id=?", [(gone,) for gone in change.leaving])
    conn.executemany("UPDATE messages SET removed=0 WHERE id=?", [(back,) for back in change.coming])
    branch.keep_branch(conn)
    off = "(SELECT id FROM messages WHERE removed=1)"
    conn.execute(f"DELETE FROM approvals WHERE part_id IN (SELECT id FROM parts WHERE message_id IN {off})")
    conn.execute(f"DELETE FROM parts WHERE message_id IN {off}")
    conn.execute("DELETE FROM messages WHERE removed=1")
    for table in ("api_blocks", "steps", "tool_calls"):
        conn.execute(
            f"DELETE FROM {table} WHERE EXISTS"
            f" (SELECT 1 FROM turns t WHERE t.id = {table}.turn_id AND t.kept_steps < {table}.step)"
        )
    conn.execute("DELETE FROM turns WHERE kept_steps = -1")


def _forget(conn: sqlite3.Connection) -> transcript.Wire | None:
    """Drop what is the original's alone; return how the last turn ended, if the copy has that turn."""
    for table in ("commands", "events", "segments", "queue", "jobs"):
        conn.execute(f"DELETE FROM {table}")
    conn.execute("DELETE FROM meta WHERE key IN ('queue', 'grants', 'titled_by', 'owner')")
    conn.execute("UPDATE tasks SET status='pending', turn_id=NULL WHERE status='running'")
    row = conn.execute("SELECT value FROM meta WHERE key='last_outcome'").fetchone()
    outcome = json.loads(row[0]) if row else None
    if outcome is None:
        return None
    there = [conn.execute("SELECT 1 FROM messages WHERE id=?", (it,)).fetchone() for it in outcome["message_ids"]]
    return outcome if all(there) else None


class _Copy:
    """Stands in for actor and journal where a turn is ended: one commit a record, nobody listens."""

    def __init__(self, store: SessionStore, state: State) -> None:
        self.state = state
        self.journal = self
        self._store = store

    def record(self, *events: Event, writes: Iterable[Write] = (), full: bool = False) -> None:
        """Fold and write."""
        recorded: list[Recorded] = []
        for event in events:
            turn = self.state.turn.id if self.state.turn else None
            self.state.apply(event, now_ms())
            self.state.seq += 1
            recorded.append(Recorded(seq=self.state.seq, ts=now_ms(), turn=turn, event=event))
        self._store.commit(Batch(events=recorded, writes=list(writes), full=full))
