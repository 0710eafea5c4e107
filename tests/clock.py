"""A clock that a test moves: alarms ring when it says so, and nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from jupyter_agent.protocol.ids import now_ms


@dataclass(eq=False)
class _Call:
    when_ms: int
    call: Callable[[], None]
    over: bool = False

    def cancel(self) -> None:
        self.over = True

    def ring(self) -> None:
        if not self.over:
            self.over = True
            self.call()


class HandClock:
    """Starts at the machine's time, then stands."""

    def __init__(self) -> None:
        self._now = now_ms()
        self._calls: list[_Call] = []

    def now_ms(self) -> int:
        return self._now

    def call_at(self, when_ms: int, call: Callable[[], None]) -> _Call:
        made = _Call(when_ms, call)
        if when_ms <= self._now:
            asyncio.get_running_loop().call_soon(made.ring)
        else:
            self._calls.append(made)
        return made

    @property
    def waiting(self) -> list[int]:
        """In how many ms each call that is to come will come."""
        return sorted(call.when_ms - self._now for call in self._calls if not call.over)

    def move(self, by_ms: int) -> None:
        """Let time pass; whatever is due by then is called. After a step back all are, and look anew."""
        self._now += by_ms
        for call in sorted(self._calls, key=lambda call: call.when_ms):
            if call.when_ms <= self._now or by_ms < 0:
                call.ring()
        self._calls = [call for call in self._calls if not call.over]
