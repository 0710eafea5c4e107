"""What one user allowed for good holds for that user's words, whoever else speaks in the same session."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.session.host import SessionHost
from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.roads import write_notebook
from tests.session.test_host import hosting
from tests.stranger import Stranger

Json = dict[str, Any]
LOOK = ToolUse("read_notebook", {})
TITLE = {"cell_id": "title", "base_hash": hashlib.sha256(b"markdown\n# Numbers").hexdigest(), "source": "# Mine"}


def inserting(source: str) -> ToolUse:
    return ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": source})


@asynccontextmanager
async def user(host: SessionHost, session_id: str, name: str) -> AsyncGenerator[Stranger]:
    """That user's view."""
    stranger = Stranger(lambda command: connection.receive(command))
    connection = host.connect(session_id, lambda frame: stranger.hear(frame.data), user=name, road="panel")
    await stranger.open()
    yield stranger
    connection.close()


@asynccontextmanager
async def two(model_server: ModelServer, tmp_path: Path) -> AsyncGenerator[tuple[Stranger, Stranger]]:
    """Ada, who has allowed the agent to insert cells into this notebook for good, and Bob."""
    write_notebook(tmp_path, "a.ipynb")
    async with hosting(model_server, tmp_path) as host:
        await host.rules.add("ada", "insert_cell", "a.ipynb")
        session = await host.create(notebook_path="a.ipynb")
        async with user(host, session.id, "ada") as ada, user(host, session.id, "bob") as bob:
            yield ada, bob
            assert "mine = 1" not in (tmp_path / "a.ipynb").read_text(encoding="utf-8")
    assert model_server.refusals == []


async def test_who_steers_anothers_turn_is_asked(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(gate, inserting("hers = 1")), Reply(inserting("mine = 1"))])
    async with two(model_server, tmp_path) as (ada, bob):
        await ada.say("insert something")
        await gate.until_reached()
        await bob.say("and mine", when_busy="steer")
        gate.open()
        await ada.event("approval.requested")
        assert "hers = 1" in (tmp_path / "a.ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize("way", ["message", "reason", "input"])
async def test_who_answers_anothers_question_in_words_is_asked(
    model_server: ModelServer, tmp_path: Path, way: str
) -> None:
    model_server.script([Reply(LOOK), Reply(ToolUse("edit_cell", TITLE)), Reply(inserting("mine = 1"))])
    async with two(model_server, tmp_path) as (ada, bob):
        await ada.say("edit it")
        asked = (await bob.event("approval.requested"))["d"]["approval"]
        await bob.event("turn.status", status="awaiting")
        here = len(bob.events)
        answer: Json = {"id": asked["id"], "rev": 1, "decision": "deny"}
        match way:
            case "message":
                await bob.say("insert mine instead", deny_pending=True)
            case "reason":
                await bob.ask("approval.answer", **answer, reason="insert mine instead")
            case _:
                edited: Json = {"decision": "allow", "edited_input": TITLE | {"source": "insert mine"}}
                await bob.ask("approval.answer", **(answer | edited))
        await bob.event("approval.requested", after=here)


async def test_who_edits_anothers_waiting_message_says_it(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(gate, Text("Done.")), Reply(inserting("mine = 1"))])
    async with two(model_server, tmp_path) as (ada, bob):
        await ada.say("talk")
        await gate.until_reached()
        await ada.say("then talk more")
        (item,) = (await bob.event("queue.updated"))["d"]["items"]
        await bob.ask("queue.edit", id=item["id"], rev=item["rev"], parts=[{"type": "text", "text": "insert mine"}])
        gate.open()
        await bob.event("approval.requested")


async def test_who_rewords_anothers_waiting_task_says_it(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(gate, Text("Done.")), Reply(inserting("mine = 1"))])
    async with two(model_server, tmp_path) as (ada, bob):
        await ada.say("talk")
        await gate.until_reached()
        task = (await ada.ask("task.create", title="Look around"))["result"]
        await ada.ask("task.run", id=task["id"], rev=task["rev"])
        await bob.ask("task.update", id=task["id"], rev=task["rev"], description="insert mine")
        gate.open()
        await bob.event("approval.requested")


async def test_after_anothers_turn_ones_own_is_allowed_what_it_was(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(gate, LOOK), Reply(Text("Heard both.")), Reply(inserting("hers = 1")), Reply(Text("."))])
    async with two(model_server, tmp_path) as (ada, bob):
        await ada.say("look")
        await gate.until_reached()
        await bob.say("me too", when_busy="steer")
        gate.open()
        await ada.event("turn.ended", outcome="completed")
        here = len(ada.events)
        await ada.say("insert something")
        await ada.event("turn.ended", after=here, outcome="completed")
        assert [part["allowed"] for part in ada.tools if part["name"] == "insert_cell"] == ["always"]
