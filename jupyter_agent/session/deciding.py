"""What each command does to an awake session.

Each is a plain function of ``State``: it decides, records, and returns;
nothing is awaited between looking and recording. What must be read first, or
put away, comes before that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..protocol.commands import (
    ApprovalAnswer,
    Command,
    Hello,
    History,
    MessageSend,
    Ping,
    QueueEdit,
    QueueRemove,
    QueueReorder,
    QueueResume,
    QueueSendNow,
    SessionClear,
    SessionFork,
    SessionRewind,
    SessionSet,
    Subscribe,
    TaskCreate,
    TaskRun,
    TaskUpdate,
    TurnContinue,
    TurnRetry,
    TurnStop,
)
from ..protocol.content import Json, Road
from ..protocol.plain import to_plain
from . import approvals, branches, queueing, recovery, sending, tasks
from .inbox import Envelope
from .large import is_long, keep_texts
from .said import said_to_model

if TYPE_CHECKING:
    from .actor import SessionActor


async def decide(actor: SessionActor, envelope: Envelope) -> dict[str, Json]:
    """Read what the command brings, then decide; return the ack's result. Raises ``AgentError``."""
    command, settings = envelope.command, actor.services.settings
    if isinstance(command, branches.BranchCommand):
        return await branches.handle(actor, command, envelope.cmd_id, user=envelope.user)
    if isinstance(command, MessageSend | QueueEdit) and is_long(command.parts, settings):
        await asyncio.to_thread(keep_texts, actor.folder, command.parts, settings)
    said = await _said(actor, command)
    if isinstance(command, ApprovalAnswer):
        await approvals.keep_rule(actor, command, by=envelope.user, road=envelope.road)
    return _handle(actor, envelope, said)


async def _said(actor: SessionActor, command: Command) -> list[dict[str, Any]]:
    """Return what a message says as the blocks the model gets; its files are read."""
    if isinstance(command, MessageSend) and any(part.type == "file" for part in command.parts):
        return await asyncio.to_thread(said_to_model, actor.folder, command.parts)
    if isinstance(command, MessageSend):
        return said_to_model(actor.folder, command.parts)
    return []


def _handle(actor: SessionActor, envelope: Envelope, said: list[dict[str, Any]]) -> dict[str, Json]:
    """Decide and record; nothing is awaited in here. Raises ``CommandRejected``."""
    match envelope.command:
        case MessageSend() as command:
            return sending.send(actor, command, said, by=envelope.user, road=envelope.road)
        case TurnStop() as command:
            return actor.stop(command)
        case ApprovalAnswer() as command:
            return approvals.answer(actor, command, by=envelope.user, road=envelope.road)
        case SessionSet() as command:
            return _set(actor, command, by=envelope.user, road=envelope.road)
        case QueueEdit() | QueueRemove() | QueueReorder() | QueueSendNow() | QueueResume() as command:
            return queueing.handle(actor, command, by=envelope.user)
        case TurnContinue() as command:
            return recovery.go_on(actor, command, user=envelope.user)
        case TaskCreate() | TaskUpdate() | TaskRun() as command:
            return tasks.handle(actor, command, user=envelope.user)
        case SessionClear() | SessionRewind() | SessionFork() | TurnRetry():
            return {}  # ``decide`` has taken these.
        case Hello() | Ping() | Subscribe() | History():
            return {}  # The host and ``SessionActor.submit`` have answered these.


def _set(actor: SessionActor, command: SessionSet, *, by: str, road: Road) -> dict[str, Json]:
    wanted = {"mode": command.mode, "model": command.model, "title": command.title}
    patch: dict[str, Json] = {name: value for name, value in wanted.items() if value is not None}
    actor.change(patch, command.if_rev, by=by, road=road)
    return to_plain(actor.state.facts())
