"""Many conversations, two at a time, each remembered on disk: a sweep that was cut short goes on where it was.

::

    artifacts/sweep.jsonl    {"stamp": …, "seed": 4711}              which code, which dice
                             {"trial": "after_commit:commit:17", …}  came through: not tried again
                             (nothing)                               failed, or never began: tried now

Another code, or no such file, begins anew. ``JUPYTER_AGENT_SWEEP_SEED`` names the dice.
"""

# What it reads is JSON that may be anything: types would be claims.
# pyright: basic

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .ordeal import Death, Fate, Report

Json = dict[str, Any]
Live = Callable[[str, list[Fate]], Awaitable[Report]]
"""Has the conversation of this name, and dies these deaths in it."""

ROOT = Path(__file__).parents[2]
ARTIFACT = ROOT / "tests" / "artifacts" / "sweep.jsonl"
SEED = "JUPYTER_AGENT_SWEEP_SEED"
AT_ONCE = 2
ENOUGH_MISSED = 3
"""So many conversations that a commit's number did not kill have no more commits: how deltas are packed differs."""


class Trials:
    """See the module."""

    def __init__(self, path: Path = ARTIFACT) -> None:
        self._path = path
        self.faults: list[str] = []
        self.reports: list[Report] = []
        head, self._known = _read(path)
        chosen = os.environ.get(SEED)
        if head.get("stamp") != _stamp() or (chosen is not None and int(chosen) != head["seed"]):
            head = {"stamp": _stamp(), "seed": int(chosen) if chosen is not None else secrets.randbelow(1_000_000)}
            self._known = {}
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(head) + "\n", encoding="utf-8")
        self.seed: int = head["seed"]
        print(f"\nThe sweep's seed is {self.seed} ({SEED}); {len(self._known)} conversations are known already.")  # noqa: T201 -- seen with -s and when something fails

    async def each(self, trials: Iterable[tuple[str, list[Fate]]], live: Live) -> None:
        """Have all these conversations."""
        left = iter(trials)

        async def work() -> None:
            for name, fates in left:
                await self._one(name, fates, live)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    async def every_commit(self, place: str, live: Live) -> int:
        """Die before, or after, each commit there is; return how many there are at least."""
        numbers, missed, last = itertools.count(1), 0, 0

        async def work() -> None:
            nonlocal missed, last
            while missed < ENOUGH_MISSED:
                n = next(numbers)
                point = f"{place}_commit:commit:{n}"
                report = await self._one(point, [Fate(point)], live)
                if report is not None and not report.deaths:
                    missed += 1
                else:
                    missed, last = 0, max(last, n)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return last

    async def _one(self, name: str, fates: list[Fate], live: Live) -> Report | None:
        report = self._known.get(name)
        if report is None:
            try:
                report = await live(name, fates)
            except Exception as fault:
                why = f"{name} ({', '.join(map(str, fates))}), seed {self.seed}: {type(fault).__name__}: {fault}"
                self.faults.append(why)
                print(why)  # noqa: T201 -- seen with -s and when something fails
                return None
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"trial": name, "report": asdict(report)}) + "\n")
        self.reports.append(report)
        return report


def _read(path: Path) -> tuple[Json, dict[str, Report]]:
    try:
        head, *lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return {}, {}
    return head, {line["trial"]: _report(line["report"]) for line in lines}


def _report(told: Json) -> Report:
    return Report(**{**told, "deaths": [Death(**death) for death in told["deaths"]]})


def _stamp() -> str:
    """What was tried: our code and the tests that kill it."""
    digest = hashlib.sha256()
    for folder, files in (
        (ROOT / "jupyter_agent", "**/*.py"),
        (ROOT / "tests", "*.py"),
        (ROOT / "tests/crash", "*.py"),
    ):
        for path in sorted(folder.glob(files)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
