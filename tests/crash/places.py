"""Where a session lives while it is killed: a forked host, or a whole Jupyter server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from jupyter_agent.store.failpoints import VARIABLE
from tests.hosts.running_server import API, ROOT, RunningServer, WebSocket
from tests.model_server import ModelServer

Json = dict[str, Any]
BOUND_S = 100.0


class Place(Protocol):
    """One data directory, and a process that comes and goes."""

    kind: str
    """What the table calls it."""
    notebooks: Path
    sessions: Path
    dead: asyncio.Event
    """Set once the process is gone and nothing more will be heard of it."""

    async def start(self, failpoint: str | None = None) -> None:
        """Live, once more."""
        ...

    async def create(self, **wish: Any) -> str | None:
        """Make a session; None when the process died of it."""
        ...

    async def view(self, session: str, hear: Callable[[Json], object]) -> Callable[[Json], object] | None:
        """Look at a session; return what sends it commands, None when the process died."""
        ...

    def kill(self) -> None:
        """Kill -9."""
        ...

    async def end(self) -> int:
        """End calmly, if it still lives; return the exit status."""
        ...

    def said(self) -> str:
        """What the lives have written to their logs."""
        ...


class Zygote:
    """The process that houses are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.house"],
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if not k.startswith("ANTHROPIC") and k != VARIABLE},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, wish: Json) -> Json:
        """Have one thing done."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(wish) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    def stop(self) -> None:
        """End it."""
        self._process.communicate(timeout=BOUND_S)


class ForkedHost:
    """A ``SessionHost`` in a process of its own (``Place``)."""

    kind = "forked host"

    def __init__(self, zygote: Zygote, folder: Path, claude: ModelServer, **settings: Any) -> None:
        self.notebooks = folder
        self.sessions = folder / "data" / "sessions"
        self.dead = asyncio.Event()
        self._zygote = zygote
        self._log = folder / "log"
        # The path of a Unix socket must be short.
        self._run = Path(tempfile.mkdtemp(prefix="house-"))
        self._settings = {
            "data_dir": str(folder / "data"), "base_url": claude.url, "api_key": claude.key, "idle_s": 0.2,
            "recovery_backoff_s": 0.1, **settings,
        }  # fmt: skip
        self._pid = 0
        self._views: dict[str, Callable[[Json], object]] = {}
        self._created: asyncio.Queue[str] = asyncio.Queue()
        self._writer: asyncio.StreamWriter | None = None
        self._listener: asyncio.Task[None] | None = None

    async def start(self, failpoint: str | None = None) -> None:
        path = str(self._run / "socket")
        arrived: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        arrived = asyncio.get_running_loop().create_future()
        server = await asyncio.start_unix_server(lambda r, w: arrived.set_result((r, w)), path, limit=64 << 20)
        wish = {
            "socket": path, "notebooks": str(self.notebooks), "settings": self._settings, "failpoint": failpoint,
            "log": str(self._log),
        }  # fmt: skip
        self.dead = asyncio.Event()
        self._views = {}
        self._pid = (await asyncio.to_thread(self._zygote.ask, wish))["pid"]
        try:
            reader, self._writer = await asyncio.wait_for(arrived, BOUND_S)
        except TimeoutError:
            raise AssertionError(f"the house did not come up:\n{self.said()}") from None
        finally:
            server.close()
            await asyncio.to_thread(Path(path).unlink, missing_ok=True)
        self._listener = asyncio.get_running_loop().create_task(self._listen(reader, self.dead))

    async def _listen(self, reader: asyncio.StreamReader, dead: asyncio.Event) -> None:
        with contextlib.suppress(ConnectionError):
            while (line := await reader.readline()).endswith(b"\n"):
                said = json.loads(line)
                if "created" in said:
                    self._created.put_nowait(said["created"])
                elif said["view"] in self._views:
                    self._views[said["view"]](said["frame"])
        dead.set()

    def _tell(self, wish: Json) -> None:
        assert self._writer is not None
        if not self.dead.is_set() and not self._writer.is_closing():
            self._writer.write(json.dumps(wish).encode() + b"\n")

    async def create(self, **wish: Any) -> str | None:
        self._tell({"create": wish})
        return await _or_dead(self._created.get(), self.dead)

    async def view(self, session: str, hear: Callable[[Json], object]) -> Callable[[Json], object] | None:
        name = f"view-{len(self._views)}"
        self._views[name] = hear
        self._tell({"open": name, "session": session})
        return lambda command: self._tell({"view": name, "frame": command})

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    async def end(self) -> int:
        self._tell({"end": True})
        await asyncio.wait_for(self.dead.wait(), BOUND_S)
        if self._listener is not None:
            await self._listener
        if self._writer is not None:
            self._writer.close()
        return (await asyncio.to_thread(self._zygote.ask, {"reap": self._pid}))["status"]

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def close(self) -> None:
        """Remove what it needed to be reached."""
        shutil.rmtree(self._run, ignore_errors=True)


OURS_ALONE = {
    "jupyter_agent": True,
    **dict.fromkeys(("jupyterlab", "notebook", "notebook_shim", "jupyter_lsp", "jupyter_server_terminals"), False),
}
"""Nobody looks at pages here, and a server without theirs starts twice as fast."""


class JupyterPlace:
    """A Jupyter server with its contents manager, its sockets and our extension (``Place``)."""

    kind = "whole server"

    def __init__(self, folder: Path, claude: ModelServer) -> None:
        self._folder = folder
        self.notebooks = folder / "notebooks"
        self.sessions = folder / "data" / "jupyter_agent" / "sessions"
        self.dead = asyncio.Event()
        folder.mkdir(parents=True, exist_ok=True)
        key_file = folder / "key"
        key_file.write_text(claude.key, encoding="utf-8")
        self._options = (
            "--AgentExtension.demo=False",
            f"--AgentExtension.base_url={claude.url}",
            f"--AgentExtension.api_key_file={key_file}",
            "--AgentExtension.recovery_backoff_s=0.1",
        )
        self._server: RunningServer | None = None
        self._sockets: list[WebSocket] = []
        self._watch: asyncio.Task[None] | None = None
        self._log = ""

    async def start(self, failpoint: str | None = None) -> None:
        self.dead = asyncio.Event()
        variables = {} if failpoint is None else {VARIABLE: failpoint}
        server = await asyncio.to_thread(
            RunningServer, self._folder, *self._options, variables=variables, extensions=OURS_ALONE
        )
        self._server = server
        self._watch = asyncio.get_running_loop().create_task(self._until_dead(server, self.dead))

    async def _until_dead(self, server: RunningServer, dead: asyncio.Event) -> None:
        await asyncio.to_thread(server.process.wait)
        await asyncio.gather(*(socket.close() for socket in self._sockets), return_exceptions=True)
        self._sockets = []
        dead.set()

    async def create(self, **wish: Any) -> str | None:
        assert self._server is not None
        try:
            return await self._server.new_session(**wish)
        except Exception:
            await asyncio.wait_for(self.dead.wait(), BOUND_S)
            return None

    async def view(self, session: str, hear: Callable[[Json], object]) -> Callable[[Json], object] | None:
        assert self._server is not None
        try:
            socket = await self._server.connect(f"{API}/sessions/{session}/connect")
        except Exception:
            await asyncio.wait_for(self.dead.wait(), BOUND_S)
            return None
        socket.listeners.append(hear)
        self._sockets.append(socket)

        def send(command: Json) -> None:
            with contextlib.suppress(Exception):  # It is gone; the outbox remembers.
                socket.send(command)

        return send

    def kill(self) -> None:
        assert self._server is not None
        self._server.process.kill()

    async def end(self) -> int:
        assert self._server is not None
        if not self.dead.is_set():
            self._server.process.terminate()
        await asyncio.wait_for(self.dead.wait(), BOUND_S)
        await asyncio.to_thread(self._server.stop)
        self._log += "".join(self._server.log)
        assert self._server.tracebacks == ""
        return self._server.process.returncode

    def said(self) -> str:
        return self._log


async def _or_dead(coroutine: Any, dead: asyncio.Event) -> Any:
    """Return the result, or None when the process dies first."""
    wanted = asyncio.ensure_future(coroutine)
    gone = asyncio.ensure_future(dead.wait())
    try:
        async with asyncio.timeout(BOUND_S):
            await asyncio.wait({wanted, gone}, return_when=asyncio.FIRST_COMPLETED)
        return wanted.result() if wanted.done() else None
    finally:
        for task in (wanted, gone):
            task.cancel()
