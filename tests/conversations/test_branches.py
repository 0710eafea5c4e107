"""Rewind, clear, retry and fork, over every road: what leaves the branch is kept, and never said to the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.roads import MemoryRoad, Road
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(180)
Script = Callable[[Sequence[Any]], str]
Json = dict[str, Any]


def said(claude: ModelServer, word: str) -> str:
    """All that the model was last sent in the conversation of this word."""
    return str([request for request in claude.requests if word in str(request.body)][-1].body["messages"])


def texts(view: Stranger) -> list[str]:
    """What each message of the view says."""
    return [
        "".join(part["text"] for part in message["parts"] if part["type"] == "text")
        for message in view.view["messages"]
    ]


async def talk(view: Stranger, text: str) -> None:
    """Say something and wait for the whole answer."""
    turn = (await view.say(text))["turn"]
    await view.event("turn.ended", turn=turn)


async def change(view: Stranger, kind: str, **d: Any) -> None:
    """Give a command and wait for all that it did: an ack may come before the events."""
    ack = await view.ask(kind, **d)
    assert ack["status"] == "accepted", ack
    await view.subscribe(since={"ep": view.ep, "seq": view.seq})


async def test_a_rewound_session_goes_on_from_there_and_the_model_hears_nothing_else(
    road: Road, script: Script, claude: ModelServer
) -> None:
    word = script([Reply(Text("First.")), Reply(Text("Second.")), Reply(Text("Other."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await talk(view, f"one {word}")
        first = view.view["messages"][-1]["id"]
        await talk(view, "two")
        await change(view, "session.rewind", message_id=first)
        assert texts(view) == [f"one {word}", "First."]
        view.same_story_as(await view.subscribe())
        await talk(view, "three")
        assert texts(view) == [f"one {word}", "First.", "three", "Other."]
        heard = said(claude, word)
        assert "First." in heard
        assert "two" not in heard
        assert "Second." not in heard
        view.same_story_as(await view.subscribe())


async def test_an_old_branch_comes_back_when_the_session_is_rewound_to_it(road: Road, script: Script) -> None:
    word = script([Reply(Text("First.")), Reply(Text("Second.")), Reply(Text("Other."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await talk(view, f"one {word}")
        first = view.view["messages"][-1]["id"]
        await talk(view, "two")
        second = view.view["messages"][-1]["id"]
        since = {"ep": view.ep, "seq": view.seq}
        await change(view, "session.rewind", message_id=first)
        await talk(view, "three")
        await change(view, "session.rewind", message_id=second)
        assert texts(view) == [f"one {word}", "First.", "two", "Second."]
        view.same_story_as(await view.subscribe())
        async with road.view(session_id) as late:
            await late.open()
            assert texts(late) == texts(view)
        await view.subscribe(since=since)  # A view that was away hears all of it again, and believes the same.
        view.same_story_as(await view.subscribe())


async def test_a_session_rewound_to_a_question_has_no_answer_to_it(
    road: Road, script: Script, claude: ModelServer
) -> None:
    word = script([Reply(Text("Wrong.")), Reply(Text("Right."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await talk(view, f"question {word}")
        await change(view, "session.rewind", message_id=view.view["messages"][0]["id"])
        assert texts(view) == [f"question {word}"]
        await talk(view, "please")
        assert "Wrong." not in said(claude, word)
        assert word in said(claude, word)
        view.same_story_as(await view.subscribe())


async def test_what_was_said_instead_of_an_answer_has_its_place_in_the_story(
    road: Road, script: Script, claude: ModelServer
) -> None:
    cell = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "1"})
    word = script([Reply(cell), "As you wish.", "Second.", "Third."])
    async with road.session() as session, road.view(session) as view:
        await view.open()
        await view.say(word)
        await view.event("turn.status", status="awaiting")
        await view.say("No, later.", deny_pending=True)
        await view.event("turn.ended", outcome="completed")
        await talk(view, "two")
        *_, question, _ = view.view["messages"]
        await change(view, "session.rewind", message_id=question["id"])
        assert texts(view) == [word, "", "No, later.", "As you wish.", "two"]  # "": the call
        await talk(view, "three")
        assert "As you wish." in said(claude, word)
        assert "No, later." in said(claude, word)


async def test_a_turn_that_was_stopped_after_something_was_said_in_it_goes_on(road: Road, script: Script) -> None:
    gate = Gate()
    cell = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "1"})
    word = script([Reply(cell), Reply(Text("Half ", gate)), "and whole."])
    async with road.session() as session, road.view(session) as view:
        await view.open()
        turn = (await view.say(word))["turn"]
        await view.event("turn.status", status="awaiting")
        await view.say("No, later.", deny_pending=True)
        await gate.until_reached()
        await view.ask("turn.stop", turn=turn)
        await view.event("turn.ended", outcome="stopped")
        gate.open()
        assert (await view.ask("turn.continue", after=turn))["status"] == "accepted"
        await view.event("turn.ended", outcome="completed")
        assert texts(view)[-1] == "and whole."


async def test_a_cleared_session_begins_anew(road: Road, script: Script, claude: ModelServer) -> None:
    word, other = script([Reply(Text("Secret."))]), script([Reply(Text("Fresh."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await talk(view, f"one {word}")
        await change(view, "session.clear", cmd_id="clear-1")
        assert view.view["messages"] == []
        view.same_story_as(await view.subscribe())
        await talk(view, other)
        assert "Secret." not in said(claude, other)
        assert (await view.ask("session.clear", cmd_id="clear-1"))["status"] == "duplicate"
        assert texts(view) == [other, "Fresh."]


async def test_clearing_stops_the_turn_first_and_drops_what_waits(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("Going ", gate, "on"))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await gate.until_reached()
        await view.reads("Going ")
        await view.say("and then")
        await change(view, "session.clear")
        gate.open()
        kinds = [event["type"] for event in view.events]
        assert kinds.index("turn.ended") < kinds.index("message.removed")
        assert view.view["last_outcome"]["outcome"] == "stopped"
        assert (view.view["messages"], view.view["queue"], view.view["turn"]) == ([], [], None)
        view.same_story_as(await view.subscribe())


async def test_clearing_cancels_an_open_question(road: Road, script: Script) -> None:
    word = script([Reply(ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "1"}))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        asked = (await view.event("approval.requested"))["d"]["approval"]
        await view.event("turn.status", status="awaiting")
        await change(view, "session.clear")
        assert view.of("approval.resolved")[0]["d"]["decision"] == "cancelled"
        ack = await view.ask("approval.answer", id=asked["id"], rev=asked["rev"], decision="allow", scope="once")
        assert ack["error"]["code"] == "not_open"
        view.same_story_as(await view.subscribe())


async def test_an_answer_is_tried_again_with_its_tool_calls_forgotten(
    road: Road, script: Script, claude: ModelServer
) -> None:
    look = Reply(Text("Looking. "), ToolUse("read_notebook", {}))
    word = script([look, Reply(Text("Bad.")), Reply(Text("Good.")), Reply(Text("Best.")), Reply(Text("Thanks."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await talk(view, f"try {word}")
        question, bad = (message["id"] for message in view.view["messages"])
        ack = await view.ask("turn.retry", message_id=bad)
        await view.event("turn.ended", turn=ack["result"]["turn"])
        assert texts(view) == [f"try {word}", "Good."]
        assert view.view["messages"][1]["parent_id"] == question
        ack = await view.ask("turn.retry", message_id=view.view["messages"][1]["id"])
        await view.event("turn.ended", turn=ack["result"]["turn"])
        assert texts(view) == [f"try {word}", "Best."]
        heard = said(claude, word)
        assert not any(gone in heard for gone in ("Bad.", "Good.", "tool_use"))
        await change(view, "session.rewind", message_id=bad)
        assert texts(view) == [f"try {word}", "Looking. Bad."]
        await talk(view, "go on")
        heard = said(claude, word)
        assert "tool_result" in heard
        assert "Bad." in heard
        assert "Best." not in heard
        view.same_story_as(await view.subscribe())


async def test_what_cannot_be_rewound_to_or_tried_again_is_refused_with_a_code(road: Road, script: Script) -> None:
    word = script([Reply(Text("Yes."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await talk(view, word)
        before = len(view.events)
        for kind, message_id, code in (
            ("session.rewind", "msg_nowhere", "unknown_message"),
            ("session.fork", "msg_nowhere", "unknown_message"),
            ("turn.retry", "msg_nowhere", "unknown_message"),
            ("turn.retry", view.view["messages"][0]["id"], "not_an_answer"),
        ):
            ack = await view.ask(kind, message_id=message_id)
            assert (ack["status"], ack["error"]["code"]) == ("rejected", code)
        assert {event["type"] for event in view.events[before:]} - {"hb"} == {"ack"}


async def test_a_fork_ends_with_its_message_and_goes_on_by_itself(
    host: Any, tmp_path: Any, script: Script, claude: ModelServer
) -> None:
    road = MemoryRoad(host, tmp_path)
    word = script([Reply(Text("First.")), Reply(Text("Second.")), Reply(Text("Elsewhere."))])
    async with road.session(title="Plan") as session_id, road.view(session_id) as view:
        await view.open()
        await talk(view, f"one {word}")
        first = view.view["messages"][-1]["id"]
        await talk(view, "two")
        ack = await view.ask("session.fork", message_id=first, cmd_id="fork-1")
        other = ack["result"]["id"]
        assert (await view.ask("session.fork", message_id=first, cmd_id="fork-1"))["result"]["id"] == other
        assert ack["result"]["session"]["title"] == "Plan (copy)"
        assert texts(view)[-1] == "Second."
        async with road.view(other) as copy:
            snapshot = await copy.open()
            assert snapshot["d"]["as_of"] == 0
            assert copy.ep != view.ep
            assert texts(copy) == [f"one {word}", "First."]
            await talk(copy, "three")
            assert "Second." not in said(claude, word)
            assert "First." in said(claude, word)
            copy.same_story_as(await copy.subscribe())
        view.same_story_as(await view.subscribe())


async def test_a_fork_of_a_running_turn_ends_interrupted_and_the_turn_runs_on(
    host: Any, tmp_path: Any, script: Script, claude: ModelServer
) -> None:
    road, gate = MemoryRoad(host, tmp_path), Gate()
    look = Reply(Text("Looking. "), ToolUse("read_notebook", {}))
    word = script([look, Reply(Text("Half ", gate, "whole.")), Reply(Text("Copied."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await gate.until_reached()
        await view.reads("Half ")
        other = (await view.ask("session.fork"))["result"]["id"]
        async with road.view(other) as copy:
            await copy.open()
            assert copy.view["turn"] is None
            assert copy.view["last_outcome"]["outcome"] == "interrupted"
            assert copy.view["messages"][-1]["status"] == "interrupted"
            assert texts(copy)[-1] == "Looking. "
            gate.open()
            await view.event("turn.ended", outcome="completed")
            await talk(copy, "and you?")
            assert "Half" not in said(claude, word)
            assert "tool_result" in said(claude, word)
            copy.same_story_as(await copy.subscribe())
        assert texts(view)[-1] == "Looking. Half whole."


async def test_a_fork_of_a_turn_that_asks_leaves_the_question_where_it_is(
    host: Any, tmp_path: Any, script: Script
) -> None:
    road = MemoryRoad(host, tmp_path)
    cell = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "1"})
    word = script([Reply(cell), Reply(Text("Copied.")), Reply(Text("Done."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        asked = (await view.event("approval.requested"))["d"]["approval"]
        await view.event("turn.status", status="awaiting")
        other = (await view.ask("session.fork"))["result"]["id"]
        async with road.view(other) as copy:
            await copy.open()
            assert copy.view["approvals"] == []
            assert copy.tools[0]["state"] == "output-error"
            assert copy.tools[0]["reason"] == "never_ran"
            await talk(copy, "go on")
        await view.ask("approval.answer", id=asked["id"], rev=asked["rev"], decision="allow", scope="once")
        await view.event("turn.ended", outcome="completed")


async def test_a_branch_does_not_end_in_the_middle_of_a_reply_that_was_steered(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("Look: ", gate), ToolUse("read_notebook", {})), "In red.", "In blue."])
    async with road.session() as session, road.view(session) as view:
        await view.open()
        await view.say(f"plot {word}")
        await gate.until_reached()
        await view.say("in red", when_busy="steer")
        gate.open()
        await view.event("turn.ended", outcome="completed")
        question, first, steering, last = (message["id"] for message in view.view["messages"])
        for within in (first, steering):
            ack = await view.ask("session.rewind", message_id=within)
            assert ack["error"]["code"] == "within_a_turn"
        heard = len(view.events)
        await view.ask("turn.retry", message_id=last)
        await view.event("turn.ended", after=heard, outcome="completed")
        assert [message["id"] for message in view.view["messages"]][:1] == [question]
        assert len(view.view["messages"]) == 2
        assert view.text == "In blue."
