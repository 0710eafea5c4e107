"""Open JupyterLab on the first notebook, with the side panel open.

Works on a copy in ``.demo/``, so that playing with it leaves the repository
clean; what is there already is kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = ROOT / ".demo"
FIRST = "01-first-look.ipynb"


def copy_notebooks() -> None:
    SCRATCH.mkdir(exist_ok=True)
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if not (target := SCRATCH / source.name).exists():
            shutil.copy(source, target)


def command() -> list[str]:
    as_root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [
        *(sys.executable, "-m", "jupyterlab"),
        f"--ServerApp.root_dir={SCRATCH}",
        f"--LabApp.default_url=/lab/tree/{FIRST}",
        "--AgentExtension.open_panel=True",
        # No questions, and no look at the network, before the first word.
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        *as_root,
        *sys.argv[1:],
    ]


def main() -> int:
    copy_notebooks()
    keyed = any(os.environ.get(name) for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"))
    print("Claude answers." if keyed else "No ANTHROPIC_API_KEY is set: the demo model answers.", flush=True)
    print("If no browser opens, use the address that JupyterLab prints below. Ctrl+C twice ends it.", flush=True)
    try:
        return subprocess.call(command(), cwd=SCRATCH)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
