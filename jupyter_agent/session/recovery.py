"""Taking up a turn that was cut off: on waking, and when the user asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CommandRejected
from ..protocol.commands import TurnContinue
from ..protocol.content import Json

if TYPE_CHECKING:
    from .actor import SessionActor


def go_on(actor: SessionActor, command: TurnContinue) -> dict[str, Json]:
    """Start a turn that goes on where the last one ended. Raises ``CommandRejected``."""
    raise CommandRejected(f"{actor.id} cannot do {command.tag} yet.", code="unsupported")
