"""One small stream, played in memory before the first real one.

The SDK builds its validators when it first meets each kind of event. Playing
one of each in the thread that imports it keeps that work off the event loop
and out of the way of the first tokens.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from .reading import Reading

_EVENTS: tuple[dict[str, Any], ...] = (
    {
        "type": "message_start",
        "message": {
            "id": "msg_0", "type": "message", "role": "assistant", "model": "rehearsal", "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "x"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start", "index": 2,
        "content_block": {"type": "tool_use", "id": "t", "name": "n", "input": {}},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "content_block_stop", "index": 2},
    {
        "type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
)  # fmt: skip


def rehearse(anthropic: Any, httpx2: Any) -> None:
    """Play one stream of every kind of event through the SDK, in memory, in this thread."""
    data = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in _EVENTS).encode()

    def answer(_: object) -> Any:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data)

    async def play() -> None:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer), trust_env=False)
        async with anthropic.AsyncAnthropic(
            api_key="rehearsal", base_url="http://rehearsal.localhost", http_client=http, max_retries=0
        ) as client:
            messages = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
            async with client.messages.stream(model="rehearsal", max_tokens=1, messages=messages) as stream:
                reading = Reading()
                async for event in stream:
                    reading.translate(event)

    asyncio.run(play())
