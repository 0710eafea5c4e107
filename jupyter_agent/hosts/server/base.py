"""What all our handlers share: who may ask, and how a refusal reads.

Every request is authenticated by the server's identity provider, authorized
for the resource ``jupyter_agent``, and protected against cross-site requests
as Jupyter's own REST is. Every error is ``{"error": {"code", "message",
"hint"?}}`` with the right status, never a traceback.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Awaitable, Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from ...errors import (
    AgentError,
    CommandRejected,
    ModelError,
    ProtocolError,
    SessionError,
    SessionNotFound,
    StoreError,
)
from ...protocol.ids import is_session_id
from ...protocol.plain import sound
from .engine import Engine

AUTH_RESOURCE = "jupyter_agent"
INTERNAL = "Something went wrong inside jupyter_agent; the server's log has the details."

Method = Callable[..., Awaitable[None]]


class BadRequest(AgentError):
    """What was asked makes no sense."""

    code = "bad_request"


class NotAllowed(AgentError):
    """The authorizer said no."""

    code = "forbidden"


class TooLarge(AgentError):
    """The body is over the limit."""

    code = "too_large"


_BY_CODE = {
    "unknown_cursor": HTTPStatus.BAD_REQUEST,
    "not_importable": HTTPStatus.BAD_REQUEST,
    "no_snapshot": HTTPStatus.NOT_FOUND,
    "invalid_task": HTTPStatus.BAD_REQUEST,
    "no_such_task": HTTPStatus.NOT_FOUND,
    "no_such_rule": HTTPStatus.NOT_FOUND,
    "unknown_message": HTTPStatus.NOT_FOUND,
    "shutting_down": HTTPStatus.SERVICE_UNAVAILABLE,
    "conflicting_distribution": HTTPStatus.SERVICE_UNAVAILABLE,
}
_BY_KIND: tuple[tuple[type[AgentError], int], ...] = (
    (SessionNotFound, HTTPStatus.NOT_FOUND),
    (NotAllowed, HTTPStatus.FORBIDDEN),
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (BadRequest, HTTPStatus.BAD_REQUEST),
    (ProtocolError, HTTPStatus.BAD_REQUEST),
    (CommandRejected, HTTPStatus.CONFLICT),
    (ModelError, HTTPStatus.BAD_GATEWAY),
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
    (SessionError, HTTPStatus.SERVICE_UNAVAILABLE),
)


def name_of(user: Any) -> str:
    """Return who this is, the same name each time.

    Whoever signs in with the server's token alone gets a name made up by Jupyter, another one in each browser:
    what they allow for good belongs to all who have the token.
    """
    made_up = re.fullmatch("[0-9a-f]{32}", user.username) and str(user.name).startswith("Anonymous ")
    return "anonymous" if made_up else str(user.username)


def status_of(error: AgentError) -> int:
    """Return the HTTP status that fits ``error``."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    for kind, status in _BY_KIND:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def to_json(value: Any) -> str:
    """Return compact JSON, as ``protocol.frames`` does, whose import a server's start need not pay for."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def error_body(code: str, message: str, hint: str | None = None) -> str:
    """Return an error as every reply of ours spells it."""
    error = {"code": code, "message": message}
    if hint is not None:
        error["hint"] = hint
    return to_json({"error": error})


def guarded(method: Method) -> Any:
    """Let only authenticated and authorized users in; GET reads, all else writes."""
    decorate: Any = authorized
    return web.authenticated(decorate(resource=AUTH_RESOURCE)(method))


class AgentHandler(APIHandler):
    """A REST handler with the engine at hand."""

    auth_resource = AUTH_RESOURCE
    engine: Engine

    def initialize(self, engine: Engine) -> None:
        """Take the engine from the route."""
        self.engine = engine

    @property
    def user_name(self) -> str:
        """Who asks, as approvals record it."""
        return name_of(self.current_user)

    async def may(self, action: str) -> bool:
        """Ask the authorizer about more than the request's own method."""
        return await is_allowed(self, action)

    def reply(self, body: dict[str, Any], status: int = HTTPStatus.OK) -> None:
        """Finish with JSON."""
        self.set_status(status)
        self.finish(to_json(body))

    def json_object(self) -> dict[str, Any]:
        """Return the request's body, an object; an empty body is an empty one."""
        raw = self.request.body.strip()
        if not raw:
            return {}
        try:
            body = sound(json.loads(raw))
        except (ValueError, RecursionError):
            raise BadRequest("The body is not JSON that could be kept.") from None
        if not isinstance(body, dict):
            raise BadRequest("The body is not a JSON object.")
        return body  # pyright: ignore[reportUnknownVariableType] -- free-form JSON

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what went wrong in our one shape."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        match error:
            case AgentError():
                self.set_status(status_of(error))
                body = error_body(error.code, error.message, error.hint)
            case web.HTTPError():
                body = error_body(_code_of(status_code), _said_by(error))
            case _:
                body = error_body("internal", INTERNAL)
        self.finish(body)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Keep expected refusals out of the log; the unexpected is logged in full."""
        if isinstance(value, AgentError):
            self.log.debug("%s %s: %s", self.request.method, self.request.path, value)
            return
        super().log_exception(typ, value, tb)


async def is_allowed(handler: Any, action: str) -> bool:
    """Tell whether the handler's user may do ``action`` with sessions."""
    return bool(
        await ensure_async(handler.authorizer.is_authorized(handler, handler.current_user, action, AUTH_RESOURCE))
    )


class Unsent:
    """What a connection's peer has yet to take, as far as Tornado tells."""

    def __init__(self) -> None:
        self._ends: deque[int] = deque()

    def sent(self, stream: Any) -> None:
        """Something whole was just written to ``stream``."""
        self._ends.append(getattr(stream, "_total_write_index", 0))

    def of(self, stream: Any) -> tuple[int, int]:
        """Return how many of these wait, and how many bytes."""
        written = getattr(stream, "_total_write_index", 0)
        taken = getattr(stream, "_total_write_done_index", 0)
        while self._ends and self._ends[0] <= taken:
            self._ends.popleft()
        return len(self._ends), written - taken


def of_session(method: Method) -> Method:
    """Answer 404 for what cannot be a session's id, before any path is built from it."""

    @wraps(method)
    async def checked(self: AgentHandler, session_id: str, *rest: str) -> None:
        if not is_session_id(session_id):
            raise SessionNotFound("There is no such session.")
        await method(self, session_id, *rest)

    return checked


def _code_of(status: int) -> str:
    try:
        return HTTPStatus(status).name.lower()
    except ValueError:
        return "error"


def _said_by(error: web.HTTPError) -> str:
    message = error.log_message
    if not message:
        return HTTPStatus(error.status_code).phrase
    return message % error.args if error.args else message
