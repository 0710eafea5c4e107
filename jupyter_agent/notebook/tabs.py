"""The JupyterLab pages that have notebooks open, and the requests made of them.

One WebSocket a page, JSON both ways; the pages' side is ``js/src/bridge.ts``.

Page to server::

    {"type": "documents", "page": "<id of this page load>", "documents": [
        {"path", "focused_at": <ms>, "dirty": bool, "read_only": bool}, …]}     first, and on every change
    {"type": "response", "id", "result": {…}}
    {"type": "response", "id", "error": {"code", "message", "hash"?}}
    {"type": "event", "id", "msg_id", "kernel_id"}     a run was sent to the kernel
    {"type": "bye"}                                    the page is closing and won't be back

Server to page::

    {"type": "request", "id", "op_id", "method", "params": {"path", …}}
    {"type": "cancel", "id", "op_id"}                  forget it, if it has not begun

    method          params besides path                  result
    read            cell_id?, output_chars               {"cells": [cell, …], "language", "kernel_id"}
    insert          cell (id, cell_type, source),        {"cell": cell}
                    after, before (ids or null)
    edit            cell_id, base_hash, source           {"cell": cell}
    delete          cell_id, base_hash                   {"cell": cell as it was}
    ensure_kernel   kernel_name                          {"kernel_id"}
    run             cell_id, base_hash                   event, then {"status"}
    set_outputs     cell_id, base_hash, outputs,         {"cell": cell}
                    execution_count

    cell = {"id", "index", "cell_type", "source", "execution_count", "outputs"}
    error codes: not_open cell_not_found cell_changed read_only no_kernel cancelled failed

Who is asked: of the pages that have the notebook open, the one where it was
focused last. Pages are asked again after their socket came back, with the same
``op_id``: a page remembers what it answered, so nothing is applied twice. A
page whose socket broke without a ``bye`` still counts as having its notebooks
open for a while, for its live model is the truth and the file is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from ..errors import ToolError
from .ports import CellChanged, CellNotFound, NoKernel, NotebookReadOnly, TabSilent

Json = Any
Send = Callable[[dict[str, Json]], None]
OnEvent = Callable[[dict[str, Json]], None]

MAX_DOCUMENTS = 500
MAX_TEXT = 4096

log = logging.getLogger(__name__)


class TabGone(ToolError):
    """The page closed with the request unanswered."""

    code = "tab_gone"


@dataclass(slots=True, kw_only=True)
class Document:
    """A notebook that a page has open. ``focus`` grows with every focus, over all pages."""

    path: str
    focused_at: float
    focus: int
    dirty: bool = False
    read_only: bool = False


@dataclass(slots=True, kw_only=True)
class _Page:
    key: tuple[str, str]
    connection: TabConnection | None
    documents: dict[str, Document] = field(default_factory=dict[str, Document])
    forget: asyncio.TimerHandle | None = None


@dataclass(slots=True, kw_only=True)
class _Pending:
    page: _Page
    message: dict[str, Json]
    answer: asyncio.Future[dict[str, Json]]
    on_event: OnEvent | None


class TabConnection:
    """One page's socket, as the host sees it."""

    def __init__(self, tabs: Tabs, send: Send, user: str) -> None:
        self._tabs = tabs
        self._send = send
        self.user = user
        self.page: _Page | None = None

    def receive(self, message: dict[str, Json]) -> None:
        """Take a message from the page. Never raises: what is malformed is dropped."""
        try:
            self._tabs.heard(self, message)
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RecursionError):
            log.debug("dropped a malformed message of a page", exc_info=True)

    def close(self) -> None:
        """The socket closed."""
        self._tabs.left(self)

    def send(self, message: dict[str, Json]) -> None:
        """Send to the page; a socket that is closing swallows it."""
        try:
            self._send(message)
        except Exception:  # the host's socket, of whatever kind
            log.debug("a page could not be reached", exc_info=True)


class Tabs:
    """The registry. Plain asyncio: hosts bring the sockets."""

    def __init__(self, *, return_s: float = 10.0, start_grace_s: float = 3.0) -> None:
        """Give ``return_s`` to a page that lost its socket, ``start_grace_s`` to those from before a start."""
        self._return_s = return_s
        self._start_grace_s = start_grace_s
        self._settles_at: float | None = None
        self._pages: dict[tuple[str, str], _Page] = {}
        self._pending: dict[str, _Pending] = {}
        self._focus = itertools.count(1)
        self._changed = asyncio.Event()
        self._start_grace()

    # -- for hosts -----------------------------------------------------------------

    def attach(self, send: Send, user: str) -> TabConnection:
        """Take a page's socket; it counts once it announced itself."""
        self._start_grace()
        return TabConnection(self, send, user)

    # -- for the workspace ---------------------------------------------------------

    def document(self, path: str) -> Document | None:
        """Return the document in the page that holds the edit lease, None when no page has it open."""
        page = self._lease(path)
        return page.documents[path] if page is not None else None

    def paths(self) -> list[str]:
        """Return what pages have open."""
        return sorted({path for page in self._pages.values() for path in page.documents})

    async def has_open(self, path: str) -> bool:
        """Tell whether a page has it open, giving pages time to come back after a start."""
        self._start_grace()
        loop = asyncio.get_running_loop()
        while self.document(path) is None:
            left = (self._settles_at or 0.0) - loop.time()
            if left <= 0:
                return False
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
        return True

    async def request(
        self,
        path: str,
        method: str,
        params: dict[str, Json],
        *,
        op_id: str,
        timeout_s: float | None,
        on_event: OnEvent | None = None,
    ) -> dict[str, Json]:
        """Ask the page that holds the lease, and return its result.

        Raises:
            ToolError: it refused, did not answer in time, or is gone.
        """
        page = self._lease(path)
        if page is None:
            raise TabGone("The tab that had the notebook open was closed. Try again.")
        request_id = secrets.token_hex(8)
        message = {
            "type": "request",
            "id": request_id,
            "op_id": op_id,
            "method": method,
            "params": {"path": path, **params},
        }
        answer: asyncio.Future[dict[str, Json]] = asyncio.get_running_loop().create_future()
        self._pending[request_id] = _Pending(page=page, message=message, answer=answer, on_event=on_event)
        if page.connection is not None:
            page.connection.send(message)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            self._cancel(page, request_id, op_id)
            raise TabSilent(
                f"The JupyterLab tab that has {path} open did not answer within {timeout_s:g} s. "
                "Read the notebook again to see whether the change was made."
            ) from None
        except asyncio.CancelledError:
            self._cancel(page, request_id, op_id)
            raise
        finally:
            self._pending.pop(request_id, None)

    def cancel(self, op_id: str) -> None:
        """Ask the page to forget a request if it has not begun; the request itself goes on waiting."""
        for pending in list(self._pending.values()):
            if pending.message["op_id"] == op_id:
                self._cancel(pending.page, pending.message["id"], op_id)

    def close(self) -> None:
        """Forget all pages."""
        for page in list(self._pages.values()):
            self._forget(page)

    # -- what pages say ------------------------------------------------------------

    def heard(self, connection: TabConnection, message: dict[str, Json]) -> None:
        """Take one message; see the module's docstring."""
        match message.get("type"):
            case "documents":
                self._announce(connection, message)
            case "response":
                self._answer(connection, message)
            case "event":
                pending = self._pending_of(connection, message)
                if pending is not None and pending.on_event is not None:
                    pending.on_event(message)
            case "bye":
                if connection.page is not None:
                    self._forget(connection.page)
            case _:
                pass

    def left(self, connection: TabConnection) -> None:
        """A socket closed; unless its page said bye it may be back."""
        page = connection.page
        if page is None or page.connection is not connection:
            return
        page.connection = None
        if not page.documents:
            self._forget(page)
            return
        page.forget = asyncio.get_running_loop().call_later(self._return_s, self._forget, page)

    def _announce(self, connection: TabConnection, message: dict[str, Json]) -> None:
        page = connection.page or self._welcome(connection, message.get("page"))
        if page.connection is not connection:
            return
        known = page.documents
        page.documents = {}
        listed: list[dict[str, Json]] = message["documents"]
        for item in listed[:MAX_DOCUMENTS]:
            document = self._read_document(item, known)
            if document is not None:
                page.documents[document.path] = document
        for pending in list(self._pending.values()):
            if pending.page is page and pending.message["params"]["path"] not in page.documents:
                self._fail(pending, TabGone("The notebook was closed before the change was made. Try again."))
        self._changed.set()

    def _welcome(self, connection: TabConnection, name: Json) -> _Page:
        name = name if isinstance(name, str) and name and len(name) <= MAX_TEXT else secrets.token_hex(8)
        key = (connection.user, name)
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = _Page(key=key, connection=connection)
        if page.forget is not None:
            page.forget.cancel()
            page.forget = None
        page.connection = connection
        connection.page = page
        for pending in list(self._pending.values()):
            if pending.page is page:
                connection.send(pending.message)
        return page

    def _read_document(self, item: dict[str, Json], known: dict[str, Document]) -> Document | None:
        path = item.get("path")
        if not isinstance(path, str) or not path.strip("/") or len(path) > MAX_TEXT:
            return None
        path = path.strip("/")
        at = item.get("focused_at")
        focused_at = float(at) if isinstance(at, int | float) and not isinstance(at, bool) else 0.0
        before = known.get(path)
        # Pages' clocks differ: what counts is who tells of a new focus last.
        newly = before is None or focused_at > before.focused_at
        focus = next(self._focus) if newly and focused_at > 0 else before.focus if before else 0
        return Document(
            path=path,
            focused_at=focused_at,
            focus=focus,
            dirty=item.get("dirty") is True,
            read_only=item.get("read_only") is True,
        )

    def _answer(self, connection: TabConnection, message: dict[str, Json]) -> None:
        pending = self._pending_of(connection, message)
        if pending is None or pending.answer.done():
            return
        error = message.get("error")
        if isinstance(error, dict):
            params = pending.message["params"]
            pending.answer.set_exception(_tool_error(cast("dict[str, Json]", error), params))
        elif isinstance(message.get("result"), dict):
            pending.answer.set_result(message["result"])
        else:
            pending.answer.set_exception(ToolError("The tab's answer could not be read.", code="tab_malformed"))

    def _pending_of(self, connection: TabConnection, message: dict[str, Json]) -> _Pending | None:
        pending = self._pending.get(str(message.get("id")))
        # Only the page that was asked may answer.
        return pending if pending is not None and pending.page is connection.page else None

    # -- inside --------------------------------------------------------------------

    def _lease(self, path: str) -> _Page | None:
        holders = [page for page in self._pages.values() if path in page.documents]
        return max(holders, key=lambda page: (page.connection is not None, page.documents[path].focus), default=None)

    def _cancel(self, page: _Page, request_id: str, op_id: str) -> None:
        if page.connection is not None:
            page.connection.send({"type": "cancel", "id": request_id, "op_id": op_id})

    def _forget(self, page: _Page) -> None:
        if page.forget is not None:
            page.forget.cancel()
            page.forget = None
        page.documents = {}
        page.connection = None
        if self._pages.get(page.key) is page:
            del self._pages[page.key]
        for pending in list(self._pending.values()):
            if pending.page is page:
                self._fail(pending, TabGone("The tab was closed before it answered. Read the notebook again."))
        self._changed.set()

    def _fail(self, pending: _Pending, error: ToolError) -> None:
        if not pending.answer.done():
            pending.answer.set_exception(error)

    def _start_grace(self) -> None:
        # A server that starts again meets pages that were open before; until
        # they had time to say so, "nobody has it open" is not yet known.
        if self._settles_at is None:
            with contextlib.suppress(RuntimeError):
                self._settles_at = asyncio.get_running_loop().time() + self._start_grace_s


def _tool_error(error: dict[str, Json], params: dict[str, Json]) -> ToolError:
    code, message = str(error.get("code", "failed")), str(error.get("message", ""))[:MAX_TEXT]
    cell_id = str(params.get("cell_id", ""))
    match code:
        case "cell_not_found":
            return CellNotFound(cell_id or str(params.get("after") or params.get("before") or ""))
        case "cell_changed":
            return CellChanged(cell_id, str(error.get("hash", ""))[:64])
        case "read_only":
            return NotebookReadOnly(message or "This notebook is read-only.")
        case "no_kernel":
            return NoKernel(message or "The notebook has no kernel.")
        case _:
            return ToolError(message or "The tab could not do it.", code="tab_failed")
