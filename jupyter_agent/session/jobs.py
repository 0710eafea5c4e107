"""Jobs: what a session does at a time, awake or not. Done at least once.

::

    PutJob ──COMMIT──► row of ``jobs`` ──► mirrored in the index ──► the server's one timer ──► wake ──► run
                             ▲                                                                           │
                             │            fails: 2 s, 4 s, 8 s … later, six times, then it rests ◄───────┤
                             └─ dropped in the commit that follows its success ◄─────────────────────────┘

A kind is a function that somebody registered with ``handles``. It looks,
records and returns like a command; what it records in the same breath is
committed with the job's own end. It may set its job anew by ``PutJob``.

One that takes its time is not begun a second time meanwhile; after
``settings.job_timeout_s`` it has failed. A session that has to go cuts it off:
then it was not done, and is done when the session wakes next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import AgentError, SessionFailed
from ..store.writes import NEVER, DropJob, Job, PutJob
from .clock import Clock

if TYPE_CHECKING:
    from .actor import SessionActor

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 6
FIRST_RETRY_MS = 2_000

Handler = Callable[["SessionActor", Job], Awaitable[None] | None]
_HANDLERS: dict[str, Handler] = {}


def handles(kind: str) -> Callable[[Handler], Handler]:
    """Register the function that does jobs of this kind."""

    def register(handler: Handler) -> Handler:
        _HANDLERS[kind] = handler
        return handler

    return register


def forget(kind: str) -> None:
    """Undo ``handles``."""
    _HANDLERS.pop(kind, None)


def put(actor: SessionActor, job: Job) -> None:
    """Set an alarm, or set it anew."""
    actor.journal.record(writes=[PutJob(job=job)], full=True)


def drop(actor: SessionActor, job_id: str) -> None:
    """Forget an alarm, if there is one."""
    if job_id in actor.state.jobs:
        actor.journal.record(writes=[DropJob(job_id=job_id)])


def next_due(jobs: dict[str, Job]) -> int | None:
    """Return when the earliest is due; None when none will be."""
    return min((job.due_at for job in jobs.values() if job.due_at < NEVER), default=None)


async def run_due(actor: SessionActor, clock: Clock) -> None:
    """Do all that is due, the earliest first."""
    now = clock.now_ms()
    for job in sorted(actor.state.jobs.values(), key=lambda job: (job.due_at, job.id)):
        if job.due_at <= now and actor.state.jobs.get(job.id) is job:
            await run(actor, job, clock)


async def run(actor: SessionActor, job: Job, clock: Clock) -> None:
    """Do one job. What it raises is kept, and the job tried again later."""
    handler = _HANDLERS.get(job.kind)
    try:
        if handler is None:
            raise AgentError(f"Nothing here does {job.kind!r}.", code="unknown_job")
        outcome = handler(actor, job)
        if outcome is not None:
            await _within(actor.services.settings.job_timeout_s, outcome)
    except Exception as error:
        if not isinstance(error, AgentError):
            log.exception("Job %s of session %s failed", job.id, actor.id)
        _try_later(actor, job, clock.now_ms(), error)
    else:
        _drop_done(actor, job)
    with contextlib.suppress(SessionFailed):  # Not stored, so not done: the next owner does it again.
        await actor.journal.committed()


async def _within(seconds: float, work: Awaitable[None]) -> None:
    patience = asyncio.timeout(seconds)
    try:
        async with patience:
            await work
    except TimeoutError:
        if patience.expired():
            raise AgentError(f"It was not done within {seconds:g} s.", code="job_hung") from None
        raise


def _drop_done(actor: SessionActor, job: Job) -> None:
    if actor.state.jobs.get(job.id) is job:  # else it was set anew, or dropped
        actor.journal.record(writes=[DropJob(job_id=job.id)])


def _try_later(actor: SessionActor, job: Job, now: int, error: Exception) -> None:
    if actor.state.jobs.get(job.id) is not job:
        return
    attempts = job.attempts + 1
    due_at = now + FIRST_RETRY_MS * 2**job.attempts if attempts < MAX_ATTEMPTS else NEVER
    why = error.message if isinstance(error, AgentError) else f"{type(error).__name__}: {error}"
    put(actor, replace(job, attempts=attempts, due_at=due_at, last_error=why))
    if due_at == NEVER:
        log.error("Job %s (%s) of session %s was tried %d times: %s", job.id, job.kind, actor.id, attempts, why)
