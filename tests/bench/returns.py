"""A hundred panels come back after their server died: when each of them tries, and when it is up to date.

The clients are the panel's own, in a few Node processes, over real sockets;
the server is killed and started again on the same port. What keeps them from
trying all at once is the jitter of their backoff: the histogram shows it. (More
may be let in at once: a server takes connections before it comes to answer any.)
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.hosts.running_server import TOKEN, RunningServer
from tests.storm.clients import NODE, bundle

from .figures import Figure, spread

CLIENTS = 100
PROCESSES = 4
SESSIONS = 20
BOUND_S = 120.0
BUCKET_MS = 100
WIDTH = 50
GOAL_SHARE = 15.0

Say = Callable[[str], None]


class Crowd:
    """The clients of one Node process."""

    def __init__(self, process: asyncio.subprocess.Process, first: int) -> None:
        self._process = process
        self._first = first
        self.happened: list[tuple[int, str, float]] = []
        """Who, what, and when, in ms since the epoch."""
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def start(cls, script: Path, server: RunningServer, sessions: Sequence[str], first: int) -> Crowd:
        """One client for each session named, numbered from ``first``."""
        wish = json.dumps({"base": f"{server.base}/", "token": TOKEN, "sessions": sessions})
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(NODE, script, wish, stdin=pipe, stdout=pipe), first)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            self.happened.append((self._first + told["client"], told["what"], told["at"]))

    async def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reading


@asynccontextmanager
async def _crowds(folder: Path, server: RunningServer) -> AsyncGenerator[list[Crowd]]:
    script = bundle("crowd", folder)
    sessions = [await server.new_session() for _ in range(SESSIONS)]
    each = CLIENTS // PROCESSES
    async with AsyncExitStack() as stack:
        crowds: list[Crowd] = []
        for number in range(PROCESSES):
            chosen = [sessions[(number * each + index) % SESSIONS] for index in range(each)]
            crowd = await Crowd.start(script, server, chosen, number * each)
            stack.push_async_callback(crowd.close)
            crowds.append(crowd)
        yield crowds


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Kill the server under the crowd, start it again, and watch them return."""
    server = await asyncio.to_thread(RunningServer, folder / "server")
    try:
        async with _crowds(folder, server) as crowds:
            await _all_since(crowds, "ready", 0.0)
            say(f"{CLIENTS} panels are up to date; the server dies")
            died = 1000 * time.time()
            port = await asyncio.to_thread(server.kill)
            server = await asyncio.to_thread(RunningServer, folder / "server", port=port)
            back = 1000 * time.time()
            say(f"the server is back after {(back - died) / 1000:.1f} s")
            ready = await _all_since(crowds, "ready", died)
            opened = await _all_since(crowds, "connected", died)
            tries = [at - died for crowd in crowds for _, what, at in crowd.happened if what == "tries" and at >= died]
    finally:
        await asyncio.to_thread(server.stop)
    say("tries, by tenths of a second since the server died\n" + histogram(tries))
    let_in = busiest([at - died for at in opened.values()])
    return [
        Figure(part="return", name=f"{CLIENTS} panels after a restart: most that try within 100 ms", unit="%",
               value=busiest(tries), goal=GOAL_SHARE, samples=len(tries), detail={"most let in": let_in}),
        Figure(part="return", name="… server back → up to date", unit="ms",
               **spread([at - back for at in ready.values()])),
        Figure(part="return", name="… let in → up to date", unit="ms",
               **spread([ready[client] - opened[client] for client in ready])),
    ]  # fmt: skip


async def _all_since(crowds: Sequence[Crowd], what: str, since: float) -> dict[int, float]:
    """Wait until it has happened to all clients; return when it first did."""
    async with asyncio.timeout(BOUND_S):
        while True:
            found: dict[int, float] = {}
            for crowd in crowds:
                for client, happened, at in crowd.happened:
                    if happened == what and at >= since:
                        found.setdefault(client, at)
            if len(found) == CLIENTS:
                return found
            await asyncio.sleep(0.05)


def busiest(moments: Sequence[float]) -> float:
    """Return how many fall into the fullest 100 ms, as a share (%) of all clients."""
    return 100 * max(_buckets(moments).values()) / CLIENTS


def _buckets(moments: Sequence[float]) -> Counter[int]:
    return Counter(int(at // BUCKET_MS) for at in moments)


def histogram(moments: Sequence[float]) -> str:
    """Draw how many fall into each 100 ms."""
    counts = _buckets(moments)
    most = max(counts.values())
    return "\n".join(
        f"  {bucket * BUCKET_MS / 1000:6.1f} s {counts[bucket]:4d} {'█' * round(WIDTH * counts[bucket] / most)}"
        for bucket in range(min(counts), max(counts) + 1)
    )
