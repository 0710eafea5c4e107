"""``python -m tests.bench [part …]``: measure, print a table, write ``tests/artifacts/bench.json``.

::

    latency   Enter → first token, by WebSocket and by comm      commit   the store alone
    steady    each token at 50 a second                          start    with the extension and without
    flood     2,000 tokens at 500 a second, both surfaces        growth   a session of 10, 1,000, 10,000 messages
    crowd     10,000 sessions and their list, a session of 2,000 calls, waking by the actor
    sleep     waking, idle sessions with and without sockets, and what as many take that stay awake
    return    a hundred panels come back after their server died
    stop      pressing Stop beside a cell that never lets go

Slowness is a number here, never a failure: the exit code says only whether it ran.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from . import commits, crowds, growth, returns, sleepers, starts, stops, streams
from .figures import Figure, machine, table, write

STREAMS = ("latency", "steady", "flood")
PARTS = (*STREAMS, "commit", "growth", "crowd", "sleep", "return", "start", "stop")
REPORT = Path(__file__).parents[1] / "artifacts" / "bench.json"


def say(text: str) -> None:
    """Tell who waits what is being measured."""
    sys.stderr.write(f"· {text}\n")


async def run(parts: list[str], folder: Path, figures: list[Figure]) -> None:
    """Measure the wanted parts, the quick ones first; add to ``figures`` as they come."""
    if "commit" in parts:
        say("commits of the store")
        figures += commits.measure(folder / "store")
    if "growth" in parts:
        figures += growth.measure(folder / "growth", say)
    if "crowd" in parts:
        figures += await crowds.measure(folder / "crowd", say)
    if "sleep" in parts:
        figures += await sleepers.measure(folder / "sleepers", say)
    if "return" in parts:
        figures += await returns.measure(folder / "returns", say)
    if "start" in parts:
        figures += await starts.measure(folder / "starts", say)
    if "stop" in parts:
        figures += await stops.measure(folder / "stops", say)
    if wanted := [part for part in STREAMS if part in parts]:
        await streams.measure(folder / "streams", wanted, figures, say)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the promises of speed.")
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], help=f"one of {', '.join(PARTS)}; default: all")
    parser.add_argument("--json", type=Path, default=REPORT, help="where the figures go")
    options = parser.parse_args()
    before, figures = machine(), list[Figure]()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
            asyncio.run(run(options.part or list(PARTS), Path(folder), figures))
    finally:
        # What was measured before something broke is worth reading.
        write(options.json, figures, before)
        show(figures, before, machine(), options.json)


def show(figures: list[Figure], before: dict[str, Any], after: dict[str, Any], report: Path) -> None:
    """Print the table and what it was measured on."""
    sys.stdout.write(
        f"{table(figures)}\n\n"
        f"{after['cores']} cores, load average {before['load_average']} → {after['load_average']}, "
        f"Python {after['python']}; a ratio of 1 or less meets the goal. JSON: {report}\n"
    )


if __name__ == "__main__":
    main()
