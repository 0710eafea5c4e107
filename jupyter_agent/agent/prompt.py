"""The system prompt: one text for a session's life, in both modes.

It is frozen when a session first asks the model. What changes (mode, notebook,
what the user selected) travels in notes at the end of the history.
"""

from __future__ import annotations

from pathlib import Path

from ..settings import Settings
from .model import Block

_SYSTEM = Path(__file__).parent / "prompts" / "system.md"


def system_prompt(settings: Settings) -> list[Block]:
    """Return the API's ``system`` for a new session."""
    text = _SYSTEM.read_text(encoding="utf-8").strip()
    extra = settings.system_prompt_extra.strip()
    if extra:
        text += f"\n\n# From the administrator of this server\n\n{extra}"
    return [{"type": "text", "text": text}]
