"""The Messages API in this process: requests in, server-sent events out, at a pace one can read."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2

from ..dialect import DEMO_ID
from .jobs import next_moves
from .talk import Call, Move, Say, Think, name_of, read_talk

Json = Any

_MODEL = {
    "type": "model",
    "id": DEMO_ID,
    "display_name": "Demo (a script, not Claude)",
    "created_at": "2026-01-01T00:00:00Z",
    "lifecycle": "active",
}
_WAIT_TOKENS = 20
"""The time that so many tokens take passes before the first one."""
_INPUT_SPEED_UP = 4
_TOKEN = re.compile(r"\s*\S{1,7}|\s+")


class DemoTransport(httpx2.AsyncBaseTransport):
    """Answers what the client asks, without a network."""

    def __init__(self, *, tokens_per_s: float) -> None:
        self._tokens_per_s = tokens_per_s

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        headers = {"request-id": "req_demo_" + secrets.token_hex(8)}
        match request.method, request.url.path:
            case "POST", "/v1/messages":
                return self._answer(json.loads(await request.aread()), headers)
            case "GET", "/v1/models":
                page = {"data": [_MODEL], "has_more": False, "first_id": DEMO_ID, "last_id": DEMO_ID}
                return httpx2.Response(200, headers=headers, json=page)
            case _:
                error = {"type": "not_found_error", "message": "The demo does not know this."}
                return httpx2.Response(404, headers=headers, json={"type": "error", "error": error})

    def _answer(self, body: Json, headers: dict[str, str]) -> httpx2.Response:
        if not body.get("stream"):
            # Only a name for the conversation is asked for in one piece.
            return httpx2.Response(200, headers=headers, json=_message([_block(Say(name_of(body)))]))
        moves = next_moves(read_talk(body))
        headers["content-type"] = "text/event-stream; charset=utf-8"
        return httpx2.Response(200, headers=headers, stream=_Paced(moves, self._tokens_per_s))


class _Paced(httpx2.AsyncByteStream):
    """One answer's events, each when its time has come."""

    def __init__(self, moves: list[Move], tokens_per_s: float) -> None:
        self._moves = moves
        self._tokens_per_s = tokens_per_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        due = time.monotonic()
        for tokens, event in _events(self._moves):
            if self._tokens_per_s and tokens:
                due += tokens / self._tokens_per_s
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _events(moves: list[Move]) -> Iterator[tuple[float, dict[str, Json]]]:
    """Each event with how many tokens' time passes before it."""
    yield 0, {"type": "message_start", "message": {**_message([]), "stop_reason": None}}
    wait: float = _WAIT_TOKENS
    spoken = 0
    for index, move in enumerate(moves):
        yield wait, {"type": "content_block_start", "index": index, "content_block": _empty(_block(move))}
        wait = 1
        for cost, delta in _deltas(move):
            spoken += 1
            yield cost, {"type": "content_block_delta", "index": index, "delta": delta}
        yield 0, {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": _stop_reason(moves), "stop_sequence": None}
    yield 0, {"type": "message_delta", "delta": delta, "usage": {"output_tokens": spoken}}
    yield 0, {"type": "message_stop"}


def _deltas(move: Move) -> Iterator[tuple[float, dict[str, Json]]]:
    match move:
        case Say(text=text):
            for token in _TOKEN.findall(text):
                yield 1, {"type": "text_delta", "text": token}
        case Think(text=text):
            for token in _TOKEN.findall(text):
                yield 1, {"type": "thinking_delta", "thinking": token}
            yield 0, {"type": "signature_delta", "signature": "demo"}
        case Call(input=given):
            for token in _TOKEN.findall(json.dumps(given, ensure_ascii=False)):
                yield 1 / _INPUT_SPEED_UP, {"type": "input_json_delta", "partial_json": token}


def _block(move: Move) -> dict[str, Json]:
    match move:
        case Say(text=text):
            return {"type": "text", "text": text}
        case Think(text=text):
            return {"type": "thinking", "thinking": text, "signature": "demo"}
        case Call(name=name, input=given):
            return {"type": "tool_use", "id": "toolu_demo_" + secrets.token_hex(10), "name": name, "input": given}


def _empty(block: dict[str, Json]) -> dict[str, Json]:
    """A block as it stands before its first delta."""
    emptied: dict[str, Json] = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {key: emptied.get(key, value) for key, value in block.items()}


def _stop_reason(moves: list[Move]) -> str:
    return "tool_use" if any(isinstance(move, Call) for move in moves) else "end_turn"


def _message(content: list[dict[str, Json]]) -> dict[str, Json]:
    calls = any(block["type"] == "tool_use" for block in content)
    return {
        "id": "msg_demo_" + secrets.token_hex(10),
        "type": "message",
        "role": "assistant",
        "model": DEMO_ID,
        "content": content,
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
