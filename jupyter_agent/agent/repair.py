"""What the Messages API takes back: history made acceptable, as one pure function.

::

    level 0   as stored. What a crash left open is closed: every call answered in the next user
              message, results first; no thinking without a signature, none at the end of a message;
              no empty text; never ends with the assistant
    level 1   … without thinking
    level 2   … without pictures and documents
    level 3   … calls before the last thing the user said told as text
    level 4   … everything told as text

A sound history is returned as it is, block for block: it is bound to its
signatures and warm in the cache. The function is deterministic and changes
nothing the second time, so what it adds is the same for ever. Higher levels
are for an endpoint that refuses level 0, whatever its reason: a session must
never be lost to its own past.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

from .model import ApiMessage, Block

NO_PICTURES = 2
MOST_LEVEL = 4

CUT_RESULT = "This call was cut off; whether it ran is not known. Check before repeating it."
GO_ON = "(Your reply was cut off. Continue exactly where it stopped.)"
GO_ON_LATER = "(Your reply was cut off. Continue exactly where it stopped; if nothing of it is here, give it now.)"
GO_ON_STEPS = "(You reached the limit of steps for one reply. Go on with what is left to do.)"
LEFT_OUT = "(A picture or a document stood here. The API did not take it, so you cannot see it.)"
NO_BEGINNING = "(The beginning of this conversation is not available.)"

_THINKING = ("thinking", "redacted_thinking")
_SHOWN = ("image", "document")


def repair(messages: Iterable[ApiMessage], level: int = 0, *, paused: bool = False) -> list[ApiMessage]:
    """Return a history that the API takes.

    ``paused``: the last assistant message ended with ``pause_turn`` and may stay last.
    """
    sound = [ApiMessage(role=message.role, content=_blocks(message, level)) for message in messages]
    answered = _answered([message for message in sound if message.content])
    if level > NO_PICTURES:
        answered = _told(answered, up_to=len(answered) if level == MOST_LEVEL else _last_words(answered))
    merged = _merged(answered)
    if merged and merged[0].role == "assistant":
        merged.insert(0, ApiMessage(role="user", content=[_text(NO_BEGINNING)]))
    if merged and merged[-1].role == "assistant" and not paused:
        merged.append(ApiMessage(role="user", content=[_text(GO_ON)]))
    return merged


# -- one message ----------------------------------------------------------------------


def _blocks(message: ApiMessage, level: int) -> list[Block]:
    blocks = [block for block in message.content if _belongs(block, message.role, level)]
    if level >= NO_PICTURES:
        blocks = [_without_pictures(block) for block in blocks]
    if message.role == "assistant":
        while blocks and blocks[-1].get("type") in _THINKING:
            blocks.pop()
    return blocks


def _belongs(block: Block, role: str, level: int) -> bool:
    match block.get("type"):
        case "text":
            return bool(str(block.get("text", "")).strip())
        case "thinking":
            return level == 0 and role == "assistant" and bool(block.get("signature"))
        case "redacted_thinking":
            return level == 0 and role == "assistant"
        case _:
            return True


def _without_pictures(block: Block) -> Block:
    if block.get("type") in _SHOWN:
        return _text(LEFT_OUT)
    content = block.get("content")
    if block.get("type") != "tool_result" or not isinstance(content, list):
        return block
    return {**block, "content": [_without_pictures(inner) for inner in cast("list[Block]", content)]}


# -- calls and their results ------------------------------------------------------------


def _answered(messages: Sequence[ApiMessage]) -> list[ApiMessage]:
    """Answer every call in the user message right after it, results first, in the calls' order."""
    out: list[ApiMessage] = []
    for message in messages:
        asked = _calls(out[-1]) if out else []
        if message.role == "assistant":
            if asked:
                out.append(ApiMessage(role="user", content=[_cut(call) for call in asked]))
            out.append(message)
            continue
        content = _results_first(message.content, asked)
        if content:
            out.append(ApiMessage(role="user", content=content))
    if out and (asked := _calls(out[-1])):
        out.append(ApiMessage(role="user", content=[_cut(call) for call in asked]))
    return out


def _calls(message: ApiMessage) -> list[str]:
    if message.role != "assistant":
        return []
    return [str(block["id"]) for block in message.content if block.get("type") == "tool_use"]


def _results_first(content: Sequence[Block], asked: Sequence[str]) -> list[Block]:
    given: dict[str, Block] = {}
    for block in content:
        if block.get("type") == "tool_result":
            given.setdefault(str(block.get("tool_use_id")), block)
    results = [given.get(call) or _cut(call) for call in asked]
    return [*results, *(block for block in content if block.get("type") != "tool_result")]


def _cut(call: str) -> Block:
    return {"type": "tool_result", "tool_use_id": call, "is_error": True, "content": CUT_RESULT}


# -- neighbours ------------------------------------------------------------------------


def _merged(messages: Sequence[ApiMessage]) -> list[ApiMessage]:
    out: list[ApiMessage] = []
    for message in messages:
        if out and out[-1].role == message.role:
            out[-1] = ApiMessage(role=message.role, content=[*out[-1].content, *message.content])
        else:
            out.append(message)
    return out


# -- told as text ------------------------------------------------------------------------


def _last_words(messages: Sequence[ApiMessage]) -> int:
    """Return the index of the last message that the user wrote; what follows belongs to the live turn."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message.role == "user" and not any(_is_ours(block) for block in message.content):
            return index
    return 0


def _is_ours(block: Block) -> bool:
    return block.get("type") == "tool_result" or block.get("text") == GO_ON


def _told(messages: Sequence[ApiMessage], *, up_to: int) -> list[ApiMessage]:
    told = [
        ApiMessage(role=message.role, content=[_as_text(block) for block in message.content])
        for message in messages[:up_to]
    ]
    return [*told, *messages[up_to:]]


def _as_text(block: Block) -> Block:
    match block.get("type"):
        case "tool_use":
            said = json.dumps(block.get("input"), ensure_ascii=True)
            return _text(f"[I called {block.get('name')} with {said}]")
        case "tool_result":
            return _text(f"[The call's result: {_words(block.get('content'))}]")
        case "text":
            return block
        case kind:
            return _text(f"[{kind}]")


def _words(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = cast("list[Block]", content) if isinstance(content, list) else []
    return "\n".join(str(block.get("text", f"({block.get('type')})")) for block in blocks) or "nothing"


def _text(text: str) -> Block:
    return {"type": "text", "text": text}
