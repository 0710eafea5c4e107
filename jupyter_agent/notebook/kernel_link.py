"""The server's own ear and voice at a kernel.

::

    KernelLinks ── link(kernel_id) ──► KernelLink          one a kernel, shared by all who ask
                                         │ iopub   ──►  every message to the subscribers,
                                         │              status → execution_state, busy_parent
                                         │              outputs → one Run per execute request
                                         │ shell   ◄──► execute()      (our own session id)
                                         │ control ◄──  send_control() (heard while a cell runs)

The sockets are this package's own, made by the server's kernel manager, read
by callbacks on the server's loop: nothing polls, and no tab has to be there.
A page's runs are followed like our own, because iopub tells everybody; a
``Run`` is kept for the latest requests, so that a message id which is
reported late still finds the outputs that came before the report.

What counts as *busy* is the main shell: requests on the control channel and
on subshells publish ``busy`` and ``idle`` too, beside a cell that is running.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Generator
from typing import Any, Literal

from ..errors import ToolError
from .ports import fields
from .run import BREATH_S, Run

Json = Any
Message = dict[str, Any]
ExecutionState = Literal["unknown", "starting", "idle", "busy", "dead"]

EARLY_S = 1.0
"""How long a cell that was interrupted as it began may take to end."""
KEPT_RUNS = 16
HELLO_INTERVAL_S = 0.5

CONTROL_TYPES = frozenset(
    {
        "interrupt_request",
        "shutdown_request",
        "debug_request",
        "create_subshell_request",
        "delete_subshell_request",
        "list_subshell_request",
        # Comes by either channel and is answered in no time on the shell.
        "kernel_info_request",
    }
)

log = logging.getLogger(__name__)


class KernelGone(ToolError):
    """The kernel restarted, died or was shut down."""

    code = "kernel_gone"


class KernelBusy(ToolError):
    """Something else runs in the kernel."""

    code = "kernel_busy"


class KernelLink:
    """Own channels to one kernel. Get it from ``KernelLinks.link``."""

    def __init__(self, kernel_id: str, manager: Any, interrupt: Callable[[], Any]) -> None:
        self.kernel_id = kernel_id
        self.execution_state: ExecutionState = "unknown"
        self.busy_parent: str | None = None
        self.closed = False
        self.ran_our_code = False
        """Whether code of the agent's has begun in this process: what it left behind may still run, and speak."""
        self._manager = manager
        self._interrupt = interrupt
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._subscribers: list[Callable[[Message], None]] = []
        self._control_types = set(CONTROL_TYPES)
        self._doomed: set[str] = set()
        self._expected = 0
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._hello: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._probes: set[str] = set()
        self._ended_session: str | None = None
        self._kernel_session: str | None = None
        self._open()

    # -- for everybody -------------------------------------------------------------

    def subscribe(self, callback: Callable[[Message], None]) -> Callable[[], None]:
        """Hear every iopub message, parsed; call the result to stop."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._subscribers.remove(callback)

        return unsubscribe

    def send_control(self, msg_type: str, content: dict[str, Json]) -> str:
        """Send a request on the control channel and return its id."""
        self._check_open()
        self._control_types.add(msg_type)
        return self._send(self._control, msg_type, content)

    def execute(
        self,
        code: str,
        *,
        silent: bool = False,
        user_expressions: dict[str, str] | None = None,
        cell_id: str | None = None,
    ) -> Run:
        """Send code to the main shell; the kernel takes it when it is its turn."""
        self._check_open()
        content = {
            "code": code,
            "silent": silent,
            "store_history": not silent,
            "user_expressions": user_expressions or {},
            "allow_stdin": False,
            "stop_on_error": not silent,
        }
        message = self._session.msg("execute_request", content)
        if cell_id is not None:
            message["metadata"]["cellId"] = cell_id
        run = self.watch(message["header"]["msg_id"])
        run.wants_reply, run.silent = True, silent
        self._session.send(self._shell, message)
        return run

    def watch(self, msg_id: str) -> Run:
        """Follow a request by its id, also one that a page sent and reported late."""
        run = self._run(msg_id).claim()
        self._note(run)
        return run

    def is_running(self, msg_id: str) -> bool:
        """Tell whether this very request occupies the main shell now."""
        return self.execution_state == "busy" and self.busy_parent == msg_id

    @contextlib.contextmanager
    def expecting(self) -> Generator[None]:
        """While a page was asked to send code for the agent and has not told its id: what runs may be it."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1

    def runs_our_code(self) -> bool:
        """Tell whether what occupies the main shell was sent, or is followed, on the agent's behalf."""
        if self._expected and self.execution_state == "busy":
            return True
        run = self._runs.get(self.busy_parent or "")
        return run is not None and run.claimed

    async def interrupt(self) -> None:
        """Interrupt whatever runs. Ask ``is_running`` first."""
        result = self._interrupt()
        if asyncio.iscoroutine(result) or isinstance(result, asyncio.Future):
            await result

    async def stop(self, msg_id: str) -> None:
        """End this request and no other: now if it runs, else the moment it begins."""
        run = self._runs.get(msg_id)
        if run is not None and run.finished:
            return
        if self.is_running(msg_id) and (run is None or run.settled_in):
            await self.interrupt()
        elif run is not None and run.entered_at is not None:
            self._begin_to_stop(msg_id)
        else:
            # Before it took the request up, a kernel ignores interrupts.
            self._doomed.add(msg_id)

    def _begin_to_stop(self, msg_id: str) -> None:
        task = asyncio.get_running_loop().create_task(self._interrupt_early(msg_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _interrupt_early(self, msg_id: str) -> None:
        """Interrupt a cell that has hardly begun.

        A kernel says ``execute_input`` a moment before it runs the code. What falls into
        that moment is lost or, before ipykernel 7, ends the request without any answer,
        and a page would show it as running for ever. So take a breath, and look again later.
        """
        for wait in (BREATH_S, EARLY_S):
            await asyncio.sleep(wait)
            run = self._runs.get(msg_id)
            if run is None or run.finished or not self.is_running(msg_id):
                return
            await self.interrupt()

    async def ready(self, timeout_s: float = 60.0) -> None:
        """Wait until the kernel talks to us.

        Raises:
            ToolError: it never did.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            raise ToolError("The kernel does not answer. It may have to be restarted.", code="kernel_silent") from None

    async def wait_idle(self) -> None:
        """Wait until the main shell has nothing to do, as far as one can hear."""
        await self._ready.wait()
        while not self._idle.is_set():
            await self._idle.wait()
            self._check_open()
        self._check_open()

    # -- life ----------------------------------------------------------------------

    @property
    def ports(self) -> list[int]:
        """The ports these sockets are connected to."""
        return self._ports

    def restarted(self) -> None:
        """The kernel process is a new one: its predecessor's runs are lost."""
        self.ran_our_code = False
        self._lose_runs()
        if not self.closed:
            self._set_state("starting", None)
            self._close_sockets()
            self._open()

    def close(self) -> None:
        """Close the sockets; whoever waits is told that the kernel is gone."""
        if self.closed:
            return
        self.closed = True
        self._lose_runs()
        self.execution_state = "dead"
        self._ready.set()
        self._idle.set()
        self._close_sockets()

    def _open(self) -> None:
        manager = self._manager
        # A session of our own: replies come to our sockets and are not mistaken for a page's.
        from jupyter_client.session import Session

        self._session: Any = Session(
            config=manager.session.config, key=manager.session.key, signature_scheme=manager.session.signature_scheme
        )
        self._ports = list(manager.ports)
        self._iopub = manager.connect_iopub()
        self._shell = manager.connect_shell()
        self._control = manager.connect_control()
        self._iopub.on_recv(self._on_iopub)
        self._shell.on_recv(self._on_shell)
        self._control.on_recv(self._on_control)
        self._ready.clear()
        self._probes.clear()
        self._ask_shell()
        self._say_hello()

    def _ask_shell(self) -> None:
        # The shell answers in order: once it does, whatever ran when we came is over.
        self._probes.add(self._send(self._shell, "kernel_info_request", {}))

    def _say_hello(self) -> None:
        # A subscription is only there once something was heard on it, so the
        # request that makes the kernel speak is repeated until it does.
        if self.closed or self._ready.is_set():
            return
        self._send(self._control, "kernel_info_request", {})
        self._say_hello_later()

    def _say_hello_later(self) -> None:
        if self._hello is not None:
            self._hello.cancel()
        self._hello = asyncio.get_running_loop().call_later(HELLO_INTERVAL_S, self._say_hello)

    def _close_sockets(self) -> None:
        if self._hello is not None:
            self._hello.cancel()
        for stream in (self._iopub, self._shell, self._control):
            if not stream.closed():
                stream.on_recv(None)
                stream.close(linger=0)

    def _lose_runs(self) -> None:
        for run in self._runs.values():
            run.lose()
        self._runs.clear()
        self._doomed.clear()
        for task in self._tasks:
            task.cancel()

    def _check_open(self) -> None:
        if self.closed:
            raise KernelGone("The kernel was shut down.", hint="Run a cell to start a new one.")

    def _send(self, stream: Any, msg_type: str, content: dict[str, Json]) -> str:
        message = self._session.msg(msg_type, content)
        self._session.send(stream, message)
        return message["header"]["msg_id"]

    # -- hearing -------------------------------------------------------------------

    def _parse(self, frames: list[bytes]) -> Message | None:
        try:
            _, rest = self._session.feed_identities(frames)
            message = self._session.deserialize(rest)
            return message if _is_message(message) else None
        except Exception:  # whatever a kernel of any language may send
            log.debug("dropped a message of kernel %s", self.kernel_id, exc_info=True)
            return None

    def _on_shell(self, frames: list[bytes]) -> None:
        message = self._parse(frames)
        if message is None:
            return
        parent = fields(message.get("parent_header")).get("msg_id")
        if parent in self._probes:
            self._probes.clear()
            self._kernel_session = message["header"].get("session")
            if self.execution_state != "busy" or self.busy_parent is None:
                self._set_state("idle", None)
        elif message["msg_type"] == "execute_reply" and parent in self._runs:
            self._runs[parent].answer(message["content"])

    def _on_control(self, frames: list[bytes]) -> None:
        self._parse(frames)  # replies say nothing that iopub does not; reading keeps the queue empty

    def _on_iopub(self, frames: list[bytes]) -> None:
        message = self._parse(frames)
        if message is None:
            return
        session = message["header"].get("session")
        if session != self._ended_session:
            self._ready.set()
            self._follow(message)
        # Once more, for what it said may have been its last word.
        if session != self._ended_session:
            self._kernel_session = session
            if self.execution_state == "starting" and not self._probes:
                # It speaks, so it is up, though its first word was missed.
                self._ask_shell()
        for subscriber in list(self._subscribers):
            try:
                subscriber(message)
            except Exception:
                log.exception("a listener of kernel %s failed", self.kernel_id)

    def _follow(self, message: Message) -> None:
        msg_type, content = message["msg_type"], message["content"]
        parent = fields(message.get("parent_header"))
        parent_id = parent.get("msg_id")
        match msg_type:
            case "status" if content.get("execution_state") == "starting":
                # A reply on the shell may overtake the process's first word here.
                if message["header"].get("session") != self._kernel_session:
                    self._begin_anew()
            case "status" if self._is_main_shell(parent):
                self._set_state(content.get("execution_state", "unknown"), parent_id)
            case "shutdown_reply":
                self._lose_runs()
                self._set_state("starting" if content.get("restart") else "dead", None)
                # Its main thread may still say "idle" while it goes down: not heard any more.
                self._ended_session = message["header"].get("session")
                self._probes.clear()
                self._ready.clear()
                # Not at once: a kernel that is asked something on its way out complains in the server's log.
                self._say_hello_later()
            case _:
                pass
        if parent_id is not None and parent.get("msg_type") == "execute_request":
            run = self._run(parent_id)
            run.hear(msg_type, content)
            self._note(run)
        if parent_id in self._doomed and msg_type == "execute_input":
            self._doomed.discard(parent_id)
            self._begin_to_stop(parent_id)

    def _begin_anew(self) -> None:
        self._lose_runs()
        self._set_state("starting", None)
        self._ask_shell()

    def _is_main_shell(self, parent: dict[str, Json]) -> bool:
        msg_type = parent.get("msg_type")
        return msg_type is not None and msg_type not in self._control_types and not parent.get("subshell_id")

    def _set_state(self, state: ExecutionState, parent_id: str | None) -> None:
        self.execution_state = state
        self.busy_parent = parent_id if state == "busy" else None
        if state == "idle":
            self._idle.set()
        else:
            self._idle.clear()

    def _run(self, msg_id: str) -> Run:
        run = self._runs.get(msg_id)
        if run is None:
            run = self._runs[msg_id] = Run(msg_id)
            self._forget_old_runs()
        return run

    def _note(self, run: Run) -> None:
        if run.entered_at is not None and not run.silent:
            # As long as a page has not told which one is the agent's, any may be.
            self.ran_our_code = self.ran_our_code or run.claimed or self._expected > 0

    def _forget_old_runs(self) -> None:
        surplus = len(self._runs) - KEPT_RUNS
        for msg_id in [i for i, run in self._runs.items() if run.finished][: max(surplus, 0)]:
            del self._runs[msg_id]


def _is_message(message: Json) -> bool:
    """Tell whether a message has the form that what reads it relies on: code in a kernel can send any."""
    parent = fields(message.get("parent_header"))
    ids = [message["header"].get("msg_id"), parent.get("msg_id", ""), parent.get("msg_type", ""), message["msg_type"]]
    return isinstance(message.get("content"), dict) and all(isinstance(value, str) for value in ids)
