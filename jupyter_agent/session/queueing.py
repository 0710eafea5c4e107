"""The queue: messages that wait for a turn to end, changed by name and rev.

An item leaves the queue in the transaction that starts its turn, never before.
The queue pauses when a turn ends stopped, failed or interrupted and items wait.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import CommandRejected
from ..protocol.commands import QueueEdit, QueueRemove, QueueReorder, QueueResume, QueueSendNow, TurnStop
from ..protocol.content import Json, OutcomeKind, QueueItem
from ..protocol.cut import size
from ..protocol.events import Notice
from ..protocol.plain import to_plain
from ..settings import Settings
from ..store.writes import PutMeta
from . import starting, tasks
from .large import queued_room, shown_room
from .said import out_of_queue, parts_of, said_to_model

if TYPE_CHECKING:
    from .actor import SessionActor

QueueCommand = QueueEdit | QueueRemove | QueueReorder | QueueSendNow | QueueResume


def handle(actor: SessionActor, command: QueueCommand, *, by: str) -> dict[str, Json]:
    """Change the queue; who edits a message has said it. Raises ``CommandRejected`` when the item has moved on."""
    items = actor.state.queue
    match command:
        case QueueResume():
            actor.put_queue(items, paused=False)
            if actor.state.turn is None and items:
                start_next(actor)
            return {}
        case QueueEdit(parts=parts):
            old = _item(items, command)
            room = queued_room(actor.services.settings, parts)
            new = replace(old, parts=parts_of(parts, room), rev=old.rev + 1, user=by)
            if not said_to_model(actor.folder, parts):
                raise CommandRejected("The message is empty.", code="empty")
            edited = [new if item.id == new.id else item for item in items]
            check_room(edited, actor.services.settings)
            actor.put_queue(edited)
            return to_plain(new)
        case QueueRemove():
            gone = _item(items, command)
            actor.put_queue([item for item in items if item.id != gone.id])
            return {}
        case QueueReorder(before=before):
            return _reorder(actor, _item(items, command), before)
        case QueueSendNow():
            return _send_now(actor, _item(items, command))


def placed(items: list[QueueItem], new: QueueItem) -> list[QueueItem]:
    """Return the queue with one more: what steers goes ahead of what only waits."""
    if new.when_busy != "steer":
        return [*items, new]
    at = next((i for i, item in enumerate(items) if item.when_busy != "steer"), len(items))
    return [*items[:at], new, *items[at:]]


def check_room(items: list[QueueItem], settings: Settings) -> None:
    """Keep the queue small enough to be told in one event. Raises ``CommandRejected``."""
    if size(to_plain(items)) > settings.frame_bytes // 4:
        raise CommandRejected("The queue is full.", code="queue_full", hint="Wait until some of it is done.")


def _item(items: list[QueueItem], command: QueueEdit | QueueRemove | QueueReorder | QueueSendNow) -> QueueItem:
    for item in items:
        if item.id == command.id:
            if item.rev != command.rev:
                raise CommandRejected("The queued message has changed meanwhile.", code="stale")
            return item
    raise CommandRejected("This message is not in the queue any more.", code="not_queued")


def _reorder(actor: SessionActor, moved: QueueItem, before: str | None) -> dict[str, Json]:
    rest = [item for item in actor.state.queue if item.id != moved.id]
    places = [item.id for item in rest]
    if before is None or before == moved.id:
        at = len(rest) if before is None else actor.state.queue.index(moved)
    elif before in places:
        at = places.index(before)
    else:
        raise CommandRejected("The message it should go before is not in the queue any more.", code="not_queued")
    new = replace(moved, rev=moved.rev + 1)
    actor.put_queue([*rest[:at], new, *rest[at:]])
    return to_plain(new)


def _send_now(actor: SessionActor, item: QueueItem) -> dict[str, Json]:
    rest = [other for other in actor.state.queue if other.id != item.id]
    actor.put_queue([item, *rest], paused=False)
    turn = actor.state.turn
    if turn is None:
        start_next(actor)
    else:
        want(actor, item.id)
        actor.stop(TurnStop(turn=turn.id))
    return {}


def want(actor: SessionActor, item_id: str | None) -> None:
    """Keep which message was sent for; a server that ends before the turn has stopped goes on with it later."""
    actor.state.start_next = item_id
    actor.journal.record(writes=[PutMeta(key="start_next", value=item_id)])


def after_turn(actor: SessionActor, outcome: OutcomeKind, *, resume: bool) -> None:
    """Go on with the queue, or pause it."""
    items = actor.state.queue
    wanted = actor.state.start_next
    if wanted is not None:
        want(actor, None)
    if not items:
        return
    calm = outcome in ("completed", "step_limit") and not actor.state.paused
    if (resume and calm) or items[0].id == wanted:
        start_next(actor)
    elif not actor.state.paused:
        actor.put_queue(items, paused=True)


def start_next(actor: SessionActor) -> None:
    """Take the first item and start its turn, in one transaction."""
    first, *rest = actor.state.queue
    try:
        said = said_to_model(actor.folder, first.parts)
    except CommandRejected as error:
        # The user decides: edit the message, or take it back.
        actor.journal.record(Notice(level="error", code=error.code, text=error.message))
        actor.put_queue(actor.state.queue, paused=True)
        return
    actor.put_queue(rest)
    parts = out_of_queue(actor.folder, first.parts, shown_room(actor.services.settings, first.parts))
    task = actor.state.tasks.get(first.task_id) if first.task_id is not None else None
    if task is not None:
        tasks.start(actor, task, first.message_id, parts, said, user=first.user)
    else:
        starting.start_turn(actor, "queue", first.message_id, parts, said, user=first.user)
