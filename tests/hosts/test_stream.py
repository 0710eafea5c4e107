"""A session as server-sent events, read by a client that knows nothing but HTTP."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.hosts.conftest import SLOWLY
from tests.hosts.running_server import API, BOUND_S, TOKEN, Json, RunningServer

NOBODY = "ses_0123456789abcdef"


class EventStream:
    """One request, and the events that came so far: ``(id, frame)``; comments apart."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._blocks = self._read_blocks()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.events: list[tuple[str | None, Json]] = []
        self.comments: list[str] = []

    async def read_head(self) -> None:
        async with asyncio.timeout(BOUND_S):
            self.status = int((await self._reader.readline()).split()[1])
            while (line := (await self._reader.readline()).decode().strip()) != "":
                name, _, value = line.partition(":")
                self.headers[name.lower()] = value.strip()

    async def _chunks(self) -> AsyncGenerator[str]:
        while (size := int(await self._reader.readline() or b"0", 16)) > 0:
            yield (await self._reader.readexactly(size)).decode()
            await self._reader.readline()

    async def read(self, enough: Callable[[Json], bool] | None = None) -> None:
        """Read events until one is enough, or to the end of the stream."""
        async with asyncio.timeout(BOUND_S):
            async for block in self._blocks:
                if self._take(block) and enough is not None and enough(self.events[-1][1]):
                    return

    async def comment(self) -> str:
        """Read until a comment comes."""
        async with asyncio.timeout(BOUND_S):
            async for block in self._blocks:
                self._take(block)
                if self.comments:
                    return self.comments[-1]
        raise AssertionError("the stream ended without a comment")

    async def _read_blocks(self) -> AsyncGenerator[str]:
        text = ""
        async for chunk in self._chunks():
            text += chunk
            while "\n\n" in text:
                block, _, text = text.partition("\n\n")
                yield block

    def _take(self, block: str) -> bool:
        fields = [line.partition(": ")[::2] for line in block.split("\n") if not line.startswith(":")]
        self.comments += [line for line in block.split("\n") if line.startswith(":")]
        data = "\n".join(value for name, value in fields if name == "data")
        if not data:
            return False
        ids = [value for name, value in fields if name == "id"]
        self.events.append((ids[0] if ids else None, json.loads(data)))
        return True

    @property
    def types(self) -> list[str]:
        return [frame["type"] for _, frame in self.events]

    @property
    def last_id(self) -> str:
        return [name for name, _ in self.events if name is not None][-1]


@asynccontextmanager
async def stream_of(
    server: RunningServer, session_id: str, query: str = "", *, token: str | None = TOKEN, **headers: str
) -> AsyncGenerator[EventStream]:
    host, port = server.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"GET {API}/sessions/{session_id}/stream{query} HTTP/1.1", f"Host: {host}:{port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [] if token is None else [f"Authorization: token {token}"]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    stream = EventStream(reader)
    try:
        await stream.read_head()
        yield stream
    finally:
        writer.close()


async def say(server: RunningServer, session_id: str, text: str) -> None:
    """Send a message by REST."""
    body = {"id": f"msg_{uuid.uuid4().hex}", "parts": [{"type": "text", "text": text}]}
    command = {"v": 1, "cmd_id": uuid.uuid4().hex, "type": "message.send", "d": body}
    _, ack = await server.ask("POST", f"{API}/sessions/{session_id}/commands", command)
    assert ack["status"] == "accepted", ack


def ended(frame: Json) -> bool:
    return frame["type"] == "turn.ended"


def caught_up(frame: Json) -> bool:
    return frame["type"] == "caught_up"


async def test_a_stream_begins_with_a_snapshot_and_goes_on_live(server: RunningServer) -> None:
    session_id = await server.new_session()
    async with stream_of(server, session_id) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert "no-cache" in stream.headers["cache-control"]
        await stream.read(caught_up)
        assert stream.types == ["snapshot", "caught_up"]
        await say(server, session_id, "Hello")
        await stream.read(ended)
    durable = [(name, frame) for name, frame in stream.events if "seq" in frame]
    assert [frame["seq"] for _, frame in durable] == list(range(1, len(durable) + 1))
    assert all(name == f"{frame['ep']}:{frame['seq']}" for name, frame in durable)
    assert all("batch" not in frame and frame["v"] == 1 and frame["sid"] == session_id for _, frame in stream.events)


@pytest.mark.parametrize("by_header", [True, False])
async def test_who_comes_back_with_an_id_hears_only_what_followed(server: RunningServer, by_header: bool) -> None:
    session_id = await server.new_session()
    async with stream_of(server, session_id) as stream:
        await stream.read(caught_up)
        await say(server, session_id, "Hello")
        await stream.read(ended)
    middle, frame = next((name, f) for name, f in stream.events if f["type"] == "turn.started")
    assert middle is not None
    # What the browser sends is newer than what stands in the address.
    query = f"?since={frame['ep']}:0" if by_header else f"?since={middle}"
    headers = {"Last_Event_ID": middle} if by_header else {}
    async with stream_of(server, session_id, query, **headers) as again:
        await again.read(caught_up)
    assert "snapshot" not in again.types
    places = [f.get("covers") or [f["seq"], f["seq"]] for _, f in again.events if "seq" in f or "covers" in f]
    assert places[0][0] == frame["seq"] + 1
    assert all(one[1] + 1 == two[0] for one, two in itertools.pairwise(places))
    assert again.last_id == stream.last_id


@pytest.mark.parametrize("cursor", ["another-epoch:3", "nonsense"])
async def test_an_id_of_another_log_gets_a_snapshot(server: RunningServer, cursor: str) -> None:
    session_id = await server.new_session()
    async with stream_of(server, session_id, Last_Event_ID=cursor) as stream:
        await stream.read(caught_up)
    assert stream.types == ["snapshot", "caught_up"]


async def test_an_address_with_a_broken_cursor_is_refused(server: RunningServer) -> None:
    session_id = await server.new_session()
    for since in ("nonsense", "ep:", "ep:-1", ":4", "ep:" + "9" * 5000):
        status, body = await server.ask("GET", f"{API}/sessions/{session_id}/stream?since={since}")
        assert (status, body["error"]["code"]) == (400, "bad_request")


async def test_strangers_and_unknown_sessions_are_refused(server: RunningServer) -> None:
    session_id = await server.new_session()
    async with stream_of(server, session_id, token=None) as stream:
        assert stream.status == 403
    foreign = {"Cookie": await server.cookies(), "Origin": "https://evil.example"}
    async with stream_of(server, session_id, token=None, **foreign) as stream:
        assert stream.status in (403, 404)
    for unknown in (NOBODY, "ses_0", "..%2F..%2Fetc"):
        status, body = await server.ask("GET", f"{API}/sessions/{unknown}/stream")
        assert (status, body["error"]["code"]) == (404, "not_found")


async def test_a_deleted_session_ends_its_streams(server: RunningServer) -> None:
    session_id = await server.new_session()
    async with stream_of(server, session_id) as stream:
        await stream.read(caught_up)
        await server.ask("DELETE", f"{API}/sessions/{session_id}")
        await stream.read()
    assert stream.types[-1] == "session.deleted"


async def test_a_turn_goes_on_when_its_stream_leaves(server: RunningServer) -> None:
    session_id = await server.new_session()
    async with stream_of(server, session_id) as stream:
        await stream.read(caught_up)
        await say(server, session_id, "Hello")
        await stream.read(lambda frame: frame["type"] == "turn.started")
    async with stream_of(server, session_id, f"?since={stream.last_id}") as again:
        await again.read(ended)


@pytest.fixture
def roomy_server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Its frames are large, so that a few fill what lies between it and a client."""
    options = ("--AgentExtension.frame_bytes=16777216", "--AgentExtension.part_bytes=1000000")
    running = RunningServer(tmp_path_factory.mktemp("roomy") / "server", *options)
    yield running
    running.stop()
    assert running.tracebacks == ""


async def test_a_client_that_does_not_read_is_told_to_come_back(roomy_server: RunningServer) -> None:
    session_id = await roomy_server.new_session()
    async with stream_of(roomy_server, session_id) as stream:
        await stream.read(caught_up)
        for _ in range(16):
            await say(roomy_server, session_id, "Hello " + "x" * 900_000)
        await stream.read()
    assert stream.types[-1] == "resync"
    async with stream_of(roomy_server, session_id, f"?since={stream.last_id}") as again:
        await again.read(caught_up)


@pytest.fixture
def quiet_server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    running = RunningServer(tmp_path_factory.mktemp("quiet") / "server", "--AgentExtension.heartbeat_s=1")
    yield running
    running.stop()
    assert running.tracebacks == ""
    assert not [line for line in running.log if "never awaited" in line or "was destroyed" in line]


async def test_a_quiet_stream_shows_that_it_lives_and_ends_with_its_server(quiet_server: RunningServer) -> None:
    session_id = await quiet_server.new_session()
    async with stream_of(quiet_server, session_id) as stream:
        await stream.read(caught_up)
        assert (await stream.comment()).startswith(":")
        quiet_server.process.terminate()
        assert await asyncio.to_thread(quiet_server.process.wait, BOUND_S) == 0


async def test_text_streams_while_it_is_said(slow_server: RunningServer) -> None:
    session_id = await slow_server.new_session()
    async with stream_of(slow_server, session_id) as stream:
        await stream.read(caught_up)
        await say(slow_server, session_id, SLOWLY)
        await stream.read(lambda frame: frame["type"] == "part.delta")
        assert "turn.ended" not in stream.types
        turn = next(f["turn"] for _, f in stream.events if f["type"] == "part.delta")
        command = {"v": 1, "cmd_id": uuid.uuid4().hex, "type": "turn.stop", "d": {"turn": turn}}
        await slow_server.ask("POST", f"{API}/sessions/{session_id}/commands", command)
        await stream.read(ended)
