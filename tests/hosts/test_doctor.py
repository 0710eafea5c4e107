"""``jupyter agent doctor``: what it looks at, and what it says of it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from jupyter_agent.hosts.cli import doctor as checks
from tests.hosts.command_line import Done, agent
from tests.hosts.running_server import ROOT


async def test_the_doctor_finds_a_sound_installation_sound(tmp_path: Path) -> None:
    done = await agent("doctor", "--data-dir", str(tmp_path))
    assert done.out.startswith("OK  version: jupyter-agent-panel ")
    assert "OK  model: the demo model" in done.out
    for name in ("SQLite", "server extension", "front end", "kernel", "data directory", "sessions", "namesake"):
        assert f"OK  {name}: " in done.out
    assert done.code == 0
    report = (await agent("doctor", "--json", "--data-dir", str(tmp_path))).json
    assert report["ok"] is True
    assert {"name", "ok", "found", "hint"} == set(report["checks"][0])


async def test_the_doctor_says_by_which_road_claude_is_reached_and_shows_no_key(tmp_path: Path) -> None:
    key, url = "sk-ant-very-secret", "https://me:hush@gateway.example:8443/anthropic?key=hush"
    done = await agent("doctor", "--data-dir", str(tmp_path), ANTHROPIC_API_KEY=key, ANTHROPIC_BASE_URL=url)
    assert "by ANTHROPIC_API_KEY, at https://gateway.example:8443/anthropic" in done.out
    assert key not in done.out + done.err
    assert "hush" not in done.out + done.err


async def test_the_doctor_reads_jupyters_own_configuration(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    file = config / "jupyter_server_config.py"
    file.write_text(
        f"c.AgentExtension.model = 'claude-of-the-house'\nc.AgentExtension.data_dir = {str(tmp_path / 'there')!r}\n"
        f"c.AgentExtension.api_key_file = {str(tmp_path / 'key')!r}\n"
    )
    missing = await agent("doctor", JUPYTER_CONFIG_DIR=str(config))
    assert missing.code == 1
    assert "!!  model: the API key file cannot be read" in missing.out
    (tmp_path / "key").write_text("sk-secret\n")
    found = await agent("doctor", JUPYTER_CONFIG_DIR=str(config))
    assert "OK  model: claude-of-the-house by the key in api_key_file" in found.out
    assert f"OK  data directory: {tmp_path / 'there'}, on a local disk" in found.out
    assert "sk-secret" not in found.out
    file.write_text("c.AgentExtension.model = 1 / 0\n")
    broken = await agent("doctor", JUPYTER_CONFIG_DIR=str(config))
    assert broken.code == 1
    assert "!!  configuration: " in broken.out


async def test_the_doctor_names_settings_that_the_server_would_not_take(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    file = config / "jupyter_server_config.py"
    file.write_text(
        "c.AgentExtension.recovery = 'maybe'\nc.AgentExtension.max_steps = 0\nc.AgentExtension.modl = 'claude'\n"
        "c.AgentExtension.idle_s = 20\n"
    )
    done = await agent("doctor", "--data-dir", str(tmp_path), JUPYTER_CONFIG_DIR=str(config))
    assert done.code == 1
    assert "!!  settings: c.AgentExtension has recovery, max_steps, modl, idle_s\n" in done.out
    assert "expected any of ['auto', 'ask', 'never'], not the str 'maybe'" in done.out
    assert "'max_steps' trait" in done.out
    assert "There is no modl, only model." in done.out
    assert "'idle_s'" not in done.out
    file.write_text("c.AgentExtension.data_dir = 5\n")
    for command in (("doctor",), ("sessions", "list")):
        wrong = await agent(*command, JUPYTER_CONFIG_DIR=str(config))
        assert (wrong.code, "data_dir is 5, not a text" in wrong.out + wrong.err) == (1, True)


async def test_the_doctor_knocks_at_an_endpoint_of_ones_own(tmp_path: Path) -> None:
    async def doctor(url: str) -> Done:
        variables = {"ANTHROPIC_API_KEY": "sk-secret", "ANTHROPIC_BASE_URL": url, "no_proxy": "127.0.0.1"}
        return await agent("doctor", "--data-dir", str(tmp_path), first=None, **variables)

    with socket.create_server(("127.0.0.1", 0)) as endpoint:
        url = f"http://127.0.0.1:{endpoint.getsockname()[1]}"
        there = await doctor(url)
        assert f"OK  model: claude-sonnet-5-5 by ANTHROPIC_API_KEY, at {url}\n" in there.out
    gone = await doctor(url)
    assert gone.code == 1
    assert f"!!  model: claude-sonnet-5-5 by ANTHROPIC_API_KEY, at {url}, which does not answer: " in gone.out
    for no_url in ("gateway", "http://127.0.0.1:99999", "ftp://127.0.0.1"):
        wrong = await doctor(no_url)
        assert (wrong.code, "is no address of the form" in wrong.out) == (1, True)


async def test_the_doctor_names_the_namesake(tmp_path: Path) -> None:
    info = tmp_path / "jupyter_agent-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jupyter-agent\nVersion: 9.9\n")
    done = await agent("doctor", "--data-dir", str(tmp_path), PYTHONPATH=os.pathsep.join([str(ROOT), str(tmp_path)]))
    assert done.code == 1
    assert "!!  namesake: " in done.out


async def test_the_doctor_says_when_the_server_would_not_load_us(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    disabled = {"ServerApp": {"jpserver_extensions": {"jupyter_agent": False}}}
    (config / "jupyter_server_config.json").write_text(json.dumps(disabled))
    done = await agent("doctor", "--data-dir", str(tmp_path), JUPYTER_CONFIG_DIR=str(config))
    assert done.code == 1
    assert "!!  server extension: disabled" in done.out
    assert "jupyter server extension enable jupyter_agent" in done.out


def test_a_check_that_breaks_keeps_no_other_from_being_seen(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = list(checks.examine(str(tmp_path / "file" / "below")))
    assert not next(check for check in found if check.name == "data directory").ok
    assert found[-1].name == "model"
