"""Documents that somebody hands us, taken in as new sessions: an export, or a ``.chat`` file of jupyterlab-chat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..protocol.content import Session
from ..protocol.plain import whole
from .chat_files import import_chat
from .profile import Profile
from .transfer import import_session


def take_in(
    sessions_dir: Path,
    document: dict[str, Any],
    *,
    title: str | None = None,
    name: str = "",
    profile: Profile = "local",
) -> Session:
    """Make a new session of a document. ``name`` is the title of a chat, which has none of its own.

    Raises ``NotImportable``, ``StoreError``.
    """
    # A title or a file's name from a terminal may hold bytes that are no text.
    title, name = (None if title is None else whole(title)), whole(name)
    if "format" not in document and isinstance(document.get("messages"), list):
        return import_chat(sessions_dir, document, title=title or name, profile=profile)
    return import_session(sessions_dir, document, title=title, profile=profile)
