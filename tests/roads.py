"""The three roads a view can come by; a behaviour is one test over all of them.

::

    memory   SessionHost in the test's own process
    socket   a real Jupyter server, its WebSocket
    comm     the same server, a real kernel, an ``AgentPanel`` in it, comm messages
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from jupyter_agent.session.host import SessionHost
from tests.hosts.running_server import Page, PanelView, RunningServer
from tests.stranger import Stranger

CELLS: list[dict[str, Any]] = [
    {"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# Numbers"},
    {
        "cell_type": "code",
        "id": "first",
        "metadata": {},
        "source": "x = 20 + 1",
        "outputs": [],
        "execution_count": None,
    },
]


def write_notebook(folder: Path, name: str) -> None:
    """Put a small notebook on disk."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    body = {"cells": CELLS, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / name).write_text(json.dumps(body), encoding="utf-8")


class Road(Protocol):
    """How the tests reach a session."""

    name: str
    notebooks: Path

    def session(self, **wish: Any) -> AbstractAsyncContextManager[str]:
        """Make a session of a notebook of its own."""
        ...

    def view(self, session_id: str) -> AbstractAsyncContextManager[Stranger]:
        """Look at it."""
        ...


class MemoryRoad:
    """No wire at all."""

    name = "memory"

    def __init__(self, host: SessionHost, notebooks: Path) -> None:
        self.host = host
        self.notebooks = notebooks

    @asynccontextmanager
    async def session(self, **wish: Any) -> AsyncGenerator[str]:
        """Make a session of a notebook of its own."""
        name = f"{uuid.uuid4().hex}.ipynb"
        write_notebook(self.notebooks, name)
        yield (await self.host.create(notebook_path=name, **wish)).id

    @asynccontextmanager
    async def view(self, session_id: str) -> AsyncGenerator[Stranger]:
        """Look at it."""
        stranger = Stranger(lambda command: connection.receive(command))
        connection = self.host.connect(session_id, lambda frame: stranger.hear(frame.data), user="me", road="panel")
        try:
            yield stranger
        finally:
            connection.close()


class SocketRoad:
    """A Jupyter server's WebSocket."""

    name = "socket"

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.notebooks = server.notebooks

    @asynccontextmanager
    async def session(self, **wish: Any) -> AsyncGenerator[str]:
        """Make a session of a notebook of its own."""
        name = f"{uuid.uuid4().hex}.ipynb"
        write_notebook(self.notebooks, name)
        yield await self.server.new_session(notebook_path=name, **wish)

    @asynccontextmanager
    async def view(self, session_id: str) -> AsyncGenerator[Stranger]:
        """Look at it."""
        async with self.server.view(session_id) as socket:
            stranger = Stranger(socket.send)
            socket.listeners.append(stranger.hear)
            yield stranger


class CommRoad(SocketRoad):
    """A panel in a kernel of the session's notebook."""

    name = "comm"

    def __init__(self, server: RunningServer) -> None:
        super().__init__(server)
        self._pages: dict[str, Page] = {}

    @asynccontextmanager
    async def session(self, **wish: Any) -> AsyncGenerator[str]:
        """Make a session whose notebook has a kernel."""
        name = f"{uuid.uuid4().hex}.ipynb"
        write_notebook(self.notebooks, name)
        async with AsyncExitStack() as stack:
            session_id = await self.server.new_session(notebook_path=name, **wish)
            self._pages[session_id] = await stack.enter_async_context(self.server.notebook_page(name, CELLS))
            yield session_id

    @asynccontextmanager
    async def view(self, session_id: str) -> AsyncGenerator[Stranger]:
        """Show a panel on it."""
        page = self._pages[session_id]
        # Two views are two cells: a cell that is run again lets go of its earlier panel.
        code, cell_id = f"panel = AgentPanel(session_id={session_id!r})\npanel", uuid.uuid4().hex
        panel: PanelView = await page.open_panel(code, cell_id)
        stranger = Stranger(lambda command: panel.post({"command": command}))
        heard = 0

        def look(_message: Any) -> None:
            nonlocal heard
            customs = panel.customs(page.heard)
            for custom in customs[heard:]:
                for frame in custom.get("frames", []):
                    if "type" in frame or "batch" in frame:
                        stranger.hear(frame)
            heard = len(customs)

        page.channel.listeners.append(look)
        await panel.wait_for(lambda custom: "hello" in custom)
        yield stranger
        page.channel.listeners.remove(look)
