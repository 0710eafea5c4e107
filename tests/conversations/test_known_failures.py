"""Failures that other agents are known for and no other file is about, over every road (``tests/README.md``)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.hosts.running_server import API, RunningServer
from tests.model_server import ErrorEvent, Gate, ModelServer, Pace, Reply, Text, ToolUse, words
from tests.roads import CELLS, Road, write_notebook
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(180)
Json = dict[str, Any]
Script = Callable[[Sequence[Any]], str]


def said(view: Stranger) -> list[str]:
    """What the user said, in order."""
    return [m["parts"][0]["text"] for m in view.view["messages"] if m["role"] == "user"]


def inserting(name: str) -> ToolUse:
    """A call that has to be asked for."""
    return ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": f"{name} = 1"})


async def test_who_joins_while_words_flow_hears_the_story_first_and_each_word_once(road: Road, script: Script) -> None:
    told, all_are_here = words(60), Gate()
    # Words flow while views join. Should joining take longer than they do, the last ones wait for it.
    word = script([Reply(Text(Pace(15), told[:350], all_are_here, told[350:]))])
    async with road.session() as session_id, road.view(session_id) as first, AsyncExitStack() as stack:
        await first.open()
        await first.say(f"say much {word}")
        late: list[Stranger] = []
        for count in (3, 9, 15):
            await first.event(lambda e, count=count: e["type"] == "part.delta" and len(first.text.split()) >= count)
            late.append(await stack.enter_async_context(road.view(session_id)))
            await late[-1].open()
        all_are_here.open()
        await first.event("turn.ended", outcome="completed")
        for view in late:
            await view.event("turn.ended", outcome="completed")
            kinds = [event["type"] for event in view.events if event["type"] in ("snapshot", "part.delta", "caught_up")]
            assert kinds[0] == "snapshot", "a live word before the story that it belongs to"
            assert view.text == first.text == told
            view.same_story_as(await view.subscribe())


async def test_who_subscribes_twice_in_one_breath_hears_each_word_once(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("So far ", gate, "and no further."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await gate.until_reached()
        await view.reads("So far ")
        start, since = len(view.events), {"ep": view.ep, "seq": 1}
        for _ in range(2):
            view.send("subscribe", since=since, page=25)
        gate.open()
        await view.event("turn.ended", after=start)
        assert view.text == "So far and no further."
        async with road.view(session_id) as newcomer:
            view.same_story_as(await newcomer.open())


async def test_what_is_told_again_to_one_view_is_not_told_to_the_others(road: Road, script: Script) -> None:
    word = script([Reply(Text("Once."))])
    async with road.session() as session_id, road.view(session_id) as one, road.view(session_id) as other:
        await one.open()
        await other.open()
        await one.say(word)
        for view in (one, other):
            await view.event("turn.ended")
        heard = len(other.events)
        await one.subscribe(since={"ep": one.ep, "seq": 1})
        await one.subscribe()
        assert (await other.ask("session.set", title="Told"))["status"] == "accepted"
        await other.event("session.updated", after=heard)
        again = [event["type"] for event in other.events[heard:] if event["type"] not in ("hb", "ack")]
        assert again == ["session.updated"]


async def test_the_model_is_asked_again_only_when_all_calls_of_a_step_are_answered(
    road: Road, script: Script, claude: ModelServer
) -> None:
    word = script([Reply(inserting("a"), inserting("b"), inserting("c")), Reply(Text("All three."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await view.event("turn.status", status="awaiting")
        asked = [event["d"]["approval"] for event in view.of("approval.requested")]
        assert len(asked) == 3
        for index, decision in ((2, "allow"), (0, "deny")):
            wish = {"id": asked[index]["id"], "rev": asked[index]["rev"], "decision": decision, "scope": "once"}
            assert (await view.ask("approval.answer", **wish))["status"] == "accepted"
            assert (await view.ask("approval.answer", **wish))["status"] == "rejected", "it was answered"
            assert len([request for request in claude.requests if word in str(request.messages)]) == 1
        last = {"id": asked[1]["id"], "rev": asked[1]["rev"], "decision": "allow", "scope": "once"}
        await view.ask("approval.answer", **last)
        await view.event("turn.ended", outcome="completed")
        request = next(request for request in reversed(claude.requests) if word in str(request.messages))
        results = request.messages[-1]["content"]
        assert [block["type"] for block in results[:3]] == ["tool_result"] * 3
        assert [bool(block.get("is_error")) for block in results[:3]] == [True, False, False], "in the model's order"


async def test_what_is_sent_in_one_breath_is_answered_in_its_order_one_at_a_time(road: Road, script: Script) -> None:
    gate = Gate()
    names = ["two", "three", "four", "five", "six"]
    word = script([Reply(Text("One", gate, ".")), *(Reply(Text(f"Answer {name}.")) for name in names)])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(f"one {word}")
        await gate.until_reached()
        acks = await asyncio.gather(*(view.say(name) for name in names))
        assert len({ack["queue_id"] for ack in acks}) == len(names)
        gate.open()
        await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 6)
        assert said(view) == [f"one {word}", *names]
        answers = [m["parts"][0]["text"] for m in view.view["messages"] if m["role"] == "assistant"]
        assert answers == ["One.", *(f"Answer {name}." for name in names)]
        view.same_story_as(await view.subscribe())


async def test_a_turn_that_fails_pauses_the_queue_and_loses_nothing_of_it(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("Half ", gate, ErrorEvent("permission_error", "Not this model."))), Reply(Text("Two."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(f"one {word}")
        await gate.until_reached()
        waits = await view.say("two")
        gate.open()
        await view.event("turn.ended", outcome="failed")
        await view.event("queue.updated", paused=True)
        assert [item["id"] for item in view.view["queue"]] == [waits["queue_id"]]
        behind = await view.say("three")
        assert behind["paused"] is True, "what is said now waits behind it"
        assert (await view.ask("queue.remove", id=behind["queue_id"], rev=1))["status"] == "accepted"
        await view.ask("queue.resume")
        await view.event("turn.ended", outcome="completed")
        assert (view.text, view.view["queue"], view.view["paused"]) == ("Two.", [], False)


async def test_stop_works_from_another_view_and_takes_an_open_question_with_it(road: Road, script: Script) -> None:
    word = script([Reply(Text("May I? "), inserting("a"), inserting("b")), Reply(Text("Fine."))])
    async with road.session() as session_id, road.view(session_id) as one, road.view(session_id) as other:
        await one.open()
        await other.open()
        turn = (await one.say(f"do it {word}"))["turn"]
        await other.event("turn.status", status="awaiting")
        assert (await other.ask("turn.stop", turn=turn))["status"] == "accepted"
        for view in (one, other):
            await view.event("turn.ended", outcome="stopped")
            assert [event["d"]["decision"] for event in view.of("approval.resolved")] == ["cancelled"] * 2
            assert view.view["approvals"] == []
            assert [(tool["state"], tool["reason"]) for tool in view.tools] == [("output-error", "never_ran")] * 2
            assert view.text == "May I? "
        asked = one.of("approval.requested")[0]["d"]["approval"]
        late = await one.ask("approval.answer", id=asked["id"], rev=asked["rev"], decision="allow", scope="once")
        assert late["error"]["code"] == "not_open"
        assert (await one.ask("turn.stop", turn=turn))["error"]["code"] == "not_running"
        await one.say("and now?")
        await one.event("turn.ended", outcome="completed")


async def test_a_page_that_reloads_finds_the_question_and_its_answer_runs_the_call_once(
    road: Road, script: Script
) -> None:
    word = script([Reply(inserting("once")), Reply(Text("Inserted."))])
    async with road.session() as session_id:
        async with road.view(session_id) as leaves:
            await leaves.open()
            await leaves.say(word)
            await leaves.event("turn.status", status="awaiting")
            asked = leaves.of("approval.requested")[0]["d"]["approval"]
        async with road.view(session_id) as view:
            snapshot = await view.open()
            assert (snapshot["d"]["approvals"], snapshot["d"]["turn"]["status"]) == ([asked], "awaiting")
            wish = {"id": asked["id"], "rev": asked["rev"], "decision": "allow", "scope": "once"}
            assert (await view.ask("approval.answer", **wish))["status"] == "accepted"
            assert (await view.ask("approval.answer", **wish))["error"]["code"] in ("not_open", "stale")
            await view.event("turn.ended", outcome="completed")
            path = (await view.subscribe())["d"]["session"]["notebook_path"]
    assert (road.notebooks / path).read_text(encoding="utf-8").count("once = 1") == 1


@pytest.mark.parametrize("end", ["restart", "shut down", "die"])
async def test_a_turn_goes_on_to_its_end_whatever_its_kernel_does(
    jupyter: RunningServer, script: Script, end: str
) -> None:
    gate = Gate()
    word = script([Reply(Text("So far ", gate, "and done."))])
    name = f"kernel-{end.replace(' ', '-')}.ipynb"
    write_notebook(jupyter.notebooks, name)
    async with jupyter.notebook_page(name, CELLS) as page:
        session_id = await jupyter.new_session(notebook_path=name)
        async with jupyter.view(session_id) as socket:
            view = Stranger(socket.send)
            socket.listeners.append(view.hear)
            await view.open()
            panel = await page.open_panel(f"panel = AgentPanel(session_id={session_id!r})\npanel")
            panel.command("message.send", id=f"msg_{end}", parts=[{"type": "text", "text": f"go {word}"}])
            await gate.until_reached()
            match end:
                case "restart":
                    status, _ = await jupyter.ask("POST", f"/api/kernels/{page.kernel_id}/restart")
                    assert status == 200
                case "shut down":
                    status, _ = await jupyter.ask("DELETE", f"/api/kernels/{page.kernel_id}")
                    assert status == 204
                case _:
                    page.run("import os, signal\nos.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))")
                    await page.channel.wait_for(
                        lambda m: (
                            m["msg_type"] == "status"
                            and m["content"]["execution_state"] in ("restarting", "autorestarting", "dead")
                        )
                    )
            gate.open()
            await view.event("turn.ended", outcome="completed")
            assert view.text == "So far and done."
        _, body = await jupyter.ask("GET", f"{API}/sessions/{session_id}")
        assert body["session"]["status"] == "ready"
