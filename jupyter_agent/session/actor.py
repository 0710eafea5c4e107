"""``SessionActor``: one awake session.

::

                        ┌── message.send (idle) ──► running ──── asks the user ───► awaiting ──┐
     idle ──────────────┤                            ▲   │                             │       │
      ▲                 └── queue (on turn end) ─────┘   │   ◄──── approval.answer ─────┘       │
      │                                                  │                                     │
      │       turn.stop: stopping ◄──────────────────────┤                    turn.stop ───────┤
      │            │                                     │                                     │
      └── turn.ended, once, settles all ◄────────────────┴─────────────────────────────────────┘

Commands are taken one at a time from the inbox. Each is a plain function of
``State``: it decides, records, and returns; nothing is awaited between looking
and recording. The turn itself is one task around ``agent.loop.run_turn``.
Asleep, a session is its database; this object is made by ``activate`` and
dropped by the host when it has been idle for a while, also while it awaits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..agent.loop import Awaiting, Ended, run_turn
from ..agent.model import Model
from ..errors import AgentError, CommandRejected, ModelError, SessionFailed, StoreError
from ..notebook.ports import Workspace
from ..protocol.commands import (
    ApprovalAnswer,
    Command,
    Hello,
    History,
    MessageSend,
    Ping,
    QueueEdit,
    QueueRemove,
    QueueReorder,
    QueueResume,
    QueueSendNow,
    SessionClear,
    SessionFork,
    SessionRewind,
    SessionSet,
    Subscribe,
    TaskCreate,
    TaskRun,
    TaskUpdate,
    TurnContinue,
    TurnRetry,
    TurnStop,
)
from ..protocol.content import Json, Message, Mode, OutcomeKind, QueueItem, Road, Session, Trigger, Turn, TurnError
from ..protocol.cut import frames_of
from ..protocol.events import (
    Ack,
    Error,
    MessageAdded,
    Notice,
    QueueUpdated,
    SessionUpdated,
    TurnStarted,
    TurnStatusChanged,
)
from ..protocol.frames import Frame, Recorded, transient
from ..protocol.ids import new_id, now_ms
from ..protocol.plain import to_plain
from ..settings import Settings
from ..store import reading
from ..store.owning import Server
from ..store.profile import Profile, profile_of
from ..store.rules import RuleBook
from ..store.store import SessionStore
from ..store.writes import PutBlocks, PutMeta, PutSession, Write
from ..tools.toolbox import Toolbox
from . import approvals, branches, ending, queueing, recovery, tasks
from .catching_up import what_was_missed
from .connection import Connection
from .inbox import Envelope, Inbox, rejected
from .journal import Journal
from .large import cut_message, is_long, keep_texts, queued_room, shown_room
from .ledger import TurnLedger
from .said import CUT_FILE, parts_of, reads_cut, said_to_model, title_of
from .state import State

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What every session of a server shares."""

    settings: Settings
    workspace: Workspace
    model: Model
    toolbox: Toolbox
    server: Server
    rules: RuleBook

    @property
    def profile(self) -> Profile:
        """How databases are opened where the sessions are."""
        return profile_of(self.settings.data_dir, self.settings.storage)


class SessionActor:
    """See the module. ``activate`` makes one; ``sleep`` ends it."""

    def __init__(
        self,
        session_id: str,
        services: Services,
        store: SessionStore,
        thread: ThreadPoolExecutor,
        loaded: reading.Loaded,
        *,
        emit: Callable[[list[Recorded], Frame], None],
        hint: Callable[[Frame], None],
        changed: Callable[[SessionActor, list[Recorded]], None],
        failed: Callable[[SessionActor, StoreError], None],
        fork: Callable[[SessionActor, str, str | None], Awaitable[Session]],
        watched: Callable[[], bool] = lambda: False,
    ) -> None:
        self.id = session_id
        self.services = services
        self.state = State.of(loaded)
        self._thread = thread
        self._emit = emit
        self._hint = hint
        self._changed = changed
        self._watched = watched
        self.fork = fork
        self.journal = Journal(
            store,
            thread,
            self.state,
            services.settings,
            emit=self._out,
            alarmed=lambda: changed(self, []),
            failed=lambda error: failed(self, error),
        )
        self.folder = store.folder
        self._inbox = Inbox(session_id, self.journal, self._decide)
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn_task: asyncio.Task[None] | None = None
        self.stopping = False
        self.leaving = False
        self.used_at = asyncio.get_running_loop().time()

    # -- life ----------------------------------------------------------------------

    @classmethod
    async def activate(cls, session_id: str, folder: Path, services: Services, **outlets: Any) -> SessionActor:
        """Wake the session of ``folder``. Raises ``StoreError``."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"jupyter-agent-{session_id[-6:]}")
        loop = asyncio.get_running_loop()
        try:
            store, loaded = await loop.run_in_executor(
                thread, SessionStore.wake, folder, services.server, services.profile
            )
        except BaseException:
            thread.shutdown(wait=False)
            raise
        actor = cls(session_id, services, store, thread, loaded, **outlets)
        recovery.take_up(actor)
        return actor

    async def at_rest(self, within: float = 10.0) -> None:
        """Wait until no turn runs here, at most so many seconds."""
        if self._turn_task is not None:
            await asyncio.wait({self._turn_task}, timeout=within)

    @property
    def message_room(self) -> int:
        """How many bytes a message has on the wire."""
        return self.services.settings.message_room

    @property
    def idle(self) -> bool:
        """Whether nothing happens that needs this object; awaiting the user does not."""
        return self._turn_task is None and self._inbox.idle and not self._tasks and self.journal.clean

    async def sleep(self, why: AgentError | None = None) -> None:
        """Commit, close the database, end. Whoever still asks is told ``why``."""
        self.leaving = True
        self._inbox.stop(why)
        if self._turn_task is not None:
            self._turn_task.cancel()
        await asyncio.gather(*self._tasks, *filter(None, [self._turn_task]), return_exceptions=True)
        await self._inbox.stopped()
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
        if any(not recorded.event.tag.startswith("part.") for recorded in events):
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
            self.spawn(self._tell_history(envelope, envelope.command))
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
        else:
            connection.end_sync(token, frames, seq)

    async def _decide(self, envelope: Envelope) -> dict[str, Json]:
        """Read what the command brings, then decide. Raises ``AgentError``."""
        command, settings = envelope.command, self.services.settings
        if isinstance(command, branches.BranchCommand):
            return await branches.handle(self, command, envelope.cmd_id, user=envelope.user)
        if isinstance(command, MessageSend | QueueEdit) and is_long(command.parts, settings):
            await asyncio.to_thread(keep_texts, self.folder, command.parts, settings)
        said = await self._said(command)
        if isinstance(command, ApprovalAnswer):
            await approvals.keep_rule(self, command, by=envelope.user, road=envelope.road)
        return self._handle(envelope, said)

    async def _said(self, command: Command) -> list[dict[str, Any]]:
        """Return what a message says as the blocks the model gets; its files are read."""
        if isinstance(command, MessageSend) and any(part.type == "file" for part in command.parts):
            return await asyncio.to_thread(said_to_model, self.folder, command.parts)
        if isinstance(command, MessageSend):
            return said_to_model(self.folder, command.parts)
        return []

    def _handle(self, envelope: Envelope, said: list[dict[str, Any]]) -> dict[str, Json]:
        """Decide and record; nothing is awaited in here. Raises ``CommandRejected``."""
        match envelope.command:
            case MessageSend() as command:
                return self._send(command, said, by=envelope.user, road=envelope.road)
            case TurnStop() as command:
                return self.stop(command)
            case ApprovalAnswer() as command:
                return approvals.answer(self, command, by=envelope.user, road=envelope.road)
            case SessionSet() as command:
                return self._set(command, by=envelope.user, road=envelope.road)
            case QueueEdit() | QueueRemove() | QueueReorder() | QueueSendNow() | QueueResume() as command:
                return queueing.handle(self, command, by=envelope.user)
            case TurnContinue() as command:
                return recovery.go_on(self, command, user=envelope.user)
            case TaskCreate() | TaskUpdate() | TaskRun() as command:
                return tasks.handle(self, command, user=envelope.user)
            case SessionClear() | SessionRewind() | SessionFork() | TurnRetry():
                return {}  # ``_decide`` has taken these.
            case Hello() | Ping() | Subscribe() | History():
                return {}  # The host and ``submit`` have answered these.

    async def _tell_history(self, envelope: Envelope, command: History) -> None:
        try:
            found = await self.page(command.before, min(max(command.limit, 1), 200))
        except AgentError as error:
            envelope.reply(rejected(envelope.cmd_id, error))
            return
        if found is None:
            unknown = CommandRejected("There is no such message in this session.", code="unknown_cursor")
            envelope.reply(rejected(envelope.cmd_id, unknown))
            return
        messages, has_more = found
        before = messages[0]["id"] if messages and has_more else None
        result: dict[str, Json] = {"messages": messages, "has_more": has_more, "before": before}
        envelope.reply(Ack(cmd_id=envelope.cmd_id, status="accepted", result=result))

    async def page(self, before: str | None, limit: int) -> tuple[list[dict[str, Any]], bool] | None:
        """Return ``(messages, has_more)`` before a message; None when that is not one."""
        settings = self.services.settings
        size = min(settings.page_bytes * 4, settings.frame_bytes * 3 // 4)
        messages, more = await self.journal.read(
            lambda store: reading.page_of(
                store.db.conn, before=before, limit=limit, limit_bytes=size, message_bytes=settings.message_room
            )
        )
        return None if messages is None else (messages, more)

    # -- messages and turns ----------------------------------------------------------

    def _send(self, command: MessageSend, said: list[dict[str, Any]], *, by: str, road: Road) -> dict[str, Json]:
        state = self.state
        if command.if_mode is not None and command.if_mode != state.session.mode:
            raise CommandRejected(f"The session is in {state.session.mode} mode now.", code="mode_mismatch")
        if not said:
            raise CommandRejected("The message is empty.", code="empty")
        if command.deny_pending and state.approvals:
            return approvals.say_instead(self, command, said, by=by, road=road)
        busy = state.turn is not None or bool(state.queue)
        if not busy:
            room = shown_room(self.services.settings, command.parts)
            self.start_turn("user", command.id, parts_of(command.parts, room), said, user=by)
            assert state.turn is not None
            return {"message_id": command.id, "turn": state.turn.id, "queue_id": None, "paused": False}
        if command.when_busy == "reject":
            raise CommandRejected(
                "A turn is running.", code="busy", hint="Wait for it, stop it, or let the message queue."
            )
        item = QueueItem(
            id=new_id("que"),
            message_id=command.id,
            parts=parts_of(command.parts, queued_room(self.services.settings, command.parts)),
            when_busy=command.when_busy,
            created_at=now_ms(),
            user=by,
        )
        items = queueing.placed(state.queue, item)
        queueing.check_room(items, self.services.settings)
        self.put_queue(items)
        return {"message_id": command.id, "turn": None, "queue_id": item.id, "paused": state.paused}

    def put_queue(self, items: list[QueueItem], *, paused: bool | None = None) -> None:
        """Record the queue as it is from now on; an empty one is not paused."""
        still = self.state.paused if paused is None else paused
        self.journal.record(
            QueueUpdated(items=items, paused=still and bool(items), rev=self.state.queue_rev + 1), full=True
        )

    def start_turn(
        self,
        trigger: Trigger,
        message_id: str,
        parts: list[Any],
        said: list[dict[str, Any]],
        *,
        user: str,
        mode: Mode | None = None,
        lines: Sequence[str] = (),
    ) -> None:
        """Record the message and its turn; the model is asked when that is on disk.

        ``mode``: the turn's own, if not the session's. ``lines``: what else the model should know of it.
        """
        state, now = self.state, now_ms()
        turn_id = new_id("trn")
        turn = Turn(
            id=turn_id,
            trigger=trigger,
            message_id=new_id("msg"),
            mode=mode or state.session.mode,
            started_at=now,
            user=user,
        )
        said_by_user = cut_message(
            Message(
                id=message_id,
                role="user",
                status="complete",
                turn_id=turn_id,
                parent_id=state.head,
                created_at=now,
                parts=parts,
            ),
            self.message_room,
        )
        answer = Message(
            id=turn.message_id,
            role="assistant",
            status="streaming",
            turn_id=turn_id,
            parent_id=message_id,
            created_at=now,
        )
        note = {"type": "text", "text": self.note(turn.mode, lines)}
        blocks = PutBlocks(turn_id=turn_id, step=0, ord=0, role="user", content=[*said, note])
        events: list[Any] = [MessageAdded(message=said_by_user), TurnStarted(turn=turn), MessageAdded(message=answer)]
        if not state.session.title and (title := title_of(parts)):
            events.append(SessionUpdated(patch={"title": title}, rev=state.session.rev + 1))
        if reads_cut(said):
            events.append(Notice(level="warning", code="attachment_cut", text=CUT_FILE))
        self.journal.record(*events, writes=[blocks], full=True, then=self.run_when_stored)
        self.put_facts()

    def note(self, mode: Mode, more: Sequence[str] = ()) -> str:
        """What the model should know of now. It trails the message and is never edited later."""
        state = self.state
        lines = [f"Mode: {mode.capitalize()}.", *more]
        if state.session.notebook_path:
            lines.append(f"Notebook: {state.session.notebook_path}")
        last = state.last_outcome
        if last is None or state.head not in last.message_ids:
            pass  # It is not what this message follows.
        elif last.outcome == "stopped":
            lines.append("The user stopped the previous reply where it ends.")
        elif last.outcome in ("failed", "interrupted"):
            lines.append("The previous reply broke off where it ends.")
        return "<context>\n" + "\n".join(lines) + "\n</context>"

    def run_when_stored(self, error: StoreError | None) -> None:
        """Enter the turn that was just recorded."""
        if error is None:
            self.run()

    def run(self) -> None:
        """Enter the turn, for the first time or again."""
        if self._turn_task is None and self.state.turn is not None and not self.stopping:
            self._turn_task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        services = self.services
        ledger = self.ledger()
        rest: Awaiting | Ended
        try:
            await self._catch_breath()
            rest = await run_turn(ledger, services.model, services.toolbox, max_steps=services.settings.max_steps)
        except asyncio.CancelledError:
            if not self.stopping:
                self._turn_task = None
                raise  # The server goes; the ledger says where to go on.
            rest = Ended(outcome="stopped")
        except SessionFailed:
            self._turn_task = None
            return  # The journal broke and has told everybody.
        except Exception:
            log.exception("The turn of session %s failed", self.id)
            fault = ModelError("Something went wrong inside the agent; the server's log says what.", code="internal")
            rest = Ended(outcome="failed", error=fault)
        self._turn_task = None
        self.used_at = asyncio.get_running_loop().time()
        match rest:
            case Awaiting():
                self._await_or_go_on()
            case Ended(outcome=outcome, error=error):
                self.end_turn(outcome, error=error)

    async def _catch_breath(self) -> None:
        """Give pages time to come back, and whatever stopped the server time to pass."""
        turn = self.state.turn
        if turn is None or turn.status != "recovering":
            return
        await asyncio.sleep(self.services.settings.recovery_delay(turn.attempt))
        self.journal.record(TurnStatusChanged(status="running", attempt=turn.attempt))

    def seen(self) -> list[Write]:
        """Return the note that the user is here, while somebody looks: recovery asks for it."""
        if not self._watched():
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

    def _set(self, command: SessionSet, *, by: str, road: Road) -> dict[str, Json]:
        wanted = {"mode": command.mode, "model": command.model, "title": command.title}
        patch: dict[str, Json] = {name: value for name, value in wanted.items() if value is not None}
        self.change(patch, command.if_rev, by=by, road=road)
        return to_plain(self.state.facts())

    def change(self, patch: dict[str, Json], if_rev: int | None, *, by: str, road: Road) -> None:
        """Change what the user wants changed. Raises ``CommandRejected`` when ``if_rev`` is stale."""
        if if_rev is not None and if_rev != self.state.session.rev:
            raise CommandRejected("The session has changed meanwhile.", code="stale")
        self.patch(patch)
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
