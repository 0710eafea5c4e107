"""Tasks, from being written down to being done, over every road."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from jupyter_agent.session.host import SessionHost
from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.roads import MemoryRoad, Road
from tests.session.test_host import until
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(180)
Json = dict[str, Any]
Script = Callable[[Sequence[Any]], str]


async def created(view: Stranger, title: str, **more: Any) -> Json:
    """A task that the user wrote down."""
    ack = await view.ask("task.create", title=title, **more)
    assert ack["status"] == "accepted", ack
    return ack["result"]


def the_task(view: Stranger, task_id: str) -> Json:
    """The task as this view sees it."""
    return next(task for task in view.view["tasks"] if task["id"] == task_id)


async def refusal(view: Stranger, kind: str, **d: Any) -> str:
    """The code of a command that has to be rejected."""
    ack = await view.ask(kind, **d)
    assert ack["status"] == "rejected", ack
    return ack["error"]["code"]


async def test_a_task_is_run_as_a_turn_and_is_what_became_of_it(
    road: Road, script: Script, claude: ModelServer
) -> None:
    word = script([Reply(Text("Tidied."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        task = await created(view, "Tidy up", description=f"All of it, {word}.")
        assert (task["status"], task["mode"]) == ("pending", "build")
        ack = await view.ask("task.run", id=task["id"], rev=task["rev"])
        ended = await view.event("turn.ended", outcome="completed")
        assert ended["d"]["turn"] == ack["result"]["turn"]
        assert view.of("turn.started")[-1]["d"]["turn"]["trigger"] == "task"
        done = the_task(view, task["id"])
        assert (done["status"], done["turn_id"]) == ("done", ack["result"]["turn"])
        assert done["completed_at"] is not None
        assert [e["d"]["task"]["status"] for e in view.of("task.updated")] == ["pending", "running", "done"]
        assert view.view["messages"][0]["parts"][0]["text"] == f"Tidy up\n\nAll of it, {word}."
        view.same_story_as(await view.subscribe())
    asked = [request for request in claude.requests if word in str(request.body)][-1]
    assert task["id"] in asked.user_texts[-1]


async def test_a_stopped_run_is_cancelled_and_can_be_run_again(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("Half", gate)), Reply(Text("Whole."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        task = await created(view, f"Do it {word}")
        turn = (await view.ask("task.run", id=task["id"], rev=1))["result"]["turn"]
        await gate.until_reached()
        await view.event(lambda e: e["type"] == "task.updated" and e["d"]["task"]["status"] == "running")
        rev = the_task(view, task["id"])["rev"]
        assert await refusal(view, "task.run", id=task["id"], rev=rev) == "running"
        assert await refusal(view, "task.update", id=task["id"], rev=rev, status="done") == "running"
        await view.ask("turn.stop", turn=turn)
        await view.event("turn.ended", outcome="stopped")
        await view.event(lambda e: e["type"] == "task.updated" and e["d"]["task"]["status"] == "cancelled")
        rev = the_task(view, task["id"])["rev"]
        await view.ask("task.run", id=task["id"], rev=rev)
        await view.event(lambda e: e["type"] == "task.updated" and e["d"]["task"]["status"] == "done")
        gate.open()


async def test_a_task_run_while_a_turn_goes_on_waits_its_turn(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("One", gate, ".")), Reply(Text("Two.")), Reply(Text("Three."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(f"{word} one")
        await gate.until_reached()
        await view.say("two")
        task = await created(view, "three")
        ack = await view.ask("task.run", id=task["id"], rev=1)
        assert (ack["result"]["turn"], ack["result"]["paused"]) == (None, False)
        assert await refusal(view, "task.run", id=task["id"], rev=1) == "queued"
        assert [item["task_id"] for item in view.view["queue"]] == [None, task["id"]]
        await view.ask("task.update", id=task["id"], rev=1, title="three, and well")
        gate.open()
        await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 3)
        said = [m["parts"][0]["text"] for m in view.view["messages"] if m["role"] == "user"]
        assert said == [f"{word} one", "two", "three, and well"]
        assert the_task(view, task["id"])["status"] == "done"
        view.same_story_as(await view.subscribe())


async def test_a_task_that_is_called_off_leaves_the_queue(road: Road, script: Script) -> None:
    gate = Gate()
    word = script([Reply(Text("One", gate, "."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await gate.until_reached()
        task = await created(view, "never")
        await view.ask("task.run", id=task["id"], rev=1)
        await view.ask("task.update", id=task["id"], rev=1, status="cancelled")
        await view.event("queue.updated", items=[])
        gate.open()
        await view.event("turn.ended", outcome="completed")
        assert the_task(view, task["id"])["status"] == "cancelled"


async def test_the_model_keeps_its_plan_as_tasks(road: Road, script: Script, claude: ModelServer) -> None:
    def crossed_out(request: Any) -> Json:
        return {"task_id": request.find(r"(tsk_\w+)"), "status": "done"}

    word = script(
        [
            Reply(ToolUse("create_task", {"title": "Look", "mode": "plan"})),
            Reply(ToolUse("update_task", crossed_out)),
            Reply(ToolUse("update_task", {"task_id": "tsk_nowhere", "status": "done"})),
            Reply(Text("Looked.")),
        ]
    )
    async with road.session(mode="plan") as session_id, road.view(session_id) as view:
        await view.open()
        await view.say(word)
        await view.event("turn.ended", outcome="completed")
        assert [(t["title"], t["status"]) for t in view.view["tasks"]] == [("Look", "done")]
        assert [part["state"] for part in view.tools] == ["output-available", "output-available", "output-error"]
    last = [request for request in claude.requests if word in str(request.body)][-1]
    assert "Look" in last.result_text(), "the error says which tasks there are"


async def test_a_task_for_plan_mode_changes_nothing_in_a_build_session_until_the_user_agrees(
    host: SessionHost, tmp_path: Any, script: Script, claude: ModelServer
) -> None:
    insert = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "y = 1"})
    word = script([Reply(insert), Reply(ToolUse("exit_plan", {"plan": "Insert."})), Reply(insert), Reply(Text("Ok."))])
    road = MemoryRoad(host, tmp_path)
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        task = await created(view, f"Look {word}", mode="plan")
        await view.ask("task.run", id=task["id"], rev=1)
        plan = (await view.event("approval.requested"))["d"]["approval"]
        await view.event("turn.status", status="awaiting")
        assert view.tools[0]["state"] == "output-denied"
        heard = len(view.events)
        await view.ask("approval.answer", id=plan["id"], rev=1, decision="allow")
        edit = (await view.event("approval.requested", after=heard))["d"]["approval"]
        await view.event("turn.status", after=heard, status="awaiting")
        await view.ask("approval.answer", id=edit["id"], rev=1, decision="allow")
        await view.event("turn.ended", outcome="completed")
        assert view.tools[-1]["state"] == "output-available"
    asked = next(request for request in claude.requests if word in str(request.body))
    assert "Mode: Plan." in asked.user_texts[-1]


@pytest.mark.parametrize("way", ["continue", "continue twice", "retry"])
async def test_a_task_for_plan_mode_still_only_looks_when_it_is_gone_on_with(
    host: SessionHost, tmp_path: Any, script: Script, way: str
) -> None:
    insert = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "y = 1"})
    plan = ToolUse("exit_plan", {"plan": "Insert."})
    road = MemoryRoad(host, tmp_path)
    word = script([Reply(plan)] + [Reply(plan)] * (way == "continue twice") + [Reply(insert), Reply(Text("Looked."))])
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        task = await created(view, f"Look {word}", mode="plan")
        turn = (await view.ask("task.run", id=task["id"], rev=1))["result"]["turn"]
        for _ in range(1 + (way == "continue twice")):
            await view.event(lambda e: e["turn"] == turn and e["d"].get("status") == "awaiting")  # noqa: B023 -- read now
            await view.ask("turn.stop", turn=turn)
            await view.event("turn.ended", turn=turn)
            await until(lambda: host.awake(session_id) is None)
            if way == "retry":
                answer = view.view["messages"][-1]["id"]
                turn = (await view.ask("turn.retry", message_id=answer))["result"]["turn"]
            else:
                turn = (await view.ask("turn.continue", after=turn))["result"]["turn"]
        await view.event("turn.ended", turn=turn, outcome="completed")
        assert [tool["state"] for tool in view.tools if tool["name"] == "insert_cell"] == ["output-denied"]


async def test_a_task_for_build_mode_leaves_a_plan_session_in_plan(
    host: SessionHost, tmp_path: Any, script: Script
) -> None:
    insert = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "y = 1"})
    word = script([Reply(insert), Reply(Text("Then not."))])
    road = MemoryRoad(host, tmp_path)
    async with road.session(mode="plan") as session_id, road.view(session_id) as view:
        await view.open()
        task = await created(view, f"Build {word}", mode="build")
        await view.ask("task.run", id=task["id"], rev=1)
        await view.event("turn.ended", outcome="completed")
        assert view.tools[0]["state"] == "output-denied"
        assert view.view["session"]["mode"] == "plan"


async def test_what_makes_no_sense_is_refused_in_words(road: Road) -> None:
    async with road.session() as session_id, road.view(session_id) as view:
        await view.open()
        task = await created(view, "  Once \n upon ")
        assert task["title"] == "Once upon"
        assert await refusal(view, "task.create", title=" ") == "invalid_task"
        assert await refusal(view, "task.create", title="x" * 201) == "invalid_task"
        assert await refusal(view, "task.create", title="x", description="x" * 20_001) == "invalid_task"
        assert await refusal(view, "task.update", id="tsk_nowhere", rev=1, title="x") == "no_such_task"
        assert await refusal(view, "task.run", id="tsk_nowhere", rev=1) == "no_such_task"
        assert await refusal(view, "task.update", id=task["id"], rev=2, title="x") == "stale"
        assert await refusal(view, "task.run", id=task["id"], rev=7) == "stale"
        assert await refusal(view, "task.update", id=task["id"], rev=1, status="running") == "invalid_task"
        assert view.view["tasks"] == [task]
