"""``python -m tests.bench [part …]``: measure, print a table, write ``tests/artifacts/bench.json``.

::

    latency   Enter → first token, by WebSocket and by comm      commit   the store alone
    steady    each token at 50 a second                          start    with the extension and without
    flood     2,000 tokens at 500 a second, both surfaces

Slowness is a number here, never a failure: the exit code says only whether it ran.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from . import commits, starts, streams
from .figures import Figure, machine, table, write

STREAMS = ("latency", "steady", "flood")
PARTS = (*STREAMS, "commit", "start")
REPORT = Path(__file__).parents[1] / "artifacts" / "bench.json"


def say(text: str) -> None:
    """Tell who waits what is being measured."""
    sys.stderr.write(f"· {text}\n")


async def run(parts: list[str], folder: Path) -> list[Figure]:
    """Measure the wanted parts, the quick ones first."""
    figures: list[Figure] = []
    if "commit" in parts:
        say("commits of the store")
        figures += commits.measure(folder / "store")
    if "start" in parts:
        figures += await starts.measure(folder / "starts", say)
    if wanted := [part for part in STREAMS if part in parts]:
        figures += await streams.measure(folder / "streams", wanted, say)
    return figures


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure what the promises of speed say."
    )
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], help=f"one of {', '.join(PARTS)}; default: all")
    parser.add_argument("--json", type=Path, default=REPORT, help="where the figures go")
    options = parser.parse_args()
    before = machine()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        figures = asyncio.run(run(options.part or list(PARTS), Path(folder)))
    write(options.json, figures, before)
    after = machine()
    sys.stdout.write(
        f"{table(figures)}\n\n{after['cores']} cores, load average {before['load_average']} → {after['load_average']}, "
        f"Python {after['python']}; a ratio of 1 or less meets the goal. JSON: {options.json}\n"
    )


if __name__ == "__main__":
    main()
