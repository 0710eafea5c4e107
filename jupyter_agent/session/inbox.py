"""``Inbox``: commands of one session, taken one at a time, each with one effect.

::

    put ─► known already? ── yes ─► wait for its commit, answer ``duplicate`` with the first ack
              │ no
              ▼
           decide(envelope) ─► result, or AgentError ─► the ack, stored with the effect in one transaction
                                                              │
                                                    COMMIT ───┴──► reply

A command is never dropped in silence: whoever waits when the session goes is
told why. What was refused for a passing reason is not on record: the same command
may come again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from ..errors import AgentError, CommandRejected, SessionFailed, StoreError
from ..protocol.commands import Command, MessageSend
from ..protocol.content import Json, Road
from ..protocol.events import Ack, ErrorInfo
from ..protocol.ids import now_ms
from ..protocol.plain import to_plain
from ..store import reading, transcript
from ..store.writes import PutCommand
from .journal import Journal

log = logging.getLogger(__name__)

CLOSING = SessionFailed("The session is being closed.", code="closing", hint="Try again in a moment.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A command on its way in, and who wants its ack."""

    cmd_id: str
    command: Command
    user: str
    road: Road
    reply: Callable[[Ack], None]

    @property
    def message_id(self) -> str | None:
        """The message that the command sends, if it sends one."""
        return self.command.id if isinstance(self.command, MessageSend) else None


def rejected(cmd_id: str, error: AgentError) -> Ack:
    """Return the ack that says why not."""
    info = ErrorInfo(code=error.code, message=error.message, hint=error.hint, retryable=error.passing)
    return Ack(cmd_id=cmd_id, status="rejected", error=info)


class Inbox:
    """See the module. ``decide`` looks, records and returns the ack's result; it may raise ``AgentError``."""

    def __init__(
        self, session_id: str, journal: Journal, decide: Callable[[Envelope], Awaitable[dict[str, Json]]]
    ) -> None:
        self._session_id = session_id
        self._journal = journal
        self._decide = decide
        self._waiting: asyncio.Queue[Envelope] = asyncio.Queue()
        self._unsettled: set[str] = set()
        self._taking = False
        self._over: AgentError | None = None
        self._pump = asyncio.get_running_loop().create_task(self._take_all())

    @property
    def idle(self) -> bool:
        """Whether no command waits or is being taken."""
        return not self._taking and self._waiting.empty()

    def put(self, envelope: Envelope) -> None:
        """Take a command in."""
        if self._over is not None:
            envelope.reply(rejected(envelope.cmd_id, self._over))
        else:
            self._waiting.put_nowait(envelope)

    def stop(self, why: AgentError | None = None) -> None:
        """Take nothing more; whoever still asks is told ``why``."""
        self._over = self._over or why or CLOSING
        self._pump.cancel()

    async def stopped(self) -> None:
        """Wait until the command under way has ended, and answer those that waited."""
        await asyncio.gather(self._pump, return_exceptions=True)
        while not self._waiting.empty():
            envelope = self._waiting.get_nowait()
            envelope.reply(rejected(envelope.cmd_id, self._over or CLOSING))

    async def _take_all(self) -> None:
        while True:
            envelope = await self._waiting.get()
            self._taking = True
            try:
                await self._take(envelope)
            except asyncio.CancelledError:
                envelope.reply(rejected(envelope.cmd_id, self._over or CLOSING))
                raise
            except AgentError as error:
                envelope.reply(rejected(envelope.cmd_id, error))
            except Exception:
                log.exception("Session %s could not handle %s", self._session_id, envelope.command.tag)
                error = AgentError("The server could not handle this command; its log says why.")
                envelope.reply(rejected(envelope.cmd_id, error))
            finally:
                self._taking = False

    async def _take(self, envelope: Envelope) -> None:
        before = await self._known(envelope)
        if before is not None:
            original = before.original or ("rejected" if before.status == "rejected" else "accepted")
            envelope.reply(replace(before, cmd_id=envelope.cmd_id, status="duplicate", original=original))
            return
        try:
            await self._check_message_id(envelope.message_id)
            result = await self._decide(envelope)
        except AgentError as refused:
            if refused.passing:
                raise  # On record it would stay refused, however often it is sent again.
            self._settle(envelope, rejected(envelope.cmd_id, refused), None)
            return
        self._settle(envelope, Ack(cmd_id=envelope.cmd_id, status="accepted", result=result), envelope.message_id)

    async def _known(self, envelope: Envelope) -> Ack | None:
        if self._unsettled:
            await self._journal.committed()
        stored = await self._journal.read(
            lambda store: reading.find_ack(store.db.conn, envelope.cmd_id, envelope.message_id)
        )
        if stored is None:
            return None
        error = ErrorInfo(**stored["error"]) if stored.get("error") else None
        return Ack(cmd_id=envelope.cmd_id, status=stored["status"], result=stored["result"], error=error)

    async def _check_message_id(self, message_id: str | None) -> None:
        if message_id is None:
            return
        if await self._journal.read(lambda store: transcript.has_message(store.db.conn, message_id)):
            raise CommandRejected("There is another message with this id.", code="id_taken")

    def _settle(self, envelope: Envelope, ack: Ack, message_id: str | None) -> None:
        """Store the command with its ack; answer when that is on disk."""
        self._unsettled.add(envelope.cmd_id)

        def answer(error: StoreError | None) -> None:
            self._unsettled.discard(envelope.cmd_id)
            envelope.reply(ack if error is None else rejected(envelope.cmd_id, error))

        put = PutCommand(
            cmd_id=envelope.cmd_id,
            type=envelope.command.tag,
            ack=to_plain(ack),
            message_id=message_id,
            created_at=now_ms(),
        )
        self._journal.record(writes=[put], full=True, then=answer)
