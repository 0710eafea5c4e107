"""What a view asks for. A class is the CamelCase of its tag: ``turn.stop`` → ``TurnStop``.

Every command travels with a ``cmd_id``: the same id twice has one effect. A
reply means "accepted", never "done"; whatever aims at something that moves
names it (``turn``, ``rev``) and is rejected when it comes too late.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .content import Decision, Json, Mode, Scope, TaskStatus, WhenBusy


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Opens a connection."""

    tag: ClassVar = "hello"
    protocol: list[int]
    client: str = ""
    features: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The last event a view has applied."""

    ep: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """From now on tell me everything; begin after ``since`` or with a snapshot."""

    tag: ClassVar = "subscribe"
    since: Cursor | None = None
    page: int = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is older than the cursor ``before``: a message, or a part where that one's message has earlier ones."""

    tag: ClassVar = "history"
    before: str | None = None
    limit: int = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class SentText:
    """Text that the user wrote."""

    text: str
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """An attachment that was uploaded before."""

    sha256: str
    mime: str
    name: str
    bytes: int = 0
    type: Literal["file"] = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSend:
    """Say something. ``id`` is the message's own, chosen by the view.

    ``deny_pending``: whatever waits for an answer is denied, and the model reads this instead, in the same turn.
    """

    tag: ClassVar = "message.send"
    id: str
    parts: list[SentText | SentFile]
    when_busy: WhenBusy = "queue"
    if_mode: Mode | None = None
    deny_pending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEdit:
    """Change a waiting message."""

    tag: ClassVar = "queue.edit"
    id: str
    rev: int
    parts: list[SentText | SentFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRemove:
    """Take a waiting message back."""

    tag: ClassVar = "queue.remove"
    id: str
    rev: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReorder:
    """Put a waiting message before another, or last."""

    tag: ClassVar = "queue.reorder"
    id: str
    rev: int
    before: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSendNow:
    """Start this waiting message next; stops the running turn first."""

    tag: ClassVar = "queue.send_now"
    id: str
    rev: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueResume:
    """Go on with a paused queue."""

    tag: ClassVar = "queue.resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStop:
    """Stop this turn, and no other."""

    tag: ClassVar = "turn.stop"
    turn: str
    clear_queue: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnContinue:
    """Go on where the turn ``after`` ended; only the session's last turn can be gone on from."""

    tag: ClassVar = "turn.continue"
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRetry:
    """Answer the message that this answer answers once more; the old answer leaves the branch."""

    tag: ClassVar = "turn.retry"
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAnswer:
    """Allow or deny a call; a denial's ``reason`` is read by the model.

    ``edited_input`` replaces the call's whole input. ``input_hash``, if given, names the input that was looked at.
    ``pattern``, with the scope ``always``: the notebooks that it holds in, as a glob that this one's path fits (``*``
    is any text, with folders in it); without it, this one alone.
    """

    tag: ClassVar = "approval.answer"
    id: str
    rev: int
    decision: Decision
    scope: Scope = "once"
    edited_input: Json = None
    input_hash: str | None = None
    reason: str | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSet:
    """Change mode, model or title; stale when ``if_rev`` is not the session's."""

    tag: ClassVar = "session.set"
    mode: Mode | None = None
    model: str | None = None
    title: str | None = None
    if_rev: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClear:
    """Begin anew: every message leaves the branch, what waits is dropped."""

    tag: ClassVar = "session.clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRewind:
    """Make this message the last one. What came after stays stored; rewinding to it brings it back."""

    tag: ClassVar = "session.rewind"
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFork:
    """Make another session of everything up to this message, all when None; answers its id."""

    tag: ClassVar = "session.fork"
    message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCreate:
    """Write something down to be done later."""

    tag: ClassVar = "task.create"
    title: str
    description: str = ""
    mode: Mode = "build"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUpdate:
    """Change a task; a None field stays as it is."""

    tag: ClassVar = "task.update"
    id: str
    rev: int
    title: str | None = None
    description: str | None = None
    mode: Mode | None = None
    status: TaskStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun:
    """Do a task now, or after the turn that runs."""

    tag: ClassVar = "task.run"
    id: str
    rev: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Are you there? Answered by the host; wakes nobody."""

    tag: ClassVar = "ping"


Command = (
    Hello
    | Subscribe
    | History
    | MessageSend
    | QueueEdit
    | QueueRemove
    | QueueReorder
    | QueueSendNow
    | QueueResume
    | TurnStop
    | TurnContinue
    | TurnRetry
    | ApprovalAnswer
    | SessionSet
    | SessionClear
    | SessionRewind
    | SessionFork
    | TaskCreate
    | TaskUpdate
    | TaskRun
    | Ping
)
