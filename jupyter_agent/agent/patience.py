"""How long one step goes on asking: attempts in a row, cuts in mid-stream, waits that grow."""

from __future__ import annotations

import random

from ..errors import ModelError
from ..settings import Settings
from . import faults
from .faults import Fault

FIRST_DELAY_S = 0.5
MAX_SILENCES = 2
"""How often a step is asked again after a silence: each has cost the user the whole read timeout."""


class Patience:
    """Counts one step's failures and says how long to wait after each."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._in_a_row = 0
        self._cuts = 0
        self._silences = 0
        self._waits = 0

    def delay(self, fault: Fault, *, opened: bool) -> float | None:
        """Return how long to wait before asking again; None: not again.

        ``opened``: the answer had begun. A request that timed out counts as cut too.
        """
        if not fault.again:
            return None
        if opened or fault.code == "timeout":
            self._cuts += 1
        self._silences += fault.silent
        if self._silences > MAX_SILENCES:
            return None
        self._in_a_row = 1 if opened else self._in_a_row + 1
        if self._cuts > self._settings.max_cuts or self._in_a_row >= self._settings.max_attempts:
            return None
        if fault.retry_after is not None:
            return None if self._asks_too_much(fault) else fault.retry_after
        grown = min(FIRST_DELAY_S * 2.0**self._waits, self._settings.max_retry_delay_s)
        self._waits += 1
        return grown * random.uniform(0.5, 1.0)

    def last_word(self, fault: Fault) -> ModelError:
        """Return what to tell the user when no further attempt is made."""
        return faults.asks_for_a_long_wait(fault) if fault.again and self._asks_too_much(fault) else fault.error

    def _asks_too_much(self, fault: Fault) -> bool:
        return fault.retry_after is not None and fault.retry_after > self._settings.max_retry_delay_s
