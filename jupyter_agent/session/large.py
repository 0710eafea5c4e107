"""What is too large to be shown whole: the event gets a preview, a blob the rest.

The preview follows from the value and the settings alone, and it is what the
events, the rows and the snapshots hold: folding them tells one story. What the
model reads is never cut here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..protocol import codec
from ..protocol.commands import SentFile, SentText
from ..protocol.content import Approval, Message, TextPart
from ..protocol.cut import fit, fit_fields, size
from ..protocol.events import ToolStateChanged
from ..protocol.frames import dump_json
from ..protocol.plain import to_plain
from ..settings import Settings
from ..store.blobs import BLOBS, Blobs, address_of
from ..store.writes import PutBlob, Write

Fields = dict[str, Any]


def cut_tool(event: ToolStateChanged, room: int, *, known: Fields) -> tuple[ToolStateChanged, list[Write]]:
    """Return the event with what fits into ``room``, and the write that keeps the whole.

    ``known`` is what the part was cut of before: one blob holds all of it.
    """
    plain = {"input": event.input, "output": to_plain(event.output), "error": event.error}
    whole = {name: value for name, value in plain.items() if value is not None}
    shown = fit_fields(whole, room)
    if shown is whole:
        return event, []
    content = _blob({**known, **whole})
    output = codec.decode_output(shown["output"]) if "output" in shown else None
    cut = replace(
        event,
        input=shown.get("input"),
        output=output,
        error=shown.get("error"),
        truncated=True,
        whole=address_of(content),
    )
    return cut, [PutBlob(content=content)]


def cut_text(part: TextPart, room: int) -> TextPart:
    """Return the part with as much text as fits; ``keep_texts`` has put the whole away."""
    if size(part.text) <= room:
        return part
    whole = address_of(_blob({"text": part.text}))
    return replace(part, text=fit(part.text, room), truncated=True, whole=whole)


def shown_room(settings: Settings, sent: Sequence[Any]) -> int:
    """Return how much of each text of a message stands in the transcript."""
    return settings.part_room // max(1, len(sent))


def queued_room(settings: Settings, sent: Sequence[Any]) -> int:
    """Return how much of each text is shown while its message waits: all that wait are told in one event."""
    return shown_room(settings, sent) // 8


def is_long(sent: Sequence[SentText | SentFile], settings: Settings) -> bool:
    """Tell whether ``keep_texts`` has something to keep."""
    room = queued_room(settings, sent)
    return any(isinstance(item, SentText) and size(item.text) > room for item in sent)


def keep_texts(folder: Path, sent: Sequence[SentText | SentFile], settings: Settings) -> None:
    """Put the texts away that ``cut_text`` may cut. Raises ``StoreUnwritable``."""
    room = queued_room(settings, sent)
    for item in sent:
        if isinstance(item, SentText) and size(item.text) > room:
            Blobs(folder / BLOBS).save(_blob({"text": item.text}))


def cut_preview(approval: Approval, room: int) -> Approval:
    """Return the question with as much of what will happen as fits."""
    preview = to_plain(approval.preview)
    shown = fit(preview, room)
    return approval if shown is preview else replace(approval, preview=codec.decode_displays(shown))


def marked(message: Message) -> Message:
    """Return a message at rest, marked if one of its parts is shown cut."""
    return replace(message, truncated=any(getattr(part, "truncated", False) for part in message.parts))


def _blob(fields: Fields) -> bytes:
    """Return the bytes of a blob: the part's own fields, whole."""
    return dump_json(fields).encode("ascii")
