"""Steering: what the user says while a turn runs reaches that turn after its current tools.

What was said instead of an answer (``approvals.say_instead``) stands in the transcript already; behind it, too,
the turn goes on in another message.

::

    assistant message A    text, tool calls, results
                           ── step answered; a message with ``when_busy = steer`` waits ──
    user message           taken from the queue
    assistant message B    the same turn goes on

One transaction: the item leaves the queue, the message joins the transcript
and the API's history. A turn that calls no further tool ends first; then the
message starts the next one, ahead of the queue.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import CommandRejected
from ..protocol.content import Message, QueueItem, Turn
from ..protocol.events import Event, MessageAdded, MessageUpdated, Notice
from ..protocol.ids import new_id, now_ms
from ..store.writes import PutBlocks
from . import approvals
from .large import marked
from .said import said_to_model

if TYPE_CHECKING:
    from .actor import SessionActor

AFTER_RESULTS = 2
"""Their place within a step of the API's history: behind the results (1), as the API wants it."""


def take(actor: SessionActor) -> None:
    """Put what steers into the live turn."""
    turn, message = actor.state.turn, actor.state.message
    if turn is None or message is None or actor.stopping:
        return
    items = [item for item in actor.state.queue if item.when_busy == "steer" and not actor.state.paused]
    said_instead = actor.state.head not in (None, message.id)
    if not items:
        if said_instead:
            actor.journal.record(*_messages(actor, turn, message, []), full=True)
        return
    said: list[dict[str, Any]] = []
    for item in items:
        try:
            said += said_to_model(actor.folder, item.parts)
        except CommandRejected as error:
            actor.journal.record(Notice(level="error", code=error.code, text=error.message))
            return  # It waits for the turn's end, where the queue pauses and asks the user.
    for item in items:
        approvals.heard(actor, item.user)
    taken = {item.id for item in items}
    actor.put_queue([item for item in actor.state.queue if item.id not in taken])
    blocks = PutBlocks(turn_id=turn.id, step=turn.step, ord=AFTER_RESULTS, role="user", content=said)
    actor.journal.record(*_messages(actor, turn, message, items), writes=[blocks], full=True)


def _messages(actor: SessionActor, turn: Turn, message: Message, items: list[QueueItem]) -> list[Event]:
    now = now_ms()
    finished = marked(replace(message, status="complete", parts=actor.state.live_parts()))
    events: list[Event] = [MessageUpdated(message=finished)]
    parent = actor.state.head or message.id
    for item in items:
        words = Message(
            id=item.message_id,
            role="user",
            status="complete",
            turn_id=turn.id,
            parent_id=parent,
            created_at=now,
            parts=list(item.parts),
        )
        events.append(MessageAdded(message=words))
        parent = words.id
    more = Message(
        id=new_id("msg"), role="assistant", status="streaming", turn_id=turn.id, parent_id=parent, created_at=now
    )
    return [*events, MessageAdded(message=more)]
