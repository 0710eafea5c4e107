"""What one transaction holds: events that every view will see, and ledger rows that none does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..protocol.content import Effect, Json, Scope, Session
from ..protocol.frames import Recorded

CallState = Literal["pending", "approval", "approved", "executing", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PutSession:
    """The session's facts changed."""

    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class PutMeta:
    """One row of ``meta``; ``value`` is stored as JSON."""

    key: str
    value: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class PutCommand:
    """A command and the ack it got, so that a repetition has no effect."""

    cmd_id: str
    type: str
    ack: dict[str, Any]
    message_id: str | None
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBlocks:
    """One message of the API's history, verbatim. Step 0 holds what the user said.

    ``behind``: it stands at ``ord``, or behind whatever stands there or further on already.
    """

    turn_id: str
    step: int
    ord: int
    role: Literal["user", "assistant"]
    content: list[dict[str, Any]]
    behind: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A row of the tool ledger. ``result`` is the exact ``tool_result`` block."""

    id: str
    turn_id: str
    step: int
    ord: int
    part_id: str
    name: str
    input: Json
    effect: Effect
    state: CallState = "pending"
    attempt: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    result: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutCall:
    """The call as it is now."""

    call: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What lets a call run: an answer to its own question, or one given before to all like it.

    It holds for the input with this hash and for no other. ``by`` is a user, or the rule that stands for one.
    """

    scope: Scope
    by: str
    input_hash: str
    approval_id: str | None = None
    edited: bool = False
    """The user changed the input before allowing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """How far an answer reaches, and to which input; its event says the rest."""

    approval_id: str
    scope: str
    input_hash: str
    edited_input: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsePermission:
    """The call begins by this permission, which is used up with it."""

    call: Call
    permission: Permission
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBlob:
    """A file that an event of this transaction names by the sha256 of its bytes."""

    content: bytes


NEVER = 1 << 62
"""``due_at`` of a job that failed for good: its row tells why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepBranch:
    """The branch has changed: the API's history is what its messages were made of, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something due at a time (ms), whether the session is awake then or not. Done at least once."""

    id: str
    kind: str
    due_at: int
    payload: Json = None
    attempts: int = 0
    last_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutCounts:
    """How often the live turn was cut off: the process ended, its newest step broke off."""

    turn_id: str
    interrupted: int
    cuts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PutJob:
    """Set the alarm, or set it anew."""

    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class DropJob:
    """Nothing is due any more."""

    job_id: str


Write = (
    PutSession
    | PutMeta
    | PutCommand
    | PutBlocks
    | PutCall
    | PutBlob
    | Decide
    | UsePermission
    | PutCounts
    | KeepBranch
    | PutJob
    | DropJob
)


@dataclass(slots=True)
class Batch:
    """One transaction. ``full``: it must survive a power cut, not only a crash of the process."""

    events: list[Recorded] = field(default_factory=list[Recorded])
    writes: list[Write] = field(default_factory=list[Write])
    full: bool = False

    def __bool__(self) -> bool:
        return bool(self.events or self.writes)
