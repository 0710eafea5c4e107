"""The stream's figures: latency of the first token and of each one after it, the flood, what it costs.

Each surface is measured alone, then both at once on one session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.model_server import Pace

from .answer import Answered
from .figures import Figure, spread
from .stage import Asker, Stage, stage

ASKS = 12
TTFT_S = 0.15
PAUSE_S = 0.3
"""Between two questions: the page has come to rest, as a reader's has."""
STEADY = 400
FLOOD = 2_000
ROADS = {"side": "WebSocket", "widget": "comm"}
FIRST_GOAL_MS = {"side": 30, "widget": 45}
STEADY_GOAL_MS = {"side": 12, "widget": 40}

Say = Callable[[str], None]


async def measure(folder: Path, parts: Sequence[str], figures: list[Figure], say: Say) -> None:
    """Measure ``latency``, ``steady`` and ``flood``, whichever are wanted; add to ``figures`` as they come."""
    async with stage(folder) as set_up:
        for surface in ROADS if {"latency", "steady"} & set(parts) else ():
            async with set_up.page(surface) as page:
                if "latency" in parts:
                    say(f"{surface}: Enter → first token, {ASKS} times")
                    figures += await first_tokens(page, surface)
                if "steady" in parts:
                    say(f"{surface}: {STEADY} tokens at 50/s")
                    figures += await steady(set_up, page, surface)
        if "flood" in parts:
            async with set_up.page(*ROADS) as page:
                say(f"both: {FLOOD} tokens at 500/s")
                figures += await flood(set_up, page)


async def first_tokens(page: Asker, surface: str) -> list[Figure]:
    """Enter → first token in the DOM, minus the model server's own time.

    Twice: no real model is faster than ``TTFT_S``, and one that answers at once
    finds the page still busy with the question.
    """
    usual = await _first_tokens(page, surface, Pace(ttft=TTFT_S))
    at_once = await _first_tokens(page, surface, Pace())
    road, goal = ROADS[surface], FIRST_GOAL_MS[surface]
    first = spread([1000 * answer.first(surface) for answer in usual])
    there = spread([1000 * answer.there for answer in usual])
    back = spread([1000 * answer.back(surface) for answer in usual])
    quick = spread([1000 * answer.first(surface) for answer in at_once])
    return [
        Figure(part="latency", name=f"Enter → first token, {road}", unit="ms", goal=goal, **first),
        Figure(part="latency", name=f"… of it Enter → request, {road}", unit="ms", **there),
        Figure(part="latency", name=f"… of it token → DOM, {road}", unit="ms", **back),
        Figure(part="latency", name=f"Enter → first token sent at once, {road}", unit="ms", goal=goal, **quick),
    ]


async def _first_tokens(page: Asker, surface: str, pace: Pace) -> list[Answered]:
    asked: list[Answered] = []
    for _ in range(ASKS):
        asked.append(await page.ask(surface, 3, pace))
        await asyncio.sleep(PAUSE_S)
    return asked


async def steady(set_up: Stage, page: Asker, surface: str) -> list[Figure]:
    """Model's token → DOM at 50 tokens a second, and what the server pays for it."""
    road = ROADS[surface]
    bill = Bill(set_up)
    answered = await page.ask(surface, STEADY, Pace(tokens_per_s=50))
    lags = spread([1000 * lag for lag in answered.lags(surface)])
    figures = [
        Figure(part="steady", name=f"token → DOM at 50/s, {road}", unit="ms", goal=STEADY_GOAL_MS[surface], **lags)
    ]
    if surface == "widget":
        figures.append(_frames(answered, "50/s"))
    return figures + bill.figures("50/s", road, STEADY)


async def flood(set_up: Stage, page: Asker) -> list[Figure]:
    """500 tokens a second into both surfaces at once."""
    bill = Bill(set_up)
    answered = await page.ask("side", FLOOD, Pace(tokens_per_s=500), watch=tuple(ROADS))
    took = answered.sent[-1].wall - answered.sent[0].wall
    figures: list[Figure] = []
    for surface, road in ROADS.items():
        last = 1000 * (answered.stamps[surface][-1][1] - answered.sent[-1].wall)
        figures.append(Figure(part="flood", name=f"last token → DOM, {road}", unit="ms", value=last, goal=100))
        lags = spread(
            [1000 * lag for lag in answered.lags(surface)],
            detail={
                "drift": 1000 * answered.drift(surface),
                "paints/s": len(answered.stamps[surface]) / took,
                "sent/s": (len(answered.sent) - 1) / took,
            },
        )
        figures.append(Figure(part="flood", name=f"token → DOM at 500/s, {road}", unit="ms", **lags))
    return [*figures, _frames(answered, "500/s"), *bill.figures("500/s", "both", FLOOD)]


def _frames(answered: Answered, pace: str) -> Figure:
    return Figure(
        part="comm",
        name=f"comm frames a second at {pace}",
        unit="/s",
        value=answered.frames_per_s,
        goal=20,
        at_least=True,
    )


class Bill:
    """What the server spends from now on."""

    def __init__(self, set_up: Stage) -> None:
        self._stage = set_up
        self._cpu_s = set_up.cpu_s()
        self._written = set_up.written_bytes()
        self._stored = set_up.stored_bytes()

    def figures(self, pace: str, road: str, tokens: int) -> list[Figure]:
        """Return what 1,000 tokens cost."""
        share = 1000 / tokens
        cpu_s = (self._stage.cpu_s() - self._cpu_s) * share
        stored = (self._stage.stored_bytes() - self._stored) * share / 1024
        written = self._stage.written_bytes()
        disk = stored
        if written is not None and self._written is not None:
            disk = (written - self._written) * share / 1024
        name = f"per 1,000 tokens at {pace}, {road}"
        return [
            Figure(part="cost", name=f"server CPU {name}", unit="s", value=cpu_s),
            Figure(part="cost", name=f"disk {name}", unit="KiB", value=disk, detail={"stored": stored}),
        ]
