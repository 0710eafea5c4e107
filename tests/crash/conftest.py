"""What the tests that kill share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .places import Zygote


@pytest.fixture(scope="package")
def zygote() -> Iterator[Zygote]:
    """Where the hosts come from."""
    made = Zygote()
    yield made
    made.stop()
