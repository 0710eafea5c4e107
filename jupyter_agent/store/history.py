"""The API's history, verbatim, and the long bodies of it that stand in blobs."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from ..errors import StoreDamaged
from .blobs import Blobs

Wire = dict[str, Any]


def api_history(conn: sqlite3.Connection, blobs: Blobs, begins_at: str | None = None) -> list[tuple[str, list[Wire]]]:
    """Return ``(role, content)`` of each message of the branch's API history, verbatim, or from one turn on.

    Where a file that held a part of it is gone, the model is told so: the session goes on.
    """
    rows = conn.execute(
        "SELECT b.role, b.body FROM api_blocks b JOIN turns t ON t.id = b.turn_id"
        " WHERE (t.kept_steps IS NULL OR b.step <= t.kept_steps)"
        " AND t.ord >= coalesce((SELECT ord FROM turns WHERE id=?), 0) ORDER BY t.ord, b.step, b.ord",
        (begins_at,),
    )
    return [(role, _body_or_loss(blobs, body)) for role, body in rows]


def newest_words(conn: sqlite3.Connection) -> str | None:
    """Return the turn that the newest thing the user said came with; None when there is nothing before it."""
    row = conn.execute(
        "SELECT t.id FROM messages m JOIN turns t ON t.id = m.turn_id WHERE m.role='user' AND m.removed=0"
        " AND EXISTS (SELECT 1 FROM turns o JOIN api_blocks b ON b.turn_id = o.id WHERE o.ord < t.ord"
        " AND (o.kept_steps IS NULL OR b.step <= o.kept_steps)) ORDER BY m.ord DESC LIMIT 1"
    ).fetchone()
    return row[0] if row else None


def _body_or_loss(blobs: Blobs, text: str) -> list[Wire]:
    try:
        return body_of(blobs, text)
    except (StoreDamaged, ValueError):
        return [{"type": "text", "text": "(This part of the conversation was lost.)"}]


def body_of(blobs: Blobs, text: str) -> Any:
    """Return what a row's body says, from the blob that it names if it names one."""
    value = json.loads(text)
    return blob_of(blobs, value["blob"]) if isinstance(value, dict) and value.keys() == {"blob"} else value  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType] -- free-form JSON


def blob_of(blobs: Blobs, address: str) -> Any:
    """Return the JSON that a blob holds. Raises ``StoreDamaged`` without it."""
    content = blobs.load(address)
    if content is None:
        raise StoreDamaged(
            "A file of the session is missing.", hint=f"Put blobs/{address} back from a backup of its folder."
        )
    return json.loads(content)
