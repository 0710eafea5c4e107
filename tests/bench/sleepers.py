"""What sleep costs and saves, and waking. The idle sessions stand under open sockets of a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.hosts.running_server import API, RunningServer, WebSocket

from .figures import Figure, spread

IDLE = 200
WAKES = 40
WATCH_S = 10.0
IDLE_S = 0.5
NEVER_S = 3600.0

Say = Callable[[str], None]


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Measure sleep on one server, and on another what the same sessions take that stay awake."""
    async with _server(folder / "server", IDLE_S) as server:
        say(f"{IDLE} idle sessions under open sockets")
        asleep = await _idle(server)
        say(f"waking, {WAKES} times")
        wake = await _wake(server)
        say(f"{IDLE} idle sessions that nobody looks at")
        alone = await _unseen(server, warming=3)
    async with _server(folder / "awake", NEVER_S) as server:
        say("as many sessions kept awake, with and without sockets")
        awake, awake_alone = await _idle(server), await _unseen(server)
    return [
        *_asleep(asleep),
        *_saved("under sockets", awake, asleep),
        *_saved("that nobody looks at", awake_alone, alone, goal=10),
        wake,
    ]


@asynccontextmanager
async def _server(folder: Path, idle_s: float) -> AsyncGenerator[RunningServer]:
    server = await asyncio.to_thread(RunningServer, folder, f"--AgentExtension.idle_s={idle_s}")
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


async def _look(view: WebSocket) -> None:
    seen = len(view.heard)
    view.command("subscribe", since=None, page=25)
    await view.event("caught_up", after=seen)


@dataclass(frozen=True, slots=True)
class _Held:
    """What one session takes while nobody says anything to it; with its socket, where it has one."""

    kib: float
    files: float
    threads: float
    cpu: float
    """Percent of a core, of all sessions together."""


async def _idle(server: RunningServer) -> _Held:
    """Look at many sessions, and wait."""
    async with AsyncExitStack() as stack:
        await _look(await stack.enter_async_context(server.view(await server.new_session())))  # pays for imports

        async def look(session_id: str) -> None:
            await _look(await stack.enter_async_context(server.view(session_id)))

        return await _held_by(server, await _made(server), look)


async def _unseen(server: RunningServer, *, warming: int = 0) -> _Held:
    """Wake many sessions and leave them. Where they sleep after it, what the first times take is kept for the next."""

    async def wake(session_id: str) -> None:
        status, _ = await server.ask("GET", f"{API}/sessions/{session_id}/jobs")
        assert status == 200

    sessions = await _made(server)
    for _ in range(warming):
        for session_id in sessions:
            await wake(session_id)
        await asyncio.sleep(4 * IDLE_S)
    return await _held_by(server, sessions, wake)


async def _made(server: RunningServer) -> list[str]:
    """Make sessions, which wakes none of them."""
    return [await server.new_session() for _ in range(IDLE)]


async def _held_by(server: RunningServer, sessions: list[str], touch: Callable[[str], Awaitable[None]]) -> _Held:
    process = psutil.Process(server.process.pid)
    await asyncio.sleep(4 * IDLE_S)
    before, files, threads = process.memory_info().rss, process.num_fds(), process.num_threads()
    for session_id in sessions:
        await touch(session_id)
    await asyncio.sleep(4 * IDLE_S + 2)
    after, used = process.memory_info().rss, process.cpu_times()
    more_files, more_threads = process.num_fds() - files, process.num_threads() - threads
    await asyncio.sleep(WATCH_S)
    now = process.cpu_times()
    cpu = max(0.0, 100 * (now.user + now.system - used.user - used.system) / WATCH_S)
    return _Held((after - before) / 1024 / IDLE, more_files / IDLE, more_threads / IDLE, cpu)


def _asleep(held: _Held) -> list[Figure]:
    name = f"{IDLE} idle sessions under sockets"
    return [
        Figure(part="sleep", name=f"{name}: memory a session", unit="KiB", goal=100, value=held.kib),
        Figure(part="sleep", name=f"{name}: files a session, with its socket", unit="", value=held.files, goal=1.05),
        Figure(part="sleep", name=f"{name}: threads a session", unit="", value=held.threads, goal=0.05),
        Figure(part="sleep", name=f"{name}: CPU", unit="%", value=held.cpu, goal=2),
    ]


def _saved(which: str, awake: _Held, asleep: _Held, *, goal: float | None = None) -> list[Figure]:
    """Say how much more the same sessions take that stay awake; less than 1 KiB cannot be told from nothing."""
    name = f"{IDLE} sessions {which}, kept awake: memory"
    detail = {"files": awake.files, "threads": awake.threads, "CPU %": awake.cpu}
    times, kib = awake.kib / max(asleep.kib, 1.0), {"asleep KiB": asleep.kib}
    return [
        Figure(part="sleep", name=f"{name} a session", unit="KiB", value=awake.kib, detail=detail),
        Figure(
            part="sleep", name=f"{name}, times that of idle ones", unit="×", value=times, goal=goal, at_least=True,
            detail=kib,
        ),
    ]  # fmt: skip


async def _wake(server: RunningServer) -> Figure:
    session_id, took = await server.new_session(), list[float]()
    async with server.view(session_id) as view:
        for _ in range(WAKES):
            await asyncio.sleep(2 * IDLE_S + 0.3)
            begun = time.perf_counter()
            await _look(view)
            took.append(1000 * (time.perf_counter() - begun))
    return Figure(part="sleep", name="asleep → caught up, over a socket", unit="ms", goal=20, **spread(took))
