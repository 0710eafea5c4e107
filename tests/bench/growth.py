"""Does a long session cost more than a short one? Opening, waking, writing, at three lengths.

A session is written as its actor writes it, batch by batch; only the model is left out.
The figures are CPU time: what the disk and the machine's other work take is the same for all, and no ratio.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from jupyter_agent.protocol.content import Message, Session, TextPart, Turn, Usage
from jupyter_agent.protocol.events import (
    Event,
    MessageAdded,
    MessageUpdated,
    PartAdded,
    PartDelta,
    PartDone,
    TurnEnded,
    TurnStarted,
)
from jupyter_agent.protocol.frames import Recorded
from jupyter_agent.protocol.ids import new_id, now_ms
from jupyter_agent.store import reading
from jupyter_agent.store.owning import THIS_PROCESS
from jupyter_agent.store.store import SessionStore
from jupyter_agent.store.writes import Batch, PutBlocks, PutCommand, PutSession

from .figures import Figure, percentile

SIZES = (10, 1_000, 10_000)
"""Messages; every other one is an answer."""
ROUNDS = 60
TOKENS = 1_000
PER_COMMIT = 8
"""Tokens that one packed delta holds at a quick model's pace."""
WORDS = "Some words that an answer of a usual length is made of, again and again. " * 6
GOAL = 1.2
"""Times what it costs in a session of ten messages."""

Say = Callable[[str], None]


def measure(folder: Path, say: Say) -> list[Figure]:
    """Measure all lengths, one session each; the same steps in turn, so that a busy moment meets all alike."""
    written: list[_Written] = []
    for size in SIZES:
        say(f"a session of {size} messages")
        written.append(_Written(folder / str(size), size))
    for _ in range(ROUNDS):
        for session in written:
            session.round()
    for session in written:
        session.stream()
        session.store.close()
    return [figure for name, unit in _NAMES for figure in _figures(written, name, unit)]


_NAMES = (("snapshot", "ms CPU"), ("wake", "ms CPU"), ("append", "µs CPU"), ("written", "KiB"))
_FIRST = {"snapshot": 2.0, "wake": 5.0, "append": 5_000.0, "written": 1_000.0}
"""What a session of ten messages may take."""
_TOLD = {
    "snapshot": "opening: a snapshot of the newest page",
    "wake": "waking: database opened and read",
    "append": "append: a message, its turn and its end, three commits",
    "written": "bytes written per 1,000 tokens",
}


def _figures(written: list[_Written], name: str, unit: str) -> list[Figure]:
    least = statistics.median(written[0].took[name] or [0.0])
    figures: list[Figure] = []
    for session in written:
        took = session.took[name]
        if not took:
            continue
        value = statistics.median(took)
        detail = {"p95": percentile(took, 95), "times the shortest": value / least}
        if walls := session.walls.get(name):
            detail["by the clock"] = statistics.median(walls)
        goal = _FIRST[name] if session is written[0] else GOAL * least
        figures.append(
            Figure(
                part="growth", name=f"{_TOLD[name]}, {session.size:,} messages", unit=unit, value=value, goal=goal,
                samples=len(took), detail=detail,
            )
        )  # fmt: skip
    return figures


class _Written:
    """One session, and what it took."""

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        self.took: dict[str, list[float]] = {name: [] for name in _TOLD}
        self.walls: dict[str, list[float]] = {}
        self._folder = folder
        self._seq = 0
        self.store = SessionStore.create(folder, Session(id=new_id("ses"), created_at=now_ms(), updated_at=now_ms()))
        batch = Batch()
        for _ in range(size // 2):
            for part in self._exchange():
                batch.events += part.events
                batch.writes += part.writes
            if len(batch.events) > 2_000:
                self.store.commit(batch)
                batch = Batch()
        self.store.commit(batch)

    def round(self) -> None:
        """Measure everything once."""
        conn = self.store.db.conn
        self._time("snapshot", 1e3, lambda: reading.snapshot(conn, page=25, page_bytes=200 * 1024))
        batches = self._exchange()

        def append() -> None:
            for batch in batches:
                self.store.commit(batch)

        self._time("append", 1e6, append)
        self.store.close()
        self._time("wake", 1e3, self._wake)

    def _wake(self) -> None:
        self.store, _ = SessionStore.wake(self._folder, THIS_PROCESS, "local")

    def stream(self) -> None:
        """Stream an answer of ``TOKENS`` tokens, and count what went to files."""
        process, part = psutil.Process(), new_id("prt")
        if not hasattr(process, "io_counters"):
            return  # Not every system counts that.
        before, at, token = process.io_counters(), 0, "token "
        for _ in range(TOKENS // PER_COMMIT):
            delta = token * PER_COMMIT
            event = PartDelta(part_id=part, at=at, field="text", delta=delta)
            at += len(delta)
            self.store.commit(Batch(events=[self._recorded(event)]))
        written: Any = process.io_counters()
        self.took["written"].append((written.write_chars - before.write_chars) / 1024)

    def _time(self, name: str, scale: float, call: Callable[[], object]) -> None:
        begun, spent = time.perf_counter(), time.thread_time()
        call()
        self.took[name].append(scale * (time.thread_time() - spent))
        self.walls.setdefault(name, []).append(scale * (time.perf_counter() - begun))

    def _recorded(self, event: Event, turn: str | None = None) -> Recorded:
        self._seq += 1
        return Recorded(seq=self._seq, ts=now_ms(), turn=turn, event=event)

    def _exchange(self) -> list[Batch]:
        """A question and its answer, as three commits."""
        turn_id, asked, answer, part_id = new_id("trn"), new_id("msg"), new_id("msg"), new_id("prt")
        now = now_ms()
        said = TextPart(id=new_id("prt"), idx=0, text="What is in it?", state="done")
        done = TextPart(id=part_id, idx=0, text=WORDS, state="done")
        user = Message(id=asked, role="user", status="complete", turn_id=turn_id, created_at=now, parts=[said])
        empty = Message(id=answer, role="assistant", status="streaming", turn_id=turn_id, created_at=now)
        whole = Message(id=answer, role="assistant", status="complete", turn_id=turn_id, created_at=now, parts=[done])
        turn = Turn(id=turn_id, trigger="user", message_id=answer, mode="build", started_at=now)
        ended = TurnEnded(
            turn=turn_id, outcome="completed", error=None, usage=Usage(), message_ids=[answer], ended_at=now
        )
        ack: dict[str, Any] = {"cmd_id": "c", "status": "accepted", "result": {}}
        accepted = [
            PutBlocks(turn_id=turn_id, step=0, ord=0, role="user", content=[{"type": "text", "text": said.text}]),
            PutCommand(cmd_id=new_id("cmd"), type="message.send", ack=ack, message_id=asked, created_at=now),
        ]
        answered = PutBlocks(
            turn_id=turn_id, step=1, ord=0, role="assistant", content=[{"type": "text", "text": WORDS}]
        )
        session = PutSession(session=Session(id=self._folder.name, updated_at=now))
        first: list[Event] = [MessageAdded(message=user), TurnStarted(turn=turn), MessageAdded(message=empty)]
        started = PartAdded(message_id=answer, part=TextPart(id=part_id, idx=0))
        last: list[Event] = [PartDone(message_id=answer, part=done), MessageUpdated(message=whole), ended]
        return [
            Batch(events=[self._recorded(e, turn_id) for e in first], writes=[*accepted], full=True),
            Batch(events=[self._recorded(started, turn_id)]),
            Batch(events=[self._recorded(e, turn_id) for e in last], writes=[answered, session], full=True),
        ]
