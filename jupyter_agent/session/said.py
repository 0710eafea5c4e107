"""What a user said: as parts for the transcript, as blocks for the model, as a title for the list."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import CommandRejected
from ..protocol.commands import SentFile, SentText
from ..protocol.content import FilePart, TextPart
from ..protocol.ids import new_id
from ..store.blobs import BLOBS, Blobs
from .large import cut_text

_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_TITLE = 60
_TEXT_FILE_CHARS = 200_000
CUT_FILE = f"The attached file is long: the model reads its first {_TEXT_FILE_CHARS:,} characters."
_LEFT_OUT = "characters of this file are left out …]\n</file>"


def parts_of(sent: Sequence[SentText | SentFile], room: int | None = None) -> list[TextPart | FilePart]:
    """Return the transcript's parts, a text of more than ``room`` bytes cut (``large.keep_texts`` keeps it).

    None: for texts that are short by their own limits.
    """
    parts: list[TextPart | FilePart] = []
    for idx, item in enumerate(sent):
        match item:
            case SentText(text=text):
                part = TextPart(id=new_id("prt"), idx=idx, text=text)
                parts.append(part if room is None else cut_text(part, room))
            case SentFile():
                parts.append(
                    FilePart(
                        id=new_id("prt"), idx=idx, mime=item.mime, name=item.name, sha256=item.sha256, bytes=item.bytes
                    )
                )
    return parts


def out_of_queue(folder: Path, queued: Sequence[TextPart | FilePart], room: int) -> list[TextPart | FilePart]:
    """Return the transcript's parts of a message that waited: more of a long text is shown now."""
    return [
        cut_text(replace(part, text=_whole_text(folder, part.whole), truncated=False, whole=None), room)
        if isinstance(part, TextPart) and part.whole is not None
        else part
        for part in queued
    ]


def said_to_model(folder: Path, sent: Sequence[SentText | SentFile | TextPart | FilePart]) -> list[dict[str, Any]]:
    """Return the blocks the model gets; text without a visible character is none. Raises ``CommandRejected``."""
    blocks: list[dict[str, Any]] = []
    for item in sent:
        match item:
            case TextPart(whole=str(address)):
                blocks.append({"type": "text", "text": _whole_text(folder, address)})
            case SentText(text=text) | TextPart(text=text):
                if text.strip():
                    # A lone surrogate has no place in UTF-8, which the API's JSON is.
                    blocks.append({"type": "text", "text": text.encode("utf-8", "replace").decode("utf-8")})
            case SentFile() | FilePart():
                blocks.append(_file_block(folder, item.sha256, item.mime, item.name))
    return blocks


def _whole_text(folder: Path, address: str) -> str:
    content = Blobs(folder / BLOBS).load(address)
    if content is None:
        raise CommandRejected("The rest of this message is missing.", code="unknown_attachment")
    return str(json.loads(content)["text"])


def _file_block(folder: Path, sha256: str, mime: str, name: str) -> dict[str, Any]:
    if len(sha256) != 64 or not all(char in "0123456789abcdef" for char in sha256):
        raise CommandRejected("An attachment is named by the sha256 of its bytes.", code="unknown_attachment")
    blobs = Blobs(folder / BLOBS)
    data = blobs.load(sha256) if blobs.hold(sha256) else None
    if data is None:
        raise CommandRejected(f"The attachment {name!r} was not uploaded.", code="unknown_attachment")
    if mime in _IMAGES:
        source = {"type": "base64", "media_type": mime, "data": base64.b64encode(data).decode("ascii")}
        return {"type": "image", "source": source}
    text = data.decode("utf-8", "replace")
    if len(text) > _TEXT_FILE_CHARS:
        left_out = len(text) - _TEXT_FILE_CHARS
        kept = text[:_TEXT_FILE_CHARS]
        return {"type": "text", "text": f"<file name={name!r}>\n{kept}\n[… the last {left_out:,} {_LEFT_OUT}"}
    return {"type": "text", "text": f"<file name={name!r}>\n{text}\n</file>"}


def reads_cut(said: Sequence[dict[str, Any]]) -> bool:
    """Tell whether the model gets a file only in part."""
    return any(str(block.get("text", "")).endswith(_LEFT_OUT) for block in said)


def title_of(parts: Sequence[TextPart | FilePart]) -> str:
    """Return the first line said, short enough for a list."""
    for part in parts:
        if part.type == "text" and part.text.strip():
            line = " ".join(part.text.strip().splitlines()[0].split())
            return line if len(line) <= _TITLE else line[: _TITLE - 1].rstrip() + "…"
    return ""
