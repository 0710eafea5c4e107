"""``KeptIndex``: the list of sessions, whatever happens to its file.

::

    ask ──► open? no: opened, and made to agree with the sessions' folders ──► the question
              │                                                                  │
              └────────── fails ◄────────────────────────────────────────────────┘
                            ├── damaged ──► begun anew
                            ├── the disk takes no writes ──► a list in memory, until the disk does again
                            └── else ──► told; opened anew for the next question

The list is a copy, so none of this loses anything.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import StoreDamaged, StoreError, StoreLocked, StoreUnwritable
from .faults import as_store_error
from .index import SessionIndex
from .profile import Profile

T = TypeVar("T")
log = logging.getLogger(__name__)

RETRY_S = 60.0
"""How long a list in memory stands in before the disk is tried again."""


class KeptIndex:
    """Synchronous; one thread at a time."""

    def __init__(
        self, sessions_dir: Path, profile: Profile = "local", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._dir = sessions_dir
        self._profile: Profile = profile
        self._clock = clock
        self._index: SessionIndex | None = None
        self._retry_at: float | None = None
        """When to leave memory for the disk; None: the list is on the disk, or the disk is another server's."""

    def ask(self, question: Callable[[SessionIndex], T]) -> T:
        """Ask the list; the question may be asked twice. Raises ``StoreError``."""
        if self._retry_at is not None and self._clock() >= self._retry_at:
            self._go_back_to_disk()
        try:
            return self._ask(question)
        except StoreDamaged:
            log.warning("The list of sessions was damaged, and is made anew.")
            if not SessionIndex.discard(self._dir):
                self._stand_in()
        except StoreUnwritable:
            self._stand_in()
        return self._ask(question)

    def close(self) -> None:
        """Close the list."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def _ask(self, question: Callable[[SessionIndex], T]) -> T:
        try:
            if self._index is None:
                self._index = self._opened()
                self._index.reconcile()
            return question(self._index)
        except sqlite3.Error as error:
            if self._retry_at is None:
                self.close()
            raise as_store_error(error) from error

    def _opened(self) -> SessionIndex:
        try:
            return SessionIndex(self._dir, self._profile)
        except StoreLocked:
            if self._profile == "local":
                raise
            # On a network one server can have it; another makes a list of its own.
            return SessionIndex(self._dir, self._profile, private=True)

    def _stand_in(self) -> None:
        self.close()
        index = SessionIndex(self._dir, self._profile, private=True)
        try:
            index.reconcile()
        except BaseException:
            index.close()
            raise
        self._index, self._retry_at = index, self._clock() + RETRY_S

    def _go_back_to_disk(self) -> None:
        self._retry_at = self._clock() + RETRY_S
        try:
            index = SessionIndex(self._dir, self._profile)
        except StoreError:
            return
        try:
            index.reconcile()
            index.check_writable()
        except (StoreError, sqlite3.Error):
            index.close()
            return
        self.close()
        self._index, self._retry_at = index, None


def rebuilt(sessions_dir: Path, profile: Profile) -> int:
    """Build the list on the disk anew, whatever is there; return how many sessions it has. Raises ``StoreError``."""
    try:
        return _rebuilt(sessions_dir, profile)
    except StoreDamaged:
        if not SessionIndex.discard(sessions_dir):
            raise
    return _rebuilt(sessions_dir, profile)


def _rebuilt(sessions_dir: Path, profile: Profile) -> int:
    index = SessionIndex(sessions_dir, profile)
    try:
        return index.rebuild()
    except sqlite3.Error as error:
        raise as_store_error(error) from error
    finally:
        index.close()
