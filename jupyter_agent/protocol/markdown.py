"""A session as Markdown, for people: what was said, what was done, what came of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

_WHO = {"user": "You", "assistant": "Agent"}
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_TICKS = re.compile("`{3,}")
_DONE = {"output-available": "", "output-error": " — failed", "output-denied": " — denied"}


def as_markdown(session: Json, messages: list[Json], *, images: bool = True) -> str:
    """Return a document. ``session`` and ``messages`` are in wire shape; ``images`` puts them in as data URLs."""
    blocks = [f"# {session['title'] or 'Untitled session'}", _facts(session)]
    for message in messages:
        blocks += _message(message, images=images)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _facts(session: Json) -> str:
    facts = [session["id"], session["notebook_path"], session["model"], _time(session["created_at"])]
    return " · ".join(_plain(fact) for fact in facts if fact)


def _message(message: Json, *, images: bool) -> Iterator[str]:
    yield f"## {_WHO[message['role']]} · {_time(message['created_at'])}"
    for part in message["parts"]:
        if not part.get("superseded"):
            yield from _part(part, images=images)
    if message["status"] in ("stopped", "interrupted", "failed"):
        yield f"*({message['status']})*"


def _part(part: Json, *, images: bool) -> Iterator[str]:
    match part["type"]:
        case "text":
            yield part["text"].strip("\n")
        case "reasoning" if part["text"].strip():
            yield "\n".join(f"> {line}".rstrip() for line in part["text"].strip().split("\n"))
        case "tool":
            yield f"**{part['name']}**{_DONE.get(part['state'], ' — not finished')}"
            output: Json = part["output"] or {}
            shown: list[Json] = output.get("display") or []
            for item in shown:
                yield _display(item, images=images)
            if part["error"]:
                yield fenced(part["error"])
        case "file":
            yield f"*(file: {_plain(part['name'])}, {part['bytes']} bytes)*"
        case "notice":
            yield f"*({_plain(part['text'])})*"
        case _:
            pass


def _display(item: Json, *, images: bool) -> str:
    match item["type"]:
        case "markdown":
            return item["text"]
        case "code":
            return fenced(item["text"], item["language"])
        case "diff":
            return fenced(_diff(item["before"], item["after"]), "diff")
        case "image" if images:
            return f"![{_plain(item['alt'])}](data:{item['mime']};base64,{item['data']})"
        case "image":
            return f"*(image{': ' + _plain(item['alt']) if item['alt'] else ''})*"
        case "table":
            return _table(item["header"], item["rows"])
        case _:
            return fenced(_ANSI.sub("", item.get("text", "")))


def _diff(before: str, after: str) -> str:
    # Imported here: it is slow to import and few sessions need it.
    import difflib

    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=3, lineterm="")
    return "\n".join([line for line in lines if not line.startswith(("---", "+++"))])


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def fenced(text: str, language: str = "") -> str:
    """Return a code block whose fence is longer than any in the text."""
    longest = max((len(run) for run in _TICKS.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _plain(text: str) -> str:
    return " ".join(text.split())


def _time(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC") if ms else ""
    except (ValueError, OverflowError, OSError):
        return ""  # beyond what a date can name
