"""What a server pays at start for having the extension, before anybody asks it for a session."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.hosts.running_server import RunningServer

from .figures import Figure

STARTS = 5
"""Each way, in turn: what else the machine does meets both alike."""


async def measure(folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """Start JupyterLab's server with and without us."""
    cost: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for number in range(STARTS + 1):
        say(f"start {number} of {STARTS}, without and with")
        for enabled in (False, True):
            spent = await _start(folder / f"{number}-{enabled}", enabled=enabled)
            if number:  # the first pair warms the disk's cache
                cost[enabled].append(spent)
    return [
        _extra("extra CPU of a server's start", "ms", 60, [c for c, _ in cost[False]], [c for c, _ in cost[True]]),
        _extra("extra memory of a server's start", "MB", 15, [m for _, m in cost[False]], [m for _, m in cost[True]]),
    ]


async def _start(folder: Path, *, enabled: bool) -> tuple[float, float]:
    """Return CPU milliseconds and RSS megabytes of a server that answers."""
    server = await asyncio.to_thread(RunningServer, folder, extensions={"jupyterlab": True, "jupyter_agent": enabled})
    try:
        status, _ = await server.ask("GET", "/api/status")
        assert status == 200
        process = psutil.Process(server.process.pid)
        times = process.cpu_times()
        return 1000 * (times.user + times.system), process.memory_info().rss / 1e6
    finally:
        await asyncio.to_thread(server.stop)


def _extra(name: str, unit: str, goal: float, without: list[float], having: list[float]) -> Figure:
    return Figure(
        part="start",
        name=name,
        unit=unit,
        goal=goal,
        value=statistics.median(having) - statistics.median(without),
        samples=len(having),
        detail={
            "least": min(having) - min(without),
            "without": statistics.median(without),
            "with": statistics.median(having),
        },
    )
