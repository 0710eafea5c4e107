"""What the loop may ask of, and write into, the turn as the database knows it.

The loop holds no fact of its own: stop the process at any line, read the
ledger again, and ``run_turn`` goes on from there. The session implements this
over its store; whatever is written is committed before any view hears of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..errors import ModelError
from ..protocol.content import Display, Json, Level, Mode, Part, ToolOutput, ToolReason, ToolState, Usage
from ..store.writes import Call, Permission
from ..tools.tool import ToolContext
from .model import ApiMessage, Block


class Ledger(Protocol):
    """One live turn."""

    # -- where the turn stands ------------------------------------------------------

    @property
    def session_id(self) -> str:
        """The session's id."""
        ...

    @property
    def mode(self) -> Mode:
        """The session's mode now; the gate asks it before each call."""
        ...

    @property
    def model(self) -> str:
        """The model the next step asks."""
        ...

    @property
    def step(self) -> int:
        """Number of the newest step; 0 before the first."""
        ...

    @property
    def stop_reason(self) -> str | None:
        """Why the newest step stopped; None while it is not complete."""
        ...

    @property
    def calls(self) -> Sequence[Call]:
        """The tool calls of the newest complete step, in the model's order."""
        ...

    @property
    def answered(self) -> bool:
        """Whether the results of ``calls`` are in the API's history."""
        ...

    async def permission(self, call: Call) -> Permission | None:
        """Return what the user said to this very call, or once and for all to such calls; None when nothing."""
        ...

    async def prefix(self) -> tuple[list[Block], list[dict[str, Json]]]:
        """Return the session's frozen ``(system, tools)``."""
        ...

    async def history(self) -> list[ApiMessage]:
        """Return the API's history so far, as the API takes it (``agent.repair``)."""
        ...

    async def mend(self, failure: ModelError) -> bool:
        """The history was refused: from now on send it in a plainer form, or less of it; False when there is none."""
        ...

    def context(self, call: Call) -> ToolContext:
        """Return what the tool may touch."""
        ...

    # -- the model speaks -----------------------------------------------------------

    def open_step(self, step: int, model: str) -> None:
        """A request to the model begins."""
        ...

    def add_part(self, part: Part) -> None:
        """A part opens; its ``idx`` is set here."""
        ...

    def delta(self, part_id: str, text: str) -> None:
        """More text of an open part."""
        ...

    def finish_part(self, part_id: str) -> None:
        """An open text or reasoning part is complete."""
        ...

    def tool_state(
        self,
        part_id: str,
        state: ToolState,
        *,
        running: bool = False,
        input: Json = None,
        output: ToolOutput | None = None,
        error: str | None = None,
        reason: ToolReason | None = None,
    ) -> None:
        """A tool part moves along its edges."""
        ...

    def reset_step(self, step: int) -> None:
        """All parts of this step are superseded."""
        ...

    def notice(self, level: Level, code: str, text: str) -> None:
        """Tell the user something that ends nothing."""
        ...

    async def close_step(
        self,
        *,
        stop_reason: str,
        usage: Usage,
        request_id: str | None,
        content: list[Block],
        calls: Sequence[Call],
    ) -> None:
        """The answer is complete: store it verbatim with the calls it makes."""
        ...

    async def cut_step(self, content: list[Block]) -> None:
        """The answer broke off for good: store what may go into the history."""
        ...

    # -- tools run ------------------------------------------------------------------

    async def ask(self, asked: Sequence[tuple[Call, list[Display]]]) -> None:
        """Put calls before the user, each with what it would do; the turn awaits."""
        ...

    async def begin(self, call: Call, permission: Permission | None) -> Call:
        """Write the intent before the deed; the permission is used up in the same transaction."""
        ...

    async def settle(
        self,
        call: Call,
        *,
        state: ToolState,
        content: list[Block],
        display: list[Display],
        reason: ToolReason | None = None,
    ) -> None:
        """Write the result; ``content`` is what the model will read."""
        ...

    async def answer(self, *, steered: bool) -> None:
        """All calls are settled: put their results, in order, into the API's history.

        ``steered``: and behind them what the user said meanwhile to steer.
        """
        ...

    def switch_mode(self, mode: Mode) -> None:
        """A tool that the user allowed changes the mode."""
        ...
