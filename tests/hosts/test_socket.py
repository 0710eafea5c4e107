"""A session over its WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.hosts.conftest import SLOWLY
from tests.hosts.running_server import API, TOKEN, Refused, RunningServer, events_of

NOBODY = "ses_0123456789abcdef"


async def test_a_view_greets_subscribes_and_hears_a_whole_turn(server: RunningServer) -> None:
    session_id = await server.new_session()
    async with server.view(session_id) as view:
        view.command("hello", protocol=[1], client="test")
        welcome = await view.event("welcome")
        assert welcome["d"]["protocol"] == 1
        view.command("subscribe", since=None)
        snapshot = await view.event("snapshot")
        assert (await view.event("caught_up"))["d"]["seq"] == snapshot["d"]["as_of"]
        sent = view.command("message.send", id="msg_one", parts=[{"type": "text", "text": "Hello"}])
        assert (await view.ack(sent))["status"] == "accepted"
        ended = await view.event("turn.ended")
        assert ended["d"]["outcome"] == "completed"
        order = [e["seq"] for m in view.heard for e in events_of(m) if "seq" in e]
        assert order == list(range(order[0], order[0] + len(order)))


async def test_a_turn_goes_on_when_its_view_leaves(server: RunningServer) -> None:
    session_id = await server.new_session()
    async with server.view(session_id) as view:
        sent = view.command("message.send", id="msg_two", parts=[{"type": "text", "text": "Hello"}])
        await view.ack(sent)
    async with server.view(session_id) as view:
        view.command("subscribe", since=None)
        snapshot = (await view.event("snapshot"))["d"]
        if snapshot["last_outcome"] is None:
            await view.event("turn.ended")


@pytest.mark.parametrize(
    "frame", ["", "nonsense", "[]", "3", "null", '{"v":1}', b"\x00\xff", '{"v":1,"cmd_id":"c","type":"ping","d":3}']
)
async def test_a_malformed_frame_is_answered_and_the_socket_stays(server: RunningServer, frame: str | bytes) -> None:
    session_id = await server.new_session()
    async with server.view(session_id) as view:
        view.send(frame)
        error = await view.event("error")
        assert error["d"]["code"] in ("malformed", "version")
        view.command("ping")
        await view.event("pong")


async def test_a_frame_over_the_limit_is_answered_and_the_socket_stays(server: RunningServer) -> None:
    session_id = await server.new_session()
    async with server.view(session_id) as view:
        view.command("message.send", id="msg_huge", parts=[{"type": "text", "text": "x" * (1 << 20)}])
        assert (await view.event("error"))["d"]["code"] == "too_large"
        view.command("ping")
        await view.event("pong")


async def test_a_hello_without_a_common_version_ends_the_socket(server: RunningServer) -> None:
    session_id = await server.new_session()
    async with server.view(session_id) as view:
        view.send({"v": 2, "cmd_id": "c1", "type": "ping", "d": {}})
        assert (await view.event("error"))["d"]["code"] == "version"
        view.command("hello", protocol=[7], client="from the future")
        assert await view.closed() == 4400


async def test_a_deleted_session_says_so_and_closes(server: RunningServer) -> None:
    session_id = await server.new_session()
    async with server.view(session_id) as view:
        view.command("subscribe", since=None)
        await view.event("caught_up")
        await server.ask("DELETE", f"{API}/sessions/{session_id}")
        await view.event("session.deleted")
        assert await view.closed() == 4404


async def test_a_server_that_stops_says_goodbye_on_every_socket(tmp_path: Path) -> None:
    stopping = RunningServer(tmp_path / "server")
    session_id = await stopping.new_session()
    paths = (f"{API}/sessions/{session_id}/connect", f"{API}/connect", f"{API}/notebooks")
    sockets = [await stopping.connect(path) for path in paths]
    await sockets[1].event("sessions")
    await asyncio.to_thread(stopping.stop)
    assert [await socket.closed() for socket in sockets] == [1001] * 3
    for socket in sockets:
        await socket.close()
    assert stopping.tracebacks == ""


@pytest.mark.parametrize("session_id", [NOBODY, "ses_0", "..%2F..%2Fetc"])
async def test_an_unknown_session_is_refused_before_the_upgrade(server: RunningServer, session_id: str) -> None:
    with pytest.raises(Refused) as refusal:
        await server.connect(f"{API}/sessions/{session_id}/connect")
    assert refusal.value.code == 404


@pytest.mark.parametrize(
    "path", ["", "/nothing", "/sessions/{id}/nothing", "/sessions/{id}/connect/more", "/connected"]
)
async def test_an_address_that_is_not_ours_is_refused_before_the_upgrade(server: RunningServer, path: str) -> None:
    session_id = await server.new_session()
    with pytest.raises(Refused) as refusal:
        await server.connect(API + path.format(id=session_id))
    assert refusal.value.code == 404


async def test_a_view_whose_line_breaks_keeps_no_word_from_the_others(slow_server: RunningServer) -> None:
    session_id = await slow_server.new_session()
    url = slow_server.base.replace("http", "ws", 1) + f"{API}/sessions/{session_id}/connect"
    async with slow_server.view(session_id) as view:
        view.command("subscribe", since=None)
        await view.event("caught_up")
        breaking = await connect(url, additional_headers={"Authorization": f"token {TOKEN}"})
        await breaking.send(json.dumps({"v": 1, "cmd_id": "s", "type": "subscribe", "d": {}}))
        view.command("message.send", id="msg_break", parts=[{"type": "text", "text": SLOWLY}])
        async for text in breaking:
            if "part.delta" in str(text):
                break
        breaking.transport.abort()
        await view.wait_for(lambda m: any("w00100" in str(event["d"]) for event in events_of(m)))
        turn = (await view.event("turn.started"))["d"]["turn"]["id"]
        view.command("turn.stop", turn=turn)
        await view.event("turn.ended")
        order = [e["seq"] for m in view.heard for e in events_of(m) if "seq" in e]
        assert order == list(range(order[0], order[0] + len(order)))


async def test_strangers_and_other_sites_do_not_get_in(server: RunningServer) -> None:
    session_id = await server.new_session()
    foreign = {"Cookie": await server.cookies(), "Origin": "https://evil.example"}
    for path in (f"{API}/sessions/{session_id}/connect", f"{API}/notebooks", f"{API}/connect"):
        with pytest.raises(Refused) as refusal:
            await server.connect(path, token=None)
        assert refusal.value.code == 403
        with pytest.raises(Refused) as refusal:
            await server.connect(path, token=None, headers=foreign)
        assert refusal.value.code == 403


async def test_a_page_that_talks_nonsense_keeps_its_door(server: RunningServer) -> None:
    page = await server.connect(f"{API}/notebooks")
    page.send("nonsense")
    page.send("[1]")
    page.send({"type": "documents", "page": "p1", "documents": []})
    page.send({"type": "unheard-of"})
    with pytest.raises(TimeoutError):
        await page.closed(within=0.3)
    await page.close()


# -- those who may only watch ------------------------------------------------------

_WATCHERS_ONLY = """
import inspect
from jupyter_server.auth import Authorizer, IdentityProvider, User

class WatchersOnly(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        if resource != "jupyter_agent":
            return True
        return action == "read" or "write" in handler.request.headers.get("X-May", "")

class Named(IdentityProvider):
    async def get_user(self, handler):
        user = super().get_user(handler)
        user = await user if inspect.isawaitable(user) else user
        name = handler.request.headers.get("X-Name")
        return User(name) if user is not None and name else user

c.ServerApp.authorizer_class = WatchersOnly
c.ServerApp.identity_provider_class = Named
"""


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose users may watch sessions, but only change them when a header says so; another names them."""
    directory = tmp_path_factory.mktemp("strict")
    config = directory / "strict_config.py"
    config.write_text(_WATCHERS_ONLY)
    running = RunningServer(directory / "server", f"--config={config}")
    yield running
    running.stop()
    assert not running.tracebacks


async def test_who_may_only_read_watches_and_changes_nothing(strict_server: RunningServer) -> None:
    status, body = await strict_server.ask("POST", f"{API}/sessions", {})
    assert (status, body["error"]["code"]) == (403, "forbidden")
    status, body = await strict_server.ask("POST", f"{API}/sessions", {}, headers={"X-May": "write"})
    assert status == 201
    session_id = body["session"]["id"]
    assert (await strict_server.ask("GET", f"{API}/sessions/{session_id}"))[0] == 200
    async with strict_server.view(session_id) as view:
        view.command("hello", protocol=[1])
        view.command("subscribe", since=None)
        await view.event("caught_up")
        sent = view.command("message.send", id="msg_no", parts=[{"type": "text", "text": "Hello"}])
        ack = await view.ack(sent)
        assert (ack["status"], ack["error"]["code"]) == ("rejected", "forbidden")
        view.command("ping")
        await view.event("pong")
    with pytest.raises(Refused) as refusal:
        await strict_server.connect(f"{API}/notebooks")
    assert refusal.value.code == 403


async def test_who_a_view_is_says_the_server_and_not_the_view(strict_server: RunningServer) -> None:
    _, body = await strict_server.ask("POST", f"{API}/sessions", {}, headers={"X-May": "write"})
    path, users = f"{API}/sessions/{body['session']['id']}/connect", list[str]()
    for headers in ({"X-Name": "ada"}, {"X-Name": "bob"}, {}, {}):
        view = await strict_server.connect(path, headers=headers)
        view.command("hello", protocol=[1], user="mallory")
        users.append((await view.event("welcome"))["d"]["user"])
        await view.close()
    # Who has the token alone is the same one each time, though Jupyter makes up a name for each request.
    assert users == ["ada", "bob", "anonymous", "anonymous"]


async def test_approving_what_runs_needs_the_right_to_execute(strict_server: RunningServer) -> None:
    may_write = {"X-May": "write"}
    _, body = await strict_server.ask("POST", f"{API}/sessions", {}, headers=may_write)
    commands = f"{API}/sessions/{body['session']['id']}/commands"
    answer = {"id": "apr_x", "rev": 1, "decision": "deny"}
    status, ack = await strict_server.ask(
        "POST", commands, {"v": 1, "cmd_id": "a1", "type": "approval.answer", "d": answer}, headers=may_write
    )
    assert (status, ack["status"]) == (200, "rejected")
    assert ack["error"]["code"] != "forbidden"


async def test_many_views_of_one_session_hear_the_same(server: RunningServer) -> None:
    session_id = await server.new_session()
    views = [await server.connect(f"{API}/sessions/{session_id}/connect") for _ in range(5)]
    for view in views:
        view.command("subscribe", since=None)
    await asyncio.gather(*(view.event("caught_up") for view in views))
    views[0].command("message.send", id="msg_many", parts=[{"type": "text", "text": "Hello"}])
    await asyncio.gather(*(view.event("turn.ended") for view in views))
    stories = [[e for m in view.heard for e in events_of(m) if "seq" in e] for view in views]
    ends = [[event["type"] for event in story].index("turn.ended") + 1 for story in stories]
    assert all(story[:end] == stories[0][: ends[0]] for story, end in zip(stories, ends, strict=True))
    for view in views:
        await view.close()
