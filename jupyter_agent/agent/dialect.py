"""``Dialect``: how each model at our endpoint wants to be asked, learned from what it refuses.

Not every endpoint that speaks the Messages API takes all of it. What a 400
names is left out from then on, for that model; thinking that is bound to
another history is dropped by the API or by us, for that session.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from ..settings import Settings
from .faults import Fault
from .model import ApiMessage, Block, ModelRequest

BINDING_BETA = "thinking-binding-controls-2026-08-01"
DEMO_ID = "demo"
"""The demo's model id. A session that began with the demo goes on with Claude once there is a key."""

Feature = Literal["thinking", "cache_control", "output_config", "eager_input_streaming", "system_role", "bearer"]

_FEATURE_NAMES: dict[Feature, str] = {
    "thinking": "adaptive thinking",
    "cache_control": "cache control",
    "output_config": "an effort level",
    "eager_input_streaming": "eager tool input",
    "system_role": "notes in the system role",
}

_REFUSALS: tuple[tuple[Feature, re.Pattern[str]], ...] = (
    ("system_role", re.compile(r"role.*system|system.*role|Unexpected role", re.I | re.S)),
    ("output_config", re.compile(r"output_config|effort", re.I)),
    ("eager_input_streaming", re.compile(r"eager_input_streaming", re.I)),
    ("cache_control", re.compile(r"cache_control", re.I)),
    ("thinking", re.compile(r"thinking", re.I)),
)
"""Which words in a 400 mean that the endpoint does not take one of our parameters."""


class Dialect:
    """One a client. See the module."""

    def __init__(self, settings: Settings, kind: Literal["claude", "demo"]) -> None:
        self._settings = settings
        self._kind: Literal["claude", "demo"] = kind
        self._missing: dict[str, set[Feature]] = {}
        """What each model, or its endpoint, does not take."""
        self._drops_blocks: set[str] = set()
        """Sessions with thinking blocks that are bound elsewhere: the API drops those."""
        self._strips_thinking: set[str] = set()
        """Sessions with thinking blocks that no API of this kind has signed: we leave them out."""

    def leave_out(self, model: str, feature: Feature) -> None:
        """Ask this model without it from now on."""
        self._missing.setdefault(model, set()).add(feature)

    # -- writing a request -------------------------------------------------------------

    def parameters(self, request: ModelRequest, *, key: str | None) -> dict[str, Any]:
        """Return what the SDK is asked with; ``key``: the API key, for who wants it in a header of its own."""
        missing = self._missing.get(request.model, set[Feature]())
        parameters: dict[str, Any] = {
            "model": self._settings.model if request.model == DEMO_ID and self._kind == "claude" else request.model,
            "max_tokens": self._settings.max_tokens,
            "messages": _messages(
                request.messages,
                system_role="system_role" not in missing,
                thinking=request.session_id not in self._strips_thinking,
            ),
        }
        if request.system:
            parameters["system"] = request.system
        if request.tools:
            parameters["tools"] = _tools(request.tools, eager="eager_input_streaming" not in missing)
        if "cache_control" not in missing:
            parameters["cache_control"] = {"type": "ephemeral"}
        if "thinking" not in missing:
            parameters["thinking"] = self._thinking(request)
        if self._settings.effort and "output_config" not in missing:
            parameters["output_config"] = {"effort": self._settings.effort}
        headers: dict[str, str] = {}
        if request.session_id in self._drops_blocks:
            headers["anthropic-beta"] = BINDING_BETA
        if "bearer" in missing and key:
            headers["x-api-key"] = key
        if headers:
            parameters["extra_headers"] = headers
        return parameters

    def _thinking(self, request: ModelRequest) -> dict[str, Any]:
        thinking: dict[str, Any] = {"type": "adaptive", "display": "summarized"}
        if request.session_id in self._drops_blocks:
            thinking["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
        return thinking

    # -- what to do about a fault ------------------------------------------------------

    def remedy(self, request: ModelRequest, fault: Fault, *, own_endpoint: bool) -> tuple[str, str] | None:
        """Change how we ask, if that can help: a notice's code and text. Each remedy is tried once."""
        if fault.bad_thinking:
            known = self._drops_blocks if fault.bound_elsewhere else self._strips_thinking
            if request.session_id in known:
                known = self._strips_thinking
            if request.session_id not in known:
                known.add(request.session_id)
                text = "Some of the earlier reasoning no longer fits this conversation and is left out."
                return ("reasoning_dropped", text)
        feature = self._refused_feature(request, fault, own_endpoint=own_endpoint)
        if feature is None:
            return None
        self.leave_out(request.model, feature)
        if feature == "bearer":
            return ("key_header", "The endpoint did not take the key as a bearer token; sending it as x-api-key.")
        return (
            "parameter_dropped",
            f"{request.model} does not take {_FEATURE_NAMES[feature]}; asking without it.",
        )

    def _refused_feature(self, request: ModelRequest, fault: Fault, *, own_endpoint: bool) -> Feature | None:
        missing = self._missing.get(request.model, set[Feature]())
        if fault.code == "auth" and own_endpoint and "bearer" not in missing and fault.detail:
            return "bearer"
        if fault.code not in ("invalid_request", "bad_history") or fault.bad_thinking:
            return None
        sent: dict[Feature, bool] = {
            "thinking": True,
            "cache_control": True,
            "output_config": bool(self._settings.effort),
            "eager_input_streaming": any("eager_input_streaming" in tool for tool in request.tools),
            "system_role": any(message.role == "system" for message in request.messages),
        }
        for feature, pattern in _REFUSALS:
            if sent[feature] and feature not in missing and pattern.search(fault.detail):
                return feature
        return None


def _messages(messages: list[ApiMessage], *, system_role: bool, thinking: bool) -> list[dict[str, Any]]:
    """Write the history; where there is no system role, notes join the user message before them."""
    written: list[dict[str, Any]] = []
    for message in messages:
        content = message.content if thinking else [b for b in message.content if b.get("type") not in _THINKING]
        if message.role == "system" and not system_role and written and written[-1]["role"] == "user":
            previous = written.pop()
            written.append({"role": "user", "content": [*previous["content"], *map(_as_note, content)]})
        elif content:
            written.append({"role": message.role, "content": content})
    return written


_THINKING = ("thinking", "redacted_thinking")


def _as_note(block: Block) -> Block:
    return {"type": "text", "text": f"<system-note>\n{block.get('text', '')}\n</system-note>"}


def _tools(tools: list[dict[str, Any]], *, eager: bool) -> list[dict[str, Any]]:
    if eager:
        return tools
    return [{k: v for k, v in tool.items() if k != "eager_input_streaming"} for tool in tools]
