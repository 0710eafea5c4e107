"""What a user types into a search box, as terms that no database misunderstands."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_MOST_TERMS = 12
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
"""Scripts that put no space between words: a word index finds nothing inside their runs."""


_ACCENTS = re.compile("[\u0300-\u036f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One thing to find: ``title`` in folded titles, ``match`` by FTS5, None where only ``like`` finds it."""

    title: str
    like: str
    match: str | None


def terms_of(q: str, *, full_text: bool) -> list[Term]:
    """Return what to look for; every word is one term, and the last may be the beginning of one."""
    # SQLite's patterns end at a NUL; an accent by itself would end a word.
    q = unicodedata.normalize("NFC", q.replace("\0", " "))
    words = re.findall(r"\w+", q)[:_MOST_TERMS]
    if not words:
        # Only signs: they are looked for as they stand.
        return [_term(q.strip(), None)] if q.strip() else []
    finished = not q[-1:].isalnum() and q[-1:] != "_"
    terms: list[Term] = []
    for at, word in enumerate(words):
        prefix = at == len(words) - 1 and not finished
        plain = full_text and not _UNSPACED.search(word) and word.strip("_")
        terms.append(_term(word, f'"{word}"{"*" if prefix else ""}' if plain else None))
    return terms


def _term(text: str, match: str | None) -> Term:
    return Term(title=like(folded(text)), like=like(text), match=match)


def folded(text: str) -> str:
    """Return the text without its case and its accents, as FTS5 sees it: SQLite itself knows those of ASCII only."""
    bare = _ACCENTS.sub("", unicodedata.normalize("NFD", text.casefold()))
    return unicodedata.normalize("NFC", bare)


def like(text: str) -> str:
    """Return the LIKE pattern, escaped by a backslash, of what contains ``text``."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
