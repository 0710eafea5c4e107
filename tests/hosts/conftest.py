"""One real server for the tests of the hosts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from running_server import RunningServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the extension and the demo model; it may not log a traceback."""
    running = RunningServer(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()
    assert running.tracebacks == ""
