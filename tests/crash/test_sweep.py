"""Kill -9 at chosen and at random moments; see ``ordeal`` for what must hold afterwards.

``make test`` takes a sample, the same each time. ``make sweep`` dies before and
after every commit of the conversation, dies again while it takes the turn up,
and dies at two hundred random moments. Both write a table: ``artifacts/crash.md``.

Here each life is that of a forked ``SessionHost``: a real process and a real
database, without Jupyter around it. ``test_whole_servers`` has the servers.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from .ordeal import Fate, Ordeal, Report, new_notebook, random_fates, talking
from .places import ForkedHost, Zygote
from .tally import Tally

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")

EVERYTHING = not settings().derandomize
"""Whether this is ``make sweep``."""

LAST_COMMIT = 45
"""No conversation has fewer commits. What comes later is for the sweep."""

NAMED = [
    "before_commit:message_accepted",
    "after_commit:message_accepted",
    "after_commit:step_started",
    "after_commit:delta:3",
    "before_commit:step_closed",
    "after_commit:step_closed",
    "after_commit:approval_requested",
    "after_commit:approval_resolved",
    "after_commit:approval_resolved:2",
    "after_commit:tool_executing",
    "after_commit:tool_executing:3",
    "before_commit:tool_result:3",
    "after_commit:tool_result:3",
    "before_commit:results_answered",
    "after_commit:queue_changed:2",
    "after_commit:stopping",
    "before_commit:turn_ended",
    "after_commit:turn_ended",
]


def sample() -> list[list[Fate]]:
    """What ``make test`` tries: the points with a name, and a few that have none."""
    chance = random.Random(20)
    picked = [
        [Fate(f"{chance.choice(['before', 'after'])}_commit:commit:{n}")]
        for n in chance.sample(range(2, LAST_COMMIT), 0 if EVERYTHING else 6)
    ]
    return [*([Fate(point)] for point in NAMED), *picked, *(random_fates(seed) for seed in range(4))]


async def live(zygote: Zygote, folder: Path, *fates: Fate) -> Report:
    """Have one conversation in forked hosts."""
    name = new_notebook(folder)
    async with talking() as claude:
        place = ForkedHost(zygote, folder, claude)
        try:
            return await Ordeal(place, claude, name).go(*fates)
        finally:
            place.close()


async def test_without_a_crash_everything_is_as_wished(zygote: Zygote, tmp_path: Path) -> None:
    report = await live(zygote, tmp_path)
    assert report.deaths == []
    assert report.outcomes == {
        "first": "complete", "denied": "complete", "stopped": "stopped", "last": "complete", "after": "complete",
    }  # fmt: skip


@pytest.mark.parametrize("fates", sample(), ids=lambda fates: " ".join(map(str, fates)))
async def test_a_crash_takes_nothing_back(zygote: Zygote, tally: Tally, tmp_path: Path, fates: list[Fate]) -> None:
    report = await live(zygote, tmp_path, *fates)
    tally.add(report)
    assert report.deaths or fates[0].failpoint is None, "the conversation never came to this point"


@pytest.mark.skipif(not EVERYTHING, reason="only in make sweep")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("then", [[], ["after_commit:commit:1"], ["before_commit:commit:2"]], ids=str)
@pytest.mark.parametrize("place", ["before", "after"])
async def test_every_commit_may_be_the_last(
    zygote: Zygote, tally: Tally, tmp_path: Path, place: str, then: list[str]
) -> None:
    n, missed, failures = 0, 0, list[str]()
    while missed < 3:  # How deltas are packed differs from run to run.
        n += 1
        fates = [Fate(f"{place}_commit:commit:{n}"), *map(Fate, then)]
        try:
            report = await live(zygote, tmp_path / str(n), *fates)
        except AssertionError as fault:
            failures.append(f"{[*map(str, fates)]}: {fault}")
            continue
        tally.add(report)
        missed = 0 if report.deaths else missed + 1
    assert n > LAST_COMMIT
    assert not failures, "\n\n".join(failures)


@pytest.mark.skipif(not EVERYTHING, reason="only in make sweep")
@pytest.mark.timeout(3600)
async def test_any_moment_may_be_the_last(zygote: Zygote, tally: Tally, tmp_path: Path) -> None:
    failures = list[str]()
    for seed in range(1000, 1200):
        try:
            tally.add(await live(zygote, tmp_path / str(seed), *random_fates(seed)))
        except AssertionError as fault:
            failures.append(f"seed {seed}: {fault}")
    assert not failures, "\n\n".join(failures)
