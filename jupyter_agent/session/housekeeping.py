"""``Housekeeping``: what a server does for its sessions every day, whether anybody looks or not.

::

    snapshots   of sessions that changed; old ones are dropped     tidy     old acks and events, and the room they took
    archive     sessions that nobody used for long                  purge    those archived, and not used, for long
    trash       deleted sessions that nobody can bring back               blobs    files that nothing names any more

When each ran last is kept in the index; where that was lost, each runs soon.
A chore may be cut off anywhere and run again: it asks each session anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AgentError
from ..protocol.ids import is_session_id
from . import safekeeping

if TYPE_CHECKING:
    from .host import SessionHost
    from .state import State

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
SOON_MS = 300_000
_PREFIX = "chore:"
_KEEP_MS = 7 * DAY_MS
"""How long acks and events are kept."""


class Housekeeping:
    """See the module. All methods belong to the host's event loop."""

    def __init__(self, host: SessionHost) -> None:
        self._host = host
        self._chores: dict[str, Callable[[int, int], Awaitable[None]]] = {
            "snapshots": self._take_snapshots,
            "tidy": self._tidy,
            "archive": self._archive,
            "purge": self._purge,
            "trash": self._empty_trash,
            "blobs": self._sweep_blobs,
        }
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> None:
        """Set the alarms of all chores; what is overdue runs at once. Raises ``StoreError``."""
        ran = await self._host.library.listing.ask(lambda index: index.chores())
        now = self._host.alarms.clock.now_ms()
        for name in self._chores:
            last = ran.get(name)
            # A time still to come was written while the clock was wrong.
            due_at = now + SOON_MS if last is None or last > now else last + DAY_MS
            self._host.alarms.set(_PREFIX + name, due_at)

    @staticmethod
    def owns(alarm: str) -> bool:
        """Tell whether an alarm is a chore's."""
        return alarm.startswith(_PREFIX)

    async def run(self, alarm: str) -> None:
        """Do a chore, and set it for tomorrow."""
        name, now = alarm.removeprefix(_PREFIX), self._host.alarms.clock.now_ms()
        self._host.alarms.set(alarm, now + DAY_MS)
        index = self._host.library.listing
        async with self._one_at_a_time:
            last = (await index.ask(lambda index: index.chores())).get(name, 0)
            if last > now:
                last = 0  # Written while the clock was wrong.
            try:
                await self._chores[name](now, last)
            except AgentError as error:
                log.warning("The daily chore %r was not done: %s", name, error.message)
                return
            await index.ask(lambda index: index.put_chore(name, now))

    # -- the chores ----------------------------------------------------------------------

    async def _take_snapshots(self, now: int, _last: int) -> None:
        days = self._host.settings.snapshot_days
        if days <= 0:
            return
        before = now - int(days * DAY_MS)
        for session_id, updated_at in await self._changed_since(0):
            await self._carefully(session_id, self._take_snapshot(session_id, updated_at, now))
            await self._carefully(session_id, asyncio.to_thread(safekeeping.prune, self._folder(session_id), before))

    async def _take_snapshot(self, session_id: str, updated_at: int, now: int) -> None:
        folder = self._folder(session_id)
        newest = await asyncio.to_thread(safekeeping.newest, folder, now)
        if newest is None or newest < updated_at:
            await safekeeping.take(self._host, session_id, folder, now)

    async def _tidy(self, now: int, last: int) -> None:
        # What was quiet for longer had nothing left to drop when this ran last.
        for session_id, _ in await self._changed_since(last - _KEEP_MS - DAY_MS):
            folder = self._folder(session_id)
            await self._carefully(session_id, safekeeping.tidy(self._host, session_id, folder, now - _KEEP_MS))

    async def _archive(self, now: int, _last: int) -> None:
        days = self._host.settings.archive_after_days
        if days <= 0:
            return
        before = now - int(days * DAY_MS)
        for session_id in await self._host.library.listing.ask(lambda index: index.unused_since(before)):
            await self._carefully(session_id, self._archive_one(session_id, before, now))

    async def _archive_one(self, session_id: str, before: int, now: int) -> None:
        async with self._looking_at(session_id) as state:
            if state.turn is None and not state.queue and state.session.updated_at < before:
                await self._host.update(session_id, {"archived_at": now})

    async def _purge(self, now: int, _last: int) -> None:
        days = self._host.settings.purge_after_days
        if days <= 0:
            return
        before = now - int(days * DAY_MS)
        for session_id in await self._host.library.listing.ask(lambda index: index.archived_before(before)):
            await self._carefully(session_id, self._purge_one(session_id, before))

    async def _purge_one(self, session_id: str, before: int) -> None:
        async with self._looking_at(session_id) as state:
            at, used_at = state.session.archived_at, state.session.updated_at
            if state.turn is None and not state.queue and at is not None and max(at, used_at) < before:
                await self._host.delete(session_id)

    async def _empty_trash(self, now: int, _last: int) -> None:
        await self._host.library.purge_trash(now)

    async def _sweep_blobs(self, now: int, last: int) -> None:
        before = now - _KEEP_MS
        # What was quiet for longer than its events and snapshots last has no more to drop, unless an upload got old.
        quiet = last - int(self._host.settings.snapshot_days * DAY_MS) - _KEEP_MS - 3 * DAY_MS
        since = last - _KEEP_MS - DAY_MS
        for session_id, updated_at in await self._changed_since(0):
            await self._carefully(session_id, self._sweep_one(session_id, before, since, quiet=updated_at <= quiet))

    async def _sweep_one(self, session_id: str, before: int, since: int, *, quiet: bool) -> None:
        folder = self._folder(session_id)
        old, lately = await asyncio.to_thread(safekeeping.has_old_blobs, folder, before, since)
        if old and (lately or not quiet):
            await safekeeping.sweep(self._host, session_id, folder, before)

    @asynccontextmanager
    async def _looking_at(self, session_id: str) -> AsyncGenerator[State]:
        """A session that wakes for this alone sleeps again at once: thousands may follow, each with its files."""
        slept = self._host.awake(session_id) is None
        try:
            yield (await self._host.get(session_id)).state
        finally:
            if slept:
                await self._host.put_to_sleep(session_id)

    # -- with care -----------------------------------------------------------------------

    def _folder(self, session_id: str) -> Path:
        return self._host.library.folder / session_id

    async def _changed_since(self, since: int) -> list[tuple[str, int]]:
        found = await self._host.library.listing.ask(lambda index: index.changed_since(since))
        return [(session_id, at) for session_id, at in found if is_session_id(session_id)]

    async def _carefully(self, session_id: str, work: Awaitable[None]) -> None:
        """One session that is damaged, gone, locked away or another server's keeps no chore from the others."""
        try:
            await work
        except (AgentError, OSError) as error:
            log.info("Session %s is left for another day: %s", session_id, error)
