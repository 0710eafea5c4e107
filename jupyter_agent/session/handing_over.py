"""One session between two servers on one data directory: who has it lets go when the other asks.

::

    here                                      there (the owner)
    take_over ── session.release ───────────► let_go_if_asked, within a second
        │                                         transaction finished, database closed, lock released
        └── tries to wake it until it does ◄──────┘   its views subscribe anew and only look from now on
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreLocked
from ..protocol.events import Error
from ..store import owning

if TYPE_CHECKING:
    from .actor import SessionActor
    from .host import SessionHost
    from .room import Room

PATIENCE_S = 10.0
_PAUSE_S = 0.1


async def take_over(host: SessionHost, session_id: str, folder: Path) -> SessionActor:
    """Own the session, whoever had it. Raises ``StoreLocked`` when the owner does not let go in time."""
    try:
        return await host.get(session_id)
    except StoreLocked:
        await asyncio.to_thread(owning.request, folder, host.server)
    try:
        actor = await _until_it_lets_go(host, session_id, folder)
    finally:
        await asyncio.to_thread(owning.withdraw, folder, host.server)
    for connection in list(host.room(session_id).connections):
        connection.resync("gap")
    return actor


async def _until_it_lets_go(host: SessionHost, session_id: str, folder: Path) -> SessionActor:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await host.get(session_id)
                except StoreLocked:
                    await asyncio.sleep(_PAUSE_S)
    except TimeoutError:
        owner = owning.read_owner(folder)
        where = owner.where() if owner else "it"
        raise StoreLocked(
            f"The other Jupyter server ({where}) did not let go of this session.",
            hint="End that server, then try again.",
        ) from None


async def let_go_if_asked(room: Room, actor: SessionActor) -> None:
    """Give the session to the server that asks for it; a running turn is taken up there."""
    if room.actor is not actor or not await actor.journal.read(lambda store: store.look_out()):
        return
    why = owning.deposed()
    async with room.lock:
        if room.actor is not actor:
            return
        room.actor = None
        await actor.sleep(why)
    for connection in list(room.connections):
        connection.send(Error(code=why.code, message=why.message, hint=why.hint))
        connection.resync("gap")
