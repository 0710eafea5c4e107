"""Which kernel belongs to a notebook, and what that kernel has in its variables."""

from __future__ import annotations

import ast
import asyncio
import importlib.resources
import json
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakValueDictionary

from ..errors import ToolError
from .kernel_link import KernelBusy, KernelLink
from .kernel_links import KernelLinks
from .ports import NoKernel, Variable, fields

Json = Any

BUSY_AFTER_S = 1.8
"""A kernel that does something else is called busy within two seconds."""
REPR_S = 10.0
START_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFacts:
    """A running kernel, as people know it; ``state`` as in ``Notebook.kernel``."""

    name: str
    display_name: str
    state: str


class NotebookKernels:
    """The kernels of this server's notebooks."""

    def __init__(self, session_manager: Any, kernel_manager: Any, links: KernelLinks) -> None:
        self._sessions = session_manager
        self._kernels = kernel_manager
        self._links = links
        self._starting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def find(self, path: str) -> str | None:
        """Return the id of the kernel that runs for this notebook, if one does."""
        for session in await self._sessions.list_sessions():
            kernel_id = fields(session.get("kernel")).get("id")
            if _same_document(session.get("path"), path) and kernel_id in self._kernels:
                return kernel_id
        return None

    async def find_or_start(self, path: str, kernel_name: str | None) -> str:
        """Return the notebook's kernel, starting one in its directory if there is none.

        Raises:
            ToolError: the kernel it asks for is not installed, or does not start.
        """
        lock = self._starting.get(path)
        if lock is None:
            lock = self._starting[path] = asyncio.Lock()
        async with lock:
            found = await self.find(path)
            return found if found is not None else await self._start(path, kernel_name)

    async def link(self, kernel_id: str) -> KernelLink:
        """Return the link to a kernel, once it talks."""
        link = await self._links.link(kernel_id)
        await link.ready(START_S)
        return link

    def state(self, kernel_id: str | None) -> Any:
        """Return what the kernel is doing, as far as is known without asking it."""
        if kernel_id is None:
            return "none"
        link = self._links.get(kernel_id)
        if link is not None and link.execution_state != "unknown":
            return link.execution_state
        try:
            state = self._kernels.kernel_model(kernel_id).get("execution_state")
        except Exception:  # it may have ended between two lines
            return "unknown"
        return state if state in ("starting", "idle", "busy", "dead") else "unknown"

    async def facts(self, path: str) -> KernelFacts | None:
        """Return what the notebook's kernel is and does; None when none runs."""
        kernel_id = await self.find(path)
        if kernel_id is None:
            return None
        try:
            manager = self._kernels.get_kernel(kernel_id)
        except Exception:  # it may have ended between two lines
            return None
        name = str(getattr(manager, "kernel_name", ""))
        shown = getattr(getattr(manager, "kernel_spec", None), "display_name", None)
        return KernelFacts(name=name, display_name=str(shown or name), state=self.state(kernel_id))

    async def variables(self, path: str) -> list[Variable]:
        """List the variables; see ``Workspace.variables``."""
        answer = await self._ask(path, {"ask": "variables"})
        found = [Variable(name=name, type=kind, summary=summary) for name, kind, summary in answer["variables"]]
        if answer.get("more"):
            found.append(Variable(name="…", type="", summary=f"{answer['more']} more variables are not listed"))
        return found

    async def inspect(self, path: str, *, name: str, safe: bool) -> str:
        """Describe a variable; see ``Workspace.inspect``."""
        answer = await self._ask(path, {"ask": "inspect", "name": name, "safe": safe}, None if safe else REPR_S)
        if answer.get("missing"):
            near = f" Did you mean {answer['near'][0]!r}?" if answer.get("near") else ""
            raise ToolError(f"There is no variable {name!r} in the kernel.{near}", code="no_variable")
        return str(answer["text"])

    # -- inside --------------------------------------------------------------------

    async def _start(self, path: str, kernel_name: str | None) -> str:
        self._check_installed(kernel_name)
        try:
            session = await self._sessions.create_session(
                path=path, name=path.rsplit("/", 1)[-1], type="notebook", kernel_name=kernel_name
            )
        except Exception as error:  # from any kernel provisioner
            raise NoKernel(
                f"The kernel {kernel_name or '(default)'!r} of this notebook could not be started: {error}. "
                "Tell the user; another kernel can be chosen in JupyterLab."
            ) from error
        return session["kernel"]["id"]

    def _check_installed(self, kernel_name: str | None) -> None:
        specs = getattr(self._kernels, "kernel_spec_manager", None)
        if specs is None or kernel_name is None or not hasattr(specs, "find_kernel_specs"):
            return
        installed = sorted(specs.find_kernel_specs())
        if kernel_name not in installed:
            raise NoKernel(
                f"The notebook asks for the kernel {kernel_name!r}, which is not installed here. There are: "
                f"{', '.join(installed) or 'none'}. Ask the user to choose one of them for the notebook in JupyterLab."
            )

    async def _ask(self, path: str, question: dict[str, Json], patience_s: float | None = None) -> dict[str, Json]:
        kernel_id = await self.find(path)
        if kernel_id is None:
            raise NoKernel("No kernel is running for this notebook, so it has no variables yet. Run a cell first.")
        self._check_python(kernel_id)
        link = await self._links.link(kernel_id)
        deadline = asyncio.get_running_loop().time() + BUSY_AFTER_S
        try:
            async with asyncio.timeout_at(deadline):
                if link.execution_state == "busy":
                    raise TimeoutError
                await link.wait_idle()
        except TimeoutError:
            raise _busy(link) from None
        run = link.execute("", silent=True, user_expressions={"answer": _expression(question)})
        if patience_s is not None:
            deadline += patience_s
        try:
            async with asyncio.timeout_at(deadline):
                await run.done()
        except TimeoutError:
            ours = link.is_running(run.msg_id)
            await link.stop(run.msg_id)
            if ours:
                raise ToolError("Looking at it took too long, so it was given up.", code="kernel_slow") from None
            raise _busy(link) from None
        except asyncio.CancelledError:
            await link.stop(run.msg_id)
            raise
        return _read_answer(run.reply)

    def _check_python(self, kernel_id: str) -> None:
        spec = getattr(self._kernels.get_kernel(kernel_id), "kernel_spec", None)
        language = str(getattr(spec, "language", "") or "python").lower()
        if language not in ("python", "ipython"):
            raise ToolError(
                f"Variables can only be listed in Python kernels; this one runs {language}. "
                "Run a cell that prints them.",
                code="not_python",
            )


def _same_document(session_path: Json, path: str) -> bool:
    # A page with another drive writes the drive before the path, "RTC:a.ipynb".
    return isinstance(session_path, str) and (session_path == path or session_path.partition(":")[2] == path)


def _busy(link: KernelLink) -> ToolError:
    if link.execution_state in ("starting", "unknown") and link.busy_parent is None:
        return KernelBusy("The kernel is still starting, or busy. Try again in a moment.")
    return KernelBusy("The kernel is busy running something, so it cannot be asked now. Try again when it is idle.")


@cache
def _source() -> str:
    return importlib.resources.files("jupyter_agent.notebook").joinpath("in_kernel.py").read_text(encoding="utf-8")


def _expression(question: dict[str, Json]) -> str:
    # An expression, because the kernel evaluates expressions even in a silent
    # request without code: no history, no counter, no name left behind. Builtins
    # by import, because the user may have a variable called ``exec``.
    return (
        "(lambda b: (lambda s: (b.exec(b.compile("
        f"{_source()!r}, '<jupyter_agent>', 'exec'), s), s['answer'](b.globals(), {question!r}))[1])"
        "({'__name__': 'jupyter_agent_in_kernel'}))(__import__('builtins'))"
    )


def _read_answer(reply: dict[str, Json] | None) -> dict[str, Json]:
    expressions = fields(fields(reply).get("user_expressions"))
    answer = fields(expressions.get("answer"))
    text = fields(answer.get("data")).get("text/plain")
    if answer.get("status") != "ok" or not isinstance(text, str):
        reason = f"{answer.get('ename', 'no answer')}: {answer.get('evalue', '')}".rstrip(": ")
        raise ToolError(f"The kernel could not be asked for its variables ({reason}).", code="kernel_failed")
    return json.loads(ast.literal_eval(text))
