"""Which right a command needs, for the roads on which commands come as values.

::

    read     watch: hello, subscribe, history, ping
    write    everything else
    execute  allow a tool to act
"""

from __future__ import annotations

from ...protocol.commands import ApprovalAnswer, Command, Hello, History, Ping, Subscribe
from ...protocol.events import ErrorInfo

_WATCH_ONLY = ErrorInfo(code="forbidden", message="You may watch this session, not change it.")
_MAY_NOT_ALLOW = ErrorInfo(code="forbidden", message="You may not approve what runs code.")


def refusal(command: Command, *, may_write: bool, may_execute: bool) -> ErrorInfo | None:
    """Return why a user with these rights may not give ``command``; None when they may."""
    match command:
        case Hello() | Subscribe() | History() | Ping():
            return None
        case _ if not may_write:
            return _WATCH_ONLY
        case ApprovalAnswer(decision="allow") if not may_execute:
            return _MAY_NOT_ALLOW
        case _:
            return None
