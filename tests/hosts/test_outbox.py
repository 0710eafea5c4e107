"""Frames on their way into a kernel."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from jupyter_agent.hosts.kernel import in_pieces
from jupyter_agent.hosts.server.outbox import BURST, MIN_GAP_S, WINDOW, Outbox

Json = dict[str, Any]
BOUND_S = 30.0
NEVER_S = 2 * BOUND_S
"""A flush that no test sees: what comes did not wait for it."""
SID, EP = "ses_0123456789abcdef", "epoch"


class Kernel:
    """Takes messages, confirms them when told to, and remembers when they came."""

    def __init__(self, *, flush_s: float = 0.05, **limits: int) -> None:
        self.messages: list[list[Json]] = []
        self.times: list[float] = []
        self.news = asyncio.Event()
        sizes = {"message_bytes": 256 * 1024, "pending_frames": 500, "pending_bytes": 1 << 20} | limits
        self.outbox = Outbox(self._take, flush_s=flush_s, **sizes)
        self.confirming = True

    def _take(self, frames: list[Json]) -> str:
        loop = asyncio.get_running_loop()
        self.messages.append(frames)
        self.times.append(loop.time())
        self.news.set()
        msg_id = f"m{len(self.messages)}"
        if self.confirming:
            loop.call_soon(self.outbox.confirm, msg_id)
        return msg_id

    @property
    def events(self) -> list[Json]:
        frames = [frame for message in self.messages for frame in message]
        return [event for frame in frames for event in frame.get("batch", [frame])]

    async def say(self, first: Json, *others: Json) -> None:
        """Add a frame that leaves at once, then others."""
        self.outbox.add(first)
        await self.until(1)
        for frame in others:
            self.outbox.add(frame)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(BOUND_S):
            while len(self.messages) < count:
                self.news.clear()
                await self.news.wait()


def delta(seq: int, at: int, text: str, part: str = "prt_1") -> Json:
    body = {"part_id": part, "at": at, "field": "text", "delta": text}
    return {"v": 1, "sid": SID, "ep": EP, "seq": seq, "ts": 1, "turn": "trn_1", "type": "part.delta", "d": body}


def ack(cmd_id: str) -> Json:
    return {"v": 1, "sid": SID, "ep": EP, "ts": 1, "turn": None, "type": "ack", "d": {"cmd_id": cmd_id}}


async def test_the_first_frame_leaves_at_once() -> None:
    kernel = Kernel(flush_s=NEVER_S)
    kernel.outbox.add(delta(1, 0, "Hel"))
    await kernel.until(1)
    assert kernel.messages == [[delta(1, 0, "Hel")]]


async def test_what_is_said_in_one_breath_leaves_together() -> None:
    kernel = Kernel()
    kernel.outbox.add(ack("c1"))
    kernel.outbox.add(delta(1, 0, "Hel"))
    await kernel.until(1)
    assert kernel.messages == [[ack("c1"), *kernel.messages[0][1:]]]
    assert [event["type"] for event in kernel.events] == ["ack", "part.delta"]


async def test_adjacent_deltas_become_one_that_covers_them() -> None:
    kernel = Kernel()
    shared = [delta(seq, 2 * (seq - 1), "ab") for seq in range(1, 6)]
    await kernel.say(*shared)
    await kernel.until(2)
    first, merged = kernel.events
    assert first["seq"] == 1
    assert merged["covers"] == [2, 5]
    assert merged["d"] == {"part_id": "prt_1", "at": 2, "field": "text", "delta": "abababab"}
    assert "seq" not in merged
    assert shared[1]["d"]["delta"] == "ab", "other views hold the same frame"


async def test_merged_offsets_count_as_javascript_does() -> None:
    kernel = Kernel()
    await kernel.say(delta(1, 0, "x"), delta(2, 1, "😀"), delta(3, 3, "!"))
    await kernel.until(2)
    assert kernel.events[1]["d"]["delta"] == "😀!"


async def test_deltas_of_other_parts_and_gaps_stay_apart() -> None:
    kernel = Kernel()
    await kernel.say(delta(1, 0, "a"), delta(2, 1, "b"), delta(3, 0, "c", "prt_2"), delta(5, 1, "d", "prt_2"))
    await kernel.until(2)
    assert [event["seq"] for event in kernel.events] == [1, 2, 3, 5]


async def test_an_ack_does_not_wait_for_the_next_flush_and_keeps_its_place() -> None:
    kernel = Kernel(flush_s=NEVER_S)
    await kernel.say(delta(1, 0, "a"), delta(2, 1, "b"), ack("c1"), delta(3, 2, "c"))
    await kernel.until(2)
    assert [event["type"] for event in kernel.messages[1]] == ["part.delta", "ack", "part.delta"]


async def test_no_more_than_fifty_messages_a_second_leave() -> None:
    kernel = Kernel()
    for n in range(8):
        kernel.outbox.add(ack(f"c{n}"))
        await kernel.until(n + 1)
    for number, at in enumerate(kernel.times):
        after_a_burst = max(0, number - (BURST - 1)) * MIN_GAP_S
        assert at - kernel.times[0] >= after_a_burst - 0.001
    assert BURST - 1 + 1 / MIN_GAP_S <= 50


async def test_the_first_few_messages_need_not_wait() -> None:
    kernel = Kernel(flush_s=NEVER_S)
    for n in range(BURST):
        kernel.outbox.add(ack(f"c{n}"))
        await asyncio.sleep(0)
        assert len(kernel.messages) == n + 1, "it waited for longer than a turn of the loop"


async def test_a_kernel_that_confirms_nothing_gets_no_more_than_the_window() -> None:
    kernel = Kernel()
    kernel.confirming = False
    for n in range(WINDOW):
        kernel.outbox.add(ack(f"c{n}"))
        await kernel.until(n + 1)
    for seq in range(1, 30):
        kernel.outbox.add(delta(seq, seq - 1, "x"))
    await asyncio.sleep(0.1)  # longer than any flush would take
    assert len(kernel.messages) == WINDOW
    kernel.outbox.confirm("m1")
    await kernel.until(WINDOW + 1)
    assert kernel.events[-1]["covers"] == [1, 29]


async def test_a_view_too_far_behind_is_told_to_start_over_and_keeps_its_acks() -> None:
    kernel = Kernel(pending_frames=10)
    kernel.confirming = False
    for n in range(WINDOW):
        kernel.outbox.add(ack(f"c{n}"))
        await kernel.until(n + 1)
    kernel.outbox.add(ack("kept"))
    for seq in range(1, 12):
        kernel.outbox.add(delta(seq * 2, 0, "x"))
    kernel.outbox.confirm("m1")
    await kernel.until(WINDOW + 1)
    assert [event["type"] for event in kernel.messages[-1]][:2] == ["ack", "resync"]
    assert kernel.messages[-1][0]["d"]["cmd_id"] == "kept"


async def test_messages_stay_below_their_limit() -> None:
    kernel = Kernel(message_bytes=1000)
    for n in range(9):
        kernel.outbox.add(ack("c" * 300 + str(n)))
    async with asyncio.timeout(BOUND_S):
        while len(kernel.events) < 9:
            kernel.news.clear()
            await kernel.news.wait()
    assert [event["d"]["cmd_id"][-1] for event in kernel.events] == [str(n) for n in range(9)]
    assert max(len(str(message)) for message in kernel.messages) < 1400


async def test_a_snapshot_larger_than_what_may_wait_gets_through() -> None:
    kernel = Kernel(pending_bytes=10_000)
    snapshot = {"v": 1, "sid": SID, "ep": EP, "ts": 1, "turn": None, "type": "snapshot", "d": {"text": "x" * 50_000}}
    caught_up = {"v": 1, "sid": SID, "ep": EP, "ts": 1, "turn": None, "type": "caught_up", "d": {"seq": 1}}
    kernel.outbox.add(snapshot)
    kernel.outbox.add(caught_up)
    kernel.outbox.add(delta(2, 0, "and on"))
    await kernel.until(1)
    assert [event["type"] for event in kernel.events] == ["snapshot", "caught_up", "part.delta"]


async def test_acks_of_a_view_too_far_behind_are_kept_as_far_as_they_fit() -> None:
    kernel = Kernel(pending_bytes=10_000)
    kernel.confirming = False
    for n in range(WINDOW):
        kernel.outbox.add(ack(f"c{n}"))
        await kernel.until(n + 1)
    for n in range(100):
        kernel.outbox.add(ack("c" * 900 + str(n)))
    kernel.outbox.confirm("m1")
    await kernel.until(WINDOW + 1)
    kept = kernel.messages[-1]
    assert "resync" in [event["type"] for event in kept]
    assert 1 < len(kept) < 15


def test_what_is_over_the_size_that_iopub_likes_goes_in_pieces_and_comes_whole() -> None:
    content = {"frames": [ack("é🐍" * 100_000 + '"\\' * 200_000)]}
    pieces = [piece["fragment"] for piece in in_pieces(content)]
    assert [(piece["n"], piece["of"]) for piece in pieces] == [(n, len(pieces)) for n in range(len(pieces))]
    assert len({piece["id"] for piece in pieces}) == 1
    assert all(len(json.dumps({"fragment": piece})) < 256 * 1024 for piece in pieces)
    assert json.loads("".join(piece["text"] for piece in pieces)) == content
    assert list(in_pieces({"hello": {}})) == [{"hello": {}}]
