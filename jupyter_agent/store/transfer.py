"""A session as one JSON document, out of its database and into a new one.

::

    {"format": "jupyter-agent-session", "version": 1, "exported_at", "generator",
     "session", "messages", "tasks", "last_outcome"        the protocol's shapes, for any reader
     "attachments": [{"sha256", "data"}]                   base64
     "ledger": {"schema", "tables": {name: {"columns", "rows"}}}}    all the rest, to lose nothing

A document may come from anybody, so an import takes over what was said and
done, and nothing that would act: permissions, alarms and the prompt are left
behind, a turn that was live is over, the queue is paused. The model's private
thinking is bound to its prompt and is left behind with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from ..errors import AgentError, StoreDamaged, StoreTooNew
from ..protocol import codec
from ..protocol.content import TERMINAL_TOOL_STATES, Session
from ..protocol.frames import dump_json
from ..protocol.ids import new_id, now_ms
from ..protocol.plain import sound
from . import history, loading, reading, transcript
from .making import making
from .profile import Profile
from .projection import put_meta
from .rows import body as row_of
from .schema import SCHEMA_VERSION
from .store import BLOBS, DB_NAME, SessionStore, as_store_error, connect

Wire = dict[str, Any]

FORMAT = "jupyter-agent-session"
VERSION = 1
_TABLES = (
    "messages", "parts", "turns", "steps", "api_blocks", "tool_calls", "approvals", "queue", "tasks", "segments",
    "attachments",
)  # fmt: skip
_MOST_MESSAGES = 1 << 30
_TITLE_CHARS = 500
_MODEL_CHARS = 200
_PATH_CHARS = 4096
_MOST_INT = 1 << 53
"""Beyond it JavaScript does not count, and the tables' own numbering needs room."""
_LAST_MS = 253_402_214_400_000
"""The last day that a date can name, in every time zone."""
_NOT_OURS = "This is not an exported session."
_CUT_OFF = "The session was exported while this ran. It may or may not have completed."


class NotImportable(AgentError):
    """The document is not a session, or not one that this version can take."""

    code = "not_importable"


# -- out -----------------------------------------------------------------------------


def read_facts(folder: Path) -> Wire:
    """Return a session's facts, also while a server has it open. Raises ``StoreError``."""
    with _reading(_open(folder)) as conn:
        return reading.facts(conn)["session"]


def read_session(folder: Path) -> tuple[Wire, list[Wire]]:
    """Return a session's facts and its messages, oldest first, also while a server has it open. Raises StoreError."""
    with _reading(_open(folder)) as conn:
        snap = reading.snapshot(conn, page=_MOST_MESSAGES, page_bytes=1 << 60)
        return snap["session"], snap["messages"]


def export_session(folder: Path, *, generator: str = "") -> Wire:
    """Return the whole session as JSON values, also while a server has it open. Raises ``StoreError``."""
    conn = _open(folder)
    try:
        copy = copied(conn)
    finally:
        conn.close()
    return document_of(copy, folder / BLOBS, generator=generator)


def copied(source: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy in memory, of one moment: what is told twice must agree while the session goes on.

    Any thread may read it, one at a time. Raises ``StoreError``.
    """
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        source.backup(copy)
    except sqlite3.Error as error:
        copy.close()
        raise as_store_error(error) from error
    return copy


def document_of(conn: sqlite3.Connection, blobs: Path, *, generator: str) -> Wire:
    """Return the session that ``copied`` is of, and close the copy. Raises ``StoreError``."""
    with _reading(conn):
        snap = reading.snapshot(conn, page=_MOST_MESSAGES, page_bytes=1 << 60)
        tables = {name: _dump(conn, name) for name in _TABLES}
        schema = conn.execute("PRAGMA user_version").fetchone()[0]
    return {
        "format": FORMAT,
        "version": VERSION,
        "exported_at": now_ms(),
        "generator": generator,
        **{name: snap[name] for name in ("session", "messages", "tasks", "last_outcome")},
        "attachments": _blobs(blobs),
        "ledger": {"schema": schema, "tables": tables},
    }


@contextmanager
def _reading(conn: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    """Read from a database, whatever is in it, and close it. Raises ``StoreError``."""
    try:
        yield conn
    except sqlite3.Error as error:
        raise as_store_error(error) from error
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise StoreDamaged("The session's database cannot be read.") from error
    finally:
        conn.close()


def _open(folder: Path) -> sqlite3.Connection:
    return connect(folder / DB_NAME, read_only=True).conn


def _columns(conn: sqlite3.Connection, table: str) -> list[str]:
    # The last column says what is generated: that is for reading only.
    return [row[1] for row in conn.execute(f"PRAGMA table_xinfo({table})") if row[6] == 0]


def _dump(conn: sqlite3.Connection, table: str) -> Wire:
    columns = _columns(conn, table)
    return {
        "columns": columns,
        "rows": [list(row) for row in conn.execute(f"SELECT {', '.join(columns)} FROM {table}")],
    }


def _blobs(folder: Path) -> list[Wire]:
    if not folder.is_dir():
        return []
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return [{"sha256": file.name, "data": base64.b64encode(file.read_bytes()).decode("ascii")} for file in files]


# -- in ------------------------------------------------------------------------------


def import_session(
    sessions_dir: Path, document: object, *, title: str | None = None, profile: Profile = "local"
) -> Session:
    """Make a new session of an exported one. Raises ``NotImportable``, ``StoreError``."""
    body = _checked(document)
    session = _session_of(body.get("session"))
    if title is not None:
        session = replace(session, title=title[:_TITLE_CHARS])
    attachments = [_attachment(item) for item in _list(body, "attachments")]
    with making(sessions_dir / session.id, session, profile=profile) as store:
        for _, data in attachments:
            store.blobs.save(data)
        _fill(store, body)
        _read_again(store)
    return session


def _checked(document: object) -> Wire:
    try:
        body = sound(document)
    except (ValueError, RecursionError):
        raise NotImportable(_NOT_OURS) from None
    if not isinstance(body, dict):
        raise NotImportable(_NOT_OURS)
    found = cast("Wire", body)
    if found.get("format") != FORMAT:
        raise NotImportable(_NOT_OURS, hint="Export one with `jupyter agent sessions export`.")
    ledger = found.get("ledger")
    schema = cast("Wire", ledger).get("schema") if isinstance(ledger, dict) else None
    if not isinstance(schema, int) or not isinstance(cast("Wire", ledger).get("tables"), dict):
        raise NotImportable(_NOT_OURS)
    if found.get("version") != VERSION or schema > SCHEMA_VERSION:
        raise StoreTooNew(
            "This session was exported by a newer jupyter-agent-panel.", hint="Upgrade jupyter-agent-panel."
        )
    return found


def _session_of(facts: object) -> Session:
    try:
        old = codec.decode_session(facts)
    except ValidationError:
        raise NotImportable(_NOT_OURS) from None
    path = old.notebook_path
    if (
        not all(0 <= at <= _LAST_MS for at in (old.created_at, old.updated_at, old.archived_at or 0))
        or len(old.model) > _MODEL_CHARS
        # The model reads it too, on a line of its own.
        or (path is not None and (len(path) > _PATH_CHARS or min(path, default=" ") < " "))
    ):
        raise NotImportable(_NOT_OURS)
    # What happens from now on comes after it, also when the other machine's clock was ahead.
    at = min(old.updated_at, now_ms())
    return replace(old, id=new_id("ses"), title=old.title[:_TITLE_CHARS], status="ready", rev=1, updated_at=at)


def _list(body: Wire, name: str) -> list[Any]:
    found = body.get(name, [])
    if not isinstance(found, list):
        raise NotImportable(f"{name} is not a list.")
    return cast("list[Any]", found)


def _attachment(item: object) -> tuple[str, bytes]:
    match item:
        case {"sha256": str(address), "data": str(text)}:
            pass
        case _:
            raise NotImportable("An attachment is not as it should be.")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if hashlib.sha256(data).hexdigest() != address:
        raise NotImportable("An attachment is damaged.")
    return address, data


def _fill(store: SessionStore, body: Wire) -> None:
    conn = store.db.conn
    tables = body["ledger"]["tables"]
    try:
        conn.execute("BEGIN IMMEDIATE")
        try:
            for name in _TABLES:
                _insert(conn, name, tables.get(name, {"columns": [], "rows": []}))
            _settle(store)
            if body.get("last_outcome") is not None:
                put_meta(conn, "last_outcome", body["last_outcome"])
            conn.execute("COMMIT")
        except BaseException:
            conn.execute("ROLLBACK")
            raise
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
        raise NotImportable(_NOT_OURS) from None
    except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError) as error:
        raise NotImportable(f"{_NOT_OURS[:-1]}: {error}.") from None
    except sqlite3.Error as error:
        raise as_store_error(error) from error


def _insert(conn: sqlite3.Connection, table: str, dump: Wire) -> None:
    columns, rows = _list(dump, "columns"), _list(dump, "rows")
    kinds = {row[1]: (row[2], row[3] or row[5]) for row in conn.execute(f"PRAGMA table_xinfo({table})")}
    if not set(columns) <= set(_columns(conn, table)) or not all(
        _is_of(kinds[name], value) for row in rows for name, value in zip(columns, row, strict=True)
    ):
        raise NotImportable(f"Its table {table} is not as it should be.")
    if not rows:
        return
    # By name: columns that were added since take their defaults.
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({','.join('?' * len(columns))})"
    conn.executemany(sql, rows)


def _is_of(kind: tuple[str, int], value: object) -> bool:
    """Tell whether a value is of its column's type, which SQLite itself does not mind; ``kind``: that, and NOT NULL."""
    declared, needed = kind
    match value:
        case None:
            return not needed
        case bool():
            return False
        case int():
            return declared == "INTEGER" and 0 <= value <= _MOST_INT
        case str():
            return declared == "TEXT"
        case _:
            return False


def _settle(store: SessionStore) -> None:
    """Let nothing act by itself, and leave a history that the API takes."""
    conn = store.db.conn
    _close_open_parts(conn)
    _clean_history(store)
    conn.execute(
        "UPDATE turns SET status='ended', outcome='interrupted', ended_at=? WHERE status <> 'ended'", (now_ms(),)
    )
    conn.execute("UPDATE messages SET status='interrupted' WHERE status IN ('pending', 'streaming')")
    conn.execute("UPDATE tool_calls SET state='done' WHERE state <> 'done'")
    conn.execute("UPDATE approvals SET state='resolved', decision='cancelled' WHERE state = 'open'")
    conn.execute("UPDATE tasks SET status='pending', turn_id=NULL WHERE status = 'running'")
    conn.execute("DELETE FROM segments")
    # Who lets a message go has said it: nobody else's permissions hold for what a document brings.
    conn.execute("UPDATE turns SET user=''")
    conn.execute("UPDATE queue SET data=json_remove(data, '$.user')")
    put_meta(conn, "queue", {"paused": True, "rev": 1})


def _close_open_parts(conn: sqlite3.Connection) -> None:
    everything = transcript.page_of(conn, before=None, limit=_MOST_MESSAGES, limit_bytes=1 << 60) or transcript.NOTHING
    for message in everything.messages:
        for part in message["parts"]:
            match part:
                case {"type": "text" | "reasoning", "state": "streaming"}:
                    part["state"] = "done"
                case {"type": "tool", "state": state} if state not in TERMINAL_TOOL_STATES:
                    part.pop("input_json", None)
                    part |= {"state": "output-error", "running": False, "reason": "interrupted", "error": _CUT_OFF}
                case _:
                    continue
            conn.execute("UPDATE parts SET state=?, data=? WHERE id=?", (part["state"], dump_json(part), part["id"]))


def _clean_history(store: SessionStore) -> None:
    """Leave out thinking, and calls that nobody answered."""
    conn = store.db.conn
    rows = conn.execute("SELECT turn_id, step, ord, body FROM api_blocks ORDER BY turn_id, step, ord").fetchall()
    answered = {(turn_id, step) for turn_id, step, ord_, _ in rows if ord_ == 1}
    for turn_id, step, ord_, body in rows:
        stored = history.body_of(store.blobs, body)
        blocks = [block for block in stored if block["type"] not in ("thinking", "redacted_thinking")]
        if ord_ == 0 and (turn_id, step) not in answered:
            blocks = [block for block in blocks if block["type"] != "tool_use"]
        where = (turn_id, step, ord_)
        if blocks:
            new = (row_of(blocks, store.blobs), *where)
            conn.execute("UPDATE api_blocks SET body=? WHERE turn_id=? AND step=? AND ord=?", new)
        else:
            conn.execute("DELETE FROM api_blocks WHERE turn_id=? AND step=? AND ord=?", where)


def _read_again(store: SessionStore) -> None:
    """Read the new session as its actor and its views will. Raises ``NotImportable``."""
    circle = "SELECT 1 FROM messages m JOIN messages p ON p.id = m.parent_id WHERE p.ord >= m.ord"
    if store.db.conn.execute(circle).fetchone() is not None:
        raise NotImportable(_NOT_OURS)
    try:
        loading.load(store.db.conn, store.blobs)
        snap = reading.snapshot(store.db.conn, page=_MOST_MESSAGES, page_bytes=1 << 60)
        for message in snap["messages"]:
            codec.decode_message(message)
        for item in snap["queue"]:
            codec.decode_queue_item(item)
        for task in snap["tasks"]:
            codec.decode_task(task)
        if snap["last_outcome"] is not None:
            codec.decode_outcome(snap["last_outcome"])
        history.api_history(store.db.conn, store.blobs)
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError, sqlite3.Error) as error:
        raise NotImportable(_NOT_OURS) from error
