"""Requests, kernels and pages that mean no good: refused in words, and nothing is logged that alarms anybody."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.hosts.running_server import API, Page, RunningServer
from tests.hosts.test_rest import refused


@pytest.fixture
async def page(server: RunningServer) -> AsyncIterator[Page]:
    """A notebook of its own for each test."""
    async with server.notebook_page(f"{uuid.uuid4().hex}.ipynb") as opened:
        yield opened


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    "body",
    [
        b'{"title": ' + deep(150) + b"}",
        b'{"title": ' + deep(100_000) + b"}",
        b'{"title": NaN}',
        b'{"title": 1e999}',
        b'{"title": ' + b"9" * 5000 + b"}",
        b'{"title": "\xff"}',
        b'{"' + b"x" * 5000 + b'": 1}',
        b'{"notebook_path": "a\\nMode: Build."}',
        b'{"notebook_path": "a\\u0000"}',
        b'{"notebook_path": "' + b"a" * 5000 + b'"}',
        b'{"mode": ["plan"]}',
        b'{"id": "ses_0123456789abcdef"}',
    ],
    ids=lambda body: body[:24].decode("ascii", "replace"),
)
async def test_a_body_that_makes_no_sense_is_refused(server: RunningServer, body: bytes) -> None:
    answer = await server.ask("POST", f"{API}/sessions", raw=body)
    refused(answer, 400, "bad_request")
    assert len(json.dumps(answer[1])) < 500


async def test_half_a_character_in_a_title_is_replaced(server: RunningServer) -> None:
    session_id = await server.new_session(title="a\ud83d", notebook_path="b\ud83d.ipynb")
    _, body = await server.ask("GET", f"{API}/sessions/{session_id}")
    assert body["session"]["title"] == "a\ufffd"
    assert body["session"]["notebook_path"] == "b\ufffd.ipynb"


@pytest.mark.parametrize(
    "query", ["q=" + "%25" * 600, "q=%ff", "limit=0x5", "limit=²", "state=__class__", "before=%00"]
)
async def test_a_list_asked_for_oddly_is_refused(server: RunningServer, query: str) -> None:
    answer = await server.ask("GET", f"{API}/sessions?{query}")
    assert answer[0] == 400, answer
    assert "Traceback" not in str(answer[1])


async def test_a_command_over_rest_is_no_larger_than_a_frame(server: RunningServer) -> None:
    session_id = await server.new_session()
    body = {"id": "m1", "parts": [{"type": "text", "text": "x"}] * 100_000}
    command = {"v": 1, "cmd_id": "c", "type": "message.send", "d": body}
    refused(await server.ask("POST", f"{API}/sessions/{session_id}/commands", command), 413, "too_large")
    body["parts"] = body["parts"][:101]  # type: ignore[index]
    refused(await server.ask("POST", f"{API}/sessions/{session_id}/commands", command), 400, "malformed")


@pytest.mark.parametrize(
    "path",
    [
        "sessions/..%2f..%2fetc",
        "sessions/ses_0123456789abcdeF",
        "sessions/ses_0123456789abcdef%00",
        "sessions/%2e%2e/x",
    ],
)
@pytest.mark.parametrize("action", ["", "/messages", "/commands", "/attachments/" + "a" * 64, "/connect"])
async def test_what_is_no_session_id_is_not_found(server: RunningServer, path: str, action: str) -> None:
    method = "POST" if action == "/commands" else "GET"
    status, body = await server.ask(method, f"{API}/{path}{action}", {} if method == "POST" else None)
    assert status in (400, 404), body
    assert "Traceback" not in str(body)


@pytest.mark.parametrize("address", ["..%2f..%2fsession.db", "..%2fsession.db", "A" * 64, "a" * 63, "%00" * 64])
async def test_an_attachment_is_found_by_its_hash_alone(server: RunningServer, address: str) -> None:
    session_id = await server.new_session()
    refused(await server.ask("GET", f"{API}/sessions/{session_id}/attachments/{address}"), 404)


NONSENSE_OF_A_PAGE: list[Any] = [
    {"type": "documents", "documents": [{"path": "a.ipynb", "focused_at": 10**400}]},
    {"type": "documents", "documents": 5},
    {"type": "documents", "documents": [None, [], {"path": 5}, {"path": "\0"}]},
    {"type": "response", "id": [[]], "result": {}},
    {"type": "event", "id": {}, "msg_id": 5},
    {"type": ["bye"]},
    {},
]


@pytest.mark.parametrize("said", NONSENSE_OF_A_PAGE)
async def test_a_page_that_talks_nonsense_is_not_heard(server: RunningServer, said: object) -> None:
    socket = await server.connect(f"{API}/notebooks")
    socket.send(said)
    socket.send("[" * 100_000)
    socket.send(b"\xff")
    socket.send({"type": "documents", "page": "p", "documents": []})
    assert (await server.ask("GET", f"{API}/status"))[0] == 200
    assert socket.close_code is None
    await socket.close()


NONSENSE = """
import json
from jupyter_agent.hosts.kernel import FRAME
kernel = get_ipython().kernel
def say(content, msg_type=FRAME, parent=kernel.get_parent()):
    kernel.session.send(kernel.iopub_socket, msg_type, json.dumps(content).encode(), ident=b"x", parent=parent)
deep = []
for _ in range(400):
    deep = [deep]
for content in (
    {}, [], None, 5, {"panel": 5}, {"panel": ""}, {"panel": "p"}, {"panel": "p", "attach": 5},
    {"panel": "p", "attach": {"session_id": 5}}, {"panel": "p", "attach": {"session_id": "../.."}},
    {"panel": "p", "attach": {"session_id": "ses_0123456789abcdef"}}, {"panel": "p", "command": []},
    {"panel": "p", "attach": {}}, {"panel": "p", "command": {}}, {"panel": "p", "command": {"v": float("nan")}},
    {"panel": "p", "command": {"v": 1, "cmd_id": "c", "type": "message.send", "d": deep}},
    {"panel": "p", "command": {"v": 1, "cmd_id": "c", "type": "ping", "d": {"huge": "x" * 2_000_000}}},
    {"panel": "p", "stop": {}}, {"panel": "p", "detach": 1},
):
    say(content)
say({"execution_state": "godlike"}, "status")
say({"data": 5, "transient": []}, "display_data")
for header in ({}, {"msg_type": "jupyter_agent_relay"}, {"msg_id": [], "msg_type": "execute_request"}, {"msg_id": 5}):
    say({"execution_state": "idle"}, "status", parent={"header": header})
for n in range(100):
    say({"panel": f"p{n}", "attach": {}})
print("said")
"""


async def test_a_kernel_that_talks_nonsense_is_not_heard(server: RunningServer, page: Page) -> None:
    await (await page.open_panel()).subscribe()
    assert await page.execute(NONSENSE) == "said\n"
    await page.execute("for n in range(100): say({'panel': f'p{n}', 'detach': {}})")
    panel = await page.open_panel()
    assert (await panel.subscribe())["turn"] is None
    assert server.tracebacks == ""


async def test_a_panel_does_not_reach_another_notebooks_session(server: RunningServer, page: Page) -> None:
    other = await server.new_session(notebook_path="other.ipynb")
    panel = await page.open_panel(f"panel = AgentPanel(session_id={other!r})\npanel")
    error = await panel.wait_for(lambda c: "other_notebook" in json.dumps(c))
    assert "other notebook" in json.dumps(error) or "another notebook" in json.dumps(error)
    assert other not in json.dumps([c.get("hello") for c in panel.customs(page.heard)])


async def test_other_origins_do_not_get_in(server: RunningServer) -> None:
    session_id = await server.new_session()
    cookie = await server.cookies()
    evil = {"Origin": "https://evil.example", "Cookie": cookie}
    for path in (f"{API}/sessions/{session_id}/connect", f"{API}/notebooks", f"{API}/connect"):
        with pytest.raises(Exception, match="403"):
            await server.connect(path, token=None, headers=evil)
    for method, path in (
        ("POST", "/sessions"),
        ("DELETE", f"/sessions/{session_id}"),
        ("PATCH", f"/sessions/{session_id}"),
        ("POST", f"/sessions/{session_id}/commands"),
        ("POST", f"/sessions/{session_id}/attachments"),
        ("POST", f"/sessions/{session_id}/archive"),
    ):
        status, _ = await server.ask(method, API + path, {} if method != "DELETE" else None, token=None, headers=evil)
        assert status in (403, 404), path
        status, _ = await server.ask(method, API + path, {} if method != "DELETE" else None, token=None)
        assert status == 403, path
