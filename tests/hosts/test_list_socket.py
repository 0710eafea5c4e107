"""The live list of sessions over its WebSocket."""

from __future__ import annotations

import pytest

from tests.hosts.running_server import API, Refused, RunningServer


async def test_the_list_is_told_once_and_then_every_change(server: RunningServer) -> None:
    before = await server.new_session(title="there before")
    page = await server.connect(f"{API}/connect")
    told = await page.event("sessions")
    assert before in [session["id"] for session in told["d"]["sessions"]]
    assert isinstance(told["d"]["has_more"], bool)

    session_id = await server.new_session(title="new")
    one = f"{API}/sessions/{session_id}"
    made = await page.wait_for(lambda m: m["type"] == "session.changed" and m["d"]["session"]["id"] == session_id)
    assert made["v"] == 1
    assert made["d"]["session"] == (await server.ask("GET", one))[1]["session"]

    await server.ask("PATCH", one, {"title": "renamed"})
    await page.wait_for(lambda m: m["type"] == "session.changed" and m["d"]["session"]["title"] == "renamed")
    await server.ask("POST", f"{one}/archive")
    await page.wait_for(lambda m: m["type"] == "session.changed" and bool(m["d"]["session"]["archived_at"]))
    await server.ask("DELETE", one)
    await page.wait_for(lambda m: m["type"] == "session.removed" and m["d"] == {"id": session_id})
    heard = len(page.heard)
    await server.ask("POST", f"{one}/undelete")
    await page.wait_for(lambda m: m["type"] == "session.changed" and m["d"]["session"]["id"] == session_id, after=heard)
    await page.close()


async def test_a_ping_is_answered_and_nothing_else_is_taken(server: RunningServer) -> None:
    page = await server.connect(f"{API}/connect")
    for frame, code in (("nonsense", "malformed"), ('{"v":7,"type":"ping"}', "version"), ("[]", "malformed")):
        heard = len(page.heard)
        page.send(frame)
        assert (await page.event("error", after=heard))["d"]["code"] == code
    page.command("message.send", id="m", parts=[])
    await page.wait_for(lambda m: m["type"] == "error" and m["d"]["code"] == "unknown_command")
    page.command("ping")
    assert (await page.event("pong"))["d"] == {}
    await page.close()


async def test_a_stranger_hears_nothing(server: RunningServer) -> None:
    with pytest.raises(Refused):
        await server.connect(f"{API}/connect", token=None)
