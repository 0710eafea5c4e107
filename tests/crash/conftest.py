"""What the tests that kill share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .places import Zygote
from .tally import Tally


@pytest.fixture(scope="package")
def zygote() -> Iterator[Zygote]:
    """Where the hosts come from."""
    made = Zygote()
    yield made
    made.stop()


@pytest.fixture(scope="package")
def tally() -> Iterator[Tally]:
    """What became of whom."""
    made = Tally()
    yield made
    made.write()
