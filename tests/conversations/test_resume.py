"""A view that was cut off anywhere comes back to the same story, by every road."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from tests.model_server import Gate, Pace, Reply, Text, Think, ToolUse
from tests.roads import Road
from tests.stranger import Stranger

Json = dict[str, Any]
Script = Callable[[Sequence[Any]], str]


class Memory:
    """What a view knew at each number."""

    def __init__(self, view: Stranger) -> None:
        self._view = view
        self.at: dict[int, Json] = {}
        view.heard = self.note

    def note(self) -> None:
        """Remember what is known now."""
        if self._view.seq is not None:
            self.at[self._view.seq] = copy.deepcopy(self._view.view)


async def come_back_from_everywhere(view: Stranger, memory: Memory, whole: Stranger) -> int:
    """Let ``view`` forget all after each number in turn, and ask for the rest; return how many were replayed."""
    replayed = 0
    for seq, known in memory.at.items():
        view.view, view.seq, view.ep, view.ended = copy.deepcopy(known), seq, whole.ep, []
        start = len(view.events)
        await view.subscribe(since={"ep": whole.ep, "seq": seq})
        assert view.fault is None, view.fault
        assert (view.seq, view.view) == (whole.seq, whole.view), f"cut off after {seq}"
        replayed += not any(event["type"] == "snapshot" for event in view.events[start:])
    return replayed


async def test_cut_off_after_any_event_a_view_comes_back_to_the_same_story(road: Road, script: Script) -> None:
    gate = Gate()
    word = script(
        [
            Reply(
                Think("I look first."), Text("Let me ", "look. 🐍"), ToolUse("read_cell", {"cell_id": "first"}),
                ToolUse("create_task", {"title": "Later", "description": "Do it.", "mode": "plan"}),
            ),
            Reply(Text("It ", "says ", gate, "twenty ", "one.")),
        ]
    )  # fmt: skip
    async with road.session() as session_id, road.view(session_id) as whole, road.view(session_id) as view:
        memory = Memory(whole)
        await view.open()
        await whole.open()
        await whole.say(f"go {word}")
        await gate.until_reached()
        for one in (whole, view):
            await one.reads("It says ")
        assert await come_back_from_everywhere(view, memory, whole) == len(memory.at)
        gate.open()
        await whole.event("turn.ended")
        await view.event("turn.ended")
        assert await come_back_from_everywhere(view, memory, whole) == len(memory.at)


async def test_deltas_that_follow_each_other_come_back_as_one(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("one ", Pace(20), "two ", "three ", gate))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(f"count {word}")
        await gate.until_reached()
        await view.reads("one two three ")
        started = next(event for event in view.events if event["type"] == "part.added")
        view.view["messages"][-1]["parts"][0]["text"], view.seq = "", started["seq"]
        start = len(view.events)
        await view.subscribe(since={"ep": view.ep, "seq": started["seq"]})
        deltas = [event for event in view.events[start:] if event["type"] == "part.delta"]
        assert [event["d"]["delta"] for event in deltas] == ["one two three "]
        gate.open()
        await view.event("turn.ended", outcome="completed")


async def test_a_cursor_of_another_log_is_answered_with_a_snapshot(road: Road, script: Script) -> None:
    word = script([Reply(Text("Yes."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(f"hello {word}")
        await view.event("turn.ended")
        for since in ({"ep": "another", "seq": 1}, {"ep": view.ep, "seq": 10_000}):
            assert (await view.subscribe(since=since))["type"] == "snapshot"
