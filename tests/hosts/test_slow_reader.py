"""A peer that stops reading: what waits for it is bounded, it is told to start over, and nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from jupyter_agent.hosts.server.base import Unsent
from tests.hosts.running_server import API, BOUND_S, TOKEN, RunningServer, events_of
from tests.stranger import Stranger

Json = dict[str, Any]
LONG = 900_000
SAID = 24
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def roomy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Its frames are large, so that a few fill what lies between it and a client."""
    options = ("--AgentExtension.frame_bytes=16777216", "--AgentExtension.part_bytes=1000000")
    running = RunningServer(tmp_path_factory.mktemp("roomy") / "server", *options)
    yield running
    running.stop()
    assert running.tracebacks == ""


class Sluggard:
    """A view that reads only when told to: until then the network is full, and the server has to keep the rest."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._sends = asyncio.Queue[Json]()
        self.bytes = 0
        self.view = Stranger(lambda command: self._sends.put_nowait(command))

    async def send(self, kind: str, **d: Any) -> None:
        """Give a command, and wait until it is on its way."""
        self.view.send(kind, **d)
        await self._socket.send(json.dumps(self._sends.get_nowait()))

    async def read_until(self, wanted: Callable[[Json], bool]) -> Json:
        """Take frames until one has an event like that."""
        async with asyncio.timeout(BOUND_S):
            while True:
                text = await self._socket.recv()
                self.bytes += len(text)
                frame: Json = json.loads(text)
                self.view.hear(frame)
                assert self.view.fault is None, self.view.fault
                for event in events_of(frame):
                    if wanted(event):
                        return event


@asynccontextmanager
async def sluggard(server: RunningServer, session_id: str) -> AsyncGenerator[Sluggard]:
    """A view whose end of the network holds little."""
    near = socket.socket()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    port = int(server.base.rpartition(":")[2])
    await asyncio.to_thread(near.connect, ("127.0.0.1", port))
    url = server.base.replace("http", "ws", 1) + f"{API}/sessions/{session_id}/connect"
    token = {"Authorization": f"token {TOKEN}"}
    async with connect(
        url, sock=near, additional_headers=token, max_queue=1, max_size=None, ping_interval=None
    ) as peer:
        yield Sluggard(peer)


def of(kind: str) -> Callable[[Json], bool]:
    return lambda event: event["type"] == kind


async def say_much(server: RunningServer, session_id: str) -> str:
    """Let many megabytes be said; return the last message's id."""
    message = ""
    for _ in range(SAID):
        message = f"msg_{uuid.uuid4().hex}"
        parts = [{"type": "text", "text": "Hello " + "x" * LONG}]
        command = {"v": 1, "cmd_id": uuid.uuid4().hex, "type": "message.send", "d": {"id": message, "parts": parts}}
        _, ack = await server.ask("POST", f"{API}/sessions/{session_id}/commands", command)
        assert ack["status"] == "accepted", ack
    return message


async def test_a_view_that_does_not_read_is_told_to_start_over_and_nobody_waits_for_it(
    roomy_server: RunningServer,
) -> None:
    session_id = await roomy_server.new_session()
    async with sluggard(roomy_server, session_id) as slow, roomy_server.view(session_id) as socket:
        truth = Stranger(socket.send)
        socket.listeners.append(truth.hear)
        await truth.open()
        await slow.send("subscribe", since=None)
        await slow.read_until(of("caught_up"))
        last = await say_much(roomy_server, session_id)
        # The other view has the whole story before this one has read a word of it.
        await truth.event(lambda _event: any(item["message_id"] == last for item in truth.view["queue"]))
        await truth.ask("turn.stop", turn=truth.view["turn"]["id"], clear_queue=True)
        ended = await truth.event("turn.ended", outcome="stopped")
        resync = await slow.read_until(of("resync"))
        assert resync["d"]["reason"] == "slow"
        told = sum(len(json.dumps(frame)) for frame in truth.frames)
        assert slow.bytes < told / 2, "all of it waited in the server"
        await slow.send("subscribe", since={"ep": slow.view.ep, "seq": slow.view.seq})
        await slow.read_until(lambda event: event["type"] == "caught_up" and event["d"]["seq"] >= ended["seq"])
        snapshot = await truth.subscribe()
        assert slow.view.seq == snapshot["d"]["as_of"]
        slow.view.same_story_as(snapshot)


async def test_a_peer_that_asks_on_and_on_and_takes_no_answer_is_let_go(roomy_server: RunningServer) -> None:
    session_id = await roomy_server.new_session()
    async with sluggard(roomy_server, session_id) as deaf, roomy_server.view(session_id) as other:
        other.command("subscribe", since=None)
        other.command("message.send", id="msg_long", parts=[{"type": "text", "text": "Hello " + "x" * 400_000}])
        await other.event("turn.ended")
        for _ in range(60):
            await deaf.send("history", before=None, limit=200)
        with pytest.raises(ConnectionClosed) as closed:
            await deaf.read_until(lambda _event: False)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
        # Sixty answers are 24 MB; how many of them the sockets' own buffers take is the system's to say.
        assert 4 * MEGABYTE < deaf.bytes < 18 * MEGABYTE
        other.command("ping")
        await other.event("pong")


class Pipe:
    """As much of a Tornado stream as is counted."""

    def __init__(self) -> None:
        self._total_write_index = 0
        self._total_write_done_index = 0

    def write(self, size: int, unsent: Unsent) -> None:
        self._total_write_index += size
        unsent.sent(self)

    def take(self, size: int) -> None:
        self._total_write_done_index += size


def test_a_frame_is_taken_when_its_last_byte_is() -> None:
    pipe, unsent = Pipe(), Unsent()
    for size in (100, 200, 300):
        pipe.write(size, unsent)
    assert unsent.of(pipe) == (3, 600)
    pipe.take(299)
    assert unsent.of(pipe) == (2, 301)
    pipe.take(301)
    assert unsent.of(pipe) == (0, 0)
