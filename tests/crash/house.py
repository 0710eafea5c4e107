"""A process to kill: a ``SessionHost`` over a Unix socket, forked from a process that has all imports behind it.

::

    test process            zygote (imports once, one thread)        house (one a life)
    ────────────            ─────────────────────────────────        ──────────────────
    {"data": …, …}  ─stdin─►  fork ─────────────────────────────────►  SessionHost, real SQLite
                   ◄stdout─  {"pid": 17}                               connects back to the test's socket
    {"reap": 17}   ─stdin─►  waitpid ◄───────────────── os._exit(137) or SIGKILL
                   ◄stdout─  {"status": 137}

A fork costs 20 ms where a start of Python with all imports costs two seconds, so
that a sweep can kill at every commit. Nothing of it is pretended: the process,
its death and what it leaves on the disk are real.

On the socket, one JSON object a line: ``{"open": view}``, ``{"close": view}``,
``{"view": view, "frame": …}`` both ways, ``{"create": {…}}`` answered
``{"created": id}``, and ``{"end": true}`` for a calm end.
"""

# What it reads is JSON that may be anything: types would be claims.
# pyright: basic

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from jupyter_agent.agent.claude import ClaudeModel
from jupyter_agent.agent.model import ApiMessage, ModelRequest
from jupyter_agent.session.connection import Connection
from jupyter_agent.session.host import SessionHost
from jupyter_agent.settings import Settings
from jupyter_agent.store import failpoints
from jupyter_agent.tools.toolbox import Toolbox
from tests.fakes import DiskWorkspace
from tests.roads import write_notebook

Json = dict[str, Any]
LINE_BYTES = 64 << 20


class House:
    """One life of the host."""

    def __init__(self, host: SessionHost, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._writer = writer
        self._views: dict[str, Connection] = {}

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Do what is asked until the end."""
        while line := await reader.readline():
            wish = json.loads(line)
            match wish:
                case {"open": str(view), "session": str(session)}:
                    self._open(view, session)
                case {"close": str(view)}:
                    self._views.pop(view).close()
                case {"view": str(view), "frame": frame}:
                    self._views[view].receive(frame)
                case {"create": create}:
                    self._say({"created": (await self._host.create(**create)).id})
                case _:
                    return

    def _open(self, view: str, session: str) -> None:
        self._views[view] = self._host.connect(
            session, lambda frame: self._say({"view": view, "frame": frame.data}), user="me", road="panel"
        )

    def _say(self, what: Json) -> None:
        self._writer.write(json.dumps(what).encode() + b"\n")


async def live(wish: Json) -> None:
    """Live one life."""
    reader, writer = await asyncio.open_unix_connection(wish["socket"], limit=LINE_BYTES)
    settings = Settings(**{"auto_title": False, **wish["settings"], "data_dir": Path(wish["settings"]["data_dir"])})
    model = ClaudeModel(settings)
    workspace = DiskWorkspace(Path(wish["notebooks"]), settings)
    host = SessionHost(settings, workspace=workspace, model=model, toolbox=Toolbox(settings))
    host.start()
    await House(host, writer).serve(reader)
    await host.close()
    await model.close()
    await workspace.close()
    writer.close()


def _be_born(wish: Json) -> None:
    """In the child: never return."""
    log = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDWR)
    for new, old in ((nothing, 0), (nothing, 1), (log, 2)):
        os.dup2(new, old)
    try:
        failpoints.arm(wish["failpoint"])
        asyncio.run(live(wish))
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


async def _warm_up() -> None:
    """Read a notebook, and ask a model that is not there: what that imports need not be imported in each life."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        write_notebook(Path(folder), "a.ipynb")
        settings = Settings(data_dir=Path(folder), base_url="http://127.0.0.1:9", api_key="none", max_attempts=1)
        model, workspace, toolbox = ClaudeModel(settings), DiskWorkspace(Path(folder), settings), Toolbox(settings)
        await workspace.insert("a.ipynb", cell_type="code", source="", after="first", before=None, op_id="warm")
        said = [ApiMessage(role="user", content=[{"type": "text", "text": "?"}])]
        request = ModelRequest(
            model=settings.model, system=[], tools=toolbox.definitions(), messages=said, session_id="warm"
        )
        async for _ in model.stream(request):
            pass
        await model.close()
        await workspace.close()


def main() -> None:
    """Fork when asked, reap when asked."""
    asyncio.run(_warm_up())
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(10)  # Workers end with their loop, a moment later.
    assert threading.active_count() == 1, f"a process with threads must not be forked: {threading.enumerate()}"
    for line in sys.stdin:
        wish = json.loads(line)
        if "reap" in wish:
            _, status = os.waitpid(wish["reap"], 0)
            answer = {"status": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if pid == 0:
                _be_born(wish)
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
