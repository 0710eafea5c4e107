"""A session over a WebSocket: frames out, commands in.

The connection's rules (order, resume, slow readers) are the session's; this
module decides who may come in; ``rights`` tells what they may ask.
"""

# Tornado types its sockets loosely:
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from ...protocol.ids import is_session_id
from .base import AUTH_RESOURCE, Unsent, error_body, is_allowed, name_of
from .engine import Engine

if TYPE_CHECKING:
    from ...protocol.commands import Command
    from ...protocol.events import ErrorInfo
    from ...protocol.frames import Frame
    from ...session.connection import Connection

CLOSE_VERSION = 4400
CLOSE_GONE = 4404
CLOSE_SLOW = 1013
"""Try again later: whoever comes back misses nothing."""
_DEAF = 4
"""Times what may wait for a view that follows: room for what it is sent when it asks again."""
_LONGEST_HELLO = 16 * 1024
_PROTOCOL = 1


class AgentSocket(WebSocketMixin, WebSocketHandler, JupyterHandler):  # pyright: ignore[reportIncompatibleMethodOverride] -- Jupyter's own mix
    """What our sockets share: authentication, authorization, origin, sending without waiting."""

    auth_resource = AUTH_RESOURCE
    opening_action = "read"
    engine: Engine

    def initialize(self, engine: Engine) -> None:
        """Take the engine from the route."""
        self.engine = engine
        self._unsent = Unsent()

    def set_default_headers(self) -> None:
        """A socket's handshake carries none of a page's headers."""

    def open(self, *args: str, **kwargs: str) -> Any:
        """Be known to whoever stops the server. Returns None, or what is to be awaited."""
        super().open(*args, **kwargs)
        self.engine.sockets.add(self)

    def on_close(self) -> None:
        """Be forgotten."""
        self.engine.sockets.discard(self)
        super().on_close()

    @property
    def user_name(self) -> str:
        """Who is at the other end."""
        return name_of(self.current_user)

    @ws_authenticated
    async def get(self, *args: str, **kwargs: str) -> None:
        """Refuse before the upgrade, where a status can still say why."""
        if not await is_allowed(self, self.opening_action):
            raise web.HTTPError(403)
        await self.before_upgrade(*args)
        await super().get(*args, **kwargs)

    async def before_upgrade(self, *args: str) -> None:
        """Check what the path names."""

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Say in our one shape why there was no upgrade."""
        phrase = HTTPStatus(status_code).phrase
        self.set_header("Content-Type", "application/json")
        self.finish(error_body(HTTPStatus(status_code).name.lower(), phrase))

    def send_text(self, text: str) -> None:
        """Send without waiting; a socket that is gone is no news here, ``on_close`` follows.

        One that takes nothing, and yet asks for more, is closed: nothing else would bound what waits for it.
        """
        if self.is_deaf():
            self.close(CLOSE_SLOW, "Too slow.")
            return
        try:
            future = self.write_message(text)
        except (WebSocketClosedError, StreamClosedError):
            return
        self._unsent.sent(self._stream)
        # Its failure is the same news: read it, so that nobody logs it as forgotten.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def backlog(self) -> tuple[int, int]:
        """Return how many frames the peer has yet to take, and how many bytes."""
        return self._unsent.of(self._stream)

    def is_slow(self, times: int = 1) -> bool:
        """Tell whether more waits for the peer than may, or so many ``times`` that."""
        frames, size = self.backlog()
        settings = self.engine.settings
        return frames > times * settings.pending_frames or size > times * settings.pending_bytes

    def is_deaf(self) -> bool:
        """Tell whether the peer did not even take what it was told when it was dropped."""
        return self.is_slow(_DEAF)

    @property
    def _stream(self) -> Any:
        return getattr(self.ws_connection, "stream", None)


class SessionSocket(AgentSocket):
    """One view of one session."""

    connection: Connection | None = None
    _may_write = False
    _may_execute = False
    _greeting = False
    """A hello is being answered: its version error is the only one that ends the connection."""

    async def before_upgrade(self, *args: str) -> None:
        """Answer 404 for a session that is not there, before any path is built from its id."""
        session_id = args[0]
        if not is_session_id(session_id):
            raise web.HTTPError(404)
        self._host = await self.engine.host()
        if not self._host.exists(session_id):
            raise web.HTTPError(404)
        self._may_write = await is_allowed(self, "write")
        self._may_execute = await is_allowed(self, "execute")

    def open(self, *args: str, **kwargs: str) -> None:
        """Attach to the session; it says nothing until asked to."""
        super().open(*args, **kwargs)
        self.connection = self._host.connect(
            args[0], self._sink, user=self.user_name, road="panel", guard=self._guard, backlog=self.backlog
        )

    def on_message(self, message: str | bytes) -> None:
        """Pass a command on; what is malformed is answered, never fatal."""
        if self.connection is None:
            return
        if len(message) > self.engine.settings.frame_bytes:
            self._refuse_large()
            return
        self._greeting = is_hello(message)
        self.connection.receive(message)
        self._greeting = False

    def on_pong(self, data: bytes) -> None:
        """Tornado's own pings tell too that somebody is there."""
        super().on_pong(data)
        if self.connection is not None:
            self.connection.seen()

    def on_close(self) -> None:
        """Leave; the turn goes on."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        super().on_close()

    def _sink(self, frame: Frame) -> None:
        self.send_text(frame.text)
        if frame.data.get("type") == "session.deleted":
            self.close(CLOSE_GONE, "The session was deleted.")
        elif self._greeting and frame.data.get("type") == "error" and frame.data["d"]["code"] == "version":
            self.close(CLOSE_VERSION, "No protocol version in common.")

    def _refuse_large(self) -> None:
        from ...protocol.events import Error

        assert self.connection is not None
        limit = self.engine.settings.frame_bytes
        self.connection.send(
            Error(code="too_large", message=f"A frame may have {limit} bytes at most.", hint="Attach it as a file.")
        )

    def _guard(self, command: Command) -> ErrorInfo | None:
        from .rights import refusal

        return refusal(command, may_write=self._may_write, may_execute=self._may_execute)


def is_hello(message: str | bytes) -> bool:
    """Tell whether a frame is a well-formed hello."""
    if len(message) > _LONGEST_HELLO:
        return False
    try:
        data: Any = json.loads(message)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and data.get("type") == "hello" and data.get("v") == _PROTOCOL  # pyright: ignore[reportUnknownVariableType]
