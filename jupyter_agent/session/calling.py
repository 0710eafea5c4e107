"""``Calling``: the calls of the live turn: asked about, begun, settled; each step is on disk before the next.

What lets a call run is an answer to its own question, a grant of the session,
or a rule of the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..agent.model import Block
from ..protocol.content import Approval, Display, DisplayText, Scope, ToolOutput, ToolPart, ToolReason, ToolState
from ..protocol.events import ApprovalRequested, TurnStatusChanged
from ..protocol.ids import new_id, now_ms
from ..store.writes import Call, Job, Permission, PutCall, UsePermission
from . import jobs
from .large import cut_preview
from .permissions import ASKED_EACH_TIME, EXPIRE, edited_note, expiry_of, input_hash, notebook_of
from .writing import Writing


class Calling(Writing):
    """The calls of one live turn of one actor."""

    async def permission(self, call: Call) -> Permission | None:
        """Return what the user said to this very call, or once and for all to such calls; None when nothing."""
        answered = self._state.permissions.get(call.id)
        if call.state == "approved" and answered is not None and answered.input_hash == input_hash(call.input):
            return answered
        if self._is_elsewhere():
            return None
        if call.name in self._state.grants:
            return Permission(scope="session", by="session", input_hash=input_hash(call.input))
        return await self._by_rule(call)

    def _is_elsewhere(self) -> bool:
        """Tell whether the session is of a server with another root directory: what was allowed was so there."""
        return self._state.root not in (None, self._actor.services.workspace.root)

    async def _by_rule(self, call: Call) -> Permission | None:
        """Return what whoever asked for this turn allowed for good."""
        turn, path = self._state.turn, notebook_of(call.input, self._state.session.notebook_path)
        if turn is None or path is None or call.name in ASKED_EACH_TIME or turn.id == self._state.mixed_turn:
            return None
        rule = await self._actor.services.rules.match(turn.user, call.name, path, call.effect)
        return None if rule is None else Permission(scope="always", by=rule.id, input_hash=input_hash(call.input))

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
        if call.name in ASKED_EACH_TIME or self._is_elsewhere():
            return ["once"]
        named = notebook_of(call.input, self._state.session.notebook_path) is not None
        return ["once", "session", "always"] if named else ["once", "session"]

    def put_call(self, call: Call) -> None:
        """Keep the call as it is now."""
        self._state.put_call(call)
        self._journal.record(writes=[PutCall(call=call)])

    async def begin(self, call: Call, permission: Permission | None) -> Call:
        """Write the intent before the deed; the permission is used up in the same transaction."""
        self._actor.check_wanted()
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
        self._actor.check_wanted()

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


def _without_bytes(block: Block) -> Block:
    """An image is shown from ``display``; the wire need not carry it twice."""
    if block.get("type") != "image":
        return block
    source = block.get("source", {})
    return {"type": "image", "source": {**source, "data": ""}}
