"""What a session is made of: plain frozen values, spelled as on the wire.

The same names stand in Python, JSON, SQL and TypeScript. Times are integer
milliseconds since the epoch. Nothing here knows how it is stored or sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = Any
"""A JSON value. Deep typing of free-form JSON costs more than it finds."""

Mode = Literal["plan", "build"]
Effect = Literal["read", "idempotent", "write", "execute"]
ToolState = Literal[
    "input-streaming",
    "input-available",
    "approval-requested",
    "approval-responded",
    "output-available",
    "output-error",
    "output-denied",
]
TERMINAL_TOOL_STATES: frozenset[str] = frozenset({"output-available", "output-error", "output-denied"})
ToolReason = Literal["interrupted", "stopped", "never_ran", "denied"]
MessageStatus = Literal["pending", "streaming", "complete", "stopped", "interrupted", "failed"]
SessionStatus = Literal["ready", "submitted", "streaming", "awaiting", "recovering", "error"]
TurnStatus = Literal["running", "awaiting", "recovering", "stopping", "ended"]
Trigger = Literal["user", "queue", "task", "recovery", "continue"]
OutcomeKind = Literal["completed", "stopped", "failed", "interrupted", "step_limit"]
TaskStatus = Literal["pending", "running", "done", "failed", "cancelled"]
WhenBusy = Literal["queue", "steer", "reject"]
Level = Literal["info", "warning", "error"]
Scope = Literal["once", "session", "always"]
Decision = Literal["allow", "deny"]
Road = Literal["panel", "comm", "rest"]


# -- what a tool shows to the eye -------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayText:
    """Plain text in a monospaced block; ANSI colours allowed, HTML is not read."""

    text: str
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayMarkdown:
    """Prose, e.g. a plan; sanitised like any answer."""

    text: str
    type: Literal["markdown"] = "markdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayCode:
    """Source that was or will be run; ``label`` says where, e.g. ``"cell 3"``."""

    text: str
    language: str = "python"
    label: str = ""
    type: Literal["code"] = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayDiff:
    """A cell's source before and after; an insertion has ``before == ""``."""

    before: str
    after: str
    language: str = "python"
    label: str = ""
    type: Literal["diff"] = "diff"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayImage:
    """A raster image or SVG as base64; shown by ``<img>`` from a ``data:`` URL."""

    mime: str
    data: str
    alt: str = ""
    type: Literal["image"] = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayTable:
    """Rows of short strings under a header, e.g. the variables of the kernel."""

    header: list[str]
    rows: list[list[str]]
    type: Literal["table"] = "table"


Display = DisplayText | DisplayMarkdown | DisplayCode | DisplayDiff | DisplayImage | DisplayTable


# -- parts and messages -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Something said, by the user or the model; markdown. ``whole``: see ``ToolPart``."""

    id: str
    idx: int
    text: str = ""
    state: Literal["streaming", "done"] = "done"
    superseded: bool = False
    truncated: bool = False
    whole: str | None = None
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningPart:
    """The model's summarised thinking."""

    id: str
    idx: int
    text: str = ""
    state: Literal["streaming", "done"] = "done"
    superseded: bool = False
    truncated: bool = False
    type: Literal["reasoning"] = "reasoning"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutput:
    """A result's two faces: ``model`` is the exact ``tool_result`` content, ``display`` is for the eye."""

    model: Json = None
    display: list[Display] = field(default_factory=list[Display])


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPart:
    """One tool call and everything that became of it.

    ``truncated``: what stands here is a preview. ``whole`` is the sha256 of the
    file that holds the rest; REST gives the part with it put back.
    """

    id: str
    idx: int
    tool_call_id: str
    name: str
    effect: Effect
    state: ToolState = "input-streaming"
    running: bool = False
    superseded: bool = False
    truncated: bool = False
    whole: str | None = None
    input: Json = None
    input_json: str | None = None
    output: ToolOutput | None = None
    error: str | None = None
    reason: ToolReason | None = None
    progress: Json = None
    approval_id: str | None = None
    allowed: Scope | None = None
    """How far the permission reaches by which it ran; None where nobody had to be asked."""
    rev: int = 1
    started_at: int | None = None
    ended_at: int | None = None
    type: Literal["tool"] = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """An attachment, by reference."""

    id: str
    idx: int
    mime: str
    name: str
    sha256: str
    bytes: int
    type: Literal["file"] = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticePart:
    """A remark of ours inside a message."""

    id: str
    idx: int
    level: Level
    code: str
    text: str
    type: Literal["notice"] = "notice"


Part = TextPart | ReasoningPart | ToolPart | FilePart | NoticePart


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One entry of the transcript; ``parts`` in the order of their ``idx``."""

    id: str
    role: Literal["user", "assistant"]
    status: MessageStatus
    turn_id: str | None = None
    parent_id: str | None = None
    created_at: int = 0
    parts: list[Part] = field(default_factory=list[Part])
    meta: dict[str, Json] = field(default_factory=dict[str, Json])
    truncated: bool = False


# -- the rest of a session --------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the API counts them; ``cost_usd`` is None where no price is known."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cost_usd: float | None = None

    def __add__(self, other: Usage) -> Usage:
        costs = [c for c in (self.cost_usd, other.cost_usd) if c is not None]
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_input_tokens=self.cache_read_input_tokens + other.cache_read_input_tokens,
            cache_creation_input_tokens=self.cache_creation_input_tokens + other.cache_creation_input_tokens,
            cost_usd=sum(costs) if costs else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One user message to rest."""

    id: str
    trigger: Trigger
    message_id: str
    mode: Mode
    status: TurnStatus = "running"
    step: int = 0
    attempt: int = 0
    started_at: int = 0
    user: str = ""
    """Who asked for it: their standing permissions hold in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnError:
    """Why a turn failed, for the user; ``request_id`` is the API's."""

    code: str
    message: str
    retryable: bool = False
    request_id: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueItem:
    """A message that waits for the running turn to end; ``task_id`` when it is a task's."""

    id: str
    message_id: str
    parts: list[TextPart | FilePart]
    when_busy: WhenBusy = "queue"
    rev: int = 1
    created_at: int = 0
    user: str = ""
    task_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A question to the user: may this call run? ``preview`` is what will happen.

    ``input_hash`` is the sha256 of the call's input: the answer is one to that input and no other.
    """

    id: str
    part_id: str
    tool_call_id: str
    rev: int = 1
    options: list[Decision] = field(default_factory=lambda: ["allow", "deny"])
    scopes: list[Scope] = field(default_factory=lambda: ["once", "session"])
    preview: list[Display] = field(default_factory=list[Display])
    input_hash: str = ""
    requested_at: int = 0
    expires_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Something to do later, written down by the model or the user."""

    id: str
    title: str
    description: str = ""
    mode: Mode = "build"
    status: TaskStatus = "pending"
    created_at: int = 0
    completed_at: int | None = None
    turn_id: str | None = None
    rev: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session's own facts, as lists and headers show them."""

    id: str
    title: str = ""
    mode: Mode = "build"
    model: str = ""
    status: SessionStatus = "ready"
    archived_at: int | None = None
    notebook_path: str | None = None
    created_at: int = 0
    updated_at: int = 0
    rev: int = 1
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Where older messages are: ``before`` is the oldest one sent, or its first part if that has earlier ones."""

    before: str | None = None
    has_more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one frame, one page and one attachment may hold."""

    frame_bytes: int
    page: int
    attachment_bytes: int


JsonObject = Mapping[str, Json]
