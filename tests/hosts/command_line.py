"""The command line as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.hosts.running_server import ROOT


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def agent(*arguments: str, stdin: str = "", first: Callable[[], None] | None = None, **variables: str) -> Done:
    """Run a command; its process does ``first`` before."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANTHROPIC", "JUPYTER"))}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "error"),
        "JUPYTER_PLATFORM_DIRS": "1",
        **variables,
    }

    def run() -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "jupyter_agent.hosts.cli", *arguments],
            input=stdin.encode(),
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
            preexec_fn=first,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    done = await asyncio.to_thread(run)
    assert "Traceback" not in done.err
    return done
