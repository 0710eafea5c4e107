"""``.chat`` files of jupyterlab-chat, taken in as sessions: who said what, as far as words go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ..protocol.content import Message, Session, TextPart, Turn
from ..protocol.events import Event, MessageAdded, TurnEnded, TurnStarted
from ..protocol.frames import Recorded
from ..protocol.ids import new_id, now_ms
from ..protocol.plain import sound
from .making import making
from .profile import Profile
from .transfer import NotImportable
from .writes import Batch, PutBlocks, Write

Json = dict[str, Any]
_TITLE_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of the file; ``at`` in milliseconds."""

    role: Literal["user", "assistant"]
    text: str
    at: int


def import_chat(sessions_dir: Path, document: Json, *, title: str = "", profile: Profile = "local") -> Session:
    """Make a session of a chat. Raises ``NotImportable``, ``StoreError``."""
    said = list(messages_of(document))
    if not said:
        raise NotImportable("This chat holds no message.")
    now = now_ms()
    session = Session(
        id=new_id("ses"),
        title=title[:_TITLE_CHARS],
        created_at=said[0].at or now,
        updated_at=min(said[-1].at or now, now),
    )
    with making(sessions_dir / session.id, session, profile=profile) as store:
        store.commit(_told(said))
    return session


def messages_of(document: Json) -> Iterator[Said]:
    """Yield what was said. People are the user; bots are the agent. Raises ``NotImportable``."""
    try:
        body = cast("Json", sound(document))
    except (ValueError, RecursionError):
        raise NotImportable("This is not a chat.") from None
    bots = {name for name, user in _users(body) if user.get("bot")}
    for message in cast("list[Any]", body["messages"]):
        match message:
            case {"deleted": True}:
                continue
            case {"body": str(text), "sender": str(sender)} if text.strip():
                seconds = message.get("time")
                at = int(seconds * 1000) if isinstance(seconds, int | float) and 0 < seconds < 1e11 else 0
                # jupyter-ai's own agents are named by the class that plays them.
                by_bot = sender in bots or "::" in sender
                yield Said(role="assistant" if by_bot else "user", text=text, at=at)
            case {"body": str()}:
                continue
            case _:
                raise NotImportable("A message of this chat is not as it should be.")


def _users(body: Json) -> Iterator[tuple[str, Json]]:
    users = body.get("users")
    if isinstance(users, dict):
        for name, user in cast("Json", users).items():
            if isinstance(user, dict):
                yield name, cast("Json", user)


def _told(said: list[Said]) -> Batch:
    """Return the events and the API's history of a conversation that is over."""
    batch = Batch(full=True)
    seq = 0

    def record(event: Event, at: int, turn: str | None) -> None:
        nonlocal seq
        seq += 1
        batch.events.append(Recorded(seq=seq, ts=at, turn=turn, event=event))

    head: str | None = None
    for asked, answered in _exchanges(said):
        turn_id, at = new_id("trn"), (asked or answered)[0].at
        user = _message("user", asked, turn_id, parent=head)
        if asked:
            record(MessageAdded(message=user), at, None)
            head = user.id
        answer = _message("assistant", answered, turn_id, parent=head)
        if answered:
            head = answer.id
        turn = Turn(id=turn_id, trigger="user", message_id=answer.id, mode="build", started_at=at)
        record(TurnStarted(turn=turn), at, turn_id)
        if answered:
            record(MessageAdded(message=answer), answered[-1].at, turn_id)
        ended = TurnEnded(turn=turn_id, outcome="completed", message_ids=[answer.id] if answered else [], ended_at=at)
        record(ended, (answered or asked)[-1].at, turn_id)
        batch.writes += _blocks(turn_id, asked, answered)
    return batch


def _exchanges(said: list[Said]) -> Iterator[tuple[list[Said], list[Said]]]:
    """Yield what users said in a row, and what agents answered to it."""
    asked, answered = list[Said](), list[Said]()
    for one in said:
        if one.role == "user" and answered:
            yield asked, answered
            asked, answered = [], []
        (asked if one.role == "user" else answered).append(one)
    yield asked, answered


def _message(role: Literal["user", "assistant"], said: list[Said], turn_id: str, *, parent: str | None) -> Message:
    parts = [TextPart(id=new_id("prt"), idx=idx, text=one.text) for idx, one in enumerate(said)]
    return Message(
        id=new_id("msg"),
        role=role,
        status="complete",
        turn_id=turn_id,
        parent_id=parent,
        created_at=said[0].at if said else 0,
        parts=[*parts],
    )


def _blocks(turn_id: str, asked: list[Said], answered: list[Said]) -> Iterator[Write]:
    # The API's history begins with a user's message, and has no empty one.
    words = [one.text for one in asked] or ["(The conversation begins with the agent.)"]
    yield PutBlocks(turn_id=turn_id, step=0, ord=0, role="user", content=[{"type": "text", "text": t} for t in words])
    if answered:
        content = [{"type": "text", "text": one.text} for one in answered]
        yield PutBlocks(turn_id=turn_id, step=1, ord=0, role="assistant", content=content)
