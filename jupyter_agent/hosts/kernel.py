"""The kernel's end of the relay: what inline panels and the server say to each other here.

::

    server ── control request ``jupyter_agent_relay`` ──► control thread ──► the panel's comm
    server ◄── iopub message  ``jupyter_agent_frame`` ─── any thread    ◄── the panel's comm

The control channel is heard while a cell runs, and a request there neither
takes a subshell nor touches what belongs to the user's code: output of the
user's threads keeps its cell. The kernel holds no truth, no key and no token.
"""

from __future__ import annotations

import json
import sys
import uuid
import weakref
from collections.abc import Iterator
from typing import Any, Protocol

Json = dict[str, Any]

RELAY = "jupyter_agent_relay"
"""Server → kernel, on the control channel."""
FRAME = "jupyter_agent_frame"
"""Kernel → server, on iopub; pages ignore types they don't know."""
FRAGMENT_CHARS = 120 * 1024
"""ASCII JSON, of which a quote or a backslash becomes two bytes: with its envelope a fragment stays below 256 KiB."""


class Panel(Protocol):
    """Who may be spoken to by the server."""

    def on_server(self, content: Json) -> None:
        """Take what the server sent; runs on the control thread, so be quick."""
        ...


class KernelRelay:
    """One a kernel: the panels by id, and the two directions."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._panels: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self._by_cell: dict[str, tuple[str, set[str]]] = {}
        self._cell_parent: Json = {}
        kernel.control_handlers[RELAY] = self._on_request
        self._note_cell()
        shell = getattr(kernel, "shell", None)
        if shell is not None:
            shell.events.register("pre_run_cell", self._on_cell)

    def join(self, panel_id: str, panel: Panel) -> None:
        """Let the server reach ``panel``. Panels of an earlier run of the same cell are let go."""
        self._panels[panel_id] = panel
        run = self._cell_parent.get("header", {}).get("msg_id", "")
        metadata: Json = self._cell_parent.get("metadata") or {}
        cell = metadata.get("cellId")
        if cell is None:
            return
        earlier_run, earlier = self._by_cell.get(cell, ("", set[str]()))
        if earlier_run != run:
            for stale in earlier:
                self.leave(stale)
            earlier = set[str]()
        self._by_cell[cell] = (run, earlier | {panel_id})

    def leave(self, panel_id: str) -> None:
        """Tell the server that nobody looks at this panel any more."""
        if self._panels.pop(panel_id, None) is not None:
            self.publish(panel_id, {"detach": {}})

    def publish(self, panel_id: str, content: Json) -> None:
        """Say something to the server, from any thread."""
        kernel = self._kernel
        kernel.session.send(
            kernel.iopub_socket,
            FRAME,
            {"panel": panel_id, **content},
            parent=kernel.get_parent(),
            ident=b"jupyter_agent",
        )

    def keep_thread_output(self) -> None:
        """Give the user's threads their cell back.

        A comm message that runs beside a cell makes itself the owner of what
        bare threads print (``OutStream`` keeps one global parent), and their
        lines vanish: https://github.com/ipython/ipykernel/issues/1564. Called
        after each message of ours.
        """
        header = self._cell_parent.get("header")
        if not header:
            return
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "_parent_header_global"):
                setattr(stream, "_parent_header_global", header)  # noqa: B010 -- there is no public way

    async def _on_request(self, _stream: Any, _ident: Any, message: Json) -> None:
        content = message["content"]
        panel = self._panels.get(content["panel"])
        if panel is None:
            self.publish(content["panel"], {"detach": {}})
        else:
            panel.on_server(content)

    def _on_cell(self, *_info: Any) -> None:
        self._note_cell()

    def _note_cell(self) -> None:
        parent = self._kernel.get_parent("shell")
        if parent.get("header", {}).get("msg_type") == "execute_request":
            self._cell_parent = parent


def in_pieces(content: Json, most: int = FRAGMENT_CHARS) -> Iterator[Json]:
    """Yield what the page is sent for ``content``: itself, or fragments ``{"id", "n", "of", "text"}`` of its JSON."""
    text = json.dumps(content, separators=(",", ":"))
    if len(text) <= most:
        yield content
        return
    pieces = [text[i : i + most] for i in range(0, len(text), most)]
    name = uuid.uuid4().hex
    for n, piece in enumerate(pieces):
        yield {"fragment": {"id": name, "n": n, "of": len(pieces), "text": piece}}


_relay: KernelRelay | None = None


def kernel_relay() -> KernelRelay | None:
    """Return this process's relay; None where no Jupyter kernel runs."""
    global _relay
    if _relay is None:
        kernel = _running_kernel()
        if kernel is not None:
            _relay = KernelRelay(kernel)
    return _relay


def _running_kernel() -> Any:
    try:
        from ipykernel.kernelbase import Kernel
    except ImportError:
        return None
    return Kernel.instance() if Kernel.initialized() else None
