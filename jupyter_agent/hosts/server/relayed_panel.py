"""The server's end of one inline panel.

::

    page ⇄ comm ⇄ AgentPanel (kernel) ⇄ RelayedPanel ⇄ session
                                          │ what arrives is handled in order, one at a time
                                          │ what leaves goes through an ``Outbox``

Code in a kernel is the user's own, and may be the model's. So a panel reaches
only sessions of its kernel's notebook, as the user who started the kernel;
it never grants anything for good; and while code that the agent runs occupies
the kernel, it neither approves anything nor changes the mode. What such code
left behind (a thread) could speak later: where the pages have another road,
as all have that this server serves, none approves by this one any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from ...errors import AgentError, MalformedFrame, SessionNotFound
from ...protocol.commands import ApprovalAnswer, Command, MessageSend, SessionSet, TaskUpdate
from ...protocol.events import Error, ErrorInfo
from ...protocol.frames import Frame, dump_json, transient
from ...protocol.ids import is_session_id, new_id, now_ms
from ...settings import Settings
from ..kernel import RELAY
from .base import INTERNAL
from .outbox import Outbox
from .rights import refusal

if TYPE_CHECKING:
    from ...notebook.kernel_link import KernelLink
    from ...protocol.content import Session
    from ...session.connection import Connection
    from ...session.host import SessionHost
    from .relay import Answers

Json = dict[str, Any]

FACTS_S = 0.05
_FACTS = ("mode", "model", "status", "title")
_TURN_TO_SESSION = {"running": "streaming", "awaiting": "awaiting", "recovering": "recovering", "stopping": "streaming"}

_NEVER_ALWAYS = ErrorInfo(
    code="forbidden",
    message="An inline panel cannot allow a tool for good.",
    hint="Use the side panel.",
)
_OWN_CODE = ErrorInfo(
    code="own_code_runs",
    message="Code that the agent runs occupies this kernel, so this cannot come from here.",
    hint="Use the side panel, or wait until the cell has ended.",
)


_MOST_WAITING = 500
_TOO_MANY = AgentError(
    "The kernel sends more than can be handled; some of it was dropped.", code="busy", hint="Try again in a moment."
)
_OWN_CODE_RAN = ErrorInfo(
    code="own_code_ran",
    message="Code that the agent ran in this kernel could answer in your place, so this cannot come from here.",
    hint="Use the side panel, or restart the kernel.",
)


class OtherNotebook(AgentError):
    """A panel may only show its own notebook's sessions."""

    code = "other_notebook"


class RelayedPanel:
    """One ``AgentPanel`` of one kernel."""

    def __init__(
        self,
        panel_id: str,
        *,
        link: KernelLink,
        answers: Answers,
        settings: Settings,
        get_host: Callable[[], Awaitable[SessionHost]],
        find_notebook: Callable[[], Awaitable[str]],
        user: str,
        may_write: bool,
        may_execute: bool,
        log: Any,
    ) -> None:
        self.panel_id = panel_id
        self._link = link
        self._answers = answers
        self._settings = settings
        self._get_host = get_host
        self._find_notebook = find_notebook
        self._user = user
        self._may_write = may_write
        self._may_execute = may_execute
        self._log = log
        self._session_id: str | None = None
        self._connection: Connection | None = None
        self._page_listens = False
        self._facts: Json = {}
        self._told: Json = {}
        self._turn: str | None = None
        self._asked: set[str] = set()
        self._stop_when_known = False
        self._synced = False
        self._own_commands: set[str] = set()
        self._ep = ""
        self._telling: asyncio.TimerHandle | None = None
        self._outbox = Outbox(
            self._send_frames,
            flush_s=settings.comm_flush_ms / 1000,
            message_bytes=settings.comm_frame_bytes,
            pending_frames=settings.pending_frames,
            pending_bytes=settings.pending_bytes,
        )
        self._inbox: asyncio.Queue[Json] = asyncio.Queue(_MOST_WAITING)
        self._overrun = False
        self._task = asyncio.get_running_loop().create_task(self._work())

    # -- from the kernel ---------------------------------------------------------------

    def receive(self, content: Json) -> None:
        """Take what the panel sent; it is handled in the order it came. Beyond what may wait it is refused, once."""
        try:
            self._inbox.put_nowait(content)
            self._overrun = False
        except asyncio.QueueFull:
            if not self._overrun:
                self._overrun = True
                self._complain(_TOO_MANY)

    def confirm(self, msg_id: str) -> None:
        """The kernel has passed on what we sent under this id."""
        self._outbox.confirm(msg_id)

    def close(self) -> None:
        """Let go; the session and its turn go on without this view."""
        self._task.cancel()
        self._outbox.close()
        if self._telling is not None:
            self._telling.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _work(self) -> None:
        while True:
            content = await self._inbox.get()
            try:
                await self._handle(content)
            except AgentError as error:
                self._complain(error)
            except Exception:
                self._log.exception("an inline panel's message failed")
                self._complain(AgentError(INTERNAL))

    async def _handle(self, content: Json) -> None:
        match content:
            case {"attach": {**wish}}:
                await self._attach(cast("Json", wish).get("session_id"), new=cast("Json", wish).get("new") is True)
            case {"command": {**command}}:
                self._command(cast("Json", command))
            case {"stop": {}}:
                self._stop()
            case _:
                self._log.warning("an inline panel sent something unknown; dropped")

    # -- attaching ---------------------------------------------------------------------

    async def _attach(self, wish: object, *, new: bool) -> None:
        if self._connection is None or (wish is not None and wish != self._session_id):
            # The first session of a server waits for imports: the page shall know that somebody is here.
            self._send_control({"hello": {"status": "connecting"}})
            host = await self._get_host()
            session = await self._choose(host, wish, new=new)
            self._connect(host, session)
        self._told = {}
        self._tell_facts()

    async def _choose(self, host: SessionHost, wish: object, *, new: bool) -> Session:
        notebook = await self._find_notebook()
        if new and wish is None and self._may_write:
            return await host.create(notebook_path=notebook)
        if wish is None:
            return await host.for_notebook(notebook)
        if not isinstance(wish, str) or not is_session_id(wish) or not host.exists(wish):
            raise SessionNotFound(
                "This panel's session does not exist any more.", hint="Use AgentPanel() without a session_id."
            )
        session = await host.session(wish)
        if session.notebook_path != notebook or not await host.library.is_here(session.id):
            raise OtherNotebook(
                "This session belongs to another notebook.", hint="Use AgentPanel() without a session_id."
            )
        return session

    def _connect(self, host: SessionHost, session: Session) -> None:
        if self._connection is not None:
            self._connection.close()
        self._page_listens = False
        self._turn, self._ep = None, ""
        self._session_id = session.id
        self._facts = {name: getattr(session, name) for name in _FACTS}
        self._connection = host.connect(session.id, self._sink, user=self._user, road="comm", guard=self._guard)
        self._look()

    def _look(self) -> None:
        """Follow the session: for traits that are true without a page, and for the turn that Stop means."""
        self._say("subscribe", {"since": None, "page": 1})

    # -- commands ----------------------------------------------------------------------

    def _command(self, command: Json) -> None:
        if self._connection is None:
            raise AgentError("The panel is not attached to a session.", code="detached", hint="Run its cell again.")
        if _size(command) > self._settings.frame_bytes:
            raise AgentError("The message is too large.", code="too_large", hint="Attach it as a file.")
        match command:
            case {"type": "subscribe"}:
                self._page_listens = True
            case {"type": "message.send", "cmd_id": str(cmd_id)}:
                self._asked.add(cmd_id)
            case _:
                pass
        self._connection.receive(command)

    def _stop(self) -> None:
        if self._turn is not None:
            self._say("turn.stop", {"turn": self._turn})
        elif self._asked or not self._synced:
            # Asked, or attached, and stopped in one breath: the turn's id is on its way.
            self._stop_when_known = True

    def _say(self, tag: str, body: Json) -> None:
        assert self._connection is not None
        cmd_id = new_id("cmd")
        self._own_commands.add(cmd_id)
        self._connection.receive({"v": 1, "cmd_id": cmd_id, "type": tag, "d": body})

    def _guard(self, command: Command) -> ErrorInfo | None:
        match command:
            case ApprovalAnswer(scope="always"):
                return _NEVER_ALWAYS
            case (
                ApprovalAnswer() | MessageSend(deny_pending=True) | SessionSet(mode=str()) | TaskUpdate(mode=str())
            ) if self._link.runs_our_code():
                return _OWN_CODE
            case ApprovalAnswer(decision="allow") if self._link.ran_our_code and not self._answers.by_comm:
                return _OWN_CODE_RAN
            case _:
                refused = refusal(command, may_write=self._may_write, may_execute=self._may_execute)
        if refused is None and isinstance(command, ApprovalAnswer) and command.decision == "allow":
            self._answers.by_comm = True
        return refused

    # -- from the session --------------------------------------------------------------

    def _sink(self, frame: Frame) -> None:
        data = frame.data
        self._ep = data.get("ep") or self._ep
        for event in _events(data):
            self._follow(event)
        if self._is_for_the_page(data):
            self._outbox.add(data)
        if self._telling is None:
            # Traits are looked at now and then; an answer's first words are waited for, and go before them.
            self._telling = asyncio.get_running_loop().call_later(FACTS_S, self._tell_facts)

    def _is_for_the_page(self, data: Json) -> bool:
        if data.get("type") == "ack":
            cmd_id = data["d"]["cmd_id"]
            if cmd_id in self._own_commands:
                self._own_commands.discard(cmd_id)
                return False
            return True
        return self._page_listens or data.get("type") in ("welcome", "error", "pong")

    def _follow(self, event: Json) -> None:
        body: Json = event["d"]
        match event["type"]:
            case "snapshot":
                turn: Json = body.get("turn") or {}
                self._turn, self._synced = turn.get("id"), True
                self._stop_late({"turn": self._turn})
                self._stop_when_known = self._stop_when_known and bool(self._asked)
                self._facts |= {name: body["session"][name] for name in _FACTS}
            case "session.updated":
                self._facts |= {name: body["patch"][name] for name in _FACTS if name in body["patch"]}
            case "turn.started":
                self._turn = body["turn"]["id"]
                self._facts["status"] = "streaming"
            case "turn.status":
                self._facts["status"] = _TURN_TO_SESSION.get(body["status"], self._facts.get("status"))
            case "turn.ended":
                self._turn = None
                self._facts["status"] = "error" if body["outcome"] == "failed" else "ready"
            case "session.deleted":
                self._part()
            case "resync" if not self._page_listens:
                self._look()
            case "ack" if body["cmd_id"] in self._asked:
                self._asked.discard(body["cmd_id"])
                self._stop_late(body.get("result") or {})
            case _:
                pass

    def _part(self) -> None:
        """The session is gone: the next attach asks anew."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._session_id, self._turn = None, None, None

    def _stop_late(self, result: Json) -> None:
        if self._stop_when_known and result.get("turn"):
            self._stop_when_known = False
            self._say("turn.stop", {"turn": result["turn"]})

    # -- to the kernel -----------------------------------------------------------------

    def _tell_facts(self) -> None:
        """Send the traits that changed."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if self._session_id is None:
            return
        facts = {"session_id": self._session_id, **self._facts}
        changed = {name: value for name, value in facts.items() if self._told.get(name) != value}
        if changed:
            self._told |= changed
            self._send_control({"hello": changed})

    def _send_frames(self, frames: list[Json]) -> str:
        return self._send_control({"frames": frames})

    def _send_control(self, content: Json) -> str:
        try:
            return self._link.send_control(RELAY, {"panel": self.panel_id, **content})
        except AgentError:
            # The kernel went away under us; the relay hears of it too and closes this panel.
            return ""

    def _complain(self, error: AgentError) -> None:
        event = Error(code=error.code, message=error.message, hint=error.hint)
        self._send_frames([transient(self._session_id or "", self._ep, now_ms(), event).data])


def _size(command: Json) -> int:
    try:
        return len(dump_json(command))
    except (ValueError, RecursionError):
        raise MalformedFrame("The command is not JSON that could be kept.") from None


def _events(data: Json) -> Iterator[Json]:
    if "batch" in data:
        yield from data["batch"]
    else:
        yield data
