"""A widget of one version and a server of another, by every road: a notebook's environment need not be its server's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.hosts.running_server import API, RunningServer
from tests.model_server import Reply, Text
from tests.roads import Road
from tests.stranger import Stranger

Json = dict[str, Any]
Script = Callable[[Sequence[Any]], str]
SAYS_WHAT_TO_DO = "Install the same jupyter-agent-panel"

UNHEARD_OF: list[tuple[str, Json]] = [
    ("session.set", {"mode": "dream"}),
    ("message.send", {"id": "msg_new", "parts": [{"type": "video", "frames": "AAAA"}]}),
    ("message.send", {"id": "msg_new", "parts": [{"type": "text", "text": "Hi"}], "when_busy": "whenever"}),
    ("approval.answer", {"id": "apr_0", "rev": 1, "decision": "later"}),
    ("task.update", {"id": "tsk_0", "rev": 1, "status": "someday"}),
]


async def test_a_newer_view_is_understood_as_far_as_this_version_goes(road: Road, script: Script) -> None:
    word = script([Reply(Text("Hello."))])
    async with road.session() as session_id, road.view(session_id) as view:
        view.send("hello", protocol=[2, 1], client="newer/9.0", features=["garden"], locale="de")
        assert (await view.event("welcome"))["d"]["protocol"] == 1
        await view.subscribe(since=None, depth="all")
        await view.say(f"hello {word}", mood="fine", if_mode=None)
        await view.event("turn.ended", outcome="completed")
        view.same_story_as(await view.subscribe())


async def test_a_command_of_a_newer_version_is_refused_with_what_to_do(road: Road) -> None:
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        ack = await view.ask("garden.water", litres=2)
        assert (ack["status"], ack["error"]["code"]) == ("rejected", "unknown_command")
        assert SAYS_WHAT_TO_DO in ack["error"]["hint"]
        view.same_story_as(await view.subscribe())


@pytest.mark.parametrize(("kind", "body"), UNHEARD_OF)
async def test_a_value_of_a_newer_version_is_refused_once_and_with_what_to_do(
    road: Road, kind: str, body: Json
) -> None:
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        ack = await view.ask(kind, **body)
        assert (ack["status"], ack["error"]["code"]) == ("rejected", "malformed")
        assert ack["error"]["retryable"] is False
        assert SAYS_WHAT_TO_DO in ack["error"]["hint"]
        assert (await view.event("error", code="malformed"))["d"]["hint"] == ack["error"]["hint"]
        view.same_story_as(await view.subscribe())


async def test_a_frame_of_another_major_version_is_refused_and_the_road_stays(road: Road) -> None:
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        view.send_raw({"v": 2, "cmd_id": "c2", "type": "message.send", "d": {"words": ["Hi"]}})
        error = (await view.event("error"))["d"]
        assert error["code"] == "version"
        assert SAYS_WHAT_TO_DO in error["hint"]
        await pinged(view)
        view.same_story_as(await view.subscribe())


async def test_a_view_without_a_common_version_is_told_what_to_do(road: Road) -> None:
    async with road.session() as session_id, road.view(session_id) as view:
        view.send("hello", protocol=[2, 3], client="newer/9.0")
        error = (await view.event("error"))["d"]
        assert error["code"] == "version"
        assert SAYS_WHAT_TO_DO in error["hint"]
        assert view.of("welcome") == []


async def test_by_rest_another_version_is_refused_with_what_to_do(jupyter: RunningServer) -> None:
    session_id = await jupyter.new_session()
    commands = f"{API}/sessions/{session_id}/commands"
    for command, code in (
        ({"v": 2, "cmd_id": "c", "type": "session.set", "d": {"title": "x"}}, "version"),
        *(({"v": 1, "cmd_id": "c", "type": kind, "d": body}, "malformed") for kind, body in UNHEARD_OF),
    ):
        status, body = await jupyter.ask("POST", commands, command)
        assert (status, body["error"]["code"]) == (400, code)
        assert SAYS_WHAT_TO_DO in body["error"]["hint"]
    status, ack = await jupyter.ask("POST", commands, {"v": 1, "cmd_id": "c", "type": "garden.water", "d": {}})
    assert (status, ack["error"]["code"]) == (200, "unknown_command")
    assert SAYS_WHAT_TO_DO in json.dumps(ack)


async def pinged(view: Stranger) -> None:
    start = len(view.events)
    view.send("ping")
    await view.event("pong", after=start)
