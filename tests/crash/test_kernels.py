"""A server that dies while a cell runs: its kernel dies too, or goes on alone. The cell runs once either way."""

# What it reads is JSON that may be anything: types would be claims.
# pyright: basic

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyter_agent.notebook.ports import base_hash
from tests.hosts.running_server import API, RunningServer
from tests.model_server import ModelServer, Reply, Text, ToolUse

from .book import Book, check_log
from .places import BOUND_S, OURS_ALONE
from .user import Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform == "win32", reason="there a kernel watches a handle of its parent, not its number"),
]
Json = dict[str, Any]

OUTLIVE = """
import os, types, ipykernel.parentpoller as poller
poller.os = types.SimpleNamespace(getppid=lambda number=os.getppid(): number)
"""
"""What a kernel far away is like: it does not notice that its server is gone."""
CELL = """
import os, time
from pathlib import Path
with Path("ran").open("a") as file:
    print(os.getpid(), file=file)
while not Path("go").exists():
    time.sleep(0.05)
Path("done").touch()
"""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody tells."""
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110 -- another process does it
            await asyncio.sleep(0.05)


def is_gone(pid: int) -> bool:
    """Tell whether a process is no more; whoever should bury it may be gone as well."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def write(folder: Path, source: str) -> None:
    """Put a notebook with one cell on disk."""
    cell = {
        "cell_type": "code", "id": "first", "metadata": {}, "source": source, "outputs": [], "execution_count": None,
    }  # fmt: skip
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    body = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.ipynb").write_text(json.dumps(body), encoding="utf-8")


@pytest.mark.parametrize("outlives", [False, True], ids=["the kernel dies too", "the kernel goes on alone"])
async def test_a_cell_that_ran_when_the_server_died_is_told_to_be_unknown_and_not_run_again(
    tmp_path: Path, *, outlives: bool
) -> None:
    source = (OUTLIVE if outlives else "") + CELL
    ran = tmp_path / "notebooks" / "ran"
    write(ran.parent, source)
    with ModelServer() as claude:
        wish = {"cell_id": "first", "base_hash": base_hash("code", source)}
        claude.script([Reply(Text("I run it. "), ToolUse("run_cell", wish)), "I shall look first."])
        (tmp_path / "key").write_text(claude.key, encoding="utf-8")
        options = (
            "--AgentExtension.demo=False",
            f"--AgentExtension.base_url={claude.url}",
            f"--AgentExtension.api_key_file={tmp_path / 'key'}",
            "--AgentExtension.recovery_backoff_s=0.1",
        )
        page, pid = Page(), 0
        dead = server = await asyncio.to_thread(RunningServer, tmp_path, *options, extensions=OURS_ALONE)
        try:
            session = await server.new_session(notebook_path="a.ipynb")
            socket = await server.connect(f"{API}/sessions/{session}/connect")
            socket.listeners.append(page.hear)
            page.come_back(socket.send)
            await page.up_to_date.wait()
            page.give("message.send", id="msg_run", parts=[{"type": "text", "text": "Run it."}])
            asked = (await page.event("approval.requested", within=BOUND_S))["d"]["approval"]
            page.give("approval.answer", id=asked["id"], rev=asked["rev"], decision="allow", scope="once")
            await until(lambda: ran.exists() and ran.read_text().endswith("\n"))
            pid = int(ran.read_text())
            server.process.kill()
            dead = server  # Its log stays open as long as the kernel, which writes there too, lives.
            await asyncio.to_thread(dead.process.wait)
            await socket.close()
            page.lose()
            if outlives:
                ran.with_name("go").touch()
                await until(ran.with_name("done").exists)
                assert not is_gone(pid)
            else:
                await until(lambda: is_gone(pid))
            server = await asyncio.to_thread(RunningServer, tmp_path, *options, extensions=OURS_ALONE)
            socket = await server.connect(f"{API}/sessions/{session}/connect")
            socket.listeners.append(page.hear)
            page.come_back(socket.send)
            await page.event("turn.ended", within=BOUND_S, outcome="completed")
            await socket.close()
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                if pid and not is_gone(pid):
                    psutil.Process(pid).kill()
            for one in {dead, server}:
                await asyncio.to_thread(one.stop)
        assert page.fault is None
        (call,) = page.tools
        assert (call["state"], call["reason"], call["running"]) == ("output-error", "interrupted", False)
        for word in ("may or may not have completed", "kernel"):
            assert word in call["error"]
        (told,) = claude.requests[-1].tool_results
        assert told["is_error"]
        assert "may or may not have completed" in str(told["content"])
        assert len(ran.read_text().split()) == 1, "the cell ran again"
        assert claude.refusals == []
    assert server.tracebacks == ""
    check_log(Book(tmp_path / "data" / "jupyter_agent" / "sessions" / session).log(), at_rest=True)
