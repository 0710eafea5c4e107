"""Branches in a session's database: messages are a tree, and the session's story is one path in it.

A message off the branch keeps its row (``removed=1``). ``turns.kept_steps``
says how much of a turn the branch has: NULL all of it, 0 what the user said,
-1 nothing; the API's history is read by it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A message in the tree."""

    id: str
    parent_id: str | None
    turn_id: str | None
    role: str
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From one branch to another: what leaves, newest first, then what comes, oldest first."""

    leaving: list[str]
    coming: list[str]


def tree(conn: sqlite3.Connection) -> dict[str, Node]:
    """Return all messages by id, parents before children."""
    rows = conn.execute("SELECT id, parent_id, turn_id, role, removed FROM messages ORDER BY ord")
    return {
        row[0]: Node(id=row[0], parent_id=row[1], turn_id=row[2], role=row[3], removed=bool(row[4])) for row in rows
    }


def last(conn: sqlite3.Connection) -> str | None:
    """Return the branch's last message: what comes next has it for a parent."""
    row = conn.execute("SELECT id FROM messages WHERE removed=0 ORDER BY ord DESC LIMIT 1").fetchone()
    return row[0] if row else None


def path_to(nodes: dict[str, Node], message_id: str | None) -> list[Node]:
    """Return the way from a message up to the root, both included; none to None."""
    path: dict[str, Node] = {}
    # A file from elsewhere may lead in a circle.
    while message_id not in path and (node := nodes.get(message_id or "")) is not None:
        path[node.id] = node
        message_id = node.parent_id
    return list(path.values())


def change_to(nodes: dict[str, Node], message_id: str | None) -> Change:
    """Return what makes this message the last one; None: no message is left."""
    path = {node.id for node in path_to(nodes, message_id)}
    return Change(
        leaving=[node.id for node in reversed(nodes.values()) if not node.removed and node.id not in path],
        coming=[node.id for node in nodes.values() if node.removed and node.id in path],
    )


def within_a_turn(nodes: dict[str, Node], message_id: str) -> bool:
    """Tell whether a turn was steered at this message: it stands between two answers of one turn."""
    node = nodes[message_id]
    asks = node.role == "user" and not _goes_on_from_parent(nodes, node)
    if node.turn_id is None or asks:
        return False
    return any(other.parent_id == message_id and other.turn_id == node.turn_id for other in nodes.values())


def turn_at_end(nodes: dict[str, Node], message_id: str | None) -> str | None:
    """Return the turn whose answer a branch up to this message ends with, None where that is only a question."""
    # What the server itself says, when a session was put back, belongs to no turn and ends none.
    node = next((node for node in path_to(nodes, message_id) if node.turn_id is not None), None)
    if node is None or (node.role == "user" and not _goes_on_from_parent(nodes, node)):
        return None
    return node.turn_id


def _goes_on_from_parent(nodes: dict[str, Node], node: Node) -> bool:
    parent = nodes.get(node.parent_id or "")
    return parent is not None and parent.turn_id == node.turn_id


def nearest(nodes: dict[str, Node], message_id: str, wanted: Callable[[Node], bool]) -> str | None:
    """Return the first message on the way up for which ``wanted`` holds."""
    return next((node.id for node in path_to(nodes, message_id) if wanted(node)), None)


def answering(nodes: dict[str, Node], question: str) -> set[str | None]:
    """Return the turns that answered a question: the one it came with, those that went on, and other tries."""
    turns, messages = {nodes[question].turn_id}, {question}
    for node in nodes.values():  # parents before children
        goes_on = node.role == "assistant" or node.turn_id in turns
        if node.parent_id in messages and goes_on:
            messages.add(node.id)
            turns.add(node.turn_id)
    return turns


def keep_branch(conn: sqlite3.Connection) -> None:
    """Let the API's history be that of the messages on the branch.

    A turn belongs to it with its answer. What the user said belongs to the turn that it came with, also when
    another turn answers it now.
    """
    conn.execute(
        """
        UPDATE turns SET kept_steps = CASE
            WHEN (SELECT removed FROM messages WHERE id = turns.message_id) = 0 THEN NULL
            WHEN EXISTS (SELECT 1 FROM messages WHERE turn_id = turns.id AND role = 'user' AND removed = 0) THEN 0
            ELSE -1
        END
        """
    )
