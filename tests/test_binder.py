"""What a Binder image does when it is built and started."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.hosts.running_server import RunningServer

ROOT = Path(__file__).parent.parent
FIRST = "notebooks/01-first-look.ipynb"


def post_build(tmp_path: Path) -> Path:
    """Run binder/postBuild, all of it but the installation, which tests/test_packaging.py has; return the prefix."""
    home, prefix = tmp_path / "home", tmp_path / "prefix"
    shutil.copytree(ROOT / "binder", home / "binder")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec echo "{prefix}"\n[ "$2" = pip ]\n')
    python.chmod(0o755)
    environment = os.environ | {"HOME": str(home), "PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]])}
    subprocess.run(["bash", home / "binder" / "postBuild"], cwd=home, env=environment, check=True)
    return prefix


@pytest.mark.skipif(os.name == "nt", reason="Binder's images are Linux, and postBuild is a shell script")
@pytest.mark.parametrize("app", ["jupyterlab", "notebook"])
async def test_it_starts_on_the_first_notebook_with_the_panel_open(tmp_path: Path, app: str) -> None:
    prefix = post_build(tmp_path)
    server = RunningServer(
        tmp_path / "server",
        extensions={"jupyter_agent": True, "jupyterlab": True, "notebook": True, "probe": True},
        variables={"JUPYTER_CONFIG_PATH": str(prefix / "etc" / "jupyter")},
        app=app,
    )
    try:
        response = await server.ask_raw("GET", "/")
        _, probe = await server.ask("GET", "/probe")
    finally:
        server.stop()
    assert response.headers["Location"].partition("?")[0] == f"/lab/tree/{FIRST}"
    assert (ROOT / FIRST).is_file()
    assert probe["page_config"]["jupyter_agent"]["open_panel"] is True
    assert (prefix / "share/jupyter/lab/settings/overrides.json").is_file()
    assert not server.tracebacks
