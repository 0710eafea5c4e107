"""Sessions over REST."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.hosts.running_server import API, RunningServer

NOBODY = "ses_0123456789abcdef"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 32


def refused(answer: tuple[int, Any], status: int, code: str | None = None) -> None:
    """Check that a request was refused in the one shape that refusals have."""
    got, body = answer
    assert got == status, body
    assert set(body) == {"error"}
    assert set(body["error"]) <= {"code", "message", "hint"}
    assert body["error"]["message"]
    assert "Traceback" not in json.dumps(body)
    if code is not None:
        assert body["error"]["code"] == code


async def test_a_session_is_made_read_changed_and_deleted(server: RunningServer) -> None:
    status, body = await server.ask("POST", f"{API}/sessions", {"title": "First", "mode": "plan"})
    assert status == 201
    session = body["session"]
    assert (session["title"], session["mode"], session["status"]) == ("First", "plan", "ready")
    one = f"{API}/sessions/{session['id']}"

    assert (await server.ask("GET", one))[1]["session"] == session
    status, body = await server.ask("PATCH", one, {"title": "Renamed", "if_rev": session["rev"]})
    assert status == 200
    assert body["session"]["title"] == "Renamed"
    assert body["session"]["rev"] > session["rev"]

    status, _ = await server.ask("DELETE", one)
    assert status == 204
    refused(await server.ask("GET", one), 404, "not_found")
    refused(await server.ask("DELETE", one), 404, "not_found")


async def test_a_stale_change_is_refused(server: RunningServer) -> None:
    session_id = await server.new_session()
    one = f"{API}/sessions/{session_id}"
    rev = (await server.ask("GET", one))[1]["session"]["rev"]
    await server.ask("PATCH", one, {"title": "a"})
    refused(await server.ask("PATCH", one, {"title": "b", "if_rev": rev}), 409, "stale")
    assert (await server.ask("GET", one))[1]["session"]["title"] == "a"


async def test_lists_hold_plain_sessions_and_say_whether_there_are_more(server: RunningServer) -> None:
    made = [await server.new_session(title=f"paged {n}") for n in range(3)]
    status, first = await server.ask("GET", f"{API}/sessions?q=paged&limit=2")
    assert status == 200
    assert first["has_more"] is True
    last = first["sessions"][-1]["id"]
    _, rest = await server.ask("GET", f"{API}/sessions?q=paged&limit=2&before={last}")
    assert rest["has_more"] is False
    assert {s["id"] for s in first["sessions"] + rest["sessions"]} == set(made)


async def test_the_sessions_of_a_notebook_are_listed(server: RunningServer) -> None:
    for path in (" spaced.ipynb ", "größe & co.ipynb"):
        made = await server.new_session(notebook_path=path)
        _, body = await server.ask("GET", f"{API}/sessions?{urlencode({'notebook_path': path})}")
        assert [session["id"] for session in body["sessions"]] == [made]
    without = await server.new_session()
    _, body = await server.ask("GET", f"{API}/sessions?notebook_path=&limit=200")
    assert without in [session["id"] for session in body["sessions"]]
    assert {session["notebook_path"] for session in body["sessions"]} == {None}
    refused(await server.ask("GET", f"{API}/sessions?notebook_path=a%0Ab"), 400)


async def test_archived_sessions_leave_the_list_and_come_back(server: RunningServer) -> None:
    session_id = await server.new_session(title="to the attic")
    one = f"{API}/sessions/{session_id}"

    async def listed(state: str) -> bool:
        _, body = await server.ask("GET", f"{API}/sessions?state={state}&limit=200")
        return session_id in [session["id"] for session in body["sessions"]]

    for _ in range(2):  # twice is no error
        status, body = await server.ask("POST", f"{one}/archive")
        assert status == 200
        assert body["session"]["archived_at"] is not None
    assert not await listed("active")
    assert await listed("archived")
    assert await listed("all")
    status, body = await server.ask("POST", f"{one}/unarchive")
    assert body["session"]["archived_at"] is None
    assert await listed("active")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        f"limit={'1' * 5000}",
        "limit=-1",
        "limit=x",
        "limit=",
        "before=ses_ffffffffffffffff",
        "state=none",
    ],
)
async def test_what_is_out_of_range_is_refused_not_clamped(server: RunningServer, query: str) -> None:
    refused(await server.ask("GET", f"{API}/sessions?{query}"), 400)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", f"limit={'1' * 5000}", "limit=1.5", "before=msg_nowhere"])
async def test_a_page_of_messages_is_checked_too(server: RunningServer, query: str) -> None:
    session_id = await server.new_session()
    refused(await server.ask("GET", f"{API}/sessions/{session_id}/messages?{query}"), 400)


@pytest.mark.parametrize(
    "body",
    [{"mode": "chaos"}, {"title": 1}, {"title": "x" * 501}, {"id": "mine"}, {"model": ""}, {"notebook_path": 3}, []],
)
async def test_nonsense_is_refused_with_a_reason(server: RunningServer, body: Any) -> None:
    refused(await server.ask("POST", f"{API}/sessions", body), 400)


async def test_a_body_that_is_not_json_is_refused(server: RunningServer) -> None:
    refused(await server.ask("POST", f"{API}/sessions", raw=b"{nope"), 400)


@pytest.mark.parametrize(
    "path", ["", "/messages", "/messages/msg_1/parts/prt_1", "/connect", "/attachments/" + "0" * 64]
)
@pytest.mark.parametrize("session_id", [NOBODY, "ses_SHOUTING00000000", "..%2F..%2Fetc", "ses_0", "%00"])
async def test_an_unknown_session_is_not_found_whatever_its_id_looks_like(
    server: RunningServer, session_id: str, path: str
) -> None:
    refused(await server.ask("GET", f"{API}/sessions/{session_id}{path}"), 404, "not_found")


async def test_a_part_that_is_shown_cut_comes_whole(server: RunningServer) -> None:
    session_id = await server.new_session()
    text = "é" * 200_000 + "the end"
    command = {
        "v": 1,
        "cmd_id": "1",
        "type": "message.send",
        "d": {"id": "msg_long", "parts": [{"type": "text", "text": text}]},
    }
    raw = json.dumps(command, ensure_ascii=False).encode()
    status, ack = await server.ask("POST", f"{API}/sessions/{session_id}/commands", raw=raw)
    assert (status, ack["status"]) == (200, "accepted")
    url = f"{API}/sessions/{session_id}/messages"
    _, page = await server.ask("GET", url)
    shown = next(message for message in page["messages"] if message["id"] == "msg_long")["parts"][0]
    assert shown["truncated"]
    assert len(shown["text"]) < len(text)
    status, body = await server.ask("GET", f"{url}/msg_long/parts/{shown['id']}")
    assert status == 200
    assert body["part"] == {k: v for k, v in shown.items() if k != "whole"} | {"text": text, "truncated": False}
    for strange in (f"msg_none/parts/{shown['id']}", "msg_long/parts/prt_none", "msg_long/parts/%00"):
        refused(await server.ask("GET", f"{url}/{strange}"), 404, "unknown_part")


@pytest.mark.parametrize("path", ["/nothing", "", "/sessions/" + NOBODY + "/unheard-of"])
async def test_an_unknown_address_says_so_in_json(server: RunningServer, path: str) -> None:
    refused(await server.ask("GET", API + path), 404)
    refused(await server.ask("POST", API + path), 404)


async def test_a_command_by_rest_is_answered_by_its_ack(server: RunningServer) -> None:
    session_id = await server.new_session()
    commands = f"{API}/sessions/{session_id}/commands"
    sent = {"v": 1, "cmd_id": "c-1", "type": "session.set", "d": {"title": "by rest"}}
    status, ack = await server.ask("POST", commands, sent)
    assert status == 200
    assert (ack["cmd_id"], ack["status"]) == ("c-1", "accepted")
    _, again = await server.ask("POST", commands, sent)
    assert (again["status"], again["original"]) == ("duplicate", "accepted")
    _, late = await server.ask("POST", commands, {"v": 1, "cmd_id": "c-2", "type": "turn.stop", "d": {"turn": "trn_x"}})
    assert late["status"] == "rejected"
    refused(await server.ask("POST", commands, {"v": 1, "type": "ping"}), 400, "malformed")
    refused(await server.ask("POST", commands, {"v": 9, "cmd_id": "c-3", "type": "ping"}), 400, "version")


async def test_the_models_on_offer_are_listed(server: RunningServer) -> None:
    status, body = await server.ask("GET", f"{API}/models")
    assert status == 200
    assert all(model["id"] for model in body["models"])


# -- who may ask ------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), [("GET", "/status"), ("GET", "/sessions"), ("POST", "/sessions")])
async def test_strangers_are_turned_away(server: RunningServer, method: str, path: str) -> None:
    status, _ = await server.ask(method, API + path, token=None)
    assert status == 403
    status, _ = await server.ask(method, API + path, token="guessed")
    assert status == 403


async def test_a_cookie_alone_does_not_write(server: RunningServer) -> None:
    cookies = await server.cookies()
    status, _ = await server.ask("GET", f"{API}/status", token=None, headers={"Cookie": cookies})
    assert status == 200, "the cookie signs in"
    status, body = await server.ask("POST", f"{API}/sessions", {}, token=None, headers={"Cookie": cookies})
    assert status == 403
    assert "_xsrf" in body["error"]["message"]


async def test_another_sites_page_is_refused(server: RunningServer) -> None:
    cookies = await server.cookies()
    headers = {"Cookie": cookies, "Origin": "https://evil.example", "Host": "127.0.0.1"}
    status, _ = await server.ask("GET", f"{API}/sessions", token=None, headers=headers)
    assert status == 404


# -- attachments ------------------------------------------------------------------


async def test_an_attachment_comes_back_by_the_hash_of_its_bytes(server: RunningServer) -> None:
    session_id = await server.new_session()
    url = f"{API}/sessions/{session_id}/attachments"
    status, body = await server.ask("POST", f"{url}?name=..%2Fa%2Fplot.png", raw=PNG)
    assert status == 201
    attachment = body["attachment"]
    assert attachment == {
        "sha256": hashlib.sha256(PNG).hexdigest(),
        "mime": "image/png",
        "name": "plot.png",
        "bytes": len(PNG),
    }
    response = await server.ask_raw("GET", f"{url}/{attachment['sha256']}")
    assert response.body == PNG
    assert response.headers["Content-Type"] == "image/png"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    refused(await server.ask("GET", f"{url}/{'0' * 64}"), 404)
    refused(await server.ask("GET", f"{url}/..%2Fsession.db"), 404)


@pytest.mark.parametrize(
    ("content", "declared"),
    [
        (b"<script>alert(1)</script>", "text/html"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image/svg+xml"),
        (b"%PDF-1.7", "application/pdf"),
    ],
)
async def test_whatever_is_no_raster_image_is_only_ever_saved(
    server: RunningServer, content: bytes, declared: str
) -> None:
    session_id = await server.new_session()
    url = f"{API}/sessions/{session_id}/attachments"
    _, body = await server.ask("POST", url, raw=content, headers={"Content-Type": declared})
    response = await server.ask_raw("GET", f"{url}/{body['attachment']['sha256']}")
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in response.headers["Content-Security-Policy"]


async def test_a_form_with_a_file_is_taken_too(server: RunningServer) -> None:
    session_id = await server.new_session()
    form = (
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="notes.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\nremember\r\n--edge--\r\n"
    )
    status, body = await server.ask(
        "POST",
        f"{API}/sessions/{session_id}/attachments",
        raw=form,
        headers={"Content-Type": "multipart/form-data; boundary=edge"},
    )
    assert status == 201
    assert body["attachment"]["name"] == "notes.txt"
    assert body["attachment"]["bytes"] == len(b"remember")


async def test_an_attachment_over_the_limit_is_refused(server: RunningServer) -> None:
    session_id = await server.new_session()
    too_much = bytes((20 << 20) + 1)
    refused(await server.ask("POST", f"{API}/sessions/{session_id}/attachments", raw=too_much), 413, "too_large")


async def test_an_empty_attachment_is_refused(server: RunningServer) -> None:
    session_id = await server.new_session()
    refused(await server.ask("POST", f"{API}/sessions/{session_id}/attachments"), 400)
