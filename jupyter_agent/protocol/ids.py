"""Identifiers: opaque strings whose prefix says what they name."""

from __future__ import annotations

import re
import secrets
import time
from typing import Literal

Prefix = Literal["ses", "msg", "prt", "trn", "apr", "tsk", "que", "cmd", "con", "rul"]

_SESSION_ID = re.compile(r"ses_[a-z0-9]{16,32}")


def new_id(prefix: Prefix) -> str:
    """Return a fresh id, ``<prefix>_`` and twenty hex digits: eight for the second, twelve random ones.

    Ids of one time stand together in a database's indexes, so that a long session's newest rows cost as little to
    write and to find as a short one's. Nothing is ordered by them.
    """
    return f"{prefix}_{int(time.time()) & 0xFFFFFFFF:08x}{secrets.token_hex(6)}"


def is_session_id(text: str) -> bool:
    """Tell whether ``text`` may name a session (checked before any path is built)."""
    return _SESSION_ID.fullmatch(text) is not None


def now_ms() -> int:
    """Return the wall clock as integer milliseconds since the epoch, the wire's time."""
    return time.time_ns() // 1_000_000
