"""``Connection``: one view of a session, whatever road it came by.

::

    fresh ── subscribe ──► syncing (live events are held) ── snapshot or replay sent, held ones after it ──► live
                              ▲                                                                              │
                              └── subscribe ◄── dropped ◄── too much pending: resync; it cannot be read ─────┘

What waits for a view is bounded everywhere: what it has not taken of what was
sent, by its road; what is held while it syncs, here. Beyond that it is dropped
and told so, and what it missed comes from the database when it asks.

The host owns connections, not the actor: a session falls asleep and wakes
under an open socket, and nobody notices. What is to be known of a view lies in
its attachment, so that an actor that wakes finds who is there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from ..protocol.commands import Command
from ..protocol.content import Road
from ..protocol.cut import frames_of
from ..protocol.events import Ack, ErrorInfo, Event, Resync
from ..protocol.frames import Frame, Recorded, dump_json, transient
from ..protocol.ids import new_id, now_ms

if TYPE_CHECKING:
    from .host import SessionHost

ATTACHMENT_BYTES = 16_384

Reason = Literal["slow", "gap", "epoch", "migrated"]
Sink = Callable[[Frame], None]
Guard = Callable[[Command], ErrorInfo | None]
Backlog = Callable[[], tuple[int, int]]
"""How many frames a view was sent and has not taken, and how many bytes they are."""


class Connection:
    """Sends frames by ``sink``; takes commands by ``receive``."""

    def __init__(
        self,
        host: SessionHost,
        session_id: str,
        sink: Sink,
        *,
        user: str,
        road: Road,
        guard: Guard | None = None,
        backlog: Backlog | None = None,
    ) -> None:
        self.id = new_id("con")
        self.session_id = session_id
        self.user = user
        self.road: Road = road
        self.ep = ""
        self._host = host
        self._sink: Sink | None = sink
        self._guard = guard
        self._backlog = backlog
        self._state: Literal["fresh", "syncing", "live", "dropped"] = "fresh"
        self._sync = 0
        self._held: list[Recorded] = []
        self._held_bytes = 0
        self._held_all = True
        self._dropped_for: Reason = "gap"
        self.told_at = float("-inf")
        """When the last heartbeat went out, by the loop's clock."""
        self._joined_at = self._last_seen = now_ms()
        self._noted: dict[str, Any] = {}

    # -- in --------------------------------------------------------------------------

    def receive(self, raw: str | bytes | dict[str, Any]) -> None:
        """Take one command frame. Never raises: a bad frame is answered on this connection alone."""
        self.seen()
        self._host.receive(self, raw)

    def forbids(self, command: Command) -> ErrorInfo | None:
        """Return why this road may not give this command, None when it may."""
        return self._guard(command) if self._guard is not None else None

    def close(self) -> None:
        """The view is gone."""
        self._sink = None
        self._let_go()
        self._host.disconnect(self)

    # -- out -------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether the view follows the session."""
        return self._sink is not None and self._state in ("syncing", "live")

    def send(self, event: Event, turn: str | None = None) -> None:
        """Send something that has no place in the order."""
        self._put(transient(self.session_id, self.ep, now_ms(), event, turn))

    def ack(self, ack: Ack) -> None:
        """Answer a command."""
        self.send(ack)

    def begin_sync(self) -> int:
        """From now on hold live events; return the token that ``end_sync`` wants back."""
        self._sync += 1
        self._state = "syncing"
        self._let_go()
        self._held_all = True
        return self._sync

    def end_sync(self, token: int, frames: list[Frame], seq: int) -> None:
        """Send what the view missed up to ``seq``, then what was held, and go live."""
        if token != self._sync or self._state != "syncing":
            return  # A newer subscribe has taken over.
        if self._is_slow():
            # It has not taken what it was sent before, however often it asks.
            self.resync("slow")
            return
        for frame in frames:
            self._put(frame)
        if not self._held_all:
            # More has happened meanwhile than may wait here: it asks again, from where it is now.
            self.resync("gap")
            return
        held = [recorded.wire() for recorded in self._held if recorded.seq > seq]
        self._let_go()
        self._state = "live"
        if held:
            for frame, _ in frames_of(self.session_id, self.ep, held, self._host.settings.frame_bytes):
                self._put(frame)

    def fail_sync(self, token: int) -> None:
        """What the view missed could not be read: it follows nothing, and the next heartbeat asks it to start over."""
        if token == self._sync and self._state == "syncing":
            self._drop("gap")

    def emit(self, events: list[Recorded], frame: Frame) -> None:
        """A commit came back: pass it on."""
        if self._sink is None:
            return
        if self._state == "syncing":
            self._hold(events, frame)
        elif self._state == "live":
            self._put(frame)

    def transient(self, frame: Frame) -> None:
        """Pass on a hint, if the view is up to date."""
        if self._state == "live":
            self._put(frame)

    def beat(self, frame: Frame) -> None:
        """Tell how far the session has come; a view that was dropped may not have heard of that."""
        if self._state == "live":
            self._put(frame)
        elif self._state == "dropped" and not self._is_slow():
            self.send(Resync(reason=self._dropped_for))

    def resync(self, reason: Reason) -> None:
        """Ask the view to subscribe anew."""
        if self.live:
            self._drop(reason)
            self.send(Resync(reason=reason))

    def _drop(self, reason: Reason) -> None:
        self._state, self._dropped_for = "dropped", reason
        self._let_go()

    def _hold(self, events: list[Recorded], frame: Frame) -> None:
        if not self._held_all:
            return
        self._held.extend(events)
        self._held_bytes += len(frame.text)
        if self._is_too_much(len(self._held), self._held_bytes):
            self._let_go()
            self._held_all = False

    def _let_go(self) -> None:
        self._held, self._held_bytes = [], 0

    def _is_slow(self) -> bool:
        return self._backlog is not None and self._is_too_much(*self._backlog())

    def _is_too_much(self, count: int, size: int) -> bool:
        settings = self._host.settings
        return count > settings.pending_frames or size > settings.pending_bytes

    def _put(self, frame: Frame) -> None:
        if self._sink is None:
            return
        if self._state == "live" and self._is_slow():
            self._drop("slow")
            frame = transient(self.session_id, self.ep, now_ms(), Resync(reason="slow"))
        try:
            self._sink(frame)
        except Exception:
            self.close()

    # -- what the owner of the socket may remember ------------------------------------

    def seen(self) -> None:
        """The other end gave a sign of life."""
        self._last_seen = now_ms()

    @property
    def attachment(self) -> dict[str, Any]:
        """JSON that lives as long as the connection, at most 16 KiB: ``joined_at``, ``last_seen`` (both ms), ``user``.

        What is assigned comes beside these three, which are the host's and stay.
        """
        return self._with(self._noted)

    @attachment.setter
    def attachment(self, value: dict[str, Any]) -> None:
        if len(dump_json(self._with(value))) > ATTACHMENT_BYTES:
            raise ValueError("a connection's attachment holds at most 16384 bytes")
        self._noted = copy.deepcopy(value)

    def _with(self, notes: dict[str, Any]) -> dict[str, Any]:
        return {**notes, "joined_at": self._joined_at, "last_seen": self._last_seen, "user": self.user}
