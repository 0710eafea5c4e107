"""How a session comes by its title: its first words at once, a better one by the model, the user's above all.

``meta.titled_by`` says whose the title is: only one that is made of the first
words is replaced.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from ..agent.titling import suggest
from ..errors import AgentError
from ..protocol.content import OutcomeKind
from ..store import transcript
from ..store.writes import PutMeta

if TYPE_CHECKING:
    from .actor import SessionActor
    from .state import State

PATIENCE_S = 10.0
"""How long a name may take to come."""
_MOST_TRIES = 3


def titled(state: State, who: Literal["words", "model", "user"]) -> PutMeta:
    """Keep in mind whose the title is from now on; return the note of it."""
    state.titled_by = who
    return PutMeta(key="titled_by", value=who)


def wanted(actor: SessionActor, outcome: OutcomeKind) -> bool:
    """Tell whether the model should name the session now."""
    state = actor.state
    return (
        actor.services.settings.auto_title
        and not actor.leaving
        and outcome == "completed"
        and state.titled_by == "words"
        and state.title_tries < _MOST_TRIES
    )


async def name(actor: SessionActor) -> None:
    """Ask the model for a title; nobody is told when it has none."""
    state = actor.state
    state.title_tries += 1
    try:
        title = await _suggestion(actor)
    except (TimeoutError, AgentError):
        return
    # The user may have found one meanwhile.
    if title is not None and state.titled_by == "words":
        actor.journal.record(writes=[titled(state, "model")])
        actor.patch({"title": title})


async def _suggestion(actor: SessionActor) -> str | None:
    await actor.journal.committed()
    said = [text for _, text in await actor.journal.read(lambda store: transcript.texts(store.db.conn, limit=2))]
    if len(said) < 2:
        return None
    async with asyncio.timeout(PATIENCE_S):
        return await suggest(actor.services.model, actor.ledger().model, said[0], said[1])
