"""What has been said so far, and what the demo may answer with.

A job is a generator: it yields what to say and which tools to call, and is
sent the results. The history is its memory: each request plays the job again
from the user's message on, feeding it the results that are already there.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

Json = Any


# -- what the demo answers with ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Say:
    """Text for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Think:
    """A remark on the way, shown as reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call."""

    name: str
    input: dict[str, Json] = field(default_factory=dict[str, Json])


Move = Say | Think | Call


@dataclass(frozen=True, slots=True)
class Result:
    """What a call came back with, as the model reads it."""

    name: str
    text: str
    is_error: bool = False
    images: int = 0

    @property
    def failed(self) -> bool:
        """The call, or the code that it ran, failed. A run that also drew something is not marked as an error."""
        return self.is_error or re.match(r"Cell \S+ ran.* and raised ", self.text) is not None

    @property
    def refused(self) -> bool:
        """Plan mode did not let it run."""
        return self.is_error and "Plan mode" in self.text.partition("\n")[0]

    @property
    def denied(self) -> bool:
        """The user did not let it run."""
        return self.is_error and "denied" in self.text.partition("\n")[0].lower()


Job = Generator[list[Move], list[Result], list[Move]]
"""Yields moves that end in calls, is sent their results, returns its last words."""


# -- what was said ---------------------------------------------------------------------


@dataclass(slots=True)
class Talk:
    """The newest thing the user asked, and all that happened since."""

    ask: str
    mode: str = "build"
    results: list[list[Result]] = field(default_factory=list[list[Result]])
    tools: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """The parameters of each tool on offer."""
    agreed: bool = False
    """Set by the job as it is played: the user has agreed to a plan."""


def read_talk(body: Json) -> Talk:
    """Read a request of the Messages API."""
    ask, mode = "", "build"
    calls: dict[str, str] = {}
    results: list[list[Result]] = []
    for message in body.get("messages", []):
        blocks = _blocks(message.get("content"))
        if message.get("role") == "assistant":
            calls.update({b["id"]: b["name"] for b in blocks if b.get("type") == "tool_use"})
            continue
        answered = [_result(b, calls) for b in blocks if b.get("type") == "tool_result"]
        if answered:
            results.append(answered)
        texts = [str(b.get("text", "")) for b in blocks if b.get("type") == "text"]
        mode = _mode(texts) or mode
        asked = "\n".join(text for text in texts if not _is_note(text)).strip()
        if asked and message.get("role") == "user" and not _GO_ON.fullmatch(asked):
            ask, results = asked, []
    return Talk(ask=ask, mode=mode, results=results, tools=_tools(body.get("tools") or []))


_ASKED = re.compile(r"The user asked:\n(.*?)\n\nThe assistant answered:", re.S)
_NAME_WORDS = 6


def name_of(body: Json) -> str:
    """Return a name for the conversation that a request tells of: what was asked, in few words."""
    text = "".join(str(b.get("text", "")) for m in body.get("messages", []) for b in _blocks(m.get("content")))
    asked = _ASKED.search(text)
    words = re.findall(r"[^\s.,;:!?\"'()]+", asked.group(1) if asked else text)[:_NAME_WORDS]
    name = " ".join(words)
    return name[:1].upper() + name[1:] if name else "Demo"


def _blocks(content: Json) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


def _result(block: Json, calls: dict[str, str]) -> Result:
    content = _blocks(block.get("content"))
    return Result(
        name=calls.get(str(block.get("tool_use_id")), ""),
        text="\n".join(str(b.get("text", "")) for b in content if b.get("type") == "text"),
        is_error=bool(block.get("is_error")),
        images=sum(b.get("type") == "image" for b in content),
    )


_NOTE = re.compile(r"\s*(<(context|system-note|file)\b|\(Your reply was cut off)")
_GO_ON = re.compile(r"(please )?(continue|go on|carry on)( please)?[.!]*", re.I)
_MODE = re.compile(r"^Mode: (Plan|Build)\b", re.M)


def _is_note(text: str) -> bool:
    """Tell what the user did not type."""
    return _NOTE.match(text) is not None


def _mode(texts: list[str]) -> str | None:
    found = [m.group(1).lower() for text in texts if _is_note(text) for m in _MODE.finditer(text)]
    return found[-1] if found else None


def _tools(tools: list[Json]) -> dict[str, set[str]]:
    return {str(tool.get("name")): set[str](tool.get("input_schema", {}).get("properties", {})) for tool in tools}
