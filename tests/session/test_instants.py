"""What comes between two lines of the code that were never meant to be apart."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.protocol.commands import TurnStop
from tests.model_server import ModelServer, ToolUse
from tests.session.test_host import hosting, viewing

Json = dict[str, Any]
pytestmark = pytest.mark.timeout(60)


def inserting(source: str) -> ToolUse:
    return ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": source})


async def test_a_turn_that_is_stopped_before_its_first_line_runs_ends(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script(["Still here."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            actor = await host.get(session.id)

            def stop_at_once() -> None:
                # A commit tells of the turn in the breath in which its task is made.
                if view.events[-1]["type"] == "turn.started":
                    view.heard = lambda: None
                    actor.stop(TurnStop(turn=view.events[-1]["turn"]))

            view.heard = stop_at_once
            await view.say("go")
            await view.event("turn.ended", outcome="stopped")
            assert model_server.requests == []
            await view.say("and now?")
            await view.event("turn.ended", outcome="completed")
            view.same_story_as(await view.subscribe())


def database(folder: Path, session: str) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(folder / "data" / "sessions" / session / "session.db", isolation_level=None))
