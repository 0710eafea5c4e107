"""What a permission is bound to, and what is said of a call that the user changed."""

from __future__ import annotations

import hashlib
import json
import posixpath
from typing import cast

from ..protocol.content import Effect, Json
from ..store.rules import fits

ASKED_EACH_TIME = frozenset({"exit_plan"})
"""Tools that nobody can allow beforehand."""

_PATTERN_CHARS = 4096

EXPIRE = "approval.expire"
"""The job that ends a question; its payload is the approval's id."""


def expiry_of(approval_id: str) -> str:
    """Return the id of a question's job."""
    return f"expire:{approval_id}"


def input_hash(input: Json) -> str:
    """Return the lower-case hex sha256 of the input as canonical JSON: keys sorted, no white space, ASCII."""
    canonical = json.dumps(input, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def notebook_of(input: Json, session_path: str | None) -> str | None:
    """Return the notebook that a call is about, None when that is not plain: no rule holds there."""
    asked: Json = cast("dict[str, Json]", input).get("path") if isinstance(input, dict) else None
    path = asked or session_path
    if not isinstance(path, str):
        return None
    path = path.strip("/")
    return path if path and posixpath.normpath(path) == path and not path.startswith("..") else None


def pattern_fault(pattern: str | None, path: str | None, effect: Effect) -> str | None:
    """Return why a tool cannot be allowed for good in the notebooks that fit a pattern, None when it can."""
    if pattern is None:
        return None
    if effect == "execute":
        return "Code can be allowed to run for good in one notebook alone."
    if path is None or len(pattern) > _PATTERN_CHARS or not fits(pattern, path, effect):
        return "The pattern does not fit the notebook that was asked about."
    return None


def edited_note(input: Json) -> str:
    """Return what the model reads before the result of a call whose input is not the one it wrote."""
    ran_with = json.dumps(input, ensure_ascii=False, allow_nan=False)
    return f"The user changed the input of this call before allowing it. It ran with: {ran_with}"
