"""What brings a view up to date: the events since its cursor, or else a snapshot; and what came before that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from ..errors import AgentError, CommandRejected
from ..protocol.commands import History, Subscribe
from ..protocol.content import Json
from ..protocol.cut import fit_snapshot, frames_of, size
from ..protocol.events import Ack, CaughtUp, Error
from ..protocol.frames import VERSION, Frame, transient
from ..protocol.ids import now_ms
from ..settings import Settings
from ..store import reading, replay, transcript
from ..store.store import SessionStore
from .inbox import rejected

T = TypeVar("T")
MOST_MESSAGES = 200
_ENVELOPE_BYTES = 64
"""The name of a snapshot's body, and some to spare."""

PLAIN_JOURNAL = Error(
    code="plain_journal",
    message="The disk of the data directory takes no write-ahead log: sessions are stored safely, but slowly.",
    hint="A local disk is quicker: c.AgentExtension.data_dir.",
)


class Reads(Protocol):
    """What answers from a session's database: its journal, or somebody who only looks."""

    async def read(self, question: Callable[[SessionStore], T]) -> T:
        """Ask. Raises ``StoreError``."""
        ...


async def what_was_missed(
    journal: Reads, session_id: str, ep: str, settings: Settings, command: Subscribe
) -> tuple[list[Frame], int]:
    """Return frames that end in ``caught_up``, and the seq they reach. Raises ``StoreError``."""

    def tell(store: SessionStore) -> tuple[list[Frame], int]:
        # Read, cut and spelled where the session's own reading is done: no other session waits for a long one.
        return _replayed(store, session_id, ep, settings, command) or _told(store, session_id, ep, settings, command)

    frames, seq = await journal.read(tell)
    frames.append(transient(session_id, ep, now_ms(), CaughtUp(seq=seq)))
    return frames, seq


async def page_before(journal: Reads, settings: Settings, before: str | None, limit: int) -> transcript.Page | None:
    """Return what comes before a message or a part; None when the cursor is neither. Raises ``StoreError``."""
    limit_bytes = min(settings.page_bytes * 4, settings.frame_bytes * 3 // 4)
    return await journal.read(
        lambda store: transcript.page_of(
            store.db.conn, before=before, limit=limit, limit_bytes=limit_bytes, message_bytes=settings.message_room
        )
    )


async def history_ack(journal: Reads, settings: Settings, cmd_id: str, command: History) -> Ack:
    """Return the answer to whoever asks for what came before: a page of it, or why there is none."""
    try:
        found = await page_before(journal, settings, command.before, min(max(command.limit, 1), MOST_MESSAGES))
    except AgentError as error:
        return rejected(cmd_id, error)
    if found is None:
        unknown = CommandRejected("There is no such message in this session.", code="unknown_cursor")
        return rejected(cmd_id, unknown)
    messages, before = found
    result: dict[str, Json] = {"messages": messages, "has_more": before is not None, "before": before}
    return Ack(cmd_id=cmd_id, status="accepted", result=result)


def _replayed(
    store: SessionStore, session_id: str, ep: str, settings: Settings, command: Subscribe
) -> tuple[list[Frame], int] | None:
    """Tell the events since the view's cursor; None when it has none, or a snapshot is cheaper."""
    since = command.since
    if since is None:
        return None
    events = replay.replay(
        store.db.conn,
        since,
        limit=settings.replay_events,
        limit_bytes=settings.replay_bytes,
        message_bytes=settings.message_room,
    )
    if events is None:
        return None
    if not events:
        return [], since.seq
    return [frame for frame, _ in frames_of(session_id, ep, events, settings.frame_bytes)], replay.range_of(events[-1])[
        1
    ]


def _told(
    store: SessionStore, session_id: str, ep: str, settings: Settings, command: Subscribe
) -> tuple[list[Frame], int]:
    """Tell the session as it is now."""
    page = min(max(command.page, 1), MOST_MESSAGES)
    snap = reading.snapshot(
        store.db.conn, page=page, page_bytes=settings.page_bytes, message_bytes=settings.message_room
    )
    head = {"v": VERSION, "sid": session_id, "ep": ep, "ts": now_ms(), "turn": None, "type": "snapshot"}
    frame = Frame({**head, "d": snap})
    if len(frame.text) > settings.frame_bytes:
        room = settings.frame_bytes - size(head) - _ENVELOPE_BYTES
        frame = Frame({**head, "d": fit_snapshot(snap, room)})
    return [frame], snap["as_of"]
