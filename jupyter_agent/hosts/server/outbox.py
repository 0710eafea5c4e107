"""Frames on their way into a kernel: gathered, merged, never too many at once.

A comm is lossy, rate-limited and sometimes slow (a cell that holds the GIL),
so it is fed like this::

    first frame after a pause   at once, with all that is said in the same breath
    then                        text every ``flush_s``; acks, new parts and the like sooner:
                                BURST in a row at once, then one each MIN_GAP_S
    adjacent deltas of a part   one delta, ``covers`` [first, last]
    unconfirmed messages        at most WINDOW; the rest keeps gathering, and merging
    too much gathered           dropped, and the view is told to start over

A message is confirmed when the kernel goes idle on it, which it tells anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ...protocol.events import Resync
from ...protocol.frames import dump_json, frame_of, transient
from ...protocol.ids import now_ms
from ...protocol.plain import utf16_len

Json = dict[str, Any]

BURST = 3
MIN_GAP_S = 1 / 48
"""With BURST, no second sees more than fifty messages."""
WINDOW = 4
LOST_S = 5.0
"""A confirmation that takes longer is not waited for."""
_PATIENT = frozenset({"part.delta", "tool.state", "hb"})


class Outbox:
    """What one panel has yet to be sent."""

    def __init__(
        self,
        send: Callable[[list[Json]], str],
        *,
        flush_s: float,
        message_bytes: int,
        pending_frames: int,
        pending_bytes: int,
    ) -> None:
        self._send = send
        self._flush_s = flush_s
        self._message_bytes = message_bytes
        self._pending_frames = pending_frames
        self._pending_bytes = pending_bytes
        self._events: list[_Waiting] = []
        self._bytes = 0
        self._unconfirmed: dict[str, float] = {}
        self._sent_at = float("-inf")
        self._paid_until = float("-inf")
        """When the messages so far would have left, one each MIN_GAP_S."""
        self._timer: asyncio.Handle | None = None
        self._due = float("inf")
        self._closed = False

    def add(self, frame: Json) -> None:
        """Take a frame, alone or a batch, and send it when its time has come."""
        if self._closed:
            return
        sid, ep = frame["sid"], frame["ep"]
        patient = True
        for event in frame.get("batch", [frame]):
            patient = patient and event["type"] in _PATIENT
            self._gather(_Waiting(sid, ep, event))
        if len(self._events) > self._pending_frames or self._is_too_much():
            self._give_up(sid, ep)
        self._schedule(patient=patient)

    def confirm(self, msg_id: str) -> None:
        """The kernel has passed this message on."""
        if self._unconfirmed.pop(msg_id, None) is not None and self._events:
            self._schedule()

    def close(self) -> None:
        """Send nothing any more."""
        self._closed = True
        self._events.clear()
        if self._timer is not None:
            self._timer.cancel()

    # -- gathering -------------------------------------------------------------------

    def _gather(self, new: _Waiting) -> None:
        self._bytes += new.bytes
        if not (self._events and self._events[-1].absorb(new)):
            self._events.append(new)

    def _is_too_much(self) -> bool:
        # One event of any size may pass: it would come again with the snapshot, and the view never get past it.
        return self._bytes > self._pending_bytes and self._bytes - self._largest() > self._pending_bytes

    def _largest(self) -> int:
        return max(item.bytes for item in self._events)

    def _give_up(self, sid: str, ep: str) -> None:
        # Acks are kept as far as they fit: a command that was accepted should not be sent again for this.
        kept, room = list[_Waiting](), self._pending_bytes
        acks = [item for item in self._events if item.event["type"] == "ack"]
        for item in acks[-self._pending_frames :]:
            if item.bytes <= room:
                kept.append(item)
                room -= item.bytes
        self._events = kept
        resync = transient(sid, ep, now_ms(), Resync(reason="slow")).data
        self._events.append(_Waiting(sid, ep, resync))
        self._bytes = sum(item.bytes for item in self._events)

    # -- sending ---------------------------------------------------------------------

    def _schedule(self, *, patient: bool = False) -> None:
        loop = asyncio.get_running_loop()
        due = max(self._paid_until - (BURST - 1) * MIN_GAP_S, loop.time())
        if patient:
            due = max(due, self._sent_at + self._flush_s)
        if due >= self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = due
        # Even now means after this turn of the loop: an ack and what it brought about leave as one message.
        self._timer = loop.call_soon(self._flush) if due <= loop.time() else loop.call_at(due, self._flush)

    def _flush(self) -> None:
        now = asyncio.get_running_loop().time()
        self._timer, self._due = None, float("inf")
        if not self._events or self._closed:
            return
        self._unconfirmed = {m: at for m, at in self._unconfirmed.items() if now - at < LOST_S}
        if len(self._unconfirmed) >= WINDOW:
            # ``confirm`` wakes us; should it never come, this does.
            self._due = min(self._unconfirmed.values()) + LOST_S
            self._timer = asyncio.get_running_loop().call_at(self._due, self._flush)
            return
        frames = self._take()
        self._unconfirmed[self._send(frames)] = now
        self._sent_at = asyncio.get_running_loop().time()
        self._paid_until = max(self._paid_until, self._sent_at) + MIN_GAP_S
        if self._events:
            self._schedule()

    def _take(self) -> list[Json]:
        """Return as many frames as one message holds, at least one."""
        count = size = 0
        for item in self._events:
            size += item.bytes
            if count and size > self._message_bytes:
                break
            count += 1
        taken, self._events = self._events[:count], self._events[count:]
        self._bytes = sum(item.bytes for item in self._events)
        return _frames(taken)


class _Waiting:
    """One event in the outbox."""

    __slots__ = ("bytes", "ep", "event", "sid")

    def __init__(self, sid: str, ep: str, event: Json) -> None:
        self.sid = sid
        self.ep = ep
        self.event: Json = event
        self.bytes = len(event["d"]["delta"]) + 200 if event["type"] == "part.delta" else len(dump_json(event))

    @property
    def durable(self) -> bool:
        """Whether the event has a place in the order."""
        return "seq" in self.event or "covers" in self.event

    def absorb(self, new: _Waiting) -> bool:
        """Take ``new`` in if it continues the same text."""
        mine, other = self.event, new.event
        if mine["type"] != "part.delta" or other["type"] != "part.delta" or self.ep != new.ep:
            return False
        if not (self.durable and new.durable) or _range(mine)[1] + 1 != _range(other)[0]:
            return False
        said, more = mine["d"], other["d"]
        if (said["part_id"], said["field"]) != (more["part_id"], more["field"]):
            return False
        if said["at"] + utf16_len(said["delta"]) != more["at"]:
            return False
        # A new dict: other views hold the same frames.
        self.event = {
            "covers": [_range(mine)[0], _range(other)[1]],
            "ts": other.get("ts"),
            "turn": other.get("turn"),
            "type": "part.delta",
            "d": {**said, "delta": said["delta"] + more["delta"]},
        }
        self.bytes += len(more["delta"])
        return True


def _range(event: Json) -> tuple[int, int]:
    if "covers" in event:
        first, last = event["covers"]
        return first, last
    return event["seq"], event["seq"]


def _frames(items: list[_Waiting]) -> list[Json]:
    """Wrap events again: neighbours with a place in the order share a batch."""
    frames: list[Json] = []
    run: list[_Waiting] = []

    def end_run() -> None:
        if run:
            frames.append(frame_of(run[0].sid, run[0].ep, [_bare(item.event) for item in run]).data)
            run.clear()

    for item in items:
        if not item.durable:
            end_run()
            frames.append(item.event if "v" in item.event else {"v": 1, "sid": item.sid, "ep": item.ep, **item.event})
            continue
        if run and (run[0].sid, run[0].ep) != (item.sid, item.ep):
            end_run()
        run.append(item)
    end_run()
    return frames


def _bare(event: Json) -> Json:
    return {key: value for key, value in event.items() if key not in ("v", "sid", "ep")}
