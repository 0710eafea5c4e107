"""Making a session: beside the others first, under a name that is no session's; whole, it gets its own.

What fails leaves nothing, also on a full disk. What a crash leaves is nobody's, and goes with the trash.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..protocol.content import Session
from .faults import unwritable
from .profile import Profile
from .snapshots import harden
from .store import SessionStore


def half_made(folder: Path) -> Path:
    """Return where the session of ``folder`` is made."""
    return folder.with_name(f".{folder.name}")


@contextmanager
def making(
    folder: Path, session: Session, *, profile: Profile = "local", root: str | None = None
) -> Generator[SessionStore]:
    """Make a session, with what the caller puts into it. Raises ``StoreError``."""
    half = half_made(folder)
    with whole_or_not(half, folder):
        store = SessionStore.create(half, session, profile=profile, root=root)
        try:
            yield store
        finally:
            store.close()


@contextmanager
def whole_or_not(half: Path, folder: Path) -> Generator[None]:
    """Give what is made in ``half`` its name, or drop it. Raises ``StoreUnwritable``."""
    try:
        yield
        try:
            half.rename(folder)
        except OSError as error:
            raise unwritable("The session could not be stored", error) from None
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    harden(folder.parent)
