"""What the extension costs a server that nobody asks for a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from running_server import API, RunningServer

HEAVY = {"anthropic", "pydantic", "sqlite_utils", "ipywidgets", "anywidget"}


async def test_nothing_heavy_is_imported_before_the_first_session_request(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "server")
    try:
        status, body = await server.ask("GET", f"{API}/status")
        assert status == 200
        assert body["healthy"] is True
        assert body["model"]["kind"] == "demo"
        _, probe = await server.ask("GET", "/probe")
        assert "jupyter_agent.hosts.server.app" in probe["modules"]
        assert HEAVY.isdisjoint(probe["modules"])

        status, _ = await server.ask("GET", f"{API}/sessions")
        assert status == 200
        _, probe = await server.ask("GET", "/probe")
        assert "sqlite_utils" in probe["modules"]
    finally:
        server.stop()
    assert not server.tracebacks


async def test_pages_are_told_where_the_agent_is_and_not_to_count_its_messages(server: RunningServer) -> None:
    _, probe = await server.ask("GET", "/probe")
    assert probe["page_config"]["jupyter_agent"]["api"] == API.strip("/")
    untracked = probe["page_config"]["untracked_message_types"]
    assert {"jupyter_agent_relay", "jupyter_agent_frame", "status"} <= set(untracked)


@pytest.mark.parametrize("first", ["jupyter_agent", "jupyterlab"])
async def test_the_page_config_is_right_whichever_of_us_loads_first(tmp_path: Path, first: str) -> None:
    both = {"jupyter_agent": True, "jupyterlab": True, "probe": True}
    order = sorted(both, key=lambda name: name != first)
    server = RunningServer(tmp_path / "server", extensions={name: both[name] for name in order})
    try:
        _, probe = await server.ask("GET", "/probe")
    finally:
        server.stop()
    assert "jupyter_agent_relay" in probe["page_config"]["untracked_message_types"]
    assert probe["page_config"]["jupyter_agent"]["version"]
