"""``Alarms``: the one timer of a server, for all that is due some day.

::

    set(name, due_at) ──► {name: due_at} ──► one call of the clock, at the earliest ──► ring(name), once
                                ▲                                                          │
                                └── set anew by whoever was rung, or by what it did ◄──────┘

A clock that was wrong leaves alarms in a far future: when it goes back, ``went_back`` is told.

Names are session ids, or the server's own chores. What is kept here is a
copy: a session's alarms are rows of its database, mirrored in the index.
"""

from __future__ import annotations

from collections.abc import Callable

from .clock import Clock, Handle

_WRONG_MS = 3_600_000
"""A clock that is put right by less changes nothing that matters."""


class Alarms:
    """See the module. All methods belong to one event loop."""

    def __init__(self, clock: Clock, ring: Callable[[str], None], went_back: Callable[[], None] = lambda: None) -> None:
        self.clock = clock
        self._ring = ring
        self._went_back = went_back
        self._latest = clock.now_ms()
        self._due: dict[str, int] = {}
        self._armed: tuple[int, Handle] | None = None
        self._closed = False

    def set(self, name: str, due_at: int | None) -> None:
        """Ring then (at once if that is past), and no more at the time that was set before; None: never."""
        if due_at is None:
            self._due.pop(name, None)
        else:
            self._due[name] = due_at
        self._arm()

    def due(self, name: str) -> int | None:
        """Return when this one rings."""
        return self._due.get(name)

    def close(self) -> None:
        """Ring no more."""
        self._closed = True
        self._disarm()

    def _disarm(self) -> None:
        if self._armed is not None:
            self._armed[1].cancel()
            self._armed = None

    def _arm(self) -> None:
        first = min(self._due.values(), default=None)
        if first is None or self._closed:
            self._disarm()
        elif self._armed is None or self._armed[0] != first:
            self._disarm()
            self._armed = (first, self.clock.call_at(first, self._fire))

    def _fire(self) -> None:
        self._armed = None
        now = self.clock.now_ms()
        if now < self._latest - _WRONG_MS:
            self._went_back()
        self._latest = now
        over = sorted((due_at, name) for name, due_at in self._due.items() if due_at <= now)
        for _, name in over:
            del self._due[name]
        for _, name in over:
            self._ring(name)
        self._arm()
