"""Kill -9 of whole Jupyter servers, at every commit and at random moments; see ``ordeal`` for what must hold.

``make sweep`` dies before and after every commit of the conversation and at two
hundred random moments, two servers at once; cut short, it goes on where it was
(``trials``). ``make test`` takes a sample, the same each time.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from .ordeal import Fate, Ordeal, Report, new_notebook, random_fates, talking
from .places import JupyterPlace
from .tally import Tally
from .trials import Live, Trials

EVERYTHING = not settings().derandomize
"""Whether this is ``make sweep``."""

SAMPLE = [
    [Fate("before_commit:tool_result:3")],
    [Fate("after_commit:commit:9")],
    [Fate("before_commit:commit:27"), Fate("after_commit:recovering")],
    random_fates(4711),
]


def lives(folder: Path) -> Live:
    """Return what has one conversation in whole servers, and leaves nothing on the disk when it went well."""

    async def live(name: str, fates: list[Fate]) -> Report:
        own = folder / name.replace(":", "-").replace(" ", "-")
        async with talking() as claude:
            place = JupyterPlace(own, claude)
            report = await Ordeal(place, claude, new_notebook(place.notebooks)).go(*fates)
        shutil.rmtree(own, ignore_errors=True)
        return report

    return live


def counted(trials: Trials, tally: Tally) -> None:
    """Count what came through; fail for what did not."""
    for report in trials.reports:
        tally.add(report)
    tally.seed = trials.seed
    assert not trials.faults, "\n\n".join(trials.faults)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_crash_of_a_whole_server_takes_nothing_back(tally: Tally, tmp_path: Path) -> None:
    trials = Trials(tmp_path / "sample.jsonl")
    await trials.each(((f"sample {n}", fates) for n, fates in enumerate(SAMPLE)), lives(tmp_path))
    counted(trials, tally)
    assert all(report.deaths for report in trials.reports)


@pytest.mark.skipif(not EVERYTHING, reason="only in make sweep")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("place", ["after", "before"])
async def test_every_commit_of_a_whole_server_may_be_the_last(tally: Tally, tmp_path: Path, place: str) -> None:
    trials = Trials()
    last = await trials.every_commit(place, lives(tmp_path))
    counted(trials, tally)
    assert last > 40


@pytest.mark.skipif(not EVERYTHING, reason="only in make sweep")
@pytest.mark.timeout(7200)
async def test_any_moment_of_a_whole_server_may_be_the_last(tally: Tally, tmp_path: Path) -> None:
    trials = Trials()
    moments = [(f"moment {n}", random_fates(trials.seed * 1000 + n)) for n in range(200)]
    await trials.each(moments, lives(tmp_path))
    counted(trials, tally)
