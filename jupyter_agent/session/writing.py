"""``Writing``: what the live turn shows: its parts, their text as it grows, the states of its tools.

A part that has no room left is finished, and its text goes on in another one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..protocol.content import (
    TERMINAL_TOOL_STATES,
    Json,
    Part,
    ReasoningPart,
    Scope,
    TextPart,
    ToolOutput,
    ToolPart,
    ToolReason,
    ToolState,
)
from ..protocol.cut import size
from ..protocol.events import PartAdded, PartDelta, PartDone, ToolStateChanged
from ..protocol.ids import new_id, now_ms
from .large import cut_tool

if TYPE_CHECKING:
    from .actor import SessionActor

_JSON_BYTES = 12
"""The most that a character takes in a frame."""


class Writing:
    """The parts of one live turn of one actor."""

    def __init__(self, actor: SessionActor) -> None:
        self._actor = actor
        self._state = actor.state
        self._journal = actor.journal
        self._settings = actor.services.settings
        self._sizes: dict[str, int] = {}
        self._continued: dict[str, str] = {}

    @property
    def _turn_id(self) -> str:
        assert self._state.turn is not None
        return self._state.turn.id

    @property
    def _message_id(self) -> str:
        assert self._state.message is not None
        return self._state.message.id

    def add_part(self, part: Part) -> None:
        """A part opens."""
        placed = replace(part, idx=len(self._state.parts))
        # It waits for its first delta, which goes at once: one commit, one frame.
        self._journal.record(PartAdded(message_id=self._message_id, part=placed), lazy=not isinstance(part, ToolPart))

    def delta(self, part_id: str, text: str) -> None:
        """More text of an open part."""
        piece = max(1, self._settings.part_room // _JSON_BYTES)
        for start in range(0, len(text), piece):
            self._grow(part_id, text[start : start + piece])

    def _grow(self, part_id: str, text: str) -> None:
        part = self._state.part(self._open_as(part_id))
        grown = self._state.texts[part.id]
        full = grown.units > 0 and self._sizes.get(part.id, 0) + size(text) > self._settings.part_room
        match part:
            case ToolPart() if full:
                return  # An input this long is shown when it is complete.
            case TextPart() | ReasoningPart() if full:
                self.finish_part(part_id)
                more = replace(part, id=new_id("prt"), text="", state="streaming")
                self._continued[part_id] = more.id
                self.add_part(more)
                part, grown = more, self._state.texts[more.id]
            case _:
                pass
        self._sizes[part.id] = self._sizes.get(part.id, 0) + size(text)
        field = "input_json" if isinstance(part, ToolPart) else "text"
        self._journal.record(PartDelta(part_id=part.id, at=grown.units, field=field, delta=text), lazy=grown.units > 0)

    def _open_as(self, part_id: str) -> str:
        """Return the part that the text of this one goes on in."""
        return self._continued.get(part_id, part_id)

    def finish_part(self, part_id: str) -> None:
        """An open text or reasoning part is complete."""
        part = self._state.part(self._open_as(part_id))
        if isinstance(part, TextPart | ReasoningPart) and part.state == "streaming":
            self._journal.record(PartDone(message_id=self._message_id, part=replace(part, state="done")))

    def tool_state(
        self,
        part_id: str,
        state: ToolState,
        *,
        running: bool = False,
        input: Json = None,
        output: ToolOutput | None = None,
        error: str | None = None,
        reason: ToolReason | None = None,
        approval_id: str | None = None,
        allowed: Scope | None = None,
    ) -> None:
        """A tool part moves along its edges; a terminal state stays."""
        part = self._state.parts.get(part_id)
        if not isinstance(part, ToolPart) or part.state in TERMINAL_TOOL_STATES:
            return
        now = now_ms()
        event = ToolStateChanged(
            part_id=part_id,
            state=state,
            running=running,
            rev=part.rev + 1,
            input=input,
            output=output,
            error=error,
            reason=reason,
            approval_id=approval_id,
            allowed=allowed,
            started_at=now if running and part.started_at is None else None,
            ended_at=now if state in TERMINAL_TOOL_STATES else None,
        )
        shown, blobs = cut_tool(event, self._settings.part_room, known=self._cut_before(part))
        self._journal.record(
            shown,
            writes=blobs,
            full=state in TERMINAL_TOOL_STATES or running,
        )

    def _cut_before(self, part: ToolPart) -> dict[str, Json]:
        """Return the input, whole, of a part that shows it cut."""
        call = next((call for call in self._state.calls if call.part_id == part.id), None)
        return {"input": call.input} if part.truncated and call is not None else {}
