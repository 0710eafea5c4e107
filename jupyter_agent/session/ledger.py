"""``TurnLedger``: the live turn as the agent's loop sees it (``agent.ledger.Ledger``).

It adds nothing of its own: it reads ``State`` and records into the journal.
Synchronous methods record and return; the async ones wait for the commit,
because what follows them must not happen if they did not. Its parts are
``Writing``'s, its calls are ``Calling``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..agent.model import ApiMessage, Block
from ..agent.prompt import system_prompt
from ..agent.repair import MOST_LEVEL, NO_PICTURES, repair
from ..errors import ModelError
from ..protocol.content import Json, Level, Mode, ToolPart, Usage
from ..protocol.events import Event, Notice, StepEnded, StepReset, StepStarted, ToolStateChanged, TurnStatusChanged
from ..store import history
from ..store.store import SessionStore
from ..store.writes import Call, PutBlocks, PutCall, PutMeta
from ..tools.tool import ToolContext
from . import starting, steering, tasks
from .calling import Calling

BEGUN_ANEW = (
    "Claude's API takes nothing of this conversation so far. All of it stays here; Claude goes on from your last "
    "message and knows nothing of what came before it."
)


class TurnLedger(Calling):
    """One live turn of one actor."""

    # -- where the turn stands --------------------------------------------------------

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._actor.id

    @property
    def mode(self) -> Mode:
        """The mode that holds now."""
        return self._state.mode()

    @property
    def model(self) -> str:
        """The model the next step asks."""
        services, chosen = self._actor.services, self._state.session.model
        # A session that began with the demo goes on with Claude once there is a key.
        stale = not chosen or (chosen == "demo" and services.model.kind != "demo")
        return services.settings.model if stale else chosen

    @property
    def step(self) -> int:
        """Number of the newest step."""
        return self._state.turn.step if self._state.turn else 0

    @property
    def stop_reason(self) -> str | None:
        """Why the newest step stopped."""
        return self._state.stop_reason

    @property
    def calls(self) -> Sequence[Call]:
        """The newest complete step's calls."""
        return self._state.calls

    @property
    def answered(self) -> bool:
        """Whether their results are in the API's history."""
        return self._state.answered_step >= self.step

    async def prefix(self) -> tuple[list[Block], list[dict[str, Json]]]:
        """Return the frozen ``(system, tools)``; the first step of a session freezes them."""
        if self._state.prefix is None:
            services = self._actor.services
            prefix = {"system": system_prompt(services.settings), "tools": services.toolbox.definitions()}
            self._state.prefix = prefix
            self._journal.record(writes=[PutMeta(key="prefix", value=prefix)], full=True)
        return self._state.prefix["system"], self._state.prefix["tools"]

    async def history(self) -> list[ApiMessage]:
        """Return the API's history, verbatim, neighbours of one role merged, what a crash left open closed."""
        await self._journal.committed()
        level, paused = self._state.repair_level, self._state.stop_reason == "pause_turn"
        begins_at = self._state.begins_at

        def read(store: SessionStore) -> list[ApiMessage]:
            # A long history is as long to mend as to read: neither is the event loop's.
            rows = history.api_history(store.db.conn, store.blobs, begins_at)
            said = [ApiMessage(role="user" if role == "user" else "assistant", content=body) for role, body in rows]
            return repair(said, level, paused=paused)

        return await self._journal.read(read)

    async def mend(self, failure: ModelError) -> bool:
        """The history was refused: send a plainer one from now on, at last a new one; False when that is refused too.

        The same step is asked again: what was refused said nothing.
        """
        level = self._state.repair_level
        if level < MOST_LEVEL:
            least = NO_PICTURES if failure.code == "request_too_large" else 0
            self._remember(self._state.begins_at, level=max(level + 1, least))
        elif not await self._begin_anew():
            return False
        self._state.reopen_step()
        return True

    async def _begin_anew(self) -> bool:
        """Leave the past out, as far as there is one behind the newest thing that the user said."""
        words = await self._journal.read(lambda store: history.newest_words(store.db.conn))
        if words is None or words == self._state.begins_at:
            # Not even that was taken, so the fault was not in the history.
            self._remember(None, level=0)
            return False
        self._remember(words, level=0)
        self.notice("warning", "begun_anew", BEGUN_ANEW)
        return True

    def _remember(self, begins_at: str | None, *, level: int) -> None:
        self._state.begins_at, self._state.repair_level = begins_at, level
        self._journal.record(
            writes=[PutMeta(key="begins_at", value=begins_at), PutMeta(key="repair_level", value=level)]
        )

    def context(self, call: Call) -> ToolContext:
        """Return what the tool may touch."""

        def report(progress: Json) -> None:
            part = self._state.parts.get(call.part_id)
            if isinstance(part, ToolPart):
                self._actor.hint(
                    ToolStateChanged(
                        part_id=part.id, state=part.state, running=part.running, rev=part.rev, progress=progress
                    )
                )

        return ToolContext(
            session_id=self._actor.id,
            call_id=call.id,
            mode=self.mode,
            notebook_path=self._state.session.notebook_path,
            workspace=self._actor.services.workspace,
            tasks=tasks.Book(self._actor),
            report=report,
        )

    # -- its steps ----------------------------------------------------------------------

    def open_step(self, step: int, model: str) -> None:
        """A request to the model begins."""
        self._actor.check_wanted()
        self._journal.record(StepStarted(step=step, model=model))

    def reset_step(self, step: int) -> None:
        """All parts of this step are superseded, and none of its calls will run."""
        parts = list(self._state.step_parts)
        for part_id in parts:
            self.tool_state(part_id, "output-error", error="This attempt was repeated.", reason="never_ran")
        if parts:
            self._journal.record(StepReset(step=step, parts=parts))

    async def close_step(
        self, *, stop_reason: str, usage: Usage, request_id: str | None, content: list[Block], calls: Sequence[Call]
    ) -> None:
        """Store the answer verbatim, with the calls it makes."""
        step, turn_id = self.step, self._turn_id
        placed = [replace(call, turn_id=turn_id) for call in calls]
        blocks = [PutBlocks(turn_id=turn_id, step=step, ord=0, role="assistant", content=content)] if content else []
        events: list[Event] = [StepEnded(step=step, stop_reason=stop_reason, usage=usage, request_id=request_id)]
        if self._state.turn is not None and self._state.turn.attempt:
            events.append(TurnStatusChanged(status=self._state.turn.status, attempt=0))
        self._journal.record(*events, writes=[*blocks, *(PutCall(call=call) for call in placed), *self._actor.seen()])
        self._state.calls = placed
        await self._journal.committed()

    async def cut_step(self, content: list[Block]) -> None:
        """Store what may go into the history of an answer that broke off."""
        # Stopped in the moment after the answer was complete: then it did not break off.
        # When the server goes, whoever wakes the session next decides what becomes of it.
        if content and self._state.stop_reason is None and not self._actor.leaving:
            blocks = PutBlocks(turn_id=self._turn_id, step=self.step, ord=0, role="assistant", content=content)
            self._journal.record(writes=[blocks])

    async def answer(self, *, steered: bool) -> None:
        """Put the results, in the model's order, into the API's history, and behind them what the user said meanwhile.

        Together: after a crash in between nobody would look for those words before the next results.
        """
        results = [call.result for call in self._state.calls if call.result is not None]
        if note := starting.told_of_restore(self._actor):  # A question was open then, and this turn goes on with it.
            results.append({"type": "text", "text": starting.context_of(note)})
        step = self.step
        blocks = PutBlocks(turn_id=self._turn_id, step=step, ord=1, role="user", content=results)
        self._state.answered_step = step
        self._journal.record(writes=[blocks])
        if steered:
            steering.take(self._actor)
        await self._journal.committed()

    def notice(self, level: Level, code: str, text: str) -> None:
        """Tell the user something that ends nothing."""
        self._journal.record(Notice(level=level, code=code, text=text))

    def switch_mode(self, mode: Mode) -> None:
        """A tool that the user allowed changes the mode."""
        self._actor.patch({"mode": mode})
        if mode == "build":
            tasks.leave_plan(self._actor)
