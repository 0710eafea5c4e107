"""A turn's steps: how many it may take, and what is kept of each."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.model_server import ModelServer, Reply, ToolUse
from tests.session.test_host import hosting, viewing

pytestmark = pytest.mark.timeout(60)
Json = dict[str, Any]


def noting(title: str) -> Reply:
    """A step that asks for one more."""
    return Reply(ToolUse("create_task", {"title": title}))


async def test_a_turn_that_reached_its_limit_of_steps_is_gone_on_with_and_has_as_many_again(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([noting("a"), noting("b"), noting("c"), "All done."])
    async with hosting(model_server, tmp_path, max_steps=2) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            turn = (await view.say("go"))["turn"]
            await view.event("turn.ended", outcome="step_limit")
            assert len(model_server.requests) == 2
            assert [part["state"] for part in view.tools] == ["output-available"] * 2
            # A limit is no fault: what is said next starts at once, and Continue goes on.
            assert view.view["paused"] is False
            ack = await view.ask("turn.continue", after=turn)
            await view.event("turn.ended", outcome="completed")
            assert ack["result"]["turn"] != turn
            assert [task["title"] for task in view.view["tasks"]] == ["a", "b", "c"]
            assert view.text == "All done."
            view.same_story_as(await view.subscribe())
    assert "You reached the limit of steps" in "".join(model_server.requests[2].user_texts[-2:])
    assert model_server.refusals == []


async def test_of_each_step_is_kept_what_it_used_and_why_it_ended(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([noting("a"), "Done."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            turn = (await view.say("go"))["turn"]
            await view.event("turn.ended", outcome="completed")
            told, whole = [event["d"] for event in view.of("step.ended")], view.view["last_outcome"]["usage"]
    kept = steps(tmp_path / "data" / "sessions" / session.id / "session.db", turn)
    assert [step["stop_reason"] for step in kept] == ["tool_use", "end_turn"]
    assert kept == [{name: step.get(name) for name in kept[0]} for step in told]
    for name in ("input_tokens", "output_tokens"):
        counts = [step["usage"][name] for step in kept]
        assert all(counts)
        assert whole[name] == sum(counts)


def steps(database: Path, turn: str) -> list[Json]:
    """What the database has of a turn's steps."""
    with sqlite3.connect(database) as db:
        rows = db.execute(
            "SELECT step, stop_reason, request_id, usage FROM steps WHERE turn_id=? AND closed ORDER BY step", (turn,)
        ).fetchall()
    db.close()
    return [
        {"step": step, "stop_reason": why, "request_id": request, "usage": json.loads(usage)}
        for step, why, request, usage in rows
    ]
