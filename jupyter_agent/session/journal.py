"""``Journal``: orders what happens, commits it, and only then lets it out.

::

    record(events) ─► seq given, folded into State ─► pending ══ one commit at a time, on the session's thread ══╗
                                                                                                                ▼
       views  ◄── emit(events) ◄── then() of each record (acks first) ◄──────────────────────────────── COMMIT came back

This is a Durable Object's output gate: nothing is shown that a crash could
take back. Whatever is recorded while a commit is under way goes together into
the next one. Deltas may wait: the first of a part goes at once, and so does
one that comes ``flush_ms`` after the last commit; others wait until then, or
until they are ``flush_deltas`` or ``flush_bytes``. Deltas of one part that
wait together become one event.

When a commit fails nothing of it is let out, the state is worthless, and
``failed`` is called once: the host drops the actor and views start anew.
``damaged`` is told of what cannot be read; the host looks how bad it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from ..errors import SessionFailed, StoreDamaged, StoreError
from ..protocol.events import Event, PartDelta, TurnStarted
from ..protocol.frames import Recorded
from ..protocol.ids import now_ms
from ..settings import Settings
from ..store.store import SessionStore
from ..store.writes import Batch, DropJob, PutJob, Write
from .state import State

T = TypeVar("T")


class Journal:
    """The only way into a session's database."""

    def __init__(
        self,
        store: SessionStore,
        thread: ThreadPoolExecutor,
        state: State,
        settings: Settings,
        *,
        emit: Callable[[list[Recorded]], None],
        alarmed: Callable[[], None],
        failed: Callable[[StoreError], None],
        damaged: Callable[[StoreDamaged], None],
    ) -> None:
        self._store = store
        self._thread = thread
        self._state = state
        self._settings = settings
        self._emit = emit
        self._alarmed = alarmed
        self._failed = failed
        self._damaged = damaged
        self._loop = asyncio.get_running_loop()
        self._batch = Batch()
        self._then: list[Callable[[StoreError | None], None]] = []
        self._due = False
        self._deltas = 0
        self._delta_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._flushed_at = float("-inf")
        self._draining: asyncio.Task[None] | None = None
        self._broken: StoreError | None = None
        self._last_ts = state.session.updated_at

    # -- writing -------------------------------------------------------------------

    def record(
        self,
        *events: Event,
        writes: Iterable[Write] = (),
        full: bool = False,
        lazy: bool = False,
        then: Callable[[StoreError | None], None] | None = None,
    ) -> None:
        """Let something have happened. ``then`` runs after the commit, before the events are shown.

        ``full`` asks for a commit that survives a power cut. ``lazy`` may wait for company.
        """
        if self._broken is not None:
            if then is not None:
                then(self._broken)
            return
        for event in events:
            self._add(event)
        for write in writes:
            self._state.written(write)
            self._batch.writes.append(write)
        self._batch.full |= full
        if then is not None:
            self._then.append(then)
        self._wake(lazy=lazy)

    def _add(self, event: Event) -> None:
        state = self._state
        # The wall clock may go backwards; the order of a session never does.
        ts = self._last_ts = max(now_ms(), self._last_ts)
        turn = event.turn.id if isinstance(event, TurnStarted) else (state.turn.id if state.turn else None)
        state.apply(event, ts)
        if isinstance(event, PartDelta):
            self._deltas += 1
            self._delta_bytes += len(event.delta)
            if self._joins(event):
                last = self._batch.events[-1]
                assert isinstance(last.event, PartDelta)
                joined = replace(last.event, delta=last.event.delta + event.delta)
                self._batch.events[-1] = replace(last, event=joined)
                return
        state.seq += 1
        self._batch.events.append(Recorded(seq=state.seq, ts=ts, turn=turn, event=event))

    def _joins(self, event: PartDelta) -> bool:
        last = self._batch.events[-1].event if self._batch.events else None
        if not isinstance(last, PartDelta) or last.part_id != event.part_id or last.field != event.field:
            return False
        # The disk may be slow, and the model quick: what gathers must still fit a frame.
        return len(last.delta) + len(event.delta) <= max(self._settings.flush_bytes, self._settings.frame_bytes // 32)

    # -- committing ----------------------------------------------------------------

    def _wake(self, *, lazy: bool) -> None:
        full = self._deltas >= self._settings.flush_deltas or self._delta_bytes >= self._settings.flush_bytes
        if lazy and not full and (self._due or self._timer is not None):
            return  # It goes with what waits already.
        due = self._flushed_at + self._settings.flush_ms / 1000
        if lazy and not full and due > self._loop.time():
            self._timer = self._loop.call_at(due, self._flush)
        else:
            self._flush()

    def _flush(self) -> None:
        self._due = True
        self._flushed_at = self._loop.time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._draining is None:
            self._draining = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while self._due and self._broken is None:
                await self._commit()
        finally:
            self._draining = None

    async def _commit(self) -> None:
        batch, then = self._batch, self._then
        self._batch, self._then, self._due = Batch(), [], False
        self._deltas = self._delta_bytes = 0
        if batch:
            try:
                await self._loop.run_in_executor(self._thread, self._store.commit, batch)
            except StoreError as error:
                self._break(error, then)
                return
            except Exception as error:
                self._break(StoreError(f"The session could not be stored: {error}."), then)
                return
        for call in then:
            call(None)
        if batch.events:
            self._emit(batch.events)
        if any(isinstance(write, PutJob | DropJob) for write in batch.writes):
            self._alarmed()

    def _break(self, error: StoreError, then: list[Callable[[StoreError | None], None]]) -> None:
        self._broken = error
        for call in [*then, *self._then]:
            call(error)
        self._then = []
        self._failed(error)

    def drop(self, why: StoreError) -> None:
        """Store nothing of what waits, and nothing from now on."""
        self._broken = why
        self._batch, self._then, self._due = Batch(), [], False

    # -- waiting and reading --------------------------------------------------------

    async def committed(self) -> None:
        """Wait until everything recorded so far is on disk. Raises ``SessionFailed``."""
        done: asyncio.Future[None] = self._loop.create_future()

        def settle(error: StoreError | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(SessionFailed(error.message, code=error.code, hint=error.hint))

        self.record(then=settle)
        await done

    async def read(self, question: Callable[[SessionStore], T]) -> T:
        """Ask the database, after the commits that are under way. Raises ``StoreError``."""
        try:
            return await self._loop.run_in_executor(self._thread, self._store.ask, question)
        except StoreDamaged as error:
            self._damaged(error)
            raise

    @property
    def clean(self) -> bool:
        """Whether nothing waits to be committed."""
        return not self._batch and not self._then and self._draining is None

    async def close(self) -> None:
        """Commit what waits, then close the database."""
        if self._broken is None:
            with contextlib.suppress(SessionFailed):
                await self.committed()
        if self._draining is not None:
            await asyncio.shield(self._draining)
        await self._loop.run_in_executor(self._thread, self._store.close)
