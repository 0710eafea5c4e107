"""What becomes of a message: a turn of its own, a place in the queue, or an answer to what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import CommandRejected
from ..protocol.commands import MessageSend
from ..protocol.content import Json, QueueItem, Road
from ..protocol.ids import new_id, now_ms
from . import approvals, queueing, starting
from .large import queued_room, shown_room
from .said import parts_of

if TYPE_CHECKING:
    from .actor import SessionActor


def send(
    actor: SessionActor, command: MessageSend, said: list[dict[str, Any]], *, by: str, road: Road
) -> dict[str, Json]:
    """Take a message: it starts a turn, or waits. Raises ``CommandRejected``."""
    state = actor.state
    if command.if_mode is not None and command.if_mode != state.session.mode:
        raise CommandRejected(f"The session is in {state.session.mode} mode now.", code="mode_mismatch")
    if not said:
        raise CommandRejected("The message is empty.", code="empty")
    if command.deny_pending and state.approvals:
        return approvals.say_instead(actor, command, said, by=by, road=road)
    busy = state.turn is not None or bool(state.queue)
    if not busy:
        room = shown_room(actor.services.settings, command.parts)
        starting.start_turn(actor, "user", command.id, parts_of(command.parts, room), said, user=by)
        assert state.turn is not None
        return {"message_id": command.id, "turn": state.turn.id, "queue_id": None, "paused": False}
    if command.when_busy == "reject":
        raise CommandRejected("A turn is running.", code="busy", hint="Wait for it, stop it, or let the message queue.")
    item = QueueItem(
        id=new_id("que"),
        message_id=command.id,
        parts=parts_of(command.parts, queued_room(actor.services.settings, command.parts)),
        when_busy=command.when_busy,
        created_at=now_ms(),
        user=by,
    )
    items = queueing.placed(state.queue, item)
    queueing.check_room(items, actor.services.settings)
    actor.put_queue(items)
    return {"message_id": command.id, "turn": None, "queue_id": item.id, "paused": state.paused}
