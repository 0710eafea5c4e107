"""``SessionActor``: one awake session.

::

                        ┌── message.send (idle) ──► running ──── asks the user ───► awaiting ──┐
     idle ──────────────┤                            ▲   │                             │       │
      ▲                 └── queue (on turn end) ─────┘   │   ◄──── approval.answer ─────┘       │
      │                                                  │                                     │
      │       turn.stop: stopping ◄──────────────────────┤                    turn.stop ───────┤
      │            │                                     │                                     │
      └── turn.ended, once, settles all ◄────────────────┴─────────────────────────────────────┘

Commands are taken one at a time from the inbox (``deciding`` says what each
does). The turn itself is one task around ``agent.loop.run_turn``. Asleep, a
session is its database; this object is made by ``activate`` and dropped
by the host when it has been idle for a while, also while it awaits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ..agent.loop import Awaiting, Ended, run_turn
from ..errors import AgentError, CommandRejected, ModelError, SessionFailed, StoreDamaged, StoreError
from ..protocol.commands import History, Subscribe, TurnStop
from ..protocol.content import Json, OutcomeKind, QueueItem, Road, Session, TurnError
from ..protocol.cut import frames_of
from ..protocol.events import (
    Error,
    QueueUpdated,
    SessionUpdated,
    TurnStatusChanged,
)
from ..protocol.frames import Frame, Recorded, transient
from ..protocol.ids import now_ms
from ..store import transcript
from ..store.faults import DAMAGE_HINT, ODD
from ..store.store import SessionStore
from ..store.writes import PutMeta, PutSession, Write
from . import approvals, deciding, ending, jobs, naming, queueing, recovery, tasks
from .catching_up import PLAIN_JOURNAL, history_ack, page_before, what_was_missed
from .clock import Clock
from .connection import Connection
from .inbox import CLOSING, Envelope, Inbox, rejected
from .journal import Journal
from .ledger import TurnLedger
from .services import Services
from .state import State

log = logging.getLogger(__name__)

INTERNAL = "Something went wrong inside the agent; the server's log says what."


class SessionActor:
    """See the module. ``activate`` makes one; ``sleep`` ends it."""

    def __init__(
        self,
        session_id: str,
        services: Services,
        store: SessionStore,
        thread: ThreadPoolExecutor,
        state: State,
        *,
        emit: Callable[[list[Recorded], Frame], None],
        hint: Callable[[Frame], None],
        changed: Callable[[SessionActor, list[Recorded]], None],
        failed: Callable[[SessionActor, StoreError], None],
        damaged: Callable[[SessionActor, StoreDamaged], None],
        fork: Callable[[SessionActor, str, str | None], Awaitable[Session]],
        views: Callable[[], dict[str, dict[str, Any]]] = dict,
    ) -> None:
        self.id = session_id
        self.services = services
        self.state = state
        self._thread = thread
        self._emit = emit
        self._hint = hint
        self._changed = changed
        self._views = views
        self.fork = fork
        self.migrated = store.migrated
        self.journal = Journal(
            store,
            thread,
            self.state,
            services.settings,
            emit=self._out,
            alarmed=lambda: changed(self, []),
            failed=lambda error: failed(self, error),
            damaged=lambda error: damaged(self, error),
        )
        self.folder = store.folder
        self._plain_journal = store.plain_journal
        self._inbox = Inbox(session_id, self.journal, partial(deciding.decide, self))
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn_task: asyncio.Task[None] | None = None
        self._naming: asyncio.Task[None] | None = None
        self._due: asyncio.Task[None] | None = None
        self.stopping = False
        self.leaving = False
        self._ending: asyncio.Task[None] | None = None
        self.used_at = asyncio.get_running_loop().time()

    # -- life ----------------------------------------------------------------------

    @classmethod
    async def activate(cls, session_id: str, folder: Path, services: Services, **outlets: Any) -> SessionActor:
        """Wake the session of ``folder``. Raises ``StoreError``."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"jupyter-agent-{session_id[-6:]}")
        opening = thread.submit(_open, folder, services)
        try:
            store, state = await asyncio.wrap_future(opening)
        except BaseException:
            opening.add_done_callback(_close_late)
            thread.shutdown(wait=False)
            raise
        actor = cls(session_id, services, store, thread, state, **outlets)
        try:
            recovery.take_up(actor)
        except Exception as error:
            # Nothing of it may be stored, and whoever comes next must find the database free.
            damaged = StoreDamaged("The session's database cannot be read.", hint=DAMAGE_HINT)
            actor.journal.drop(damaged)
            await actor.sleep()
            if isinstance(error, ODD):
                raise damaged from error
            raise
        return actor

    async def at_rest(self, within: float = 10.0) -> None:
        """Wait until no turn runs here, at most so many seconds."""
        if self._turn_task is not None:
            await asyncio.wait({self._turn_task}, timeout=within)

    @property
    def connections(self) -> dict[str, dict[str, Any]]:
        """The attachments of the views that are open now, by connection: kept by the host, so right from the start."""
        return self._views()

    @property
    def idle(self) -> bool:
        """Whether nothing happens that needs this object; awaiting the user does not."""
        return self._turn_task is None and self._inbox.idle and not self._tasks and self.journal.clean

    async def sleep(self, why: AgentError | None = None) -> None:
        """Commit, close the database, end. Whoever still asks is told ``why``. Twice is once."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._sleep(why))
        await asyncio.shield(self._ending)

    async def _sleep(self, why: AgentError | None) -> None:
        self.leaving = True
        self._inbox.stop(why)
        if self._naming is not None:
            self._naming.cancel()  # A name is worth no waiting.
        if self._due is not None:
            self._due.cancel()  # What is not done is done when the session wakes next.
        if self._turn_task is not None:
            self._turn_task.cancel()
        await asyncio.gather(*self._tasks, *filter(None, [self._turn_task]), return_exceptions=True)
        await self._inbox.stopped()
        recovery.put_down(self)
        await self.journal.close()
        self._thread.shutdown(wait=False)

    def abandon(self, why: AgentError) -> None:
        """Drop everything at once: the database refused."""
        self._inbox.stop(why)
        if self._turn_task is not None:
            self._turn_task.cancel()
        for task in self._tasks:
            task.cancel()

    def spawn(self, coroutine: Any) -> asyncio.Task[None]:
        """Run something beside the inbox; its failure is logged, never lost."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def do_due(self, clock: Clock) -> asyncio.Task[None] | None:
        """Do the jobs that are due; None while that is under way."""
        if self._due is not None and not self._due.done():
            return None
        self._due = self.spawn(jobs.run_due(self, clock))
        return self._due

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("A task of session %s failed", self.id, exc_info=task.exception())

    # -- out -----------------------------------------------------------------------

    def _out(self, events: list[Recorded]) -> None:
        limit = self.services.settings.frame_bytes
        wires, first = [recorded.wire() for recorded in events], 0
        for frame, count in frames_of(self.id, self.state.ep, wires, limit):
            self._emit(events[first : first + count], frame)
            first += count
        if any(recorded.event.tag != "part.delta" for recorded in events):
            self._changed(self, events)

    def hint(self, frame_event: Any) -> None:
        """Show something to views that follow, and to nobody later."""
        turn = self.state.turn.id if self.state.turn else None
        self._hint(transient(self.id, self.state.ep, now_ms(), frame_event, turn))

    # -- in ------------------------------------------------------------------------

    def submit(self, envelope: Envelope) -> None:
        """Take a command; reading the history waits for no other."""
        self.used_at = asyncio.get_running_loop().time()
        if isinstance(envelope.command, History):
            over = rejected(envelope.cmd_id, CLOSING)
            telling = self.spawn(self._tell_history(envelope, envelope.command))
            # Dropped before it began or in the middle, whoever asked is told.
            telling.add_done_callback(lambda task: envelope.reply(over) if task.cancelled() else None)
        else:
            self._inbox.put(envelope)

    def subscribe(self, connection: Connection, command: Subscribe) -> None:
        """Bring a view up to date: register first, read then, so that nothing falls between."""
        connection.ep = self.state.ep
        token = connection.begin_sync()
        self.spawn(self._catch_up(connection, token, command))

    async def _catch_up(self, connection: Connection, token: int, command: Subscribe) -> None:
        try:
            frames, seq = await what_was_missed(self.journal, self.id, self.state.ep, self.services.settings, command)
        except AgentError as error:
            connection.send(Error(code=error.code, message=error.message, hint=error.hint))
            connection.fail_sync(token)
        else:
            connection.end_sync(token, frames, seq)
            if self._plain_journal:
                connection.send(PLAIN_JOURNAL)

    async def _tell_history(self, envelope: Envelope, command: History) -> None:
        envelope.reply(await history_ack(self.journal, self.services.settings, envelope.cmd_id, command))

    async def page(self, before: str | None, limit: int) -> transcript.Page | None:
        """Return what comes before a message or a part; None when the cursor is neither."""
        return await page_before(self.journal, self.services.settings, before, limit)

    # -- messages and turns ----------------------------------------------------------

    def put_queue(self, items: list[QueueItem], *, paused: bool | None = None) -> None:
        """Record the queue as it is from now on; an empty one is not paused."""
        still = self.state.paused if paused is None else paused
        self.journal.record(
            QueueUpdated(items=items, paused=still and bool(items), rev=self.state.queue_rev + 1), full=True
        )

    def run_when_stored(self, error: StoreError | None) -> None:
        """Enter the turn that was just recorded."""
        if error is None:
            self.run()

    def run(self) -> None:
        """Enter the turn, for the first time or again."""
        if self._turn_task is None and self.state.turn is not None and not self.stopping and not self.leaving:
            self._turn_task = asyncio.get_running_loop().create_task(self._run())
            self._turn_task.add_done_callback(self._never_began)

    def _never_began(self, task: asyncio.Task[None]) -> None:
        """End a turn whose task was cancelled before its first line: then none of its lines ran."""
        if self._turn_task is not task:
            return
        self._turn_task = None
        if self.stopping and not self.leaving:
            self.end_turn("stopped")

    async def _run(self) -> None:
        services = self.services
        ledger = self.ledger()
        rest: Awaiting | Ended
        try:
            await self._catch_breath()
            rest = await run_turn(ledger, services.model, services.toolbox, max_steps=services.settings.max_steps)
        except asyncio.CancelledError:
            rest = self._cut_short()
        except SessionFailed:
            self._turn_task = None
            return  # The journal broke and has told everybody.
        except AgentError as error:
            fault = ModelError(error.message, code=error.code, hint=error.hint)
            rest = Ended(outcome="failed", error=fault)
        except Exception:
            log.exception("The turn of session %s failed", self.id)
            rest = Ended(outcome="failed", error=ModelError(INTERNAL, code="internal"))
        self._turn_task = None
        self.used_at = asyncio.get_running_loop().time()
        match rest:
            case Awaiting():
                self._await_or_go_on()
            case Ended(outcome=outcome, error=error):
                self.end_turn(outcome, error=error)

    def _cut_short(self) -> Ended:
        """Return how a turn ends whose task was cancelled; raise on where it ends with its server."""
        if self.stopping:
            return Ended(outcome="stopped")
        task = asyncio.current_task()
        if self.leaving or task is None or task.cancelling():
            self._turn_task = None
            raise asyncio.CancelledError  # The ledger says where to go on.
        # Something that it waited for was given up: nobody told the turn to end, and nobody would take it up.
        log.error("What the turn of session %s waited for was given up", self.id)
        return Ended(outcome="failed", error=ModelError(INTERNAL, code="internal"))

    async def _catch_breath(self) -> None:
        """Give pages time to come back, and whatever stopped the server time to pass."""
        turn = self.state.turn
        if turn is None or turn.status != "recovering":
            return
        await asyncio.sleep(self.services.settings.recovery_delay(turn.attempt))
        self.journal.record(TurnStatusChanged(status="running", attempt=turn.attempt))

    def check_wanted(self) -> None:
        """End the turn here if it was told to and the news got lost: a tool may let its cancellation pass."""
        if self.stopping or self.leaving:
            raise asyncio.CancelledError

    def seen(self) -> list[Write]:
        """Return the note that the user is here, while somebody looks: recovery asks for it."""
        if not self.connections:
            return []
        self.state.seen_at = now_ms()
        return [PutMeta(key="seen_at", value=self.state.seen_at)]

    def ledger(self) -> TurnLedger:
        """Return the live turn as the loop sees it."""
        return TurnLedger(self)

    def _await_or_go_on(self) -> None:
        """The user may have answered between the question and its rest."""
        if self.stopping:
            self.end_turn("stopped")
        elif not self.state.approvals:
            self.run()

    def end_turn(self, outcome: OutcomeKind, *, error: ModelError | None = None, resume_queue: bool = True) -> None:
        """Settle everything that is open and go on with the queue: one transaction."""
        self.stopping = False
        turn_error = None
        if error is not None:
            turn_error = TurnError(
                code=error.code,
                message=error.message,
                retryable=error.retryable,
                request_id=error.request_id,
                hint=error.hint,
            )
        ended = self.state.turn
        ending.end(self, outcome, turn_error)
        if ended is not None:
            tasks.after_turn(self, ended.id, outcome)
        queueing.after_turn(self, outcome, resume=resume_queue)
        self.put_facts()
        if naming.wanted(self, outcome):
            self._naming = self.spawn(naming.name(self))

    def put_facts(self) -> None:
        """Keep the session's own row true."""
        self.journal.record(writes=[PutSession(session=self.state.facts())])

    def stop(self, command: TurnStop) -> dict[str, Json]:
        turn = self.state.turn
        if turn is None or turn.id != command.turn:
            raise CommandRejected("This turn is not running.", code="not_running")
        if command.clear_queue and self.state.queue:
            self.put_queue([])
        still = [item.id for item in self.state.queue]
        if not self.stopping:
            self.stopping = True
            self.journal.record(TurnStatusChanged(status="stopping", attempt=turn.attempt), full=True)
            if self._turn_task is not None:
                self._turn_task.cancel()
            else:
                self.end_turn("stopped")
        return {"turn": turn.id, "still_queued": list(still)}

    async def halt(self) -> None:
        """Stop the live turn, if there is one, and wait until it has come to rest. Raises ``SessionFailed``."""
        if self.state.start_next is not None:
            queueing.want(self, None)
        while (turn := self.state.turn) is not None:
            self.stop(TurnStop(turn=turn.id))
            if self._turn_task is not None:
                await asyncio.wait([self._turn_task])
            await self.journal.committed()

    # -- the session's own facts -------------------------------------------------------

    def change(self, patch: dict[str, Json], if_rev: int | None, *, by: str, road: Road) -> None:
        """Change what the user wants changed. Raises ``CommandRejected`` when ``if_rev`` is stale."""
        if if_rev is not None and if_rev != self.state.session.rev:
            raise CommandRejected("The session has changed meanwhile.", code="stale")
        self.patch(patch)
        if "notebook_path" in patch:
            self.state.root = self.services.workspace.root
            self.journal.record(writes=[PutMeta(key="root", value=self.state.root)])
        if "title" in patch:
            self.journal.record(writes=[naming.titled(self.state, "user")])
        if patch.get("mode") == "build":
            tasks.leave_plan(self)
        if patch.get("mode") == "plan":
            approvals.deny_writes(self, by=by, road=road)

    def patch(self, patch: dict[str, Json]) -> None:
        """Change facts of the session; only what really changes is recorded."""
        session = self.state.session
        real = {name: value for name, value in patch.items() if getattr(session, name) != value}
        if real:
            self.journal.record(SessionUpdated(patch=real, rev=session.rev + 1), full=True)
            self.put_facts()


def _open(folder: Path, services: Services) -> tuple[SessionStore, State]:
    """Own the session and read its state, on the session's thread: a live turn may be a long one."""
    store, loaded = SessionStore.wake(folder, services.server, services.profile)
    try:
        return store, State.of(loaded)
    except ODD as error:
        store.close()
        raise StoreDamaged("The session's database cannot be read.", hint=DAMAGE_HINT) from error
    except BaseException:
        store.close()
        raise


def _close_late(opening: Future[tuple[SessionStore, State]]) -> None:
    """Let go of a database that opened when nobody waited for it any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].close()
