"""The live list of sessions over a WebSocket, so that pages need not ask again and again.

::

    → {"type": "sessions", "d": {"sessions": [the newest], "has_more": bool}}       once
    → {"type": "session.changed", "d": {"session": {…}}}                            made, changed, brought back
    → {"type": "session.removed", "d": {"id": "ses_…"}}                             deleted
    ← {"v": 1, "type": "ping"}                                                      → {"type": "pong", "d": {}}

Nothing is numbered and nothing is repeated: whoever was away connects again
and is told the list. Nobody listens, nobody pays.
"""

# Tornado types its sockets loosely:
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from tornado import web

from ...errors import AgentError
from .base import status_of, to_json
from .socket import CLOSE_SLOW, AgentSocket

if TYPE_CHECKING:
    from ...protocol.frames import Frame

VERSION = 1


class ListSocket(AgentSocket):
    """One page that shows the list."""

    _unwatch: Callable[[], None] | None = None
    _held: list[Frame] | None = None

    async def before_upgrade(self, *args: str) -> None:  # noqa: ARG002 -- the path names nothing
        """Find the host, while a status can still say why there is none."""
        try:
            self._host = await self.engine.host()
        except AgentError as error:
            raise web.HTTPError(status_of(error)) from error

    async def open(self, *args: str, **kwargs: str) -> None:
        """Watch first, read then, so that no change falls between."""
        super().open(*args, **kwargs)
        library = self._host.library
        self._held = []
        self._unwatch = library.listing.watch(self._take)
        try:
            sessions, has_more = await library.list_sessions(limit=self.engine.settings.page)
        except AgentError as error:
            self._say("error", {"code": error.code, "message": error.message, "hint": error.hint})
            self.close(CLOSE_SLOW)
            return
        from ...protocol.plain import to_plain

        self._say("sessions", {"sessions": [to_plain(session) for session in sessions], "has_more": has_more})
        held, self._held = self._held, None
        for frame in held or ():
            self._take(frame)

    def on_message(self, message: str | bytes) -> None:
        """Answer a ping; say what is wrong with anything else."""
        try:
            data: Any = json.loads(message)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            self._refuse("malformed", "This is not a JSON object.")
            return
        said = cast("dict[str, Any]", data)
        if said.get("v") != VERSION:
            self._refuse("version", f"This server speaks version {VERSION}.")
        elif said.get("type") == "ping":
            self._say("pong", {})
        else:
            self._refuse("unknown_command", "The list of sessions takes no commands but ping.")

    def on_close(self) -> None:
        """Leave."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        super().on_close()

    def _take(self, frame: Frame) -> None:
        """Pass a change on; who does not keep up starts over."""
        too_many = self._held is not None and len(self._held) >= self.engine.settings.pending_frames
        if too_many or self.is_slow():
            self.on_close()
            self._held = None
            self.close(CLOSE_SLOW, "Too slow.")
        elif self._held is not None:
            self._held.append(frame)
        else:
            self.send_text(frame.text)

    def _refuse(self, code: str, message: str) -> None:
        self._say("error", {"code": code, "message": message})

    def _say(self, kind: str, d: dict[str, Any]) -> None:
        self.send_text(to_json({"v": VERSION, "type": kind, "d": d}))
