"""Taking up a turn that was cut off: at waking, by itself; later, when the user asks for it.

What is found                              what becomes of it
─────────────────────────────────────────  ─────────────────────────────────────────────────────────────────
stopping                                   the stop is finished: ``stopped``
awaiting the user                          still waits; exempt from every budget
no answer yet, or nothing but thinking     the step is asked again
text, no complete call                     the text is kept, in the history too; the model goes on behind it
a complete call, but no end of the answer  the step is superseded (none of its calls ran) and asked again
answer complete, calls not begun           they run now: their intent was never written
a call had begun, it only looks            it runs again, ``max_reruns`` times
a call had begun, it may change something  it ended in an unknown way; model and user are told, it never reruns
results stored, next request not sent      it is sent

The three middle rows mend the newest step; then the turn goes on, or it ends
``interrupted`` with everything kept, and the user may say *Continue*. Which of
the two is the ``recovery`` setting's to say, and the budgets'. They are
columns of the turn, so that no chain of crashes can wear them out unseen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ..agent.repair import GO_ON
from ..errors import CommandRejected, ModelError
from ..protocol.commands import TurnContinue
from ..protocol.content import DisplayText, Json, ReasoningPart, TextPart, ToolPart, ToolState
from ..protocol.events import ToolStateChanged, TurnStatusChanged
from ..protocol.ids import now_ms
from ..store.writes import Call, PutBlocks, PutCounts
from . import ending, queueing, starting, tasks

if TYPE_CHECKING:
    from .actor import SessionActor

MAX_CUTS = 3
"""How often one step's text may be cut off before the user is asked."""

Found = Literal["nothing", "thinking", "text", "calls"]

_RERUN = frozenset({"read", "idempotent"})


def take_up(actor: SessionActor) -> None:
    """Settle what a former owner of the session left running, and go on if that is wanted."""
    turn = actor.state.turn
    if turn is None:
        if actor.state.queue and not actor.state.paused:
            queueing.start_next(actor)
        return
    match turn.status:
        case "stopping":
            if actor.state.step_is_open:
                _mend_step(actor, goes_on=False)
            actor.end_turn("stopped", resume_queue=False)
        case "awaiting":
            _settle_begun(actor)
        case _:
            _recover(actor)


def _recover(actor: SessionActor) -> None:
    state = actor.state
    assert state.turn is not None
    quiet_s = (now_ms() - state.session.updated_at) / 1000
    # Text that is in the history already was counted by whoever put it there.
    cut = state.step_is_open and state.spoken_step < state.turn.step and _found(actor) == "text"
    state.interrupted += 1
    state.cuts += 1 if cut else 0
    actor.journal.record(writes=[PutCounts(turn_id=state.turn.id, interrupted=state.interrupted, cuts=state.cuts)])
    exhausted = _exhausted(actor)
    goes_on = exhausted is None and _wanted(actor) and not (cut and _stuck(actor, quiet_s))
    if state.step_is_open:
        _mend_step(actor, goes_on=goes_on)
    if goes_on:
        _settle_begun(actor)
        actor.journal.record(TurnStatusChanged(status="recovering", attempt=state.turn.attempt + 1), full=True)
        actor.journal.record(then=actor.run_when_stored)
    elif exhausted is not None:
        actor.end_turn("failed", error=exhausted, resume_queue=False)
    else:
        actor.end_turn("interrupted", error=_interruption(actor), resume_queue=False)


# -- whether -----------------------------------------------------------------------------


def _exhausted(actor: SessionActor) -> ModelError | None:
    state, settings = actor.state, actor.services.settings
    attempt = state.turn.attempt if state.turn else 0
    if state.interrupted <= settings.max_interruptions and attempt < settings.max_recoveries:
        return None
    return ModelError(
        f"The server stopped {state.interrupted} times during this reply; it was not taken up again.",
        code="recovery_exhausted",
        hint="If the reply itself stops the server (too much memory, say), ask in another way.",
        retryable=True,
    )


def _wanted(actor: SessionActor) -> bool:
    settings = actor.services.settings
    if actor.state.turn is not None and actor.state.turn.id == actor.state.held_turn:
        return False
    away_s = (now_ms() - actor.state.seen_at) / 1000
    return settings.recovery == "auto" and away_s < settings.recovery_window_s


def _stuck(actor: SessionActor, quiet_s: float) -> bool:
    return actor.state.cuts > MAX_CUTS or quiet_s > actor.services.settings.recovery_stall_s


def _interruption(actor: SessionActor) -> ModelError:
    return ModelError(
        "The server stopped while this reply was being written.",
        code="interrupted",
        retryable=actor.services.settings.recovery != "never",
    )


# -- the step that broke off -----------------------------------------------------------------


def _found(actor: SessionActor) -> Found:
    """Tell what the newest attempt of the open step had come to."""
    found: Found = "nothing"
    for part_id in actor.state.step_parts:
        match actor.state.part(part_id):
            case ToolPart(state="input-available"):
                return "calls"
            case TextPart(text=text) if text.strip():
                found = "text"
            case ReasoningPart() | TextPart() | ToolPart() if found == "nothing":
                found = "thinking"
            case _:
                pass
    return found


def _mend_step(actor: SessionActor, *, goes_on: bool) -> None:
    if not goes_on:
        _keep_text(actor, goes_on=False)
        return
    match _found(actor):
        case "text":
            _keep_text(actor, goes_on=True)
        case "thinking" | "calls":
            _settle_parts(actor)
            actor.ledger().reset_step(actor.ledger().step)
            actor.state.reopen_step()
        case "nothing":
            actor.state.reopen_step()


def _keep_text(actor: SessionActor, *, goes_on: bool) -> None:
    """What was shown was said: it goes into the history, though the answer broke off there."""
    state = actor.state
    assert state.turn is not None
    _settle_parts(actor)
    texts = [part.text for part_id in state.step_parts if isinstance(part := state.part(part_id), TextPart)]
    said = [{"type": "text", "text": text} for text in texts if text.strip()]
    step, writes = state.turn.step, list[PutBlocks]()
    if said and state.spoken_step < step:
        writes.append(PutBlocks(turn_id=state.turn.id, step=step, ord=0, role="assistant", content=said))
        state.spoken_step = step
    # A crash may have come between this and the next request: then it was said already.
    if goes_on and state.answered_step < step:
        more = [{"type": "text", "text": GO_ON}]
        writes.append(PutBlocks(turn_id=state.turn.id, step=step, ord=1, role="user", content=more))
        state.answered_step = step
    actor.journal.record(writes=writes)


def _settle_parts(actor: SessionActor) -> None:
    """Bring the step's open parts to rest; a half-written call is told to be none."""
    ledger = actor.ledger()
    for part_id in actor.state.step_parts:
        if isinstance(actor.state.part(part_id), ToolPart):
            error = "The reply broke off before it was complete, so this call did not run."
            ledger.tool_state(part_id, "output-error", error=error, reason="never_ran")
        else:
            ledger.finish_part(part_id)


# -- calls that had begun ----------------------------------------------------------------------


def _settle_begun(actor: SessionActor) -> None:
    for call in list(actor.state.calls):
        if call.state != "executing":
            continue
        if call.effect in _RERUN and call.attempt <= actor.services.settings.max_reruns:
            _run_again(actor, call)
        else:
            _unknown(actor, call)


def _run_again(actor: SessionActor, call: Call) -> None:
    part = actor.state.parts.get(call.part_id)
    actor.ledger().put_call(replace(call, state="approved"))
    if isinstance(part, ToolPart):
        actor.journal.record(
            ToolStateChanged(part_id=part.id, state=part.state, running=False, rev=part.rev + 1), full=True
        )


def _unknown(actor: SessionActor, call: Call) -> None:
    text = ending.why("interrupted", call.effect, running=True)
    state: ToolState = "output-error"
    actor.ledger().record_result(
        call,
        state=state,
        content=[{"type": "text", "text": text}],
        display=[DisplayText(text=text)],
        reason="interrupted",
    )


# -- when the user asks ---------------------------------------------------------------------------


def go_on(actor: SessionActor, command: TurnContinue, *, user: str) -> dict[str, Json]:
    """Start a turn that goes on where the last one ended. Raises ``CommandRejected``."""
    last = actor.state.last_outcome
    if actor.state.turn is not None:
        raise CommandRejected("A turn is running.", code="busy", hint="Wait for it, or stop it.")
    if last is None or last.turn != command.after or actor.state.head not in last.message_ids:
        raise CommandRejected("This is not the session's last turn.", code="stale")
    if last.outcome == "completed":
        raise CommandRejected("The last turn is complete.", code="nothing_to_continue")
    turn_id = starting.go_on(actor, last, user)
    tasks.follow_turn(actor, last.turn, turn_id)
    return {"turn": turn_id}
