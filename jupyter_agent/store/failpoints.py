"""Commits at which the process can be made to die, so that tests see what a crash leaves behind.

::

    JUPYTER_AGENT_FAILPOINT = before_commit:tool_executing      die with that batch written, not committed
                              after_commit:turn_ended:2         die right after the second such commit
                              before_commit:commit:17           die in the 17th commit, whatever it holds

To die is ``os._exit(137)``: nothing is flushed, closed or told to anybody, as
after ``kill -9``. Unset, it costs a commit one comparison.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from typing import Literal

from ..protocol.content import Message
from ..protocol.events import Event, MessageAdded, PartDelta, QueueUpdated, StepEnded, TurnStatusChanged
from .writes import Batch, PutBlocks, PutCall, PutCommand, Write

VARIABLE = "JUPYTER_AGENT_FAILPOINT"
EXIT_STATUS = 137

Place = Literal["before", "after"]

_SPEC = re.compile(r"(before|after)_commit:([a-z_]+)(?::([1-9][0-9]*))?")


class Failpoint:
    """One commit to die at."""

    def __init__(self, place: str, point: str, nth: int = 1) -> None:
        self._place = place
        self._point = point
        self._nth = nth
        self._seen = itertools.count(1)  # Sessions commit on threads of their own; this counts safely.

    @classmethod
    def parse(cls, spec: str) -> Failpoint:
        """Read ``<before|after>_commit:<point>[:<n>]``. Raises ``ValueError``."""
        found = _SPEC.fullmatch(spec)
        if found is None:
            raise ValueError(f"{VARIABLE} is {spec!r}, not <before|after>_commit:<point>[:<n>].")
        return cls(found[1], found[2], int(found[3] or 1))

    def pass_by(self, place: Place, batch: Batch) -> None:
        """Die here if this is the commit."""
        if place != self._place:
            return
        points = points_of(batch)
        if self._point in points and next(self._seen) == self._nth:
            os.write(2, f"Died {place} a commit of {' '.join(points)}\n".encode())
            os._exit(EXIT_STATUS)


def points_of(batch: Batch) -> list[str]:
    """Name what the batch holds, each name once, in order; the first is always ``commit``."""
    events = [_event(recorded.event) for recorded in batch.events]
    writes = [name for write in batch.writes for name in _writes(write)]
    return list(dict.fromkeys(["commit", *events, *writes]))


def _event(event: Event) -> str:
    match event:
        case MessageAdded(message=Message(role="user")):
            return "message_accepted"
        case PartDelta():
            return "delta"
        case StepEnded():
            return "step_closed"
        case QueueUpdated():
            return "queue_changed"
        case TurnStatusChanged(status=status):
            return status
        case _:
            return event.tag.replace(".", "_")


def _writes(write: Write) -> Iterator[str]:
    match write:
        case PutCall(call=call):
            yield {"done": "tool_result", "executing": "tool_executing"}.get(call.state, f"call_{call.state}")
        case PutBlocks(ord=1):
            yield "results_answered"
        case PutCommand(ack={"status": "accepted"}):
            yield "command_accepted"
        case PutCommand():
            yield "command_rejected"
        case _:
            pass


def arm(spec: str | None) -> None:
    """Choose the commit to die at; None: live on. Raises ``ValueError``."""
    global armed
    armed = Failpoint.parse(spec) if spec else None


armed: Failpoint | None = None
arm(os.environ.get(VARIABLE))
