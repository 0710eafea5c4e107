"""What a user said: as parts for the transcript, as blocks for the model, as a title for the list."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import CommandRejected
from ..protocol.commands import SentFile, SentText
from ..protocol.content import FilePart, TextPart
from ..protocol.ids import new_id
from ..store.store import BLOBS

_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_TITLE = 60
_TEXT_FILE_CHARS = 200_000


def parts_of(sent: Sequence[SentText | SentFile]) -> list[TextPart | FilePart]:
    """Return the transcript's parts."""
    parts: list[TextPart | FilePart] = []
    for idx, item in enumerate(sent):
        match item:
            case SentText(text=text):
                parts.append(TextPart(id=new_id("prt"), idx=idx, text=text))
            case SentFile():
                parts.append(
                    FilePart(
                        id=new_id("prt"), idx=idx, mime=item.mime, name=item.name, sha256=item.sha256, bytes=item.bytes
                    )
                )
    return parts


def said_to_model(folder: Path, sent: Sequence[SentText | SentFile | TextPart | FilePart]) -> list[dict[str, Any]]:
    """Return the blocks the model gets; text without a visible character is none. Raises ``CommandRejected``."""
    blocks: list[dict[str, Any]] = []
    for item in sent:
        match item:
            case SentText(text=text) | TextPart(text=text):
                if text.strip():
                    # A lone surrogate has no place in UTF-8, which the API's JSON is.
                    blocks.append({"type": "text", "text": text.encode("utf-8", "replace").decode("utf-8")})
            case SentFile() | FilePart():
                blocks.append(_file_block(folder, item.sha256, item.mime, item.name))
    return blocks


def _file_block(folder: Path, sha256: str, mime: str, name: str) -> dict[str, Any]:
    if len(sha256) != 64 or not all(char in "0123456789abcdef" for char in sha256):
        raise CommandRejected("An attachment is named by the sha256 of its bytes.", code="unknown_attachment")
    try:
        data = (folder / BLOBS / sha256).read_bytes()
    except OSError:
        raise CommandRejected(f"The attachment {name!r} was not uploaded.", code="unknown_attachment") from None
    if mime in _IMAGES:
        source = {"type": "base64", "media_type": mime, "data": base64.b64encode(data).decode("ascii")}
        return {"type": "image", "source": source}
    text = data[: 4 * _TEXT_FILE_CHARS].decode("utf-8", "replace")[:_TEXT_FILE_CHARS]
    return {"type": "text", "text": f"<file name={name!r}>\n{text}\n</file>"}


def title_of(parts: Sequence[TextPart | FilePart]) -> str:
    """Return the first line said, short enough for a list."""
    for part in parts:
        if part.type == "text" and part.text.strip():
            line = " ".join(part.text.strip().splitlines()[0].split())
            return line if len(line) <= _TITLE else line[: _TITLE - 1].rstrip() + "…"
    return ""
