"""What a power cut may take, and what not: which commits reach the disk before they are answered. What the file is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from jupyter_agent.store.schema import APPLICATION_ID, SCHEMA_VERSION
from tests.model_server import ModelServer, Reply, ToolUse
from tests.session.test_host import hosting, viewing

pytestmark = pytest.mark.timeout(60)


async def test_what_must_survive_a_power_cut_is_committed_in_full(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."})), "A long answer " * 50])
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create(mode="plan")
        store = (await host.get(session.id)).journal._store  # pyright: ignore[reportPrivateUsage] -- what reaches the disk
        statements: list[str] = []
        store.db.conn.set_trace_callback(statements.append)
        async with viewing(host, session.id) as view:
            await view.say("plan")
            asked = (await view.event("approval.requested"))["d"]["approval"]
            await view.event("turn.status", status="awaiting")
            await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow", scope="once")
            await view.event("turn.ended", outcome="completed")
        commits = list(hard_commits(statements))
        for needed in ("INTO commands", "INTO approvals", "'executing'", "'turn.ended'"):
            holding = [hard for hard, texts in commits if any(needed in text for text in texts)]
            assert holding, f"nothing wrote {needed}"
            assert all(holding), f"a commit with {needed} was not a full one"
        deltas = [hard for hard, texts in commits if all("INTO segments" in text for text in texts if "INTO" in text)]
        assert not all(deltas), "text alone needs no full commit"


def hard_commits(statements: list[str]) -> list[tuple[bool, list[str]]]:
    """Return each transaction with whether it was synced."""
    found: list[tuple[bool, list[str]]] = []
    hard, within = False, list[str]()
    for text in statements:
        if text.startswith("PRAGMA synchronous="):
            hard = text.endswith("FULL")
        elif text.startswith("BEGIN IMMEDIATE"):
            within = []
        elif text == "COMMIT" and within:
            found.append((hard, within))
            within = []
        else:
            within.append(text)
    return found


@pytest.mark.parametrize("storage", ["local", "network"])
async def test_a_sessions_file_says_what_it_is(model_server: ModelServer, tmp_path: Path, storage: str) -> None:
    async with hosting(model_server, tmp_path, storage=storage) as host:
        session = await host.create()
    folder = tmp_path / "data" / "sessions" / session.id
    with sqlite3.connect(folder / "session.db") as db:
        for pragma, value in {
            "application_id": APPLICATION_ID,
            "user_version": SCHEMA_VERSION,
            "auto_vacuum": 2,
            "journal_mode": "wal",
            "integrity_check": "ok",
        }.items():
            assert db.execute(f"PRAGMA {pragma}").fetchone() == (value,), pragma
    db.close()


async def test_the_tables_and_indexes_that_other_programs_read_are_there(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(ToolUse("create_task", {"title": "Later"})), "Noted."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("note it")
            await view.event("turn.ended", outcome="completed")
    with sqlite3.connect(tmp_path / "data" / "sessions" / session.id / "session.db") as db:
        messages = db.execute("SELECT role, content FROM messages WHERE created_at > 0 ORDER BY created_at").fetchall()
        tasks = db.execute("SELECT title, description, status, completed_at FROM tasks").fetchall()
        indexes = {name: columns(db, name) for name in ("idx_messages_created", "idx_tasks_status")}
        (pending,) = db.execute("SELECT dflt_value FROM pragma_table_info('tasks') WHERE name='status'").fetchone()
    db.close()
    assert messages == [("user", "note it"), ("assistant", "Noted.")]
    assert tasks == [("Later", "", "pending", None)]
    assert indexes == {"idx_messages_created": ["created_at"], "idx_tasks_status": ["status", "created_at"]}
    assert pending == "'pending'"


def columns(db: sqlite3.Connection, index: str) -> list[str]:
    """Name an index's columns, in order."""
    return [name for (name,) in db.execute("SELECT name FROM pragma_index_info(?) ORDER BY seqno", (index,))]
