"""Deleted sessions, whole, until nobody can want them back any more.

A session's folder moves to ``<data>/trash/<id>.<ms>``, the time of its
deletion: one rename, whatever the state of what is in it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import StoreUnwritable
from ..protocol.ids import is_session_id
from .faults import DISK_HINT
from .profile import Profile
from .store import SessionStore

TRASH = "trash"
_HALF_MADE_MS = 3_600_000


class Trash:
    """Synchronous; times are ms since the epoch, ``window_s`` is how long a session can be brought back."""

    def __init__(self, data_dir: Path, window_s: float, profile: Profile = "local") -> None:
        self._profile: Profile = profile
        self._dir = data_dir / TRASH
        self._sessions = data_dir / "sessions"
        self._window_ms = int(window_s * 1000)

    def put(self, folder: Path, now: int) -> None:
        """Take a session that nobody has open off the list. Raises ``StoreError``."""
        SessionStore.let_go(folder, self._profile)
        if self._window_ms <= 0:
            SessionStore.remove(folder, self._profile)
            return
        try:
            self._dir.mkdir(parents=True, exist_ok=True)
            folder.rename(self._dir / f"{folder.name}.{now}")
        except OSError as error:
            raise StoreUnwritable(f"The session could not be deleted: {error.strerror}.", hint=DISK_HINT) from None

    def bring_back(self, folder: Path, now: int) -> bool:
        """Put a deleted session back where it was; False when it is gone for good. Raises ``StoreError``."""
        kept = [(at, path) for name, at, path in self._entries() if name == folder.name and at + self._window_ms > now]
        if not kept:
            return False
        try:
            max(kept)[1].rename(folder)
        except OSError as error:
            raise StoreUnwritable(f"The session could not be put back: {error.strerror}.", hint=DISK_HINT) from None
        return True

    def purge(self, now: int) -> int:
        """Delete for good what nobody can bring back any more; return how many sessions that were."""
        gone = 0
        for _, at, path in list(self._entries()):
            if at + self._window_ms <= now:
                shutil.rmtree(path, ignore_errors=True)
                gone += not path.exists()
        for half in self._sessions.glob(".ses_*"):
            # A copy that a crash left half made: nobody's, unless it is being made just now.
            with contextlib.suppress(OSError):
                if half.stat().st_mtime * 1000 + _HALF_MADE_MS <= now:
                    shutil.rmtree(half, ignore_errors=True)
        return gone

    def _entries(self) -> Iterator[tuple[str, int, Path]]:
        """Yield ``(session id, deleted at, path)``."""
        try:
            entries = list(self._dir.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreUnwritable(f"Deleted sessions cannot be read: {error.strerror}.", hint=DISK_HINT) from None
        for path in entries:
            name, _, at = path.name.rpartition(".")
            if is_session_id(name) and at.isdigit():
                yield name, int(at), path
