"""``SessionHost``: finds a session by its id, wakes it once, lets it sleep again.

::

    receive(connection, frame)          hello, ping: answered here, nobody wakes
            │
            ▼
    get(id): cold ──► waking (one task, however many ask) ──► live ── idle_s without work ──► asleep
                        │ fails: the callers are told, the next command tries again             │
                        └──────────────────────────────────────────────────────────────── get ◄─┘

One host a server; one actor a session; no lock or thread is shared between
two sessions but the index's, which only lists wait for.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from ..agent.model import Model
from ..errors import (
    AgentError,
    CommandRejected,
    ProtocolError,
    SessionFailed,
    SessionNotFound,
    StoreError,
    UnknownCommand,
)
from ..notebook.ports import Workspace
from ..protocol import codec
from ..protocol.commands import Command, Hello, Ping, Subscribe
from ..protocol.content import Json, Limits, Message, Mode, Road, Session
from ..protocol.events import Ack, Error, Hb, Pong, SessionDeleted, Welcome
from ..protocol.frames import VERSION, transient
from ..protocol.ids import is_session_id, new_id, now_ms
from ..protocol.plain import to_plain
from ..settings import Settings
from ..store.index import SessionIndex, State
from ..store.owning import Server
from ..store.store import BLOBS, SessionStore, as_store_error
from ..tools.toolbox import Toolbox
from . import jobs, looking
from .actor import Services, SessionActor
from .alarms import Alarms
from .clock import Clock, WallClock
from .connection import Connection, Guard, Sink
from .handing_over import let_go_if_asked, take_over
from .inbox import Envelope, rejected
from .room import Room

log = logging.getLogger(__name__)
T = TypeVar("T")

FEATURES = ["history", "queue", "approvals", "tasks", "attachments"]
_HEARTBEAT_LINGER_S = 60.0
_LATER_MS = 60_000
"""When to try again to wake a session that has something due and did not wake."""


class SessionHost:
    """See the module. All methods belong to one event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        workspace: Workspace,
        model: Model,
        toolbox: Toolbox,
        version: str = "",
        clock: Clock | None = None,
        server: Server | None = None,
    ) -> None:
        self.settings = settings
        self.version = version
        self.server = server or Server()
        self._services = Services(
            settings=settings, workspace=workspace, model=model, toolbox=toolbox, server=self.server
        )
        self._sessions_dir = settings.data_dir / "sessions"
        self.alarms = Alarms(clock or WallClock(), self._ring)
        self._rooms: dict[str, Room] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._index: SessionIndex | None = None
        self._index_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jupyter-agent-index")
        self._for_notebook = asyncio.Lock()
        self._few = asyncio.Semaphore(settings.wake_at_once)
        self._closing = False
        self._sweeper: asyncio.Task[None] | None = None

    # -- the index ---------------------------------------------------------------------

    async def _indexed(self, question: Callable[[SessionIndex], T]) -> T:
        def ask() -> T:
            try:
                if self._index is None:
                    self._index = SessionIndex.open(self._sessions_dir)
                    self._index.reconcile()
                return question(self._index)
            except sqlite3.Error as error:
                if self._index is not None:
                    self._index.close()
                    self._index = None  # Opened anew, or made anew, for the next question.
                raise as_store_error(error) from error

        return await asyncio.get_running_loop().run_in_executor(self._index_thread, ask)

    def _changed(self, actor: SessionActor) -> None:
        facts, due_at = to_plain(actor.state.facts()), jobs.next_due(actor.state.jobs)

        def put(index: SessionIndex) -> None:
            index.put(facts)
            index.set_alarm(actor.id, due_at)

        self.alarms.set(actor.id, due_at)
        self._spawn(self._indexed(put))

    # -- alarms ------------------------------------------------------------------------

    def start(self) -> None:
        """Take up what is due, now or later."""
        self._spawn(self._take_up_alarms())

    async def _take_up_alarms(self) -> None:
        for session_id, due_at in (await self._indexed(lambda index: index.alarms())).items():
            if self.alarms.due(session_id) is None:
                self.alarms.set(session_id, due_at)

    def _ring(self, session_id: str) -> None:
        self._spawn(self._run_due(session_id))

    async def _run_due(self, session_id: str) -> None:
        """Do what is due in a session, waking it if it sleeps."""
        try:
            async with self._few:
                actor = await self.get(session_id)
        except SessionNotFound:
            return
        except AgentError as error:
            log.warning("Session %s could not be woken for what is due: %s", session_id, error.message)
            self.alarms.set(session_id, self.alarms.clock.now_ms() + _LATER_MS)
            return
        await actor.spawn(jobs.run_due(actor, self.alarms.clock.now_ms()))
        if actor.state.jobs and self.alarms.due(session_id) is None:
            self.alarms.set(session_id, jobs.next_due(actor.state.jobs))

    # -- sessions ------------------------------------------------------------------------

    def exists(self, session_id: str) -> bool:
        """Tell whether there is such a session; wakes nobody."""
        return is_session_id(session_id) and (self._sessions_dir / session_id).is_dir()

    async def create(
        self,
        *,
        title: str = "",
        mode: Mode | None = None,
        model: str | None = None,
        notebook_path: str | None = None,
    ) -> Session:
        """Make a session. Raises ``StoreError``."""
        now = now_ms()
        session = Session(
            id=new_id("ses"),
            title=title,
            mode=mode or ("plan" if self.settings.mode == "plan" else "build"),
            model=model or self.settings.model,
            notebook_path=notebook_path,
            created_at=now,
            updated_at=now,
        )
        folder = self._sessions_dir / session.id
        await asyncio.to_thread(lambda: SessionStore.create(folder, session, profile=self._services.profile).close())
        facts = to_plain(session)
        await self._indexed(lambda index: index.put(facts))
        return session

    async def for_notebook(self, path: str) -> Session:
        """Return the notebook's newest active session, or a new one."""
        async with self._for_notebook:
            found = await self._indexed(lambda index: index.newest_of_notebook(path))
            if found is not None and self.exists(found):
                return await self.session(found)
            return await self.create(notebook_path=path)

    async def list_sessions(
        self, state: State = "active", q: str = "", limit: int = 25, before: str | None = None
    ) -> tuple[list[Session], bool]:
        """Return ``(sessions newest first, has_more)``. Raises ``CommandRejected`` for an unknown cursor."""
        found = await self._indexed(lambda index: index.list(state=state, q=q, limit=limit, before=before))
        if found is None:
            raise CommandRejected("There is no such session to go on from.", code="unknown_cursor")
        rows, more = found
        return [self._now(codec.decode_session(row)) for row in rows], more

    def _now(self, session: Session) -> Session:
        room = self._rooms.get(session.id)
        return room.actor.state.facts() if room is not None and room.actor is not None else session

    async def session(self, session_id: str) -> Session:
        """Return a session's facts, also of one that can only be looked at. Raises ``SessionNotFound``."""
        try:
            return (await self.get(session_id)).state.facts()
        except looking.ONLY_LOOK as why:
            return await looking.Onlooker(self._sessions_dir / session_id, why).facts()

    async def take_over(self, session_id: str) -> Session:
        """Own a session that another server has. Raises ``StoreLocked`` when that does not let go."""
        self._check(session_id)
        return (await take_over(self, session_id, self._sessions_dir / session_id)).state.facts()

    async def update(self, session_id: str, patch: dict[str, Json], if_rev: int | None = None) -> Session:
        """Change title, mode, model, notebook_path or archived_at. Raises ``CommandRejected`` when stale."""
        actor = await self.get(session_id)
        if if_rev is not None and if_rev != actor.state.session.rev:
            raise CommandRejected("The session has changed meanwhile.", code="stale")
        actor.patch(patch)
        await actor.journal.committed()
        facts = actor.state.facts()
        plain = to_plain(facts)
        await self._indexed(lambda index: index.put(plain))
        return facts

    async def delete(self, session_id: str) -> None:
        """Delete a session for good; its views are told. Raises ``SessionNotFound``."""
        self._check(session_id)
        room = self._rooms.get(session_id) or self.room(session_id)
        async with room.lock:
            if room.actor is not None:
                actor, room.actor = room.actor, None
                await actor.sleep(SessionNotFound("The session was deleted."))
            await asyncio.to_thread(SessionStore.remove, self._sessions_dir / session_id)
        await self._indexed(lambda index: index.remove(session_id))
        for connection in list(room.connections):
            connection.send(SessionDeleted())
        self._rooms.pop(session_id, None)

    async def messages(self, session_id: str, before: str | None = None, limit: int = 25) -> tuple[list[Message], bool]:
        """Return ``(messages oldest first, has_more)``. Raises ``CommandRejected`` for an unknown cursor."""
        try:
            page = await (await self.get(session_id)).page(before, limit)
            found = None if page is None else ([codec.decode_message(row) for row in page[0]], page[1])
        except looking.ONLY_LOOK as why:
            onlooker = looking.Onlooker(self._sessions_dir / session_id, why)
            found = await onlooker.messages(before, limit, self.settings.page_bytes * 4)
        if found is None:
            raise CommandRejected("There is no such message in this session.", code="unknown_cursor")
        return found

    def blobs(self, session_id: str) -> Any:
        """Return the folder of a session's attachments. Raises ``SessionNotFound``."""
        self._check(session_id)
        return self._sessions_dir / session_id / BLOBS

    # -- waking and sleeping ---------------------------------------------------------------

    def _check(self, session_id: str) -> None:
        if not self.exists(session_id):
            raise SessionNotFound("There is no such session.")

    def room(self, session_id: str) -> Room:
        """Return the session's place."""
        return self._rooms.setdefault(session_id, Room(session_id))

    async def get(self, session_id: str) -> SessionActor:
        """Return the session's actor, waking it once however many ask. Raises ``SessionError``, ``StoreError``."""
        self._check(session_id)
        if self._closing:
            raise SessionFailed("The server is shutting down.", code="closing")
        room = self.room(session_id)
        if room.actor is not None:
            return room.actor
        if room.waking is None:
            room.waking = self._spawn(self._wake(room))
        # Shielded: one caller that gives up must not take the session from the others.
        return await asyncio.shield(room.waking)

    async def _wake(self, room: Room) -> SessionActor:
        try:
            async with room.lock, asyncio.timeout(self.settings.activate_timeout_s):
                self._check(room.session_id)
                actor = await SessionActor.activate(
                    room.session_id,
                    self._sessions_dir / room.session_id,
                    self._services,
                    emit=room.emit,
                    hint=room.hint,
                    changed=self._changed,
                    failed=partial(self._failed, room),
                )
                room.actor, room.seq, room.ep = actor, actor.state.seq, actor.state.ep
                room.only_look = None
                self._keep_sweeping()
                return actor
        except TimeoutError:
            raise SessionFailed("The session's database did not open in time.", hint="Try again.") from None
        except looking.ONLY_LOOK as why:
            room.only_look = why
            raise
        finally:
            room.waking = None

    def why_only_look(self, session_id: str) -> AgentError | None:
        """Return why a session could only be shown when it was last asked for."""
        room = self._rooms.get(session_id)
        return room.only_look if room is not None and room.actor is None else None

    def _failed(self, room: Room, actor: SessionActor, error: StoreError) -> None:
        """A commit failed: the state in memory is not to be trusted any more."""
        log.error("Session %s could not be stored: %s", room.session_id, error.message)
        if room.actor is actor:
            room.actor = None
        actor.abandon(error)
        self._spawn(self._bury(room, actor))
        for connection in list(room.connections):
            connection.send(Error(code=error.code, message=error.message, hint=error.hint))
            connection.resync("gap")

    async def _bury(self, room: Room, actor: SessionActor) -> None:
        async with room.lock:
            await actor.sleep()

    def _keep_sweeping(self) -> None:
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = self._spawn(self._sweep())

    async def _sweep(self) -> None:
        """Put idle sessions to sleep and send heartbeats, as long as somebody is awake."""
        loop = asyncio.get_running_loop()
        beat_at: dict[str, float] = {}
        pause = min(1.0, self.settings.idle_s / 4, self.settings.heartbeat_s / 4)
        while any(room.actor is not None for room in self._rooms.values()):
            await asyncio.sleep(pause)
            for room in list(self._rooms.values()):
                actor = room.actor
                if actor is None:
                    self._forget(room)
                    continue
                self._beat(room, actor, beat_at)
                if room.looking_out is None or room.looking_out.done():
                    room.looking_out = self._spawn(let_go_if_asked(room, actor))
                if actor.idle and loop.time() - actor.used_at >= self.settings.idle_s:
                    await self._put_to_sleep(room, actor)

    def _beat(self, room: Room, actor: SessionActor, beat_at: dict[str, float]) -> None:
        now = asyncio.get_running_loop().time()
        if now - beat_at.get(room.session_id, 0.0) < self.settings.heartbeat_s:
            return
        if actor.state.turn is not None or now - actor.used_at < _HEARTBEAT_LINGER_S:
            beat_at[room.session_id] = now
            room.hint(transient(room.session_id, room.ep, now_ms(), Hb(seq=room.seq)))

    async def _put_to_sleep(self, room: Room, actor: SessionActor) -> None:
        async with room.lock:
            if room.actor is actor and actor.idle:
                room.actor = None  # A command that comes now waits for the lock, and wakes it anew.
                await actor.sleep()
        self._forget(room)

    def _forget(self, room: Room) -> None:
        if room.actor is None and room.waking is None and not room.connections and not room.lock.locked():
            self._rooms.pop(room.session_id, None)

    async def close(self) -> None:
        """Put every session to sleep; a running turn stays in the ledger."""
        self._closing = True
        self.alarms.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for room in list(self._rooms.values()):
            async with room.lock:
                if room.actor is not None:
                    actor, room.actor = room.actor, None
                    await actor.sleep()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._index is not None:
            await asyncio.get_running_loop().run_in_executor(self._index_thread, self._index.close)
        self._index_thread.shutdown(wait=False)

    def _spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, AgentError):
            log.error("A task of the session host failed", exc_info=error)

    # -- views and commands ------------------------------------------------------------------

    def connect(
        self,
        session_id: str,
        sink: Sink,
        *,
        user: str,
        road: Road,
        guard: Guard | None = None,
        backlog: Callable[[], int] | None = None,
    ) -> Connection:
        """Open a view. Raises ``SessionNotFound``."""
        self._check(session_id)
        connection = Connection(self, session_id, sink, user=user, road=road, guard=guard, backlog=backlog)
        room = self.room(session_id)
        connection.ep = room.ep
        room.connections.add(connection)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """The view is gone; the session goes on."""
        room = self._rooms.get(connection.session_id)
        if room is not None:
            room.connections.discard(connection)
            self._forget(room)

    def receive(self, connection: Connection, raw: str | bytes | dict[str, Any]) -> None:
        """Take a frame of a view; see ``Connection.receive``."""
        try:
            cmd_id, command = codec.decode_command(raw)
        except UnknownCommand as error:
            connection.ack(rejected(error.cmd_id, error))
            return
        except ProtocolError as error:
            connection.send(Error(code=error.code, message=error.message, hint=error.hint))
            return
        match command:
            case Hello():
                self._welcome(connection, command)
            case Ping():
                connection.send(Pong())
            case _:
                self._pass_on(connection, cmd_id, command)

    def _welcome(self, connection: Connection, hello: Hello) -> None:
        if VERSION not in hello.protocol:
            connection.send(
                Error(
                    code="version",
                    message=f"This server speaks protocol {VERSION}; the view offers {hello.protocol}.",
                    hint="Install the same jupyter-agent-panel in the notebook's and the server's environment.",
                )
            )
            return
        limits = Limits(
            frame_bytes=self.settings.frame_bytes,
            page=self.settings.page,
            attachment_bytes=self.settings.attachment_bytes,
        )
        features = [*FEATURES, f"model:{self._services.model.kind}"]
        connection.send(
            Welcome(
                protocol=VERSION,
                server=f"jupyter-agent-panel/{self.version}",
                features=features,
                limits=limits,
                user=connection.user,
            )
        )

    def _pass_on(self, connection: Connection, cmd_id: str, command: Command) -> None:
        forbidden = connection.forbids(command)
        if forbidden is not None:
            connection.ack(Ack(cmd_id=cmd_id, status="rejected", error=forbidden))
            return
        room = self._rooms.get(connection.session_id)
        if room is not None and room.actor is not None:
            self._deliver(room.actor, connection, cmd_id, command)
        else:
            self._spawn(self._wake_and_deliver(connection, cmd_id, command))

    async def _wake_and_deliver(self, connection: Connection, cmd_id: str, command: Command) -> None:
        try:
            actor = await self.get(connection.session_id)
        except AgentError as error:
            folder = self._sessions_dir / connection.session_id
            await looking.answer(connection, cmd_id, command, folder=folder, settings=self.settings, why=error)
            return
        self._deliver(actor, connection, cmd_id, command)

    def _deliver(self, actor: SessionActor, connection: Connection, cmd_id: str, command: Command) -> None:
        connection.ep = actor.state.ep
        if isinstance(command, Subscribe):
            actor.subscribe(connection, command)
            return
        actor.submit(
            Envelope(cmd_id=cmd_id, command=command, user=connection.user, road=connection.road, reply=connection.ack)
        )

    async def command(self, session_id: str, raw: dict[str, Any], *, user: str, road: Road = "rest") -> dict[str, Any]:
        """Take one command without a connection; return its ack's ``d``. Raises ``AgentError``."""
        try:
            cmd_id, command = codec.decode_command(raw)
        except UnknownCommand as error:
            return to_plain(rejected(error.cmd_id, error))
        if isinstance(command, Hello | Ping | Subscribe):
            raise ProtocolError(f"{command.tag} needs a connection.", code="needs_connection")
        done: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()

        def reply(ack: Ack) -> None:
            if not done.done():
                done.set_result(ack)

        (await self.get(session_id)).submit(Envelope(cmd_id=cmd_id, command=command, user=user, road=road, reply=reply))
        return to_plain(await done)
