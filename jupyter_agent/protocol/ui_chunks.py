"""A turn as the AI SDK's UI message stream, so that its ``useChat`` shows our sessions.

::

    frames of one session ──► UiChunks.take ──► chunks of one message: the live turn's, or the last one's

    text, reasoning     *-start  *-delta …  *-end
    tool                tool-input-start  -delta …  -available │ -error
                        tool-approval-request  -response
                        tool-output-available │ -error │ -denied
    notice              data-notice
    step                start-step  finish-step  reset-step
    turn                start … finish │ abort │ error, finish

A part is told by comparing it with what has been told of it, so it makes no
difference whether it came by deltas, whole in a snapshot, or partly each way.
Superseded parts are taken back (``reset-step``) and never told in a snapshot.
The chunks are those of ai 7 (``x-vercel-ai-ui-message-stream: v1``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .fold import events_of
from .plain import after_units, utf16_len

Json = dict[str, Any]

_FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "refusal": "content-filter"}
_TERMINAL = ("output-available", "output-error", "output-denied")


@dataclass(slots=True)
class _Told:
    """A part as it is, and how much of it has been told."""

    part: Json
    length: int = 0
    """UTF-16 units of its text, or of its input's JSON."""
    open: bool = True
    state: str = ""
    input: Any = None
    asked: bool = False
    answered: bool = False


@dataclass(slots=True)
class UiChunks:
    """Takes a session's frames in order, the first of them a snapshot or the turn's first event."""

    over: bool = False
    """The turn has ended, or there is none to tell: nothing more will come."""
    message_id: str | None = None
    _turn: str | None = None
    _parts: dict[str, _Told] = field(default_factory=dict[str, _Told])
    _gone: set[str] = field(default_factory=set[str])
    _step: bool = False
    _stop_reason: str | None = None

    def take(self, frame: Json) -> list[Json]:
        """Return the chunks that a frame means; none when it is about something else."""
        chunks: list[Json] = []
        for event in events_of(frame):
            if not self.over:
                chunks += self._event(event)
        return chunks

    def _event(self, event: Json) -> Iterator[Json]:
        kind, d = event["type"], event["d"]
        if kind == "snapshot":
            yield from self._snapshot(d)
        elif kind == "turn.started" and self.message_id is None:
            yield from self._start(d["turn"])
        elif self._turn is not None and event.get("turn") == self._turn:
            yield from self._of_turn(kind, d)

    # -- where to begin --------------------------------------------------------------

    def _snapshot(self, d: Json) -> Iterator[Json]:
        turn, outcome = d["turn"], d["last_outcome"]
        if self.message_id is not None:
            return
        if turn is not None:
            yield from self._start(turn)
            yield from self._known(d["messages"])
        elif outcome is not None and outcome["message_ids"]:
            yield from self._start({"id": outcome["turn"], "message_id": outcome["message_ids"][-1]})
            yield from self._known(d["messages"])
            yield from self._end(outcome)

    def _start(self, turn: Json) -> Iterator[Json]:
        self._turn, self.message_id = turn["id"], turn["message_id"]
        facts = {name: turn[name] for name in ("mode", "trigger", "started_at") if name in turn}
        yield {"type": "start", "messageId": self.message_id, "messageMetadata": {"turn": self._turn, **facts}}

    def _known(self, messages: list[Json]) -> Iterator[Json]:
        for message in messages:
            if message["id"] == self.message_id:
                for part in message["parts"]:
                    yield from self._part(part)

    # -- the turn's events -----------------------------------------------------------

    def _of_turn(self, kind: str, d: Json) -> Iterator[Json]:
        match kind:
            case "step.started":
                yield from self._end_step()
                yield from self._begin_step()
            case "step.ended":
                # The step is told as open until the next one: its calls' results belong to it.
                self._stop_reason = d["stop_reason"]
            case "step.reset":
                yield from self._reset(d["parts"])
            case "message.added" | "message.updated" if d["message"]["id"] == self.message_id:
                yield from self._known([d["message"]])
            case "part.added" | "part.done" if d["message_id"] == self.message_id:
                yield from self._part(d["part"])
            case "part.delta":
                yield from self._delta(d)
            case "tool.state":
                yield from self._tool_state(d)
            case "approval.resolved":
                yield from self._resolved(d)
            case "turn.ended":
                yield from self._end(d)
            case _:
                pass

    def _begin_step(self) -> Iterator[Json]:
        if not self._step:
            self._step = True
            yield {"type": "start-step"}

    def _end_step(self) -> Iterator[Json]:
        if self._step:
            self._step = False
            yield {"type": "finish-step"}

    def _reset(self, part_ids: list[str]) -> Iterator[Json]:
        known = [part_id for part_id in part_ids if self._parts.pop(part_id, None) is not None]
        self._gone.update(part_ids)
        if known:
            yield {"type": "reset-step"}

    def _end(self, outcome: Json) -> Iterator[Json]:
        for told in self._parts.values():
            yield from self._close(told)
        yield from self._end_step()
        facts = {"outcome": outcome["outcome"], "usage": outcome["usage"]}
        match outcome["outcome"]:
            case "stopped":
                yield {"type": "message-metadata", "messageMetadata": facts}
                yield {"type": "abort", "reason": "stopped"}
            case "failed":
                error = outcome["error"] or {"message": "The turn failed."}
                # Clients read nothing behind an error.
                yield {"type": "message-metadata", "messageMetadata": facts}
                yield {"type": "error", "errorText": error["message"]}
                yield {"type": "finish", "finishReason": "error", "messageMetadata": facts}
            case "interrupted":
                yield {"type": "finish", "finishReason": "interrupted", "messageMetadata": facts}
            case "step_limit":
                yield {"type": "finish", "finishReason": "other", "messageMetadata": facts}
            case _:
                reason = _FINISH.get(self._stop_reason or "end_turn", "other")
                yield {"type": "finish", "finishReason": reason, "messageMetadata": facts}
        self.over = True

    # -- parts -----------------------------------------------------------------------

    def _part(self, part: Json) -> Iterator[Json]:
        """Tell what is new about a part."""
        if part["id"] in self._gone or part.get("superseded"):
            return
        told = self._parts.get(part["id"])
        if told is None:
            told = self._parts[part["id"]] = _Told(part)
            yield from self._begin_step()
            yield from _opening(part)
        told.part = part
        match part["type"]:
            case "text" | "reasoning":
                yield from self._text(told, part["text"])
                if part["state"] == "done":
                    yield from self._close(told)
            case "tool":
                yield from self._text(told, part.get("input_json") or "")
                yield from _tool(told)
            case _:
                pass

    def _delta(self, d: Json) -> Iterator[Json]:
        told = self._parts.get(d["part_id"])
        if told is None:
            return
        new = after_units(d["delta"], max(0, told.length - d["at"]))
        yield from self._say(told, new)

    def _text(self, told: _Told, text: str) -> Iterator[Json]:
        # What has been told cannot be taken back; a whole part only ever adds to its deltas.
        yield from self._say(told, after_units(text, told.length))

    def _say(self, told: _Told, text: str) -> Iterator[Json]:
        if not text or not told.open:
            return
        told.length += utf16_len(text)
        part = told.part
        if part["type"] == "tool":
            yield {"type": "tool-input-delta", "toolCallId": part["tool_call_id"], "inputTextDelta": text}
        else:
            yield {"type": f"{part['type']}-delta", "id": part["id"], "delta": text}

    def _close(self, told: _Told) -> Iterator[Json]:
        if told.open and told.part["type"] in ("text", "reasoning"):
            told.open = False
            yield {"type": f"{told.part['type']}-end", "id": told.part["id"]}

    def _tool_state(self, d: Json) -> Iterator[Json]:
        told = self._parts.get(d["part_id"])
        if told is None:
            return
        told.part = {**told.part, **{name: value for name, value in d.items() if name not in ("part_id", "progress")}}
        yield from _tool(told)

    def _resolved(self, d: Json) -> Iterator[Json]:
        for told in self._parts.values():
            if told.part.get("approval_id") == d["id"] and d["decision"] != "cancelled":
                yield from _answer(told, approved=d["decision"] == "allow", reason=d["reason"])


def _opening(part: Json) -> Iterator[Json]:
    match part["type"]:
        case "text" | "reasoning":
            yield {"type": f"{part['type']}-start", "id": part["id"]}
        case "tool":
            yield {"type": "tool-input-start", "toolCallId": part["tool_call_id"], "toolName": part["name"]}
        case "notice":
            yield {
                "type": "data-notice",
                "id": part["id"],
                "data": {name: part[name] for name in ("level", "code", "text")},
            }
        case _:
            pass


def _tool(told: _Told) -> Iterator[Json]:
    """Walk a call from the state that was told to the one that it is in."""
    part = told.part
    state, call = part["state"], {"toolCallId": part["tool_call_id"]}
    if state == "input-streaming" or told.state in _TERMINAL:
        return
    told.open = False
    named = {**call, "toolName": part["name"], "input": part["input"]}
    if state == "output-error" and part["input"] is None and not told.state:
        told.state = state
        yield {"type": "tool-input-error", **named, "errorText": part["error"] or ""}
        return
    if not told.state or part["input"] != told.input:
        told.state, told.input = "input-available", part["input"]
        yield {"type": "tool-input-available", **named}
    yield from _approval(told)
    match state:
        case "output-available" if told.state != state:
            yield {"type": "tool-output-available", **call, "output": part["output"]}
        case "output-error" if told.state != state:
            yield {"type": "tool-output-error", **call, "errorText": part["error"] or ""}
        case "output-denied" if told.state != state:
            yield {"type": "tool-output-denied", **call}
        case _:
            pass
    told.state = state


def _approval(told: _Told) -> Iterator[Json]:
    part = told.part
    if part.get("approval_id") is None:
        return
    if not told.asked:
        told.asked = True
        yield {"type": "tool-approval-request", "toolCallId": part["tool_call_id"], "approvalId": part["approval_id"]}
    match part["state"]:
        case "approval-responded" | "output-available":
            yield from _answer(told, approved=True, reason=None)
        case "output-denied":
            yield from _answer(told, approved=False, reason=None)
        case _:
            pass


def _answer(told: _Told, *, approved: bool, reason: str | None) -> Iterator[Json]:
    if told.asked and not told.answered:
        told.answered = True
        said = {} if reason is None else {"reason": reason}
        yield {
            "type": "tool-approval-response",
            "approvalId": told.part["approval_id"],
            "approved": approved,
            **said,
        }
