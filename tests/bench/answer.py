"""One question, asked in the page: when each token left the model and when it reached the DOM.

All times are seconds on the machine's wall clock.
"""

from __future__ import annotations

import itertools
import statistics
import string
from bisect import bisect_left
from dataclasses import dataclass

from tests.model_server import Reply, SentToken, Text

PARAGRAPH = 40
"""Tokens; an answer is paragraphs, as a model writes them."""

_tags = ("".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=3))


def next_tag() -> str:
    """Return three letters that no answer before had."""
    return f"{next(_tags)}"


def reply(tag: str, count: int, *effects: object) -> Reply:
    """Return an answer of so many tokens, all different: ``tag0000``, ``tag0001`` …"""
    pieces = [_token(tag, number) for number in range(count)]
    return Reply(*effects, Text(*pieces))  # pyright: ignore[reportArgumentType]


def _token(tag: str, number: int) -> str:
    gap = "" if number == 0 else "\n\n" if number % PARAGRAPH == 0 else " "
    return f"{gap}{tag}{number:04d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one question gave."""

    entered: float
    received: float
    """The model server had the request."""
    sent: list[SentToken]
    stamps: dict[str, list[tuple[int, float]]]
    """By surface: up to which token the DOM held the answer, and since when."""
    frames: list[float]
    """When comm messages with frames arrived."""

    @property
    def model_s(self) -> float:
        """What the model server took for its first token."""
        return self.sent[0].wall - self.received

    def first(self, surface: str) -> float:
        """Return how long Enter → first token took, without the model."""
        return self.stamps[surface][0][1] - self.entered - self.model_s

    @property
    def there(self) -> float:
        """How long Enter → request took."""
        return self.received - self.entered

    def back(self, surface: str) -> float:
        """Return how long the first token took to the DOM."""
        return self.stamps[surface][0][1] - self.sent[0].wall

    def lags(self, surface: str) -> list[float]:
        """Return how long each token took from the model to the DOM."""
        stamps = self.stamps[surface]
        numbers = [number for number, _ in stamps]
        return [stamps[bisect_left(numbers, token.number)][1] - token.wall for token in self.sent]

    def drift(self, surface: str) -> float:
        """Return how much later tokens of the last quarter came than those of the first."""
        lags = self.lags(surface)
        quarter = max(1, len(lags) // 4)
        return statistics.median(lags[-quarter:]) - statistics.median(lags[:quarter])

    @property
    def frames_per_s(self) -> float:
        """Comm messages a second while the answer came."""
        first, last = self.sent[0].wall, self.sent[-1].wall
        return sum(first <= at <= last for at in self.frames) / (last - first)
