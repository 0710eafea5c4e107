"""Whole conversations, written down: Python and TypeScript fold the same file to the same view.

A conversation is played for real and then told in a canonical way: ids and
times by number, deltas of one part joined, one event a frame. To accept a
change on purpose: ``JUPYTER_AGENT_GOLDEN=write make test``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from jupyter_agent.protocol.fold import View, empty, fold
from jupyter_agent.session.host import SessionHost
from tests.model_server import ErrorEvent, HttpError, Reply, Text, Think, ToolUse
from tests.roads import MemoryRoad
from tests.stranger import Stranger, events_in

GOLDEN = Path(__file__).parents[1] / "golden"
Json = dict[str, Any]
Script = Callable[[Sequence[Any]], str]

_ID = re.compile(
    r"\b(ses|msg|prt|trn|apr|tsk|que|req|toolu|word)[_-][A-Za-z0-9]{8,}|\b[0-9a-f]{12}\b|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
)
_NOTEBOOK = re.compile(r"[0-9a-f]{32}\.ipynb")


def canonical(frames: list[Json]) -> list[Json]:
    """Tell a recording so that it reads the same whoever recorded it, and when."""
    told = list(
        _renumbered(_joined(event | {"ep": f["ep"], "sid": f["sid"]} for f in frames for event in events_in(f)))
    )
    text = _NOTEBOOK.sub("numbers.ipynb", json.dumps(told))
    names: dict[str, str] = {}
    text = _ID.sub(lambda m: names.setdefault(m[0], f"{m[1] or 'id'}_{len(names) + 1}"), text)
    return _same_times(json.loads(text))


def _joined(events: Iterator[Json]) -> Iterator[Json]:
    """Join the deltas of a part: how they were packed is a matter of time."""
    last: Json | None = None
    for event in events:
        if event["type"] in {"ack", "hb", "pong", "welcome"}:
            continue
        if (
            last is not None
            and event["type"] == last["type"] == "part.delta"
            and event["d"]["part_id"] == last["d"]["part_id"]
        ):
            last["d"]["delta"] += event["d"]["delta"]
            continue
        if last is not None:
            yield last
        last = json.loads(json.dumps(event))
    if last is not None:
        yield last


def _renumbered(events: Iterator[Json]) -> Iterator[Json]:
    seq = 0
    for event in events:
        if "seq" in event:
            seq += 1
            event["seq"] = seq
        if event["type"] == "caught_up":
            event["d"]["seq"] = seq
        yield {"v": 1, **event}


def _same_times(frames: list[Json]) -> list[Json]:
    """Times depend on the clock; each event happens one millisecond after the one before."""
    for number, frame in enumerate(frames):
        frame["ts"] = 1_700_000_000_000 + number
        _still(frame["d"])
    return frames


def _still(value: Any) -> None:
    match value:
        case dict():
            for key, item in cast("Json", value).items():
                if key.endswith("_at") and isinstance(item, int):
                    value[key] = 1_700_000_000_000
                elif key.endswith("_tokens"):
                    value[key] = 1  # what is cached depends on who asked before
                else:
                    _still(item)
        case list():
            for item in cast("list[Any]", value):
                _still(item)
        case _:
            pass


async def _allow_all(view: Stranger) -> None:
    """Say yes until the turn is over."""
    answered: set[str] = set()

    def news(event: Json) -> bool:
        open_ones = {approval["id"] for approval in view.view["approvals"]}
        return event["type"] == "turn.ended" or (event["type"] == "turn.status" and bool(open_ones - answered))

    while (await view.event(news))["type"] != "turn.ended" and not view.ended:
        for asked in list(view.view["approvals"]):
            answered.add(asked["id"])
            await view.ask("approval.answer", id=asked["id"], rev=asked["rev"], decision="allow", scope="once")


CONVERSATIONS: dict[str, list[Any]] = {
    "answer": [Reply(Think("They greet me."), Text("Hello, ", "🐍 and ", "welcome."))],
    "edit": [
        Reply(Text("I read first. "), ToolUse("read_cell", {"cell_id": "first"})),
        Reply(ToolUse("insert_cell", {"after": "first", "cell_type": "markdown", "source": "# Twice"})),
        Reply(ToolUse("delete_cell", {"cell_id": "title", "base_hash": "stale"})),
        Reply(ToolUse("create_task", {"title": "Look again", "description": "Later.", "mode": "plan"})),
        Reply(Text("The title stays.")),
    ],
    "retry": [Reply(Text("First try", ErrorEvent())), Reply(Text("Second try."))],
    "refused": [HttpError(403)],
}


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_conversation_reads_as_it_was_written_down(
    name: str, host: SessionHost, tmp_path: Path, script: Script
) -> None:
    word = script(CONVERSATIONS[name])
    road = MemoryRoad(host, tmp_path)
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(f"{name} {word}")
        await _allow_all(view)
        await view.event("turn.ended")
        frames = canonical(view.frames)
    folded: View = empty()
    for frame in frames:
        folded = fold(folded, frame)
    written = "".join(
        json.dumps(line, sort_keys=True) + "\n" for line in [*({"frame": f} for f in frames), {"view": folded}]
    )
    path = GOLDEN / f"{name}.jsonl"
    if os.environ.get("JUPYTER_AGENT_GOLDEN") == "write":
        path.write_text(written, encoding="utf-8")
    assert written == path.read_text(encoding="utf-8")
