"""What all tests share: how hard hypothesis tries, the failures that some stand for, and that nothing fails unseen."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from .failures import NAMES, by_test

_CALM = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]

# `make test` draws the same sample every time; `make sweep` looks further.
settings.register_profile("test", deadline=None, derandomize=True, suppress_health_check=_CALM, print_blob=True)
settings.register_profile("sweep", parent=settings.get_profile("test"), derandomize=False, max_examples=1000)
settings.load_profile("test")


class LoopComplaints(logging.Handler):
    """What event loops had to say: a task whose exception nobody retrieved, a callback that raised, a task left behind.

    (A coroutine that was never awaited is a warning, and those are errors here anyway.)
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Remember it with its traceback."""
        self.heard.append(logging.Formatter().format(record))

    def check(self) -> None:
        """Fail if there was anything since the last time."""
        heard, self.heard = self.heard, []
        assert not heard, "\n\n".join(["An event loop complained:", *heard])


@pytest.fixture(scope="session")
def loop_complaints() -> Iterator[LoopComplaints]:
    """Listen to all event loops, to the end and what only the garbage collector finds."""
    complaints = LoopComplaints()
    logging.getLogger("asyncio").addHandler(complaints)
    yield complaints
    gc.collect()
    logging.getLogger("asyncio").removeHandler(complaints)
    complaints.check()


@pytest.fixture(autouse=True)
def _no_complaints(loop_complaints: LoopComplaints) -> Iterator[None]:
    """Let nothing that a test leaves running fail in silence."""
    yield
    loop_complaints.check()


def pytest_configure(config: pytest.Config) -> None:
    """Let ``pytest -m F7`` choose the tests that ``README.md`` names for it."""
    for name in NAMES:
        config.addinivalue_line("markers", f"{name}: a known failure, see tests/README.md")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, before anything is chosen."""
    known = by_test()
    for item in items:
        file, _, rest = item.nodeid.partition("::")
        name = rest.partition("[")[0].partition("::")[0]
        for failure in known.get(f"{file.removeprefix('tests/')}::{name}", ()):
            item.add_marker(failure)
