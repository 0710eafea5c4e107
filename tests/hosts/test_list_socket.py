"""The live list of sessions over its WebSocket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.conftest import SLOWLY
from tests.hosts.running_server import API, BOUND_S, TOKEN, Json, Refused, RunningServer, events_of


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


async def test_a_long_list_is_told_in_its_first_page(server: RunningServer) -> None:
    made = [await server.new_session() for _ in range(26)]
    page = await server.connect(f"{API}/connect")
    told = (await page.event("sessions"))["d"]
    assert [session["id"] for session in told["sessions"]] == made[:0:-1]
    assert told["has_more"] is True
    await page.close()


async def test_a_long_answer_changes_the_status_and_floods_nobody(slow_server: RunningServer) -> None:
    session_id = await slow_server.new_session()
    page = await slow_server.connect(f"{API}/connect")
    await page.event("sessions")
    heard: list[Json] = []
    page.listeners.append(lambda m: heard.append(m["d"]["session"]) if m["type"] == "session.changed" else None)
    async with slow_server.view(session_id) as view:
        view.command("subscribe", since=None)
        view.command("message.send", id="msg_slow", parts=[{"type": "text", "text": SLOWLY}])
        # Two hundred tokens have come by the time that this one has.
        await view.wait_for(lambda m: any("w00200" in str(event["d"]) for event in events_of(m)))
        turn = (await view.event("turn.started"))["d"]["turn"]["id"]
        view.command("turn.stop", turn=turn)
        await view.event("turn.ended")
    statuses: list[str] = []

    def rests(_message: Json) -> bool:
        statuses[:] = [session["status"] for session in heard if session["id"] == session_id]
        return statuses[-1:] == ["ready"] and "streaming" in statuses

    await page.wait_for(rests)
    assert statuses[0] == "submitted"
    assert len(statuses) < 12
    await page.close()


@pytest.fixture
def impatient_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that lets go early of who does not listen."""
    running = RunningServer(tmp_path / "server", "--AgentExtension.pending_bytes=65536")
    yield running
    running.stop()
    assert running.tracebacks == ""


async def test_who_does_not_keep_up_is_dropped_and_the_others_hear_on(impatient_server: RunningServer) -> None:
    server = impatient_server
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.to_thread(deaf.connect, ("127.0.0.1", int(server.base.rpartition(":")[2])))
    reader, writer = await asyncio.open_connection(sock=deaf, limit=4096)
    writer.write(_UPGRADE.format(path=f"{API}/connect", token=TOKEN).encode())
    assert b" 101 " in await reader.readline()

    page = await server.connect(f"{API}/connect")
    session_id = await server.new_session()
    for number in range(250):
        # Six bytes a character on the wire, and more than a thousand of them.
        patch = {"title": "🐢" * 400 + str(number), "notebook_path": f"{'🐢' * 900}{number}.ipynb"}
        assert (await server.ask("PATCH", f"{API}/sessions/{session_id}", patch))[0] == 200
    await page.wait_for(lambda m: m["type"] == "session.changed" and m["d"]["session"]["title"].endswith("🐢249"))
    await page.close()

    last = b""
    async with asyncio.timeout(BOUND_S):
        while more := await reader.read(1 << 16):
            last = (last + more)[-200_000:]
    assert json.dumps("🐢249")[1:-1].encode() not in last
    writer.close()


_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {token}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
