"""What becomes of a message that may come at the wrong moment, over every road."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.model_server import ErrorEvent, Gate, Reply, Text
from tests.roads import Road
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(180)
Json = dict[str, Any]
Script = Callable[[Sequence[Any]], str]


async def send(view: Stranger, text: str, **wish: Any) -> Json:
    """Send a message; return its ack, whatever it says."""
    parts = [{"type": "text", "text": text}]
    return await view.ask("message.send", id=f"msg_{uuid.uuid4().hex}", parts=parts, **wish)


def said(view: Stranger) -> list[str]:
    """What the user said, in order."""
    return [m["parts"][0]["text"] for m in view.view["messages"] if m["role"] == "user"]


async def test_a_message_that_will_not_wait_is_refused_while_a_turn_runs(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("So far ", gate, "and on.")), Reply(Text("Now."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(f"first {word}")
        await gate.until_reached()
        refused = await send(view, "in between", when_busy="reject")
        assert (refused["status"], refused["error"]["code"]) == ("rejected", "busy")
        assert not refused["error"]["retryable"], "the user chose not to wait"
        assert view.view["queue"] == []
        gate.open()
        await view.event("turn.ended", outcome="completed")
        assert (await send(view, "afterwards", when_busy="reject"))["status"] == "accepted"
        await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 2)
        assert said(view) == [f"first {word}", "afterwards"]
        view.same_story_as(await view.subscribe())


async def test_a_message_that_will_not_wait_does_not_pass_those_that_do(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("So far ", gate, "and no further."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        turn = (await view.say(f"first {word}"))["turn"]
        await gate.until_reached()
        await view.say("second", when_busy="queue")
        assert (await view.ask("turn.stop", turn=turn))["status"] == "accepted"
        await view.event("turn.ended", outcome="stopped")
        gate.open()
        await view.event("queue.updated", paused=True)
        refused = await send(view, "third", when_busy="reject")
        assert refused["error"]["code"] == "busy"
        assert len(view.view["queue"]) == 1


async def test_a_message_meant_for_one_mode_is_not_taken_in_the_other(road: Road, script: Script) -> None:
    word = script([Reply(Text("A plan."))])
    async with road.session(mode="plan") as session_id, road.view(session_id) as view:
        await view.open()
        refused = await send(view, f"build it {word}", if_mode="build")
        assert (refused["status"], refused["error"]["code"]) == ("rejected", "mode_mismatch")
        assert said(view) == []
        assert (await send(view, f"plan it {word}", if_mode="plan"))["status"] == "accepted"
        await view.event("turn.ended", outcome="completed")
        assert said(view) == [f"plan it {word}"]


@pytest.mark.parametrize("begun", [True, False])
async def test_the_end_of_a_failed_turn_reaches_a_view_that_was_away(
    road: Road, script: Script, *, begun: bool
) -> None:
    gate, fault = Gate(), ErrorEvent("permission_error", "Not this model.")
    word = script([Reply(Text("I begin. ", gate, fault)) if begun else Reply(opening=[gate, fault])])
    async with road.session() as session_id, road.view(session_id) as stays:
        await stays.open()
        async with road.view(session_id) as leaves:
            await leaves.open()
            await leaves.say(f"go {word}")
            await gate.until_reached()
            await leaves.event("part.delta" if begun else "turn.started")
        gate.open()
        ended = await stays.event("turn.ended", outcome="failed")
        assert ended["d"]["error"]["code"] == "permission"
        async with road.view(session_id) as back, road.view(session_id) as new:
            back.view, back.seq, back.ep = leaves.view, leaves.seq, leaves.ep
            await back.subscribe(since={"ep": back.ep, "seq": back.seq})
            assert (await back.event("turn.ended"))["d"] == ended["d"]
            await new.open()
            for view in (back, new):
                assert view.view["last_outcome"] == ended["d"]
                view.same_story_as(await stays.subscribe())
