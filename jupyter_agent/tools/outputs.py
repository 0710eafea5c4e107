"""Outputs of cells, as the model reads them and as the eye sees them.

The model gets text without colours and the pictures it can look at; whatever
is too much is cut in the middle, and the cut says exactly what is missing.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import cast

from ..notebook.ports import fields
from ..protocol.content import Display, DisplayImage, DisplayText, Json
from .tool import Block

MAX_IMAGES = 8
MAX_DISPLAY_CHARS = 8_000_000
"""The eye may have more than the model: a panel shows the rest when it is asked to."""
MAX_PIXELS = 7900
"""The API refuses a side of more than 8000, and with it the whole conversation."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_MAGIC = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}
_TEXT_KINDS = ("text/markdown", "text/latex", "text/plain")


@dataclass(slots=True, kw_only=True)
class Shown:
    """Outputs told twice."""

    text: str
    images: list[Block] = field(default_factory=list[Block])
    display: list[Display] = field(default_factory=list[Display])


def show(outputs: list[dict[str, Json]], *, max_chars: int, max_image_bytes: int) -> Shown:
    """Tell a cell's outputs to the model and to the eye."""
    shown = Shown(text="")
    coloured: list[str] = []
    plain: list[str] = []
    for output in outputs:
        text = _text(output)
        picture = _picture(output, max_image_bytes, room=MAX_IMAGES - len(shown.images))
        if picture is not None:
            _flush(coloured, shown)
            plain.append(picture.note)
            if picture.block is not None:
                shown.images.append(picture.block)
            if picture.display is not None:
                shown.display.append(picture.display)
                continue
        if text:
            coloured.append(text)
            if picture is None:
                plain.append(plain_text(text))
    _flush(coloured, shown)
    shown.text = clip("\n".join(part.rstrip("\n") for part in plain if part), max_chars)
    return shown


def plain_text(text: str) -> str:
    """Take out colours, and what a progress bar overwrote."""
    text = _ANSI.sub("", text).replace("\r\n", "\n")
    if "\r" not in text:
        return text
    lines = text.split("\n")
    return "\n".join(next((part for part in reversed(line.split("\r")) if part), "") for line in lines)


def clip(text: str, limit: int) -> str:
    """Cut the middle out of a text that is too long, and say what is missing."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit - limit * 2 // 3
    left_out = text[head : len(text) - tail]
    lines = left_out.count("\n")
    return (
        f"{text[:head]}\n[… {len(left_out):,} characters ({lines:,} lines) left out here …]\n{text[len(text) - tail :]}"
    )


# -- one output -------------------------------------------------------------------


def _flush(texts: list[str], shown: Shown) -> None:
    if texts:
        text = "\n".join(part.rstrip("\n") for part in texts)
        shown.display.append(DisplayText(text=clip(text, MAX_DISPLAY_CHARS)))
        texts.clear()


def _joined(value: Json) -> str:
    if isinstance(value, list):
        return "".join(str(part) for part in cast("list[Json]", value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(output: dict[str, Json]) -> str:
    match output.get("output_type"):
        case "stream":
            return _joined(output.get("text", ""))
        case "error":
            traceback = output.get("traceback")
            lines = [str(line) for line in cast("list[Json]", traceback)] if isinstance(traceback, list) else []
            return "\n".join(lines) or f"{output.get('ename')}: {output.get('evalue')}"
        case "display_data" | "execute_result":
            return _data_text(fields(output.get("data")))
        case _:
            return ""


def _data_text(data: dict[str, Json]) -> str:
    for kind in _TEXT_KINDS:
        if kind in data:
            return _joined(data[kind])
    for kind, value in data.items():
        if kind.endswith("json"):
            return _joined(value)
    return "".join(f"[{kind} output, {len(_joined(value)):,} characters, not shown]" for kind, value in data.items())


@dataclass(slots=True, kw_only=True)
class _Picture:
    note: str
    block: Block | None = None
    display: Display | None = None


def _picture(output: dict[str, Json], max_bytes: int, *, room: int) -> _Picture | None:
    data = fields(output.get("data"))
    for mime, magic in _MAGIC.items():
        if mime in data:
            return _raster(mime, magic, _joined(data[mime]), max_bytes, room)
    if "image/svg+xml" in data:
        svg = _joined(data["image/svg+xml"])
        alt = _joined(data.get("text/plain", "")) or "SVG drawing"
        note = f"[image/svg+xml, {len(svg):,} characters, shown to the user but not to you: {plain_text(alt)[:200]}]"
        encoded = base64.b64encode(svg.encode()).decode()
        return _Picture(note=note, display=DisplayImage(mime="image/svg+xml", data=encoded, alt=alt[:200]))
    return None


def _raster(mime: str, magic: bytes, text: str, max_bytes: int, room: int) -> _Picture:
    try:
        raw = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return _Picture(note=f"[{mime}, could not be decoded]")
    if not raw.startswith(magic):
        return _Picture(note=f"[{mime}, but its bytes are something else; not shown]")
    width, height = _size(mime, raw)
    what = f"{mime}, {width}×{height}" if width else mime
    if len(raw) > max_bytes:
        return _Picture(note=f"[{what}, {len(raw):,} bytes, too large: the limit is {max_bytes:,}; make it smaller]")
    encoded = base64.b64encode(raw).decode()
    display = DisplayImage(mime=mime, data=encoded, alt="output of the cell")
    if max(width, height) > MAX_PIXELS:
        return _Picture(note=f"[{what}, too many pixels for you to see; shown to the user]", display=display)
    if room <= 0:
        return _Picture(note=f"[{what}, left out: only the first {MAX_IMAGES} images are shown]", display=display)
    block: Block = {"type": "image", "source": {"type": "base64", "media_type": mime, "data": encoded}}
    return _Picture(note=f"[{what}, shown below]", block=block, display=display)


def _size(mime: str, raw: bytes) -> tuple[int, int]:
    """Return width and height, zeros when they are not found."""
    if mime == "image/png" and len(raw) >= 24:
        return int.from_bytes(raw[16:20], "big"), int.from_bytes(raw[20:24], "big")
    if mime == "image/gif" and len(raw) >= 10:
        return int.from_bytes(raw[6:8], "little"), int.from_bytes(raw[8:10], "little")
    return _jpeg_size(raw) if mime == "image/jpeg" else (0, 0)


def _jpeg_size(raw: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 < len(raw) and raw[at] == 0xFF:
        marker, length = raw[at + 1], int.from_bytes(raw[at + 2 : at + 4], "big")
        # Start-of-frame markers, without the three that only look like them.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(raw[at + 7 : at + 9], "big"), int.from_bytes(raw[at + 5 : at + 7], "big")
        at += 2 + length
    return 0, 0
