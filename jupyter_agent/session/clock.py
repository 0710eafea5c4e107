"""``Clock``: the wall clock as alarms see it, so that a test can move it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ..protocol.ids import now_ms

_LONGEST_S = 900.0
"""A machine that slept wakes with its timers late and its wall clock right: look at it now and then."""


class Handle(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Let it not come."""
        ...


class Clock(Protocol):
    """Times are integer milliseconds since the epoch."""

    def now_ms(self) -> int:
        """Return the time."""
        ...

    def call_at(self, when_ms: int, call: Callable[[], None]) -> Handle:
        """Call then, or a while before: who is called looks at the time, and may ask anew."""
        ...


class WallClock:
    """The machine's own."""

    def now_ms(self) -> int:
        """Return the time."""
        return now_ms()

    def call_at(self, when_ms: int, call: Callable[[], None]) -> Handle:
        """Call then, or ``_LONGEST_S`` from now if that is sooner."""
        wait = min(max(when_ms - now_ms(), 0) / 1000, _LONGEST_S)
        return asyncio.get_running_loop().call_later(wait, call)
