"""``Room``: one session's place in the host: its views, and its actor while it is awake."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from ..errors import AgentError
from ..protocol.frames import Frame, Recorded
from .actor import SessionActor
from .connection import Connection


@dataclass(slots=True)
class Room:
    """Connections outlive actors: a session sleeps and wakes under open sockets."""

    session_id: str
    connections: set[Connection] = field(default_factory=set[Connection])
    actor: SessionActor | None = None
    waking: asyncio.Task[SessionActor] | None = None
    seq: int = 0
    ep: str = ""
    only_look: AgentError | None = None
    looking_out: asyncio.Task[None] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def emit(self, events: list[Recorded], frame: Frame) -> None:
        """Pass a commit to every view; one that fails does not keep it from the others."""
        self.seq = events[-1].seq
        for connection in list(self.connections):
            connection.emit(events, frame)

    def hint(self, frame: Frame) -> None:
        """Pass on something that has no place in the order."""
        for connection in list(self.connections):
            connection.transient(frame)
