"""Which sessions are in the middle of something: one empty file each, in ``wake/`` beside ``sessions/``.

::

    before the commit that starts a turn or lets a message wait     mark
    when a session wakes in the middle of something                 mark
    after the commit that leaves nothing running and waiting        unmark
    at the server's start                                           wake whoever has a mark

A mark may be there for nothing, it is never missing: that costs one look, the
other would cost a turn. Finding them needs neither the index nor a look into
each of thousands of sessions, and imports nothing.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

MARKS = "wake"


def mark(session_folder: Path) -> None:
    """Let the next server wake this session. Raises ``OSError``."""
    path = _path(session_folder)
    try:
        path.touch()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def unmark(session_folder: Path) -> None:
    """Nothing is under way any more."""
    with contextlib.suppress(OSError):
        _path(session_folder).unlink(missing_ok=True)


def marked(data_dir: Path) -> list[str]:
    """Return the names of sessions to be woken, those marked first in front."""
    marks: list[tuple[int, str]] = []
    with contextlib.suppress(OSError):
        for entry in (data_dir / MARKS).iterdir():
            with contextlib.suppress(OSError):  # Another server took it away meanwhile.
                marks.append((entry.stat().st_mtime_ns, entry.name))
    return [name for _, name in sorted(marks)]


def _path(session_folder: Path) -> Path:
    return session_folder.parent.parent / MARKS / session_folder.name
