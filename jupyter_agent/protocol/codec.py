"""Plain JSON to values, checked by pydantic; the only module that imports it here.

Import it lazily: with the wire's adapters it costs about 0.2 s of CPU, which a
server that nobody talks to should not pay.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ..errors import MalformedFrame, UnknownCommand, UnsupportedVersion
from .commands import Command, MessageSend, QueueEdit, SessionSet
from .content import Approval, Display, Message, Part, QueueItem, Session, Task, ToolOutput, Turn
from .events import Event, TurnEnded
from .frames import VERSION
from .plain import sound

COMMANDS: dict[str, type[Command]] = {cls.tag: cls for cls in get_args(Command)}
EVENTS: dict[str, type[Event]] = {cls.tag: cls for cls in get_args(Event)}

_MAX_ID = 200
_MAX_TITLE = 500
_MAX_PARTS = 100
_UNHEARD_OF = ("literal_error", "union_tag_invalid")
"""What pydantic calls a value that is none of those it knows."""
_SHOWN = 40
"""How much of what was sent is repeated in the answer."""

SAME_VERSION = (
    "Install the same jupyter-agent-panel in the notebook's and the server's environment, restart both, "
    "and reload the page."
)
"""A hint: the peer says what this version does not know."""


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


_PART = Annotated[Part, Field(discriminator="type")]


def decode_command(raw: str | bytes | dict[str, Any]) -> tuple[str, Command]:
    """Return ``(cmd_id, command)`` of one frame.

    Raises ``MalformedFrame``, ``UnsupportedVersion``, or ``UnknownCommand``
    (the only one a rejecting ack answers; its ``cmd_id`` attribute says whose).
    """
    data = _object(raw)
    if data.get("v") != VERSION:
        said = repr(data.get("v"))[:_SHOWN]
        raise UnsupportedVersion(f"This server speaks protocol {VERSION}, the frame says v={said}.", hint=SAME_VERSION)
    cmd_id, tag, body = data.get("cmd_id"), data.get("type"), data.get("d", {})
    if not isinstance(cmd_id, str) or not 0 < len(cmd_id) <= _MAX_ID:
        raise MalformedFrame("A command needs a cmd_id: a string of 1 to 200 characters.")
    if not isinstance(tag, str):
        raise MalformedFrame("A command needs a type.")
    if tag not in COMMANDS:
        raise UnknownCommand(
            f"This server does not know the command {tag[:_SHOWN]!r}.", cmd_id=cmd_id, hint=SAME_VERSION
        )
    try:
        command = _adapter(COMMANDS[tag]).validate_python(body, strict=False)
    except ValidationError as error:
        fault, unheard_of = _first_fault(error)
        hint = SAME_VERSION if unheard_of else None
        raise MalformedFrame(f"{tag}: {fault}", cmd_id=cmd_id, hint=hint) from None
    fault = _over_the_limits(command)
    if fault is not None:
        raise MalformedFrame(f"{tag}: {fault}", cmd_id=cmd_id)
    return cmd_id, command


def _over_the_limits(command: Command) -> str | None:
    """Return what is well formed, but more than anybody means."""
    match command:
        case MessageSend(id=message_id) if not 0 < len(message_id) <= _MAX_ID:
            return f"id: a string of 1 to {_MAX_ID} characters."
        case MessageSend(parts=parts) | QueueEdit(parts=parts) if len(parts) > _MAX_PARTS:
            return f"parts: at most {_MAX_PARTS}."
        case SessionSet(title=str(title)) if len(title) > _MAX_TITLE:
            return f"title: at most {_MAX_TITLE} characters."
        case SessionSet(model=str(model)) if not 0 < len(model) <= _MAX_ID:
            return f"model: a string of 1 to {_MAX_ID} characters."
        case _:
            return None


def _object(raw: str | bytes | dict[str, Any]) -> dict[str, Any]:
    try:
        data = sound(raw if isinstance(raw, dict) else json.loads(raw))
    except (ValueError, RecursionError):
        raise MalformedFrame("The frame is not JSON that could be kept.") from None
    if not isinstance(data, dict):
        raise MalformedFrame("The frame is not a JSON object.")
    return data  # pyright: ignore[reportUnknownVariableType] -- free-form JSON


def _first_fault(error: ValidationError) -> tuple[str, bool]:
    """Return the fault in words, and whether it is a value that a newer version may know."""
    fault = _meant(error.errors(include_url=False, include_input=False))
    where = ".".join(str(step) for step in fault["loc"])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"]), fault["type"] in _UNHEARD_OF


def _meant(faults: list[ErrorDetails]) -> ErrorDetails:
    """Return the fault to tell: a union is tried member by member, and the one whose tag fits was meant."""
    members: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for fault in faults:
        members.setdefault(fault["loc"][:-1], []).append(fault)
    strangers: list[ErrorDetails] = []
    for found in members.values():
        of_its_tag = [fault for fault in found if fault["loc"][-1:] == ("type",) and fault["type"] in _UNHEARD_OF]
        if not of_its_tag:
            return found[0]
        strangers += of_its_tag
    return strangers[0]


def decode_event(tag: str, body: Any) -> Event:
    """Return the event that was encoded as ``body``."""
    return _adapter(EVENTS[tag]).validate_python(body)


def decode_message(body: Any) -> Message:
    """Return the message that was encoded as ``body``."""
    return _adapter(Message).validate_python(body)


def decode_part(body: Any) -> Part:
    """Return the part that was encoded as ``body``."""
    return _adapter(_PART).validate_python(body)


def decode_output(body: Any) -> ToolOutput:
    """Return the tool output that was encoded as ``body``."""
    return _adapter(ToolOutput).validate_python(body)


def decode_displays(body: Any) -> list[Display]:
    """Return the displays that were encoded as ``body``."""
    return _adapter(list[Display]).validate_python(body)


def decode_session(body: Any) -> Session:
    """Return the session that was encoded as ``body``."""
    return _adapter(Session).validate_python(body)


def decode_turn(body: Any) -> Turn:
    """Return the turn that was encoded as ``body``."""
    return _adapter(Turn).validate_python(body)


def decode_queue_item(body: Any) -> QueueItem:
    """Return the queue item that was encoded as ``body``."""
    return _adapter(QueueItem).validate_python(body)


def decode_approval(body: Any) -> Approval:
    """Return the approval that was encoded as ``body``."""
    return _adapter(Approval).validate_python(body)


def decode_task(body: Any) -> Task:
    """Return the task that was encoded as ``body``."""
    return _adapter(Task).validate_python(body)


def decode_outcome(body: Any) -> TurnEnded:
    """Return the outcome that was encoded as ``body``."""
    return _adapter(TurnEnded).validate_python(body)
