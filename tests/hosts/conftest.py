"""One real server for the tests of the hosts, and one whose model talks slowly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts.running_server import RunningServer
from tests.model_server import ModelServer, Pace, Reply, Text, words

SLOWLY = "Talk slowly, please."


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the extension and the demo model; it may not log a traceback."""
    running = RunningServer(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()
    assert running.tracebacks == ""


@pytest.fixture(scope="session")
def slow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose model, asked to talk slowly, says fifty words a second for a minute."""
    directory = tmp_path_factory.mktemp("slow")
    with ModelServer() as model:
        model.script([Reply(Text(Pace(50), words(3000)))] * 50, match=SLOWLY)
        (directory / "key").write_text(model.key)
        running = RunningServer(
            directory / "server",
            "--AgentExtension.demo=False",
            f"--AgentExtension.base_url={model.url}",
            f"--AgentExtension.api_key_file={directory / 'key'}",
        )
        yield running
        running.stop()
        assert model.refusals == []
    assert running.tracebacks == ""
