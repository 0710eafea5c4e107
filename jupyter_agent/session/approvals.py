"""Answers to approvals: a row that waits, not a future that dies with the process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import CommandRejected
from ..protocol.commands import ApprovalAnswer
from ..protocol.content import Approval, Decision, Json, Road, Scope
from ..protocol.events import ApprovalResolved, TurnStatusChanged
from ..store.writes import Call, Decide, Permission, PutMeta
from .permissions import input_hash

if TYPE_CHECKING:
    from .actor import SessionActor


def answer(actor: SessionActor, command: ApprovalAnswer, *, by: str, road: Road) -> dict[str, Json]:
    """Settle one question; the turn goes on when none is open. Raises ``CommandRejected``."""
    approval = actor.state.approvals.get(command.id)
    if approval is None:
        raise CommandRejected("This has been answered already.", code="not_open")
    _check_same_question(actor, approval, command)
    if command.scope not in approval.scopes:
        raise CommandRejected(f"This cannot be allowed with the scope {command.scope!r}.", code="scope")
    if actor.stopping:
        raise CommandRejected("The turn is being stopped.", code="not_open")
    if command.decision == "allow" and command.edited_input is not None:
        _check_edit(actor, approval, command.edited_input)
    _resolve(actor, approval, command.decision, command.scope, command.reason, by, road, command.edited_input)
    if command.decision == "allow" and command.scope == "session":
        _grant(actor, approval, by, road)
    _go_on(actor)
    return {"id": approval.id, "decision": command.decision}


def _check_same_question(actor: SessionActor, approval: Approval, command: ApprovalAnswer) -> None:
    """An answer is one to the input that was looked at, and to no other."""
    call = actor.state.call(approval.tool_call_id)
    seen = approval.input_hash if command.input_hash is None else command.input_hash
    if approval.rev != command.rev or call is None or seen != input_hash(call.input):
        raise CommandRejected("The question has changed meanwhile.", code="stale", hint="Look at it again.")


def _check_edit(actor: SessionActor, approval: Approval, edited_input: Json) -> None:
    call = actor.state.call(approval.tool_call_id)
    fault = actor.services.toolbox.fault(call.name, edited_input) if call is not None else None
    if fault is not None:
        raise CommandRejected(fault, code="invalid_input", hint="Correct it, or allow the call as it is.")


def deny_writes(actor: SessionActor, *, by: str, road: Road) -> None:
    """Plan mode was switched on: what waits to write is denied; exit_plan may go on waiting."""
    open_ones = list(actor.state.approvals.values())
    for approval in open_ones:
        call = actor.state.call(approval.tool_call_id)
        if call is not None and actor.services.toolbox.gate(call.name, "plan", call.input) == "deny":
            _resolve(actor, approval, "deny", "once", "The session was switched to Plan mode.", by, road, None)
    if open_ones:
        _go_on(actor)


def _grant(actor: SessionActor, approval: Approval, by: str, road: Road) -> None:
    """Remember the tool for this session, and answer what else waits for the same."""
    state = actor.state
    call = state.call(approval.tool_call_id)
    if call is None:
        return
    state.grants.add(call.name)
    actor.journal.record(writes=[PutMeta(key="grants", value=sorted(state.grants))], full=True)
    for other in list(state.approvals.values()):
        waiting = state.call(other.tool_call_id)
        if waiting is not None and waiting.name == call.name:
            _resolve(actor, other, "allow", "session", None, by, road, None)


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
    ledger = actor.ledger()
    if decision == "allow":
        state.permissions[call.id] = given
        ledger.put_call(new)
        ledger.tool_state(new.part_id, "approval-responded", input=edited)
    else:
        ledger.deny(call, reason)


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
