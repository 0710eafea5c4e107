"""How a turn begins: with something said, behind the last one, or on a message once more.

Each is one transaction: what the user said, the turn, the empty answer, and
what of it the model reads. The model is asked when that is on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..agent.repair import GO_ON_LATER, GO_ON_STEPS
from ..protocol.content import Message, Mode, Trigger, Turn
from ..protocol.events import MessageAdded, Notice, SessionUpdated, TurnEnded, TurnStarted
from ..protocol.ids import new_id, now_ms
from ..store.writes import PutBlocks, PutMeta, Write
from . import naming
from .large import marked
from .said import CUT_FILE, reads_cut, title_of

if TYPE_CHECKING:
    from .actor import SessionActor


def start_turn(
    actor: SessionActor,
    trigger: Trigger,
    message_id: str,
    parts: list[Any],
    said: list[dict[str, Any]],
    *,
    user: str,
    mode: Mode | None = None,
    lines: Sequence[str] = (),
) -> None:
    """Record the message and its turn; the model is asked when that is on disk.

    ``mode``: the turn's own, if not the session's. ``lines``: what else the model should know of it.
    """
    state, now = actor.state, now_ms()
    turn_id = new_id("trn")
    turn = Turn(
        id=turn_id,
        trigger=trigger,
        message_id=new_id("msg"),
        mode=mode or state.session.mode,
        started_at=now,
        user=user,
    )
    said_by_user = marked(
        Message(
            id=message_id,
            role="user",
            status="complete",
            turn_id=turn_id,
            parent_id=state.head,
            created_at=now,
            parts=parts,
        )
    )
    answer = Message(
        id=turn.message_id,
        role="assistant",
        status="streaming",
        turn_id=turn_id,
        parent_id=message_id,
        created_at=now,
    )
    note = {"type": "text", "text": context_note(actor, turn.mode, lines)}
    blocks = PutBlocks(turn_id=turn_id, step=0, ord=0, role="user", content=[*said, note])
    writes: list[Write] = [blocks]
    events: list[Any] = [MessageAdded(message=said_by_user), TurnStarted(turn=turn), MessageAdded(message=answer)]
    if not state.session.title and (title := title_of(parts)):
        events.append(SessionUpdated(patch={"title": title}, rev=state.session.rev + 1))
        writes.append(naming.titled(state, "words"))
    if reads_cut(said):
        events.append(Notice(level="warning", code="attachment_cut", text=CUT_FILE))
    actor.journal.record(*events, writes=writes, full=True, then=actor.run_when_stored)
    actor.put_facts()


def go_on(actor: SessionActor, last: TurnEnded, user: str) -> str:
    """Start a turn that goes on behind the last one: the user said nothing new. Return its id."""
    now = now_ms()
    trigger, mode = _as_before(actor, "continue", looked=actor.state.last_looked)
    turn = Turn(id=new_id("trn"), trigger=trigger, message_id=new_id("msg"), mode=mode, started_at=now, user=user)
    answer = Message(
        id=turn.message_id,
        role="assistant",
        status="streaming",
        turn_id=turn.id,
        parent_id=actor.state.head,
        created_at=now,
    )
    ask = GO_ON_STEPS if last.outcome == "step_limit" else GO_ON_LATER
    said = [{"type": "text", "text": ask}, {"type": "text", "text": context_note(actor, mode)}]
    blocks = PutBlocks(turn_id=turn.id, step=0, ord=0, role="user", content=said)
    actor.journal.record(TurnStarted(turn=turn), MessageAdded(message=answer), writes=[blocks], full=True)
    actor.journal.record(then=actor.run_when_stored)
    actor.put_facts()
    return turn.id


def _as_before(actor: SessionActor, trigger: Trigger, *, looked: bool) -> tuple[Trigger, Mode]:
    """Return what a turn in another's place is: where that one was to look only, so is this one."""
    return ("task", "plan") if looked else (trigger, actor.state.session.mode)


def answer_again(actor: SessionActor, question: str, user: str, *, looked: bool) -> str:
    """Start a turn on a message that is there already; what it says is in the history of the turn it came with."""
    now = now_ms()
    trigger, mode = _as_before(actor, "user", looked=looked)
    turn = Turn(id=new_id("trn"), trigger=trigger, message_id=new_id("msg"), mode=mode, started_at=now, user=user)
    answer = Message(
        id=turn.message_id, role="assistant", status="streaming", turn_id=turn.id, parent_id=question, created_at=now
    )
    note: dict[str, Any] = {"type": "text", "text": context_note(actor, mode)}
    blocks = PutBlocks(turn_id=turn.id, step=0, ord=0, role="user", content=[note])
    actor.journal.record(
        TurnStarted(turn=turn), MessageAdded(message=answer), writes=[blocks], full=True, then=actor.run_when_stored
    )
    actor.put_facts()
    return turn.id


def told_of_restore(actor: SessionActor) -> list[str]:
    """What the model should know once of a session that was put back: its notebook was not."""
    at = actor.state.restored_to
    if at is None:
        return []
    actor.state.restored_to = None
    actor.journal.record(writes=[PutMeta(key="restored_to", value=None)])
    return [
        f"This conversation was put back to its state of {datetime.fromtimestamp(at / 1000, UTC):%d %b %Y, %H:%M} UTC. "
        "Notebooks, files and kernels were not: they may hold what was done since. "
        "Read them again before relying on what is said above."
    ]


def context_note(actor: SessionActor, mode: Mode, more: Sequence[str] = ()) -> str:
    """What the model should know of now. It trails the message and is never edited later."""
    state = actor.state
    lines = [f"Mode: {mode.capitalize()}.", *more, *told_of_restore(actor)]
    if state.session.notebook_path:
        lines.append(f"Notebook: {state.session.notebook_path}")
    last = state.last_outcome
    if last is None or state.head_turn != last.turn:
        pass  # It is not what this message follows.
    elif last.outcome == "stopped":
        lines.append("The user stopped the previous reply where it ends.")
    elif last.outcome in ("failed", "interrupted"):
        lines.append("The previous reply broke off where it ends.")
    return context_of(lines)


def context_of(lines: Sequence[str]) -> str:
    """Return what is said to the model beside what the user says."""
    return "<context>\n" + "\n".join(lines) + "\n</context>"
