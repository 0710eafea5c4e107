"""The end of a turn: every open part comes to rest, and the API's history stays one it accepts.

One transaction holds all of it, so that ``turn.ended`` is seen exactly once
and nothing spins after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..protocol.content import (
    Effect,
    MessageStatus,
    OutcomeKind,
    ReasoningPart,
    TextPart,
    ToolPart,
    ToolReason,
    TurnError,
)
from ..protocol.events import ApprovalResolved, Event, MessageUpdated, PartDone, ToolStateChanged, TurnEnded
from ..protocol.ids import now_ms
from ..store.writes import DropJob, PutBlocks, PutCall, Write
from .large import marked
from .permissions import expiry_of

if TYPE_CHECKING:
    from .state import State

_MESSAGE_STATUS: dict[OutcomeKind, MessageStatus] = {
    "completed": "complete",
    "step_limit": "complete",
    "stopped": "stopped",
    "interrupted": "interrupted",
    "failed": "failed",
}


KERNEL_LOST = "A kernel that the server had started ended with it: then the cell's outputs and all variables are lost."


class Recorder(Protocol):
    """What takes events down: a journal, or a copy that nobody watches."""

    def record(self, *events: Event, writes: Iterable[Write] = (), full: bool = False) -> None:
        """Let something have happened."""
        ...


class Endable(Protocol):
    """A session whose live turn can be ended: an actor, or a copy."""

    @property
    def state(self) -> State: ...
    @property
    def journal(self) -> Recorder: ...


def end(actor: Endable, outcome: OutcomeKind, error: TurnError | None) -> None:
    """Record the end of the live turn."""
    state = actor.state
    turn, message = state.turn, state.message
    if turn is None or message is None:
        return
    for approval in list(state.approvals.values()):
        if (expiry := expiry_of(approval.id)) in state.jobs:
            actor.journal.record(writes=[DropJob(job_id=expiry)])
        actor.journal.record(
            ApprovalResolved(id=approval.id, rev=approval.rev + 1, decision="cancelled", by="system", road="panel")
        )
    for event in list(_settled(state, outcome)):
        actor.journal.record(event)
    final = marked(replace(message, status=_MESSAGE_STATUS[outcome], parts=state.live_parts()))
    actor.journal.record(
        MessageUpdated(message=final),
        TurnEnded(
            turn=turn.id,
            outcome=outcome,
            error=error,
            usage=state.usage,
            message_ids=list(state.message_ids),
            ended_at=now_ms(),
        ),
        writes=list(_answers(state, outcome)),
        full=True,
    )


def _settled(state: State, outcome: OutcomeKind) -> list[Event]:
    assert state.message is not None
    events: list[Event] = []
    for part in state.open_parts():
        match part:
            case TextPart() | ReasoningPart():
                events.append(PartDone(message_id=state.message.id, part=replace(part, state="done")))
            case ToolPart():
                events.append(
                    ToolStateChanged(
                        part_id=part.id,
                        state="output-error",
                        running=False,
                        rev=part.rev + 1,
                        error=why(outcome, part.effect, running=part.running),
                        reason=_reason(outcome, running=part.running),
                        ended_at=now_ms(),
                    )
                )
            case _:
                pass
    return events


def _reason(outcome: OutcomeKind, *, running: bool) -> ToolReason:
    if not running:
        return "never_ran"
    return "stopped" if outcome == "stopped" else "interrupted"


def why(outcome: OutcomeKind, effect: Effect, *, running: bool) -> str:
    """Return what is said of a call that the turn's end cut off: to the user and to the model alike."""
    if not running:
        return "This call did not run: the turn ended before."
    if outcome == "stopped":
        return "The user stopped this while it ran. It may have done part of its work; check before repeating it."
    unknown = (
        "Interrupted: the server stopped while this tool was running. It may or may not have completed. "
        "Check before repeating it."
    )
    return f"{unknown} {KERNEL_LOST}" if effect == "execute" else unknown


def _answers(state: State, outcome: OutcomeKind) -> list[Write]:
    """Answer every call the model made: the API refuses a history with a call left open."""
    turn = state.turn
    if turn is None or not state.calls or state.answered_step >= turn.step:
        return []
    writes: list[Write] = []
    results: list[dict[str, Any]] = []
    for call in state.calls:
        result = call.result
        if result is None:
            text = why(outcome, call.effect, running=call.state == "executing")
            result = {"type": "tool_result", "tool_use_id": call.id, "is_error": True, "content": text}
            writes.append(PutCall(call=replace(call, state="done", result=result, ended_at=now_ms())))
        results.append(result)
    writes.append(PutBlocks(turn_id=turn.id, step=turn.step, ord=1, role="user", content=results))
    return writes
