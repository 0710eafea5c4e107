"""What sleep costs, and waking. The idle sessions stand under open sockets of a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import psutil

from tests.hosts.running_server import RunningServer, WebSocket

from .figures import Figure, spread

IDLE = 200
WAKES = 40
WATCH_S = 10.0
IDLE_S = 0.5

Say = Callable[[str], None]


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Measure all of it on one server."""
    server = await asyncio.to_thread(RunningServer, folder / "server", f"--AgentExtension.idle_s={IDLE_S}")
    try:
        say(f"{IDLE} idle sessions under open sockets")
        figures = await _idle(server)
        say(f"waking, {WAKES} times")
        figures.append(await _wake(server))
    finally:
        await asyncio.to_thread(server.stop)
    return figures


async def _look(view: WebSocket) -> None:
    seen = len(view.heard)
    view.command("subscribe", since=None, page=25)
    await view.event("caught_up", after=seen)


async def _idle(server: RunningServer) -> list[Figure]:
    process = psutil.Process(server.process.pid)
    warm = await server.new_session()
    async with AsyncExitStack() as stack:
        await _look(await stack.enter_async_context(server.view(warm)))  # the first pays for imports
        sessions = [await server.new_session() for _ in range(IDLE)]
        await asyncio.sleep(4 * IDLE_S)
        before, files = process.memory_info().rss, process.num_fds()
        for session_id in sessions:
            await _look(await stack.enter_async_context(server.view(session_id)))
        await asyncio.sleep(4 * IDLE_S + 2)
        after, used = process.memory_info().rss, process.cpu_times()
        held = process.num_fds() - files
        await asyncio.sleep(WATCH_S)
        now = process.cpu_times()
        cpu = max(0.0, 100 * (now.user + now.system - used.user - used.system) / WATCH_S)
    name = f"{IDLE} idle sessions under sockets"
    return [
        Figure(
            part="sleep", name=f"{name}: memory a session", unit="KiB", goal=100, value=(after - before) / 1024 / IDLE
        ),
        Figure(part="sleep", name=f"{name}: files a session, with its socket", unit="", value=held / IDLE, goal=1.05),
        Figure(part="sleep", name=f"{name}: CPU", unit="%", value=cpu, goal=2),
    ]


async def _wake(server: RunningServer) -> Figure:
    session_id, took = await server.new_session(), list[float]()
    async with server.view(session_id) as view:
        for _ in range(WAKES):
            await asyncio.sleep(2 * IDLE_S + 0.3)
            begun = time.perf_counter()
            await _look(view)
            took.append(1000 * (time.perf_counter() - begun))
    return Figure(part="sleep", name="asleep → caught up, over a socket", unit="ms", goal=20, **spread(took))
