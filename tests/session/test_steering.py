"""What is said while a turn runs or asks: read once, in order, by whoever answers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.roads import write_notebook
from tests.session.test_host import hosting, viewing
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(60)
Json = dict[str, Any]

NOTING = ToolUse("create_task", {"title": "Look"})


def story(view: Stranger) -> list[str]:
    """Who says what, in order; tools by their names."""
    return [
        f"{message['role']}: {part.get('text') or part.get('name')}"
        for message in view.view["messages"]
        for part in message["parts"]
    ]


async def asked(view: Stranger, after: int = 0) -> Json:
    """The question the turn rests on."""
    question = (await view.event("approval.requested", after=after))["d"]["approval"]
    await view.event("turn.status", after=after, status="awaiting")
    return question


async def test_what_steers_a_turn_in_its_last_step_starts_the_next_one(
    model_server: ModelServer, tmp_path: Path
) -> None:
    """In that turn nobody would have answered it."""
    gate = Gate()
    model_server.script([Reply(Text("On it.", gate), NOTING), "In red.", "The other."])
    async with hosting(model_server, tmp_path, max_steps=1) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("draw")
            await gate.until_reached()
            await view.say("another")
            await view.say("in red", when_busy="steer")
            gate.open()
            await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 3)
            assert story(view) == [
                "user: draw", "assistant: On it.", "assistant: create_task",
                "user: in red", "assistant: In red.", "user: another", "assistant: The other.",
            ]  # fmt: skip
            view.same_story_as(await view.subscribe())
    assert model_server.refusals == []


async def test_several_that_steer_are_read_in_their_order_and_what_only_waits_is_not(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("On it.", gate), NOTING), "Red and thick.", "Later."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("draw")
            await gate.until_reached()
            for words, when_busy in (("waits", "queue"), ("in red", "steer"), ("and thick", "steer")):
                await view.say(words, when_busy=when_busy)
            gate.open()
            await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 2)
            assert story(view)[3:] == [
                "user: in red", "user: and thick", "assistant: Red and thick.", "user: waits", "assistant: Later.",
            ]  # fmt: skip
            view.same_story_as(await view.subscribe())
    assert model_server.refusals == []


async def test_a_stop_keeps_what_would_have_steered_waiting(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(Text("On it.", gate), NOTING), "In red."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            turn = (await view.say("draw"))["turn"]
            await gate.until_reached()
            item = (await view.say("in red", when_busy="steer"))["queue_id"]
            ack = await view.ask("turn.stop", turn=turn)
            assert ack["result"]["still_queued"] == [item]
            await view.event("turn.ended", outcome="stopped")
            await view.event("queue.updated", paused=True)
            gate.open()
            await view.ask("queue.resume")
            await view.event("turn.ended", outcome="completed")
            assert story(view) == ["user: draw", "assistant: On it.", "user: in red", "assistant: In red."]


async def test_what_steers_a_turn_that_asks_is_read_behind_the_answer_also_after_a_restart(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."})), "In red."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await view.say("draw")
            question = await asked(view)
            await view.say("in red", when_busy="steer")
    async with hosting(model_server, tmp_path) as host, viewing(host, session.id) as view:
        await view.ask("approval.answer", id=question["id"], rev=1, decision="allow")
        await view.event("turn.ended", outcome="completed")
        assert story(view) == ["user: draw", "assistant: exit_plan", "user: in red", "assistant: In red."]
    kinds = [block["type"] for block in model_server.requests[-1].body["messages"][-1]["content"]]
    assert kinds == ["tool_result", "text"]


async def test_a_message_instead_of_an_answer_may_follow_another_in_the_same_step(
    model_server: ModelServer, tmp_path: Path
) -> None:
    write_notebook(tmp_path, "a.ipynb")
    insert = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "y = 1"})
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Insert."}), insert), "As you wish.", "Once more."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan", notebook_path="a.ipynb")
        async with viewing(host, session.id) as view:
            await view.say("go")
            await asked(view)
            await view.ask("session.set", mode="build")
            heard = len(view.events)
            await view.say("no plan", deny_pending=True)
            await asked(view, after=heard)
    async with hosting(model_server, tmp_path) as host, viewing(host, session.id) as view:
        assert (await view.say("and no cell", deny_pending=True))["queue_id"] is None
        await view.event("turn.ended", outcome="completed")
        told = ["user: go", "assistant: exit_plan", "assistant: insert_cell", "user: no plan", "user: and no cell"]
        assert story(view) == [*told, "assistant: As you wish."]
        last = view.view["messages"][-1]["id"]
        await view.say("again")
        await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 2)
        await view.ask("session.rewind", message_id=last)
        await view.subscribe()
        assert story(view) == [*told, "assistant: As you wish."]
    said = [block.get("text") for block in model_server.requests[1].body["messages"][-1]["content"]]
    assert said[2:] == ["no plan", "and no cell"]
    assert model_server.refusals == []
