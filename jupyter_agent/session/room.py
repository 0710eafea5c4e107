"""``Room``: one session's place in the host: its views, and its actor while it is awake."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import AgentError
from ..protocol.commands import Command
from ..protocol.events import TurnEnded, TurnStarted
from ..protocol.frames import Frame, Recorded
from .actor import SessionActor
from .connection import Connection

_LINGER_S = 60.0
"""Heartbeats go on for this long after the last event: it may be what got lost."""


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
    failures: int = 0
    """Commits that failed in a row."""
    suspect: bool = False
    """Something of the file could not be read: before it is opened again, it is looked at as a whole."""
    in_turn: bool = False
    """A turn runs or awaits, as far as the host knows without asking the session."""
    lively_until: float = float("-inf")
    waiting: deque[tuple[Connection, str, Command]] = field(default_factory=deque[tuple[Connection, str, Command]])
    """Commands that came while the session slept, in their order; what comes now stands behind them."""

    def awake(self, actor: SessionActor) -> None:
        """The session woke; where its log was replaced or its tables migrated meanwhile, its views start over."""
        replaced = self.ep not in ("", actor.state.ep)
        if self.ep and self.seq != actor.state.seq:
            # Another server may have gone on with it: the heartbeat tells the views.
            self.lively_until = asyncio.get_running_loop().time() + _LINGER_S
        self.actor, self.seq, self.ep = actor, actor.state.seq, actor.state.ep
        self.in_turn = actor.state.turn is not None
        for connection in list(self.connections):
            connection.ep = self.ep
            if replaced or actor.migrated:
                connection.resync("epoch" if replaced else "migrated")

    def attachments(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each open view, by its connection."""
        return {connection.id: connection.attachment for connection in self.connections}

    def is_lively(self, now: float) -> bool:
        """Tell whether its views may miss something."""
        return bool(self.connections) and (self.in_turn or now < self.lively_until)

    def emit(self, events: list[Recorded], frame: Frame) -> None:
        """Pass a commit to every view; one that fails does not keep it from the others."""
        self.seq = events[-1].seq
        self.failures = 0
        self.lively_until = asyncio.get_running_loop().time() + _LINGER_S
        for recorded in events:
            if isinstance(recorded.event, TurnStarted | TurnEnded):
                self.in_turn = isinstance(recorded.event, TurnStarted)
        for connection in list(self.connections):
            connection.emit(events, frame)

    def next_pause(self) -> float:
        """Return how many seconds to wait after one more failed commit: none at first, 30 at most."""
        self.failures += 1
        return 0.0 if self.failures == 1 else min(2.0 ** (self.failures - 2), 30.0)

    def resync(self, reason: Literal["slow", "gap", "epoch", "migrated"]) -> None:
        """Have every view start over."""
        for connection in list(self.connections):
            connection.resync(reason)

    def hint(self, frame: Frame) -> None:
        """Pass on something that has no place in the order."""
        for connection in list(self.connections):
            connection.transient(frame)
