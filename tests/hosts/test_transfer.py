"""Sessions as files over REST: out whole or for reading, in as new ones that may do nothing by themselves."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from tests.hosts.running_server import API, RunningServer
from tests.hosts.test_todo import refused, viewing

Json = dict[str, Any]
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 32


async def talked(server: RunningServer) -> str:
    """A session in which something was said and answered."""
    session_id = await server.new_session(title="To be carried")
    async with viewing(server, session_id) as view:
        await view.say("What is in this notebook?")
        await view.event("turn.ended")
    return session_id


async def test_an_export_taken_in_is_the_same_conversation_under_a_new_id(server: RunningServer) -> None:
    session_id = await talked(server)
    address = hashlib.sha256(PNG).hexdigest()
    await server.ask("POST", f"{API}/sessions/{session_id}/attachments?name=dot.png&mime=image/png", raw=PNG)
    response = await server.ask_raw("GET", f"{API}/sessions/{session_id}/export")
    assert response.code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{session_id}.json"'
    document = json.loads(response.body)
    assert [base64.b64decode(one["data"]) for one in document["attachments"] if one["sha256"] == address] == [PNG]

    status, body = await server.ask("POST", f"{API}/sessions/import", document)
    assert status == 201
    made = body["session"]
    assert made["id"] != session_id
    assert (made["title"], made["status"]) == (document["session"]["title"], "ready")
    _, before = await server.ask("GET", f"{API}/sessions/{session_id}/messages")
    _, after = await server.ask("GET", f"{API}/sessions/{made['id']}/messages")
    assert after["messages"] == before["messages"]
    _, listed = await server.ask("GET", f"{API}/sessions?limit=200")
    assert made["id"] in [one["id"] for one in listed["sessions"]]
    async with viewing(server, made["id"]) as view:
        await view.say("And now?")
        await view.event("turn.ended")


async def test_a_running_session_is_exported_as_it_is_and_goes_on(slow_server: RunningServer) -> None:
    session_id = await slow_server.new_session()
    async with viewing(slow_server, session_id) as view:
        await view.say("Talk slowly, please.")
        await view.event("part.delta")
        status, document = await slow_server.ask("GET", f"{API}/sessions/{session_id}/export")
        assert status == 200
        assert document["messages"][-1]["status"] == "streaming"
        status, body = await slow_server.ask("POST", f"{API}/sessions/import?title=A%20copy", document)
        assert (status, body["session"]["title"], body["session"]["status"]) == (201, "A copy", "ready")
        heard = len(view.events)
        await view.event("part.delta", after=heard)
        await slow_server.ask("DELETE", f"{API}/sessions/{session_id}")


async def test_an_export_for_people_is_markdown(server: RunningServer) -> None:
    session_id = await talked(server)
    response = await server.ask_raw("GET", f"{API}/sessions/{session_id}/export?format=markdown")
    assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert response.headers["Content-Disposition"].endswith('.md"')
    assert "What is in this notebook?" in response.body.decode()


async def test_a_chat_of_jupyterlab_chat_is_taken_in(server: RunningServer) -> None:
    chat = {
        "messages": [{"id": "1", "body": "Hello", "sender": "ada", "time": 1}],
        "users": {"ada": {"username": "ada"}},
    }
    status, body = await server.ask("POST", f"{API}/sessions/import?title=Old%20talk", chat)
    assert (status, body["session"]["title"]) == (201, "Old talk")
    _, page = await server.ask("GET", f"{API}/sessions/{body['session']['id']}/messages")
    assert [part["text"] for part in page["messages"][0]["parts"]] == ["Hello"]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "not_importable"),
        (b"{", "bad_request"),
        (b"[]", "bad_request"),
        (b'{"format": "something else"}', "not_importable"),
        (b'{"format": "jupyter-agent-session", "version": 1, "ledger": {"schema": 1, "tables": {}}}', "not_importable"),
    ],
)
async def test_what_is_no_session_is_refused_and_leaves_nothing(server: RunningServer, raw: bytes, code: str) -> None:
    _, before = await server.ask("GET", f"{API}/sessions?state=all&limit=200")
    refused(await server.ask("POST", f"{API}/sessions/import", raw=raw), 400, code)
    _, after = await server.ask("GET", f"{API}/sessions?state=all&limit=200")
    assert after == before


async def test_an_export_that_is_not_there_or_of_no_known_kind_is_refused(server: RunningServer) -> None:
    refused(await server.ask("GET", f"{API}/sessions/ses_0000000000000000/export"), 404, "not_found")
    session_id = await server.new_session()
    refused(await server.ask("GET", f"{API}/sessions/{session_id}/export?format=pdf"), 400, "bad_request")


async def test_what_a_session_will_do_by_itself_is_told(server: RunningServer) -> None:
    session_id = await server.new_session()
    assert await server.ask("GET", f"{API}/sessions/{session_id}/jobs") == (200, {"jobs": []})
    refused(await server.ask("GET", f"{API}/sessions/ses_0000000000000000/jobs"), 404, "not_found")
