"""Taking up a turn that was cut off: at waking, by itself; later, when the user asks for it.

What is found                              what becomes of it
─────────────────────────────────────────  ─────────────────────────────────────────────────────────────────
stopping                                   the stop is finished: ``stopped``
awaiting the user                          still waits; exempt from every budget. Behind a restore, what else was to run
                                           with the answer may have run since: it ended in an unknown way
no answer yet, or nothing but thinking     the step is asked again
text, no complete call                     the text is kept, in the history too; the model goes on behind it
a complete call, but no end of the answer  the step is superseded (none of its calls ran) and asked again
answer complete, and it calls nothing      the turn ends ``completed``, whatever the settings and the budgets say;
                                           behind a restore ``interrupted``, like any: what waited came next then
answer complete, calls not begun           they run now: their intent was never written
a call had begun, it only looks            it runs again, ``max_reruns`` times
a call had begun, it may change something  it ended in an unknown way; model and user are told, it never reruns
results stored, next request not sent      it is sent

The three middle rows mend the newest step; then the turn goes on, or it ends
``interrupted`` with everything kept, and the user may say *Continue*. Which of
the two is the ``recovery`` setting's to say.

Every row but the first two and that of a complete answer has budgets, all of them on disk, so that no chain
of crashes can wear them out unseen. Spent, they end the turn ``failed``::

    max_interruptions   deaths of the server during this turn (``turns.interrupted``). An orderly end is none:
                        it leaves a note of the turn that it put down (``meta.put_down``)
    max_recoveries      in a row without a complete step (``turns.attempt``)
    recovery_stall_s    from the first recovery after the last progress: text, a step, a result, an answer of
                        the user. The log knows both times. A server that was down for long is no recovery
                        that came no further, so its absence alone fails nothing; but text that broke off so
                        long ago is not gone on with unasked: ``interrupted``
    max_reruns          of one call (``tool_calls.attempt``); then it ends unknown, like one that changes things

A call that runs again is the same row under the same id, and that id is its
idempotency key: tools get it as ``ToolContext.call_id`` and hand it on as the
``op_id`` of an edit, or make a new task's id of it. There is no second key to
keep in step with it.

What became of a kernel is only guessed, in words (``ending.KERNEL_LOST``):
a local one ends with its server. One that outlives it (a gateway's, or one
whose parent poller is off) may have run the cell to its end, and nobody looks.
To look, three things are missing: the intent would have to hold the kernel's
id and the execute request's ``msg_id``, which the tab or the workspace knows
only once the call runs; ``NotebookKernels.find`` would have to find the kernel
by that id, as the notebook's Jupyter session is forgotten by a server that
keeps its sessions in memory; and the link would have to wait, within a bound,
until that kernel is idle. The proof would be the cell's: saved with the
outputs, the execution count of that very request. Without it the outcome is
unknown all the same, and the model is told to read the cell.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ..agent import loop
from ..agent.repair import GO_ON
from ..errors import CommandRejected, ModelError
from ..protocol.commands import TurnContinue
from ..protocol.content import DisplayText, Json, ReasoningPart, TextPart, ToolPart, ToolState
from ..protocol.events import ToolStateChanged, TurnStatusChanged
from ..protocol.ids import now_ms
from ..store.writes import Call, PutBlocks, PutCounts, PutMeta
from . import ending, queueing, starting, tasks

if TYPE_CHECKING:
    from .actor import SessionActor

MAX_CUTS = 3
"""How often one step's text may be cut off before the user is asked."""

HELD = (
    "This session was put back to a time before this call ran. It may have run since, so it is not run now. "
    "Check before repeating it."
)

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
            _settle_held(actor)
        case _:
            _recover(actor)


def _recover(actor: SessionActor) -> None:
    state = actor.state
    assert state.turn is not None
    complete = state.stop_reason is not None and not loop.goes_on(state.stop_reason, state.calls)
    if complete and not _is_held(actor):
        actor.journal.record(then=actor.run_when_stored)  # It only has to end, which asks nobody and costs nothing.
        return
    # Text that is in the history already was counted by whoever put it there.
    cut = state.step_is_open and state.spoken_step < state.turn.step and _found(actor) == "text"
    state.interrupted += 0 if state.put_down == state.turn.id else 1
    state.cuts += 1 if cut else 0
    counts = PutCounts(turn_id=state.turn.id, interrupted=state.interrupted, cuts=state.cuts)
    state.put_down = None
    actor.journal.record(writes=[counts, PutMeta(key="put_down", value=None)])
    exhausted = _exhausted(actor)
    goes_on = exhausted is None and _wanted(actor) and not (cut and _stuck(actor))
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


def put_down(actor: SessionActor) -> None:
    """Note, at an orderly end, that the live turn was not cut off by a death."""
    turn = actor.state.turn
    if turn is not None and turn.status in ("running", "recovering"):
        actor.journal.record(writes=[PutMeta(key="put_down", value=turn.id)])


def keep_seen(actor: SessionActor) -> None:
    """Note from time to time that the user looks on: one answer, or one cell, may take longer than the window is."""
    turn, often_s = actor.state.turn, actor.services.settings.recovery_window_s / 15
    if turn is None or turn.status not in ("running", "recovering") or not 0 < often_s <= _ago_s(actor.state.seen_at):
        return
    if writes := actor.seen():
        actor.journal.record(writes=writes)


# -- whether -----------------------------------------------------------------------------


def _exhausted(actor: SessionActor) -> ModelError | None:
    state, settings = actor.state, actor.services.settings
    attempt = state.turn.attempt if state.turn else 0
    if state.interrupted > settings.max_interruptions:
        why = f"The server died {state.interrupted} times during this reply"
    elif attempt >= settings.max_recoveries:
        why = f"This reply was taken up {attempt} times and came no further"
    elif state.recovering_since is not None and _ago_s(state.recovering_since) > settings.recovery_stall_s:
        why = (
            f"This reply came no further in the {_ago_s(state.recovering_since) / 60:.0f} minutes since it was taken up"
        )
    else:
        return None
    return ModelError(
        f"{why}; it was not taken up again.",
        code="recovery_exhausted",
        hint="If the reply itself stops the server (too much memory, say), ask in another way.",
        retryable=True,
    )


def _wanted(actor: SessionActor) -> bool:
    if _is_held(actor):
        return False
    settings = actor.services.settings
    return settings.recovery == "auto" and _ago_s(actor.state.seen_at) < settings.recovery_window_s


def _is_held(actor: SessionActor) -> bool:
    """Tell whether the session was put back to the middle of this turn: it ended then, and what waited came next."""
    return actor.state.turn is not None and actor.state.turn.id == actor.state.held_turn


def _stuck(actor: SessionActor) -> bool:
    stalled = _ago_s(actor.state.progress_at) > actor.services.settings.recovery_stall_s
    return actor.state.cuts > MAX_CUTS or stalled


def _ago_s(at: int) -> float:
    return (now_ms() - at) / 1000


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
            _unknown(actor, call, ending.why("interrupted", call.effect, running=True))


def _settle_held(actor: SessionActor) -> None:
    """The session was put back to a question: what needed no more answers may have run behind it since."""
    if not _is_held(actor):
        return
    for call in list(actor.state.calls):
        if call.state in ("pending", "approved") and call.effect not in _RERUN:
            _unknown(actor, call, HELD)
    actor.state.held_turn = None
    actor.journal.record(writes=[PutMeta(key="held_turn", value=None)])


def _run_again(actor: SessionActor, call: Call) -> None:
    part = actor.state.parts.get(call.part_id)
    actor.ledger().put_call(replace(call, state="approved"))
    if isinstance(part, ToolPart):
        actor.journal.record(
            ToolStateChanged(part_id=part.id, state=part.state, running=False, rev=part.rev + 1), full=True
        )


def _unknown(actor: SessionActor, call: Call, text: str) -> None:
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
    if last is None or last.turn != command.after or actor.state.head_turn != last.turn:
        raise CommandRejected("This is not the session's last turn.", code="stale")
    if last.outcome == "completed":
        raise CommandRejected("The last turn is complete.", code="nothing_to_continue")
    turn_id = starting.go_on(actor, last, user)
    tasks.follow_turn(actor, last.turn, turn_id)
    return {"turn": turn_id}
