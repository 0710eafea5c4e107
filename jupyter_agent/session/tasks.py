"""Tasks: what the model or the user wrote down to be done later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CommandRejected
from ..protocol.commands import TaskCreate, TaskRun, TaskUpdate
from ..protocol.content import Json

if TYPE_CHECKING:
    from .actor import SessionActor

TaskCommand = TaskCreate | TaskUpdate | TaskRun


def handle(actor: SessionActor, command: TaskCommand) -> dict[str, Json]:
    """Create, change or run a task. Raises ``CommandRejected``."""
    raise CommandRejected(f"{actor.id} cannot do {command.tag} yet.", code="unsupported")
