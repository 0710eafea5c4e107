"""Tasks: what the model or the user wrote down to be done later.

::

    pending ── task.run, idle ──────────────────────► running ── its turn ends ──► done, failed or cancelled
       │                                                 ▲
       └── task.run, busy ──► waits in the queue ────────┘  in the transaction that starts the turn

The model may say of another task that it runs; that holds until its turn ends, as nothing runs without a turn.
A run is an ordinary turn whose message is the task's own text. A task for Plan
mode is done in Plan mode, whatever the session's; one for Build mode never
leaves a session's Plan mode by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import CommandRejected, ToolError
from ..protocol.commands import SentText, TaskCreate, TaskRun, TaskUpdate
from ..protocol.content import FilePart, Json, Mode, OutcomeKind, QueueItem, Task, TaskStatus, TextPart
from ..protocol.cut import size
from ..protocol.events import TaskUpdated
from ..protocol.ids import new_id, now_ms
from ..protocol.plain import to_plain
from ..store.writes import PutMeta
from . import queueing, starting
from .said import parts_of, said_to_model

if TYPE_CHECKING:
    from .actor import SessionActor

TaskCommand = TaskCreate | TaskUpdate | TaskRun

MAX_TITLE = 200
MAX_DESCRIPTION = 20_000
MAX_TASKS = 500

_OVER: frozenset[TaskStatus] = frozenset({"done", "failed", "cancelled"})
_BY_OUTCOME: dict[OutcomeKind, TaskStatus] = {
    "completed": "done",
    "stopped": "cancelled",
    "step_limit": "failed",
    "failed": "failed",
    "interrupted": "failed",
}


def handle(actor: SessionActor, command: TaskCommand, *, user: str) -> dict[str, Json]:
    """Create, change or run a task. Raises ``CommandRejected``."""
    match command:
        case TaskCreate():
            task = Task(
                id=new_id("tsk"),
                title=_title(command.title),
                description=_description(command.description),
                mode=command.mode,
                created_at=now_ms(),
            )
            return to_plain(_add(actor, task))
        case TaskUpdate():
            return to_plain(_update(actor, command, user))
        case TaskRun():
            return _run(actor, _known(actor, command), user)


# -- what is asked ------------------------------------------------------------------


def _known(actor: SessionActor, command: TaskUpdate | TaskRun) -> Task:
    task = actor.state.tasks.get(command.id)
    if task is None:
        raise CommandRejected("There is no such task in this session.", code="no_such_task")
    if task.rev != command.rev:
        raise CommandRejected("The task has changed meanwhile.", code="stale", hint="Look at it again.")
    return task


def _title(text: str) -> str:
    title = " ".join(text.split())
    if not 0 < len(title) <= MAX_TITLE:
        raise CommandRejected(f"A task's title has 1 to {MAX_TITLE} characters.", code="invalid_task")
    return title


def _description(text: str) -> str:
    if len(text) > MAX_DESCRIPTION:
        raise CommandRejected(f"A task's description has {MAX_DESCRIPTION} characters at most.", code="invalid_task")
    return text


def _add(actor: SessionActor, task: Task) -> Task:
    if len(actor.state.tasks) >= MAX_TASKS:
        raise CommandRejected(f"A session keeps {MAX_TASKS} tasks at most.", code="too_many_tasks")
    _check_room(actor, task)
    actor.journal.record(TaskUpdated(task=task), full=True)
    return task


def _check_room(actor: SessionActor, new: Task) -> None:
    """Keep the tasks small enough to be told in every snapshot. Raises ``CommandRejected``."""
    known = actor.state.tasks
    old = known.get(new.id)
    if old is not None and size(to_plain(new)) <= size(to_plain(old)):
        return  # They may be too large already; what makes them smaller is welcome.
    room = actor.services.settings.frame_bytes // 4
    if size(to_plain(list({**known, new.id: new}.values()))) > room:
        raise CommandRejected(
            "There is no room for that in this session's tasks.",
            code="tasks_full",
            hint="Shorten some descriptions, or put the text into a file and name that.",
        )


def _update(actor: SessionActor, command: TaskUpdate, user: str) -> Task:
    task = _known(actor, command)
    if command.status is not None and command.status != task.status:
        if command.status == "running":
            raise CommandRejected("A task runs when its turn does.", code="invalid_task", hint="Use task.run.")
        if _is_live(actor, task):
            raise CommandRejected("This task is being done.", code="running", hint="Stop its turn instead.")
    return _change(
        actor,
        task,
        title=None if command.title is None else _title(command.title),
        description=None if command.description is None else _description(command.description),
        mode=command.mode,
        status=command.status,
        by=user,
    )


def _change(
    actor: SessionActor,
    task: Task,
    *,
    title: str | None = None,
    description: str | None = None,
    mode: Mode | None = None,
    status: TaskStatus | None = None,
    by: str | None = None,
) -> Task:
    """Record what is really new; a run of it that waits follows, as a wish of ``by``. Raises ``CommandRejected``."""
    wanted = {"title": title, "description": description, "mode": mode, "status": status}
    new = {name: value for name, value in wanted.items() if value is not None and value != getattr(task, name)}
    if not new:
        return task
    if "status" in new:
        new["completed_at"] = now_ms() if status in _OVER else None  # type: ignore[assignment] -- a field of its own type
    changed = replace(task, **new, rev=task.rev + 1)  # type: ignore[arg-type] -- each by its own name
    said = "title" in new or "description" in new
    queue = _followed(actor, changed, said=said, by=by)
    if said:  # What becomes of a task is always told; that is short.
        _check_room(actor, changed)
    actor.journal.record(TaskUpdated(task=changed), full=True)
    if queue is not None:
        actor.put_queue(queue)
    return changed


def _is_live(actor: SessionActor, task: Task) -> bool:
    turn = actor.state.turn
    return task.status == "running" and turn is not None and turn.id == task.turn_id


# -- in the queue -------------------------------------------------------------------


def waiting(actor: SessionActor, task: Task) -> QueueItem | None:
    """Return the task's place in the queue."""
    return next((item for item in actor.state.queue if item.task_id == task.id), None)


def _followed(actor: SessionActor, task: Task, *, said: bool, by: str | None) -> list[QueueItem] | None:
    """Return the queue in which a run that waits says what its task says now, and none of one that is over waits.

    None where it stays as it is. Raises ``CommandRejected``.
    """
    item, queue = waiting(actor, task), actor.state.queue
    if item is None:
        return None
    if task.status in _OVER:
        return [other for other in queue if other.id != item.id]
    if not said:
        return None
    new = replace(item, parts=_parts(task), rev=item.rev + 1, user=item.user if by is None else by)
    items = [new if other.id == item.id else other for other in queue]
    queueing.check_room(items, actor.services.settings)
    return items


def _parts(task: Task) -> list[TextPart | FilePart]:
    text = f"{task.title}\n\n{task.description}" if task.description.strip() else task.title
    return parts_of([SentText(text=text)])


# -- running ------------------------------------------------------------------------


def _run(actor: SessionActor, task: Task, user: str) -> dict[str, Json]:
    if _is_live(actor, task):
        raise CommandRejected("This task is being done already.", code="running")
    if waiting(actor, task) is not None:
        raise CommandRejected("This task waits in the queue already.", code="queued")
    message_id, parts, state = new_id("msg"), _parts(task), actor.state
    if state.turn is None and not state.queue:
        start(actor, task, message_id, parts, said_to_model(actor.folder, parts), user=user)
        assert state.turn is not None
        return {"task_id": task.id, "message_id": message_id, "turn": state.turn.id, "queue_id": None, "paused": False}
    item = QueueItem(
        id=new_id("que"), message_id=message_id, parts=parts, created_at=now_ms(), user=user, task_id=task.id
    )
    items = queueing.placed(state.queue, item)
    queueing.check_room(items, actor.services.settings)
    actor.put_queue(items)
    return {
        "task_id": task.id, "message_id": message_id, "turn": None, "queue_id": item.id, "paused": state.paused
    }  # fmt: skip


def start(
    actor: SessionActor,
    task: Task,
    message_id: str,
    parts: Sequence[TextPart | FilePart],
    said: list[dict[str, Json]],
    *,
    user: str,
) -> None:
    """Start the turn that does it; the task is bound to that turn in the same transaction."""
    mode: Mode = "plan" if task.mode == "plan" else actor.state.session.mode
    starting.start_turn(actor, "task", message_id, list(parts), said, user=user, mode=mode, lines=[f"Task: {task.id}"])
    assert actor.state.turn is not None
    running = replace(task, status="running", turn_id=actor.state.turn.id, completed_at=None, rev=task.rev + 1)
    actor.journal.record(TaskUpdated(task=running), full=True)


def after_turn(actor: SessionActor, turn_id: str, outcome: OutcomeKind) -> None:
    """A task is what became of its turn, unless somebody has said otherwise; no other one runs any more."""
    for task in list(actor.state.tasks.values()):
        if task.status == "running":
            _change(actor, task, status=_BY_OUTCOME[outcome] if task.turn_id == turn_id else "pending")


def follow_turn(actor: SessionActor, old_turn_id: str, new_turn_id: str) -> None:
    """A turn goes on in another: so does its task."""
    for task in list(actor.state.tasks.values()):
        if task.turn_id == old_turn_id and task.status in ("failed", "cancelled"):
            _move(actor, task, new_turn_id)


def done_again(actor: SessionActor, old_turn_ids: set[str | None], new_turn_id: str) -> None:
    """What these turns did is done anew in another: so are their tasks."""
    for task in list(actor.state.tasks.values()):
        if task.turn_id is not None and task.turn_id in old_turn_ids and task.status in _OVER:
            _move(actor, task, new_turn_id)


def _move(actor: SessionActor, task: Task, turn_id: str) -> None:
    moved = replace(task, status="running", turn_id=turn_id, completed_at=None, rev=task.rev + 1)
    actor.journal.record(TaskUpdated(task=moved), full=True)


def leave_plan(actor: SessionActor) -> None:
    """The user wants Build mode, in the turn of a task for Plan mode too."""
    turn = actor.state.turn
    if turn is not None and turn.trigger == "task" and turn.mode == "plan":
        actor.state.left_plan = turn.id
        actor.journal.record(writes=[PutMeta(key="left_plan", value=turn.id)])


# -- the model's own --------------------------------------------------------------------


class Book:
    """The tools' ``TaskBook``."""

    def __init__(self, actor: SessionActor) -> None:
        self._actor = actor

    async def create(self, title: str, description: str, mode: Mode, *, call_id: str) -> Task:
        """Write a task down, once however often the call is made."""
        task_id = "tsk_" + hashlib.sha256(f"{self._actor.id} {call_id}".encode()).hexdigest()[:20]
        task = self._actor.state.tasks.get(task_id)
        if task is None:
            try:
                task = _add(
                    self._actor, Task(id=task_id, title=title, description=description, mode=mode, created_at=now_ms())
                )
            except CommandRejected as error:
                raise ToolError(error.message, code=error.code, hint=error.hint) from None
        await self._actor.journal.committed()
        return task

    async def update(
        self, task_id: str, *, title: str | None, description: str | None, status: TaskStatus | None
    ) -> Task:
        """Change a task; a None stays as it is. Raises ``ToolError`` for one that is not there."""
        tasks = self._actor.state.tasks
        task = tasks.get(task_id)
        if task is None:
            known = "; ".join(f"{t.id} ({t.status}): {t.title}" for t in list(tasks.values())[-20:])
            raise ToolError(f"There is no task {task_id!r}. There are: {known or 'none'}.", code="no_such_task")
        turn = self._actor.state.turn
        by = turn.user if turn is not None else None
        try:
            changed = _change(self._actor, task, title=title, description=description, status=status, by=by)
        except CommandRejected as error:
            raise ToolError(error.message, code=error.code, hint=error.hint) from None
        await self._actor.journal.committed()
        return changed
