"""``TurnLedger``: the live turn as the agent's loop sees it (``agent.ledger.Ledger``).

It adds nothing of its own: it reads ``State`` and records into the journal.
Synchronous methods record and return; the async ones wait for the commit,
because what follows them must not happen if they did not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..agent.model import ApiMessage, Block
from ..agent.prompt import system_prompt
from ..agent.repair import MOST_LEVEL, repair
from ..protocol.content import (
    TERMINAL_TOOL_STATES,
    Approval,
    Display,
    DisplayText,
    Json,
    Level,
    Mode,
    Part,
    ReasoningPart,
    Scope,
    TextPart,
    ToolOutput,
    ToolPart,
    ToolReason,
    ToolState,
    Usage,
)
from ..protocol.cut import size
from ..protocol.events import (
    ApprovalRequested,
    Event,
    Notice,
    PartAdded,
    PartDelta,
    PartDone,
    StepEnded,
    StepReset,
    StepStarted,
    ToolStateChanged,
    TurnStatusChanged,
)
from ..protocol.ids import new_id, now_ms
from ..store import history
from ..store.writes import Call, Job, Permission, PutBlocks, PutCall, PutMeta, UsePermission
from ..tools.tool import ToolContext
from . import jobs, steering, tasks
from .large import cut_preview, cut_tool
from .permissions import ASKED_EACH_TIME, EXPIRE, edited_note, expiry_of, input_hash, notebook_of

if TYPE_CHECKING:
    from .actor import SessionActor

_JSON_BYTES = 12
"""The most that a character takes in a frame."""


class TurnLedger:
    """One live turn of one actor."""

    def __init__(self, actor: SessionActor) -> None:
        self._actor = actor
        self._state = actor.state
        self._journal = actor.journal
        self._settings = actor.services.settings
        self._sizes: dict[str, int] = {}
        self._continued: dict[str, str] = {}

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

    @property
    def _turn_id(self) -> str:
        assert self._state.turn is not None
        return self._state.turn.id

    @property
    def _message_id(self) -> str:
        assert self._state.message is not None
        return self._state.message.id

    async def permission(self, call: Call) -> Permission | None:
        """Return what the user said to this very call, or once and for all to such calls; None when nothing."""
        answered = self._state.permissions.get(call.id)
        if call.state == "approved" and answered is not None and answered.input_hash == input_hash(call.input):
            return answered
        if call.name in self._state.grants:
            return Permission(scope="session", by="session", input_hash=input_hash(call.input))
        return await self._by_rule(call)

    async def _by_rule(self, call: Call) -> Permission | None:
        """Return what whoever asked for this turn allowed for good."""
        turn, path = self._state.turn, notebook_of(call.input, self._state.session.notebook_path)
        if turn is None or path is None or call.name in ASKED_EACH_TIME or turn.id == self._state.mixed_turn:
            return None
        rule = await self._actor.services.rules.match(turn.user, call.name, path, call.effect)
        return None if rule is None else Permission(scope="always", by=rule.id, input_hash=input_hash(call.input))

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
        rows = await self._journal.read(lambda store: history.api_history(store.db.conn, store.blobs))
        said = [ApiMessage(role="user" if role == "user" else "assistant", content=content) for role, content in rows]
        return repair(said, self._state.repair_level, paused=self._state.stop_reason == "pause_turn")

    def mend(self) -> bool:
        """The history was refused: send a plainer one from now on; False when there is none."""
        level = self._state.repair_level
        if level >= MOST_LEVEL:
            # Not even plain text was taken, so the fault was not in its form.
            self._remember_level(0)
            return False
        self._remember_level(level + 1)
        return True

    def _remember_level(self, level: int) -> None:
        self._state.repair_level = level
        self._journal.record(writes=[PutMeta(key="repair_level", value=level)])

    def steer(self) -> bool:
        """Put what the user said meanwhile into the turn; False when that is nothing."""
        return steering.take(self._actor)

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

    # -- the model speaks ---------------------------------------------------------------

    def open_step(self, step: int, model: str) -> None:
        """A request to the model begins."""
        self._journal.record(StepStarted(step=step, model=model))

    def add_part(self, part: Part) -> None:
        """A part opens."""
        placed = replace(part, idx=len(self._state.parts))
        # It waits for its first delta, which goes at once: one commit, one frame.
        self._journal.record(PartAdded(message_id=self._message_id, part=placed), lazy=not isinstance(part, ToolPart))

    def delta(self, part_id: str, text: str) -> None:
        """More text of an open part."""
        piece = max(1, self._settings.part_room // _JSON_BYTES)
        for start in range(0, len(text), piece):
            self._grow(part_id, text[start : start + piece])

    def _grow(self, part_id: str, text: str) -> None:
        part = self._state.part(self._open_as(part_id))
        grown = self._state.texts[part.id]
        full = grown.units > 0 and self._sizes.get(part.id, 0) + size(text) > self._settings.part_room
        match part:
            case ToolPart() if full:
                return  # An input this long is shown when it is complete.
            case TextPart() | ReasoningPart() if full:
                self.finish_part(part_id)
                more = replace(part, id=new_id("prt"), text="", state="streaming")
                self._continued[part_id] = more.id
                self.add_part(more)
                part, grown = more, self._state.texts[more.id]
            case _:
                pass
        self._sizes[part.id] = self._sizes.get(part.id, 0) + size(text)
        field = "input_json" if isinstance(part, ToolPart) else "text"
        self._journal.record(PartDelta(part_id=part.id, at=grown.units, field=field, delta=text), lazy=grown.units > 0)

    def _open_as(self, part_id: str) -> str:
        """Return the part that the text of this one goes on in."""
        return self._continued.get(part_id, part_id)

    def finish_part(self, part_id: str) -> None:
        """An open text or reasoning part is complete."""
        part = self._state.part(self._open_as(part_id))
        if isinstance(part, TextPart | ReasoningPart) and part.state == "streaming":
            self._journal.record(PartDone(message_id=self._message_id, part=replace(part, state="done")))

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
        approval_id: str | None = None,
        allowed: Scope | None = None,
    ) -> None:
        """A tool part moves along its edges; a terminal state stays."""
        part = self._state.parts.get(part_id)
        if not isinstance(part, ToolPart) or part.state in TERMINAL_TOOL_STATES:
            return
        now = now_ms()
        event = ToolStateChanged(
            part_id=part_id,
            state=state,
            running=running,
            rev=part.rev + 1,
            input=input,
            output=output,
            error=error,
            reason=reason,
            approval_id=approval_id,
            allowed=allowed,
            started_at=now if running and part.started_at is None else None,
            ended_at=now if state in TERMINAL_TOOL_STATES else None,
        )
        shown, blobs = cut_tool(event, self._settings.part_room, known=self._cut_before(part))
        self._journal.record(
            shown,
            writes=blobs,
            full=state in TERMINAL_TOOL_STATES or running,
        )

    def _cut_before(self, part: ToolPart) -> dict[str, Json]:
        """Return the input, whole, of a part that shows it cut."""
        call = next((call for call in self._state.calls if call.part_id == part.id), None)
        return {"input": call.input} if part.truncated and call is not None else {}

    def reset_step(self, step: int) -> None:
        """All parts of this step are superseded, and none of its calls will run."""
        parts = list(self._state.step_parts)
        for part_id in parts:
            self.tool_state(part_id, "output-error", error="This attempt was repeated.", reason="never_ran")
        if parts:
            self._journal.record(StepReset(step=step, parts=parts))

    def notice(self, level: Level, code: str, text: str) -> None:
        """Tell the user something that ends nothing."""
        self._journal.record(Notice(level=level, code=code, text=text))

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

    # -- tools run ------------------------------------------------------------------------

    async def ask(self, asked: Sequence[tuple[Call, list[Display]]]) -> None:
        """Put calls before the user."""
        turn = self._state.turn
        assert turn is not None
        now, lasts_s = now_ms(), self._actor.services.settings.approval_expires_s
        expires_at = None if lasts_s is None else now + round(lasts_s * 1000)
        for call, preview in asked:
            approval = Approval(
                id=new_id("apr"),
                part_id=call.part_id,
                tool_call_id=call.id,
                scopes=self._scopes(call),
                preview=preview,
                input_hash=input_hash(call.input),
                requested_at=now,
                expires_at=expires_at,
            )
            if expires_at is not None:
                jobs.put(
                    self._actor, Job(id=expiry_of(approval.id), kind=EXPIRE, due_at=expires_at, payload=approval.id)
                )
            self.tool_state(call.part_id, "approval-requested", approval_id=approval.id)
            self._journal.record(ApprovalRequested(approval=cut_preview(approval, self._settings.part_room // 2)))
            self.put_call(replace(call, state="approval"))
        self._journal.record(TurnStatusChanged(status="awaiting", attempt=turn.attempt), full=True)
        await self._journal.committed()

    def _scopes(self, call: Call) -> list[Scope]:
        if call.name in ASKED_EACH_TIME:
            return ["once"]
        named = notebook_of(call.input, self._state.session.notebook_path) is not None
        return ["once", "session", "always"] if named else ["once", "session"]

    def put_call(self, call: Call) -> None:
        """Keep the call as it is now."""
        self._state.put_call(call)
        self._journal.record(writes=[PutCall(call=call)])

    async def begin(self, call: Call, permission: Permission | None) -> Call:
        """Write the intent before the deed; the permission is used up in the same transaction."""
        now = now_ms()
        begun = replace(call, state="executing", attempt=call.attempt + 1, started_at=now)
        part = self._state.parts[call.part_id]
        state = part.state if isinstance(part, ToolPart) else "input-available"
        if permission is not None:
            self._journal.record(writes=[UsePermission(call=begun, permission=permission, at=now)])
        self.put_call(begun)
        allowed = permission.scope if permission is not None else None
        self.tool_state(call.part_id, state, running=True, allowed=allowed)  # type: ignore[arg-type] -- a tool part's own state
        await self._journal.committed()
        return begun

    async def settle(
        self,
        call: Call,
        *,
        state: ToolState,
        content: list[Block],
        display: list[Display],
        reason: ToolReason | None = None,
    ) -> None:
        """Write the result."""
        self.record_result(call, state=state, content=content, display=display, reason=reason)
        await self._journal.committed()

    def deny(self, call: Call, reason: str | None, *, by_user: bool = True) -> None:
        """The user said no, or nothing for too long; the model reads why."""
        said = f" They said: {reason}" if reason else ""
        text = f"The user denied this call; it did not run.{said}" if by_user else f"{reason} The call did not run."
        shown = DisplayText(text=f"Denied: {reason}" if reason else "Denied.")
        self.record_result(
            call, state="output-denied", content=[{"type": "text", "text": text}], display=[shown], reason="denied"
        )

    def record_result(
        self, call: Call, *, state: ToolState, content: list[Block], display: list[Display], reason: ToolReason | None
    ) -> None:
        """Let the call have ended so."""
        failed = state != "output-available"
        permission = self._state.permissions.get(call.id)
        if permission is not None and permission.edited and state != "output-denied":
            content = [{"type": "text", "text": edited_note(call.input)}, *content]
        result: Block = {"type": "tool_result", "tool_use_id": call.id, "content": content}
        if failed and all(block.get("type") == "text" for block in content):
            # The API takes nothing but text in an error; a failed run that drew a picture says so in its text.
            result["is_error"] = True
        self.put_call(replace(call, state="done", result=result, ended_at=now_ms()))
        self._journal.record(writes=self._actor.seen())
        texts = [str(block["text"]) for block in content if block.get("type") == "text"]
        self.tool_state(
            call.part_id,
            state,
            output=ToolOutput(model=[_without_bytes(block) for block in content], display=display),
            error="\n".join(texts) if failed else None,
            reason=reason,
        )

    async def answer(self) -> None:
        """Put the results, in the model's order, into the API's history."""
        results = [call.result for call in self._state.calls if call.result is not None]
        step = self.step
        blocks = PutBlocks(turn_id=self._turn_id, step=step, ord=1, role="user", content=results)
        self._state.answered_step = step
        self._journal.record(writes=[blocks])
        await self._journal.committed()

    def switch_mode(self, mode: Mode) -> None:
        """A tool that the user allowed changes the mode."""
        self._actor.patch({"mode": mode})
        if mode == "build":
            tasks.leave_plan(self._actor)


def _without_bytes(block: Block) -> Block:
    """An image is shown from ``display``; the wire need not carry it twice."""
    if block.get("type") != "image":
        return block
    source = block.get("source", {})
    return {"type": "image", "source": {**source, "data": ""}}
