"""Reading one answer: the SDK's stream events in, ours out, one for one at most."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from ..protocol.content import Usage
from .model import (
    Block,
    BlockClosed,
    BlockOpened,
    InputDelta,
    ModelEvent,
    ReasoningDelta,
    StepOpened,
    TextDelta,
)


@dataclass(slots=True)
class Reading:
    """Turns the SDK's events into ours, one for one at most, and keeps what the end will need."""

    request_id: str | None = None
    started: bool = False
    stopped: bool = False
    content: dict[int, Block] = field(default_factory=dict[int, Block])
    broken: dict[int, str] = field(default_factory=dict[int, str])
    """Closed tool calls whose input is not a JSON object, by name."""
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
        self._held = ""
        match block.type:
            case "text":
                return BlockOpened(index=index, kind="text")
            case "thinking":
                return BlockOpened(index=index, kind="reasoning")
            case "tool_use":
                self._inputs[index] = []
                return BlockOpened(index=index, kind="tool", call_id=block.id, name=block.name)
            case _:
                return BlockOpened(index=index, kind="other")

    def _delta(self, index: int, delta: Any) -> ModelEvent | None:
        match delta.type:
            case "text_delta":
                text = self._whole(delta.text)
                return TextDelta(index=index, text=text) if text else None
            case "thinking_delta":
                text = self._whole(delta.thinking)
                return ReasoningDelta(index=index, text=text) if text else None
            case "input_json_delta":
                pieces = self._inputs.get(index)
                if pieces is None or not delta.partial_json:
                    return None
                pieces.append(delta.partial_json)
                return InputDelta(index=index, partial_json=delta.partial_json)
            case _:
                return None

    def _close(self, index: int, block: Block) -> ModelEvent:
        if block.get("type") == "tool_use":
            self._check_input(index, block)
        for key in ("text", "thinking"):
            value = block.get(key)
            if isinstance(value, str) and _SURROGATE.search(value):
                block[key] = _joined(value)
        self.content[index] = block
        return BlockClosed(index=index, block=block)

    def _check_input(self, index: int, block: Block) -> None:
        # The SDK fills in what it can guess of a half-sent input: never run that.
        text = "".join(self._inputs.pop(index, ()))
        try:
            given: object = json.loads(text) if text.strip() else {}
        except ValueError:
            given = None
        if not isinstance(given, dict):
            self.broken[index] = str(block.get("name", ""))
            block["input"] = {}

    def _whole(self, text: str) -> str:
        """Never let half a character out: it could neither be sent nor stored."""
        if not self._held and (text.isascii() or not _SURROGATE.search(text)):
            return text
        text, self._held = self._held + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return _joined(text)


_SURROGATE = re.compile("[\ud800-\udfff]")


def _joined(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def usage_of(usage: Any) -> Usage:
    """Read the API's counts; endpoints other than Anthropic's leave some out."""

    def count(name: str) -> int:
        return getattr(usage, name, None) or 0

    return Usage(
        input_tokens=count("input_tokens"),
        output_tokens=count("output_tokens"),
        cache_read_input_tokens=count("cache_read_input_tokens"),
        cache_creation_input_tokens=count("cache_creation_input_tokens"),
    )
