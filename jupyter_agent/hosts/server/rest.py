"""Sessions over REST, for lists, scripts and what must work without a socket.

All paths are below ``{base_url}jupyter-agent/api/v1``. A reply about one
session is ``{"session": {…}}``; lists hold plain objects and ``has_more``.
What is out of range is refused, never clamped.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from ... import __version__
from ...errors import CommandRejected, SessionNotFound
from ...protocol.ids import now_ms
from ...protocol.plain import to_plain
from .base import AgentHandler, BadRequest, NotAllowed, TooLarge, guarded, of_session

PROTOCOL = 1
_MAX_PAGE = 200
_LIMIT_DIGITS = 20
_STATES = ("active", "archived", "all")
_MODES = ("plan", "build")
_TITLE_CHARS = 500
_PATH_CHARS = 4096


class StatusHandler(AgentHandler):
    """Is the agent here, and who would answer? Wakes nothing."""

    @guarded
    async def get(self) -> None:
        model = self.engine.model
        self.reply(
            {
                "version": __version__,
                "protocol": PROTOCOL,
                "healthy": True,
                "model": {"kind": model.kind, "name": self.engine.settings.model},
                "storage": self.engine.storage,
            }
        )


class ModelsHandler(AgentHandler):
    """The models on offer, from the endpoint itself."""

    @guarded
    async def get(self) -> None:
        models = await self.engine.model.list_models()
        self.reply({"models": [to_plain(model) for model in models], "default": self.engine.settings.model})


class SessionsHandler(AgentHandler):
    """The list, and where new sessions are made."""

    @guarded
    async def get(self) -> None:
        state = self.get_query_argument("state", "active")
        if state not in _STATES:
            raise BadRequest(f"state is one of {', '.join(_STATES)}.")
        limit = _limit(self.get_query_argument("limit", None), default=self.engine.settings.page)
        query = self.get_query_argument("q", "")
        if len(query) > _TITLE_CHARS:
            raise BadRequest(f"q has {_TITLE_CHARS} characters at most.")
        before = self.get_query_argument("before", None)
        path = self.get_query_argument("notebook_path", None, strip=False)
        if path is not None and not _is_path(path):
            raise BadRequest("notebook_path is a path below the server's root, empty for sessions without a notebook.")
        host = await self.engine.host()
        notebook = None if path is None else (path or None,)
        sessions, has_more = await host.list_sessions(state, query, limit, before, notebook=notebook)
        self.reply({"sessions": [to_plain(session) for session in sessions], "has_more": has_more})

    @guarded
    async def post(self) -> None:
        wish = _checked(self.json_object(), _CREATE)
        host = await self.engine.host()
        session = await host.create(**wish)
        self.reply({"session": to_plain(session)}, HTTPStatus.CREATED)


class SessionHandler(AgentHandler):
    """One session."""

    @guarded
    @of_session
    async def get(self, session_id: str) -> None:
        host = await self.engine.host()
        body = {"session": to_plain(await host.session(session_id))}
        if (why := host.why_only_look(session_id)) is not None:
            body["read_only"] = {"code": why.code, "message": why.message, "hint": why.hint}
        self.reply(body)

    @guarded
    @of_session
    async def patch(self, session_id: str) -> None:
        wish = _checked(self.json_object(), _PATCH)
        if_rev = wish.pop("if_rev", None)
        host = await self.engine.host()
        session = await host.update(session_id, wish, if_rev, by=self.user_name, road="rest")
        self.reply({"session": to_plain(session)})

    @guarded
    @of_session
    async def delete(self, session_id: str) -> None:
        host = await self.engine.host()
        await host.delete(session_id)
        self.set_status(HTTPStatus.NO_CONTENT)
        self.finish()


class MessagesHandler(AgentHandler):
    """A page of the transcript, the newest by default."""

    @guarded
    @of_session
    async def get(self, session_id: str) -> None:
        limit = _limit(self.get_query_argument("limit", None), default=self.engine.settings.page)
        before = self.get_query_argument("before", None)
        host = await self.engine.host()
        messages, earlier = await host.messages(session_id, before, limit)
        shown = [to_plain(message) for message in messages]
        self.reply({"messages": shown, "has_more": earlier is not None, "before": earlier})


class PartHandler(AgentHandler):
    """One part, whole: views are shown a large one cut."""

    @guarded
    @of_session
    async def get(self, session_id: str, message_id: str, part_id: str) -> None:
        host = await self.engine.host()
        self.reply({"part": await host.part(session_id, message_id, part_id)})


class ArchiveHandler(AgentHandler):
    """Put a session away, or take it out again. Doing so twice is no error."""

    @guarded
    @of_session
    async def post(self, session_id: str, action: str) -> None:
        host = await self.engine.host()
        session = await host.session(session_id)
        archive = action == "archive"
        if archive != (session.archived_at is not None):
            session = await host.update(session_id, {"archived_at": now_ms() if archive else None})
        self.reply({"session": to_plain(session)})


class BranchHandler(AgentHandler):
    """Rewind, clear, fork: the protocol's commands, for who has no socket. A ``cmd_id`` may be repeated."""

    @guarded
    @of_session
    async def post(self, session_id: str, action: str) -> None:
        body = _checked(self.json_object(), _BRANCH[action])
        if action == "rewind" and "message_id" not in body:
            raise BadRequest("message_id names the message that is to be the last.")
        host = await self.engine.host()
        cmd_id = body.pop("cmd_id", None) or str(uuid.uuid4())
        kind = "fork" if action == "duplicate" else action
        command = {"v": PROTOCOL, "cmd_id": cmd_id, "type": f"session.{kind}", "d": body}
        ack = await host.command(session_id, command, user=self.user_name, road="rest")
        if (error := ack.get("error")) is not None:
            raise CommandRejected(error["message"], code=error["code"], hint=error.get("hint"))
        if kind == "fork":
            self.reply({"session": ack["result"]["session"]}, HTTPStatus.CREATED)
        else:
            self.reply({"session": to_plain(await host.session(session_id))})


class UndeleteHandler(AgentHandler):
    """Bring a deleted session back, as long as that is possible. Doing so twice is no error."""

    @guarded
    @of_session
    async def post(self, session_id: str) -> None:
        host = await self.engine.host()
        self.reply({"session": to_plain(await host.undelete(session_id))})


class CommandsHandler(AgentHandler):
    """One protocol command in, its ack out: Stop works here when no socket does."""

    @guarded
    @of_session
    async def post(self, session_id: str) -> None:
        if len(self.request.body) > self.engine.settings.frame_bytes:
            raise TooLarge(f"A command may have {self.engine.settings.frame_bytes} bytes at most.")
        command = self.json_object()
        if allows_a_call(command) and not await self.may("execute"):
            raise NotAllowed("You may not approve what runs code.")
        host = await self.engine.host()
        self.reply(await host.command(session_id, command, user=self.user_name, road="rest"))


class UnknownHandler(AgentHandler):
    """Whatever else is asked below our base."""

    @guarded
    async def get(self, *_path: str) -> None:
        raise NoSuchRoute("There is nothing at this address.")

    post = put = patch = delete = get


class NoSuchRoute(SessionNotFound):
    """A path that this version does not serve."""


def allows_a_call(command: dict[str, Any]) -> bool:
    """Tell whether a raw command would let a tool act."""
    if command.get("type") != "approval.answer":
        return False
    body = command.get("d")
    return not isinstance(body, dict) or cast("dict[str, Any]", body).get("decision") != "deny"


# -- what a request may say -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rule:
    """A field's check and the words for its failure."""

    accepts: Callable[[Any], bool]
    expects: str


def _is_path(value: Any) -> bool:
    # Without line breaks and the like: the model reads it too, on a line of its own.
    return isinstance(value, str) and len(value) <= _PATH_CHARS and min(value, default=" ") >= " "


_TITLE = _Rule(lambda v: isinstance(v, str) and len(v) <= _TITLE_CHARS, f"a string of up to {_TITLE_CHARS} characters")
_MODE = _Rule(lambda v: v in _MODES, "plan or build")
_MODEL = _Rule(lambda v: isinstance(v, str) and 0 < len(v) <= _MAX_PAGE, "a model's id")
_PATH = _Rule(lambda v: v is None or _is_path(v), "a path below the server's root, or null")
_REV = _Rule(lambda v: isinstance(v, int) and not isinstance(v, bool), "an integer")
_CREATE = {"title": _TITLE, "mode": _MODE, "model": _MODEL, "notebook_path": _PATH}
_CMD_ID = _Rule(lambda v: isinstance(v, str) and 0 < len(v) <= _MAX_PAGE, "a command's id")
_MESSAGE = _Rule(lambda v: isinstance(v, str) and 0 < len(v) <= _MAX_PAGE, "a message's id")
_BRANCH = {
    "rewind": {"cmd_id": _CMD_ID, "message_id": _MESSAGE},
    "fork": {"cmd_id": _CMD_ID, "message_id": _Rule(lambda v: v is None or _MESSAGE.accepts(v), "a message's id")},
    "duplicate": {"cmd_id": _CMD_ID},
    "clear": {"cmd_id": _CMD_ID},
}
_PATCH = {**_CREATE, "if_rev": _REV}


def _checked(body: dict[str, Any], rules: dict[str, _Rule]) -> dict[str, Any]:
    for name, value in body.items():
        if name not in rules:
            raise BadRequest(f"{name[:40]!r} is not a field that can be set here.")
        if not rules[name].accepts(value):
            raise BadRequest(f"{name} must be {rules[name].expects}.")
    return body


def _limit(text: str | None, *, default: int) -> int:
    if text is None:
        return default
    # Python refuses to read numbers of thousands of digits.
    if not (len(text) <= _LIMIT_DIGITS and text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_PAGE):
        raise BadRequest(f"limit is a number from 1 to {_MAX_PAGE}.")
    return int(text)
