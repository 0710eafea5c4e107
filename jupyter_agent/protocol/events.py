"""What the server says. A class is the CamelCase of its tag: ``part.delta`` → ``PartDelta``.

A durable event gets a ``seq`` in the transaction that commits it. Transient
ones (``TRANSIENT``) carry none and are never stored. The fields of a class are
the ``d`` of its frame; see ``frames`` for the envelope around it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .content import (
    Approval,
    Decision,
    Json,
    Level,
    Limits,
    Message,
    OutcomeKind,
    Page,
    Part,
    QueueItem,
    Road,
    Scope,
    Session,
    Task,
    ToolOutput,
    ToolReason,
    ToolState,
    Turn,
    TurnError,
    TurnStatus,
    Usage,
)

# -- one connection ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Answers ``hello``."""

    tag: ClassVar = "welcome"
    protocol: int
    server: str
    features: list[str]
    limits: Limits
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded:
    """Exactly one a turn, its last event; settles every open part."""

    tag: ClassVar = "turn.ended"
    turn: str
    outcome: OutcomeKind
    error: TurnError | None = None
    usage: Usage = field(default_factory=Usage)
    message_ids: list[str] = field(default_factory=list[str])
    ended_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The whole truth at ``as_of``; open parts carry their text so far."""

    tag: ClassVar = "snapshot"
    as_of: int
    session: Session
    messages: list[Message]
    page: Page
    turn: Turn | None = None
    queue: list[QueueItem] = field(default_factory=list[QueueItem])
    paused: bool = False
    approvals: list[Approval] = field(default_factory=list[Approval])
    tasks: list[Task] = field(default_factory=list[Task])
    last_outcome: TurnEnded | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtUp:
    """End of a snapshot or replay."""

    tag: ClassVar = "caught_up"
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hb:
    """Heartbeat with the last seq: shows a lost tail."""

    tag: ClassVar = "hb"
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """Answers ``ping`` without waking a session."""

    tag: ClassVar = "pong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resync:
    """The client must subscribe anew."""

    tag: ClassVar = "resync"
    reason: Literal["slow", "gap", "epoch", "migrated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """Code and sentence, as acks carry them.

    ``retryable``: the command is neither done nor on record, and will be taken once what is in its way has
    passed. A client keeps it, and sends it again under the same ``cmd_id``.
    """

    code: str
    message: str
    hint: str | None = None
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """Sent after the commit: the command took effect, had done so before, or never will."""

    tag: ClassVar = "ack"
    cmd_id: str
    status: Literal["accepted", "duplicate", "rejected"]
    original: Literal["accepted", "rejected"] | None = None
    result: dict[str, Json] | None = None
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """Told to one connection."""

    tag: ClassVar = "error"
    code: str
    message: str
    hint: str | None = None


# -- the session ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpdated:
    """Fields of ``Session`` that changed."""

    tag: ClassVar = "session.updated"
    patch: dict[str, Json]
    rev: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDeleted:
    """The session is gone; the socket closes with 4404."""

    tag: ClassVar = "session.deleted"


# -- turns and steps --------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted:
    """A turn exists, before the first byte of the model."""

    tag: ClassVar = "turn.started"
    turn: Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStatusChanged:
    """The turn runs, awaits a human, recovers or stops."""

    tag: ClassVar = "turn.status"
    status: TurnStatus
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """One request to the model begins."""

    tag: ClassVar = "step.started"
    step: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded:
    """The model's answer of this step is complete."""

    tag: ClassVar = "step.ended"
    step: int
    stop_reason: str | None
    usage: Usage = field(default_factory=Usage)
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReset:
    """The step is asked again: ``parts`` are superseded, greyed, kept."""

    tag: ClassVar = "step.reset"
    step: int
    parts: list[str]


# -- messages and parts -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAdded:
    """A message joins the transcript (upsert)."""

    tag: ClassVar = "message.added"
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageUpdated:
    """The message as it is now."""

    tag: ClassVar = "message.updated"
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRemoved:
    """The message left the visible branch."""

    tag: ClassVar = "message.removed"
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartAdded:
    """A part opens, before its first delta."""

    tag: ClassVar = "part.added"
    message_id: str
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDelta:
    """Text for a part; ``at`` is the part's length before it in UTF-16 units."""

    tag: ClassVar = "part.delta"
    part_id: str
    at: int
    field: Literal["text", "input_json"]
    delta: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDone:
    """The complete part: overwrites whatever deltas built."""

    tag: ClassVar = "part.done"
    message_id: str
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStateChanged:
    """A tool call moved along its edges; a None field is one that did not change.

    One that only brings ``progress`` is transient: it has no seq and is not stored.
    """

    tag: ClassVar = "tool.state"
    part_id: str
    state: ToolState
    running: bool
    rev: int
    input: Json = None
    output: ToolOutput | None = None
    error: str | None = None
    reason: ToolReason | None = None
    progress: Json = None
    approval_id: str | None = None
    allowed: Scope | None = None
    truncated: bool | None = None
    whole: str | None = None
    started_at: int | None = None
    ended_at: int | None = None


# -- approvals, queue, tasks ------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested:
    """The turn waits for an answer."""

    tag: ClassVar = "approval.requested"
    approval: Approval


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalResolved:
    """Somebody answered."""

    tag: ClassVar = "approval.resolved"
    id: str
    rev: int
    decision: Decision | Literal["cancelled"]
    by: str
    road: Road
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueUpdated:
    """The whole queue, in order."""

    tag: ClassVar = "queue.updated"
    items: list[QueueItem]
    paused: bool
    rev: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUpdated:
    """A task as it is now (upsert)."""

    tag: ClassVar = "task.updated"
    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something worth knowing that ended nothing, e.g. a retry."""

    tag: ClassVar = "notice"
    level: Level
    code: str
    text: str


Event = (
    Welcome
    | Snapshot
    | CaughtUp
    | Hb
    | Pong
    | Resync
    | Ack
    | Error
    | SessionUpdated
    | SessionDeleted
    | TurnStarted
    | TurnStatusChanged
    | TurnEnded
    | StepStarted
    | StepEnded
    | StepReset
    | MessageAdded
    | MessageUpdated
    | MessageRemoved
    | PartAdded
    | PartDelta
    | PartDone
    | ToolStateChanged
    | ApprovalRequested
    | ApprovalResolved
    | QueueUpdated
    | TaskUpdated
    | Notice
)

TRANSIENT = (Welcome, Snapshot, CaughtUp, Hb, Pong, Resync, Ack, Error)
