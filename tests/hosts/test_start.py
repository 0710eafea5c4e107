"""What the extension costs a server that nobody asks for a session."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from jupyter_agent.errors import AgentError
from jupyter_agent.hosts.server.app import AgentExtension
from jupyter_agent.settings import Settings
from tests.hosts.running_server import API, BOUND_S, RunningServer

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


async def test_the_front_end_is_served_to_signed_in_users(server: RunningServer) -> None:
    url = "/jupyter-agent/static/widget-loader.js"
    response = await server.ask_raw("GET", url)
    assert response.code == 200
    assert response.headers["Content-Type"] == "text/javascript"
    assert response.headers["Cache-Control"] == "no-cache"
    assert "max-age" in (await server.ask_raw("GET", f"{url}?v=1")).headers["Cache-Control"]
    assert (await server.ask_raw("GET", url, token=None)).code in (302, 403)
    for outside in ("..%2Fsettings.py", "../settings.py", "nothing.js"):
        assert (await server.ask_raw("GET", f"/jupyter-agent/static/{outside}")).code in (403, 404)


def test_every_setting_is_a_trait_with_the_same_default() -> None:
    extension = AgentExtension()
    plain = Settings(data_dir=Path())
    for field in dataclasses.fields(Settings):
        if field.name not in ("data_dir", "api_key"):
            assert getattr(extension, field.name) == getattr(plain, field.name), field.name
    assert extension.read_settings().data_dir.name == "jupyter_agent"


def test_the_key_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-very-secret\n")
    settings = AgentExtension(api_key_file=str(file)).read_settings()
    assert settings.api_key == "sk-very-secret"
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00"])
def test_a_key_file_that_holds_no_key_is_a_clear_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(AgentError) as error:
        AgentExtension(api_key_file=str(file)).read_settings()
    assert error.value.code == "api_key_file"
    assert "key file" in error.value.message


async def test_a_key_file_that_is_missing_is_told_to_who_asks(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "server", f"--AgentExtension.api_key_file={tmp_path / 'nowhere'}")
    try:
        for path in ("/status", "/sessions"):
            _, body = await server.ask("GET", API + path)
            assert body["error"]["code"] == "api_key_file"
            assert "api_key_file" in body["error"]["hint"]
    finally:
        server.stop()
    assert not server.tracebacks


async def test_the_unrelated_distribution_beside_ours_is_named_in_one_sentence(tmp_path: Path) -> None:
    info = tmp_path / "site" / "jupyter_agent-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jupyter-agent\nVersion: 9.9\n")
    server = RunningServer(tmp_path / "server", path=[str(tmp_path / "site")])
    try:
        status, body = await server.ask("GET", f"{API}/status")
        assert status == 503
        assert body["error"]["code"] == "conflicting_distribution"
        assert "uninstall both" in body["error"]["message"]
    finally:
        server.stop()
    assert not server.tracebacks
    assert sum("unrelated distribution" in line for line in server.log) >= 1


async def test_a_server_with_a_running_turn_ends_quietly(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "server")
    try:
        session_id = await server.new_session()
        async with server.view(session_id) as view:
            view.command("subscribe", since=None)
            view.command("message.send", id="msg_end", parts=[{"type": "text", "text": "Hello"}])
            await view.event("turn.started")
            async with server.notebook_page("ends.ipynb") as page:
                await page.open_panel()
                server.process.terminate()
                assert await asyncio.to_thread(server.process.wait, BOUND_S) == 0
    except (ConnectionError, OSError):
        pass  # the page's farewell finds nobody
    finally:
        server.stop()
    assert not server.tracebacks
    assert not [line for line in server.log if "never awaited" in line or "was destroyed" in line]


@pytest.mark.slow
async def test_the_extension_takes_little_of_a_servers_memory(tmp_path: Path) -> None:
    """What it takes of the processor is measured by the bench: beside other work that is anybody's guess."""
    least = {True: float("inf"), False: float("inf")}
    for n in range(3):
        for enabled in (True, False):
            # jupyter_lsp looks for language servers beside the first requests: sometimes before ours, sometimes after.
            extensions = {"jupyter_agent": enabled, "probe": True, "jupyter_lsp": False}
            server = RunningServer(tmp_path / f"{n}{enabled}", extensions=extensions)
            try:
                _, probe = await server.ask("GET", "/probe")
            finally:
                server.stop()
            assert ("jupyter_agent.hosts.server.app" in probe["modules"]) is enabled
            least[enabled] = min(least[enabled], probe["rss"] / 2**20)
    assert least[True] - least[False] <= 15
