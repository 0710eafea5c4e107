"""Branches: which messages are the session's story now. What leaves it stays stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CommandRejected
from ..protocol.commands import SessionClear, SessionFork, SessionRewind, TurnRetry
from ..protocol.content import Json

if TYPE_CHECKING:
    from .actor import SessionActor

BranchCommand = SessionClear | SessionRewind | SessionFork | TurnRetry


def handle(actor: SessionActor, command: BranchCommand) -> dict[str, Json]:
    """Change the branch. Raises ``CommandRejected``."""
    raise CommandRejected(f"{actor.id} cannot do {command.tag} yet.", code="unsupported")
