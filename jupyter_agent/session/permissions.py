"""What a permission is bound to, and what is said of a call that the user changed."""

from __future__ import annotations

import hashlib
import json

from ..protocol.content import Json

ASKED_EACH_TIME = frozenset({"exit_plan"})
"""Tools that nobody can allow beforehand."""


def input_hash(input: Json) -> str:
    """Return the lower-case hex sha256 of the input as canonical JSON: keys sorted, no white space, ASCII."""
    canonical = json.dumps(input, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def edited_note(input: Json) -> str:
    """Return what the model reads before the result of a call whose input is not the one it wrote."""
    ran_with = json.dumps(input, ensure_ascii=False, allow_nan=False)
    return f"The user changed the input of this call before allowing it. It ran with: {ran_with}"
