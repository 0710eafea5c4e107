"""Show the working copy's front end and server config to the Jupyter of this environment.

An editable install links Python alone; this links what a wheel would have
installed beside it. Where links are not allowed (Windows), it copies.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PREFIX = Path(sys.prefix)
LINKS = {
    "jupyter_agent/labextension": "share/jupyter/labextensions/jupyter-agent-panel",
    "jupyter_agent/etc/jupyter_agent.json": "etc/jupyter/jupyter_server_config.d/jupyter_agent.json",
}


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.is_dir():
        shutil.rmtree(target)
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)


for source, target in LINKS.items():
    link(ROOT / source, PREFIX / target)
