"""What the loop asks of a model, and what it hears back.

One step is one request. Its events come in this order::

    StepOpened
      BlockOpened(index) (TextDelta | ReasoningDelta | InputDelta)* BlockClosed(index)   … per block
    StepClosed | StepFailed                                                              exactly one, last
    AttemptReset may come at any point before the last: all blocks of this step so far are
    superseded, and the next attempt begins with StepOpened again.
    RetryNotice may come at any point: nothing is lost, the user is told why it takes longer.

A model never raises for what a provider did: failures travel in the stream.
``asyncio.CancelledError`` passes through, having closed the connection.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..errors import ModelError
from ..protocol.content import Usage

Block = dict[str, Any]
"""A content block exactly as the API sent it or takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiMessage:
    """One message of the API's history; ``content`` is resent byte for byte."""

    role: Literal["user", "assistant", "system"]
    content: list[Block]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One step's question. ``system`` and ``tools`` are frozen for a session's life."""

    model: str
    system: list[Block]
    tools: list[dict[str, Any]]
    messages: list[ApiMessage]
    session_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOpened:
    """The model began to answer. ``usage`` is what ``message_start`` counted."""

    request_id: str | None
    model: str
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockOpened:
    """A block begins. ``call_id`` and ``name`` are those of a tool_use."""

    index: int
    kind: Literal["text", "reasoning", "tool", "other"]
    call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """More text."""

    index: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningDelta:
    """More summarised thinking."""

    index: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDelta:
    """More of a tool input's JSON text."""

    index: int
    partial_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockClosed:
    """The block is complete; ``block`` is verbatim."""

    index: int
    block: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryNotice:
    """The request is being repeated after ``delay`` seconds."""

    code: str
    text: str
    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptReset:
    """What this step showed so far is superseded; it is being asked again."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepClosed:
    """``message_stop`` was seen. ``content`` is the verbatim answer."""

    stop_reason: str
    content: list[Block]
    usage: Usage
    request_id: str | None
    stop_details: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed:
    """No further attempt will be made."""

    error: ModelError


ModelEvent = (
    StepOpened
    | BlockOpened
    | TextDelta
    | ReasoningDelta
    | InputDelta
    | BlockClosed
    | RetryNotice
    | AttemptReset
    | StepClosed
    | StepFailed
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One line of the model picker."""

    id: str
    display_name: str
    deprecated: bool = False


class Model(Protocol):
    """Claude, or the demo under the same SDK client."""

    @property
    def kind(self) -> Literal["claude", "demo"]:
        """Who answers: the panel says so."""
        ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Ask one step. Close the generator to cut the connection."""
        ...

    async def say(self, request: ModelRequest, *, max_tokens: int) -> str:
        """Answer a small question at once, with neither tools nor retries. Raises ``ModelError``."""
        ...

    async def list_models(self) -> list[ModelInfo]:
        """Return the models on offer, the endpoint's own list where it has one."""
        ...

    async def warm_up(self) -> None:
        """Import what the first step will need, off the event loop."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
