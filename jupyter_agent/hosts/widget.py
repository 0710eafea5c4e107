"""The inline panel: ``AgentPanel()`` as the last line of a cell.

It relays and remembers nothing: the session lives in the server. What the
page may say to it, and hears from it, over the widget's comm::

    page → kernel   {"attach": {}}   {"command": {…}}   {"bundle": {}}
    kernel → page   {"hello": {…}}   {"frames": […]}    {"bundle": js, "style": css}
                    {"fragment": {"id", "n", "of", "text"}}      a larger one of these, as JSON text in pieces
"""

# ipywidgets has no types:
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import threading
import uuid
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from .. import __version__
from .kernel import KernelRelay, in_pieces, kernel_relay

Json = dict[str, Any]

STATIC = Path(__file__).parents[1] / "static"
ANSWER_S = 4.0
"""A server that has the extension answers in milliseconds; its first answer may wait for imports."""
PATIENCE = 4

_NO_SERVER = "The Jupyter server does not run jupyter_agent."
_NO_SERVER_HINT = (
    "Install jupyter-agent-panel in the environment of the server (not only of this kernel), then restart the server."
)
_NOT_BUILT = "The panel's front end is missing from this installation of jupyter-agent-panel; install it again."


def _loader() -> str:
    try:
        return (STATIC / "widget-loader.js").read_text(encoding="utf-8")
    except OSError:
        # Said in the page, where the user looks: the cell itself must not fail.
        return (
            "export default { render({ el }) { el.setAttribute('role', 'alert'); "
            f"el.textContent = {json.dumps(_NOT_BUILT)}; }} }};"
        )


class AgentPanel(anywidget.AnyWidget):
    """A view of this notebook's session, in a cell's output.

    Args:
        session_id: show this session, of the same notebook; default: the notebook's latest.
        new: begin a new session of the notebook.
        height: the panel's height, a CSS length or a number of pixels.
        transport: how the page talks to the server: ``"comm"``, through this kernel, in any page; or ``"socket"``,
            past the kernel, where the Jupyter server of the page has the session, and else by comm.
    """

    _esm = _loader()
    # What ``close`` looks at: it is called for a panel, too, that a wrong argument kept from being made.
    _relay: KernelRelay | None = None
    _panel_id = ""

    session_id = traitlets.Unicode(None, allow_none=True).tag(sync=True)
    height = traitlets.Unicode("480px").tag(sync=True)
    transport = traitlets.Enum(["comm", "socket"], "comm").tag(sync=True)
    mode = traitlets.Unicode("", read_only=True)
    model = traitlets.Unicode("", read_only=True)
    title = traitlets.Unicode("", read_only=True)
    status = traitlets.Unicode("connecting", read_only=True)

    def __init__(
        self,
        session_id: str | None = None,
        *,
        new: bool = False,
        height: str | int = "480px",
        transport: str = "comm",
        **kwargs: Any,
    ) -> None:
        if transport not in ("comm", "socket"):
            raise ValueError("The transport is 'comm' or 'socket'.")
        self._relay = kernel_relay()
        self._wish = session_id
        self._wants_new = new and session_id is None
        self._answered = threading.Event()
        super().__init__(session_id=session_id, height=_css_length(height), transport=transport, **kwargs)
        self._free_the_comm()
        self.on_msg(self._on_page)
        if self.comm is not None:
            self.comm.on_close(self._on_comm_close)
        if self._relay is None:
            self.set_trait("status", "offline")
            return
        self._panel_id = str(self.model_id)
        self._relay.join(self._panel_id, self)
        self._attach()
        threading.Thread(target=self._insist, name="jupyter_agent", daemon=True).start()

    # -- for the user ------------------------------------------------------------------

    def ask(self, text: str) -> None:
        """Send a message; returns at once. While a turn runs, the message waits its turn."""
        if not text.strip():
            raise ValueError("Say what you want to ask.")
        message = {"id": f"msg_{uuid.uuid4().hex[:20]}", "parts": [{"type": "text", "text": text}]}
        self._command("message.send", {**message, "when_busy": "queue"})

    def set_mode(self, mode: str) -> None:
        """Switch to ``"plan"`` (look only) or ``"build"`` (act); returns at once."""
        if mode not in ("plan", "build"):
            raise ValueError("The mode is 'plan' or 'build'.")
        self._command("session.set", {"mode": mode})

    def stop(self) -> None:
        """Stop the running turn, if there is one; the text so far stays."""
        self._to_server({"stop": {}})

    def close(self) -> None:
        """Close the panel; its session goes on."""
        if self._relay is not None:
            self._relay.leave(self._panel_id)
        super().close()

    # -- from the server (control thread) ------------------------------------------------

    def on_server(self, content: Json) -> None:
        """Pass on what the server sent."""
        self._answered.set()
        if "hello" in content:
            self._take_facts(content["hello"])
            self.send({"hello": content["hello"]})
        if "frames" in content:
            self._send_in_pieces({"frames": content["frames"]})

    def _take_facts(self, facts: Json) -> None:
        for name in ("session_id", "mode", "model", "status", "title"):
            if name in facts:
                self.set_trait(name, facts[name])

    # -- from the page -------------------------------------------------------------------

    def _on_page(self, _widget: Any, content: Any, _buffers: Any) -> None:
        match content:
            case {"attach": _}:
                self._attach()
            case {"command": {**command}}:
                self._to_server({"command": command})
            case {"bundle": _}:
                self._send_bundle()
            case _:
                pass

    def _on_comm_close(self, _msg: Any) -> None:
        """A page closed the comm: the server's view goes, and other pages that show the panel are told."""
        if self.comm is not None:
            self.comm.publish_msg("comm_close")
        self.close()

    def _handle_msg(self, msg: Any) -> None:
        try:
            super()._handle_msg(msg)
        finally:
            if self._relay is not None:
                self._relay.keep_thread_output()

    def _send_bundle(self) -> None:
        """Send the panel itself, for pages that the Jupyter server did not serve."""
        try:
            script = (STATIC / "widget.js").read_text(encoding="utf-8")
            style = (STATIC / "widget.css").read_text(encoding="utf-8")
        except OSError:
            self._tell_page("not_built", _NOT_BUILT)
            return
        self._send_in_pieces({"bundle": script, "style": style})

    # -- the two directions ----------------------------------------------------------------

    def _attach(self) -> None:
        wish = self.session_id if self.session_id is not None else self._wish
        # Once there is an answer, the new session is the one that is asked for again.
        new = {"new": True} if self._wants_new and wish is None else {}
        self._to_server({"attach": {"session_id": wish, "version": __version__, **new}})

    def _command(self, tag: str, body: Json) -> None:
        self._to_server({"command": {"v": 1, "cmd_id": str(uuid.uuid4()), "type": tag, "d": body}})

    def _to_server(self, content: Json) -> None:
        if self._relay is None:
            self._tell_page("no_kernel", "There is no Jupyter kernel here, so nobody hears this panel.")
            return
        self._relay.publish(self._panel_id, content)

    def _insist(self) -> None:
        """Attach again until the server answers: its ear may have come after our first word."""
        for _ in range(PATIENCE):
            if self._answered.wait(ANSWER_S):
                return
            self._attach()
        if not self._answered.wait(ANSWER_S):
            self.set_trait("status", "offline")
            self._tell_page("no_server", _NO_SERVER, _NO_SERVER_HINT)

    def _tell_page(self, code: str, message: str, hint: str | None = None) -> None:
        said = {"code": code, "message": message} | ({"hint": hint} if hint else {})
        self.send({"frames": [{"v": 1, "sid": self.session_id or "", "ep": "", "type": "error", "d": said}]})

    def _send_in_pieces(self, content: Json) -> None:
        for piece in in_pieces(content):
            self.send(piece)

    def _free_the_comm(self) -> None:
        # ipykernel ≥ 7 sends a comm's messages to the shell that published last on
        # it, whatever shell the page asked for: Stop would wait for the cell to end.
        # None makes it honour the page's choice. Private, hence the guard.
        comm = self.comm
        if comm is not None and hasattr(comm, "_reply_subshell_for"):
            setattr(comm, "_reply_subshell_for", None)  # noqa: B010 -- pyright and SLF001 would both object


def _css_length(height: str | int) -> str:
    return f"{height}px" if isinstance(height, int) else height
