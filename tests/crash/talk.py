"""The conversation that is killed, from both ends: what Claude says and what the user wants.

::

    first     thinks, looks (two reads at once), writes two cells (both allowed), says so
    denied    waits in the queue; writes a cell (denied), gives in
    stopped   waits in the queue; talks without end until the user stops it
    last      waits in the queue; resumed by the user; writes a cell (allowed for the session), says so
    after     sent once all is quiet: does the session still work?

Claude's side keeps nothing: it answers from the history it is shown, so a
request that is repeated after a crash gets an answer that fits. Each cell it
writes holds the id of its call, which makes side effects countable.
"""

# What it reads is JSON that may be anything: types would be claims.
# pyright: basic

from __future__ import annotations

import re
import secrets
from typing import Any

from tests.model_server import Reply, Request, Stall, Text, Think, ToolUse

Json = dict[str, Any]

QUEUED = ("denied", "stopped", "last")
ALL = ("first", *QUEUED, "after")
MARK = re.compile(r"# (\w+) (toolu_\w+)")


def words_for(name: str) -> str:
    """What the user writes."""
    return f"[[{name}]] Please."


def answer(request: Request) -> Reply:
    """What Claude says to this history."""
    name, since = _newest(request.messages)
    done = [block["name"] for block in since if block["type"] == "tool_use"]
    match name:
        case "first" if not done:
            return Reply(
                Think("Let me think about this first. ", "There is a notebook."),
                Text("I look at it 🐍 ", "before I change anything. "),
                ToolUse("read_notebook", {}),
                ToolUse("read_cell", {"cell_id": "first"}),
            )
        case "first" if "insert_cell" not in done:
            return Reply(Think("Now I know."), Text("Two cells, then. "), _insert("a"), _insert("b"))
        case "denied" if not done:
            return Reply(Text("May I? "), _insert("c"))
        case "last" if not done:
            return Reply(Text("One more. "), _insert("d"))
        case "stopped":
            return Reply(Text("It goes on ", "and on ", Stall()))
        case _:
            return Reply(Text("That is ", "that."))


def _newest(messages: list[Json]) -> tuple[str, list[Json]]:
    """The newest wish, and all blocks after it."""
    name, since = "", list[Json]()
    for message in messages:
        for block in message["content"]:
            found = re.match(r"\[\[(\w+)\]\]", block["text"]) if block["type"] == "text" else None
            if found and message["role"] == "user":
                name, since = found[1], []
            else:
                since.append(block)
    return name, since


def _insert(name: str) -> ToolUse:
    call = "toolu_" + secrets.token_hex(12)
    return ToolUse("insert_cell", {"source": f"# {name} {call}", "cell_type": "code", "after": "first"}, id=call)
