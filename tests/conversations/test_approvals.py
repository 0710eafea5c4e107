"""Questions to the user and their answers, over every road."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.notebook.ports import base_hash
from jupyter_agent.session.host import SessionHost
from tests.model_server import ModelServer, Reply, Text, ToolUse
from tests.roads import MemoryRoad, Road, write_notebook
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(180)
Json = dict[str, Any]
Script = Callable[[Sequence[Any]], str]


def cell(source: str) -> Json:
    """The input of a call that inserts a code cell."""
    return {"after": "first", "cell_type": "code", "source": source}


def inserting(source: str) -> ToolUse:
    """That call."""
    return ToolUse("insert_cell", cell(source))


async def question(view: Stranger, *, after: int = 0) -> Json:
    """The next question, once the turn rests on it."""
    asked = (await view.event("approval.requested", after=after))["d"]["approval"]
    await view.event("turn.status", after=after, status="awaiting")
    return asked


def notebook(road: Road, view: Stranger) -> Path:
    """The session's notebook on disk."""
    return road.notebooks / view.view["session"]["notebook_path"]


def last_request(claude: ModelServer, word: str) -> Any:
    """What the model was asked last in this conversation."""
    return [request for request in claude.requests if word in str(request.body)][-1]


async def test_an_answer_to_another_input_or_rev_is_stale(road: Road, script: Script) -> None:
    word = script([Reply(inserting("y = 1")), Reply(Text("Done."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        asked = await question(view)
        for wrong in ({"rev": asked["rev"] + 1}, {"rev": asked["rev"], "input_hash": "0" * 64}):
            ack = await view.ask("approval.answer", id=asked["id"], decision="allow", **wrong)
            assert (ack["status"], ack["error"]["code"]) == ("rejected", "stale")
        right = {"rev": asked["rev"], "input_hash": asked["input_hash"]}
        assert (await view.ask("approval.answer", id=asked["id"], decision="allow", **right))["status"] == "accepted"
        await view.event("turn.ended", outcome="completed")
        assert view.tools[0]["allowed"] == "once"
        assert notebook(road, view).read_text(encoding="utf-8").count("y = 1") == 1


async def test_a_call_runs_with_the_input_that_the_user_made_of_it_and_the_model_is_told(
    road: Road, script: Script, claude: ModelServer
) -> None:
    word = script([Reply(inserting("y = 1")), Reply(Text("Done."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        asked = await question(view)
        edited = cell("y = 2  # mine")
        await view.ask("approval.answer", id=asked["id"], rev=asked["rev"], decision="allow", edited_input=edited)
        await view.event("turn.ended", outcome="completed")
        assert view.tools[0]["input"] == edited
        assert view.tools[0]["state"] == "output-available"
        text = notebook(road, view).read_text(encoding="utf-8")
        assert "# mine" in text
        assert "y = 1" not in text
        view.same_story_as(await view.subscribe())
    last = last_request(claude, word)
    assert "The user changed the input" in last.result_text()
    assert "# mine" in last.result_text()
    called = [b for m in last.body["messages"] for b in m["content"] if b["type"] == "tool_use"]
    assert [block["input"] for block in called] == [cell("y = 1")], "what the model wrote stays what it wrote"


@pytest.mark.parametrize("bad", [{"source": 7}, {"nothing": "known"}, "text", []])
async def test_an_edited_input_that_the_tool_cannot_take_is_refused_and_the_question_stays(
    host: SessionHost, tmp_path: Path, script: Script, bad: Any
) -> None:
    word = script([Reply(inserting("y = 1")), Reply(Text("Done."))])
    road = MemoryRoad(host, tmp_path)
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        asked = await question(view)
        answer = {"id": asked["id"], "rev": asked["rev"], "decision": "allow"}
        ack = await view.ask("approval.answer", **answer, edited_input=bad)
        assert (ack["status"], ack["error"]["code"]) == ("rejected", "invalid_input")
        assert "insert_cell" in ack["error"]["message"]
        assert view.view["approvals"] == [asked]
        assert (await view.ask("approval.answer", **answer))["status"] == "accepted"
        await view.event("turn.ended", outcome="completed")


async def test_agreeing_to_a_plan_allows_none_of_the_calls_behind_it(road: Road, script: Script) -> None:
    word = script([Reply(ToolUse("exit_plan", {"plan": "Insert."}), inserting("sneaked = 1")), Reply(Text("Well."))])
    async with road.session(mode="plan") as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        plan = await question(view)
        heard = len(view.events)
        await view.ask("approval.answer", id=plan["id"], rev=plan["rev"], decision="allow")
        edit = await question(view, after=heard)
        assert "sneaked" in str(edit["preview"])
        assert "sneaked" not in notebook(road, view).read_text(encoding="utf-8")
        await view.ask("approval.answer", id=edit["id"], rev=edit["rev"], decision="deny")
        await view.event("turn.ended", outcome="completed")
        assert [part["state"] for part in view.tools] == ["output-available", "output-denied"]
        assert "sneaked" not in notebook(road, view).read_text(encoding="utf-8")


async def test_a_question_answered_by_two_views_at_once_runs_once(road: Road, script: Script) -> None:
    word = script([Reply(inserting("y = 1")), Reply(Text("Done."))])
    async with road.session() as session_id, road.view(session_id) as one, road.view(session_id) as two:
        await one.open()
        await two.open()
        await one.say(word)
        asked = await question(one)
        await question(two)
        answer = {"id": asked["id"], "rev": asked["rev"], "decision": "allow"}
        acks = await asyncio.gather(one.ask("approval.answer", **answer), two.ask("approval.answer", **answer))
        assert sorted(ack["status"] for ack in acks) == ["accepted", "rejected"]
        await one.event("turn.ended", outcome="completed")
        assert notebook(road, one).read_text(encoding="utf-8").count("y = 1") == 1


async def test_a_message_instead_of_an_answer_denies_what_waits_and_is_read_in_the_same_turn(
    road: Road, script: Script, claude: ModelServer
) -> None:
    word = script([Reply(inserting("y = 1"), inserting("z = 1")), Reply(Text("As you wish."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        turn = (await view.say(word))["turn"]
        await question(view)
        said = await view.say("No, call it w.", when_busy="steer", deny_pending=True)
        assert (said["turn"], said["queue_id"]) == (turn, None)
        await view.event("turn.ended", turn=turn, outcome="completed")
        assert [m["role"] for m in view.view["messages"]] == ["user", "assistant", "user", "assistant"]
        _, asked, instead, answer = view.view["messages"]
        assert [p["state"] for p in asked["parts"] if p["type"] == "tool"] == ["output-denied"] * 2
        assert [p["text"] for p in answer["parts"]] == ["As you wish."]
        assert (instead["parent_id"], answer["parent_id"]) == (asked["id"], instead["id"])
        assert {e["d"]["reason"] for e in view.of("approval.resolved")} == {"No, call it w."}
        assert "y = 1" not in notebook(road, view).read_text(encoding="utf-8")
        view.same_story_as(await view.subscribe())
    last = last_request(claude, word)
    assert last.messages[-1]["content"][-1] == {"type": "text", "text": "No, call it w."} | {
        k: v for k, v in last.messages[-1]["content"][-1].items() if k == "cache_control"
    }
    assert [b["type"] for b in last.messages[-1]["content"]] == ["tool_result", "tool_result", "text"]


async def test_what_was_allowed_for_good_is_not_asked_again_in_that_notebook(
    host: SessionHost, tmp_path: Path, script: Script
) -> None:
    road = MemoryRoad(host, tmp_path)
    word = script([Reply(inserting("y = 1"), inserting("z = 1")), Reply(Text("Done."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        asked = await question(view)
        assert asked["scopes"] == ["once", "session", "always"]
        await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow", scope="always")
        await view.event("turn.ended", outcome="completed")
        assert [part["allowed"] for part in view.tools] == ["always", "always"]
        (rule,) = await host.rules.list()
        assert (rule.user, rule.tool, rule.notebook) == ("me", "insert_cell", view.view["session"]["notebook_path"])
        path = view.view["session"]["notebook_path"]

    async def asks_again(notebook_path: str, *, by: str = "me") -> bool:
        word = script([Reply(inserting("w = 1")), Reply(Text("Done."))])
        session = await host.create(notebook_path=notebook_path)
        stranger = Stranger(lambda command: connection.receive(command))
        connection = host.connect(session.id, lambda frame: stranger.hear(frame.data), user=by, road="panel")
        await stranger.open()
        await stranger.say(word)
        await stranger.event(lambda e: e["type"] in ("approval.requested", "turn.ended"))
        waits = bool(stranger.view["approvals"])
        if waits:
            asked = await question(stranger)
            await stranger.ask("approval.answer", id=asked["id"], rev=1, decision="deny")
            await stranger.event("turn.ended")
        connection.close()
        return waits

    assert not await asks_again(path), "another session of the same notebook and user"
    assert await asks_again(path, by="somebody else")
    write_notebook(tmp_path, "other.ipynb")
    assert await asks_again("other.ipynb")
    await host.rules.remove(rule.id)
    assert await asks_again(path), "taken back, it holds nowhere"


async def test_what_was_allowed_for_good_in_a_folder_holds_in_the_notebooks_below_it(
    host: SessionHost, tmp_path: Path, script: Script
) -> None:
    for folder, name in (("work", "a"), ("work", "b"), ("elsewhere", "c")):
        (tmp_path / folder).mkdir(exist_ok=True)
        write_notebook(tmp_path / folder, f"{name}.ipynb")

    def in_notebook(path: str) -> ToolUse:
        return ToolUse("insert_cell", {**cell("y = 1"), "path": path})

    word = script(
        [
            Reply(in_notebook("work/a.ipynb"), in_notebook("work/b.ipynb"), in_notebook("elsewhere/c.ipynb")),
            Reply(in_notebook("work/b.ipynb")),
            Reply(Text("Done.")),
        ]
    )
    road = MemoryRoad(host, tmp_path)
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await question(view)
        first, second, third = view.view["approvals"]
        answer: Json = {"id": first["id"], "rev": 1, "decision": "allow", "scope": "always"}
        for pattern in ("elsewhere/*", "", "work/a", "*" * 5000):
            ack = await view.ask("approval.answer", **answer, pattern=pattern)
            assert (ack["status"], ack["error"]["code"]) == ("rejected", "pattern")
        assert await host.rules.list() == []
        assert (await view.ask("approval.answer", **answer, pattern="work/*"))["status"] == "accepted"
        assert [one["id"] for one in view.view["approvals"]] == [third["id"]], (
            "the second is below it, the third is not"
        )
        (rule,) = await host.rules.list()
        assert (rule.tool, rule.notebook) == ("insert_cell", "work/*")
        await view.ask("approval.answer", id=third["id"], rev=1, decision="deny")
        await view.event("turn.ended", outcome="completed")
        written = {
            path: (tmp_path / path).read_text(encoding="utf-8").count("y = 1")
            for path in ("work/a.ipynb", "work/b.ipynb", "elsewhere/c.ipynb")
        }
        assert written == {"work/a.ipynb": 1, "work/b.ipynb": 2, "elsewhere/c.ipynb": 0}
        assert second["id"] in {event["d"]["id"] for event in view.of("approval.resolved")}


async def test_code_is_allowed_for_good_in_one_notebook_alone(
    host: SessionHost, tmp_path: Path, script: Script
) -> None:
    road = MemoryRoad(host, tmp_path)
    word = script(
        [
            Reply(ToolUse("run_cell", {"cell_id": "first", "base_hash": base_hash("code", "x = 20 + 1")})),
            Reply(Text("Then not.")),
        ]
    )
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        asked = await question(view)
        ack = await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow", scope="always", pattern="*")
        assert (ack["status"], ack["error"]["code"]) == ("rejected", "pattern")
        await view.ask("approval.answer", id=asked["id"], rev=1, decision="deny")
        await view.event("turn.ended", outcome="completed")


async def test_a_plan_is_never_allowed_for_good(host: SessionHost, tmp_path: Path, script: Script) -> None:
    road = MemoryRoad(host, tmp_path)
    word = script([Reply(ToolUse("exit_plan", {"plan": "Go."})), Reply(Text("Going."))])
    async with road.session(mode="plan") as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        asked = await question(view)
        assert asked["scopes"] == ["once"]
        for scope in ("session", "always"):
            ack = await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow", scope=scope)
            assert (ack["status"], ack["error"]["code"]) == ("rejected", "scope")
        assert await host.rules.list() == []
        await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow")
        await view.event("turn.ended", outcome="completed")
