"""What a user types into a search box, as terms that no database misunderstands."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MOST_TERMS = 12
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
"""Scripts that put no space between words: a word index finds nothing inside their runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One thing to find: ``match`` for FTS5, None where only ``like`` finds it."""

    like: str
    match: str | None


def terms_of(q: str, *, full_text: bool) -> list[Term]:
    """Return what to look for; every word is one term, and the last may be the beginning of one."""
    q = q.replace("\0", " ")  # SQLite's patterns end there.
    words = re.findall(r"\w+", q)[:_MOST_TERMS]
    if not words:
        # Only signs: they are looked for as they stand.
        return [Term(like=like(q.strip()), match=None)] if q.strip() else []
    finished = not q[-1:].isalnum() and q[-1:] != "_"
    terms: list[Term] = []
    for at, word in enumerate(words):
        prefix = at == len(words) - 1 and not finished
        plain = full_text and not _UNSPACED.search(word) and word.strip("_")
        terms.append(Term(like=like(word), match=f'"{word}"{"*" if prefix else ""}' if plain else None))
    return terms


def like(text: str) -> str:
    """Return the LIKE pattern, escaped by a backslash, of what contains ``text``."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
