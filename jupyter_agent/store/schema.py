"""The tables, as a diary: each change to them is one more small function, never an edit.

A session's database::

    meta        one fact a row: session, epoch, gen, prefix, last_outcome, grants
    messages    the transcript           parts       what messages are made of
    turns       one user message to rest steps       requests to the model, by turn
    api_blocks  the API's own history, verbatim: resent byte for byte, never edited
    tool_calls  the ledger of side effects: intent before, result after
    approvals   questions to the user    commands    what was asked and answered, by cmd_id
    queue       messages that wait       tasks       things to do later
    events      durable events but deltas            segments    packed deltas of the live turn
    jobs        what is due later, once an alarm finds the session asleep

``segments`` are dropped when their turn ends: by then ``parts`` hold the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlite_utils import Migrations

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x4A414750  # "JAGP"
SCHEMA_VERSION = 3

session_migrations = Migrations("jupyter_agent.session")
index_migrations = Migrations("jupyter_agent.index")
rules_migrations = Migrations("jupyter_agent.rules")


def _run(db: Database, script: str) -> None:
    for statement in script.split(";"):
        if statement.strip():
            db.conn.execute(statement)


@session_migrations()
def m001_session(db: Database) -> None:
    """Create a session's tables."""
    _run(
        db,
        """
        CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE messages (
            id TEXT PRIMARY KEY, ord INTEGER NOT NULL UNIQUE, parent_id TEXT, role TEXT NOT NULL,
            status TEXT NOT NULL, turn_id TEXT, content TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL,
            meta TEXT NOT NULL DEFAULT '{}', removed INTEGER NOT NULL DEFAULT 0
        );
        CREATE INDEX idx_messages_created ON messages(created_at);
        CREATE TABLE parts (
            id TEXT PRIMARY KEY, message_id TEXT NOT NULL REFERENCES messages(id), idx INTEGER NOT NULL,
            type TEXT NOT NULL, state TEXT, tool_call_id TEXT, data TEXT NOT NULL, UNIQUE (message_id, idx)
        );
        CREATE TABLE turns (
            id TEXT PRIMARY KEY, ord INTEGER NOT NULL UNIQUE, message_id TEXT NOT NULL, mode TEXT NOT NULL,
            trigger TEXT NOT NULL, status TEXT NOT NULL, step INTEGER NOT NULL DEFAULT 0,
            attempt INTEGER NOT NULL DEFAULT 0, outcome TEXT, error TEXT, usage TEXT,
            started_at INTEGER NOT NULL, ended_at INTEGER,
            live INTEGER GENERATED ALWAYS AS (CASE WHEN status = 'ended' THEN NULL ELSE 1 END) VIRTUAL
        );
        CREATE UNIQUE INDEX one_live_turn ON turns(live);
        CREATE TABLE steps (
            turn_id TEXT NOT NULL, step INTEGER NOT NULL, model TEXT NOT NULL, request_id TEXT, stop_reason TEXT,
            usage TEXT, closed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (turn_id, step)
        ) WITHOUT ROWID;
        CREATE TABLE api_blocks (
            turn_id TEXT NOT NULL, step INTEGER NOT NULL, ord INTEGER NOT NULL, role TEXT NOT NULL,
            body TEXT NOT NULL, PRIMARY KEY (turn_id, step, ord)
        ) WITHOUT ROWID;
        CREATE TABLE tool_calls (
            id TEXT PRIMARY KEY, turn_id TEXT NOT NULL, step INTEGER NOT NULL, ord INTEGER NOT NULL,
            part_id TEXT NOT NULL, name TEXT NOT NULL, input TEXT NOT NULL, effect TEXT NOT NULL,
            state TEXT NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, started_at INTEGER, ended_at INTEGER,
            result TEXT
        );
        CREATE INDEX idx_tool_calls_turn ON tool_calls(turn_id, step, ord);
        CREATE TABLE approvals (
            id TEXT PRIMARY KEY, tool_call_id TEXT NOT NULL UNIQUE, part_id TEXT NOT NULL,
            state TEXT NOT NULL, rev INTEGER NOT NULL, data TEXT NOT NULL, requested_at INTEGER NOT NULL,
            expires_at INTEGER, decision TEXT, scope TEXT, reason TEXT, decided_by TEXT, road TEXT, decided_at INTEGER
        );
        CREATE TABLE queue (
            id TEXT PRIMARY KEY, pos INTEGER NOT NULL, message_id TEXT NOT NULL, data TEXT NOT NULL
        );
        CREATE TABLE commands (
            cmd_id TEXT PRIMARY KEY, type TEXT NOT NULL, message_id TEXT, ack TEXT NOT NULL, created_at INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX idx_commands_message ON commands(message_id) WHERE message_id IS NOT NULL;
        CREATE TABLE tasks (
            id TEXT PRIMARY KEY, title TEXT NOT NULL, description TEXT NOT NULL, mode TEXT NOT NULL,
            status TEXT NOT NULL DEFAULT 'pending', created_at INTEGER NOT NULL, completed_at INTEGER,
            turn_id TEXT, rev INTEGER NOT NULL
        );
        CREATE INDEX idx_tasks_status ON tasks(status, created_at);
        CREATE TABLE events (
            seq INTEGER PRIMARY KEY, ts INTEGER NOT NULL, turn_id TEXT, type TEXT NOT NULL, body TEXT NOT NULL
        );
        CREATE TABLE segments (
            seq_to INTEGER PRIMARY KEY, seq_from INTEGER NOT NULL, ts INTEGER NOT NULL, turn_id TEXT, body TEXT NOT NULL
        );
        CREATE TABLE attachments (
            sha256 TEXT PRIMARY KEY, mime TEXT NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL
        )
        """,
    )


@session_migrations()
def m002_durability(db: Database) -> None:
    """Make room for recovery, branches, alarms, and answers that change a call."""
    _run(
        db,
        """
        ALTER TABLE turns ADD COLUMN interrupted INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE turns ADD COLUMN cuts INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE turns ADD COLUMN kept_steps INTEGER;
        ALTER TABLE turns ADD COLUMN user TEXT NOT NULL DEFAULT '';
        ALTER TABLE approvals ADD COLUMN input_hash TEXT NOT NULL DEFAULT '';
        ALTER TABLE approvals ADD COLUMN edited_input TEXT;
        CREATE TABLE jobs (
            id TEXT PRIMARY KEY, kind TEXT NOT NULL, due_at INTEGER NOT NULL, payload TEXT NOT NULL DEFAULT 'null',
            attempts INTEGER NOT NULL DEFAULT 0, last_error TEXT
        ) WITHOUT ROWID;
        CREATE INDEX idx_jobs_due ON jobs(due_at);
        CREATE INDEX idx_messages_turn ON messages(turn_id);
        CREATE INDEX idx_commands_created ON commands(created_at)
        """,
    )


@session_migrations()
def m003_what_is_asked_at_opening(db: Database) -> None:
    """Find the branch's newest messages, and the open questions, without walking over the others."""
    _run(
        db,
        """
        CREATE INDEX idx_messages_branch ON messages(ord) WHERE removed = 0;
        CREATE INDEX idx_approvals_open ON approvals(state) WHERE state = 'open'
        """,
    )


@rules_migrations()
def m001_rules(db: Database) -> None:
    """Create what users have allowed for good."""
    _run(
        db,
        """
        CREATE TABLE rules (
            id TEXT PRIMARY KEY, user TEXT NOT NULL, tool TEXT NOT NULL, notebook TEXT NOT NULL,
            created_at INTEGER NOT NULL, UNIQUE (user, tool, notebook)
        ) WITHOUT ROWID
        """,
    )


@index_migrations()
def m001_index(db: Database) -> None:
    """Create the list of sessions, which can be rebuilt from their own databases."""
    _run(
        db,
        """
        CREATE TABLE sessions (
            id TEXT PRIMARY KEY, updated_at INTEGER NOT NULL, archived_at INTEGER, notebook_path TEXT,
            title TEXT NOT NULL, data TEXT NOT NULL, stamp TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX idx_sessions_updated ON sessions(updated_at DESC, id);
        CREATE INDEX idx_sessions_notebook ON sessions(notebook_path) WHERE notebook_path IS NOT NULL
        """,
    )


@index_migrations()
def m002_alarms(db: Database) -> None:
    """Mirror when sessions are to be woken, and remember when the server's own chores ran."""
    _run(
        db,
        """
        CREATE TABLE alarms (session_id TEXT PRIMARY KEY, due_at INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE chores (name TEXT PRIMARY KEY, ran_at INTEGER NOT NULL) WITHOUT ROWID
        """,
    )


@index_migrations()
def m003_words(db: Database) -> None:
    """Find sessions by what was said in them; list either kind of them without looking at the other."""
    _run(
        db,
        """
        DROP INDEX idx_sessions_updated;
        CREATE INDEX idx_sessions_active ON sessions(updated_at, id) WHERE archived_at IS NULL;
        CREATE INDEX idx_sessions_archived ON sessions(updated_at, id) WHERE archived_at IS NOT NULL;
        CREATE INDEX idx_sessions_all ON sessions(updated_at, id);
        CREATE TABLE texts (
            id INTEGER PRIMARY KEY, session_id TEXT NOT NULL, message_id TEXT NOT NULL, UNIQUE (session_id, message_id)
        );
        DELETE FROM sessions
        """,
    )
    if has_full_text(db):
        db.conn.execute(
            "CREATE VIRTUAL TABLE words USING fts5(body, tokenize='unicode61 remove_diacritics 2', prefix='2 3')"
        )
    else:
        db.conn.execute("CREATE TABLE words (body TEXT NOT NULL)")


def has_full_text(db: Database) -> bool:
    """Tell whether this SQLite was built with FTS5."""
    return bool(db.conn.execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')").fetchone()[0])


@index_migrations()
def m004_roots(db: Database) -> None:
    """Tell the notebooks of servers apart that were started in different folders."""
    _run(
        db,
        """
        CREATE TABLE roots (session_id TEXT PRIMARY KEY, root TEXT NOT NULL) WITHOUT ROWID;
        DELETE FROM sessions
        """,
    )


@index_migrations()
def m005_folded_titles(db: Database) -> None:
    """Keep titles as they are looked for: without case and accents."""
    _run(db, "DELETE FROM sessions")


@rules_migrations()
def m002_rule_roots(db: Database) -> None:
    """Let a rule hold below one folder: a path alone means another notebook in each."""
    _run(
        db,
        """
        ALTER TABLE rules RENAME TO old_rules;
        CREATE TABLE rules (
            id TEXT PRIMARY KEY, user TEXT NOT NULL, tool TEXT NOT NULL, root TEXT NOT NULL, notebook TEXT NOT NULL,
            created_at INTEGER NOT NULL, UNIQUE (user, tool, root, notebook)
        ) WITHOUT ROWID;
        INSERT INTO rules SELECT id, user, tool, '', notebook, created_at FROM old_rules;
        DROP TABLE old_rules
        """,
    )
