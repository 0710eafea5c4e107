"""Tasks where their turns do not simply end: none runs without a turn, and each is what became of its last one."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.protocol.ids import new_id
from jupyter_agent.store.schema import SCHEMA_VERSION
from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.session.test_host import hosting, until, viewing
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(60)
Json = dict[str, Any]

REFUSAL = Reply(Text("No"), stop_reason="refusal")


async def run(view: Stranger, task: Json) -> str:
    """Start the task; return its turn."""
    return (await view.ask("task.run", id=task["id"], rev=task["rev"]))["result"]["turn"]


async def ended(view: Stranger, turn: str) -> str:
    """Wait for the turn's end; return how it ended."""
    return (await view.event(lambda e: e["type"] == "turn.ended" and e["d"]["turn"] == turn))["d"]["outcome"]


async def facts(view: Stranger) -> list[tuple[str, str | None]]:
    """Each task's status and turn, as a new view is told them."""
    view.same_story_as(await view.subscribe())
    return [(task["status"], task["turn_id"]) for task in view.view["tasks"]]


@pytest.mark.parametrize("ends", ["completed", "stopped", "failed"])
async def test_what_the_model_said_it_was_doing_runs_no_longer_than_its_turn(
    model_server: ModelServer, tmp_path: Path, ends: str
) -> None:
    gate = Gate()
    model_server.script(
        [
            Reply(ToolUse("create_task", {"title": "Look"})),
            Reply(ToolUse("update_task", lambda sent: {"task_id": sent.find(r"(tsk_\w+)"), "status": "running"})),
            Reply(Text("Looked", gate), stop_reason="refusal" if ends == "failed" else "end_turn"),
        ]
    )
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            turn = (await view.say("look"))["turn"]
            await gate.until_reached()
            assert [(task["status"], task["turn_id"]) for task in view.view["tasks"]] == [("running", None)]
            if ends == "stopped":
                await view.ask("turn.stop", turn=turn)
            gate.open()
            assert await ended(view, turn) == ends
            await view.event(lambda e: e["type"] == "task.updated" and e["d"]["task"]["status"] == "pending")
            assert await facts(view) == [("pending", None)]


async def test_a_task_whose_answer_is_tried_again_is_what_becomes_of_that(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([REFUSAL, REFUSAL, "Done.", REFUSAL])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            task = (await view.ask("task.create", title="Do it"))["result"]
            turn = await run(view, task)
            await ended(view, turn)
            assert await facts(view) == [("failed", turn)]
            turn = (await view.ask("turn.continue", after=turn))["result"]["turn"]
            await ended(view, turn)
            assert await facts(view) == [("failed", turn)]
            for status in ("done", "failed"):
                answer = view.view["messages"][1]["id"]
                turn = (await view.ask("turn.retry", message_id=answer))["result"]["turn"]
                await ended(view, turn)
                assert await facts(view) == [(status, turn)]


async def test_another_answer_tried_again_leaves_a_task_as_it_is(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script(["Hello.", "Done.", "Hello again."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("hi")
            await view.event("turn.ended")
            task = (await view.ask("task.create", title="Do it"))["result"]
            turn = await run(view, task)
            await ended(view, turn)
            answer = view.view["messages"][1]["id"]
            await ended(view, (await view.ask("turn.retry", message_id=answer))["result"]["turn"])
            assert await facts(view) == [("done", turn)]


async def queued(view: Stranger, count: int) -> list[Json]:
    """Tasks whose runs wait."""
    for number in range(count):
        task = (await view.ask("task.create", title=f"Task {number}"))["result"]
        await view.ask("task.run", id=task["id"], rev=1)
    return list(view.view["tasks"])


@pytest.mark.parametrize("who", ["user", "model"])
async def test_a_queue_does_not_outgrow_its_room_by_what_its_tasks_say(
    model_server: ModelServer, tmp_path: Path, who: str
) -> None:
    gate = Gate()
    words, tasks = "ü" * 20_000, list[Json]()

    def grown(_: Any) -> Json:
        return {"task_id": tasks[2]["id"], "description": words}

    model_server.script(
        [
            Reply(Text("Wait", gate), ToolUse("update_task", {"task_id": "tsk_nowhere", "description": ""})),
            Reply(ToolUse("update_task", grown)),
            Reply(Text("So be it."), stop_reason="refusal"),
        ]
    )
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            turn = (await view.say("wait"))["turn"]
            await gate.until_reached()
            tasks += await queued(view, 3)
            acks = [await view.ask("task.update", id=t["id"], rev=1, description=words) for t in tasks[:2]]
            assert [ack["status"] for ack in acks] == ["accepted", "accepted"]
            if who == "user":
                ack = await view.ask("task.update", id=tasks[2]["id"], rev=1, description=words)
                assert (ack["status"], ack["error"]["code"]) == ("rejected", "queue_full")
            gate.open()
            await ended(view, turn)
            view.same_story_as(await view.subscribe())
            if who == "model":
                assert [part["state"] for part in view.tools] == ["output-error", "output-error"]
                assert "full" in view.tools[-1]["error"]
            assert view.view["tasks"][2]["description"] == ""


WORDS = "ü" * 20_000


async def refused(view: Stranger, kind: str, **d: Any) -> Json:
    """Give a command that has to be refused; return why."""
    ack = await view.ask(kind, **d)
    assert ack["status"] == "rejected", ack
    return ack["error"]


async def test_tasks_do_not_outgrow_a_frame_whoever_writes_them(model_server: ModelServer, tmp_path: Path) -> None:
    tasks = list[Json]()
    model_server.script(
        [
            Reply(ToolUse("create_task", {"title": "Mine", "description": WORDS})),
            Reply(ToolUse("update_task", lambda _: {"task_id": tasks[0]["id"], "description": WORDS})),
            Reply(Text("So be it.")),
        ]
    )
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            for description in ("", WORDS, WORDS):
                tasks.append((await view.ask("task.create", title="Do it", description=description))["result"])
            error = await refused(view, "task.create", title="One more", description=WORDS)
            assert (error["code"], "Shorten" in error["hint"]) == ("tasks_full", True)
            error = await refused(view, "task.update", id=tasks[0]["id"], rev=1, description=WORDS)
            assert error["code"] == "tasks_full"
            await view.say("do it")
            await view.event("turn.ended", outcome="completed")
            assert [part["state"] for part in view.tools] == ["output-error", "output-error"]
            assert all("Shorten" in part["error"] for part in view.tools)
            view.same_story_as(await view.subscribe())
            assert [task["description"] for task in view.view["tasks"]] == ["", WORDS, WORDS]
            # Whatever makes room is taken, and what became of a task is told however many there are.
            done = await view.ask("task.update", id=tasks[1]["id"], rev=1, status="done")
            await view.ask("task.update", id=tasks[1]["id"], rev=done["result"]["rev"], description="Short")
            assert (await view.ask("task.create", title="One more", description=WORDS))["status"] == "accepted"


async def test_tasks_are_told_whole_beside_a_full_queue_and_a_long_message(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate = Gate()
    model_server.script([Reply(*[Text("x" * 1_500)] * 30, Text("End", gate))])
    frame = 64 * 1024
    async with hosting(model_server, tmp_path, frame_bytes=frame, page_bytes=frame // 4, part_bytes=4096) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            turn = (await view.say("go"))["turn"]
            await gate.until_reached()
            for length in (3_000, 300, 0):
                while (await view.ask("task.create", title="T", description="y" * length))["status"] == "accepted":
                    pass
                waits = [{"type": "text", "text": "z" * (length + 1)}]
                while (await view.ask("message.send", id=new_id("msg"), parts=waits))["status"] == "accepted":
                    pass
            told = await view.subscribe()
            assert len(json.dumps(told, separators=(",", ":"))) <= frame
            view.same_story_as(told)
            await view.ask("turn.stop", turn=turn, clear_queue=True)
            gate.open()


async def test_tasks_of_a_session_that_can_only_be_looked_at_are_told(
    model_server: ModelServer, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "sessions"
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            task = (await view.ask("task.create", title="From the future"))["result"]
            await until(lambda: host.awake(session.id) is None)
        with sqlite3.connect(folder / session.id / "session.db") as db:
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
        db.close()
        assert [known.id for known in await host.library.tasks(session.id)] == [task["id"]]
