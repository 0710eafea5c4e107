"""The envelope around events, the same on every road.

::

    one event   {"v", "sid", "ep", "seq"?, "ts", "turn", "type", "d"}
    a batch     {"v", "sid", "ep", "batch": [{"seq", "ts", "turn", "type", "d"}, …]}

Each event carries exactly one of ``seq``, ``covers`` or neither (transient).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .events import Event
from .plain import to_plain

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A durable event with the place it has in its session's order."""

    seq: int
    ts: int
    turn: str | None
    event: Event

    def wire(self) -> dict[str, Any]:
        """Return the event as it stands in a frame or a batch."""
        return {"seq": self.seq, "ts": self.ts, "turn": self.turn, "type": self.event.tag, "d": to_plain(self.event)}


class Frame:
    """One thing to send: ``data`` for roads that carry objects, ``text`` for those that carry bytes."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    @cached_property
    def text(self) -> str:
        """The frame as JSON, encoded once however many sockets take it.

        ASCII only: tool inputs may decode to lone surrogates, which UTF-8 refuses.
        """
        return dump_json(self.data)


def dump_json(value: object) -> str:
    """Return compact JSON that any socket and any database takes."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def frame_of(sid: str, ep: str, events: Sequence[dict[str, Any]]) -> Frame:
    """Wrap durable events (see ``Recorded.wire``): one goes alone, several as a batch."""
    if len(events) == 1:
        return Frame({"v": VERSION, "sid": sid, "ep": ep, **events[0]})
    return Frame({"v": VERSION, "sid": sid, "ep": ep, "batch": list(events)})


def transient(sid: str, ep: str, ts: int, event: Event, turn: str | None = None) -> Frame:
    """Wrap an event that has no place in the order."""
    return Frame({"v": VERSION, "sid": sid, "ep": ep, "ts": ts, "turn": turn, "type": event.tag, "d": to_plain(event)})
