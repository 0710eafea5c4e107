"""``KernelLinks``: one link a kernel, made when first asked for and kept through its restarts."""

from __future__ import annotations

import asyncio
from typing import Any

from ..errors import ToolError
from .kernel_link import KernelGone, KernelLink


class KernelLinks:
    """See the module. All methods belong to the server's loop."""

    def __init__(self, kernel_manager: Any) -> None:
        self._kernels = kernel_manager
        self._links: dict[str, KernelLink] = {}
        self._watched: dict[str, Any] = {}

    async def link(self, kernel_id: str) -> KernelLink:
        """Return the link to this kernel; await its ``ready()`` before you rely on its answers.

        Raises:
            ToolError: no such kernel here, or one that cannot be listened to.
        """
        if kernel_id not in self._kernels:
            self.drop(kernel_id)
            raise KernelGone("The kernel is no longer running.", hint="Run a cell to start a new one.")
        manager = self._kernels.get_kernel(kernel_id)
        await self._started(manager)
        link = self._links.get(kernel_id)
        if link is not None and not link.closed:
            if link.ports != list(manager.ports):
                link.restarted()
            return link
        try:
            link = KernelLink(kernel_id, manager, lambda: self._kernels.interrupt_kernel(kernel_id))
        except (AttributeError, NotImplementedError) as error:
            raise ToolError(
                "This notebook's kernel runs behind a gateway, which is not supported yet.", code="kernel_remote"
            ) from error
        self._links[kernel_id] = link
        self._watch_restarts(kernel_id, manager)
        return link

    def get(self, kernel_id: str) -> KernelLink | None:
        """Return the link if there is one."""
        return self._links.get(kernel_id)

    def restarted(self, kernel_id: str) -> None:
        """Tell that the kernel's process was replaced."""
        link = self._links.get(kernel_id)
        if link is not None:
            link.restarted()

    def drop(self, kernel_id: str) -> None:
        """Close and forget the link of a kernel that ended."""
        self._watched.pop(kernel_id, None)
        link = self._links.pop(kernel_id, None)
        if link is not None:
            link.close()

    def close(self) -> None:
        """Close all links."""
        for kernel_id in list(self._links):
            self.drop(kernel_id)

    async def _started(self, manager: Any) -> None:
        ready = getattr(manager, "ready", None)
        if ready is None:
            return
        if not asyncio.isfuture(ready):
            ready = asyncio.wrap_future(ready)
        # Shielded: many wait for the same kernel.
        await asyncio.shield(ready)

    def _watch_restarts(self, kernel_id: str, manager: Any) -> None:
        if self._watched.get(kernel_id) is manager or not hasattr(self._kernels, "add_restart_callback"):
            return
        self._watched[kernel_id] = manager
        self._kernels.add_restart_callback(kernel_id, lambda: self.restarted(kernel_id), "restart")
        self._kernels.add_restart_callback(kernel_id, lambda: self.drop(kernel_id), "dead")
