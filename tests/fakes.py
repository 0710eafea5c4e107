"""Small real things: notebooks on disk behind Jupyter's own managers, without a server around them."""

from __future__ import annotations

from pathlib import Path

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from jupyter_server.services.sessions.sessionmanager import SessionManager

from jupyter_agent.notebook.kernel_links import KernelLinks
from jupyter_agent.notebook.tabs import Tabs
from jupyter_agent.notebook.workspace import JupyterWorkspace
from jupyter_agent.settings import Settings


class DiskWorkspace(JupyterWorkspace):
    """The notebooks of a folder; kernels start when a cell runs."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        contents = AsyncLargeFileManager(root_dir=str(folder))
        self.kernels = AsyncMappingKernelManager(root_dir=str(folder))
        self.sessions = SessionManager(kernel_manager=self.kernels, contents_manager=contents)
        self.links = KernelLinks(self.kernels)
        super().__init__(contents, self.sessions, self.kernels, self.links, Tabs(start_grace_s=0.0), settings)

    async def close(self) -> None:
        """End the kernels."""
        for kernel_id in list(self.kernels.list_kernel_ids()):
            self.links.drop(kernel_id)
            await self.kernels.shutdown_kernel(kernel_id, now=True)  # pyright: ignore[reportUnknownMemberType] -- untyped there
        self.sessions.close()
        self.kernels.context.destroy(linger=0)
