"""Tasks and standing permissions over REST."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.hosts.running_server import API, RunningServer
from tests.roads import write_notebook
from tests.stranger import Stranger

Json = dict[str, Any]


def refused(answer: tuple[int, Json], status: int, code: str) -> None:
    """It was refused, in our one shape."""
    assert answer[0] == status, answer
    assert answer[1]["error"]["code"] == code
    assert answer[1]["error"]["message"]


@asynccontextmanager
async def viewing(server: RunningServer, session_id: str) -> AsyncGenerator[Stranger]:
    """A view that follows the session."""
    async with server.view(session_id) as socket:
        view = Stranger(socket.send)
        socket.listeners.append(view.hear)
        await view.open()
        yield view


async def test_a_task_is_written_down_changed_and_done(server: RunningServer) -> None:
    session_id = await server.new_session()
    tasks = f"{API}/sessions/{session_id}/tasks"
    assert await server.ask("GET", tasks) == (200, {"tasks": []})
    status, body = await server.ask("POST", tasks, {"title": "Say hello", "mode": "plan"})
    assert status == 201
    task = body["task"]
    assert (task["title"], task["mode"], task["status"]) == ("Say hello", "plan", "pending")
    one = f"{tasks}/{task['id']}"
    status, body = await server.ask("PATCH", one, {"description": "In French.", "if_rev": task["rev"]})
    assert (status, body["task"]["description"]) == (200, "In French.")
    refused(await server.ask("PATCH", one, {"title": "x", "if_rev": task["rev"]}), 409, "stale")
    async with viewing(server, session_id) as view:
        status, body = await server.ask("POST", f"{one}/run")
        assert status == 200
        assert body["turn"]
        assert body["task"]["turn_id"] == body["turn"]
        await view.event(lambda e: e["type"] == "task.updated" and e["d"]["task"]["status"] == "done")
    _, body = await server.ask("GET", tasks)
    assert [task["status"] for task in body["tasks"]] == ["done"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "malformed"),
        ({"title": 1}, 400, "malformed"),
        ({"title": "x", "mode": "chaos"}, 400, "malformed"),
        ({"title": "x", "colour": "red"}, 400, "bad_request"),
        ({"title": " "}, 400, "invalid_task"),
        ({"title": "x" * 201}, 400, "invalid_task"),
    ],
)
async def test_a_task_that_makes_no_sense_is_refused(server: RunningServer, body: Json, status: int, code: str) -> None:
    session_id = await server.new_session()
    refused(await server.ask("POST", f"{API}/sessions/{session_id}/tasks", body), status, code)


async def test_what_is_not_there_is_not_found(server: RunningServer) -> None:
    tasks = f"{API}/sessions/{await server.new_session()}/tasks"
    refused(await server.ask("PATCH", f"{tasks}/tsk_nowhere", {"title": "x"}), 404, "no_such_task")
    refused(await server.ask("POST", f"{tasks}/tsk_nowhere/run"), 404, "no_such_task")
    refused(await server.ask("GET", f"{API}/sessions/ses_0000000000000000/tasks"), 404, "not_found")
    refused(await server.ask("DELETE", f"{API}/rules/rul_nowhere"), 404, "no_such_rule")


async def test_what_was_allowed_for_good_is_listed_and_taken_back(server: RunningServer) -> None:
    assert await server.ask("GET", f"{API}/rules") == (200, {"rules": []})
    made = await _allowed_for_good(server)
    status, body = await server.ask("GET", f"{API}/rules")
    assert (status, [rule["tool"] for rule in body["rules"]]) == (200, [made["name"]])
    (rule,) = body["rules"]
    assert set(rule) == {"id", "user", "tool", "root", "notebook", "created_at"}
    status, _ = await server.ask("DELETE", f"{API}/rules/{rule['id']}", token=None)
    assert status == 403
    response = await server.ask_raw("DELETE", f"{API}/rules/{rule['id']}")
    assert response.code == 204
    assert await server.ask("GET", f"{API}/rules") == (200, {"rules": []})
    refused(await server.ask("DELETE", f"{API}/rules/{rule['id']}"), 404, "no_such_rule")


async def _allowed_for_good(server: RunningServer) -> Json:
    """Let the demo ask for something, and allow it for good by REST; return the tool part."""
    write_notebook(server.notebooks, "always.ipynb")
    session_id = await server.new_session(notebook_path="always.ipynb")
    async with viewing(server, session_id) as view:
        turn = (await view.say("Make sample data"))["turn"]
        asked = (await view.event("approval.requested"))["d"]["approval"]
        await view.event("turn.status", status="awaiting")
        body = {"id": asked["id"], "rev": asked["rev"], "decision": "allow", "scope": "always"}
        sent = {"v": 1, "cmd_id": "for-good", "type": "approval.answer", "d": body}
        status, ack = await server.ask("POST", f"{API}/sessions/{session_id}/commands", sent)
        assert (status, ack["status"]) == (200, "accepted")
        await view.ask("turn.stop", turn=turn)
        await view.event("turn.ended", turn=turn)
        return next(part for part in view.tools if part["id"] == asked["part_id"])
