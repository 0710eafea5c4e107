"""A session as server-sent events: one more view, for programs that only read.

::

    GET …/sessions/{id}/stream?since=<ep>:<seq>

    id: <ep>:<seq>        durable events, and caught_up: what to come back with
    data: {one frame}     the protocol's, never a batch
    : hb                  a comment now and then, so that proxies keep the line

Without a usable cursor a snapshot comes first. The stream ends when the
session is deleted, and after ``resync``: whoever comes back with its last id
(as every ``EventSource`` does by itself) misses nothing.

With ``format=ai`` it is one turn, the live or else the last one, in the AI
SDK's chunks (see ``protocol.ui_chunks``), from the turn's beginning to its
end; 204 when there is none, or with ``turn=live`` none that lives.
"""

# Tornado types its handlers loosely:
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from tornado.iostream import StreamClosedError

from .base import AgentHandler, BadRequest, Unsent, guarded, of_session, to_json

if TYPE_CHECKING:
    from ...protocol.frames import Frame

Json = dict[str, Any]
Cursor = tuple[str, int]

RETRY_MS = 2000
_CURSOR = re.compile(r"([0-9A-Za-z_-]{1,64}):([0-9]{1,15})")
_LAST = ("session.deleted", "resync")


class StreamHandler(AgentHandler):
    """Out only. Waits for the end without polling; a client that leaves is let go at once."""

    @guarded
    @of_session
    async def get(self, session_id: str) -> None:
        cursor, chunks, only_live = self._cursor(), self._wants_chunks(), self._wants_live()
        host = await self.engine.host()
        # What keeps it from waking is an answer with a status, not an empty stream.
        state = (await host.get(session_id)).state
        last = state.last_outcome
        left = last is None or state.head_turn != last.turn  # a rewind may have taken its answer out of the story
        if chunks and state.turn is None and (only_live or left):
            self.set_status(HTTPStatus.NO_CONTENT)
            return
        self._over, self._unsent = asyncio.Event(), Unsent()
        self._teller = _Chunks() if chunks else _Frames()
        self._begin()
        view = host.connect(session_id, self._sink, user=self.user_name, road="rest", backlog=self._backlog)
        try:
            self._send(f"retry: {RETRY_MS}\n\n")
            view.receive(_subscribe(None if chunks else cursor, self.engine.settings.page))
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

    def _wants_chunks(self) -> bool:
        return self._one_of("format", ("frames", "ai")) == "ai"

    def _wants_live(self) -> bool:
        return self._one_of("turn", ("any", "live")) == "live"

    def _one_of(self, name: str, choices: tuple[str, ...]) -> str:
        value = self.get_query_argument(name, choices[0])
        if value not in choices:
            raise BadRequest(f"{name} is one of {', '.join(choices)}.")
        return value

    # -- answered ------------------------------------------------------------------------

    def _begin(self) -> None:
        for name, value in self._teller.headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-cache, no-transform")
        self.set_header("X-Accel-Buffering", "no")  # nginx would gather the events

    def _sink(self, frame: Frame) -> None:
        try:
            self._send(self._teller.tell(frame.data))
        except Exception:
            self._over.set()  # else it would beat on, and say nothing more
            self.log.exception("a stream of session %s broke off", frame.data.get("sid"))
            raise
        if self._teller.over:
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
        self._unsent.sent(self._stream)
        # Its failure is the same news: read it, so that nobody logs it as forgotten.
        sent.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _backlog(self) -> tuple[int, int]:
        return self._unsent.of(self._stream)

    @property
    def _stream(self) -> Any:
        return getattr(self.request.connection, "stream", None)

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


class _Frames:
    """The protocol's own frames, one an event."""

    headers: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        self.over = False

    def tell(self, frame: Json) -> str:
        self.over = frame.get("type") in _LAST
        return "".join(told(single) for single in single_frames(frame))


class _Chunks:
    """One turn as the AI SDK reads it."""

    headers: ClassVar[dict[str, str]] = {"x-vercel-ai-ui-message-stream": "v1"}

    def __init__(self) -> None:
        from ...protocol.ui_chunks import UiChunks

        self._turn = UiChunks()
        self.over = False

    def tell(self, frame: Json) -> str:
        chunks: list[Any] = self._turn.take(frame)
        text = "".join(f"data: {to_json(chunk)}\n\n" for chunk in chunks)
        self.over = self._turn.over or frame.get("type") in _LAST
        return text + "data: [DONE]\n\n" if self._turn.over else text


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
