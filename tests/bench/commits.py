"""How long a commit of packed deltas takes, in this process."""

from __future__ import annotations

import time
from pathlib import Path

from jupyter_agent.protocol.content import Session
from jupyter_agent.protocol.events import PartDelta
from jupyter_agent.protocol.frames import Recorded
from jupyter_agent.protocol.ids import new_id, now_ms
from jupyter_agent.store.store import SessionStore
from jupyter_agent.store.writes import Batch

from .figures import Figure, percentile

COMMITS = 500
DELTA = "About nine of these words go into one packed delta. "


def measure(folder: Path) -> list[Figure]:
    """Commit packed deltas as the journal does while text streams, and as it does at the ends of things."""
    return [
        _commits(folder / name, name, full=full, goal=goal)
        for name, full, goal in (("NORMAL", False, 500), ("FULL", True, 10_000))
    ]


def _commits(folder: Path, name: str, *, full: bool, goal: float) -> Figure:
    store = SessionStore.create(folder, Session(id=new_id("ses")))
    part_id, took = new_id("prt"), list[float]()
    for number in range(COMMITS):
        event = PartDelta(part_id=part_id, at=number * len(DELTA), field="text", delta=DELTA)
        batch = Batch(events=[Recorded(seq=number + 1, ts=now_ms(), turn="trn_bench", event=event)], full=full)
        begun = time.perf_counter()
        store.commit(batch)
        took.append(1e6 * (time.perf_counter() - begun))
    store.close()
    return Figure(
        part="commit",
        name=f"commit of a packed delta, {name}",
        unit="µs",
        goal=goal,
        value=percentile(took, 50),
        samples=COMMITS,
        detail={"p95": percentile(took, 95), "p99": percentile(took, 99)},
    )
