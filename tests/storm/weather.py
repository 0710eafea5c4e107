"""A network that loses, doubles, delays and reorders, on a clock of its own.

Each decision is drawn from a seed. ``calm`` ends the storm: from then on all
that is sent arrives, in order; what the storm took stays lost.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

TICK_MS = 100
"""How far the clock of the clients goes at each step."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad it is; the numbers are chances from 0 to 1."""

    lost: float
    doubled: float
    late: float
    latest_ms: int
    cut: float
    """Of a step: the road breaks altogether."""

    @classmethod
    def drawn(cls, dice: random.Random) -> Weather:
        """Return some weather, from a breeze to a storm."""
        return cls(
            lost=dice.choice([0.02, 0.1, 0.3]),
            doubled=dice.choice([0.0, 0.1, 0.3]),
            late=dice.choice([0.0, 0.2, 0.5]),
            latest_ms=dice.choice([200, 1_000, 4_000]),
            cut=dice.choice([0.0, 0.0, 0.02]),
        )


CALM = Weather(lost=0, doubled=0, late=0, latest_ms=0, cut=0)


class Wire:
    """One direction of a road."""

    def __init__(self, dice: random.Random, weather: Weather, deliver: Callable[[Any], None]) -> None:
        self.weather = weather
        self.lost = 0
        self._dice = dice
        self._deliver = deliver
        self._now = 0
        self._count = itertools.count()
        self._under_way: list[tuple[int, int, Any]] = []

    def send(self, content: Any) -> None:
        """Hand something to the network."""
        sky = self.weather
        if self._dice.random() < sky.lost:
            self.lost += 1
            return
        for _ in range(2 if self._dice.random() < sky.doubled else 1):
            late = self._dice.randint(0, sky.latest_ms) if self._dice.random() < sky.late else 0
            heapq.heappush(self._under_way, (self._now + late, next(self._count), content))

    def advance(self, ms: int) -> None:
        """Let time pass: what is due arrives."""
        self._now += ms
        while self._under_way and self._under_way[0][0] <= self._now:
            self._deliver(heapq.heappop(self._under_way)[2])

    def cut(self) -> None:
        """The road broke: what was under way is gone."""
        self._under_way.clear()


DEAF = replace(CALM, lost=1)
