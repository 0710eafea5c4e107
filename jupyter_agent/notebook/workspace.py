"""``Workspace`` in Jupyter Server: decides which road to a notebook is the right one.

::

    is it open in a page of ours?
      ├── yes ── ask that page: it changes its live model, runs the cell natively
      │          and reports the msg_id; the outputs reach us from iopub ourselves,
      │          so they are there even when the page is not any more
      └── no ─── change the file through the contents manager; the cell runs in the
                 notebook's kernel (one is started if need be), its outputs are saved

A run, on both roads: wait until the kernel is idle, send, collect, keep. It is
sent only when nothing else runs, so stopping can tell our run from the user's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import logging
import os
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from ..errors import ToolError
from ..settings import Settings
from .disk import DiskNotebooks
from .kernel_link import KernelGone, KernelLink
from .kernel_links import KernelLinks
from .kernels import START_S, NotebookKernels
from .ports import (
    Cell,
    CellType,
    NoKernel,
    Notebook,
    NotebookNotFound,
    NotebookReadOnly,
    Report,
    RunOutcome,
    TabSilent,
    Variable,
    base_hash,
    check_unchanged,
    fields,
)
from .run import Run
from .tabs import TabGone, Tabs

Json = Any
T = TypeVar("T")

STDIN_ERROR = "StdinNotImplementedError"

log = logging.getLogger(__name__)


class JupyterWorkspace:
    """The notebooks under one server's root directory."""

    def __init__(
        self,
        contents_manager: Any,
        session_manager: Any,
        kernel_manager: Any,
        links: KernelLinks,
        tabs: Tabs,
        settings: Settings,
    ) -> None:
        self._contents = contents_manager
        self._disk = DiskNotebooks(contents_manager)
        self._kernels = NotebookKernels(session_manager, kernel_manager, links)
        self._tabs = tabs
        self._settings = settings
        self._background: set[asyncio.Task[Any]] = set()
        root = getattr(contents_manager, "root_dir", None)
        self._root = os.path.realpath(root) if isinstance(root, str) and root else None

    @property
    def root(self) -> str | None:
        """The folder that paths are below; see ``Workspace``."""
        return self._root

    # -- reading and editing -------------------------------------------------------

    async def read(self, path: str) -> Notebook:
        """Return the live notebook; see ``Workspace``."""
        path = await self._named(path)
        kernel_id = await self._kernels.find(path)
        if await self._tabs.has_open(path):
            notebook = await self._read_in_tab(path)
        else:
            await self._refuse_shared(path)
            notebook = await self._disk.read(path)
        return replace(notebook, kernel=self._kernels.state(kernel_id))

    async def insert(
        self, path: str, *, cell_type: CellType, source: str, after: str | None, before: str | None, op_id: str
    ) -> Cell:
        """Add a cell; see ``Workspace``."""
        path = await self._named(path)
        cell: dict[str, Json] = {"id": _new_cell_id(op_id), "cell_type": cell_type, "source": source}
        if not await self._tabs.has_open(path):
            await self._refuse_shared(path)
            return await self._disk.insert(path, cell=cell, after=after, before=before, op_id=op_id)
        params: dict[str, Json] = {"cell": cell, "after": after, "before": before}
        return _as_asked(await self._change_in_tab(path, "insert", params, op_id), source)

    async def edit(self, path: str, *, cell_id: str, base_hash: str, source: str, op_id: str) -> Cell:
        """Replace a cell's source; see ``Workspace``."""
        path = await self._named(path)
        if not await self._tabs.has_open(path):
            await self._refuse_shared(path)
            return await self._disk.edit(path, cell_id=cell_id, base_hash=base_hash, source=source, op_id=op_id)
        params: dict[str, Json] = {"cell_id": cell_id, "base_hash": base_hash, "source": source}
        return _as_asked(await self._change_in_tab(path, "edit", params, op_id), source)

    async def delete(self, path: str, *, cell_id: str, base_hash: str, op_id: str) -> Cell:
        """Remove a cell; see ``Workspace``."""
        path = await self._named(path)
        if not await self._tabs.has_open(path):
            await self._refuse_shared(path)
            return await self._disk.delete(path, cell_id=cell_id, base_hash=base_hash, op_id=op_id)
        return await self._change_in_tab(path, "delete", {"cell_id": cell_id, "base_hash": base_hash}, op_id)

    # -- variables -----------------------------------------------------------------

    async def variables(self, path: str) -> list[Variable]:
        """List the kernel's variables; see ``Workspace``."""
        return await self._kernels.variables(await self._named(path))

    async def inspect(self, path: str, *, name: str, safe: bool) -> str:
        """Describe one variable; see ``Workspace``."""
        return await self._kernels.inspect(await self._named(path), name=name, safe=safe)

    # -- running -------------------------------------------------------------------

    async def run(
        self, path: str, *, cell_id: str, base_hash: str, op_id: str, report: Report | None = None
    ) -> RunOutcome:
        """Run a code cell; see ``Workspace``."""
        path = await self._named(path)
        cell = await self._cell_to_run(path, cell_id, base_hash)
        link = await self._idle_kernel(path, op_id, report)
        # Waiting may have taken long: look again at what would run, and where.
        cell = await self._cell_to_run(path, cell_id, base_hash)
        if await self._tabs.has_open(path):
            return await self._run_in_tab(path, cell, link, op_id, report)
        return await self._run_on_disk(path, cell, link, op_id, report)

    async def close(self) -> None:
        """Let go of what is still being tidied up."""
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _cell_to_run(self, path: str, cell_id: str, wanted: str) -> Cell:
        cell = (await self.read(path)).cell(cell_id)
        check_unchanged(cell, wanted)
        if cell.cell_type != "code":
            raise ToolError(f"Cell {cell_id} is a {cell.cell_type} cell; only code cells can be run.")
        return cell

    async def _idle_kernel(self, path: str, op_id: str, report: Report | None) -> KernelLink:
        kernel_id = await self._kernels.find(path)
        if kernel_id is None:
            _tell(report, {"state": "starting_kernel"})
            kernel_id = await self._start_kernel(path, op_id)
        link = await self._kernels.link(kernel_id)
        if link.execution_state != "idle":
            _tell(report, {"state": "waiting_for_kernel"})
        await link.wait_idle()
        return link

    async def _start_kernel(self, path: str, op_id: str) -> str:
        if not await self._tabs.has_open(path):
            return await self._kernels.find_or_start(path, await self._disk.kernel_name(path))
        # The page starts it, so that it is the page's own session too.
        result = await self._tabs.request(path, "ensure_kernel", {}, op_id=f"{op_id}:kernel", timeout_s=START_S)
        kernel_id = result.get("kernel_id")
        if not isinstance(kernel_id, str) or await self._kernels.find(path) != kernel_id:
            raise NoKernel("The notebook's kernel does not run on this server, so cells cannot be run here.")
        return kernel_id

    # -- on disk

    async def _run_on_disk(
        self, path: str, cell: Cell, link: KernelLink, op_id: str, report: Report | None
    ) -> RunOutcome:
        run = link.execute(cell.source, cell_id=cell.id)
        _tell(report, {"state": "running"})
        # Kept on its own: after Stop the interrupted run's outputs are saved all the same.
        keeping = self._spawn(self._keep_outputs(path, cell, run, op_id))
        await self._finish(run, link)
        note = await asyncio.shield(keeping)
        return self._outcome(cell, run, note)

    async def _keep_outputs(self, path: str, cell: Cell, run: Run, op_id: str) -> str:
        """Store a finished run's outputs where the notebook is now; say what did not work."""
        if await run.done() in ("gone", "aborted"):
            return ""
        outputs: dict[str, Json] = {
            "cell_id": cell.id,
            "base_hash": cell.hash,
            "outputs": run.outputs.cells(),
            "execution_count": run.execution_count,
        }
        op_id = f"{op_id}:outputs"
        try:
            if await self._tabs.has_open(path):
                await self._change_in_tab(path, "set_outputs", outputs, op_id)
            else:
                await self._disk.write_outputs(path, **outputs, op_id=op_id)
        except ToolError as error:
            return f"The outputs could not be stored in the notebook: {error.message}"
        return ""

    # -- in a tab

    async def _run_in_tab(
        self, path: str, cell: Cell, link: KernelLink, op_id: str, report: Report | None
    ) -> RunOutcome:
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_event(event: dict[str, Json]) -> None:
            msg_id = event.get("msg_id")
            if isinstance(msg_id, str) and not started.done():
                started.set_result(msg_id)

        params: dict[str, Json] = {"cell_id": cell.id, "base_hash": cell.hash}
        asking = self._spawn(self._tabs.request(path, "run", params, op_id=op_id, timeout_s=None, on_event=on_event))
        with link.expecting():
            try:
                msg_id = await self._started(path, asking, started)
            except BaseException:
                # Stopped, or too slow, before we know its id: if it does begin, it ends at once.
                self._tabs.cancel(op_id)
                self._spawn(self._stop_late(asking, started, link))
                raise
            if msg_id is None:
                return RunOutcome(
                    status="ok", cell=replace(cell, outputs=[], execution_count=None), note="The cell is empty."
                )
            run = link.watch(msg_id)
        _tell(report, {"state": "running"})
        settling = self._spawn(self._settle_in_tab(path, cell, run, asking, op_id))
        await self._finish(run, link)
        return self._outcome(cell, run, await self._settled(settling))

    async def _started(
        self, path: str, asking: asyncio.Task[dict[str, Json]], started: asyncio.Future[str]
    ) -> str | None:
        """Return the run's message id, None for an empty cell."""
        await asyncio.wait({asking, started}, timeout=self._settings.tab_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            return started.result()
        if asking.done():
            asking.result()
            return None
        raise TabSilent(
            f"The JupyterLab tab that has {path} open did not run the cell within "
            f"{self._settings.tab_timeout_s:g} s, so it was not run."
        )

    async def _stop_late(
        self, asking: asyncio.Task[dict[str, Json]], started: asyncio.Future[str], link: KernelLink
    ) -> None:
        with link.expecting():
            await asyncio.wait({asking, started}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            await link.stop(link.watch(started.result()).msg_id)
        else:
            asking.cancel()

    async def _settle_in_tab(
        self, path: str, cell: Cell, run: Run, asking: asyncio.Task[dict[str, Json]], op_id: str
    ) -> str:
        """See to it that the outputs are kept: by the page, or by us when it is gone."""
        try:
            await asking
        except TabGone:
            return await self._keep_outputs(path, cell, run, op_id)
        except ToolError:
            log.debug("the tab could not finish the run it began", exc_info=True)
        run.closing()
        return ""

    async def _settled(self, settling: asyncio.Task[str]) -> str:
        try:
            async with asyncio.timeout(self._settings.tab_timeout_s):
                return await asyncio.shield(settling)
        except TimeoutError:
            return "The tab does not answer; the outputs will be stored when it does or when it is closed."

    # -- both

    async def _finish(self, run: Run, link: KernelLink) -> None:
        try:
            async with asyncio.timeout(self._settings.run_timeout_s):
                await run.done()
        except TimeoutError:
            await link.stop(run.msg_id)
            raise ToolError(
                f"The cell ran longer than the limit of {self._settings.run_timeout_s:g} s and was interrupted.",
                code="run_timeout",
            ) from None
        except asyncio.CancelledError:
            await link.stop(run.msg_id)
            raise
        if run.state == "gone":
            raise KernelGone("The kernel restarted or died while the cell ran. All variables are lost.")

    def _outcome(self, cell: Cell, run: Run, note: str) -> RunOutcome:
        error = run.outputs.error
        if error is not None and error[0] == STDIN_ERROR:
            note = (
                "The cell asked for keyboard input with input(), which nobody can give while an agent runs it. "
                "Put the value into the source instead, or ask the user to run this cell. " + note
            )
        if run.state == "aborted":
            note = "The kernel dropped the cell: a cell before it failed, or it was interrupted. " + note
        if run.outputs.cut:
            note += " The outputs were too large to be kept whole."
        return RunOutcome(
            status=run.state if run.state in ("ok", "error", "aborted") else "error",
            cell=replace(cell, outputs=run.outputs.cells(), execution_count=run.execution_count),
            error=error,
            note=note.strip(),
        )

    # -- pages ---------------------------------------------------------------------

    async def _read_in_tab(self, path: str) -> Notebook:
        # Twice what is shown: the reader cuts, and says what it cut.
        params = {"output_chars": self._settings.max_output_chars * 2, "image_bytes": self._settings.max_image_bytes}
        result = await self._tabs.request(path, "read", params, op_id="", timeout_s=self._settings.tab_timeout_s)
        cells = result.get("cells")
        if not isinstance(cells, list):
            raise ToolError("The tab's answer could not be read.", code="tab_malformed")
        return Notebook(
            path=path,
            cells=[_read_cell(cell) for cell in cast("list[Json]", cells)],
            language=str(result.get("language") or "python"),
            open=True,
        )

    async def _change_in_tab(self, path: str, method: str, params: dict[str, Json], op_id: str) -> Cell:
        document = self._tabs.document(path)
        if document is not None and document.read_only:
            raise NotebookReadOnly(f"{path} is read-only, so it cannot be changed. Tell the user.")
        result = await self._tabs.request(path, method, params, op_id=op_id, timeout_s=self._settings.tab_timeout_s)
        return _read_cell(result.get("cell"))

    async def _named(self, path: str) -> str:
        """Return the notebook's path as pages spell it: an open file must not be written behind its tab's back."""
        path = _checked(path)
        if self._root is None or await self._tabs.has_open(path):
            return path
        opened = self._tabs.paths()
        return await asyncio.to_thread(_same_file, self._root, path, opened) if opened else path

    async def _refuse_shared(self, path: str) -> None:
        """Keep off a file that a collaboration server holds in memory and writes itself."""
        web_app = getattr(getattr(self._contents, "parent", None), "web_app", None)
        shared = fields(getattr(web_app, "settings", None)).get("jupyter_server_ydoc")
        if shared is None:
            return
        held = shared.get_document(path=path, content_type="notebook", file_format="json")
        held = await held if inspect.isawaitable(held) else held
        if held is not None:
            raise ToolError(
                f"{path} is held open for real-time collaboration, which is not supported yet. "
                "Ask the user to open it in a JupyterLab tab of this server.",
                code="shared_document",
            )

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        # Looked at here, so that nobody complains about an error that was answered elsewhere.
        if not task.cancelled() and task.exception() is not None:
            log.debug("background work of a run ended", exc_info=task.exception())


def _checked(path: str) -> str:
    path = path.strip("/")
    if not path or "\0" in path or "\\" in path or ".." in path.split("/"):
        raise NotebookNotFound("A notebook's path is relative to the server's root directory and stays inside it.")
    return "/".join(step for step in path.split("/") if step not in ("", "."))


def _same_file(root: str, path: str, opened: Sequence[str]) -> str:
    """Return what an open notebook calls this file: a link, another case or accent may lead to it too."""
    file = Path(root, *path.split("/"))
    for other in opened:
        with contextlib.suppress(OSError, ValueError):
            if file.samefile(Path(root, *other.split("/"))):
                return other
    return path


def _new_cell_id(op_id: str) -> str:
    # From the operation's own id: asked again, even after a restart, it is the same cell.
    return hashlib.sha256(f"cell {op_id}".encode()).hexdigest()[:12]


def _read_cell(value: Json) -> Cell:
    """Take a page's word for a cell, having checked its form."""
    cell = fields(value)
    cell_type, index = cell.get("cell_type"), cell.get("index")
    count = cell.get("execution_count")
    outputs = cell.get("outputs")
    if not isinstance(cell.get("id"), str) or not isinstance(cell.get("source"), str):
        raise ToolError("The tab's answer could not be read.", code="tab_malformed")
    return Cell(
        id=cell["id"],
        index=index if isinstance(index, int) else -1,
        cell_type=cell_type if cell_type in ("code", "markdown", "raw") else "raw",
        source=cell["source"],
        execution_count=count if isinstance(count, int) else None,
        outputs=[fields(output) for output in cast("list[Json]", outputs)] if isinstance(outputs, list) else [],
    )


def _as_asked(cell: Cell, source: str) -> Cell:
    """Check what was read back from the page against what was asked for."""
    if base_hash(cell.cell_type, source) != cell.hash:
        raise ToolError(
            f"The tab's cell {cell.id} does not hold what was written: something changed it at the same moment. "
            f"Its hash is now {cell.hash}. Read it again.",
            code="not_applied",
        )
    return cell


def _tell(report: Report | None, what: Json) -> None:
    if report is not None:
        report(what)
