"""Copying, rewinding, clearing and bringing back over REST."""

from __future__ import annotations

from typing import Any

from tests.hosts.running_server import API, RunningServer
from tests.hosts.test_rest import NOBODY, refused


async def messages_of(server: RunningServer, session_id: str) -> list[dict[str, Any]]:
    """The session's transcript."""
    return (await server.ask("GET", f"{API}/sessions/{session_id}/messages"))[1]["messages"]


async def said(server: RunningServer, session_id: str, text: str) -> None:
    """Say something and wait for the demo's whole answer."""
    async with server.view(session_id) as view:
        view.send({"v": 1, "cmd_id": "sub", "type": "subscribe", "d": {}})
        body = {"id": f"msg_{text}", "parts": [{"type": "text", "text": text}]}
        view.send({"v": 1, "cmd_id": f"say-{text}", "type": "message.send", "d": body})
        await view.event("turn.ended")


async def test_a_session_is_copied_rewound_and_cleared(server: RunningServer) -> None:
    session_id = await server.new_session(title="Original")
    one = f"{API}/sessions/{session_id}"
    await said(server, session_id, "hello")
    question, answer = await messages_of(server, session_id)

    status, body = await server.ask("POST", f"{one}/duplicate", {"cmd_id": "copy-1"})
    assert status == 201
    copy = body["session"]
    assert (copy["title"], copy["status"]) == ("Original (copy)", "ready")
    assert [m["id"] for m in await messages_of(server, copy["id"])] == [question["id"], answer["id"]]
    assert (await server.ask("POST", f"{one}/duplicate", {"cmd_id": "copy-1"}))[1]["session"]["id"] == copy["id"]

    status, body = await server.ask("POST", f"{one}/fork", {"message_id": question["id"]})
    assert status == 201
    assert [m["id"] for m in await messages_of(server, body["session"]["id"])] == [question["id"]]

    status, body = await server.ask("POST", f"{one}/rewind", {"message_id": question["id"]})
    assert (status, body["session"]["id"]) == (200, session_id)
    assert [m["id"] for m in await messages_of(server, session_id)] == [question["id"]]
    status, _ = await server.ask("POST", f"{one}/clear")
    assert status == 200
    assert await messages_of(server, session_id) == []
    assert len(await messages_of(server, copy["id"])) == 2


async def test_a_rewind_to_nowhere_is_refused(server: RunningServer) -> None:
    one = f"{API}/sessions/{await server.new_session()}"
    refused(await server.ask("POST", f"{one}/rewind"), 400, "bad_request")
    refused(await server.ask("POST", f"{one}/rewind", {"message_id": 7}), 400, "bad_request")
    refused(await server.ask("POST", f"{one}/clear", {"everything": True}), 400, "bad_request")
    refused(await server.ask("POST", f"{one}/rewind", {"message_id": "msg_nowhere"}), 404, "unknown_message")
    refused(await server.ask("POST", f"{one}/fork", {"message_id": "msg_nowhere"}), 404, "unknown_message")
    for action in ("rewind", "clear", "fork", "duplicate", "undelete"):
        body = {"message_id": "msg_x"} if action == "rewind" else {}
        refused(await server.ask("POST", f"{API}/sessions/{NOBODY}/{action}", body), 404, "not_found")


async def test_a_deleted_session_is_brought_back(server: RunningServer) -> None:
    session_id = await server.new_session(title="Oops")
    one = f"{API}/sessions/{session_id}"
    await server.ask("DELETE", one)
    refused(await server.ask("GET", one), 404, "not_found")
    status, body = await server.ask("POST", f"{one}/undelete")
    assert (status, body["session"]["title"]) == (200, "Oops")
    assert (await server.ask("GET", one))[0] == 200
