"""Values to plain JSON, without pydantic: this runs for every delta.

A field listed in ``_OMIT_NONE`` is left out when it is None; all others are
written, so that a reader sees ``null`` where the protocol says ``null``.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, cast

_OMIT_NONE = frozenset({"hint", "original", "input_json", "progress", "request_id"})
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


def utf16_len(text: str) -> int:
    """Return the length in UTF-16 units, JavaScript's ``.length``."""
    return len(text) + sum(char > "\uffff" for char in text)
