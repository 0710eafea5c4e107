"""The failures that other agents are known for, by number (``tests/README.md``): what a crash does to a conversation.

Each conversation here is the whole one of ``talk``, and ``Ordeal`` holds all of
its promises; a test adds what its failure is about.
"""

# What it reads is JSON that may be anything: types would be claims.
# pyright: basic

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.hosts.running_server import RunningServer
from tests.model_server import ModelServer, Reply, Request, Stall, Text, ToolUse

from . import talk
from .book import Book
from .ordeal import Fate, Ordeal, Report, new_notebook, talking
from .places import ForkedHost, Zygote
from .user import Page, User

Json = dict[str, Any]

forked = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")


class Once:
    """Claude says this first, and from the second request on what ``talk`` says."""

    def __init__(self, reply: Reply) -> None:
        self._reply: Reply | None = reply

    def __call__(self, request: Request) -> Reply:
        reply, self._reply = self._reply, None
        return reply or talk.answer(request)


async def live(
    zygote: Zygote, folder: Path, *fates: Fate, says: Callable[[Request], Reply] = talk.answer, **settings: Any
) -> tuple[Report, User, ModelServer]:
    name = new_notebook(folder)
    async with talking(says) as claude:
        place = ForkedHost(zygote, folder, claude, **settings)
        try:
            ordeal = Ordeal(place, claude, name)
            return await ordeal.go(*fates), ordeal.user, claude
        finally:
            place.close()


def wishes_answered_once(user: User) -> None:
    """One answer for each wish, in the order of the wishes."""
    asked = [m["id"] for m in user.view["messages"] if m["role"] == "user"]
    answered = [m["parent_id"] for m in user.view["messages"] if m["role"] == "assistant"]
    assert asked == answered == list(user.ids.values())


async def test_j5_a_hundred_views_come_back_at_once_to_a_restarted_server_and_leave_nothing_behind(
    tmp_path: Path,
) -> None:
    per_session, idle = 10, "--AgentExtension.idle_s=0.5"
    server = await asyncio.to_thread(RunningServer, tmp_path, idle)
    try:
        ids = [await server.new_session() for _ in range(10)]
        views: list[tuple[str, Page]] = []
        async with AsyncExitStack() as stack:
            for session_id in per_session * ids:
                views.append((session_id, await _looking(stack, server, session_id, Page())))  # noqa: PERF401 -- one after the other
            for session_id, view in views[: len(ids)]:
                view.give("message.send", id=f"msg_{session_id}", parts=[{"type": "text", "text": "hello"}])
            for _, view in views:
                await view.event("turn.started")
            server.process.kill()  # in the middle of ten turns
        await asyncio.to_thread(server.stop)
        server = await asyncio.to_thread(RunningServer, tmp_path, idle)
        process = psutil.Process(server.process.pid)
        await server.new_session()
        before = _descriptors(process)
        async with AsyncExitStack() as stack:
            await asyncio.gather(*(_looking(stack, server, session_id, view) for session_id, view in views))
            for session_id, view in views:
                await view.event("turn.ended", outcome="completed")
                assert view.fault is None
                assert [m["id"] for m in view.view["messages"] if m["role"] == "user"] == [f"msg_{session_id}"]
            stories = {session_id: {str(v.view["messages"]) for s, v in views if s == session_id} for session_id in ids}
            assert {len(story) for story in stories.values()} == {1}, "two views of one session tell two stories"
        async with asyncio.timeout(60):
            while _descriptors(process) > before:  # noqa: ASYNC110 -- sleep is by design invisible from outside
                await asyncio.sleep(0.05)
    finally:
        await asyncio.to_thread(server.stop)


async def _looking(stack: AsyncExitStack, server: RunningServer, session_id: str, view: Page) -> Page:
    """Let a view follow a session over a socket of its own, from where it was."""
    socket = await stack.enter_async_context(server.view(session_id))
    socket.listeners.append(view.hear)
    view.lose()
    view.come_back(socket.send)
    await view.up_to_date.wait()
    return view


def _descriptors(process: psutil.Process) -> int:
    return process.num_fds() if hasattr(process, "num_fds") else 0


@forked
async def test_1_killed_in_the_middle_of_a_text(zygote: Zygote, tmp_path: Path) -> None:
    says = Once(Reply(Text("It begins, ", "and it is ", Stall())))
    fate = Fate(
        sees=lambda part: part["type"] == "text" and "begins, " in part["text"] and part["state"] == "streaming"
    )
    report, user, claude = await live(zygote, tmp_path, fate, says=says)
    assert report.deaths[0].wish == "first"
    said = [m for m in claude.requests[-1].messages if m["role"] == "assistant"]
    assert said[0]["content"][0]["text"].startswith("It begins, "), "Claude was not told what it had said"
    answer = next(m for m in user.view["messages"] if m["role"] == "assistant")
    assert answer["parts"][0]["text"].startswith("It begins, ")
    assert answer["parts"][0]["state"] == "done"


@forked
@pytest.mark.parametrize("place", ["before", "after"])
async def test_1_killed_again_while_the_turn_is_taken_up(zygote: Zygote, tmp_path: Path, place: str) -> None:
    says = Once(Reply(Text("It begins, ", "and it is ", Stall())))
    fate = Fate(
        sees=lambda part: part["type"] == "text" and "begins, " in part["text"] and part["state"] == "streaming"
    )
    again = [Fate(f"{place}_commit:recovering"), Fate(f"{place}_commit:recovering")]
    report, _, claude = await live(zygote, tmp_path, fate, *again, says=says)
    assert len(report.deaths) == 3
    told = [block["text"] for m in claude.requests[-1].messages for block in m["content"] if block["type"] == "text"]
    assert sum("cut off" in text for text in told) == 1, "Claude was told to go on more than once"


@forked
async def test_1_killed_in_the_middle_of_a_calls_input(zygote: Zygote, tmp_path: Path) -> None:
    cut = ToolUse("insert_cell", {"source": "# cut toolu_cut", "after": "first"}, id="toolu_cut", halfway=Stall())
    fate = Fate(sees=lambda part: part["type"] == "tool" and "source" in (part.get("input_json") or ""))
    report, user, claude = await live(zygote, tmp_path, fate, says=Once(Reply(Text("I write. "), cut)))
    assert report.deaths[0].wish == "first"
    part = next(p for m in user.view["messages"] for p in m["parts"] if p.get("tool_call_id") == "toolu_cut")
    assert (part["state"], part["reason"]) == ("output-error", "never_ran")
    assert not any("toolu_cut" in str(request.messages) for request in claude.requests), "half a call was sent back"


@forked
@pytest.mark.parametrize("point", ["after_commit:tool_executing:3", "before_commit:tool_result:3"])
async def test_1_killed_while_a_tool_runs(zygote: Zygote, tmp_path: Path, point: str) -> None:
    report, _, claude = await live(zygote, tmp_path, Fate(point))
    assert report.deaths[0].wish == "first"
    told = [block for request in claude.requests for block in request.tool_results]
    assert any("may or may not have completed" in str(block["content"]) for block in told), "Claude was not told"


@forked
@pytest.mark.parametrize(
    "point",
    [
        "before_commit:step_started",
        "after_commit:step_started",
        "after_commit:delta:2",
        "before_commit:turn_ended",
        "after_commit:turn_ended",
    ],
)
async def test_3_an_orphaned_answer_stays_one_message(zygote: Zygote, tmp_path: Path, point: str) -> None:
    _, user, _ = await live(zygote, tmp_path, Fate(point))
    wishes_answered_once(user)
    assert all(message["parts"] for message in user.view["messages"]), "an empty message was left behind"


@forked
@pytest.mark.parametrize("place", ["before", "after"])
async def test_7_killed_between_a_turns_end_and_the_next(zygote: Zygote, tmp_path: Path, place: str) -> None:
    _, user, _ = await live(zygote, tmp_path, Fate(f"{place}_commit:turn_ended"))
    wishes_answered_once(user)


@forked
async def test_8_killed_while_stopping_a_turn_is_stopped_with_what_it_said(zygote: Zygote, tmp_path: Path) -> None:
    report, user, _ = await live(zygote, tmp_path, Fate("after_commit:stopping"))
    assert report.outcomes["stopped"] == "stopped"
    answer = next(m for m in user.view["messages"] if m["parent_id"] == user.ids["stopped"])
    said = "".join(part["text"] for part in answer["parts"])
    assert said
    assert "It goes on and on ".startswith(said)


@forked
async def test_9_a_question_outlives_three_deaths_and_its_call_runs_once(zygote: Zygote, tmp_path: Path) -> None:
    fates = [Fate("after_commit:approval_requested"), Fate("before_commit:approval_resolved"), Fate(frames=3)]
    report, _, claude = await live(zygote, tmp_path, *fates)
    assert report.deaths[0].wish == "first"
    told = [str(block["content"]) for request in claude.requests for block in request.tool_results]
    assert any("denied this call" in text for text in told), "Claude was not told of the denial"


@forked
async def test_10_a_call_that_only_looks_runs_again_twice_and_no_more_whatever_dies(
    zygote: Zygote, tmp_path: Path
) -> None:
    dying = [Fate("after_commit:tool_executing")] * 3
    report, _, claude = await live(zygote, tmp_path, *dying)
    assert len(report.deaths) == 3
    (session,) = (tmp_path / "data" / "sessions").iterdir()
    looks = [row for row in Book(session).calls if row["name"] in ("read_notebook", "read_cell")]
    assert [row["attempt"] for row in looks] == [3, 1], "the same rows, under the same ids"
    told = {block["tool_use_id"]: block for request in claude.requests for block in request.tool_results}
    assert "may or may not have completed" in str(told[looks[0]["id"]]["content"])
    assert not told[looks[1]["id"]].get("is_error")


@forked
async def test_10_a_session_that_sleeps_whenever_it_may_tells_the_same_story(zygote: Zygote, tmp_path: Path) -> None:
    report, user, _ = await live(zygote, tmp_path, idle_s=0.001)
    assert [report.outcomes[name] for name in talk.ALL] == ["complete", "complete", "stopped", "complete", "complete"]
    wishes_answered_once(user)
