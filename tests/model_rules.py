"""What the Messages API refuses, and in which words.

The endpoints people test against accept almost any history; the real one does
not. ``Rules.refuse`` checks one request as the API does and answers with the
API's own status, type and sentence. It remembers what each signed thinking
block was bound to, so that a changed prefix is noticed as the API notices it.
"""

# What it reads is JSON that may be anything: types would be claims.
# pyright: basic

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

API_VERSION = "2026-10-21"
BINDING_BETA = "thinking-binding-controls-2026-08-01"

Json = Any

_TOP_LEVEL = {
    "model", "max_tokens", "messages", "system", "tools", "tool_choice", "stream", "thinking", "cache_control",
    "output_config", "metadata", "stop_sequences", "service_tier", "diagnostics", "context_management", "betas",
}  # fmt: skip
_FIELDS = {
    "text": {"type", "text", "citations", "cache_control"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
    "tool_use": {"type", "id", "name", "input", "cache_control", "caller"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
    "image": {"type", "source", "cache_control"},
    "document": {"type", "source", "title", "context", "citations", "cache_control"},
}
_USER_ONLY = {"tool_result", "image", "document"}
_ASSISTANT_ONLY = {"tool_use", "thinking", "redacted_thinking"}
_IMAGE_TYPES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
_MAX_IMAGE_BYTES = 5 << 20
_TOOL_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")


@dataclass(frozen=True, slots=True)
class Offer:
    """One model of the endpoint."""

    id: str
    display_name: str
    lifecycle: str = "active"
    adaptive: bool = True
    system_messages: bool = True
    prefix_bound: bool = True


OFFERS = (
    Offer("claude-sonnet-5-5", "Claude Sonnet 5.5"),
    Offer("claude-opus-5-5", "Claude Opus 5.5"),
    Offer("claude-haiku-5-5", "Claude Haiku 5.5"),
    Offer("claude-fable-5-1", "Claude Fable 5.1"),
    Offer("claude-sonnet-5", "Claude Sonnet 5", system_messages=False, prefix_bound=False),
    Offer(
        "claude-haiku-4-5", "Claude Haiku 4.5", adaptive=False, system_messages=False, prefix_bound=False
    ),
    Offer(
        "claude-sonnet-4-5", "Claude Sonnet 4.5", lifecycle="deprecated", adaptive=False,
        system_messages=False, prefix_bound=False,
    ),
    Offer("claude-opus-4-0", "Claude Opus 4", lifecycle="retired", adaptive=False, system_messages=False),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API's answer to a request that it will not take."""

    status: int
    type: str
    message: str


class _Bad(Exception):
    """Carries a refusal out of the checks."""

    def __init__(self, message: str, status: int = 400, type: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.refusal = Refusal(status, type, message)


@dataclass
class Rules:
    """The checks, and what they must remember between requests."""

    offers: tuple[Offer, ...] = OFFERS
    bound: dict[str, str] = field(default_factory=dict[str, str])
    """Signature → digest of all that stood before its block."""
    paused: set[str] = field(default_factory=set[str])
    """Digests of conversations that may end with an assistant turn: it was paused."""
    issued: set[str] = field(default_factory=set[str])
    """Blocks of unknown types that this endpoint sent itself."""

    def offer(self, model: str) -> Offer | None:
        """Return the model named so, if the endpoint has it."""
        return next((o for o in self.offers if o.id == model and o.lifecycle != "retired"), None)

    def refuse(self, headers: Mapping[str, str], body: Json) -> Refusal | None:
        """Return why the API would refuse this request, or None."""
        try:
            check_headers(headers)
            self._check_body(body, headers)
        except _Bad as bad:
            return bad.refusal
        return None

    def remember(self, body: Json, content: list[Json], stop_reason: str | None) -> None:
        """Note what was answered to ``body``: later requests are held to it."""
        before = digest(body)
        for block in content:
            if block.get("type") == "thinking" and block.get("signature"):
                self.bound.setdefault(block["signature"], before)
            if block.get("type") not in _FIELDS:
                self.issued.add(canonical(block))
        if stop_reason == "pause_turn":
            extended = [*body["messages"], {"role": "assistant", "content": content}]
            self.paused.add(digest({**body, "messages": extended}))

    def mismatched(self, body: Json) -> list[str]:
        """Return the paths of thinking blocks that stand in another conversation."""
        paths: list[str] = []
        for i, message in enumerate(body["messages"]):
            for j, block in enumerate(_blocks(message)):
                if block.get("type") == "thinking" and not self._is_bound(body, i, block):
                    paths.append(f"messages.{i}.content.{j}")
        return paths

    # -- the checks, in the API's order ------------------------------------------

    def _check_body(self, body: Json, headers: Mapping[str, str]) -> None:
        if not isinstance(body, dict):
            raise _Bad("The request body is not valid JSON")
        for key in ("model", "max_tokens", "messages"):
            if key not in body:
                raise _Bad(f"{key}: Field required")
        for key in body:
            if key not in _TOP_LEVEL:
                raise _Bad(f"{key}: Extra inputs are not permitted")
        offer = self.offer(body["model"])
        if offer is None:
            raise _Bad(f"model: {body['model']}", 404, "not_found_error")
        _check_thinking(body, offer)
        _check_system(body)
        _check_tools(body)
        _check_cache_control(body)
        self._check_messages(body, offer)
        binding = (body.get("thinking") or {}).get("block_binding") or {}
        if binding and BINDING_BETA not in headers.get("anthropic-beta", ""):
            raise _Bad("thinking.adaptive.block_binding: Extra inputs are not permitted")
        if binding.get("prefix_mismatch_behavior") != "drop_block" and offer.prefix_bound:
            self._check_prefixes(body)

    def _check_messages(self, body: Json, offer: Offer) -> None:
        messages = body["messages"]
        if not isinstance(messages, list) or not messages:
            raise _Bad("messages: at least one message is required")
        if messages[0].get("role") != "user":
            raise _Bad('messages: first message must use the "user" role')
        for i, message in enumerate(messages):
            self._check_message(i, message, messages, offer)
        _check_calls(messages, {t["name"] for t in body.get("tools") or [] if "name" in t})
        if messages[-1]["role"] == "assistant" and digest(body) not in self.paused:
            raise _Bad(
                "This model does not support assistant message prefill. The conversation must end with a user message."
            )

    def _check_message(self, i: int, message: Json, messages: list[Json], offer: Offer) -> None:
        role = message.get("role")
        extra = set(message) - {"role", "content"}
        if extra:
            raise _Bad(f"messages.{i}.{sorted(extra)[0]}: Extra inputs are not permitted")
        if role not in ("user", "assistant", "system"):
            raise _Bad(f"messages.{i}.role: Input should be 'user', 'assistant' or 'system'")
        if role == "system":
            if not offer.system_messages:
                raise _Bad(f"messages.{i}.role: role 'system' is not supported on this model")
            if messages[i - 1]["role"] != "user":
                raise _Bad(f"messages.{i}: a system message must follow a user message")
        blocks = _blocks(message)
        if not blocks:
            raise _Bad(
                f"messages.{i}: all messages must have non-empty content "
                "except for the optional final assistant message"
            )
        for j, block in enumerate(blocks):
            self._check_block(f"messages.{i}.content.{j}", role, block)
        if role == "assistant" and blocks[-1].get("type") in ("thinking", "redacted_thinking"):
            raise _Bad(f"messages.{i}: The final block in an assistant message cannot be `thinking`.")

    def _check_block(self, path: str, role: str, block: Json) -> None:
        kind = block.get("type")
        fields = _FIELDS.get(kind)
        if fields is None:
            if canonical(block) not in self.issued:
                raise _Bad(f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
            return
        extra = set(block) - fields
        if extra and canonical(block) not in self.issued:
            raise _Bad(f"{path}.{kind}.{sorted(extra)[0]}: Extra inputs are not permitted")
        _check_place(path, role, kind)
        if kind == "thinking" and block.get("signature") not in self.bound:
            raise _Bad(f"{path}: Invalid `signature` in `thinking` block")
        _check_known(path, block)

    def _check_prefixes(self, body: Json) -> None:
        for path in self.mismatched(body):
            raise _Bad(
                f"{path}: Invalid `signature` in `thinking` block. The block is bound to a different conversation."
            )

    def _is_bound(self, body: Json, i: int, block: Json) -> bool:
        # A turn that was paused and resumed may come back as one message or as two:
        # the block was bound either to what stands before its message, or before it.
        wanted = self.bound.get(block.get("signature", ""))
        if wanted == digest({**body, "messages": body["messages"][:i]}):
            return True
        message = body["messages"][i]
        blocks = _blocks(message)
        return any(
            wanted == digest({**body, "messages": [*body["messages"][:i], {**message, "content": blocks[:j]}]})
            for j in range(1, len(blocks))
        )


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise unless the key and the version travel as the API wants them."""
    if not headers.get("authorization", "").startswith("Bearer "):
        raise _Bad("Authorization header is required", 401, "authentication_error")
    if headers.get("anthropic-version") != API_VERSION:
        raise _Bad("anthropic-version: header is required")


def canonical(value: Json) -> str:
    """Spell a value so that equal values are equal strings; cache marks do not count."""
    return json.dumps(_without_marks(value), sort_keys=True, separators=(",", ":"))


def digest(body: Json) -> str:
    """Digest system, tools and all blocks: how they are cut into messages does not count."""
    head = canonical([_as_blocks(body.get("system")), body.get("tools") or []])
    sequence = [[m["role"], b] for m in body["messages"] for b in _blocks(m)]
    return hashlib.sha256((head + canonical(sequence)).encode()).hexdigest()


def _without_marks(value: Json) -> Json:
    if isinstance(value, dict):
        return {k: _without_marks(v) for k, v in value.items() if k != "cache_control"}
    if isinstance(value, list):
        return [_without_marks(v) for v in value]
    return value


def _as_blocks(content: Json) -> list[Json]:
    if content is None:
        return []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _blocks(message: Json) -> list[Json]:
    return _as_blocks(message.get("content"))


def _check_thinking(body: Json, offer: Offer) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    if thinking.get("type") == "adaptive" and not offer.adaptive:
        raise _Bad("adaptive thinking is not supported on this model")
    if thinking.get("type") == "enabled" and offer.adaptive:
        raise _Bad('"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive".')
    if thinking.get("display") not in (None, "summarized", "omitted"):
        raise _Bad("thinking.adaptive.display: Input should be 'summarized' or 'omitted'")


def _check_system(body: Json) -> None:
    for i, block in enumerate(_as_blocks(body.get("system"))):
        if not block.get("text", "").strip():
            raise _Bad(f"system.{i}: text content blocks must be non-empty")


def _check_tools(body: Json) -> None:
    names: set[str] = set()
    for i, tool in enumerate(body.get("tools") or []):
        name = tool.get("name", "")
        if not _TOOL_NAME.match(name):
            raise _Bad(f"tools.{i}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if name in names:
            raise _Bad("tools: Tool names must be unique.")
        names.add(name)
        schema = tool.get("input_schema")
        if not isinstance(schema, dict):
            raise _Bad(f"tools.{i}.custom.input_schema: Field required")
        if schema.get("type") != "object":
            raise _Bad(f"tools.{i}.custom.input_schema.type: Input should be 'object'")
        if any(key in schema for key in ("oneOf", "allOf", "anyOf")):
            raise _Bad(
                f"tools.{i}.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level"
            )
    choice = (body.get("tool_choice") or {}).get("type", "auto")
    if choice in ("any", "tool"):
        raise _Bad("tool_choice: forcing tool use is not supported with thinking on this model")


def _check_cache_control(body: Json) -> None:
    marks = sum(1 for _ in _marks([body.get("system"), body.get("tools"), body.get("messages")]))
    marks += 1 if body.get("cache_control") else 0
    if marks > 4:
        raise _Bad(f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.")


def _marks(value: Json) -> Iterator[Json]:
    if isinstance(value, dict):
        if value.get("cache_control"):
            yield value
        for inner in value.values():
            yield from _marks(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _marks(inner)


def _check_place(path: str, role: str, kind: str) -> None:
    if (kind in _USER_ONLY and role != "user") or (kind in _ASSISTANT_ONLY and role != "assistant"):
        raise _Bad(f"{path}: `{kind}` blocks are not allowed in {role} messages")


def _check_known(path: str, block: Json) -> None:
    match block["type"]:
        case "text":
            _check_text(block)
        case "tool_use":
            if not isinstance(block.get("input"), dict):
                raise _Bad(f"{path}.tool_use.input: Input should be a valid dictionary")
        case "tool_result":
            _check_result(path, block)
        case "image":
            _check_image(path, block)
        case _:
            pass


def _check_text(block: Json) -> None:
    if not block.get("text"):
        raise _Bad("messages: text content blocks must be non-empty")
    if not block["text"].strip():
        raise _Bad("messages: text content blocks must contain non-whitespace text")


def _check_result(path: str, block: Json) -> None:
    for k, inner in enumerate(_as_blocks(block.get("content"))):
        where = f"{path}.tool_result.content.{k}"
        match inner.get("type"):
            case "text":
                _check_text(inner)
            case "image":
                if block.get("is_error"):
                    raise _Bad(f"{path}.tool_result: all content must be type `text` if `is_error` is true")
                _check_image(where, inner)
            case "document" | "search_result":
                pass
            case other:
                raise _Bad(f"{where}: Input tag '{other}' found using 'type' does not match any of the expected tags")


def _check_image(path: str, block: Json) -> None:
    source = block.get("source") or {}
    if source.get("type") != "base64":
        return
    if source.get("media_type") not in _IMAGE_TYPES:
        raise _Bad(f"{path}.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', …")
    try:
        data = base64.b64decode(source.get("data", ""), validate=True)
    except (binascii.Error, ValueError):
        raise _Bad(f"{path}.image.source.base64: invalid base64 data") from None
    if not data:
        raise _Bad(f"{path}.image.source.base64.data: image cannot be empty")
    if len(data) > _MAX_IMAGE_BYTES:
        raise _Bad(
            f"{path}.image.source.base64: image exceeds 5 MB maximum: {len(data)} bytes > {_MAX_IMAGE_BYTES} bytes"
        )


def _merged(messages: list[Json]) -> Iterator[tuple[int, str, list[Json]]]:
    """Join consecutive messages of one role, as the API does; system messages stand aside."""
    current: tuple[int, str, list[Json]] | None = None
    for i, message in enumerate(messages):
        if message["role"] == "system":
            continue
        if current is not None and current[1] == message["role"]:
            current[2].extend(_blocks(message))
            continue
        if current is not None:
            yield current
        current = (i, message["role"], list(_blocks(message)))
    if current is not None:
        yield current


def _check_calls(messages: list[Json], declared: set[str]) -> None:
    seen: set[str] = set()
    open_calls: dict[str, str] = {}
    at = 0
    for i, role, blocks in _merged(messages):
        if role == "user":
            _check_answers(i, at, blocks, open_calls)
            open_calls = {}
            continue
        at = i
        for block in blocks:
            if block.get("type") != "tool_use":
                continue
            if block["id"] in seen:
                raise _Bad("messages: `tool_use` ids must be unique")
            if block["name"] not in declared:
                raise _Bad(f"messages.{i}: `tool_use` refers to tool `{block['name']}`, which `tools` does not define")
            seen.add(block["id"])
            open_calls[block["id"]] = block["name"]
    if open_calls:
        raise _Bad(_dangling(at, open_calls))


def _check_answers(i: int, at: int, blocks: list[Json], open_calls: dict[str, str]) -> None:
    first: list[str] = []
    for block in blocks:
        if block.get("type") != "tool_result":
            break
        first.append(block["tool_use_id"])
    missing = [call for call in open_calls if call not in first]
    if missing:
        raise _Bad(_dangling(at, missing))
    answered: set[str] = set()
    for j, block in enumerate(blocks):
        if block.get("type") != "tool_result":
            continue
        call = block["tool_use_id"]
        if call not in open_calls:
            raise _Bad(
                f"messages.{i}.content.{j}: unexpected `tool_use_id` found in `tool_result` blocks: {call}. Each "
                "`tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        if call in answered:
            raise _Bad(
                f"messages.{i}.content.{j}: each tool_use must have a single result. Found multiple for id: {call}"
            )
        answered.add(call)


def _dangling(at: int, calls: Mapping[str, str] | list[str]) -> str:
    return (
        f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(calls)}. "
        "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )
