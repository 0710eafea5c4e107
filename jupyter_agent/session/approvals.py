"""Answers to approvals: a row that waits, not a future that dies with the process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import CommandRejected, StoreError
from ..protocol.commands import ApprovalAnswer, MessageSend
from ..protocol.content import Approval, Decision, Json, Message, Road, Scope
from ..protocol.events import ApprovalResolved, MessageAdded, TurnStatusChanged
from ..protocol.ids import now_ms
from ..store.rules import fits
from ..store.writes import Call, Decide, Job, Permission, PutBlocks, PutMeta
from . import jobs
from .jobs import handles
from .large import shown_room
from .permissions import EXPIRE, expiry_of, input_hash, notebook_of, pattern_fault
from .said import parts_of

if TYPE_CHECKING:
    from .actor import SessionActor

SAID_INSTEAD = 9
"""Where in a step's part of the API's history messages stand that came instead of answers: after the results.

A step may ask again: after one was denied, what comes behind it may need an answer too.
"""
EXPIRED = "Nobody answered in time."


def answer(actor: SessionActor, command: ApprovalAnswer, *, by: str, road: Road) -> dict[str, Json]:
    """Settle one question; the turn goes on when none is open. Raises ``CommandRejected``."""
    approval, call = _checked(actor, command, road)
    if command.reason or command.edited_input is not None:
        heard(actor, by)
    _resolve(actor, approval, command.decision, command.scope, command.reason, by, road, command.edited_input)
    if command.decision == "allow" and command.scope != "once":
        _answer_alike(actor, call, command, by, road)
    _go_on(actor)
    return {"id": approval.id, "decision": command.decision}


def _checked(actor: SessionActor, command: ApprovalAnswer, road: Road) -> tuple[Approval, Call]:
    """Return what the answer is to. Raises ``CommandRejected``."""
    approval = actor.state.approvals.get(command.id)
    call = actor.state.call(approval.tool_call_id) if approval is not None else None
    if approval is None or call is None:
        raise CommandRejected("This has been answered already.", code="not_open")
    _check_same_question(approval, call, command)
    if command.scope == "always" and road == "comm":
        raise CommandRejected("An inline panel cannot allow a tool for good.", code="forbidden")
    if command.scope not in approval.scopes:
        raise CommandRejected(f"This cannot be allowed with the scope {command.scope!r}.", code="scope")
    if command.scope == "always" and (fault := pattern_fault(command.pattern, _notebook(actor, call), call.effect)):
        raise CommandRejected(fault, code="pattern")
    if actor.stopping:
        raise CommandRejected("The turn is being stopped.", code="not_open")
    if command.decision == "allow" and approval.expires_at is not None and approval.expires_at <= now_ms():
        raise CommandRejected("The time to allow this is over.", code="expired")  # Its job denies it in a moment.
    if command.decision == "allow" and command.edited_input is not None:
        fault = actor.services.toolbox.fault(call.name, command.edited_input)
        if fault is not None:
            raise CommandRejected(fault, code="invalid_input", hint="Correct it, or allow the call as it is.")
    return approval, call


def _check_same_question(approval: Approval, call: Call, command: ApprovalAnswer) -> None:
    """An answer is one to the input that was looked at, and to no other."""
    seen = approval.input_hash if command.input_hash is None else command.input_hash
    if approval.rev != command.rev or seen != input_hash(call.input):
        raise CommandRejected("The question has changed meanwhile.", code="stale", hint="Look at it again.")


async def keep_rule(actor: SessionActor, command: ApprovalAnswer, *, by: str, road: Road) -> None:
    """Write down what is allowed for good, before the answer that says so. Raises ``CommandRejected``."""
    if command.decision != "allow" or command.scope != "always":
        return
    _, call = _checked(actor, command, road)
    path = _notebook(actor, call)
    runs_with = call.input if command.edited_input is None else command.edited_input
    if path is None or notebook_of(runs_with, actor.state.session.notebook_path) != path:
        raise CommandRejected("Only what happens in one notebook can be allowed for good.", code="scope")
    try:
        await actor.services.rules.add(by, call.name, path, pattern=command.pattern)
    except StoreError as error:
        raise CommandRejected(error.message, code=error.code, hint=error.hint) from None


def heard(actor: SessionActor, by: str) -> None:
    """Somebody's words reach the model in the live turn.

    Where they are another's than who asked for it, nothing is allowed for good there any more: it was to that one.
    """
    turn = actor.state.turn
    if turn is not None and by != turn.user and actor.state.mixed_turn != turn.id:
        actor.state.mixed_turn = turn.id
        actor.journal.record(writes=[PutMeta(key="mixed_turn", value=turn.id)])


def say_instead(
    actor: SessionActor, command: MessageSend, said: list[dict[str, Json]], *, by: str, road: Road
) -> dict[str, Json]:
    """Deny whatever waits; the model reads the message after the denials, in the same turn."""
    turn = actor.state.turn
    if turn is None or actor.stopping:
        raise CommandRejected("The turn is being stopped.", code="not_open")
    message = Message(
        id=command.id,
        role="user",
        status="complete",
        turn_id=turn.id,
        parent_id=actor.state.head,
        created_at=now_ms(),
        parts=list(parts_of(command.parts, shown_room(actor.services.settings, command.parts))),
    )
    heard(actor, by)
    blocks = PutBlocks(turn_id=turn.id, step=turn.step, ord=SAID_INSTEAD, role="user", content=said, behind=True)
    actor.journal.record(MessageAdded(message=message), writes=[blocks], full=True)
    reason = "\n".join(part.text for part in command.parts if part.type == "text").strip() or None
    for approval in list(actor.state.approvals.values()):
        _resolve(actor, approval, "deny", "once", reason, by, road, None)
    _go_on(actor)
    return {"message_id": message.id, "turn": turn.id, "queue_id": None, "paused": actor.state.paused}


@handles(EXPIRE)
def _expire(actor: SessionActor, job: Job) -> None:
    """Nobody answered in time: that is a no, and the turn goes on."""
    approval = actor.state.approvals.get(job.payload)
    if approval is not None and not actor.stopping:
        _resolve(actor, approval, "deny", "once", EXPIRED, "system", "panel", None)
        _go_on(actor)


def _notebook(actor: SessionActor, call: Call) -> str | None:
    return notebook_of(call.input, actor.state.session.notebook_path)


def deny_writes(actor: SessionActor, *, by: str, road: Road) -> None:
    """Plan mode was switched on: what waits to write is denied; exit_plan may go on waiting."""
    open_ones = list(actor.state.approvals.values())
    for approval in open_ones:
        call = actor.state.call(approval.tool_call_id)
        if call is not None and actor.services.toolbox.gate(call.name, "plan", call.input) == "deny":
            _resolve(actor, approval, "deny", "once", "The session was switched to Plan mode.", by, road, None)
    if open_ones:
        _go_on(actor)


def _answer_alike(actor: SessionActor, call: Call, command: ApprovalAnswer, by: str, road: Road) -> None:
    """Remember what holds for this session, and answer what else waits for the same."""
    state, scope = actor.state, command.scope
    if scope == "session":
        state.grants.add(call.name)
        actor.journal.record(writes=[PutMeta(key="grants", value=sorted(state.grants))], full=True)
    for other in list(state.approvals.values()):
        waiting = state.call(other.tool_call_id)
        if waiting is None or waiting.name != call.name:
            continue
        path = _notebook(actor, waiting)
        named = path == _notebook(actor, call)
        below = path is not None and command.pattern is not None and fits(command.pattern, path, waiting.effect)
        if scope == "session" or named or below:
            _resolve(actor, other, "allow", scope, None, by, road, None)


def _resolve(
    actor: SessionActor,
    approval: Approval,
    decision: Decision,
    scope: Scope,
    reason: str | None,
    by: str,
    road: Road,
    edited_input: Json,
) -> None:
    state = actor.state
    call = state.call(approval.tool_call_id)
    if call is None:
        return
    resolved = ApprovalResolved(
        id=approval.id, rev=approval.rev + 1, decision=decision, by=by, road=road, reason=reason
    )
    changed = edited_input is not None and input_hash(edited_input) != input_hash(call.input)
    edited = edited_input if decision == "allow" and changed else None
    new: Call = replace(call, state="approved", input=call.input if edited is None else edited)
    given = Permission(
        approval_id=approval.id, scope=scope, by=by, input_hash=input_hash(new.input), edited=edited is not None
    )
    decided = Decide(approval_id=approval.id, scope=scope, input_hash=given.input_hash, edited_input=edited)
    actor.journal.record(resolved, writes=[decided], full=True)
    jobs.drop(actor, expiry_of(approval.id))
    ledger = actor.ledger()
    if decision == "allow":
        state.permissions[call.id] = given
        ledger.put_call(new)
        ledger.tool_state(new.part_id, "approval-responded", input=edited)
    else:
        ledger.deny(call, reason, by_user=by != "system")


def _go_on(actor: SessionActor) -> None:
    turn = actor.state.turn
    if turn is not None and not actor.state.approvals and not actor.stopping:
        actor.journal.record(
            TurnStatusChanged(status="running", attempt=turn.attempt),
            full=True,
            then=lambda error: _enter(actor, error),
        )


def _enter(actor: SessionActor, error: object) -> None:
    if error is None:
        actor.run()
