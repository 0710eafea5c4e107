"""Values to plain JSON, without pydantic: this runs for every delta.

A field listed in ``_OMIT_NONE`` is left out when it is None; all others are
written, so that a reader sees ``null`` where the protocol says ``null``.
"""

from __future__ import annotations

import dataclasses
import math
import re
from functools import cache
from typing import Any, cast

_OMIT_NONE = frozenset({"hint", "original", "input_json", "progress", "request_id", "whole"})
_OMIT_ALL_NONE = frozenset({"ToolStateChanged"})
"""Classes in which None means "did not change"."""


def omitted_when_none(cls_name: str, field: str) -> bool:
    """Tell whether this field of that class is left out rather than written as ``null``."""
    return cls_name in _OMIT_ALL_NONE or field in _OMIT_NONE


@cache
def _fields(cls: type[Any]) -> tuple[tuple[str, bool], ...]:
    return tuple((f.name, omitted_when_none(cls.__name__, f.name)) for f in dataclasses.fields(cls))


def to_plain(value: Any) -> Any:
    """Return ``value`` as dicts, lists and scalars; dataclasses become objects."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType] -- free-form JSON
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- free-form JSON
    plain: dict[str, Any] = {}
    kind = cast("type[Any]", type(value))
    for name, omit_none in _fields(kind):
        item = getattr(value, name)
        if item is not None or not omit_none:
            plain[name] = to_plain(item)
    return plain


MAX_DEPTH = 100
"""How deep JSON may nest that others sent: what reads it later does so level by level."""


def sound(value: Any, *, depth: int = MAX_DEPTH) -> Any:
    """Return JSON that any database, socket and endpoint takes: the same, but for halves of characters.

    Raises:
        ValueError: it holds NaN or an infinity, or nests too deep.
    """
    match value:
        case str():
            return whole(value)
        case float() if not math.isfinite(value):
            raise ValueError("NaN and the infinities are not JSON")
        case list() | dict() if depth == 0:
            raise ValueError("nested too deep")
        case list():
            return [sound(item, depth=depth - 1) for item in cast("list[Any]", value)]
        case dict():
            items = cast("dict[str, Any]", value).items()
            return {whole(key): sound(item, depth=depth - 1) for key, item in items}
        case _:
            return value


_SURROGATE = re.compile("[\ud800-\udfff]")


def is_whole(text: str) -> bool:
    """Tell whether the text holds no half of a character: those have no place in UTF-8."""
    return text.isascii() or _SURROGATE.search(text) is None


def whole(text: str) -> str:
    """Return the text with halves joined where they meet, and replaced where they don't."""
    return text if is_whole(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def utf16_len(text: str) -> int:
    """Return the length in UTF-16 units, JavaScript's ``.length``."""
    return len(text) + sum(char > "\uffff" for char in text)


def after_units(text: str, units: int) -> str:
    """Return the text without its first UTF-16 units."""
    if units <= 0:
        return text
    return text.encode("utf-16-le", "surrogatepass")[2 * units :].decode("utf-16-le", "surrogatepass")
