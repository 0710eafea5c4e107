"""Inline panels meet their sessions: an ear at every kernel.

::

    kernel_actions (start, restart, shutdown) ──► Relay ── a _Watch a kernel
                                                             │ hears ``jupyter_agent_frame`` on iopub
                                                             └─ a RelayedPanel for each AgentPanel that spoke

Nothing is built for a kernel in which no panel speaks, but one link.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jupyter_core.utils import ensure_async
from jupyter_server.base.call_context import CallContext

from ...errors import AgentError
from ..kernel import FRAME, RELAY
from .base import AUTH_RESOURCE, name_of
from .engine import Engine

if TYPE_CHECKING:
    from ...notebook.kernel_link import KernelLink
    from .relayed_panel import RelayedPanel

_KERNEL_ACTIONS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"
_MOST_PANELS = 64
"""A kernel: more is a runaway loop, not a notebook."""

Json = dict[str, Any]


class NoNotebook(AgentError):
    """The kernel belongs to no notebook."""

    code = "no_notebook"


@dataclass(slots=True)
class _Starter:
    """The user who started a kernel, and what they may do with sessions.

    One that nobody's request started may be anybody's: its panels talk and stop, and let nothing act.
    """

    name: str = "unknown"
    may_write: bool = True
    may_execute: bool = False


@dataclass(slots=True)
class Answers:
    """How the pages of one kernel let calls act."""

    by_comm: bool = False
    """They did so by comm before any of the agent's code had run: this is the road they have."""


@dataclass(slots=True)
class _Watch:
    """One kernel that we listen to."""

    link: KernelLink
    unsubscribe: Callable[[], None] = lambda: None
    answers: Answers = field(default_factory=Answers)
    panels: dict[str, RelayedPanel] = field(default_factory=dict[str, "RelayedPanel"])

    def drop_panels(self) -> None:
        for panel in self.panels.values():
            panel.close()
        self.panels.clear()


class Relay:
    """All inline panels of this server."""

    def __init__(self, engine: Engine, *, kernel_manager: Any, session_manager: Any, authorizer: Any, log: Any) -> None:
        self._engine = engine
        self._kernels = kernel_manager
        self._notebooks = session_manager
        self._authorizer = authorizer
        self._log = log
        self._watches: dict[str, _Watch] = {}
        self._starters: dict[str, _Starter] = {}
        self._arriving: dict[str, asyncio.Lock] = {}
        self._event_logger: Any = None

    def listen(self, event_logger: Any) -> None:
        """Hear of kernels that come and go."""
        self._event_logger = event_logger
        event_logger.add_listener(schema_id=_KERNEL_ACTIONS, listener=self._on_kernel_action)

    async def watch_running(self) -> None:
        """Meet the kernels that were there before us."""
        await asyncio.gather(*(self.watch(kernel_id) for kernel_id in list(self._kernels.list_kernel_ids())))

    async def watch(self, kernel_id: str) -> None:
        """Listen to this kernel; doing so twice is no error."""
        # One lock a kernel: one that never becomes ready must not keep the others waiting.
        async with self._arriving.setdefault(kernel_id, asyncio.Lock()):
            watch = self._watches.get(kernel_id)
            try:
                link = await self._engine.links.link(kernel_id)
            except AgentError as error:
                # Remote kernels have no sockets to listen to: their panels say that nobody answers.
                self._log.debug("kernel %s is not listened to: %s", kernel_id, error)
                return
            if watch is not None and watch.link is link:
                return
            if watch is not None:
                watch.drop_panels()
            watch = self._watches[kernel_id] = _Watch(link)
            watch.unsubscribe = link.subscribe(lambda message: self._on_message(kernel_id, message))

    def forget(self, kernel_id: str) -> None:
        """The kernel is gone."""
        self._starters.pop(kernel_id, None)
        self._arriving.pop(kernel_id, None)
        if (watch := self._watches.pop(kernel_id, None)) is not None:
            watch.unsubscribe()
            watch.drop_panels()
            self._engine.links.drop(kernel_id)

    def close(self) -> None:
        """Let go of all panels."""
        if self._event_logger is not None:
            self._event_logger.remove_listener(listener=self._on_kernel_action)
        for watch in self._watches.values():
            watch.unsubscribe()
            watch.drop_panels()
        self._watches.clear()

    # -- kernels come and go -----------------------------------------------------------

    async def _on_kernel_action(self, *, data: Json, **_event: Any) -> None:
        kernel_id = data.get("kernel_id")
        if kernel_id is None or data.get("status") != "success":
            return
        try:
            match data.get("action"):
                case "start":
                    self._starters[kernel_id] = await self._starter()
                    await self._await_listed(kernel_id)
                    await self.watch(kernel_id)
                case "restart":
                    self._drop_panels(kernel_id)
                    if kernel_id in self._watches:
                        self._watches[kernel_id].link.ran_our_code = False
                    await self.watch(kernel_id)
                case "shutdown":
                    self.forget(kernel_id)
                case _:
                    pass
        except Exception:
            self._log.exception("kernel %s is not listened to", kernel_id)

    async def _starter(self) -> _Starter:
        """Return who asked for the kernel: the event is emitted within their request."""
        handler = CallContext.get(CallContext.JUPYTER_HANDLER)
        user = getattr(handler, "current_user", None)
        if user is None:
            return _Starter()

        async def may(action: str) -> bool:
            return bool(await ensure_async(self._authorizer.is_authorized(handler, user, action, AUTH_RESOURCE)))

        return _Starter(name=name_of(user), may_write=await may("write"), may_execute=await may("execute"))

    async def _await_listed(self, kernel_id: str) -> None:
        """Wait out the moment between a kernel's start event and its place in the manager's list."""
        for _ in range(100):
            if kernel_id in self._kernels:
                return
            await asyncio.sleep(0.02)

    # -- kernels speak -----------------------------------------------------------------

    def _on_message(self, kernel_id: str, message: Json) -> None:
        msg_type = message.get("msg_type")
        if msg_type == FRAME:
            self._on_frame(kernel_id, message.get("content") or {})
        elif msg_type == "status":
            self._on_status(kernel_id, message)

    def _on_status(self, kernel_id: str, message: Json) -> None:
        state = message["content"].get("execution_state")
        parent: Json = message.get("parent_header") or {}
        if state == "starting":
            # A new process: it knows none of its predecessor's panels.
            self._drop_panels(kernel_id)
        elif state == "idle" and parent.get("msg_type") == RELAY:
            for panel in self._watches[kernel_id].panels.values():
                panel.confirm(str(parent.get("msg_id")))

    def _on_frame(self, kernel_id: str, content: Json) -> None:
        watch = self._watches[kernel_id]
        panel_id = content.get("panel")
        if not isinstance(panel_id, str) or not panel_id:
            return
        if "detach" in content:
            if (panel := watch.panels.pop(panel_id, None)) is not None:
                panel.close()
            return
        panel = watch.panels.get(panel_id)
        if panel is None and len(watch.panels) < _MOST_PANELS:
            panel = watch.panels[panel_id] = self._meet(kernel_id, watch, panel_id)
        if panel is not None:
            panel.receive(content)

    def _meet(self, kernel_id: str, watch: _Watch, panel_id: str) -> RelayedPanel:
        from .relayed_panel import RelayedPanel

        starter = self._starters.get(kernel_id, _Starter())
        return RelayedPanel(
            panel_id,
            link=watch.link,
            answers=watch.answers,
            settings=self._engine.settings,
            get_host=self._engine.host,
            find_notebook=lambda: self._notebook_of(kernel_id),
            user=starter.name,
            may_write=starter.may_write,
            may_execute=starter.may_execute,
            log=self._log,
        )

    def _drop_panels(self, kernel_id: str) -> None:
        if (watch := self._watches.get(kernel_id)) is not None:
            watch.drop_panels()

    async def _notebook_of(self, kernel_id: str) -> str:
        for session in await ensure_async(self._notebooks.list_sessions()):
            if session["kernel"] and session["kernel"]["id"] == kernel_id and session["type"] == "notebook":
                return session["path"]
        raise NoNotebook(
            "This kernel belongs to no notebook, so there is no session to show.",
            hint="Open the panel in a notebook.",
        )
