"""Answers to approvals: a row that waits, not a future that dies with the process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import CommandRejected
from ..protocol.commands import ApprovalAnswer
from ..protocol.content import Approval, Decision, Json, Road, Scope
from ..protocol.events import ApprovalResolved, TurnStatusChanged
from ..store.writes import Call, Decide, PutMeta

if TYPE_CHECKING:
    from .actor import SessionActor


def answer(actor: SessionActor, command: ApprovalAnswer, *, by: str, road: Road) -> dict[str, Json]:
    """Settle one question; the turn goes on when none is open. Raises ``CommandRejected``."""
    approval = actor.state.approvals.get(command.id)
    if approval is None:
        raise CommandRejected("This has been answered already.", code="not_open")
    if approval.rev != command.rev:
        raise CommandRejected("The question has changed meanwhile.", code="stale")
    if command.scope not in approval.scopes:
        raise CommandRejected(f"This cannot be allowed with the scope {command.scope!r}.", code="scope")
    if actor.stopping:
        raise CommandRejected("The turn is being stopped.", code="not_open")
    _resolve(actor, approval, command.decision, command.scope, command.reason, by, road, command.edited_input)
    if command.decision == "allow" and command.scope == "session":
        _grant(actor, approval, by, road)
    _go_on(actor)
    return {"id": approval.id, "decision": command.decision}


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
    actor.journal.record(resolved, writes=[Decide(approval_id=approval.id, scope=scope)], full=True)
    ledger = actor.ledger()
    if decision == "allow":
        new: Call = replace(call, state="approved", input=call.input if edited_input is None else edited_input)
        ledger.put_call(new)
        ledger.tool_state(new.part_id, "approval-responded", input=edited_input)
    else:
        ledger.deny(call, reason)


def _go_on(actor: SessionActor) -> None:
    turn = actor.state.turn
    if turn is not None and not actor.state.approvals:
        actor.journal.record(
            TurnStatusChanged(status="running", attempt=turn.attempt),
            full=True,
            then=lambda error: _enter(actor, error),
        )


def _enter(actor: SessionActor, error: object) -> None:
    if error is None:
        actor.run()
