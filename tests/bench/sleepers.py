"""What sleep costs, and waking; and how a hundred panels come back after a restart.

The idle sessions stand under open sockets of a real server. Who waits how long
after a restart is decided by the panel's own backoff, in Node.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import psutil

from tests.hosts.running_server import RunningServer, WebSocket

from .figures import Figure, percentile, spread

IDLE = 200
WAKES = 40
CLIENTS = 100
WATCH_S = 10.0
IDLE_S = 0.5
DOWN_S = 3.0
"""How long the server of the restart is away."""
JS = Path(__file__).parents[2] / "js"
NODE = Path(
    shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])) or "node"
)

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
    say(f"{CLIENTS} panels come back after {DOWN_S} s")
    return [*figures, *_rush(folder)]


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
        Figure(part="sleep", name=f"{name}: memory a session", unit="KiB", value=(after - before) / 1024 / IDLE),
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


def _rush(folder: Path) -> list[Figure]:
    """Draw when each panel's first successful try comes, after the server is back."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "backoff.mjs"
    wish = {"entryPoints": ["src/connections/backoff.ts"], "outfile": str(out), "bundle": True, "format": "esm"}
    subprocess.run([NODE, "-e", f"require('esbuild').buildSync({json.dumps(wish)})"], cwd=JS, check=True)
    draw = (
        f"import {{ Backoff }} from {json.dumps(out.as_uri())};"
        f"const back = () => {{ const b = new Backoff(); let at = 0;"
        f" while (at < {DOWN_S * 1000}) at += b.next(); return at - {DOWN_S * 1000}; }};"
        f"console.log(JSON.stringify(Array.from({{ length: {CLIENTS} }}, back)));"
    )
    script = folder / "draw.mjs"
    script.write_text(draw, encoding="utf-8")
    printed = subprocess.run([NODE, script], check=True, capture_output=True, text=True).stdout
    late: list[float] = json.loads(printed)
    seconds = [sum(second <= at / 1000 < second + 1 for at in late) for second in range(10)]
    rush = max(sum(start <= at < start + 100 for at in late) for start in late)
    histogram = {f"{second} s": float(count) for second, count in enumerate(seconds) if count}
    return [
        Figure(
            part="sleep", name=f"{CLIENTS} panels back after a restart", unit="ms", value=percentile(late, 50),
            samples=CLIENTS, detail={"p95": percentile(late, 95), **histogram},
        ),
        Figure(part="sleep", name="… at most within 100 ms", unit="", value=float(rush), goal=CLIENTS / 4),
    ]  # fmt: skip
