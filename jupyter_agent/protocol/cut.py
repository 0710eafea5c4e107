"""Cutting what is too large for a frame, on plain JSON: a function of the value alone.

Events and snapshots must tell the same story, so the same value is always cut
the same way. What is cut says so (``truncated``); nothing here keeps the whole::

    fit(value, bytes)       strings lose their middle, lists their end, images become a remark
    fit_part(part, bytes)   a part's text, or a tool's input, output and error
    fit_message(m, bytes)   its newest parts; the earlier ones are left out, as earlier messages are
    frames_of(events)       as many frames as it takes

A message may have any number of parts. What leaves some out names the first
one it has as its cursor (``page.before``); a page of history before a part
brings those before it. Nobody loses a part by that: where ``message.added`` or
``message.updated`` begins with a later part than a view has, the view's earlier
ones (``idx`` below the first that comes) stay. So the law holds for what a
snapshot has, while the turn runs too: its parts are the last ones of the fold's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from .frames import Frame, dump_json, frame_of

Wire = dict[str, Any]

_LEAST_CHARS = 256
"""No string gets shorter than this, so every id stays whole."""
_SMALL_PART = 4096
"""What a part keeps at least for itself when its message is too large."""
_OPEN = frozenset({"streaming", "input-streaming"})
_TOOL_FIELDS = ("input", "output", "error")


def size(value: Any) -> int:
    """Return the bytes of the value as a frame spells it."""
    return len(dump_json(value))


def fit(value: Any, budget: int) -> Any:
    """Return the value, shrunk to ``budget`` bytes of JSON if that can be done by shortening."""
    if size(value) <= budget:
        return value
    chars = budget
    while True:
        chars = max(chars // 2, _LEAST_CHARS)
        smaller = _shrink(value, chars)
        if chars == _LEAST_CHARS or size(smaller) <= budget:
            return smaller


def _shrink(value: Any, chars: int) -> Any:
    match value:
        case str() if len(value) > chars:
            return _shorten(value, chars)
        case {"type": "image", "mime": str(mime), "data": str(data)} if len(data) > chars:
            return {"text": f"[{mime}, {_amount(len(data) * 3 // 4)}: too large to show here]", "type": "text"}
        case list():
            kept = cast("list[Any]", value)[: max(8, chars // 64)]
            return [_shrink(item, chars) for item in kept]
        case dict():
            kept = list(cast("dict[str, Any]", value).items())[: max(32, chars // 64)]
            return {_shorten(key, chars): _shrink(item, chars) for key, item in kept}
        case _:
            return value


def _shorten(text: str, chars: int) -> str:
    """Cut the middle out; the end of an output often says more than what came before."""
    if len(text) <= chars:
        return text
    tail = chars // 4
    head = chars - tail
    return f"{text[:head]}\n[… {len(text) - chars:,} characters left out here …]\n{text[-tail:]}"


def _amount(count: int) -> str:
    if count < 1 << 20:
        return f"{max(1, round(count / 1024))} kB"
    return f"{count / (1 << 20):.1f} MB"


def fit_part(part: Wire, budget: int) -> Wire:
    """Return the part, its contents cut to ``budget`` bytes and marked if they were larger."""
    fields = {name: part[name] for name in ("text", *_TOOL_FIELDS) if part.get(name) is not None}
    cut = fit_fields(fields, budget)
    return part if cut is fields else {**part, **cut, "truncated": True}


def fit_fields(fields: Wire, budget: int) -> Wire:
    """Return a part's contents cut to ``budget`` bytes; the same object when there is nothing to cut."""
    cut = fit(fields, budget)
    if cut is fields or size(cut) <= max(budget, _SMALL_PART):
        return cut
    # Too many small things: there is no use in the first of them.
    remark = "[too large to show here]"
    empty: Wire = {
        "text": remark,
        "input": {},
        "output": {"model": None, "display": [{"text": remark, "type": "text"}]},
        "error": remark,
    }
    return {name: empty[name] for name in fields}


def fit_message(message: Wire, budget: int) -> Wire:
    """Return the message with its newest parts: as many as ``budget`` bytes hold, at least one.

    That one is cut if it is at rest and larger. The same object when nothing is left out or cut.
    """
    parts: list[Wire] = message["parts"]
    first, room = len(parts), budget
    while first > 0 and (room := room - size(parts[first - 1]) - 1) >= 0:
        first -= 1
    if first == 0:
        return message
    if first < len(parts):
        return {**message, "parts": parts[first:]}
    last = parts[-1]
    fitted = last if last.get("state") in _OPEN else fit_part(last, budget)
    return message if fitted is last and len(parts) == 1 else marked({**message, "parts": [fitted]})


def cursor_of(messages: Sequence[Wire], *, partial: bool) -> str:
    """Return the cursor of what comes before these: the first one, or its first part if it has earlier ones."""
    first = messages[0]
    return first["parts"][0]["id"] if partial else first["id"]


def marked(message: Wire) -> Wire:
    """Return the message, marked if it is at rest and one of its parts is cut."""
    cut = message["status"] != "streaming" and any(part.get("truncated") for part in message["parts"])
    return {**message, "truncated": True} if cut else message


# -- frames -----------------------------------------------------------------------


def frames_of(sid: str, ep: str, events: Sequence[Wire], limit: int) -> list[tuple[Frame, int]]:
    """Wrap durable events in frames of at most ``limit`` bytes; return each with the number of its events."""
    return _frames_of(sid, ep, [_fit_event(event, limit // 2) for event in events], limit)


def _fit_event(event: Wire, room: int) -> Wire:
    match event:
        case {"type": "message.added" | "message.updated", "d": {"message": message}}:
            fitted = fit_message(message, room)
            return event if fitted is message else {**event, "d": {"message": fitted}}
        case _:
            return event


def _frames_of(sid: str, ep: str, events: Sequence[Wire], limit: int) -> list[tuple[Frame, int]]:
    whole = frame_of(sid, ep, events)
    if len(whole.text) <= limit:
        return [(whole, len(events))]
    if len(events) == 1:
        room = limit - size({**whole.data, "d": None})
        return [(Frame({**whole.data, "d": fit(whole.data["d"], room)}), 1)]
    half = len(events) // 2
    return [*_frames_of(sid, ep, events[:half], limit), *_frames_of(sid, ep, events[half:], limit)]


def fit_snapshot(snap: Wire, limit: int) -> Wire:
    """Return a snapshot's ``d`` in ``limit`` bytes: what is older goes first, then what is long is cut.

    The queue and the tasks are kept to a quarter of a frame each: beside three eighths of message, both stay whole.
    """
    while (excess := size(snap) - limit) > 0 and len(snap["messages"]) > 1:
        _, *messages = snap["messages"]
        snap = {**snap, "messages": messages, "page": _before(cursor_of(messages, partial=False))}
    if excess <= 0:
        return snap
    for message in snap["messages"]:
        fitted = fit_message(message, max(size(message["parts"]) - excess, limit * 3 // 8))
        page = (
            snap["page"]
            if len(fitted["parts"]) == len(message["parts"])
            else _before(cursor_of([fitted], partial=True))
        )
        snap = {**snap, "messages": [fitted], "page": page}
    rest = {name: snap[name] for name in ("queue", "approvals", "tasks")}
    excess = size(snap) - limit
    return snap if excess <= 0 else {**snap, **fit(rest, size(rest) - excess)}


def _before(cursor: str) -> Wire:
    return {"before": cursor, "has_more": True}
