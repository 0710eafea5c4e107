"""A Messages API of our own: a real HTTP server that plays scripts and refuses what the real one refuses.

::

    with ModelServer() as server:
        server.script([
            Reply(Think("Let me look."), ToolUse("read_notebook", {})),
            Reply(Text("It has ", Gate(), "three cells.")),
        ])
        …                                  # ANTHROPIC_BASE_URL=server.url, ANTHROPIC_API_KEY=server.key
    assert server.refusals == []

A script is a list of answers, one a request, handed out in order; ``match``
reserves it for conversations in which a user text holds that string. An answer is a ``Reply``
(a list of parts will do), an ``HttpError``, a ``Hangup``, a ``NoHeaders``, or a
function from the ``Request`` to one of these. Inside a ``Text``, a ``Think`` or a ``ToolUse``, and between
them, effects may stand: a ``Gate`` that the test opens, a ``Pace``, a fault.
A request without ``stream`` (a title, say) is answered with ``plain_reply`` and takes nothing from a script.

The server runs an asyncio loop on a thread of its own, so that a subprocess
and the test itself can both talk to it. All waits take a bound.
"""

# What it reads is JSON that may be anything: types would be claims.
# pyright: basic

from __future__ import annotations

import asyncio
import itertools
import json
import re
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from .model_rules import Refusal, Rules, canonical

Json = Any
BOUND_S = 45.0
"""No wait of a test is longer unless it says so.

A server's first turn imports the SDK, and on a busy machine that alone may take ten seconds.
"""


# -- effects: what may stand between two tokens ------------------------------------


class Gate:
    """Holds the stream here until the test opens it. ``reached`` tells that it was met."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._lock = threading.Lock()
        self._open = False
        self._waiting: list[Callable[[], object]] = []

    def open(self) -> None:
        """Let the stream go on, now and whenever it comes by again."""
        with self._lock:
            self._open = True
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def wait_reached(self, timeout: float = BOUND_S) -> None:
        """Block until the stream stands here."""
        assert self.reached.wait(timeout), "the stream never came to this gate"

    async def until_reached(self) -> None:
        """Wait, on an event loop, until the stream stands here."""
        await asyncio.to_thread(self.wait_reached)

    async def _pass(self) -> None:
        loop, opened = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            if not self._open:
                self._waiting.append(lambda: loop.call_soon_threadsafe(opened.set))
            else:
                opened.set()
        self.reached.set()
        await opened.wait()


@dataclass(frozen=True, slots=True)
class Pace:
    """From here on: this many tokens a second (0: as fast as the socket takes them)."""

    tokens_per_s: float = 0.0
    ttft: float = 0.0
    """Seconds to wait once, here, before the next token."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is cut, with a TCP reset."""


@dataclass(frozen=True, slots=True)
class CleanEnd:
    """The response ends properly, the message does not."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing more comes, not even a ping, until the client gives up."""


@dataclass(frozen=True, slots=True)
class Ping:
    """A keep-alive event."""


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """An SSE ``error`` event; the stream ends after it."""

    type: str = "overloaded_error"
    message: str = "Overloaded"


@dataclass(frozen=True, slots=True)
class Malformed:
    """A ``data:`` line that is no JSON."""

    data: str = '{"type": "content_block_delta", "index": 0, '


@dataclass(frozen=True, slots=True)
class RawEvent:
    """Any event, e.g. of a type that nobody knows yet."""

    type: str
    data: Mapping[str, Json] = field(default_factory=dict[str, Json])


Effect = Gate | Pace | Drop | CleanEnd | Stall | Ping | ErrorEvent | Malformed | RawEvent


# -- parts: what a reply is made of ------------------------------------------------


class Text:
    """A text block, in pieces, effects between them."""

    def __init__(self, *pieces: str | Effect) -> None:
        self.pieces = pieces


class Think:
    """A thinking block with a signature; without text, or when the request wants none, only that."""

    def __init__(self, *pieces: str | Effect, signature: str | None = None, signed: bool = True) -> None:
        self.pieces = pieces
        self.signature = signature
        self.signed = signed


InputOf = Callable[["Request"], Mapping[str, Json]]


class ToolUse:
    """A call. ``input`` may be computed from the request, e.g. from an earlier result.

    ``halfway`` stands in the middle of the input's JSON; ``raw`` replaces that JSON.
    """

    def __init__(
        self,
        name: str,
        input: Mapping[str, Json] | InputOf | None = None,
        *,
        id: str | None = None,
        halfway: Effect | None = None,
        raw: str | None = None,
    ) -> None:
        self.name = name
        self.input = input if input is not None else {}
        self.id = id
        self.halfway = halfway
        self.raw = raw


@dataclass(frozen=True, slots=True)
class RawBlock:
    """Any block, sent whole in its ``content_block_start``, e.g. redacted_thinking or an unknown type."""

    block: Mapping[str, Json]


Part = Text | Think | ToolUse | RawBlock | Effect


class Reply:
    """One answer: parts in order. Parallel calls are several ``ToolUse``."""

    def __init__(
        self,
        *parts: Part | str,
        stop_reason: str | None = None,
        stop_details: Mapping[str, Json] | None = None,
        output_tokens: int | None = None,
        drop_after_events: int | None = None,
        opening: Sequence[Effect] = (),
    ) -> None:
        self.parts: list[Part] = [Text(p) if isinstance(p, str) else p for p in parts]
        self.stop_reason = stop_reason
        self.stop_details = stop_details
        self.output_tokens = output_tokens
        self.drop_after_events = drop_after_events
        self.opening = opening
        """What happens before ``message_start``."""


@dataclass(frozen=True, slots=True)
class HttpError:
    """An answer that is no stream."""

    status: int
    type: str = ""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str | None = None
    """Sent instead of the API's JSON, e.g. a proxy's HTML page."""


@dataclass(frozen=True, slots=True)
class Hangup:
    """The connection is closed before a byte of the answer."""


@dataclass(frozen=True, slots=True)
class NoHeaders:
    """No answer comes until the client gives up."""


@dataclass(frozen=True, slots=True)
class EmptyStream:
    """200, the right content type, and nothing."""


Fixed = Reply | HttpError | Hangup | NoHeaders | EmptyStream
Answer = Fixed | Sequence[Part | str] | str | Callable[["Request"], "Fixed | Sequence[Part | str] | str"]

_ERROR_TYPES = {
    400: ("invalid_request_error", "Invalid request"),
    401: ("authentication_error", "Invalid bearer token"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "Not found"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit"),
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service unavailable"),
    504: ("timeout_error", "Gateway timeout"),
    529: ("overloaded_error", "Overloaded"),
}


# -- what was seen -----------------------------------------------------------------


@dataclass
class Request:
    """One request as it arrived, and what became of it."""

    index: int
    path: str
    headers: dict[str, str]
    body: Json
    received_at: float
    """On the monotonic clock."""
    request_id: str
    refusal: Refusal | None = None
    finished: threading.Event = field(default_factory=threading.Event)
    """The answer is over, in whichever way."""
    disconnected: threading.Event = field(default_factory=threading.Event)
    """The client closed the connection before the answer was over."""

    @property
    def messages(self) -> list[Json]:
        """The history."""
        return self.body["messages"]

    @property
    def user_texts(self) -> list[str]:
        """All texts of user messages, in order."""
        return [
            b["text"]
            for m in self.messages
            if m["role"] == "user"
            for b in _blocks(m["content"])
            if b.get("type") == "text"
        ]

    @property
    def tool_results(self) -> list[Json]:
        """The ``tool_result`` blocks of the whole history, in order."""
        blocks = [b for m in self.messages for b in _blocks(m["content"])]
        return [b for b in blocks if b.get("type") == "tool_result"]

    def result_text(self, index: int = -1) -> str:
        """The text of one tool result, the last by default."""
        content = _blocks(self.tool_results[index].get("content"))
        return "\n".join(b["text"] for b in content if b.get("type") == "text")

    def find(self, pattern: str) -> str:
        """Return the first group of ``pattern`` in the newest tool result that has it."""
        for index in range(len(self.tool_results) - 1, -1, -1):
            found = re.search(pattern, self.result_text(index))
            if found:
                return found.group(1)
        raise AssertionError(f"no tool result matches {pattern!r}")


@dataclass(frozen=True, slots=True)
class SentToken:
    """One delta as it left: what the benches measure from."""

    request: int
    number: int
    text: str
    monotonic: float
    wall: float


class _Over(Exception):
    """The answer ends here."""


class _Cut(Exception):
    """The connection ends here."""


@dataclass
class _Script:
    answers: list[Answer]
    match: str | None

    def fits(self, request: Request) -> bool:
        return bool(self.answers) and (self.match is None or any(self.match in t for t in request.user_texts))


# -- the server --------------------------------------------------------------------


class ModelServer:
    """Scripts in, requests out. A context manager; every wait has a bound."""

    def __init__(self, *, key: str = "sk-ant-test-key-000000000000") -> None:
        self.key = key
        self.rules = Rules()
        self.requests: list[Request] = []
        """Requests for an answer (``/v1/messages``), refused ones included."""
        self.refusals: list[Refusal] = []
        self.tokens: list[SentToken] = []
        self.pace = Pace()
        """How fast replies go that do not say it themselves."""
        self.plain_reply = "A scripted title"
        self.plain_stop = "end_turn"
        """Why it stops there."""
        self.plain_error: HttpError | None = None
        """Answered instead."""
        self.plain_gate: Gate | None = None
        """Holds back what is answered without a stream."""
        self.default: Answer | None = None
        """What is answered when no script is left."""
        self.models_error: HttpError | None = None
        self.url = ""
        self._scripts: list[_Script] = []
        self._changed = threading.Condition()
        self._cached: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._serve, name="model-server", daemon=True)
        self._started = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- for the test --------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(BOUND_S)
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Cut every connection and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(BOUND_S)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to talk to this server."""
        return {"ANTHROPIC_BASE_URL": self.url, "ANTHROPIC_API_KEY": self.key}

    def script(self, answers: Sequence[Answer], *, match: str | None = None) -> None:
        """Play these answers, one a request."""
        with self._changed:
            self._scripts.append(_Script(list(answers), match))

    @property
    def remaining(self) -> int:
        """How many scripted answers nobody has asked for."""
        with self._changed:
            return sum(len(s.answers) for s in self._scripts)

    def take_back(self, match: str) -> int:
        """Forget the scripts of one conversation; return how many answers nobody has asked for."""
        with self._changed:
            unasked = sum(len(s.answers) for s in self._scripts if s.match == match)
            self._scripts = [s for s in self._scripts if s.match != match]
            return unasked

    def wait_requests(self, count: int, timeout: float = BOUND_S) -> list[Request]:
        """Block until so many requests have arrived."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.requests) >= count, timeout)
            assert arrived, f"{len(self.requests)} requests arrived, not {count}"
            return list(self.requests)

    async def until_requests(self, count: int) -> list[Request]:
        """Wait, on an event loop, until so many requests have arrived."""
        return await asyncio.to_thread(self.wait_requests, count)

    # -- HTTP ----------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._started.set()
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._hang_up(self._server))
            self._loop.close()

    async def _hang_up(self, server: asyncio.Server) -> None:
        server.close()
        await asyncio.sleep(0)  # A connection that was just accepted becomes a task here.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # An aborted transport closes its socket one turn of the loop later.

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one_request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, _Cut, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        path = path.partition("?")[0]
        match method, path:
            case "POST", "/v1/messages":
                await self._messages(reader, writer, path, headers, raw)
            case "POST", "/v1/messages/count_tokens":
                await _send_json(writer, 200, {"input_tokens": _tokens(json.loads(raw)["messages"])})
            case "GET", "/v1/models":
                await self._models(writer)
            case _:
                await _send_error(writer, HttpError(404), "req_" + secrets.token_hex(8))
        return headers.get("connection", "").lower() != "close"

    async def _models(self, writer: asyncio.StreamWriter) -> None:
        if self.models_error is not None:
            await _send_error(writer, self.models_error, "req_" + secrets.token_hex(8))
            return
        data = [_model_info(offer) for offer in self.rules.offers]
        page = {"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}
        await _send_json(writer, 200, page)

    async def _messages(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        path: str,
        headers: dict[str, str],
        raw: bytes,
    ) -> None:
        request = self._note_request(path, headers, raw)
        try:
            if request.refusal is not None:
                refusal = request.refusal
                error = HttpError(refusal.status, refusal.type, refusal.message)
                await _send_error(writer, error, request.request_id)
            elif not request.body.get("stream"):
                await self._answer_plainly(writer, request)
            else:
                await self._answer(reader, writer, request)
        finally:
            request.finished.set()

    def _note_request(self, path: str, headers: dict[str, str], raw: bytes) -> Request:
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        request = Request(
            index=len(self.requests),
            path=path,
            headers=headers,
            body=body,
            received_at=time.monotonic(),
            request_id="req_" + secrets.token_hex(10),
        )
        request.refusal = self.rules.refuse(headers, body)
        if request.refusal is None and headers["authorization"] != f"Bearer {self.key}":
            request.refusal = Refusal(401, "authentication_error", "Invalid bearer token")
        with self._changed:
            self.requests.append(request)
            if request.refusal is not None:
                self.refusals.append(request.refusal)
            self._changed.notify_all()
        return request

    # -- answers -------------------------------------------------------------------

    def _next_answer(self, request: Request) -> Fixed:
        with self._changed:
            fitting = [s for s in self._scripts if s.fits(request)]
            # A script kept for this conversation goes before one for any.
            script = min(fitting, key=lambda s: s.match is None, default=None)
            answer = script.answers.pop(0) if script is not None else self.default
        if answer is None:
            refusal = Refusal(400, "invalid_request_error", "No scripted answer is left for this request.")
            self.refusals.append(refusal)
            return HttpError(refusal.status, refusal.type, refusal.message)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, str):
            return Reply(answer)
        return Reply(*answer) if isinstance(answer, Sequence) else answer

    async def _answer_plainly(self, writer: asyncio.StreamWriter, request: Request) -> None:
        if self.plain_gate is not None:
            await self.plain_gate._pass()
        if self.plain_error is not None:
            await _send_error(writer, self.plain_error, request.request_id)
            return
        content = [{"type": "text", "text": self.plain_reply}]
        message = _message(request, content, self.plain_stop, self._usage(request) | {"output_tokens": 4})
        await _send_json(writer, 200, message, {"request-id": request.request_id})

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        watch = asyncio.ensure_future(_until_closed(reader))
        play = asyncio.ensure_future(self._play(writer, request))
        try:
            await asyncio.wait({watch, play}, return_when=asyncio.FIRST_COMPLETED)
            if play.done():
                play.result()
                return
            request.disconnected.set()
            raise _Cut
        except ConnectionError:
            request.disconnected.set()
            raise
        finally:
            for task in (watch, play):
                task.cancel()
            await asyncio.gather(watch, play, return_exceptions=True)

    async def _play(self, writer: asyncio.StreamWriter, request: Request) -> None:
        match self._next_answer(request):
            case HttpError() as error:
                await _send_error(writer, error, request.request_id)
            case Hangup():
                raise _Cut
            case NoHeaders():
                await asyncio.Event().wait()
            case EmptyStream():
                await _Stream(self, writer, request, Reply()).head()
                await _end_chunks(writer)
            case Reply() as reply:
                await _Stream(self, writer, request, reply).run()

    def _usage(self, request: Request) -> dict[str, Json]:
        """Count tokens as the cache would: what was sent before is read from it."""
        body = request.body
        prefixes = [canonical([body.get("system"), body.get("tools")])]
        sizes = [_tokens([body.get("system") or "", body.get("tools") or []])]
        for message in body["messages"]:
            prefixes.append(str(hash((prefixes[-1], canonical(message)))))
            sizes.append(sizes[-1] + _tokens(message))
        known = max((s for p, s in zip(prefixes, sizes, strict=True) if p in self._cached), default=0)
        total = sizes[-1]
        marked = bool(body.get("cache_control"))
        if marked:
            self._cached.update(prefixes)
        return {
            "input_tokens": 3 if marked else total - known,
            "cache_read_input_tokens": known,
            "cache_creation_input_tokens": total - known if marked else 0,
            "output_tokens": 1,
        }

    # -- used by the stream ----------------------------------------------------------

    def _note_token(self, request: Request, number: int, text: str) -> None:
        self.tokens.append(SentToken(request.index, number, text, time.monotonic(), time.time()))


class _Stream:
    """Writes one reply as server-sent events."""

    def __init__(self, server: ModelServer, writer: asyncio.StreamWriter, request: Request, reply: Reply) -> None:
        self._server = server
        self._writer = writer
        self._request = request
        self._reply = reply
        self._content: list[Json] = []
        self._events = 0
        self._tokens = 0
        self._pace = server.pace
        self._due = 0.0

    async def head(self, headers: Mapping[str, str] | None = None) -> None:
        await _send_head(
            self._writer,
            200,
            {
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                "transfer-encoding": "chunked",
                "request-id": self._request.request_id,
                **(headers or {}),
            },
        )

    async def run(self) -> None:
        await self.head()
        try:
            for effect in self._reply.opening:
                await self._effect(effect)
            await self._start()
            for part in self._reply.parts:
                await self._part(part)
            await self._stop()
        except _Over:
            await _end_chunks(self._writer)
            return
        await _end_chunks(self._writer)

    async def _start(self) -> None:
        usage = self._server._usage(self._request)
        self._usage = usage
        message = _message(self._request, [], None, usage)
        dropped = self._dropped()
        if dropped:
            message["input_transformations"] = dropped
        await self._event("message_start", {"message": message})
        await self._effect(Ping())
        if self._pace.ttft:
            await asyncio.sleep(self._pace.ttft)

    def _dropped(self) -> list[Json]:
        binding = (self._request.body.get("thinking") or {}).get("block_binding") or {}
        if binding.get("prefix_mismatch_behavior") != "drop_block":
            return []
        paths = self._server.rules.mismatched(self._request.body)
        return [{"type": "thinking_dropped", "path": p, "reason": "prefix_binding_mismatch"} for p in paths]

    async def _stop(self) -> None:
        calls = any(b["type"] == "tool_use" for b in self._content)
        stop_reason = self._reply.stop_reason or ("tool_use" if calls else "end_turn")
        output = self._reply.output_tokens or max(1, self._tokens)
        self._server.rules.remember(self._request.body, self._content, stop_reason)
        delta: dict[str, Json] = {"stop_reason": stop_reason, "stop_sequence": None}
        if self._reply.stop_details is not None:
            delta["stop_details"] = dict(self._reply.stop_details)
        await self._event("message_delta", {"delta": delta, "usage": {**self._usage, "output_tokens": output}})
        await self._event("message_stop", {})

    async def _part(self, part: Part) -> None:
        match part:
            case Text():
                await self._text(part)
            case Think():
                await self._think(part)
            case ToolUse():
                await self._tool_use(part)
            case RawBlock():
                index = await self._open(dict(part.block))
                await self._close(index)
            case _:
                await self._effect(part)

    async def _text(self, part: Text) -> None:
        index = await self._open({"type": "text", "text": ""})
        for piece in part.pieces:
            if not isinstance(piece, str):
                await self._effect(piece)
                continue
            for token in _split(piece):
                self._content[index]["text"] += token
                await self._delta(index, {"type": "text_delta", "text": token}, token)
        await self._close(index)

    async def _think(self, part: Think) -> None:
        index = await self._open({"type": "thinking", "thinking": "", "signature": ""})
        shown = ((self._request.body.get("thinking") or {}).get("display")) == "summarized"
        for piece in part.pieces:
            if not isinstance(piece, str):
                await self._effect(piece)
                continue
            for token in _split(piece) if shown else ():
                self._content[index]["thinking"] += token
                await self._delta(index, {"type": "thinking_delta", "thinking": token}, token)
        if part.signed:
            signature = part.signature or "Eq" + secrets.token_urlsafe(60)
            self._content[index]["signature"] = signature
            await self._delta(index, {"type": "signature_delta", "signature": signature}, None)
        await self._close(index)

    async def _tool_use(self, part: ToolUse) -> None:
        given = part.input(self._request) if callable(part.input) else part.input
        call = {"type": "tool_use", "id": part.id or "toolu_" + secrets.token_hex(12), "name": part.name}
        index = await self._open({**call, "input": {}})
        self._content[index]["input"] = dict(given)
        text = part.raw if part.raw is not None else json.dumps(given, ensure_ascii=False)
        pieces = [text[i : i + 12] for i in range(0, len(text), 12)] if part.raw is not None or given else []
        await self._delta(index, {"type": "input_json_delta", "partial_json": ""}, None)
        for number, piece in enumerate(pieces):
            if part.halfway is not None and number == (len(pieces) + 1) // 2:
                await self._effect(part.halfway)
            await self._delta(index, {"type": "input_json_delta", "partial_json": piece}, piece)
        await self._close(index)

    async def _open(self, block: Json) -> int:
        index = len(self._content)
        self._content.append(json.loads(json.dumps(block)))
        await self._event("content_block_start", {"index": index, "content_block": block})
        return index

    async def _close(self, index: int) -> None:
        await self._event("content_block_stop", {"index": index})

    async def _delta(self, index: int, delta: Json, token: str | None) -> None:
        if token is not None:
            await self._keep_pace()
            self._server._note_token(self._request, self._tokens, token)
            self._tokens += 1
        await self._event("content_block_delta", {"index": index, "delta": delta})

    async def _keep_pace(self) -> None:
        if not self._pace.tokens_per_s:
            return
        now = time.monotonic()
        # A schedule, not a sleep a token: lateness does not add up.
        self._due = max(self._due, now - 1.0) if self._due else now
        if self._due > now:
            await asyncio.sleep(self._due - now)
        self._due += 1.0 / self._pace.tokens_per_s

    async def _effect(self, effect: Effect) -> None:  # noqa: C901 -- one line an effect
        match effect:
            case Gate():
                await effect._pass()
            case Pace():
                self._pace, self._due = effect, 0.0
                if effect.ttft:
                    await asyncio.sleep(effect.ttft)
            case Drop():
                raise _Cut
            case CleanEnd():
                raise _Over
            case Stall():
                await asyncio.Event().wait()
            case Ping():
                await self._event("ping", {})
            case ErrorEvent():
                await self._event("error", {"error": {"type": effect.type, "message": effect.message}})
                raise _Over
            case Malformed():
                await self._write(f"event: content_block_delta\ndata: {effect.data}\n\n")
            case RawEvent():
                await self._event(effect.type, dict(effect.data))

    async def _event(self, type: str, data: dict[str, Json]) -> None:
        payload = json.dumps({"type": type, **data}, ensure_ascii=False, separators=(",", ":"))
        if not payload.isascii():
            # Half a character, which an endpoint may send, can only travel as an escape.
            payload = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", payload)
        await self._write(f"event: {type}\ndata: {payload}\n\n")
        self._events += 1
        if self._reply.drop_after_events == self._events:
            raise _Cut

    async def _write(self, text: str) -> None:
        data = text.encode()
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()


# -- bytes -------------------------------------------------------------------------

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


async def _send_head(writer: asyncio.StreamWriter, status: int, headers: Mapping[str, str]) -> None:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}", *(f"{k}: {v}" for k, v in headers.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    await writer.drain()


async def _send_json(
    writer: asyncio.StreamWriter, status: int, body: Json, headers: Mapping[str, str] | None = None
) -> None:
    data = json.dumps(body).encode()
    head = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
    await _send_head(writer, status, head)
    writer.write(data)
    await writer.drain()


async def _send_error(writer: asyncio.StreamWriter, error: HttpError, request_id: str) -> None:
    kind, message = _ERROR_TYPES.get(error.status, ("api_error", "Error"))
    headers = {"request-id": request_id, **error.headers}
    if error.body is not None:
        data = error.body.encode()
        await _send_head(writer, error.status, {**headers, "content-length": str(len(data))})
        writer.write(data)
        await writer.drain()
        return
    detail = {"type": error.type or kind, "message": error.message or message}
    await _send_json(writer, error.status, {"type": "error", "error": detail, "request_id": request_id}, headers)


async def _end_chunks(writer: asyncio.StreamWriter) -> None:
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    """Return when the client closes. It sends nothing while it waits for an answer."""
    try:
        await reader.read(1)
    except ConnectionError:
        return


def _message(request: Request, content: list[Json], stop_reason: str | None, usage: Json) -> Json:
    return {
        "id": "msg_" + secrets.token_hex(12),
        "type": "message",
        "role": "assistant",
        "model": request.body["model"],
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


def _model_info(offer: Any) -> Json:
    def can(value: bool) -> Json:
        return {"supported": value}

    types = {
        "adaptive": can(offer.adaptive),
        "enabled": can(not offer.adaptive),
        "disabled": can(True),
        "between_tools": can(False),
    }
    effort = {"supported": True, "low": can(True), "medium": can(True), "high": can(True), "max": can(True)}
    return {
        "type": "model",
        "id": offer.id,
        "display_name": offer.display_name,
        "created_at": "2026-09-01T00:00:00Z",
        "lifecycle": offer.lifecycle,
        "deprecated_at": None,
        "retires_at": None,
        "line": None,
        "max_input_tokens": 1_000_000,
        "max_tokens": 128_000,
        "capabilities": {
            "thinking": {"supported": True, "types": types},
            "effort": effort,
            "image_input": can(True),
        },
    }


def _blocks(content: Json) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else (content or [])


def _tokens(value: Json) -> int:
    return max(1, len(json.dumps(value)) // 4)


def _split(text: str) -> Iterator[str]:
    """Cut a text as a model would: words, each with the space before it."""
    return (m.group() for m in re.finditer(r"\s*\S{1,8}|\s+", text))


def words(count: int) -> str:
    """Return a text of exactly ``count`` tokens, all different."""
    return " ".join(f"w{n:05d}" for n in itertools.islice(itertools.count(), count))


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    """A model server of this test's own. What it refused fails the test."""
    with ModelServer() as server:
        yield server
    assert server.refusals == []


async def drained(stream: AsyncIterator[Any]) -> list[Any]:
    """Return all that an asynchronous iterator gives."""
    return [item async for item in stream]
