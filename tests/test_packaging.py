"""What `pip install .` leaves behind, on a machine that has Python and no Node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from jupyter_agent import __version__

ROOT = Path(__file__).parent.parent
BUILT = (
    "node_modules",
    "lib",
    "static",
    "labextension",
    ".venv",
    ".venvs",
    ".git",
    ".demo",
    "__pycache__",
    "artifacts",
)
LABEXTENSION = "share/jupyter/labextensions/jupyter-agent-panel"
SERVER_CONFIG = "etc/jupyter/jupyter_server_config.d/jupyter_agent.json"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a clean copy of this repository, made where no Node can be found."""
    scratch = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, scratch / "source", ignore=shutil.ignore_patterns(*BUILT), symlinks=True)
    commands = scratch / "commands"
    commands.mkdir()
    if os.name != "nt":
        for name in ("sh", "env", "uname"):
            (commands / name).symlink_to(shutil.which(name) or name)
    environment = os.environ | {"PATH": str(commands)}
    environment.pop("HATCH_JUPYTER_BUILDER_SKIP_NPM", None)
    assert shutil.which("node", path=environment["PATH"]) is None
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(scratch), "."],
        cwd=scratch / "source",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next(scratch.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_wheel_builds_with_python_alone_and_stays_small(wheel: Path) -> None:
    assert wheel.name == f"jupyter_agent_panel-{__version__}-py3-none-any.whl"
    assert wheel.stat().st_size <= 2 << 20


@pytest.mark.slow
def test_the_wheel_holds_what_was_built_and_nothing_else_of_the_front_end(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"jupyter_agent/static/widget.js", "jupyter_agent/static/widget.css"} <= names
    assert "jupyter_agent/static/third-party-licenses.txt" in names
    assert not any(name.startswith(("js/", "tests/", "jupyter_agent/labextension/")) for name in names)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_installed_wheel_needs_no_further_step(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path, with_pip=False)
    python = tmp_path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)],
        check=True,
    )
    config = json.loads((tmp_path / SERVER_CONFIG).read_text())
    assert config["ServerApp"]["jpserver_extensions"] == {"jupyter_agent": True}
    package = json.loads((tmp_path / LABEXTENSION / "package.json").read_text())
    assert (tmp_path / LABEXTENSION / package["jupyterlab"]["_build"]["load"]).is_file()
    assert (tmp_path / LABEXTENSION / "install.json").is_file()
    # What `jupyter agent …` looks for.
    assert list(python.parent.glob("jupyter-agent*"))


def test_python_and_the_front_end_have_the_same_version() -> None:
    assert json.loads((ROOT / "js" / "package.json").read_text())["version"] == __version__


def test_the_front_end_ships_nothing_of_the_ai_sdk() -> None:
    licences = (ROOT / "jupyter_agent" / "static" / "third-party-licenses.txt").read_text(encoding="utf-8")
    assert "=== preact " in licences
    assert "=== ai " not in licences
    assert "@ai-sdk" not in licences


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads((ROOT / "js" / "package-lock.json").read_text())["packages"]
    assert [name for name, entry in packages.items() if "resolved" in entry] == []


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("anthropic", "pydantic", "sqlite_utils", "ipywidgets", "anywidget", "jupyter_server", "importlib.metadata")
    code = f"import sys, jupyter_agent; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-Sc", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_namesake_installed_beside_us_is_refused_in_one_sentence(tmp_path: Path) -> None:
    namesake = tmp_path / "jupyter_agent-1.0.dist-info"
    namesake.mkdir()
    (namesake / "METADATA").write_text("Metadata-Version: 2.1\nName: jupyter-agent\nVersion: 1.0\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    code = "import jupyter_agent\ntry:\n    jupyter_agent.AgentPanel\nexcept ImportError as error:\n    print(error)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "unrelated distribution 'jupyter-agent'" in done.stdout
    assert done.stdout.count("\n") == 1
