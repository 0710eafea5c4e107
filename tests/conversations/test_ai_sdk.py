"""A running server, followed turn by turn by the AI SDK's own client in Node."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.running_server import API, ROOT, TOKEN, Json, RunningServer
from tests.model_server import Gate, HttpError, Reply, Text, Think, ToolUse
from tests.roads import SocketRoad
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(180)
Script = Callable[[Sequence[Any]], str]


class SdkClient:
    """One run of the SDK's client."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def begun(self) -> None:
        """Wait for the first chunk to have reached it."""
        assert self._process.stderr is not None
        async with asyncio.timeout(60):
            while (line := await self._process.stderr.readline()) != b"begun\n":
                assert line, "the client ended before it began"

    async def result(self) -> Json:
        """Wait for its end; return ``{message, errors, count}``: the last message of so many."""
        async with asyncio.timeout(60):
            out, err = await self._process.communicate()
        assert self._process.returncode == 0, err.decode()
        return json.loads(out)


Follow = Callable[..., AbstractAsyncContextManager[SdkClient]]


@pytest.fixture(params=["read-ui-stream", "use-chat"])
def following(request: pytest.FixtureRequest) -> Follow:
    """Both ways that the SDK has: the plain reader of a stream, and the hook of a page."""
    return partial(_following, f"test/{request.param}.mjs")


@asynccontextmanager
async def _following(
    program: str, server: RunningServer, session_id: str, query: str = "", kept: Sequence[Json] = ()
) -> AsyncGenerator[SdkClient]:
    node = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    assert node is not None, "Node is missing: run the tests with `make test`."
    url = f"{server.base}{API}/sessions/{session_id}/stream?format=ai{query}"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(node, program, url, TOKEN, json.dumps(kept)), cwd=ROOT / "js", stdout=pipe, stderr=pipe
    )
    try:
        yield SdkClient(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def same(read: Json, view: Stranger) -> None:
    """Check that the SDK's message says what ours does."""
    answer = view.view["messages"][-1]
    assert read["message"]["id"] == answer["id"]
    parts = [part for part in read["message"]["parts"] if part["type"] != "step-start"]
    assert len(parts) == len(answer["parts"])
    for theirs, ours in zip(parts, answer["parts"], strict=True):
        assert theirs["state"] == ours["state"]
        if ours["type"] == "tool":
            assert theirs["type"] == f"tool-{ours['name']}"
            assert theirs.get("input") == ours["input"]
            assert theirs.get("errorText") == (ours["error"] if ours["state"] == "output-error" else None)
            assert theirs.get("output") == (ours["output"] if ours["state"] == "output-available" else None)
        else:
            assert theirs["text"] == ours["text"]


async def test_a_turn_with_a_question_is_followed_live_and_read_again(
    jupyter: RunningServer, script: Script, following: Follow
) -> None:
    word = script(
        [
            Reply(Text("I look. "), ToolUse("read_cell", {"cell_id": "first"})),
            Reply(ToolUse("insert_cell", {"after": "first", "cell_type": "markdown", "source": "# 🐍"})),
            Reply(ToolUse("insert_cell", {"after": "first", "cell_type": "markdown", "source": "no"})),
            Reply(Text("Done.")),
        ]
    )
    road = SocketRoad(jupyter)
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        first = (await view.event("approval.requested"))["d"]["approval"]
        async with following(jupyter, session_id) as client:
            await client.begun()  # in the middle of the turn, while it waits
            await view.ask("approval.answer", id=first["id"], rev=1, decision="allow", scope="once")
            other = await view.event(lambda e: e["type"] == "approval.requested" and first != e["d"]["approval"])
            asked = other["d"]["approval"]["id"]
            await view.ask("approval.answer", id=asked, rev=1, decision="deny", scope="once", reason="Not that.")
            await view.event("turn.ended")
            read = await client.result()
        same(read, view)
        assert read["errors"] == []
        approvals = [part["approval"] for part in read["message"]["parts"] if "approval" in part]
        assert [approval["approved"] for approval in approvals] == [True, False]
        assert read["message"]["metadata"]["outcome"] == "completed"
        async with following(jupyter, session_id) as late:
            same(await late.result(), view)
        async with following(jupyter, session_id, "&turn=live") as live:
            assert await live.result() == {"message": None, "errors": [], "count": 0}


async def test_a_stopped_turn_keeps_what_was_said(jupyter: RunningServer, script: Script, following: Follow) -> None:
    gate = Gate()
    word = script([Reply(Text("So far ", gate, "and no further."))])
    road = SocketRoad(jupyter)
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        result = await view.say(word)
        await gate.until_reached()
        async with following(jupyter, session_id, "&turn=live") as client:
            await client.begun()
            await view.ask("turn.stop", turn=result["turn"])
            await view.event("turn.ended")
            read = await client.result()
        gate.open()
        same(read, view)
        assert read["message"]["metadata"]["outcome"] == "stopped"


async def test_a_failed_turn_is_an_error_there_too(jupyter: RunningServer, script: Script, following: Follow) -> None:
    word = script([HttpError(403)])
    road = SocketRoad(jupyter)
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        ended = await view.event("turn.ended")
        async with following(jupyter, session_id) as client:
            read = await client.result()
        assert read["errors"] == [ended["d"]["error"]["message"]]
        assert read["message"]["metadata"]["outcome"] == "failed"


@pytest.mark.parametrize("half", [False, True])
async def test_a_page_that_was_reloaded_in_the_middle_shows_each_message_once(
    jupyter: RunningServer, script: Script, half: bool
) -> None:
    gate = Gate()
    word = script(["Before.", Reply(Think("Hm."), Text("So far ", gate, "and to the end."))])
    road = SocketRoad(jupyter)
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await view.event("turn.ended")
        before = view.view["messages"][-1]["id"]
        turn = (await view.say("And now?"))["turn"]
        started = await view.event(lambda e: e["type"] == "turn.started" and e["turn"] == turn)
        await gate.until_reached()
        kept: list[Json] = [
            {"id": "said", "role": "user", "parts": [{"type": "text", "text": word}]},
            {"id": before, "role": "assistant", "parts": [{"type": "text", "text": "Before.", "state": "done"}]},
            {"id": "asked", "role": "user", "parts": [{"type": "text", "text": "And now?"}]},
        ]
        if half:
            part = {"type": "text", "text": "So far ", "state": "streaming"}
            kept.append({"id": started["d"]["turn"]["message_id"], "role": "assistant", "parts": [part]})
        async with _following("test/use-chat.mjs", jupyter, session_id, "&turn=live", kept) as page:
            await page.begun()
            gate.open()
            await view.event("turn.ended")
            read = await page.result()
        same(read, view)
        assert (read["count"], read["errors"]) == (4, [])


async def test_a_turn_that_left_the_story_is_not_told(jupyter: RunningServer, script: Script) -> None:
    word = script(["Gone."])
    road = SocketRoad(jupyter)
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await view.event("turn.ended")
        path = f"{API}/sessions/{session_id}/stream?format=ai"
        status, _ = await jupyter.ask("POST", f"{API}/sessions/{session_id}/clear")
        assert status == 200
        assert await jupyter.ask("GET", path) == (204, "")


async def test_a_session_without_a_turn_has_nothing_to_follow(jupyter: RunningServer) -> None:
    session_id = await jupyter.new_session()
    path = f"{API}/sessions/{session_id}/stream?format=ai"
    assert await jupyter.ask("GET", path) == (204, "")
    status, body = await jupyter.ask("GET", f"{API}/sessions/{session_id}/stream?format=xml")
    assert (status, body["error"]["code"]) == (400, "bad_request")
