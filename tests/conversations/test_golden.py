"""Whole conversations, written down: Python and TypeScript fold the same file to the same view.

A conversation is played for real and then told in a canonical way: ids and
times by number, deltas of one part joined, one event a frame. To accept a
change on purpose: ``JUPYTER_AGENT_GOLDEN=write make test``.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from jupyter_agent.agent.claude import ClaudeModel
from jupyter_agent.protocol.fold import View, empty, fold
from jupyter_agent.protocol.frames import Frame
from jupyter_agent.session.connection import Connection
from jupyter_agent.session.host import SessionHost
from jupyter_agent.settings import Settings
from jupyter_agent.tools.toolbox import Toolbox
from tests.fakes import DiskWorkspace
from tests.model_server import ErrorEvent, Gate, HttpError, ModelServer, Reply, Text, Think, ToolUse
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
    compare(name, [{"frame": frame} for frame in frames])


def compare(name: str, lines: list[Json]) -> None:
    """Assert that these lines, and the view they fold to, are what was written down."""
    folded: View = empty()
    for line in lines:
        if "frame" in line:
            folded = fold(folded, line["frame"])
    written = "".join(json.dumps(line, sort_keys=True) + "\n" for line in [*lines, {"view": folded}])
    path = GOLDEN / f"{name}.jsonl"
    if os.environ.get("JUPYTER_AGENT_GOLDEN") == "write":
        path.write_text(written, encoding="utf-8")
    assert written == path.read_text(encoding="utf-8")


# -- through two deaths --------------------------------------------------------------


class HangingWorkspace(DiskWorkspace):
    """An insertion begins, and does not end."""

    async def insert(self, *args: Any, **kwargs: Any) -> Any:
        """Never return."""
        await asyncio.Event().wait()


@asynccontextmanager
async def hosting(claude: ModelServer, folder: Path) -> AsyncGenerator[SessionHost]:
    """A server over this folder."""
    settings = Settings(
        data_dir=folder / "data",
        base_url=claude.url,
        api_key=claude.key,
        auto_title=False,
        recovery_backoff_s=0.0,
        heartbeat_s=60.0,
    )
    model, workspace = ClaudeModel(settings), HangingWorkspace(folder, settings)
    host = SessionHost(settings, workspace=workspace, model=model, toolbox=Toolbox(settings, lambda: [claude.key]))
    yield host
    await host.close()
    await model.close()
    await workspace.close()


class Diary:
    """One view and all that it says and hears, over one server after another."""

    def __init__(self) -> None:
        self.lines: list[Json] = []
        self.view = Stranger(self._say)
        self._connection: Connection | None = None

    def connect(self, host: SessionHost, session_id: str) -> None:
        """Take the road to a server."""
        self._connection = host.connect(session_id, self._hear, user="me", road="panel")

    def cut(self) -> None:
        """The road is gone."""
        assert self._connection is not None
        self._connection.close()

    def _say(self, command: Json) -> None:
        assert self._connection is not None
        self.lines.append({"command": json.loads(json.dumps(command))})
        self._connection.receive(command)

    def _hear(self, frame: Frame) -> None:
        for event in events_in(json.loads(frame.text)):
            if event["type"] != "hb":  # it comes by the clock
                self.lines.append({"frame": event | {"v": 1, "ep": frame.data["ep"], "sid": frame.data["sid"]}})
        self.view.hear(frame.data)


def told_again(lines: list[Json]) -> list[Json]:
    """Tell a diary as ``canonical`` tells frames, with what was said and answered left in."""
    told: list[Json] = []
    seq = 0
    for line in lines:
        event = line.get("frame")
        if event is None:
            since: Json | None = line["command"]["d"].get("since")
            if since is not None:
                since["seq"] = seq
        elif "seq" in event or "covers" in event:
            last: Json = told[-1].get("frame", {})
            if event["type"] == last.get("type") == "part.delta" and event["d"]["part_id"] == last["d"]["part_id"]:
                last["d"]["delta"] += event["d"]["delta"]
                continue
            event.pop("covers", None)
            seq += 1
            event["seq"] = seq
        elif event["type"] == "caught_up":
            event["d"]["seq"] = seq
        told.append(line)
    text = _NOTEBOOK.sub("numbers.ipynb", json.dumps(told))
    names: dict[str, str] = {}
    told = json.loads(_ID.sub(lambda m: names.setdefault(m[0], f"{m[1] or 'id'}_{len(names) + 1}"), text))
    _same_times([line["frame"] for line in told if "frame" in line])
    return told


async def test_a_conversation_through_two_deaths_reads_as_it_was_written_down(
    claude: ModelServer, tmp_path: Path, script: Script
) -> None:
    says, goes_on = Gate(), Gate()
    insert = {"after": "first", "cell_type": "code", "source": "y = 1"}
    word = script(
        [
            Reply(Text("Let me ", says, "check."), ToolUse("insert_cell", insert)),
            Reply(goes_on, Text("It may be there, or not.")),
        ]
    )
    diary, one, two, three = Diary(), tmp_path / "one", tmp_path / "two", tmp_path / "three"
    one.mkdir()
    async with hosting(claude, one) as host, MemoryRoad(host, one).session() as session_id:
        diary.connect(host, session_id)
        await diary.view.open()
        await diary.view.say(f"crash {word}")
        await diary.view.reads("Let me ")
        diary.cut()  # while the answer is being said
        async with MemoryRoad(host, one).view(session_id) as other:
            await other.open()
            says.open()
            await other.event("turn.status", status="awaiting")
        diary.connect(host, session_id)
        await diary.view.subscribe(since={"ep": diary.view.ep, "seq": diary.view.seq})
        (asked,) = diary.view.view["approvals"]
        shutil.copytree(one, two)  # the server dies while it waits for the user
        diary.cut()
    async with hosting(claude, two) as host:
        diary.connect(host, session_id)
        await diary.view.subscribe(since={"ep": diary.view.ep, "seq": diary.view.seq})
        answer = {"id": asked["id"], "rev": asked["rev"], "decision": "allow", "scope": "once"}
        await diary.view.ask("approval.answer", cmd_id=(twice := str(uuid.uuid4())), **answer)
        await diary.view.event("tool.state", running=True)
        again = await diary.view.ask("approval.answer", cmd_id=twice, **answer)
        assert (again["status"], again["original"]) == ("duplicate", "accepted")
        shutil.copytree(two, three)  # and again while the call runs
        diary.cut()
    async with hosting(claude, three) as host:
        await host.wake_unfinished()
        await goes_on.until_reached()
        diary.connect(host, session_id)
        await diary.view.subscribe(since={"ep": diary.view.ep, "seq": diary.view.seq})
        goes_on.open()
        await diary.view.event("turn.ended", outcome="completed")
        assert [(tool["state"], tool["reason"]) for tool in diary.view.tools] == [("output-error", "interrupted")]
        diary.cut()
    compare("crash", told_again(diary.lines))
