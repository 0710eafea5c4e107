"""What must not grow with a session: looked at in SQLite's own plans, not by the clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from jupyter_agent.protocol.commands import Cursor
from jupyter_agent.protocol.ids import new_id
from jupyter_agent.store import loading, reading, replay, transcript
from jupyter_agent.store.store import SessionStore
from tests.model_server import ModelServer, Reply, Text

from .test_host import hosting, viewing

_GROWING = ("messages", "parts", "turns", "steps", "api_blocks", "tool_calls", "approvals", "commands", "events")
_FIRST_OF_ORDER = re.compile(r"ORDER BY [\w.]+( DESC)? LIMIT 1$")
"""Walks as far as its first row."""


async def test_neither_opening_a_session_nor_going_on_in_it_walks_over_a_table_that_grows(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            model_server.script([Reply(Text("One.")), Reply(Text("Two."))])
            await view.say("hello")
            await view.event("turn.ended")
            said: list[str] = []
            actor = await host.get(session.id)
            await actor.journal.read(lambda store: store.db.conn.set_trace_callback(said.append))
            await view.event("turn.ended", turn=(await view.say("again"))["turn"])
            await view.subscribe()
            await actor.journal.read(lambda store: store.db.conn.set_trace_callback(None))
    with closing(SessionStore.open(tmp_path / "data" / "sessions" / session.id)) as store:
        conn = store.db.conn
        conn.set_trace_callback(said.append)
        loading.load(conn, store.blobs)
        reading.snapshot(conn, page=25, page_bytes=1 << 20, message_bytes=1)
        replay.replay(conn, Cursor(ep=reading.epoch(conn), seq=1), limit=100, limit_bytes=1 << 20)
        transcript.page_of(conn, before=None, limit=1, limit_bytes=1 << 20)
        conn.set_trace_callback(None)
        walked = {sql: plan for sql in said for plan in _walks(store, sql)}
    assert said
    # The model reads its whole history, each time.
    assert {sql: plan for sql, plan in walked.items() if "FROM api_blocks b JOIN turns t" not in sql} == {}


def _walks(store: SessionStore, sql: str) -> Iterator[str]:
    if not sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")) or _FIRST_OF_ORDER.search(sql):
        return
    for *_, plan in store.db.conn.execute(f"EXPLAIN QUERY PLAN {sql}"):
        words = plan.split()
        if words[0] == "SCAN" and words[1] in (*_GROWING, "m", "p", "t", "b", "a", "c"):
            yield plan


def test_ids_of_one_time_stand_together_and_are_never_the_same() -> None:
    made = [new_id("prt") for _ in range(5_000)]
    assert len(set(made)) == len(made)
    assert len({made_id[:10] for made_id in made}) <= 3
