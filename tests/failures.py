"""The table of ``README.md``: which test holds which clause of which known failure."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
NAMES = [*(f"F{n}" for n in range(1, 11)), *(f"J{n}" for n in range(1, 9))]

_ROW = re.compile(r"^\| ([FJ]\d+) \| (.+) \| `([^`]+)` \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str]]:
    """Return ``(failure, clause, test)``; a test is ``file::name``, the file below ``tests`` or from ``js`` on."""
    text = (TESTS / "README.md").read_text(encoding="utf-8")
    return [(found[1], found[2], found[3]) for found in _ROW.finditer(text)]


def by_test() -> dict[str, set[str]]:
    """Return the failures that each test stands for."""
    names: dict[str, set[str]] = {}
    for failure, _, test in rows():
        names.setdefault(test, set()).add(failure)
    return names
