"""The reducer's twin: frames in, the session as a view sees it out.

What a newer server says beyond this version is passed over, or kept as it is;
it never breaks the rest. The panel has the same fold in TypeScript. The law that ties both to the server
is tested: folding the events of any history gives the later snapshot.

A view is a plain dict: ``ep seq session messages page turn queue paused
approvals tasks last_outcome`` (the snapshot's fields, in wire shape).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

from .plain import after_units, utf16_len

View = dict[str, Any]
_TERMINAL = ("output-available", "output-error", "output-denied")
_SNAPSHOT = ("session", "messages", "page", "turn", "queue", "paused", "approvals", "tasks", "last_outcome")


class Gap(Exception):
    """An event or a delta is missing; the view must subscribe again."""


def empty() -> View:
    """Return the view of somebody who has seen nothing."""
    return {"ep": None, "seq": 0, "session": None, "messages": [], "turn": None}


def fold(view: View, frame: dict[str, Any]) -> View:
    """Return ``view`` after ``frame``; the given view is not changed. Raises ``Gap``."""
    view = copy.deepcopy(view)
    for event in events_of(frame):
        _apply(view, frame["ep"], event)
    return view


def events_of(frame: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a frame, alone or in a batch."""
    yield from frame.get("batch", (frame,))


def _apply(view: View, ep: str, event: dict[str, Any]) -> None:
    kind, d = event["type"], event["d"]
    if kind == "snapshot":
        view.update({name: copy.deepcopy(d[name]) for name in _SNAPSHOT}, ep=ep, seq=d["as_of"])
        return
    covers = event.get("covers") or ([event["seq"]] * 2 if "seq" in event else None)
    if covers is None:
        return
    first, last = covers
    if view["ep"] != ep or first > view["seq"] + 1:
        raise Gap(f"expected {view['seq'] + 1}, got {first}")
    if last <= view["seq"]:
        return
    handler = _HANDLERS.get(kind)
    if handler is not None:
        handler(view, d)
    view["seq"] = last
    view["session"]["updated_at"] = event["ts"]
    view["session"]["status"] = status_of(view)


def status_of(view: View) -> str:
    """Derive ``session.status`` from the turn and the last outcome."""
    turn = view["turn"]
    if turn is None:
        outcome = view["last_outcome"]
        return "error" if outcome and outcome["outcome"] == "failed" else "ready"
    if turn["status"] in ("awaiting", "recovering"):
        return str(turn["status"])
    message = _message(view, turn["message_id"])
    return "streaming" if message and message["parts"] else "submitted"


def _message(view: View, message_id: str) -> dict[str, Any] | None:
    return next((m for m in reversed(view["messages"]) if m["id"] == message_id), None)


def _part(view: View, part_id: str) -> dict[str, Any] | None:
    for message in reversed(view["messages"]):
        for part in message["parts"]:
            if part["id"] == part_id:
                return part
    return None


def _upsert(items: list[dict[str, Any]], item: dict[str, Any]) -> None:
    for index, old in enumerate(items):
        if old["id"] == item["id"]:
            items[index] = item
            return
    items.append(item)


def _session_updated(view: View, d: Any) -> None:
    view["session"].update(d["patch"], rev=d["rev"])


def _turn_started(view: View, d: Any) -> None:
    view["turn"] = copy.deepcopy(d["turn"])


def _turn_status(view: View, d: Any) -> None:
    if view["turn"]:
        view["turn"].update(status=d["status"], attempt=d["attempt"])


def _step_started(view: View, d: Any) -> None:
    if view["turn"]:
        view["turn"]["step"] = d["step"]


def _turn_ended(view: View, d: Any) -> None:
    view["turn"], view["last_outcome"] = None, copy.deepcopy(d)
    total = view["session"]["usage"]
    for name, count in d["usage"].items():
        if isinstance(count, int | float):
            total[name] = (total.get(name) or 0) + count


def _step_reset(view: View, d: Any) -> None:
    for part_id in d["parts"]:
        if part := _part(view, part_id):
            part["superseded"] = True


def _message_upserted(view: View, d: Any) -> None:
    message = copy.deepcopy(d["message"])
    known = _message(view, message["id"])
    if known and message["parts"]:
        # A message too large for a frame comes without its earlier parts (see ``cut``).
        first = message["parts"][0]["idx"]
        message["parts"] = [*(part for part in known["parts"] if part["idx"] < first), *message["parts"]]
    _upsert(view["messages"], message)


def _message_removed(view: View, d: Any) -> None:
    view["messages"] = [m for m in view["messages"] if m["id"] != d["message_id"]]


def _part_upserted(view: View, d: Any) -> None:
    if message := _message(view, d["message_id"]):
        _upsert(message["parts"], copy.deepcopy(d["part"]))
        message["parts"].sort(key=itemgetter("idx"))


def _part_delta(view: View, d: Any) -> None:
    part = _part(view, d["part_id"])
    if part is None or not _takes_delta(part, d["field"]):
        return
    text = part.get(d["field"]) or ""
    have = utf16_len(text)
    if d["at"] > have:
        raise Gap(f"{d['part_id']}: delta at {d['at']}, have {have}")
    part[d["field"]] = text + after_units(d["delta"], have - d["at"])


def _takes_delta(part: dict[str, Any], field: str) -> bool:
    """A merged range may bring deltas of a part that is already whole here."""
    if part["type"] == "tool":
        return field == "input_json" and part["state"] == "input-streaming"
    return field == "text" and part["type"] in ("text", "reasoning")


def _tool_state(view: View, d: Any) -> None:
    part = _part(view, d["part_id"])
    if part is None or part["type"] != "tool" or part["state"] in _TERMINAL or d["rev"] <= part["rev"]:
        return
    part.update({name: copy.deepcopy(value) for name, value in d.items() if name not in ("part_id", "progress")})
    if part["state"] != "input-streaming":
        part.pop("input_json", None)


def _approval_requested(view: View, d: Any) -> None:
    _upsert(view["approvals"], copy.deepcopy(d["approval"]))


def _approval_resolved(view: View, d: Any) -> None:
    view["approvals"] = [a for a in view["approvals"] if a["id"] != d["id"]]


def _queue_updated(view: View, d: Any) -> None:
    view["queue"], view["paused"] = copy.deepcopy(d["items"]), d["paused"]


def _task_updated(view: View, d: Any) -> None:
    _upsert(view["tasks"], copy.deepcopy(d["task"]))


_HANDLERS: dict[str, Callable[[View, Any], None]] = {
    "session.updated": _session_updated,
    "turn.started": _turn_started,
    "turn.status": _turn_status,
    "turn.ended": _turn_ended,
    "step.started": _step_started,
    "step.reset": _step_reset,
    "message.added": _message_upserted,
    "message.updated": _message_upserted,
    "message.removed": _message_removed,
    "part.added": _part_upserted,
    "part.done": _part_upserted,
    "part.delta": _part_delta,
    "tool.state": _tool_state,
    "approval.requested": _approval_requested,
    "approval.resolved": _approval_resolved,
    "queue.updated": _queue_updated,
    "task.updated": _task_updated,
}
