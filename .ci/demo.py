"""Open JupyterLab on the first notebook, with the side panel open.

Works on a copy in ``.demo/``, so that playing with it leaves the repository
clean; what is there already is kept. Sessions, layout and settings are the
demo's own and lie there, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = ROOT / ".demo"
HIDDEN = SCRATCH / ".jupyter"
FIRST = "01-first-look.ipynb"


def copy_notebooks() -> None:
    SCRATCH.mkdir(exist_ok=True)
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if not (target := SCRATCH / source.name).exists():
            shutil.copy(source, target)


def prepare_lab() -> dict[str, str]:
    """Give the demo settings and a layout of its own, and spare it JupyterLab's question about news."""
    settings = HIDDEN / "settings"
    notification = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    if not notification.exists():
        notification.parent.mkdir(parents=True)
        notification.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    return {"JUPYTERLAB_SETTINGS_DIR": str(settings), "JUPYTERLAB_WORKSPACES_DIR": str(HIDDEN / "workspaces")}


def command() -> list[str]:
    as_root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [
        *(sys.executable, "-m", "jupyterlab"),
        f"--ServerApp.root_dir={SCRATCH}",
        f"--LabApp.default_url=/lab/tree/{FIRST}",
        "--AgentExtension.open_panel=True",
        f"--AgentExtension.data_dir={HIDDEN / 'sessions'}",
        *as_root,
        *sys.argv[1:],
    ]


def main() -> int:
    copy_notebooks()
    environment = prepare_lab()
    print("The panel says who answers: Claude, or without a key the demo model.", flush=True)
    print("If no browser opens, use the address that JupyterLab prints below. Ctrl+C twice ends it.", flush=True)
    try:
        return subprocess.call(command(), cwd=SCRATCH, env=os.environ | environment)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
