"""Who answers, decided from what is configured and nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_agent.agent.choose import can_reach_claude, choose_model
from jupyter_agent.agent.prompt import system_prompt
from jupyter_agent.settings import Settings

NAMES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_PROFILE",
    "ANTHROPIC_FEDERATION_RULE_ID",
)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in (*NAMES, "ANTHROPIC_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))
    return Settings(data_dir=tmp_path)


def test_with_nothing_configured_the_demo_answers(settings: Settings) -> None:
    assert choose_model(settings).kind == "demo"


@pytest.mark.parametrize("name", NAMES)
def test_each_of_the_sdks_variables_means_claude(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "something")
    assert choose_model(settings).kind == "claude"
    assert choose_model(replace(settings, demo=True)).kind == "demo"


def test_settings_mean_claude_too(settings: Settings) -> None:
    assert can_reach_claude(replace(settings, api_key="key"))
    assert can_reach_claude(replace(settings, base_url="http://localhost:1"))
    assert can_reach_claude(replace(settings, default_headers={"X-API-Key": "key"}))
    assert not can_reach_claude(replace(settings, default_headers={"x-team": "data"}))


def test_demo_false_means_claude_in_any_case(settings: Settings) -> None:
    assert choose_model(replace(settings, demo=False)).kind == "claude"


def test_a_profile_on_disk_means_claude(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(tmp_path / "anthropic"))
    assert not can_reach_claude(settings)
    (tmp_path / "anthropic" / "configs").mkdir(parents=True)
    (tmp_path / "anthropic" / "configs" / "default.json").write_text("{}", encoding="utf-8")
    assert can_reach_claude(settings)


@pytest.mark.parametrize("demo", [True, False])
def test_choosing_imports_neither_the_sdk_nor_pydantic(demo: bool) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from jupyter_agent.agent.choose import choose_model\n"
        "from jupyter_agent.settings import Settings\n"
        f"choose_model(Settings(data_dir=Path('.'), demo={demo}))\n"
        "print({'anthropic', 'pydantic', 'httpx2', 'jiter'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


def test_the_prompt_is_one_text_with_the_administrators_words_at_its_end(settings: Settings) -> None:
    [block] = system_prompt(settings)
    assert block["type"] == "text"
    assert "by its id" in block["text"]
    [longer] = system_prompt(replace(settings, system_prompt_extra="Speak French."))
    assert longer["text"].startswith(block["text"])
    assert longer["text"].endswith("Speak French.")
