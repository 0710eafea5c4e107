"""What every view may rely on, over every road, seen by a client written from the protocol alone."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.model_server import ErrorEvent, Gate, HttpError, ModelServer, Reply, Text, Think, ToolUse
from tests.roads import Road

pytestmark = pytest.mark.timeout(180)
Script = Callable[[Sequence[Any]], str]


async def test_a_view_greets_subscribes_and_is_told_everything_there_is(road: Road) -> None:
    async with road.session(title="Numbers") as session_id, road.view(session_id) as view:
        snapshot = await view.open()
        assert snapshot["type"] == "snapshot"
        assert view.of("welcome")[0]["d"]["protocol"] == 1
        assert snapshot["d"]["session"]["title"] == "Numbers"
        assert snapshot["d"]["messages"] == []
        assert snapshot["d"]["turn"] is None


async def test_an_answer_streams_without_gaps_to_one_end(road: Road, script: Script) -> None:
    word = script([Reply(Think("They ask for little."), Text("Twenty-one, ", "or 🐍 21."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        result = await view.say(f"What is x? {word}")
        ended = await view.event("turn.ended")
        assert ended["d"]["outcome"] == "completed"
        assert ended["d"]["turn"] == result["turn"]
        assert view.text == "Twenty-one, or 🐍 21."
        kinds = [e["type"] for e in view.events if "seq" in e or "covers" in e]
        assert kinds[:3] == ["message.added", "turn.started", "message.added"]
        assert kinds[-1] == "turn.ended"
        assert view.view["messages"][-1]["status"] == "complete"


async def test_a_second_view_is_told_the_story_the_first_one_saw(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("So far ", gate, "and no further."))])
    async with road.session() as session_id, road.view(session_id) as first:
        await first.open()
        await first.say(word)
        await gate.until_reached()
        await first.reads("So far ")
        async with road.view(session_id) as second:
            middle = await second.open()
            assert middle["d"]["messages"][-1]["parts"][0]["text"].startswith("So far")
            gate.open()
            await first.event("turn.ended")
            await second.event("turn.ended")
            assert second.text == first.text == "So far and no further."
            first.same_story_as(await second.subscribe())


async def test_a_cell_is_inserted_when_the_user_allows_it(road: Road, script: Script) -> None:
    source = "total = x * 2"
    word = script(
        [
            Reply(ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": source})),
            Reply(Text("Inserted.")),
        ]
    )
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        asked = (await view.event("approval.requested"))["d"]["approval"]
        assert source in str(asked["preview"])
        await view.event("turn.status", status="awaiting")
        ack = await view.ask("approval.answer", id=asked["id"], rev=asked["rev"], decision="allow", scope="once")
        assert ack["status"] == "accepted"
        await view.event("turn.ended", outcome="completed")
        assert [part["state"] for part in view.view["messages"][-1]["parts"] if part["type"] == "tool"] == [
            "output-available"
        ]
        path = road.notebooks / view.view["session"]["notebook_path"]
        assert source in path.read_text(encoding="utf-8")


async def test_a_denied_edit_leaves_the_notebook_as_it_was_and_the_model_reads_why(
    road: Road, script: Script, claude: ModelServer
) -> None:
    word = script(
        [
            Reply(ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "del x"})),
            Reply(Text("As you wish.")),
        ]
    )
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        path = road.notebooks / view.view["session"]["notebook_path"]
        before = path.read_bytes()
        await view.say(word)
        asked = (await view.event("approval.requested"))["d"]["approval"]
        await view.ask(
            "approval.answer", id=asked["id"], rev=asked["rev"], decision="deny", scope="once", reason="I need x."
        )
        await view.event("turn.ended", outcome="completed")
        assert view.tools[0]["state"] == "output-denied"
        assert path.read_bytes() == before
    last = [request for request in claude.requests if word in str(request.body)][-1]
    assert "I need x." in last.result_text()


async def test_plan_mode_refuses_what_writes(road: Road, script: Script) -> None:
    word = script(
        [
            Reply(ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "y = 1"})),
            Reply(Text("Then I only look.")),
        ]
    )
    async with road.session(mode="plan") as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await view.event("turn.ended", outcome="completed")
        assert view.tools[0]["state"] == "output-denied"
        assert view.of("approval.requested") == []


async def test_leaving_plan_mode_takes_the_users_approval(road: Road, script: Script) -> None:
    word = script([Reply(ToolUse("exit_plan", {"plan": "1. Double x."})), Reply(Text("Building."))])
    async with road.session(mode="plan") as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        asked = (await view.event("approval.requested"))["d"]["approval"]
        assert "Double x" in str(asked["preview"])
        await view.ask("approval.answer", id=asked["id"], rev=asked["rev"], decision="allow", scope="once")
        await view.event("turn.ended", outcome="completed")
        assert view.view["session"]["mode"] == "build"


async def test_the_same_command_twice_has_one_effect(road: Road, script: Script) -> None:
    word = script([Reply(Text("Once."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        body = {"id": f"msg_{uuid.uuid4().hex}", "parts": [{"type": "text", "text": word}]}
        first = await view.ask("message.send", cmd_id="the-same", **body)
        again = await view.ask("message.send", cmd_id="the-same", **body)
        renamed = await view.ask("message.send", cmd_id="another", **body)
        assert first["status"] == "accepted"
        assert again["status"] == renamed["status"] == "duplicate"
        assert again["original"] == "accepted"
        assert again["result"] == renamed["result"] == first["result"]
        await view.event("turn.ended")
        assert len([m for m in view.view["messages"] if m["role"] == "user"]) == 1


async def test_stop_keeps_what_was_said_and_comes_too_late_only_once(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("Half of it", gate, " and the rest."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        turn = (await view.say(word))["turn"]
        await gate.until_reached()
        await view.reads("Half of it")
        stopped = await view.ask("turn.stop", turn=turn)
        assert stopped["status"] == "accepted"
        await view.event("turn.ended", outcome="stopped")
        assert view.text == "Half of it"
        assert view.view["messages"][-1]["status"] == "stopped"
        late = await view.ask("turn.stop", turn=turn)
        assert (late["status"], late["error"]["code"]) == ("rejected", "not_running")
        gate.open()


async def test_what_is_said_meanwhile_waits_its_turn(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("One", gate, ".")), Reply(Text("Two."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(f"{word} one")
        await gate.until_reached()
        queued = await view.say("two")
        assert queued["turn"] is None
        assert queued["queue_id"]
        await view.event("queue.updated")
        assert [item["id"] for item in view.view["queue"]] == [queued["queue_id"]]
        gate.open()
        await view.event(lambda e: e["type"] == "part.delta" and "Two" in e["d"]["delta"])
        await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 2)
        assert view.view["queue"] == []
        assert [m["role"] for m in view.view["messages"]] == ["user", "assistant"] * 2


async def test_a_queue_pauses_on_stop_and_goes_on_when_told(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("One", gate)), Reply(Text("Two."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        turn = (await view.say(word))["turn"]
        await gate.until_reached()
        await view.say("two")
        stopped = await view.ask("turn.stop", turn=turn)
        assert len(stopped["result"]["still_queued"]) == 1
        await view.event("turn.ended", outcome="stopped")
        await view.event("queue.updated", paused=True)
        await view.ask("queue.resume")
        await view.event("turn.ended", outcome="completed")
        assert view.text == "Two."
        gate.open()


async def test_a_queued_message_can_be_edited_and_taken_back(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("One", gate)), Reply(Text("Edited."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await gate.until_reached()
        keep, drop = await view.say("keep"), await view.say("drop")
        edited = await view.ask("queue.edit", id=keep["queue_id"], rev=1, parts=[{"type": "text", "text": "kept"}])
        assert edited["status"] == "accepted"
        stale = await view.ask("queue.edit", id=keep["queue_id"], rev=1, parts=[{"type": "text", "text": "no"}])
        assert stale["error"]["code"] == "stale"
        assert (await view.ask("queue.remove", id=drop["queue_id"], rev=1))["status"] == "accepted"
        gate.open()
        await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 2)
        said = [m["parts"][0]["text"] for m in view.view["messages"] if m["role"] == "user"]
        assert said[1:] == ["kept"]


async def test_a_bad_frame_is_answered_and_changes_nothing(road: Road) -> None:
    async with road.session() as session_id, road.view(session_id) as view:
        before = await view.open()
        malformed: tuple[dict[str, Any], ...] = (
            {"v": 1, "cmd_id": "x", "type": "message.send", "d": {"id": 7}},
            {"v": 1, "type": "ping", "d": {}},
            {"v": 1, "cmd_id": "x", "type": "message.send"},
        )
        for bad in malformed:
            start = len(view.events)
            view.send_raw(bad)
            await view.event("error", after=start, code="malformed")
        start = len(view.events)
        view.send_raw({"v": 2, "cmd_id": "x", "type": "ping", "d": {}})
        await view.event("error", after=start, code="version")
        unknown = await view.ask("session.levitate")
        assert (unknown["status"], unknown["error"]["code"]) == ("rejected", "unknown_command")
        after = await view.subscribe()
        assert after["d"]["messages"] == before["d"]["messages"] == []
        assert after["d"]["as_of"] == before["d"]["as_of"]


async def test_ping_is_answered(road: Road) -> None:
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        view.send("ping")
        await view.event("pong")


async def test_a_fault_of_the_model_ends_the_turn_with_its_request_id(road: Road, script: Script) -> None:
    word = script([HttpError(403), Reply(Text("Now it works."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        ended = await view.event("turn.ended", outcome="failed")
        assert ended["d"]["error"]["code"] == "permission"
        assert ended["d"]["error"]["request_id"]
        await view.say("Again")
        await view.event("turn.ended", outcome="completed")
        assert view.text == "Now it works."


async def test_an_answer_that_breaks_off_is_asked_again_and_nothing_shown_is_lost(road: Road, script: Script) -> None:
    word = script([Reply(Text("First try", ErrorEvent())), Reply(Text("Second try."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await view.event("turn.ended", outcome="completed")
        texts = [(p["text"], p["superseded"]) for p in view.view["messages"][-1]["parts"] if p["type"] == "text"]
        assert texts == [("First try", True), ("Second try.", False)]


async def test_the_mode_can_be_switched_and_a_stale_switch_is_refused(road: Road) -> None:
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        rev = view.view["session"]["rev"]
        done = await view.ask("session.set", mode="plan", if_rev=rev)
        assert done["status"] == "accepted"
        await view.event("session.updated")
        assert view.view["session"]["mode"] == "plan"
        stale = await view.ask("session.set", mode="build", if_rev=rev)
        assert (stale["status"], stale["error"]["code"]) == ("rejected", "stale")


async def test_older_messages_come_by_the_page(road: Road, script: Script) -> None:
    word = script([Reply(Text(f"Answer {n}.")) for n in range(3)])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        for n in range(3):
            await view.say(f"{word} {n}")
            await view.event(lambda e, n=n: e["type"] == "turn.ended" and len(view.ended) == n + 1)
        snapshot = await view.subscribe(page=2)
        assert len(snapshot["d"]["messages"]) == 2
        assert snapshot["d"]["page"]["has_more"]
        older = await view.ask("history", before=snapshot["d"]["page"]["before"], limit=25)
        assert [m["role"] for m in older["result"]["messages"]] == ["user", "assistant"] * 2
        assert older["result"]["has_more"] is False


async def test_a_view_that_comes_back_gets_only_what_it_missed(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("Before, ", gate, "after."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await gate.until_reached()
        await view.reads("Before, ")
        seq = view.seq
        gate.open()
        await view.event("turn.ended")
        async with road.view(session_id) as back:
            back.send("subscribe", since={"ep": view.ep, "seq": seq}, page=25)
            back.view, back.ep, back.seq = _rewound(view.view), view.ep, seq
            await back.event("caught_up", seq=view.seq)
            assert back.of("snapshot") == []
            assert back.text == "Before, after."


def _rewound(view: dict[str, Any]) -> dict[str, Any]:
    """The story as it stood when the newest message was still being written."""
    old = copy.deepcopy(view)
    old["turn"] = {"id": view["last_outcome"]["turn"], "status": "running"}
    old["messages"][-1]["parts"][0].update(text="Before, ", state="streaming")
    return old


async def test_what_steers_reaches_the_running_turn_after_its_tools(
    road: Road, script: Script, claude: ModelServer
) -> None:
    gate = Gate()
    word = script([Reply(Text("Look: ", gate), ToolUse("read_notebook", {})), Reply(Text("In red, then.")), "Later."])
    async with road.session() as session, road.view(session) as view, road.view(session) as other:
        await view.open()
        await other.open()
        await view.say(f"plot it {word}")
        await gate.until_reached()
        waits = await view.say("later, please", when_busy="queue")
        steers = await view.say("in red", when_busy="steer")
        assert steers["queue_id"]
        gate.open()
        ended = (await view.event("turn.ended"))["d"]
        assert ended["outcome"] == "completed"
        roles = [(m["role"], m["status"]) for m in view.view["messages"][:4]]
        assert roles == [
            ("user", "complete"),
            ("assistant", "complete"),
            ("user", "complete"),
            ("assistant", "complete"),
        ]
        assert view.view["messages"][2]["parts"][0]["text"] == "in red"
        assert ended["message_ids"] == [view.view["messages"][1]["id"], view.view["messages"][3]["id"]]
        body = next(r.body for r in reversed(claude.requests) if "in red" in json.dumps(r.body["messages"]))
        kinds = [block["type"] for block in body["messages"][2]["content"]]
        assert kinds == ["tool_result", "text"]
        await view.event("turn.started", after=view.events.index(await view.event("turn.ended")))
        assert waits["queue_id"] not in [item["id"] for item in view.view["queue"]]
        await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 2)
        view.same_story_as(await view.subscribe())


async def test_what_steers_a_turn_that_calls_nothing_more_goes_ahead_of_the_queue(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("Well ", gate, "done.")), Reply(Text("First.")), Reply(Text("Second."))])
    async with road.session() as session, road.view(session) as view:
        await view.open()
        await view.say(f"go {word}")
        await gate.until_reached()
        await view.say(f"waits {word}")
        await view.say(f"steers {word}", when_busy="steer")
        gate.open()
        await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 3)
        said = [m["parts"][0]["text"].split()[0] for m in view.view["messages"] if m["role"] == "user"]
        assert said == ["go", "steers", "waits"]
