"""``Heart``: tells views how far their session has come, so that a lost tail is found.

::

    a turn runs or awaits ──┐
                            ├──► every view hears ``hb{seq}``, by socket every 15 s, by comm every 5 s
    less than 60 s ago     ─┘

A gap in the middle shows itself by the next number; one at the end does not.
The host knows the last number of a session that sleeps too, so nobody is woken.
One timer a server; it stops when all is quiet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from ..protocol.content import Road
from ..protocol.events import Hb
from ..protocol.frames import transient
from ..protocol.ids import now_ms
from ..settings import Settings
from .room import Room


class Heart:
    """One a host."""

    def __init__(
        self, rooms: Mapping[str, Room], settings: Settings, spawn: Callable[[Any], asyncio.Task[Any]]
    ) -> None:
        self._rooms = rooms
        self._settings = settings
        self._spawn = spawn
        self._task: asyncio.Task[Any] | None = None

    def keep_beating(self) -> None:
        """Somebody woke: something may happen from now on."""
        if self._task is None or self._task.done():
            self._task = self._spawn(self._beat())

    def stop(self) -> None:
        """Stop for good."""
        if self._task is not None:
            self._task.cancel()

    def _period(self, road: Road) -> float:
        return self._settings.comm_heartbeat_s if road == "comm" else self._settings.heartbeat_s

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        pause = min(self._settings.comm_heartbeat_s, self._settings.heartbeat_s, 4.0) / 4
        while any(room.actor is not None or room.is_lively(loop.time()) for room in self._rooms.values()):
            await asyncio.sleep(pause)
            for room in list(self._rooms.values()):
                if room.is_lively(loop.time()):
                    self._tell(room, loop.time())

    def _tell(self, room: Room, now: float) -> None:
        frame = transient(room.session_id, room.ep, now_ms(), Hb(seq=room.seq))
        for connection in list(room.connections):
            if now - connection.told_at >= self._period(connection.road):
                connection.told_at = now
                connection.beat(frame)
