"""What answers requests, built when the first one comes.

A server that nobody asks for a session pays for none: pydantic, the store,
the tools and the model's SDK are imported here, in a worker thread, on first
use. ``tabs`` and ``links`` are plain asyncio and cheap; they come earlier,
when the first JupyterLab page or the first kernel shows up.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ... import __version__
from ...errors import AgentError
from ...settings import Settings

if TYPE_CHECKING:
    from ...agent.model import Model
    from ...notebook.kernel_links import KernelLinks
    from ...notebook.surroundings import Observer
    from ...notebook.tabs import Tabs
    from ...notebook.workspace import JupyterWorkspace
    from ...session.host import SessionHost

_KEY_VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
_KEY_HEADER = re.compile("auth|key|token|secret|cookie", re.IGNORECASE)
_SHORTEST_SECRET = 8
"""Redacting a shorter "key" would blank out ordinary text."""
CLOSE_GOING = 1001


class Socket(Protocol):
    """A page's open socket."""

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Say goodbye."""
        ...


class Engine:
    """The session host and its surroundings, each made once."""

    def __init__(
        self,
        read_settings: Callable[[], Settings],
        *,
        contents_manager: Any,
        session_manager: Any,
        kernel_manager: Any,
        url: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._read_settings = read_settings
        self._contents_manager = contents_manager
        self._session_manager = session_manager
        self._kernel_manager = kernel_manager
        self._url = url
        self._settings: Settings | None = None
        self._model: Model | None = None
        self._tabs: Tabs | None = None
        self._links: KernelLinks | None = None
        self._host: SessionHost | None = None
        self._workspace: JupyterWorkspace | None = None
        self.sockets: set[Socket] = set()
        self._building = asyncio.Lock()
        self._closed = False

    @property
    def settings(self) -> Settings:
        """What the traits say, read once."""
        if self._settings is None:
            self._settings = self._read_settings()
        return self._settings

    @property
    def model(self) -> Model:
        """Claude or the demo; choosing imports neither's libraries."""
        if self._model is None:
            from ...agent.choose import choose_model

            self._model = choose_model(self.settings)
            if self._model.kind == "demo":
                # Nobody shall read Claude's name over what the demo says.
                self._settings = replace(self.settings, model="demo")
        return self._model

    @property
    def tabs(self) -> Tabs:
        """The open JupyterLab pages."""
        if self._tabs is None:
            from ...notebook.tabs import Tabs

            self._tabs = Tabs()
        return self._tabs

    @property
    def links(self) -> KernelLinks:
        """Our own channels to the running kernels."""
        if self._links is None:
            from ...notebook.kernel_links import KernelLinks

            self._links = KernelLinks(self._kernel_manager)
        return self._links

    @property
    def observer(self) -> Observer:
        """Who looks at what is around a session."""
        from ...notebook.kernels import NotebookKernels
        from ...notebook.surroundings import Observer

        return Observer(
            self._contents_manager, NotebookKernels(self._session_manager, self._kernel_manager, self.links)
        )

    @property
    def storage(self) -> str:
        """How sessions are stored: ``local`` or ``network``, as set or as the data directory's disk asks for."""
        from ...store.profile import profile_of

        return profile_of(self.settings.data_dir, self.settings.storage)

    @property
    def running_host(self) -> SessionHost | None:
        """The host if anybody has asked for one yet."""
        return self._host

    async def host(self) -> SessionHost:
        """Return the session host; the first caller waits for the imports, the loop does not."""
        if self._host is None:
            async with self._building:
                if self._closed:
                    raise AgentError("The server is shutting down.", code="shutting_down")
                if self._host is None:
                    await asyncio.to_thread(_import_the_house)
                    self._host = self._build()
                    self._host.start()
        return self._host

    async def wake_unfinished(self) -> None:
        """Take up the turns that a former server left, and its alarms; without any, nothing is imported for it."""
        from ...store.alarmed import alarmed
        from ...store.marks import marked

        if await asyncio.to_thread(alarmed, self.settings.data_dir):
            await self.host()  # It sets its one timer.
        if await asyncio.to_thread(marked, self.settings.data_dir):
            await (await self.host()).wake_unfinished()

    def _build(self) -> SessionHost:
        from ...notebook.workspace import JupyterWorkspace
        from ...session.host import SessionHost
        from ...store.owning import Server
        from ...tools.toolbox import Toolbox

        model = self.model  # first: it has a word in the settings
        self._workspace = workspace = JupyterWorkspace(
            self._contents_manager,
            self._session_manager,
            self._kernel_manager,
            self.links,
            self.tabs,
            self.settings,
        )
        toolbox = Toolbox(self.settings, self.secrets)
        return SessionHost(
            self.settings,
            workspace=workspace,
            model=model,
            toolbox=toolbox,
            version=__version__,
            server=Server(url=self._url()),
        )

    def secrets(self) -> Sequence[str]:
        """Return the values that no tool output may show."""
        values = [os.environ.get(name) for name in _KEY_VARIABLES]
        values.append(self.settings.api_key)
        # A gateway's key may stand behind the scheme's name: "Bearer …".
        headers = self.settings.default_headers.items()
        values += [value.rsplit(" ", 1)[-1] for name, value in headers if _KEY_HEADER.search(name)]
        return [value for value in values if value and len(value) >= _SHORTEST_SECRET]

    async def close(self) -> None:
        """Let the sessions commit, say goodbye, close connections; in this order, so that nothing is lost."""
        self._closed = True
        async with self._building:
            if self._host is not None:
                await self._host.close()
            for socket in list(self.sockets):
                # Else pages see a line that broke, and cannot tell a restart from a bad network.
                socket.close(CLOSE_GOING, "The server is stopping.")
            if self._workspace is not None:
                await self._workspace.close()
        if self._links is not None:
            self._links.close()
        if self._model is not None:
            await self._model.close()


def _import_the_house() -> None:
    """Import what is slow to import; runs in a thread, so that kernels and pages stay served."""
    import importlib

    for module in ("protocol.codec", "session.host", "tools.toolbox", "notebook.workspace"):
        importlib.import_module(f"jupyter_agent.{module}")
