"""The turn, told as a story: ask the model, run the tools it calls, repeat.

::

    ledger says                              run_turn does
    ─────────────────────────────────────    ──────────────────────────────────────────────
    calls not all settled                    gate each; ask the user → rest: Awaiting
                                             run in order, intent before, result after
    calls settled, not answered              put the results into the history, then what the user
                                             said meanwhile to steer, unless this was the last step
    step complete, nothing to run            rest: Ended(completed)
    max_steps reached                        rest: Ended(step_limit)
    otherwise                                ask the model for the next step

``run_turn`` keeps nothing between two lines of that table, so it can be
stopped anywhere and entered again: after an approval, or after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from ..errors import ModelError, ToolError
from ..protocol.content import Display, DisplayText, OutcomeKind
from ..store.writes import Call
from ..tools.toolbox import PLAN_DENIAL, Toolbox
from .ledger import Ledger
from .model import AttemptReset, Block, Model, ModelRequest, RetryNotice, StepClosed, StepFailed, StepOpened
from .step import StepWriter

RUN_NEXT = frozenset({"tool_use", "pause_turn", "max_tokens"})
"""Stop reasons after which the turn may go on."""

REFUSED_HISTORY = frozenset({"bad_history", "request_too_large"})
"""Failures that a plainer history may help against."""

CUT_OFF = "This call was cut off by the reply's length limit and did not run. Send it again, shorter."
NOT_ASKED = "This call did not run: the reply ended for another reason than to have it run."


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaiting:
    """The user has been asked; the answer enters the turn again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The turn is over."""

    outcome: OutcomeKind
    error: ModelError | None = None


Rest = Awaiting | Ended


async def run_turn(ledger: Ledger, model: Model, toolbox: Toolbox, *, max_steps: int) -> Rest:
    """Carry the turn to rest. Cancelling it keeps what was said and interrupts what runs."""
    while True:
        if ledger.calls and not ledger.answered:
            if not await run_calls(ledger, toolbox):
                return Awaiting()
            # What steers the last step nobody would answer here: it starts the next turn.
            await ledger.answer(steered=ledger.step < max_steps)
        if ledger.stop_reason is not None and not goes_on(ledger.stop_reason, ledger.calls):
            return _rest_after(ledger)
        if ledger.step >= max_steps:
            return Ended(outcome="step_limit")
        failure = await ask_model(ledger, model, toolbox)
        if failure is not None and not (failure.code in REFUSED_HISTORY and await ledger.mend(failure)):
            return Ended(outcome="failed", error=failure)


def goes_on(stop_reason: str, calls: Sequence[Call]) -> bool:
    """Tell whether a turn asks the model again after a complete step."""
    return stop_reason == "pause_turn" or (stop_reason in RUN_NEXT and bool(calls))


def _rest_after(ledger: Ledger) -> Ended:
    match ledger.stop_reason:
        case "refusal":
            message = "Claude declined to answer this."
            return Ended(outcome="failed", error=ModelError(message, code="refused", hint="Try asking in another way."))
        case "model_context_window_exceeded":
            message = "The conversation no longer fits the model's context window."
            hint = "Start a new session; this one stays readable."
            return Ended(outcome="failed", error=ModelError(message, code="context_too_long", hint=hint))
        case "max_tokens":
            ledger.notice("warning", "max_tokens", "The answer reached the limit of one reply and was cut there.")
            return Ended(outcome="completed")
        case _:
            return Ended(outcome="completed")


# -- the model ----------------------------------------------------------------------


async def ask_model(ledger: Ledger, model: Model, toolbox: Toolbox) -> ModelError | None:
    """Ask for one step and write it down as it streams; return why it failed, if it did."""
    system, tools = await ledger.prefix()
    request = ModelRequest(
        model=ledger.model,
        system=system,
        tools=tools,
        messages=await ledger.history(),
        session_id=ledger.session_id,
    )
    step = ledger.step + 1
    ledger.open_step(step, request.model)
    writer = StepWriter(ledger, toolbox, step)
    try:
        async with aclosing(model.stream(request)) as stream:
            async for event in stream:
                match event:
                    case StepOpened():
                        pass
                    case RetryNotice(code=code, text=text):
                        ledger.notice("warning", code, text)
                    case AttemptReset(code=code, text=text):
                        ledger.notice("warning", code, text)
                        writer = writer.reset()
                    case StepClosed(stop_details=details):
                        if event.stop_reason == "refusal" and details and details.get("explanation"):
                            ledger.notice("warning", "refused", str(details["explanation"]))
                        await writer.close(event)
                        return None
                    case StepFailed(error=error):
                        await ledger.cut_step(writer.salvage())
                        return error
                    case _:
                        writer.feed(event)
    except asyncio.CancelledError:
        await asyncio.shield(ledger.cut_step(writer.salvage()))
        raise
    return ModelError("The model's stream ended without a word.", code="truncated", retryable=True)


# -- the tools ----------------------------------------------------------------------


async def run_calls(ledger: Ledger, toolbox: Toolbox) -> bool:
    """Settle the step's calls in order; return False when the user has to answer first."""
    if ledger.stop_reason != "tool_use":
        # Only that says that a call is complete and meant to run.
        cut = ledger.stop_reason == "max_tokens"
        for call in _open(ledger):
            await _fail(ledger, call, CUT_OFF if cut else NOT_ASKED)
        return True
    await _ask_first(ledger, toolbox)
    for call in _open(ledger):
        if call.state == "approval" or not await _run(ledger, toolbox, call):
            return False
    return True


def _open(ledger: Ledger) -> Sequence[Call]:
    return [call for call in ledger.calls if call.state != "done"]


async def _ask_first(ledger: Ledger, toolbox: Toolbox) -> None:
    """Put all calls that need it before the user at once, so that one look answers them."""
    pending = [call for call in _open(ledger) if call.state == "pending"]
    gated = [call for call in pending if toolbox.gate(call.name, ledger.mode, call.input) == "ask"]
    await _ask(ledger, toolbox, [call for call in gated if await ledger.permission(call) is None])


async def _ask(ledger: Ledger, toolbox: Toolbox, calls: Sequence[Call]) -> bool:
    """Put calls before the user; return False when that leaves none to wait for."""
    asked: list[tuple[Call, list[Display]]] = []
    for call in calls:
        try:
            asked.append((call, await toolbox.preview(call.name, call.input, ledger.context(call))))
        except ToolError as error:
            await _fail(ledger, call, error.message)
    if asked:
        await ledger.ask(asked)
    return bool(asked)


async def _run(ledger: Ledger, toolbox: Toolbox, call: Call) -> bool:
    """Run one call, if it still may; return False when the user has to answer first.

    What was allowed a while ago is looked at again here: a call before it may have changed the mode,
    a rule may be gone. Between the last look and the intent nothing is awaited.
    """
    gate = toolbox.gate(call.name, ledger.mode, call.input)
    permission = await ledger.permission(call) if gate == "ask" else None
    gate = toolbox.gate(call.name, ledger.mode, call.input)
    if gate == "deny":
        await _refuse(ledger, call)
        return True
    if gate == "ask" and permission is None:
        return not await _ask(ledger, toolbox, [call])
    begun = await ledger.begin(call, permission)
    outcome = await toolbox.call(begun.name, begun.input, ledger.context(begun))
    if outcome.switch_mode is not None:
        ledger.switch_mode(outcome.switch_mode)
    await ledger.settle(
        begun,
        state="output-error" if outcome.is_error else "output-available",
        content=outcome.content,
        display=outcome.display,
    )
    return True


async def _refuse(ledger: Ledger, call: Call) -> None:
    await ledger.settle(
        call,
        state="output-denied",
        content=_text(PLAN_DENIAL),
        display=[DisplayText(text="Refused in Plan mode.")],
        reason="denied",
    )


async def _fail(ledger: Ledger, call: Call, text: str) -> None:
    await ledger.settle(
        call, state="output-error", content=_text(text), display=[DisplayText(text=text)], reason="never_ran"
    )


def _text(text: str) -> list[Block]:
    return [{"type": "text", "text": text}]
