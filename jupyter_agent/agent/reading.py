"""Reading one answer: the SDK's stream events in, ours out, one for one at most.

Not every endpoint is Anthropic's. What comes out of here can be stored, shown
and sent back: calls have names that were offered and ids of their own, numbers
are finite, characters are whole, and nothing is said outside of a block.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

from ..protocol.content import Usage
from ..protocol.plain import MAX_DEPTH, is_whole, sound, whole
from .model import (
    ApiMessage,
    Block,
    BlockClosed,
    BlockOpened,
    InputDelta,
    ModelEvent,
    ReasoningDelta,
    StepOpened,
    TextDelta,
)

_CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,200}")
_LONGEST_NAME = 100
_Kind = Literal["text", "reasoning", "tool", "other"]
_KINDS: dict[str, _Kind] = {"text": "text", "thinking": "reasoning", "tool_use": "tool"}


@dataclass(slots=True)
class Reading:
    """Turns the SDK's events into ours, one for one at most, and keeps what the end will need."""

    offered: frozenset[str] = frozenset()
    """The tools that the model was told of."""
    taken: set[str] = field(default_factory=set[str])
    """Ids of calls that the conversation holds already."""
    request_id: str | None = None
    started: bool = False
    stopped: bool = False
    content: dict[int, Block] = field(default_factory=dict[int, Block])
    broken: dict[int, str] = field(default_factory=dict[int, str])
    """Closed tool calls whose input is not a JSON object, by name."""
    unknown: str | None = None
    """The name of a called tool that was not offered."""
    _live: dict[int, _Kind] = field(default_factory=dict[int, _Kind])
    """The blocks that are open."""
    _ids: dict[int, str] = field(default_factory=dict[int, str])
    _inputs: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    _held: str = ""
    """The first half of a character that was split between two deltas."""

    def translate(self, event: Any) -> ModelEvent | None:
        """The SDK follows each raw event with a helper of the same content; those are passed over."""
        match event.type:
            case "content_block_delta":
                return self._delta(event.index, event.delta)
            case "content_block_start":
                return self._open(event.index, event.content_block)
            case "content_block_stop":
                return self._close(event.index, event.content_block.to_dict())
            case "message_start":
                self.started = True
                message = event.message
                return StepOpened(request_id=self.request_id, model=str(message.model), usage=usage_of(message.usage))
            case "message_stop":
                self.stopped = True
                return None
            case _:
                return None

    def _open(self, index: int, block: Any) -> ModelEvent:
        if index in self._live or index in self.content:
            raise ValueError(f"block {index} begins twice")
        self._held = ""
        kind = self._live[index] = _KINDS.get(block.type, "other")
        if kind != "tool":
            return BlockOpened(index=index, kind=kind)
        self._inputs[index] = []
        name = str(block.name)
        if name not in self.offered:
            self.unknown = name = whole(name)[:_LONGEST_NAME]
        return BlockOpened(index=index, kind=kind, call_id=self._call_id(index, block.id), name=name)

    def _call_id(self, index: int, given: object) -> str:
        """Return the call's id, a fresh one if the given one is used up: the API refuses to hear of it twice."""
        usable = isinstance(given, str) and _CALL_ID.fullmatch(given) and given not in self.taken
        call_id = str(given) if usable else f"toolu_{secrets.token_hex(12)}"
        self.taken.add(call_id)
        self._ids[index] = call_id
        return call_id

    def _delta(self, index: int, delta: Any) -> ModelEvent | None:
        kind = self._live.get(index)
        if kind is None:
            raise ValueError(f"block {index} goes on, but is not open")
        match (delta.type, kind):
            case ("text_delta", "text"):
                text = self._whole(delta.text)
                return TextDelta(index=index, text=text) if text else None
            case ("thinking_delta", "reasoning"):
                text = self._whole(delta.thinking)
                return ReasoningDelta(index=index, text=text) if text else None
            case ("input_json_delta", "tool") if delta.partial_json:
                self._inputs[index].append(delta.partial_json)
                text = self._whole(delta.partial_json)
                return InputDelta(index=index, partial_json=text) if text else None
            case _:
                return None

    def _close(self, index: int, block: Block) -> ModelEvent:
        if self._live.pop(index, None) is None:
            raise ValueError(f"block {index} ends, but is not open")
        if index in self._ids:
            block["id"] = self._ids[index]
            self._check_input(index, block)
        block = self.content[index] = sound(block)
        return BlockClosed(index=index, block=block)

    def _check_input(self, index: int, block: Block) -> None:
        # The SDK fills in what it can guess of a half-sent input: never run that.
        text = "".join(self._inputs.pop(index))
        try:
            given: object = json.loads(text) if text.strip() else block.get("input")
            sound(given, depth=MAX_DEPTH - 1)
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            self.broken[index] = str(block.get("name", ""))
            block["input"] = {}

    def _whole(self, text: str) -> str:
        """Never let half a character out: it could neither be sent nor stored."""
        if not self._held and is_whole(text):
            return text
        text, self._held = self._held + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return whole(text)


def calls_in(messages: list[ApiMessage]) -> set[str]:
    """Return the ids of all calls of a history."""
    return {
        str(block.get("id")) for message in messages for block in message.content if block.get("type") == "tool_use"
    }


def usage_of(usage: Any) -> Usage:
    """Read the API's counts; endpoints other than Anthropic's leave some out."""

    def count(name: str) -> int:
        value = getattr(usage, name, None)
        return value if isinstance(value, int) and value > 0 else 0

    return Usage(
        input_tokens=count("input_tokens"),
        output_tokens=count("output_tokens"),
        cache_read_input_tokens=count("cache_read_input_tokens"),
        cache_creation_input_tokens=count("cache_creation_input_tokens"),
    )
