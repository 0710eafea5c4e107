"""Many sessions, and one of many calls: the list, those that sleep, waking by the actor, opening.

Everything happens in this process, without sockets: these are the server's own times.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from jupyter_agent.agent.claude import ClaudeModel
from jupyter_agent.protocol.content import Message, Session, ToolOutput, ToolPart
from jupyter_agent.protocol.events import Event, MessageAdded, MessageUpdated, PartAdded, PartDone
from jupyter_agent.protocol.frames import Frame, Recorded
from jupyter_agent.protocol.ids import new_id, now_ms
from jupyter_agent.session.host import SessionHost
from jupyter_agent.settings import Settings
from jupyter_agent.store.store import SessionStore
from jupyter_agent.store.writes import Batch
from jupyter_agent.tools.toolbox import Toolbox
from tests.fakes import DiskWorkspace

from .figures import Figure, percentile, spread

SESSIONS = 10_000
CALLS = 2_000
LISTS = 40
WAKES = 60
WARMING = 3
OUTPUT = "A line of what a call printed.\n" * 12

Say = Callable[[str], None]


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Measure the crowd, then the session of many calls."""
    say(f"{SESSIONS:,} sessions")
    ids = await asyncio.to_thread(_crowd, folder / "data")
    figures: list[Figure] = []
    begun = time.perf_counter()
    async with _host(folder, idle_s=0.1) as host:
        await host.list_sessions()
        made = 1000 * (time.perf_counter() - begun)
        figures.append(
            Figure(part="crowd", name=f"{SESSIONS:,} sessions: the list made anew", unit="ms", value=made, goal=30_000)
        )
        figures += await _lists(host, ids)
        figures += await _asleep(host, ids[:1_000])
    say(f"waking, {WAKES} times")
    async with _host(folder, idle_s=0.1) as host:
        figures.append(await _wake(host, ids[-1]))
    say(f"a session of {CALLS:,} calls")
    for calls in (2, CALLS):
        session_id = await asyncio.to_thread(_with_calls, folder / f"calls-{calls}", calls)
        async with _host(folder / f"calls-{calls}", idle_s=0.1) as host, _pauses() as paused:
            figures.append(await _wake(host, session_id, f"asleep → snapshot, {calls:,} calls in one answer", goal=50))
        figures.append(
            Figure(part="crowd", name=f"… what others wait for meanwhile, {calls:,} calls", unit="ms", goal=10,
                   value=percentile(paused, 99), samples=len(paused), detail={"max": max(paused)})
        )  # fmt: skip
    return figures


# -- the crowd ------------------------------------------------------------------------


def _crowd(data_dir: Path) -> list[str]:
    """Make one session, and copy its folder: each has a database and an id of its own."""
    sessions, ids = data_dir / "sessions", list[str]()
    first = Session(id=new_id("ses"), title="A session", created_at=now_ms(), updated_at=now_ms())
    SessionStore.create(sessions / first.id, first).close()
    ids.append(first.id)
    bytes_of = (sessions / first.id / "session.db").read_bytes()
    for _ in range(1, SESSIONS):
        # Ids are of one length: the bytes of one database are those of another.
        session_id = new_id("ses")
        (sessions / session_id).mkdir()
        (sessions / session_id / "session.db").write_bytes(bytes_of.replace(first.id.encode(), session_id.encode()))
        ids.append(session_id)
    return ids


async def _lists(host: SessionHost, ids: list[str]) -> list[Figure]:
    assert len((await host.list_sessions(q="session", limit=50))[0]) == 50
    first, deep, found = list[float](), list[float](), list[float]()
    for _ in range(LISTS):
        first.append(await _timed(host.list_sessions(limit=50)))
        deep.append(await _timed(host.list_sessions(limit=50, before=ids[SESSIONS // 2])))
        found.append(await _timed(host.list_sessions(q="session", limit=50)))
    name = f"{SESSIONS:,} sessions: "
    return [
        Figure(part="crowd", name=f"{name}first page of 50", unit="ms", goal=50, **spread(first)),
        Figure(part="crowd", name=f"{name}a page from the middle", unit="ms", goal=50, **spread(deep)),
        Figure(part="crowd", name=f"{name}search that finds all", unit="ms", goal=100, **spread(found)),
    ]


async def _asleep(host: SessionHost, ids: list[str]) -> list[Figure]:
    """Wake many, let them sleep, and see what they left behind."""
    process = psutil.Process()
    for _ in range(WARMING):  # What the first times take, the allocator keeps for the next.
        await _all_woken(host, ids)
    memory, files = process.memory_info().rss, process.num_fds()
    await _all_woken(host, ids)
    grown = (process.memory_info().rss - memory) / 1024
    name = f"{len(ids):,} of {SESSIONS:,} sessions woken and asleep again: "
    return [
        Figure(part="crowd", name=f"{name}memory a session", unit="KiB", value=grown / len(ids), goal=20),
        Figure(part="crowd", name=f"{name}files", unit="", value=process.num_fds() - files, goal=2),
        Figure(part="crowd", name=f"{SESSIONS:,} sleeping sessions: memory of the process", unit="MB",
               value=process.memory_info().rss / 1e6, detail={"files": float(process.num_fds())}),
    ]  # fmt: skip


async def _all_woken(host: SessionHost, ids: list[str]) -> None:
    for session_id in ids:
        await host.get(session_id)
    while host.rooms:  # noqa: ASYNC110 -- sleep is by design invisible from outside
        await asyncio.sleep(0.1)
    gc.collect()


# -- one session ----------------------------------------------------------------------


async def _wake(
    host: SessionHost, session_id: str, name: str = "asleep → snapshot, by the actor", *, goal: float = 20
) -> Figure:
    took: list[float] = []
    for _ in range(WAKES):
        while host.awake(session_id) is not None:  # noqa: ASYNC110 -- sleep is by design invisible from outside
            await asyncio.sleep(0.05)
        took.append(await _timed(_look(host, session_id)))
    return Figure(part="crowd", name=name, unit="ms", goal=goal, **spread(took))


async def _look(host: SessionHost, session_id: str) -> None:
    """Subscribe, and wait until that is answered."""
    synced = asyncio.Event()

    def sink(frame: Frame) -> None:
        if '"caught_up"' in frame.text:
            synced.set()

    connection = host.connect(session_id, sink, user="me", road="panel")
    connection.receive({"v": 1, "cmd_id": new_id("cmd"), "type": "subscribe", "d": {"since": None, "page": 25}})
    await synced.wait()
    connection.close()


def _with_calls(folder: Path, calls: int) -> str:
    """Make a session whose one answer has so many calls, written as its actor writes them."""
    session = Session(id=new_id("ses"), created_at=now_ms(), updated_at=now_ms())
    store = SessionStore.create(folder / "data" / "sessions" / session.id, session)
    answer = Message(id=new_id("msg"), role="assistant", status="streaming", created_at=now_ms())
    seq = 0

    def commit(*events: Event) -> None:
        nonlocal seq
        recorded: list[Recorded] = []
        for event in events:
            seq += 1
            recorded.append(Recorded(seq=seq, ts=now_ms(), turn=None, event=event))
        store.commit(Batch(events=recorded))

    commit(MessageAdded(message=answer))
    parts: list[ToolPart] = []
    for idx in range(calls):
        call = ToolPart(id=new_id("prt"), idx=idx, tool_call_id=f"toolu_{idx}", name="run_cell", effect="execute")
        done = replace(
            call, state="output-available", input={"cell_id": "first"}, output=ToolOutput(model=OUTPUT), rev=2
        )
        commit(PartAdded(message_id=answer.id, part=call), PartDone(message_id=answer.id, part=done))
        parts.append(done)
    commit(MessageUpdated(message=replace(answer, status="complete", parts=list(parts))))
    store.close()
    return session.id


@asynccontextmanager
async def _pauses() -> AsyncGenerator[list[float]]:
    """Note how much later than asked the event loop comes back, in ms: what any other session waits for."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(1000 * (time.perf_counter() - begun) - 1)

    ticking = asyncio.create_task(tick())
    try:
        yield late
    finally:
        ticking.cancel()


async def _timed(awaited: Awaitable[object]) -> float:
    begun = time.perf_counter()
    await awaited
    return 1000 * (time.perf_counter() - begun)


@asynccontextmanager
async def _host(folder: Path, *, idle_s: float) -> AsyncGenerator[SessionHost]:
    settings = Settings(data_dir=folder / "data", api_key="none", idle_s=idle_s)
    model, workspace = ClaudeModel(settings), DiskWorkspace(folder, settings)
    host = SessionHost(settings, workspace=workspace, model=model, toolbox=Toolbox(settings))
    try:
        yield host
    finally:
        await host.close()
        await model.close()
        await workspace.close()
