"""Run the tests on the oldest versions that pyproject.toml promises.

Resolved by uv (``--resolution lowest-direct``) into an environment of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venvs" / "oldest"


def main() -> int:
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # Old versions warn about what their successors have changed long ago: that is not ours to mend.
    environment = os.environ | {"HATCH_JUPYTER_BUILDER_SKIP_NPM": "1", "PYTHONWARNINGS": "ignore"}
    run(environment, sys.executable, "-m", "pip", "install", "--quiet", "uv")
    run(environment, sys.executable, "-m", "uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV))
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    run(environment, *install, "--resolution", "lowest-direct", "-e", ".[test]")
    run(environment, str(python), ".ci/link.py")
    chromium = subprocess.run([sys.executable, "tests/chromium.py"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    environment |= {"CHROMIUM": chromium.stdout.decode().strip()}
    pytest = [str(python), "-m", "pytest", "-W", "default", *sys.argv[1:]]
    return subprocess.call(pytest, cwd=ROOT, env=environment)


def run(environment: dict[str, str], *command: str) -> None:
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main())
