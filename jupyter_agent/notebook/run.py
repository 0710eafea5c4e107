"""``Run``: one execute request, as the kernel tells of it.

::

    waiting ── busy ──► running ── reply and idle ──► ok | error | aborted
       │                   │  └── only one of the two: the other may take LAST_OUTPUT_S
       └───────────────────┴── the kernel restarts or dies ──► gone
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

from .outputs import SOFT_CAP, Outputs
from .ports import fields

Json = Any
RunState = Literal["waiting", "running", "ok", "error", "aborted", "gone"]

BREATH_S = 0.05
"""How long after ``execute_input`` a cell's own code surely runs, so that an interrupt meets it and not the kernel."""
LAST_OUTPUT_S = 5.0
"""How long the rest of the output may take once the reply is there."""


class Run:
    """What the kernel said about one execute request, whoever sent it."""

    def __init__(self, msg_id: str) -> None:
        self.msg_id = msg_id
        self.state: RunState = "waiting"
        self.outputs = Outputs()
        self.outputs.cap = SOFT_CAP
        self.execution_count: int | None = None
        self.reply: dict[str, Json] | None = None
        self.claimed = False
        self.wants_reply = False
        self.silent = False
        self.entered_at: float | None = None
        """When the kernel took it up: only then does an interrupt reach it."""
        self._idle = False
        self._done = asyncio.Event()
        self._last_call: asyncio.TimerHandle | None = None

    def claim(self) -> Run:
        """Keep all of its outputs from now on, however long they get."""
        self.claimed = True
        self.outputs.cap = None
        return self

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self._done.is_set()

    @property
    def settled_in(self) -> bool:
        """Whether the cell's own code runs by now."""
        return self.silent or (self.entered_at is not None and time.monotonic() - self.entered_at >= BREATH_S)

    async def done(self) -> RunState:
        """Wait until the kernel has finished with it."""
        await self._done.wait()
        return self.state

    # -- fed by the link -----------------------------------------------------------

    def hear(self, msg_type: str, content: dict[str, Json]) -> None:
        """Take one iopub message of this run."""
        match msg_type:
            case "execute_input":
                self.entered_at = time.monotonic()
                self.execution_count = content.get("execution_count")
            case "status" if content.get("execution_state") == "busy":
                self.state = "running"
            case "status" if content.get("execution_state") == "idle":
                self._idle = True
                self._settle()
            case _:
                self.outputs.apply(msg_type, content)

    def answer(self, content: dict[str, Json]) -> None:
        """Take the shell's reply; the outputs may still be on their way."""
        self.reply = content
        self._settle()
        self.closing()

    def closing(self) -> None:
        """It is over, by reply or by status: wait for the rest, but not for ever."""
        if not self.finished and self._last_call is None:
            self._last_call = asyncio.get_running_loop().call_later(LAST_OUTPUT_S, self._finish)

    def lose(self) -> None:
        """The kernel that had it is gone."""
        if not self.finished:
            self.state = "gone"
            self._end()

    def _settle(self) -> None:
        if self._idle and (self.reply is not None or not self.wants_reply):
            self._finish()
        elif self._idle:
            # An interrupt that hit the kernel itself can cost the reply.
            self.closing()

    def _finish(self) -> None:
        if self.finished:
            return
        status = fields(self.reply).get("status")
        if self.outputs.error is not None or status == "error":
            self.state = "error"
        elif status == "aborted" or (status is None and (self.wants_reply or self.entered_at is None)):
            # A cell before it failed and the kernel dropped what was queued, or
            # an interrupt met the kernel on its way to the cell.
            self.state = "aborted"
        else:
            self.state = "ok"
        self._end()

    def _end(self) -> None:
        if self._last_call is not None:
            self._last_call.cancel()
        self._done.set()
