"""A session as server-sent events: one more view, for programs that only read.

::

    GET …/sessions/{id}/stream?since=<ep>:<seq>

    id: <ep>:<seq>        durable events, and caught_up: what to come back with
    data: {one frame}     the protocol's, never a batch
    : hb                  a comment now and then, so that proxies keep the line

Without a usable cursor a snapshot comes first. The stream ends when the
session is deleted, and after ``resync``: whoever comes back with its last id
(as every ``EventSource`` does by itself) misses nothing.
"""

# Tornado types its handlers loosely:
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError

from .base import AgentHandler, BadRequest, guarded, of_session, to_json, unsent_bytes

if TYPE_CHECKING:
    from ...protocol.frames import Frame

Json = dict[str, Any]
Cursor = tuple[str, int]

RETRY_MS = 2000
_CURSOR = re.compile(r"([0-9A-Za-z_-]{1,64}):([0-9]{1,15})")
_LAST = ("session.deleted", "resync")


class StreamHandler(AgentHandler):
    """Frames out, nothing in. Waits for the end without polling; a client that leaves is let go at once."""

    @guarded
    @of_session
    async def get(self, session_id: str) -> None:
        cursor = self._cursor()
        host = await self.engine.host()
        await host.get(session_id)  # What keeps it from waking is an answer with a status, not an empty stream.
        self._over = asyncio.Event()
        self._begin()
        view = host.connect(session_id, self._sink, user=self.user_name, road="rest", backlog=self._backlog)
        try:
            self._send(f"retry: {RETRY_MS}\n\n")
            view.receive(_subscribe(cursor, self.engine.settings.page))
            await self._until_over()
        finally:
            view.close()

    # -- asked ---------------------------------------------------------------------------

    def _cursor(self) -> Cursor | None:
        """Return where the client is. What a browser sends by itself wins over what its address says."""
        last = self.request.headers.get("Last-Event-ID", "")
        if last:
            return parse_cursor(last)
        since = self.get_query_argument("since", "")
        if not since:
            return None
        cursor = parse_cursor(since)
        if cursor is None:
            raise BadRequest("since is <ep>:<seq>, the id of an event of this stream.")
        return cursor

    # -- answered ------------------------------------------------------------------------

    def _begin(self) -> None:
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-cache, no-transform")
        self.set_header("X-Accel-Buffering", "no")  # nginx would gather the events

    def _sink(self, frame: Frame) -> None:
        self._send("".join(told(event) for event in single_frames(frame.data)))
        if frame.data.get("type") in _LAST:
            self._over.set()

    def _send(self, text: str) -> None:
        """Send without waiting; a client that is gone is no news here, ``on_connection_close`` follows."""
        if self._over.is_set():
            return
        self.write(text)
        try:
            sent: Any = self.flush()
        except StreamClosedError:
            self._over.set()
            return
        # Its failure is the same news: read it, so that nobody logs it as forgotten.
        sent.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _backlog(self) -> int:
        return unsent_bytes(getattr(self.request.connection, "stream", None))

    async def _until_over(self) -> None:
        while not self._over.is_set():
            try:
                async with asyncio.timeout(self.engine.settings.heartbeat_s):
                    await self._over.wait()
            except TimeoutError:
                self._send(": hb\n\n")

    def on_connection_close(self) -> None:
        """The client left; the session goes on."""
        super().on_connection_close()
        if hasattr(self, "_over"):
            self._over.set()


def parse_cursor(text: str) -> Cursor | None:
    """Return ``(ep, seq)`` of an event's id, None for anything else."""
    found = _CURSOR.fullmatch(text)
    return (found[1], int(found[2])) if found else None


def single_frames(frame: Json) -> Iterator[Json]:
    """Yield the events of a frame as frames of their own."""
    if "batch" not in frame:
        yield frame
        return
    envelope = {key: frame[key] for key in ("v", "sid", "ep")}
    for event in frame["batch"]:
        yield {**envelope, **event}


def told(frame: Json) -> str:
    """Return one frame as an event of the stream."""
    seq = _place(frame)
    head = "" if seq is None else f"id: {frame['ep']}:{seq}\n"
    return f"{head}data: {to_json(frame)}\n\n"


def _place(frame: Json) -> int | None:
    match frame:
        case {"seq": int(seq)} | {"covers": [_, int(seq)]} | {"type": "caught_up", "d": {"seq": int(seq)}}:
            return seq
        case _:
            return None


def _subscribe(cursor: Cursor | None, page: int) -> Json:
    since = None if cursor is None else {"ep": cursor[0], "seq": cursor[1]}
    return {"v": 1, "cmd_id": "stream", "type": "subscribe", "d": {"since": since, "page": page}}
