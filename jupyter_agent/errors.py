"""Every error this package raises on purpose, drawn once.

::

    AgentError                      .code: stable string on the wire   .hint: what to do about it
    ├── ProtocolError               answered to that one connection
    │   ├── MalformedFrame          malformed
    │   ├── UnsupportedVersion      version
    │   └── UnknownCommand          unknown_command
    ├── CommandRejected             travels in the ack that rejects the command
    ├── SessionError                shown to the user
    │   ├── SessionNotFound         not_found
    │   └── SessionFailed           session_failed
    ├── ModelError                  ends the turn calmly, shown with the request id
    ├── ToolError                   told to the model as a failed result
    └── StoreError                  shown to the user
        ├── StoreTooNew             store_too_new
        ├── StoreLocked             open_elsewhere
        ├── StoreDamaged            store_damaged
        └── StoreUnwritable         store_unwritable

``code`` is what programs match on and never changes once released; the
message is for people and may. Errors raised by libraries are turned into one
of these where they can first be understood, and nowhere else.
"""

from __future__ import annotations

PASSING = frozenset({"closing", "open_elsewhere", "session_failed", "shutting_down", "store_error", "store_unwritable"})
"""Codes of what passes by itself: a command refused for one of these is neither done nor on record, so that a client
keeps it and sends it again under the same ``cmd_id``. Every other refusal is final."""


class AgentError(Exception):
    """The root. ``str(error)`` is a sentence a user can read."""

    code = "internal"

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.hint = hint

    @property
    def passing(self) -> bool:
        """Whether the same request may be granted later."""
        return self.code in PASSING


class ProtocolError(AgentError):
    """The peer broke the wire's rules; only that peer is told."""

    code = "malformed"


class MalformedFrame(ProtocolError):
    """Not JSON, not an object, or a field of the wrong shape. ``cmd_id`` says whose, where that much could be read."""

    def __init__(self, message: str, *, cmd_id: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.cmd_id = cmd_id


class UnsupportedVersion(ProtocolError):
    """An envelope or a hello of another major version."""

    code = "version"


class UnknownCommand(ProtocolError):
    """A well-formed command whose type this server does not know."""

    code = "unknown_command"

    def __init__(self, message: str, *, cmd_id: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.cmd_id = cmd_id


class CommandRejected(AgentError):
    """A command that came too late, or aims at something that is not there."""

    code = "rejected"


class SessionError(AgentError):
    """The session as a whole cannot do what was asked."""


class SessionNotFound(SessionError):
    """No session has this id."""

    code = "not_found"


class SessionFailed(SessionError):
    """The session could not be woken; the next command tries again."""

    code = "session_failed"


class ModelError(AgentError):
    """The model could not answer. The turn ends; the session stays usable.

    ``retryable`` tells the panel whether offering "Try again" makes sense;
    ``request_id`` is what Anthropic's support asks for.
    """

    code = "model_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        retryable: bool = False,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.retryable = retryable
        self.request_id = request_id


class ToolError(AgentError):
    """A tool could not do its work. The message is written for the model."""

    code = "tool_error"


class StoreError(AgentError):
    """The database refused."""

    code = "store_error"


class StoreTooNew(StoreError):
    """Written by a newer version of this package."""

    code = "store_too_new"


class StoreLocked(StoreError):
    """Another server owns this session."""

    code = "open_elsewhere"


class StoreDamaged(StoreError):
    """The file is not the database it should be."""

    code = "store_damaged"


class StoreUnwritable(StoreError):
    """The disk is full or the directory is read-only."""

    code = "store_unwritable"
