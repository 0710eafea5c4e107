"""Looking at a session that cannot be owned now, without waking it.

Another server has it, a newer version wrote it, or the disk takes no writes:
it is shown as it is on disk, with the sentence that says why it is only
shown; every other command is refused with that sentence. Each new command
tries to own it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import AgentError, StoreDamaged, StoreLocked, StoreTooNew, StoreUnwritable
from ..protocol import codec
from ..protocol.commands import Command, History, Subscribe
from ..protocol.content import Json, Session
from ..protocol.events import Ack, Error
from ..settings import Settings
from ..store import reading
from ..store.faults import ODD
from ..store.store import SessionStore
from .catching_up import page_before, what_was_missed
from .connection import Connection
from .inbox import rejected

T = TypeVar("T")
ONLY_LOOK = (StoreLocked, StoreTooNew, StoreUnwritable)


class Onlooker:
    """Reads a session's database as ``Journal`` does, but from outside."""

    def __init__(self, folder: Path, why: AgentError) -> None:
        self._folder = folder
        self._why = why

    async def read(self, question: Callable[[SessionStore], T]) -> T:
        """Ask the database; where it does not let us look either, raise why it cannot be owned."""
        try:
            return await asyncio.to_thread(SessionStore.peek, self._folder, question)
        except StoreDamaged:
            raise
        except (AgentError, *ODD):
            raise self._why from None

    async def facts(self) -> Session:
        """Return the session's facts."""
        known = await self.read(lambda store: reading.facts(store.db.conn))
        return codec.decode_session(known["session"])


async def answer(
    connection: Connection, cmd_id: str, command: Command, *, folder: Path, settings: Settings, why: AgentError
) -> None:
    """Answer a command to a session that did not wake, by a look at it where that is possible."""
    try:
        if isinstance(why, ONLY_LOOK):
            onlooker = Onlooker(folder, why)
            match command:
                case Subscribe():
                    await _show(connection, command, onlooker, settings)
                case History(before=before, limit=limit):
                    await _tell_history(connection, cmd_id, onlooker, before, min(max(limit, 1), 200), settings)
                    return
                case _:
                    pass
    except AgentError as error:
        why = error
    if isinstance(command, Subscribe):
        connection.send(Error(code=why.code, message=why.message, hint=why.hint))
    else:
        connection.ack(rejected(cmd_id, why))


async def _show(connection: Connection, command: Subscribe, onlooker: Onlooker, settings: Settings) -> None:
    token = connection.begin_sync()
    try:
        connection.ep = await onlooker.read(lambda store: reading.epoch(store.db.conn))
        frames, seq = await what_was_missed(onlooker, connection.session_id, connection.ep, settings, command)
    except AgentError:
        connection.fail_sync(token)
        raise
    connection.end_sync(token, frames, seq)


async def _tell_history(
    connection: Connection, cmd_id: str, onlooker: Onlooker, before: str | None, limit: int, settings: Settings
) -> None:
    page = await page_before(onlooker, settings, before, limit)
    if page is None:
        unknown = AgentError("There is no such message in this session.", code="unknown_cursor")
        connection.ack(rejected(cmd_id, unknown))
        return
    messages, cursor = page
    result: dict[str, Json] = {"messages": messages, "has_more": cursor is not None, "before": cursor}
    connection.ack(Ack(cmd_id=cmd_id, status="accepted", result=result))
