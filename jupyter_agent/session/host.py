"""``SessionHost``: finds a session by its id, wakes it once, lets it sleep again.

::

    get(id): cold ──► waking (one task, however many ask) ──► live ── idle_s without work ──► asleep
                        │ fails: the callers are told, the next command tries again             │
                        └──────────────────────────────────────────────────────────────── get ◄─┘

One host a server; one actor a session; no lock or thread is shared between
two sessions but the index's, which only lists wait for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ..agent.model import Model
from ..errors import (
    AgentError,
    SessionFailed,
    SessionNotFound,
    StoreDamaged,
    StoreError,
)
from ..notebook.ports import Workspace
from ..protocol.content import Session
from ..protocol.events import Error
from ..protocol.frames import Recorded
from ..settings import Settings
from ..store.marks import marked, unmark
from ..store.owning import Server
from ..store.profile import Profile, profile_of
from ..store.rules import RuleBook
from ..store.snapshots import Snapshot, listed
from ..tools.toolbox import Toolbox
from . import jobs, looking, recovery, safekeeping
from .actor import SessionActor
from .alarms import Alarms
from .clock import Clock, WallClock
from .handing_over import let_go_if_asked, take_over
from .heartbeat import Heart
from .housekeeping import Housekeeping
from .library import Library
from .reception import Reception
from .room import Room
from .services import Services

log = logging.getLogger(__name__)

_LATER_MS = 60_000
"""When to try again to wake a session that did not wake, or went away: something is due or unfinished in it."""
_UNFINISHED = "unfinished"
"""The alarm for what ought to be woken, and could not be."""


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
        self.profile: Profile = profile_of(settings.data_dir, settings.storage)
        self.root = workspace.root
        self.rules = RuleBook(settings.data_dir, self.profile, root=self.root)
        self._services = Services(
            settings=settings, workspace=workspace, model=model, toolbox=toolbox, server=self.server, rules=self.rules
        )
        self.alarms = Alarms(clock or WallClock(), self._ring, self._clock_went_back)
        self._rooms: dict[str, Room] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._few = asyncio.Semaphore(settings.wake_at_once)
        self._closing = False
        self._sweeper: asyncio.Task[None] | None = None
        self._heart = Heart(self._rooms, settings, self._spawn)
        self.library = library = Library(self, self.profile)
        reception = Reception(self, model, self._spawn)
        self.housekeeping = Housekeeping(self)
        # What whoever embeds us asks most, without the detour.
        self.connect, self.disconnect = reception.connect, reception.disconnect
        self.receive, self.command = reception.receive, reception.command
        self.create, self.for_notebook, self.list_sessions = (
            library.create,
            library.for_notebook,
            library.list_sessions,
        )
        self.session, self.messages, self.blobs = library.session, library.messages, library.blobs
        self.part, self.export, self.take_in = library.part, library.export, library.take_in
        self.update, self.delete, self.undelete = library.update, library.delete, library.undelete

    def changed(self, actor: SessionActor, events: list[Recorded]) -> None:
        """Mirror a session in the list."""
        due_at = jobs.next_due(actor.state.jobs)
        self.alarms.set(actor.id, due_at)
        self.library.listing.changed(actor.state.facts(), due_at, events)

    # -- alarms ------------------------------------------------------------------------

    def start(self) -> None:
        """Take up what is due, now or later."""
        self._spawn(self._take_up_alarms())
        self._spawn(self.housekeeping.start())

    async def _take_up_alarms(self) -> None:
        for session_id, due_at in (await self.library.listing.ask(lambda index: index.alarms())).items():
            if self.alarms.due(session_id) is None:
                self.alarms.set(session_id, due_at)

    def _clock_went_back(self) -> None:
        self._spawn(self.housekeeping.start())

    def _ring(self, session_id: str) -> None:
        if session_id == _UNFINISHED:
            self._spawn(self.wake_unfinished())
            return
        run = self.housekeeping.run if self.housekeeping.owns(session_id) else self._run_due
        self._spawn(run(session_id))

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
        doing = actor.do_due(self.alarms.clock)
        if doing is None:
            return  # Whoever does it looks again when it is done.
        await asyncio.wait({doing})
        if self.alarms.due(session_id) is not None:
            return
        if doing.cancelled():
            self.alarms.set(session_id, self.alarms.clock.now_ms() + _LATER_MS)
        elif actor.state.jobs:
            self.alarms.set(session_id, jobs.next_due(actor.state.jobs))

    # -- sessions ------------------------------------------------------------------------

    @property
    def rooms(self) -> int:
        """How many sessions take up memory: those that are awake or looked at."""
        return len(self._rooms)

    def exists(self, session_id: str) -> bool:
        """Tell whether there is such a session; wakes nobody."""
        return self.library.exists(session_id)

    async def snapshots(self, session_id: str) -> list[Snapshot]:
        """Return a session's snapshots, newest first. Raises ``SessionNotFound``."""
        return await asyncio.to_thread(listed, self.library.folder_of(session_id))

    async def restore(self, session_id: str, at: int) -> Session:
        """Put a session back to its newest snapshot from ``at`` (ms) or before; see ``safekeeping``."""
        return (await safekeeping.restore(self, session_id, self.library.folder_of(session_id), at)).state.facts()

    async def take_over(self, session_id: str) -> Session:
        """Own a session that another server has. Raises ``StoreLocked`` when that does not let go."""
        return (await take_over(self, session_id, self.library.folder_of(session_id))).state.facts()

    def awake(self, session_id: str) -> SessionActor | None:
        """Return the session's actor if it is awake."""
        room = self._rooms.get(session_id)
        return room.actor if room is not None else None

    @asynccontextmanager
    async def alone(self, session_id: str, why: AgentError) -> AsyncGenerator[Room]:
        """Put the session to sleep and keep it asleep; whoever still asks it is told ``why``."""
        room = self.room(session_id)
        async with room.lock:
            if room.actor is not None:
                actor, room.actor = room.actor, None
                await actor.sleep(why)
            yield room

    def forget(self, session_id: str) -> None:
        """The session is gone, and with it its room and its alarm."""
        self._rooms.pop(session_id, None)
        self.alarms.set(session_id, None)

    # -- waking and sleeping ---------------------------------------------------------------

    def room(self, session_id: str) -> Room:
        """Return the session's place."""
        return self._rooms.setdefault(session_id, Room(session_id))

    async def get(self, session_id: str) -> SessionActor:
        """Return the session's actor, waking it once however many ask. Raises ``SessionError``, ``StoreError``."""
        while True:
            self.library.folder_of(session_id)
            if self._closing:
                raise _shutting_down()
            room = self.room(session_id)
            if room.actor is not None:
                return room.actor
            if room.waking is None:
                room.waking = self._spawn(self._wake(room))
            # Shielded: one caller that gives up must not take the session from the others.
            actor = await asyncio.shield(room.waking)
            # It may have been put away again, to be put back say, before its waking was known here.
            if self.awake(session_id) is actor:
                return actor

    async def wake_unfinished(self) -> None:
        """Wake every session that was left in the middle of something, a few at a time.

        One that does not wake for a reason that passes is tried again, as long as its mark is there.
        """

        async def wake(session_id: str) -> None:
            async with self._few:
                try:
                    await self.get(session_id)
                except SessionNotFound:
                    unmark(self.settings.data_dir / "sessions" / session_id)
                except AgentError as error:
                    log.warning("Session %s could not be taken up: %s", session_id, error.message)
                    if error.passing:
                        self._wake_later()

        names = await asyncio.to_thread(marked, self.settings.data_dir)
        await asyncio.gather(*(wake(name) for name in names))

    def _wake_later(self) -> None:
        if self.alarms.due(_UNFINISHED) is None:
            self.alarms.set(_UNFINISHED, self.alarms.clock.now_ms() + _LATER_MS)

    async def _wake(self, room: Room) -> SessionActor:
        try:
            async with room.lock, asyncio.timeout(self.settings.activate_timeout_s):
                if self._closing:  # It began to, while we waited: nobody would put the session to sleep any more.
                    raise _shutting_down()
                folder = self.library.folder_of(room.session_id)
                mended = room.suspect and await self._mend(room, folder)
                try:
                    actor = await self._activate(room, folder)
                except StoreDamaged:
                    if not (mended := await self._mend(room, folder)):
                        await self.library.listing.damaged(room.session_id)
                        raise
                    actor = await self._activate(room, folder)
                room.awake(actor)
                room.only_look = None
                if actor.state.jobs:  # Maybe set by another server, that is gone.
                    self.alarms.set(room.session_id, jobs.next_due(actor.state.jobs))
                if mended:
                    self.changed(actor, [])
                self._keep_sweeping()
                self._heart.keep_beating()
                return actor
        except TimeoutError:
            raise SessionFailed("The session's database did not open in time.", hint="Try again.") from None
        except looking.ONLY_LOOK as why:
            room.only_look = why
            raise
        except AgentError:
            raise
        except Exception:
            # Whoever asked is told, and the next command tries again.
            log.exception("Session %s could not be woken", room.session_id)
            raise SessionFailed("The session could not be woken; the server's log says why.") from None
        finally:
            room.waking = None

    async def _mend(self, room: Room, folder: Path) -> bool:
        mended = await asyncio.to_thread(safekeeping.mend, folder, self.server, self.profile)
        room.suspect = False
        if mended:
            await self.library.listing.read(room.session_id)
        return mended

    async def _activate(self, room: Room, folder: Path) -> SessionActor:
        return await SessionActor.activate(
            room.session_id,
            folder,
            self._services,
            emit=room.emit,
            hint=room.hint,
            changed=self.changed,
            failed=partial(self._failed, room),
            damaged=partial(self._damaged, room),
            views=room.attachments,
            fork=self.library.fork,
        )

    def why_only_look(self, session_id: str) -> AgentError | None:
        """Return why a session could only be shown when it was last asked for."""
        room = self._rooms.get(session_id)
        return room.only_look if room is not None and room.actor is None else None

    def _failed(self, room: Room, actor: SessionActor, error: StoreError) -> None:
        """A commit failed: the state in memory is not to be trusted any more."""
        log.error("Session %s could not be stored: %s", room.session_id, error.message)
        room.suspect |= isinstance(error, StoreDamaged)
        if room.actor is actor:
            room.actor = None
        actor.abandon(error)
        self._spawn(self._bury(room, actor))
        for connection in list(room.connections):
            connection.send(Error(code=error.code, message=error.message, hint=error.hint))
        # Views that come back wake the session: as long as it goes on failing, not in a circle.
        asyncio.get_running_loop().call_later(room.next_pause(), room.resync, "gap")
        self._wake_later()  # Nobody may look, and its turn should go on all the same.

    def _damaged(self, room: Room, actor: SessionActor, error: StoreDamaged) -> None:
        """Something could not be read: a file that went missing, or the database itself."""
        if not room.suspect:
            room.suspect = True
            self._spawn(self._give_up_if_mendable(room, actor, error))

    async def _give_up_if_mendable(self, room: Room, actor: SessionActor, error: StoreDamaged) -> None:
        async with room.lock:
            mendable = room.actor is actor and await safekeeping.is_mendable(actor)
        if mendable and room.actor is actor:
            self._failed(room, actor, error)

    async def _bury(self, room: Room, actor: SessionActor) -> None:
        async with room.lock:
            await actor.sleep()

    def _keep_sweeping(self) -> None:
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = self._spawn(self._sweep())

    async def _sweep(self) -> None:
        """Put idle sessions to sleep, as long as somebody is awake."""
        loop = asyncio.get_running_loop()
        # Not without a pause: with idle_s = 0 it would never let go of the event loop.
        pause = max(0.01, min(1.0, self.settings.idle_s / 4))
        while any(room.actor is not None for room in self._rooms.values()):
            await asyncio.sleep(pause)
            for room in list(self._rooms.values()):
                actor = room.actor
                if actor is None:
                    self.leave(room)
                    continue
                recovery.keep_seen(actor)
                if room.looking_out is None or room.looking_out.done():
                    room.looking_out = self._spawn(let_go_if_asked(room, actor))
                if actor.idle and loop.time() - actor.used_at >= self.settings.idle_s:
                    # Not a part of this task: whoever ends it, at the server's end, waits for what falls asleep.
                    await asyncio.shield(self._spawn(self._put_to_sleep(room, actor)))

    async def put_to_sleep(self, session_id: str) -> None:
        """Let a session that has nothing to do sleep now, not when it has been idle for a while."""
        room = self._rooms.get(session_id)
        if room is not None and room.actor is not None:
            await self._put_to_sleep(room, room.actor)

    async def _put_to_sleep(self, room: Room, actor: SessionActor) -> None:
        async with room.lock:
            if room.actor is actor and actor.idle:
                room.actor = None  # A command that comes now waits for the lock, and wakes it anew.
                await actor.sleep()
                self.library.listing.asleep(actor.state.facts())
        self.leave(room)

    def leave(self, room: Room) -> None:
        """Drop a room that nobody is in; of a session that was deleted and came back, another one is there by now."""
        in_use = room.connections or room.waiting or room.lock.locked()
        if self._rooms.get(room.session_id) is room and room.actor is None and room.waking is None and not in_use:
            del self._rooms[room.session_id]

    async def close(self) -> None:
        """Put every session to sleep; a running turn stays in the ledger."""
        self._closing = True
        self.alarms.close()
        self._heart.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for room in list(self._rooms.values()):
            async with room.lock:
                if room.actor is not None:
                    actor, room.actor = room.actor, None
                    await actor.sleep()
                    self.library.listing.asleep(actor.state.facts())
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.library.listing.close()

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


def _shutting_down() -> SessionFailed:
    return SessionFailed("The server is shutting down.", code="closing")
