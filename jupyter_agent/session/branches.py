"""Branches: which messages are the session's story now. What leaves it stays stored.

::

    a turn runs? ── stop it, wait until it rests ──► what leaves, what comes back ──► one transaction
                    nothing of it comes in late        (read from the tree)            removed, added, kept_steps

    clear            no message is the last one          retry     the question is, and a new turn answers it
    rewind to M      M is, on its own branch             fork      M is, in another session; this one goes on
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import CommandRejected
from ..protocol import codec
from ..protocol.commands import SessionClear, SessionFork, SessionRewind, TurnRetry
from ..protocol.content import Json
from ..protocol.cut import fit_message
from ..protocol.events import Event, MessageAdded, MessageRemoved, PartDone
from ..protocol.plain import to_plain
from ..store import branch, reading, transcript
from ..store.branch import Node
from ..store.writes import KeepBranch, PutMeta
from . import starting, tasks

if TYPE_CHECKING:
    from .actor import SessionActor

BranchCommand = SessionClear | SessionRewind | SessionFork | TurnRetry


async def handle(actor: SessionActor, command: BranchCommand, cmd_id: str, *, user: str) -> dict[str, Json]:
    """Change the branch, or copy it. Raises ``CommandRejected``."""
    match command:
        case SessionClear():
            await _go_to(actor, None)
            if actor.state.queue:
                actor.put_queue([])
            return {}
        case SessionRewind(message_id=message_id):
            await _end_of_branch(actor, message_id)
            await _go_to(actor, message_id)
            return {}
        case TurnRetry(message_id=message_id):
            question = await _question_of(actor, message_id)
            await _go_to(actor, question)
            nodes = await _tree(actor)
            old, answering = nodes[message_id].turn_id, branch.answering(nodes, question)
            looked = await actor.journal.read(lambda store: reading.only_looked(store.db.conn, old))
            again = starting.answer_again(actor, question, user, looked=looked)
            tasks.done_again(actor, answering, again)
            return {"turn": again}
        case SessionFork(message_id=message_id):
            if message_id is not None:
                await _end_of_branch(actor, message_id)
            # The same command makes the same session, also when a crash came between its making and its ack.
            digest = hashlib.sha256(f"{actor.id} {cmd_id}".encode("utf-8", "surrogatepass")).hexdigest()
            session = await actor.fork(actor, f"ses_{digest[:20]}", message_id)
            return {"id": session.id, "session": to_plain(session)}


async def _tree(actor: SessionActor) -> dict[str, Node]:
    await actor.journal.committed()
    return await actor.journal.read(lambda store: branch.tree(store.db.conn))


async def _look_up(actor: SessionActor, message_id: str) -> Node:
    node = (await _tree(actor)).get(message_id)
    if node is None:
        raise CommandRejected("There is no such message in this session.", code="unknown_message")
    return node


async def _end_of_branch(actor: SessionActor, message_id: str) -> None:
    """Check that a branch can end here. Raises ``CommandRejected``."""
    await _look_up(actor, message_id)
    if branch.within_a_turn(await _tree(actor), message_id):
        raise CommandRejected(
            "This message stands in the middle of a reply.",
            code="within_a_turn",
            hint="Choose the reply's end, or the message it answers.",
        )


async def _question_of(actor: SessionActor, message_id: str) -> str:
    answer = await _look_up(actor, message_id)
    if answer.role != "assistant":
        raise CommandRejected("Only an answer can be tried again.", code="not_an_answer")
    nodes = await _tree(actor)
    # What steered the turn is part of the answer, and is left behind with it.
    question = branch.nearest(
        nodes, message_id, lambda node: node.role == "user" and not branch.within_a_turn(nodes, node.id)
    )
    if question is None:
        raise CommandRejected("Nobody asked for this answer.", code="not_an_answer")
    return question


async def _go_to(actor: SessionActor, message_id: str | None) -> None:
    """Make this message the last one."""
    while True:
        await actor.halt()
        nodes = await _tree(actor)
        change = branch.change_to(nodes, message_id)
        coming = await actor.journal.read(lambda store, ids=change.coming: transcript.messages_of(store.db.conn, ids))
        if actor.state.turn is None:  # else something else began one meanwhile
            break
    events: list[Any] = [MessageRemoved(message_id=gone) for gone in change.leaving]
    for message in coming:
        events += _coming(message, actor.services.settings.message_room)
    if events:
        # What the API refused may have left the branch: it is tried as it is once more.
        as_it_is = [PutMeta(key="begins_at", value=None), PutMeta(key="repair_level", value=0)]
        actor.state.begins_at, actor.state.repair_level = None, 0
        actor.journal.record(*events, writes=[KeepBranch(), *as_it_is], full=True)
        actor.put_facts()
    actor.state.head, actor.state.head_turn = message_id, branch.turn_at_end(nodes, message_id)


def _coming(plain: dict[str, Any], room: int) -> Iterator[Event]:
    """Tell a message that comes back, and one by one the parts that its frame leaves out."""
    message = codec.decode_message(plain)
    yield MessageAdded(message=message)
    for part in message.parts[: len(message.parts) - len(fit_message(plain, room)["parts"])]:
        yield PartDone(message_id=message.id, part=part)
