"""Jupyter's own managers in this process, and a page that behaves as ``js/src/bridge.ts`` does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat as untyped_nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from jupyter_server.services.sessions.sessionmanager import SessionManager

from jupyter_agent.notebook.kernel_link import KernelLink
from jupyter_agent.notebook.kernel_links import KernelLinks
from jupyter_agent.notebook.ports import base_hash
from jupyter_agent.notebook.tabs import TabConnection, Tabs
from jupyter_agent.notebook.workspace import JupyterWorkspace
from jupyter_agent.settings import Settings

BOUND_S = 30.0
"""No wait is longer: what takes that long does not come."""

nbformat: Any = untyped_nbformat
"""Without the types that it has only in part."""


@dataclass
class Server:
    """What a Jupyter Server would hand to the workspace."""

    root: Path
    contents: Any
    kernels: Any
    sessions: Any
    links: KernelLinks
    tabs: Tabs
    settings: Settings
    workspace: JupyterWorkspace

    def write(self, name: str, *sources: str, minor: int = 5, kernel: str = "python3") -> Path:
        cells = [nbformat.v4.new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources)]
        metadata = {"kernelspec": {"name": kernel, "language": "python", "display_name": "Python"}}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
        if minor < 5:
            notebook.nbformat_minor = minor
            for cell in notebook.cells:
                del cell["id"]
        path = self.root / name
        nbformat.write(notebook, path, version=nbformat.NO_CONVERT)
        return path

    def load(self, name: str) -> Any:
        return nbformat.read(self.root / name, as_version=nbformat.NO_CONVERT)

    @property
    def waits(self) -> str:
        """Code that runs until ``go``: how long a slow moment takes is nobody's guess."""
        return f"import pathlib, time\nwhile not pathlib.Path({str(self.root / 'go')!r}).exists(): time.sleep(0.01)\n"

    def go(self) -> None:
        (self.root / "go").touch()

    async def kernel(self, name: str) -> KernelLink:
        """The notebook's kernel, started as a tab would."""
        session = await self.sessions.create_session(path=name, name=name, type="notebook", kernel_name="python3")
        link = await self.links.link(session["kernel"]["id"])
        await link.ready()
        await link.wait_idle()
        return link


@contextlib.asynccontextmanager
async def running(root: Path, **settings: Any) -> AsyncGenerator[Server, None]:
    (root / "files").mkdir()
    contents: Any = AsyncLargeFileManager(root_dir=str(root / "files"))
    contents.notary.data_dir = str(root)
    contents.notary.db_file = ":memory:"
    kernels: Any = AsyncMappingKernelManager(
        connection_dir=str(root), root_dir=str(root / "files"), kernel_spec_manager=KernelSpecManager()
    )
    sessions: Any = SessionManager(kernel_manager=kernels, contents_manager=contents)
    links, tabs = KernelLinks(kernels), Tabs(start_grace_s=0.0, return_s=0.5)
    given: dict[str, Any] = {"tab_timeout_s": 2.0, **settings}
    filled = Settings(data_dir=root, **given)
    workspace = JupyterWorkspace(contents, sessions, kernels, links, tabs, filled)
    try:
        yield Server(root / "files", contents, kernels, sessions, links, tabs, filled, workspace)
    finally:
        await workspace.close()
        tabs.close()
        links.close()
        await kernels.shutdown_all(now=True)
        sessions.close()
        contents.notary.store.close()


async def until(true: Callable[[], Any]) -> None:
    """Wait, with a bound, for something that other code brings about."""
    async with asyncio.timeout(BOUND_S):
        while not true():  # noqa: ASYNC110 - what it waits for has no event of its own
            await asyncio.sleep(0.01)


@dataclass
class Page:
    """A JupyterLab page with a live model, over the wire of ``tabs.py``."""

    server: Server
    name: str = "page-1"
    user: str = "ada"
    notebooks: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    answers: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    silent: set[str] = field(default_factory=set[str])
    read_only: bool = False
    focused_at: int = 1
    runs: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    connection: TabConnection | None = None

    def connect(self) -> Page:
        self.connection = self.server.tabs.attach(self.receive, self.user)
        self.announce()
        return self

    def open(self, path: str, *sources: str) -> Page:
        self.notebooks[path] = [
            {"id": f"cell-{i}", "cell_type": "code", "source": source, "execution_count": None, "outputs": []}
            for i, source in enumerate(sources)
        ]
        return self if self.connection is None else self.announce()

    def announce(self) -> Page:
        assert self.connection is not None
        documents = [
            {"path": path, "focused_at": self.focused_at, "dirty": False, "read_only": self.read_only}
            for path in self.notebooks
        ]
        self.connection.receive({"type": "documents", "page": self.name, "documents": documents})
        return self

    def disconnect(self) -> None:
        assert self.connection is not None
        self.connection.close()
        self.connection = None

    def say_bye(self) -> None:
        assert self.connection is not None
        self.connection.receive({"type": "bye"})
        self.disconnect()

    def source(self, path: str, cell_id: str = "cell-0") -> str:
        return next(cell["source"] for cell in self.notebooks[path] if cell["id"] == cell_id)

    # -- what bridge.ts does

    def receive(self, message: dict[str, Any]) -> None:
        self.requests.append(message)
        if message["type"] == "request" and message["method"] not in self.silent:
            if message["op_id"] and message["op_id"] in self.answers:
                self.say({"type": "response", "id": message["id"], **self.answers[message["op_id"]]})
            elif message["method"] == "run":
                self.runs.append(asyncio.ensure_future(self.run(message)))
            else:
                self.answer(message, self.perform(message["method"], message["params"]))

    def say(self, message: dict[str, Any]) -> None:
        if self.connection is not None:
            self.connection.receive(message)

    def answer(self, message: dict[str, Any], answer: dict[str, Any]) -> None:
        if message["op_id"]:
            self.answers[message["op_id"]] = answer
        self.say({"type": "response", "id": message["id"], **answer})

    def perform(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        cells = self.notebooks[params["path"]]
        if method == "read":
            return {"result": {"cells": [{**cell, "index": i} for i, cell in enumerate(cells)], "language": "python"}}
        if method == "insert":
            after = [i for i, cell in enumerate(cells) if cell["id"] == params["after"]]
            index = after[0] + 1 if after else len(cells)
            cells.insert(index, {**params["cell"], "execution_count": None, "outputs": []})
            return {"result": {"cell": {**cells[index], "index": index}}}
        found = [cell for cell in cells if cell["id"] == params["cell_id"]]
        if not found:
            return {"error": {"code": "cell_not_found", "message": "gone"}}
        cell, index = found[0], cells.index(found[0])
        now = base_hash(cell["cell_type"], cell["source"])
        if now != params["base_hash"]:
            return {"error": {"code": "cell_changed", "message": "changed", "hash": now}}
        if method == "edit":
            cell["source"] = params["source"]
        elif method == "delete":
            cells.remove(cell)
        elif method == "set_outputs":
            cell.update(outputs=params["outputs"], execution_count=params["execution_count"])
        return {"result": {"cell": {**cell, "index": index}}}

    async def run(self, message: dict[str, Any]) -> None:
        checked = self.perform("check", message["params"])
        if "error" in checked:
            self.answer(message, checked)
            return
        # With channels of its own, as a browser's are.
        kernel_id = (await self.server.sessions.list_sessions())[0]["kernel"]["id"]
        own = KernelLinks(self.server.kernels)
        link = await own.link(kernel_id)
        await link.ready()
        try:
            run = link.execute(checked["result"]["cell"]["source"])
            self.say({"type": "event", "id": message["id"], "msg_id": run.msg_id, "kernel_id": kernel_id})
            status = await run.done()
            outputs = run.outputs.cells()
            self.perform(
                "set_outputs", {**message["params"], "outputs": outputs, "execution_count": run.execution_count}
            )
            self.answer(message, {"result": {"status": status}})
        finally:
            own.close()
