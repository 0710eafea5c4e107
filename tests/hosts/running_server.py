"""A real Jupyter Server in a process of its own, and what talks to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.websocket import WebSocketClientConnection, websocket_connect

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
API = "/jupyter-agent/api/v1"
TOKEN = "secret-token-of-the-test-server"
BOUND_S = 45.0
BROKEN = 1006
"""No close frame came. No socket of ours may end so, unless its server was killed."""
FORGOTTEN = "was never (awaited|retrieved)|was destroyed but it is pending"
KERNELS = r"ipykernel|'Kernel\.dispatch_"


def free_port() -> int:
    """Return a port to name: before 2.16, a server that chooses one itself prints 0."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class RunningServer:
    """Start it, ask it, end it."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        extensions: dict[str, bool] | None = None,
        path: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        app: str = "jupyter_server",
        port: int | None = None,
    ) -> None:
        self.directory = directory
        self.notebooks = directory / "notebooks"
        self.notebooks.mkdir(parents=True, exist_ok=True)
        self.log: list[str] = []
        self.sockets: list[WebSocket] = []
        self._ready = threading.Event()
        self.base = ""
        enabled = {"jupyter_agent": True, "probe": True} if extensions is None else extensions
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANTHROPIC", "JUPYTER"))}
        # As when installed: a server that compiles us at every start would look slower than it is.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment |= {
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT), str(Path(__file__).parent), *path, os.environ.get("PYTHONPATH", "")]
            ),
            "JUPYTER_CONFIG_DIR": str(directory / "config"),
            "JUPYTER_DATA_DIR": str(directory / "data"),
            "JUPYTER_RUNTIME_DIR": str(directory / "runtime"),
            "JUPYTER_PLATFORM_DIRS": "1",
            "IPYTHONDIR": str(directory / "ipython"),
            "PYTHONUNBUFFERED": "1",
            **(variables or {}),
        }
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", app, "--no-browser", "--allow-root"),
                f"--ServerApp.port={port or free_port()}",
                "--ServerApp.ip=127.0.0.1",
                f"--ServerApp.root_dir={self.notebooks}",
                f"--IdentityProvider.token={TOKEN}",
                f"--ServerApp.jpserver_extensions={enabled!r}",
                *([] if any("demo" in option for option in options) else ["--AgentExtension.demo=True"]),
                # A name would come at any time, and be one request more: whoever wants it says so.
                *([] if any("auto_title" in option for option in options) else ["--AgentExtension.auto_title=False"]),
                *options,
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if not self._ready.wait(60) or not self.base:
            self.stop()
            raise RuntimeError("the server did not start:\n" + "".join(self.log))
        self._await_port()

    def _await_port(self) -> None:
        """The address is printed a moment before anybody listens there."""
        host, port = self.base.removeprefix("http://").split(":")
        until = time.monotonic() + BOUND_S
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=BOUND_S).close()
                return
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if "http://127.0.0.1:" in line and not self.base:
                self.base = "http://127.0.0.1:" + line.split("http://127.0.0.1:")[1].split("/")[0]
                self._ready.set()
        self._ready.set()  # it ended

    def kill(self) -> int:
        """End it as a power cut does; return its port, for the next one."""
        self.process.kill()
        self.process.wait(5)
        self.stop()
        return int(self.base.rpartition(":")[2])

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(BOUND_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()
        broken = [socket.path for socket in self.sockets if socket.close_code == BROKEN]
        assert not broken or self.process.returncode != 0, f"these sockets broke off without a goodbye: {broken}"

    @property
    def tracebacks(self) -> str:
        """What it logged that nobody should have to read."""
        # Kernels and Jupyter Server have tracebacks of their own, e.g. of a kernel that ends in the middle of a
        # cell; ours are those that come through our package.
        lines = list(self.log)
        # ipykernel forgets tasks of its own when it ends; the line says whose it was, or the line after.
        pairs = zip(lines, [*lines[1:], ""], strict=True)
        forgotten = [
            line for line, below in pairs if re.search(FORGOTTEN, line) and not re.search(KERNELS, line + below)
        ]
        found = re.findall(r"Traceback \(most recent call last\):\n(?:(?!\[[A-Z] ).*\n)*", "".join(self.log))
        return "\n".join([*(text for text in found if "/jupyter_agent/" in text.replace("\\", "/")), *forgotten])

    # -- asking ------------------------------------------------------------------------

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = TOKEN,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> tuple[int, Any]:
        """Return the status and the parsed body."""
        response = await self.ask_raw(method, path, body, token=token, headers=headers, raw=raw)
        text = response.body.decode() if response.body else ""
        return response.code, json.loads(text) if text.startswith(("{", "[")) else text

    async def ask_raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = TOKEN,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> HTTPResponse:
        """Return the response, whatever its status."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"token {token}"
        if raw is None and body is not None:
            raw = json.dumps(body).encode()
        if raw is None and method in ("POST", "PATCH", "PUT"):
            raw = b""
        request = HTTPRequest(self.base + path, method=method, headers=sent, body=raw, follow_redirects=False)
        request.request_timeout = BOUND_S
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    async def cookies(self) -> str:
        """Sign in and return what a browser would send from then on."""
        response = await self.ask_raw("GET", f"{API}/status")
        return "; ".join(cookie.split(";")[0] for cookie in response.headers.get_list("Set-Cookie"))

    async def connect(
        self, path: str, *, token: str | None = TOKEN, headers: dict[str, str] | None = None
    ) -> WebSocket:
        """Open a WebSocket; a refusal raises ``HTTPClientError``."""
        headers = (headers or {}) | ({} if token is None else {"Authorization": f"token {token}"})
        url = self.base.replace("http", "ws", 1) + path
        request = HTTPRequest(url, headers=headers, connect_timeout=BOUND_S)
        opened = WebSocket(await websocket_connect(request), path)
        if path.startswith(API):
            self.sockets.append(opened)
        return opened

    async def new_session(self, **wish: Any) -> str:
        """Create a session and return its id."""
        status, body = await self.ask("POST", f"{API}/sessions", wish)
        assert status == 201, body
        return body["session"]["id"]

    @asynccontextmanager
    async def view(self, session_id: str) -> AsyncGenerator[WebSocket, None]:
        """Open the session's own WebSocket."""
        view = await self.connect(f"{API}/sessions/{session_id}/connect")
        try:
            yield view
        finally:
            await view.close()

    @asynccontextmanager
    async def notebook_page(self, name: str, cells: list[Json] | None = None) -> AsyncGenerator[Page, None]:
        """Start a kernel for a notebook and look at it as a page does."""
        notebook: Json = {"cells": cells or [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (self.notebooks / name).write_text(json.dumps(notebook))
        wish = {"path": name, "type": "notebook", "name": name, "kernel": {"name": "python3"}}
        status, session = await self.ask("POST", "/api/sessions", wish)
        assert status == 201, session
        kernel_id = session["kernel"]["id"]
        channel = await self.connect(f"/api/kernels/{kernel_id}/channels?session_id={uuid.uuid4().hex}")
        page = Page(self, channel, kernel_id)
        try:
            await page.ready()
            yield page
        finally:
            await page.close()
            await self.ask("DELETE", f"/api/sessions/{session['id']}")


class WebSocket:
    """A socket that remembers all it heard."""

    def __init__(self, socket: WebSocketClientConnection, path: str) -> None:
        self.socket = socket
        self.path = path
        self.heard: list[Json] = []
        self.listeners: list[Callable[[Json], object]] = []
        self.close_code: int | None = None
        self._news = asyncio.Condition()
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while (message := await self.socket.read_message()) is not None:
            async with self._news:
                self.heard.append(json.loads(message))
                for listen in list(self.listeners):
                    listen(self.heard[-1])
                self._news.notify_all()
        self.close_code = self.socket.close_code or BROKEN
        async with self._news:
            self._news.notify_all()

    def send(self, value: Any) -> None:
        text = value if isinstance(value, (str, bytes)) else json.dumps(value)
        self.socket.write_message(text, binary=isinstance(text, bytes))

    def command(self, tag: str, cmd_id: str = "", **body: Any) -> str:
        """Send one protocol command and return its id."""
        cmd_id = cmd_id or str(uuid.uuid4())
        self.send({"v": 1, "cmd_id": cmd_id, "type": tag, "d": body})
        return cmd_id

    async def wait_for(self, wanted: Callable[[Json], bool], *, after: int = 0, within: float = BOUND_S) -> Json:
        """Return the first message that fits, heard before or yet to come."""
        async with asyncio.timeout(within), self._news:
            seen = after
            while True:
                for message in self.heard[seen:]:
                    if wanted(message):
                        return message
                seen = len(self.heard)
                if self.close_code is not None:
                    raise AssertionError(f"the socket closed ({self.close_code}); heard {self.heard[-5:]}")
                await self._news.wait()

    async def event(self, tag: str, **kwargs: Any) -> Json:
        """Return the first event with this tag, taken out of its batch."""
        frame = await self.wait_for(lambda m: any(e["type"] == tag for e in events_of(m)), **kwargs)
        return next(e for e in events_of(frame) if e["type"] == tag)

    async def ack(self, cmd_id: str) -> Json:
        """Return the answer to a command."""
        frame = await self.wait_for(lambda m: m.get("type") == "ack" and m["d"]["cmd_id"] == cmd_id)
        return frame["d"]

    async def closed(self, within: float = BOUND_S) -> int:
        """Wait for the server to close and return the code."""
        async with asyncio.timeout(within):
            await asyncio.shield(self._task)
        assert self.close_code is not None
        return self.close_code

    async def close(self) -> None:
        # The other end says the same code when it has read it: then the close was a clean one, on both ends.
        self.socket.close(1000)
        await self.closed()


class Page:
    """A notebook page: it runs cells, and holds the other end of widgets' comms."""

    def __init__(self, server: RunningServer, channel: WebSocket, kernel_id: str) -> None:
        self.server = server
        self.channel = channel
        self.kernel_id = kernel_id
        self.session = uuid.uuid4().hex
        self.subshell: str | None = None

    @property
    def heard(self) -> list[Json]:
        """Every message of the kernel."""
        return self.channel.heard

    async def ready(self) -> None:
        """Wait for the kernel, and take a subshell for comms as JupyterLab does, where the kernel has any."""
        asked: set[str] = set()
        for _ in range(40):
            # What a kernel says while it starts may be missed, so it is asked until it is heard.
            asked.add(self.send("shell", "kernel_info_request", {}))
            with contextlib.suppress(TimeoutError):
                answered = await self.idle(*asked, within=1.5)
                break
        else:
            raise AssertionError("the kernel does not answer")
        info = await self.reply("kernel_info_reply", answered)
        self.subshell = None
        if "kernel subshells" in info.get("supported_features", []):
            made = await self.reply("create_subshell_reply", self.send("control", "create_subshell_request", {}))
            self.subshell = made["subshell_id"]

    async def reply(self, msg_type: str, msg_id: str) -> Json:
        """Wait for the answer to a request and return its content."""
        message = await self.channel.wait_for(
            lambda m: m["msg_type"] == msg_type and m["parent_header"].get("msg_id") == msg_id
        )
        return message["content"]

    def needs_subshell(self) -> None:
        """Skip the test where no comm message is heard beside a running cell: that came with ipykernel 7."""
        if self.subshell is None:
            pytest.skip("before ipykernel 7 a kernel has no subshells: comm messages wait for the running cell")

    def send(self, channel: str, msg_type: str, content: Json, *, subshell: str | None = None, **metadata: Any) -> str:
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": msg_type,
            "username": "",
            "session": self.session,
            "version": "5.3",
            "date": "2026-01-01T00:00:00Z",
        }
        if subshell is not None:
            header["subshell_id"] = subshell
        self.channel.send(
            {"channel": channel, "header": header, "parent_header": {}, "metadata": metadata, "content": content}
        )
        return header["msg_id"]

    def run(self, code: str, cell_id: str = "cell-1") -> str:
        """Start a cell and return its message id."""
        content: Json = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
        }
        return self.send("shell", "execute_request", content, cellId=cell_id)

    async def idle(self, *msg_ids: str, within: float = BOUND_S) -> str:
        """Wait until the kernel is done with a request, or one of several; return which."""
        said = await self.channel.wait_for(
            lambda m: (
                m["msg_type"] == "status"
                and m["content"]["execution_state"] == "idle"
                and m["parent_header"].get("msg_id") in msg_ids
            ),
            within=within,
        )
        return said["parent_header"]["msg_id"]

    async def running(self, msg_id: str) -> None:
        """Wait until a cell runs."""
        await self.channel.wait_for(
            lambda m: m["msg_type"] == "execute_input" and m["parent_header"].get("msg_id") == msg_id
        )

    async def execute(self, code: str, cell_id: str = "cell-1") -> str:
        """Run a cell to its end and return what it printed."""
        msg_id = self.run(code, cell_id)
        await self.idle(msg_id)
        errors = [m for m in self.of(msg_id) if m["msg_type"] == "error"]
        assert not errors, errors[0]["content"]["traceback"]
        return self.printed(msg_id)

    def of(self, msg_id: str) -> list[Json]:
        """All that was said about one request."""
        return [m for m in self.heard if m.get("parent_header", {}).get("msg_id") == msg_id]

    def printed(self, msg_id: str) -> str:
        """What one cell printed."""
        return "".join(m["content"]["text"] for m in self.of(msg_id) if m["msg_type"] == "stream")

    # -- the panel in the page -----------------------------------------------------------

    async def open_panel(self, code: str = "panel = AgentPanel()\npanel", cell_id: str = "cell-1") -> PanelView:
        """Run the cell that shows a panel and mount it."""
        before = len(self.heard)
        await self.execute(f"from jupyter_agent import AgentPanel\n{code}", cell_id)
        opened = await self.channel.wait_for(
            lambda m: m["msg_type"] == "comm_open" and "_esm" in m["content"]["data"].get("state", {}), after=before
        )
        view = PanelView(self, opened["content"]["comm_id"], opened["content"]["data"]["state"])
        view.post({"attach": {}})
        return view

    async def close(self) -> None:
        await self.channel.close()


class PanelView:
    """What the panel's front end does, without a browser."""

    def __init__(self, page: Page, comm_id: str, state: Json) -> None:
        self.page = page
        self.comm_id = comm_id
        self.state = state

    def post(self, content: Json) -> str:
        """Send a custom message, on the page's subshell."""
        data = {"method": "custom", "content": content}
        message = {"comm_id": self.comm_id, "data": data}
        return self.page.send("shell", "comm_msg", message, subshell=self.page.subshell)

    def command(self, tag: str, **body: Any) -> str:
        cmd_id = str(uuid.uuid4())
        self.post({"command": {"v": 1, "cmd_id": cmd_id, "type": tag, "d": body}})
        return cmd_id

    def customs(self, messages: list[Json]) -> list[Json]:
        """The widget's custom messages among ``messages``, pieces put together."""
        whole: list[Json] = []
        pieces: list[str] = []
        for message in messages:
            content = message["content"]
            if message["msg_type"] != "comm_msg" or content.get("comm_id") != self.comm_id:
                continue
            if content["data"].get("method") != "custom":
                continue
            custom = content["data"]["content"]
            if (piece := custom.get("fragment")) is None:
                whole.append(custom)
                continue
            pieces.append(piece["text"])
            if piece["n"] + 1 == piece["of"]:
                whole.append(json.loads("".join(pieces)))
                pieces = []
        return whole

    @property
    def events(self) -> list[Json]:
        """Every event that reached the page, in order."""
        return [e for c in self.customs(self.page.heard) for f in c.get("frames", []) for e in events_of(f)]

    async def wait_for(self, wanted: Callable[[Json], bool], within: float = BOUND_S) -> Json:
        """Return the first custom message that fits."""
        found: list[Json] = []

        def look(_message: Json) -> bool:
            found[:] = [c for c in self.customs(self.page.heard) if wanted(c)]
            return bool(found)

        await self.page.channel.wait_for(look, within=within)
        return found[0]

    async def event(self, tag: str, within: float = BOUND_S, **body: Any) -> Json:
        """Return the first event with this tag and these fields."""

        def fits(event: Json) -> bool:
            return event["type"] == tag and all(event["d"].get(key) == value for key, value in body.items())

        await self.wait_for(lambda c: any(fits(e) for f in c.get("frames", []) for e in events_of(f)), within)
        return next(e for e in self.events if fits(e))

    async def subscribe(self) -> Json:
        """Ask for everything, once the server has answered as the page does, and return the snapshot's body."""
        await self.wait_for(lambda c: "hello" in c)
        self.command("subscribe", since=None, page=25)
        await self.event("caught_up")
        return (await self.event("snapshot"))["d"]


def events_of(frame: Json) -> list[Json]:
    """The events of a frame, alone or a batch."""
    if "batch" in frame:
        return frame["batch"]
    return [frame] if "type" in frame else []


Refused = HTTPClientError
