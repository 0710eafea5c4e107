"""``Reception``: where views come in, and what they say is passed on.

::

    receive(connection, frame) ── hello, ping ──► answered here, nobody wakes
              │ a command that its road allows
              ▼
    awake, nobody waits ── yes ──► the actor's inbox
              │ no
              ▼
    waits in its room ──► wake ──► delivered in the order they came
                            │ fails
                            └────► shown what can be shown (``looking``), or told why not
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..agent.model import Model
from ..errors import AgentError, MalformedFrame, ProtocolError, UnknownCommand
from ..protocol import codec
from ..protocol.commands import Command, Hello, Ping, Subscribe
from ..protocol.content import Limits, Road
from ..protocol.events import Ack, Error, Pong, Welcome
from ..protocol.features import FEATURES
from ..protocol.frames import VERSION
from ..protocol.plain import to_plain
from . import looking
from .actor import SessionActor
from .connection import Backlog, Connection, Guard, Sink
from .inbox import Envelope, rejected
from .room import Room

if TYPE_CHECKING:
    from .host import SessionHost


class Reception:
    """One a host; all methods belong to its event loop."""

    def __init__(self, host: SessionHost, model: Model, spawn: Callable[[Any], asyncio.Task[Any]]) -> None:
        self._host = host
        self._settings = host.settings
        self._model = model
        self._spawn = spawn

    def connect(
        self,
        session_id: str,
        sink: Sink,
        *,
        user: str,
        road: Road,
        guard: Guard | None = None,
        backlog: Backlog | None = None,
    ) -> Connection:
        """Open a view. Raises ``SessionNotFound``."""
        self._host.library.folder_of(session_id)
        connection = Connection(self._host, session_id, sink, user=user, road=road, guard=guard, backlog=backlog)
        room = self._host.room(session_id)
        connection.ep = room.ep
        room.connections.add(connection)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """The view is gone; the session goes on."""
        room = self._host.room(connection.session_id)
        room.connections.discard(connection)
        self._host.leave(room)

    def receive(self, connection: Connection, raw: str | bytes | dict[str, Any]) -> None:
        """Take a frame of a view; see ``Connection.receive``."""
        try:
            cmd_id, command = codec.decode_command(raw)
        except UnknownCommand as error:
            connection.ack(rejected(error.cmd_id, error))
            return
        except ProtocolError as error:
            connection.send(Error(code=error.code, message=error.message, hint=error.hint))
            if isinstance(error, MalformedFrame) and error.cmd_id is not None:
                # Else a view that keeps what is not acknowledged would send it again for ever.
                connection.ack(rejected(error.cmd_id, error))
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
                    hint=codec.SAME_VERSION,
                )
            )
            return
        limits = Limits(
            frame_bytes=self._settings.frame_bytes,
            page=self._settings.page,
            attachment_bytes=self._settings.attachment_bytes,
        )
        features = [*FEATURES, f"model:{self._model.kind}"]
        connection.send(
            Welcome(
                protocol=VERSION,
                server=f"jupyter-agent-panel/{self._host.version}",
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
        room = self._host.room(connection.session_id)
        if room.actor is not None and not room.waiting:
            self._deliver(room.actor, connection, cmd_id, command)
            return
        room.waiting.append((connection, cmd_id, command))
        if len(room.waiting) == 1:
            self._spawn(self._wake_and_deliver(room))

    async def _wake_and_deliver(self, room: Room) -> None:
        """Wake the session for what waits; who came first is heard first."""
        why: AgentError | None = None
        try:
            while room.waiting:
                actor = await self._host.get(room.session_id)
                self._deliver(actor, *room.waiting.popleft())
            return
        except AgentError as error:
            why = error
        refused, room.waiting = room.waiting, deque()
        folder = self._host.library.folder / room.session_id
        for connection, cmd_id, command in refused:
            await looking.answer(connection, cmd_id, command, folder=folder, settings=self._settings, why=why)
        self._host.leave(room)

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

        actor = await self._host.get(session_id)
        actor.submit(Envelope(cmd_id=cmd_id, command=command, user=user, road=road, reply=reply))
        return to_plain(await done)
