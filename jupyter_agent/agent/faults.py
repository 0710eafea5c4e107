"""What can go wrong between the loop and the model, in words a user can act on.

::

    before the first byte   HTTP status · connection · timeout            → of_status, of_connection
    in the stream           error event · cut · stall · garbage           → of_status, cut, stalled, malformed
    at its end              no stop reason · a call that is no JSON       → truncated, bad_input

Each becomes a ``Fault``: the ``ModelError`` to show, and whether asking again
by ourselves makes sense. This file knows no library; the door that catches
the exceptions (``claude``) hands over what they carry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..errors import ModelError

_KEY_HINT = (
    "Set ANTHROPIC_API_KEY in the environment that Jupyter starts in (or the api_key_file setting), "
    "then restart Jupyter."
)
_RETRY_STATUS = {408, 409, 429, 529}
_KIND_OF_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failure. ``again``: worth another attempt without asking the user."""

    error: ModelError
    again: bool
    retry_after: float | None = None
    """Seconds the endpoint asked us to wait."""
    detail: str = ""
    """The endpoint's own words; decides which parameter to leave out."""
    silent: bool = False
    """Not one byte came, for as long as we wait."""
    bad_thinking: bool = False
    """A thinking block of the history was refused."""
    bound_elsewhere: bool = False
    """It was, because what stands before it has changed."""

    @property
    def code(self) -> str:
        """The error's stable code."""
        return self.error.code


@dataclass(frozen=True, slots=True)
class _Words:
    code: str
    message: str
    hint: str | None = None
    again: bool = False
    retryable: bool = True


_WORDS = {
    "overloaded_error": _Words("overloaded", "Claude is overloaded right now.", "Try again in a moment.", again=True),
    "rate_limit_error": _Words(
        "rate_limited",
        "The rate limit of this API key is reached.",
        "Wait a little, then try again.",
        again=True,
    ),
    "api_error": _Words("server_error", "Claude's API had an internal error.", "Try again in a moment.", again=True),
    "timeout_error": _Words("timeout", "Claude's API took too long to answer.", "Try again.", again=True),
    "conflict_error": _Words("conflict", "Claude's API was busy with the same request.", "Try again.", again=True),
    "authentication_error": _Words("auth", "The API key was not accepted.", _KEY_HINT),
    "billing_error": _Words(
        "billing",
        "The account of this API key has no credit left.",
        "Add credit in the Claude Console, then try again.",
    ),
    "permission_error": _Words(
        "permission", "This API key may not do that.", "Choose another model, or ask whoever manages the key."
    ),
    "not_found_error": _Words(
        "not_found",
        "The endpoint does not know this address.",
        "Check the base_url setting or ANTHROPIC_BASE_URL.",
    ),
    "request_too_large": _Words(
        "request_too_large", "The conversation is too large to send.", "Start a new session.", retryable=False
    ),
    "invalid_request_error": _Words("invalid_request", "Claude's API refused the request.", retryable=False),
}

_TOO_LONG = re.compile(
    r"prompt is too long|exceeds? (?:the )?(?:model's )?(?:maximum )?context|context (?:window|length)", re.I
)
_BAD_THINKING = re.compile(r"^messages\.\d+.*thinking|invalid `?signature`?", re.I | re.S)
_BAD_HISTORY = re.compile(
    r"^messages(?:\.\d+|:)|`?tool_use`? ids|tool_result|prefill|must end with a user message|roles must alternate"
    # Said without a path, of a picture anywhere in the history; it stays there, and so would the refusal.
    r"|could not process (?:image|pdf|document)",
    re.I,
)
_NO_CREDIT = re.compile(r"credit balance|billing", re.I)


def of_status(
    status: int,
    kind: str | None,
    message: str | None,
    *,
    request_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    model: str = "",
) -> Fault:
    """Read an API error: an HTTP answer, or an ``error`` event within a stream (status 200).

    The kind says more than the status: an overload in mid-stream comes with 200.
    """
    headers = headers or {}
    kind = (
        kind
        if kind in _WORDS
        else _KIND_OF_STATUS.get(status, "api_error" if status >= 500 or status == 200 else "invalid_request_error")
    )
    detail = (message or "").strip()
    words = _refined(kind, detail, model)
    again = words.again or status >= 500 or status in _RETRY_STATUS
    match headers.get("x-should-retry"):
        case "true":
            again = True
        case "false":
            again = False
        case _:
            pass
    return Fault(
        error=ModelError(
            _with_detail(words, detail),
            code=words.code,
            hint=words.hint,
            retryable=words.retryable or again,
            request_id=request_id,
        ),
        again=again,
        retry_after=_retry_after(headers),
        detail=detail,
        bad_thinking=status == 400 and _BAD_THINKING.search(detail) is not None,
        bound_elsewhere="bound to a different conversation" in detail,
    )


def of_connection(detail: str, *, base_url: str, timed_out: bool = False) -> Fault:
    """Nobody answered: refused, unreachable, no name, or no answer in time."""
    if timed_out:
        late = _fault("timeout", f"No answer from {base_url} in time.", "Check the network, then try again.", detail)
        return replace(late, silent=True)
    return _fault("connection", f"Cannot reach {base_url}.", "Check the network and any proxy, then try again.", detail)


def cut(detail: str, request_id: str | None) -> Fault:
    """The connection broke while the answer was coming."""
    return _fault("connection", "The connection broke while Claude was answering.", "Try again.", detail, request_id)


def stalled(seconds: float, request_id: str | None) -> Fault:
    """Not one byte came for ``seconds``."""
    words = f"Claude's answer stopped coming for {seconds:g} seconds."
    return replace(_fault("stalled", words, "Try again.", "", request_id), silent=True)


def truncated(request_id: str | None) -> Fault:
    """The stream ended without saying why."""
    return _fault("truncated", "Claude's answer ended before it was complete.", "Try again.", "", request_id)


def malformed(detail: str, request_id: str | None) -> Fault:
    """The stream held something that is not the Messages protocol."""
    return _fault("malformed", "Claude's answer could not be read.", "Try again.", detail, request_id)


def bad_input(name: str, request_id: str | None) -> Fault:
    """A tool call whose input is no JSON object."""
    return _fault("malformed", f"Claude's call of {name} could not be read.", "Try again.", "", request_id)


def unknown_tool(name: str, request_id: str | None) -> Fault:
    """A call of a tool that was not offered: the API takes no history that holds one."""
    return _fault("malformed", f"Claude called {name!r}, a tool that does not exist.", "Try again.", "", request_id)


def not_an_api(base_url: str, content_type: str, request_id: str | None) -> Fault:
    """The address answers, but not as a model would: a proxy's page, say."""
    error = ModelError(
        f"{base_url} answered with {content_type or 'something'} instead of a message stream.",
        code="bad_endpoint",
        hint="Check the base_url setting or ANTHROPIC_BASE_URL, and any proxy in between.",
        retryable=True,
        request_id=request_id,
    )
    return Fault(error=error, again=False)


def no_credentials(detail: str = "") -> Fault:
    """There is no key, or the profile that should hold one cannot be read."""
    error = ModelError(detail or "No API key for Claude was found.", code="auth", hint=_KEY_HINT, retryable=True)
    return Fault(error=error, again=False)


def not_loaded(detail: str) -> Fault:
    """The SDK could not be imported or set up."""
    error = ModelError(
        f"The Claude client could not be started: {detail}",
        code="client_unavailable",
        hint="Reinstall the package jupyter-agent-panel, then restart Jupyter.",
        retryable=True,
    )
    return Fault(error=error, again=False)


def asks_for_a_long_wait(fault: Fault) -> ModelError:
    """The endpoint wants a longer wait than we are willing to make the user watch."""
    seconds = fault.retry_after or 0
    when = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
    error = fault.error
    return ModelError(
        f"{error.message} It asks to wait {when}.",
        code=error.code,
        hint=f"Try again in {when}.",
        retryable=True,
        request_id=error.request_id,
    )


def _fault(code: str, message: str, hint: str, detail: str, request_id: str | None = None) -> Fault:
    error = ModelError(message, code=code, hint=hint, retryable=True, request_id=request_id)
    return Fault(error=error, again=True, detail=detail)


def _refined(kind: str, detail: str, model: str) -> _Words:
    """The same type of error can mean different things to the user."""
    words = _WORDS[kind]
    if kind == "not_found_error" and detail.startswith("model"):
        return _Words(
            "not_found",
            f"The endpoint has no model called {model or detail[6:].strip()}.",
            "Choose another model.",
        )
    if kind in ("invalid_request_error", "request_too_large") and _TOO_LONG.search(detail):
        return _Words(
            "context_too_long", "The conversation no longer fits into the model's context.", "Start a new session.",
            retryable=False,
        )  # fmt: skip
    if kind in ("invalid_request_error", "permission_error") and _NO_CREDIT.search(detail):
        return _WORDS["billing_error"]
    if kind == "invalid_request_error" and _BAD_HISTORY.search(detail):
        return _Words(
            "bad_history", "Claude's API refused the conversation so far.", "Start a new session; this one stays.",
            retryable=False,
        )  # fmt: skip
    return words


_TELLING = {"invalid_request", "bad_history", "permission", "server_error", "conflict"}
"""Codes whose sentence is too general without the endpoint's own words."""


def _with_detail(words: _Words, detail: str) -> str:
    if words.code not in _TELLING or not detail or len(detail) > 500 or detail.startswith("<"):
        return words.message
    return f"{words.message} It said: {detail}"


_Read = Callable[[str], float]
_SECONDS: tuple[tuple[str, _Read], ...] = (
    ("retry-after-ms", lambda text: float(text) / 1000),
    ("retry-after", float),
)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, read in _SECONDS:
        try:
            seconds = read(headers[name])
        except (KeyError, ValueError):
            continue
        if seconds >= 0:
            return seconds
    return None
