"""``jupyter agent …``, as a process of its own, beside a running server and without one."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_agent.errors import AgentError
from jupyter_agent.settings import Settings
from jupyter_agent.store import snapshots
from jupyter_agent.store.opening import connect
from jupyter_agent.store.owning import Server, claim
from jupyter_agent.store.transfer import import_session
from tests.hosts.command_line import Done, agent
from tests.hosts.conftest import SLOWLY
from tests.hosts.running_server import API, Json, RunningServer

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 32


def void(_: object) -> None:
    """Return nothing."""


def data_of(server: RunningServer) -> str:
    return str(server.directory / "data" / "jupyter_agent")


async def converse(server: RunningServer, session_id: str, text: str, *parts: Json) -> Json:
    """Say something, wait for the end of the turn, return the snapshot that follows."""
    async with server.view(session_id) as view:
        view.command("subscribe", since=None)
        await view.event("caught_up")
        said: list[Json] = [{"type": "text", "text": text}, *parts]
        view.command("message.send", id=f"msg_{hashlib.sha1(text.encode()).hexdigest()}", parts=said)
        ended = await view.event("turn.ended")
        assert ended["d"]["outcome"] == "completed"
        heard = len(view.heard)
        view.command("subscribe", since=None)
        return (await view.event("snapshot", after=heard))["d"]


async def test_sessions_are_listed_and_shown_beside_the_server_that_has_them_open(server: RunningServer) -> None:
    session_id = await server.new_session(title="Told by the command line")
    snapshot = await converse(server, session_id, "Hello")
    place = ("--data-dir", data_of(server))
    listed = await agent("sessions", "list", *place)
    assert listed.code == 0
    assert any(session_id in line and "Told by the command line" in line for line in listed.out.splitlines())
    found = (await agent("sessions", "list", "-q", "COMMAND line", "--json", *place)).json["sessions"]
    assert [facts["id"] for facts in found] == [session_id]
    few = (await agent("sessions", "list", "--state", "all", "--limit", "1", "--json", *place)).json
    assert len(few["sessions"]) == 1

    shown = await agent("sessions", "show", session_id[:16], *place)
    assert shown.code == 0
    assert shown.out.startswith("# Told by the command line\n")
    assert "## You" in shown.out
    assert "\nHello\n" in shown.out
    assert snapshot["messages"][-1]["parts"][-1]["text"].strip().splitlines()[0] in shown.out
    whole = (await agent("sessions", "show", session_id, "--json", *place)).json
    assert whole["messages"] == snapshot["messages"]


async def test_what_is_exported_comes_back_as_it_was_and_goes_on(server: RunningServer, tmp_path: Path) -> None:
    session_id = await server.new_session(title="There and back", mode="plan")
    _, body = await server.ask("POST", f"{API}/sessions/{session_id}/attachments?name=dot.png", raw=PNG)
    attached: Json = {"type": "file", **body["attachment"]}
    before = await converse(server, session_id, "Look at this 🐍", attached)
    place, file = ("--data-dir", data_of(server)), str(tmp_path / "session.json")

    assert (await agent("sessions", "export", session_id, "-o", file, *place)).code == 0
    again = await agent("sessions", "export", session_id, "-o", file, *place)
    assert (again.code, "--force" in again.err) == (1, True)
    assert (await agent("sessions", "export", session_id, "-o", file, "--force", *place)).code == 0

    taken = await agent("sessions", "import", file, "--json", *place)
    assert taken.code == 0, taken.err
    copied = taken.json["session"]
    assert copied["id"] != session_id
    assert {k: copied[k] for k in ("title", "mode", "usage")} == {
        k: before["session"][k] for k in ("title", "mode", "usage")
    }
    _, listed = await server.ask("GET", f"{API}/sessions?q=There")
    assert {session["id"] for session in listed["sessions"]} == {session_id, copied["id"]}
    _, page = await server.ask("GET", f"{API}/sessions/{copied['id']}/messages")
    assert page["messages"] == before["messages"]
    image = await server.ask_raw("GET", f"{API}/sessions/{copied['id']}/attachments/{attached['sha256']}")
    assert image.body == PNG

    after = await converse(server, copied["id"], "Hello again")
    assert after["messages"][: len(before["messages"])] == before["messages"]
    assert len(after["messages"]) == len(before["messages"]) + 2


async def test_an_export_that_does_not_fit_leaves_the_old_file(server: RunningServer, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    session_id = await server.new_session(title="Once")
    place, file = ("--data-dir", data_of(server)), tmp_path / "session.json"
    assert (await agent("sessions", "export", session_id, "-o", str(file), *place)).code == 0

    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def no_room() -> None:
        room = len(kept["session.json"]) - 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    kept = files()
    for target, force in (file, "--force"), (tmp_path / "new.json", ""):
        done = await agent(
            "sessions", "export", session_id, "-o", str(target), *filter(None, [force]), *place, first=no_room
        )
        assert (done.code, "cannot be written" in done.err) == (1, True)
        assert files() == kept


async def test_a_session_is_written_as_markdown(server: RunningServer, tmp_path: Path) -> None:
    session_id = await server.new_session(title="For the reader")
    await converse(server, session_id, "Hello")
    place, file = ("--data-dir", data_of(server)), tmp_path / "session.md"
    assert (await agent("sessions", "export", session_id, "-o", str(file), *place)).code == 0
    on_screen = await agent("sessions", "export", session_id, "--format", "markdown", *place)
    assert file.read_text(encoding="utf-8") == on_screen.out
    assert on_screen.out.startswith("# For the reader\n")


async def test_a_session_exported_in_the_middle_of_a_turn_is_whole_but_does_nothing_by_itself(
    server: RunningServer, slow_server: RunningServer
) -> None:
    session_id = await slow_server.new_session(title="Cut off")
    async with slow_server.view(session_id) as view:
        view.command("subscribe", since=None)
        view.command("message.send", id="msg_cut", parts=[{"type": "text", "text": SLOWLY}])
        view.command("message.send", id="msg_wait", parts=[{"type": "text", "text": "Then this."}])
        await view.event("part.delta")
        exported = await agent("sessions", "export", session_id, "--data-dir", data_of(slow_server))
        turn = (await view.event("turn.started"))["d"]["turn"]["id"]
        view.command("turn.stop", turn=turn)
        await view.event("turn.ended")
    document = exported.json
    text = document["messages"][-1]["parts"][0]["text"]
    assert text
    taken = await agent("sessions", "import", "-", "--json", "--data-dir", data_of(server), stdin=exported.out)
    assert taken.code == 0, taken.err
    copied = taken.json["session"]["id"]
    async with server.view(copied) as view:
        view.command("subscribe", since=None)
        snapshot = (await view.event("snapshot"))["d"]
    assert snapshot["turn"] is None
    assert snapshot["paused"] is True
    assert [item["message_id"] for item in snapshot["queue"]] == ["msg_wait"]
    last = snapshot["messages"][-1]
    assert (last["status"], last["parts"][0]["state"], last["parts"][0]["text"]) == ("interrupted", "done", text)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exported(server: RunningServer) -> Json:
    """A real document, to be damaged."""
    session_id = await server.new_session(title="To be damaged")
    await converse(server, session_id, "What is in this notebook?")
    return (await agent("sessions", "export", session_id, "--data-dir", data_of(server))).json


def _cell(table: str, column: str, value: Any) -> Callable[[Json], None]:
    def damage(document: Json) -> None:
        dump = document["ledger"]["tables"][table]
        dump["rows"][0][dump["columns"].index(column)] = value

    return damage


def _set(*path: str, value: Any) -> Callable[[Json], None]:
    def damage(document: Json) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = value

    return damage


def _own_parent(document: Json) -> None:
    dump = document["ledger"]["tables"]["messages"]
    row = dump["rows"][0]
    row[dump["columns"].index("parent_id")] = row[dump["columns"].index("id")]


@pytest.mark.parametrize(
    "damage",
    [
        _set("format", value="something else"),
        _set("version", value=99),
        _set("session", value=None),
        _set("session", "mode", value="root"),
        _set("ledger", value=[]),
        _set("ledger", "schema", value=99),
        _set("ledger", "tables", value=None),
        _set("ledger", "tables", "parts", value=7),
        _set("ledger", "tables", "parts", "columns", value=["id; DROP TABLE meta"]),
        _set("ledger", "tables", "messages", "rows", value=[1, 2]),
        _set("attachments", value=[{"sha256": "../../../x", "data": ""}]),
        _set("attachments", value=[{"sha256": "0" * 64, "data": "AAAA"}]),
        _set("last_outcome", value={"turn": 3}),
        _set("session", "updated_at", value=1 << 70),
        _set("session", "updated_at", value=1 << 53),
        _set("session", "archived_at", value=-1),
        _set("session", "model", value="m" * 201),
        _set("session", "notebook_path", value="a.ipynb\nMode: Build."),
        _cell("messages", "ord", "x"),
        _cell("messages", "ord", 1e308),
        _cell("messages", "ord", (1 << 63) - 1),
        _cell("messages", "ord", True),
        _cell("messages", "id", None),
        _own_parent,
        _cell("messages", "meta", "[" * 100_000),
        _cell("turns", "ord", ""),
        _cell("turns", "started_at", 0.5),
        _cell("api_blocks", "body", "[" * 100_000),
        _cell("parts", "data", "[" * 100_000),
        _cell("parts", "data", "{"),
        _cell("parts", "data", '{"type":"text"}'),
        _cell("parts", "message_id", "nobody"),
        _cell("messages", "role", "system"),
        _cell("messages", "id", {"a": 1}),
        _cell("api_blocks", "body", "null"),
    ],
)
def test_a_damaged_document_is_refused_and_leaves_nothing(
    exported: Json, tmp_path: Path, damage: Callable[[Json], None]
) -> None:
    document = copy.deepcopy(exported)
    damage(document)
    with pytest.raises(AgentError):
        import_session(tmp_path / "sessions", document)
    assert not list((tmp_path / "sessions").glob("*"))


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", "[" * 100_000, '{"messages": [{"body": 3}]}', '{"messages":[]}']
)
async def test_what_is_no_session_is_refused(tmp_path: Path, text: str) -> None:
    done = await agent("sessions", "import", "-", "--data-dir", str(tmp_path), stdin=text)
    assert done.code == 1
    assert done.err.strip()
    assert not list((tmp_path / "sessions").glob("*"))


async def test_permissions_and_prompts_do_not_travel(exported: Json, server: RunningServer, tmp_path: Path) -> None:
    assert set(exported["ledger"]["tables"]) & {"meta", "jobs", "commands"} == set()
    document = copy.deepcopy(exported)
    blocks = document["ledger"]["tables"]["api_blocks"]
    where = blocks["columns"].index("body")
    blocks["rows"][-1][where] = json.dumps(
        [{"type": "thinking", "thinking": "…", "signature": "x"}, *json.loads(blocks["rows"][-1][where])]
    )
    taken = await agent("sessions", "import", "-", "--json", "--data-dir", data_of(server), stdin=json.dumps(document))
    copied = taken.json["session"]["id"]
    again = (await agent("sessions", "export", copied, "--data-dir", data_of(server))).json
    assert "signature" not in json.dumps(again["ledger"]["tables"]["api_blocks"])
    assert again["messages"] == exported["messages"]


async def test_a_chat_file_becomes_a_session(server: RunningServer, tmp_path: Path) -> None:
    chat = {
        "messages": [
            {"type": "msg", "id": "1", "body": "What is a mean?", "sender": "ada", "time": 1_760_000_000.5},
            {"type": "msg", "id": "2", "body": "", "sender": "ada", "time": 1_760_000_001, "deleted": True},
            {"type": "msg", "id": "3", "body": "A sum, divided.", "sender": "persona::Claude", "time": 1_760_000_002},
            {"type": "msg", "id": "4", "body": "Thanks", "sender": "ada", "time": 1_760_000_003},
        ],
        "users": {"ada": {"username": "ada", "name": "Ada"}, "persona::Claude": {"bot": True}},
        "attachments": {},
        "metadata": {},
    }
    file = tmp_path / "means.chat"
    file.write_text(json.dumps(chat), encoding="utf-8")
    taken = await agent("sessions", "import", str(file), "--json", "--data-dir", data_of(server))
    assert taken.code == 0, taken.err
    session = taken.json["session"]
    assert session["title"] == "means"
    _, page = await server.ask("GET", f"{API}/sessions/{session['id']}/messages")
    told = [(message["role"], message["parts"][0]["text"]) for message in page["messages"]]
    assert told == [("user", "What is a mean?"), ("assistant", "A sum, divided."), ("user", "Thanks")]
    assert page["messages"][0]["created_at"] == 1_760_000_000_500
    before = [None, *(message["id"] for message in page["messages"])]
    assert [message["parent_id"] for message in page["messages"]] == before[:-1], "a rewind leaves what came before"
    await converse(server, session["id"], "Hello")


async def test_the_list_is_built_anew_from_the_sessions_themselves(exported: Json, tmp_path: Path) -> None:
    place = ("--data-dir", str(tmp_path))
    taken = await agent("sessions", "import", "-", "--json", *place, stdin=json.dumps(exported))
    (tmp_path / "index.db").unlink()
    done = (await agent("sessions", "reindex", "--json", *place)).json
    assert done["sessions"] == 1
    found = (await agent("sessions", "list", "--json", *place)).json["sessions"]
    assert [facts["id"] for facts in found] == [taken.json["session"]["id"]]


async def test_what_is_not_there_is_said_with_what_to_do(server: RunningServer, tmp_path: Path) -> None:
    empty = ("--data-dir", str(tmp_path / "nowhere"))
    sentence = f"There are no sessions in {tmp_path / 'nowhere' / 'sessions'}.\n"
    assert (await agent("sessions", "list", *empty)) == Done(0, "", sentence)
    assert (await agent("sessions", "reindex", *empty)) == Done(0, sentence, "")
    assert not (tmp_path / "nowhere").exists()
    unknown = await agent("sessions", "show", "ses_nobody", *empty)
    assert unknown.code == 1
    assert "jupyter agent sessions list" in unknown.err
    await server.new_session()
    await server.new_session()
    several = await agent("sessions", "show", "ses_", "--data-dir", data_of(server))
    assert (several.code, "several" in several.err) == (1, True)
    assert (await agent("sessions", "import", str(tmp_path / "nothing.json"), *empty)).code == 1
    assert (await agent("nonsense")).code == 2
    assert "usage" in (await agent("sessions", "--help")).out
    assert "sessions" in (await agent()).out


async def test_a_damaged_session_does_not_hide_the_others(exported: Json, tmp_path: Path) -> None:
    place = ("--data-dir", str(tmp_path))
    await agent("sessions", "import", "-", *place, stdin=json.dumps(exported))
    damaged = tmp_path / "sessions" / "ses_0123456789abcdef"
    damaged.mkdir()
    (damaged / "session.db").write_bytes(b"not a database at all" * 100)
    listed = await agent("sessions", "list", *place)
    assert listed.code == 1
    assert "To be damaged" in listed.out
    assert damaged.name in listed.err
    doctor = await agent("doctor", *place)
    assert f"{damaged.name}: " in doctor.out


async def test_any_title_is_shown_by_any_screen_and_read_by_any_script(exported: Json, tmp_path: Path) -> None:
    place = ("--data-dir", str(tmp_path))
    titled = copy.deepcopy(exported)
    titled["session"]["title"] = "価格 and 🍎"
    await agent("sessions", "import", "-", *place, stdin=json.dumps(titled))
    assert "and \\U0001f34e" in (await agent("sessions", "list", *place, PYTHONIOENCODING="ascii")).out
    listed = (await agent("sessions", "list", "--json", *place, PYTHONIOENCODING="ascii")).json["sessions"]
    assert listed[0]["title"] == "価格 and 🍎"
    written = await agent(
        "sessions", "export", listed[0]["id"], "--format", "markdown", *place, PYTHONIOENCODING="ascii"
    )
    assert (written.code, written.err) == (0, "")


async def test_half_a_character_in_a_title_hides_no_session(exported: Json, tmp_path: Path) -> None:
    place = ("--data-dir", str(tmp_path))
    await agent("sessions", "import", "-", *place, stdin=json.dumps(exported))
    # As a terminal of another encoding hands it over.
    raw = os.fsdecode(b"caf\xe9")
    taken = await agent("sessions", "import", "-", "--title", raw, *place, stdin=json.dumps(exported))
    assert taken.code == 0, taken.err
    assert (await agent("sessions", "reindex", "--json", *place)).json == {"sessions": 2}
    titles = {one["title"] for one in (await agent("sessions", "list", "--json", *place)).json["sessions"]}
    assert titles == {exported["session"]["title"], "caf\ufffd"}


async def test_a_list_that_cannot_be_built_anew_is_left_as_it_was(exported: Json, tmp_path: Path) -> None:
    place = ("--data-dir", str(tmp_path))
    await agent("sessions", "import", "-", *place, stdin=json.dumps(exported))
    with closing(sqlite3.connect(tmp_path / "index.db", isolation_level=None)) as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, 'no room'); END")
        done = await agent("sessions", "reindex", *place)
        assert done.code == 1
        assert db.execute("SELECT count(*) FROM sessions").fetchone() == (1,)


async def test_an_export_in_powershells_encoding_is_read(exported: Json, tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    file.write_text(json.dumps(exported), encoding="utf-16")
    taken = await agent("sessions", "import", str(file), "--json", "--data-dir", str(tmp_path / "data"))
    assert taken.json["session"]["title"] == exported["session"]["title"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here that is always full")
@pytest.mark.parametrize("command", [("sessions", "list"), ("sessions", "export", "ses_"), ("doctor",), ("settings",)])
async def test_an_answer_that_cannot_be_written_is_told_in_one_sentence(
    exported: Json, tmp_path: Path, command: tuple[str, ...]
) -> None:
    place = () if command == ("settings",) else ("--data-dir", str(tmp_path))
    await agent("sessions", "import", "-", "--data-dir", str(tmp_path), stdin=json.dumps(exported))
    full = os.open("/dev/full", os.O_WRONLY)
    done = await agent(*command, *place, first=lambda: void(os.dup2(full, 1)))
    os.close(full)
    assert done == Done(1, "", "The answer could not be written: No space left on device.\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows calls such a folder one that is not there")
async def test_a_folder_that_cannot_be_looked_at_is_told_in_one_sentence() -> None:
    long = "a" * 5_000
    done = await agent("sessions", "list", "--data-dir", long)
    assert done == Done(1, "", f"{long} could not be used: File name too long.\n")


async def test_what_is_asked_wrongly_is_told_in_words(exported: Json, tmp_path: Path) -> None:
    place = ("--data-dir", str(tmp_path))
    await agent("sessions", "import", "-", *place, stdin=json.dumps(exported))
    for limit in ("0", "-1", "many", "²"):
        asked = await agent("sessions", "list", f"--limit={limit}", *place)
        assert (asked.code, f"{limit!r} is not a number from 1 on" in asked.err) == (2, True)
    folder = await agent("sessions", "export", "ses_", "-o", str(tmp_path), "--force", *place)
    assert (folder.code, f"{tmp_path} is a directory." in folder.err) == (1, True)


@pytest.mark.parametrize("verb", ["show", "export"])
@pytest.mark.parametrize("data", ["{", "[]", "null", '{"type": "text"}'])
async def test_a_damaged_row_is_told_in_one_sentence(exported: Json, tmp_path: Path, verb: str, data: str) -> None:
    place = ("--data-dir", str(tmp_path))
    taken = await agent("sessions", "import", "-", "--json", *place, stdin=json.dumps(exported))
    session_id = taken.json["session"]["id"]
    with closing(sqlite3.connect(tmp_path / "sessions" / session_id / "session.db", isolation_level=None)) as db:
        db.execute("UPDATE parts SET data=?", (data,))
    for arguments in ((), ("--format", "markdown")) if verb == "export" else ((),):
        done = await agent("sessions", verb, session_id, *arguments, *place)
        assert "Traceback" not in done.err
        assert done.code == 0 or "cannot be read" in done.err


async def test_a_session_goes_back_to_a_snapshot_unless_a_server_has_it_open(
    exported: Json, server: RunningServer, tmp_path: Path
) -> None:
    place = ("--data-dir", str(tmp_path))
    taken = (await agent("sessions", "import", "-", "--json", *place, stdin=json.dumps(exported))).json["session"]["id"]
    none = await agent("sessions", "restore", taken, *place)
    assert (none.code, "no snapshots yet" in none.err) == (1, True)
    none = await agent("sessions", "restore", taken, "--list", *place)
    assert (none.code, "no snapshots yet" in none.err) == (0, True)
    folder = tmp_path / "sessions" / taken
    db = connect(folder / "session.db")
    snapshots.take(folder, "daily", 1_760_000_000_000, db.conn)
    db.conn.execute("UPDATE messages SET removed=1")
    db.conn.close()
    assert (await agent("sessions", "show", taken, "--json", *place)).json["messages"] == []
    listed = (await agent("sessions", "restore", taken, "--list", "--json", *place)).json["snapshots"]
    assert [(one["at"], one["reason"]) for one in listed] == [(1_760_000_000_000, "daily")]
    held = claim(folder, Server(), "local")
    refused = await agent("sessions", "restore", taken, *place)
    held.release()
    assert (refused.code, "another Jupyter server" in refused.err) == (1, True)
    missed = await agent("sessions", "restore", taken, "--at", "1759999999999", *place)
    assert (missed.code, "no snapshot from then" in missed.err) == (1, True)
    back = await agent("sessions", "restore", taken, "--at", "1760000000001", *place)
    assert back.code == 0, back.err
    shown = (await agent("sessions", "show", taken, "--json", *place)).json["messages"]
    assert shown[: len(exported["messages"])] == exported["messages"]


async def test_all_that_can_be_configured_is_listed_with_its_default() -> None:
    told = await agent("settings")
    assert told.code == 0
    assert "--AgentExtension.max_steps=<Int>" in told.out
    listed = (await agent("settings", "--json")).json
    fields = set(Settings.__dataclass_fields__) - {"api_key"}
    assert set(listed) == fields | {"api_key_file", "open_panel"}
    assert all(one["help"] for one in listed.values())
    assert listed["mode"]["default"] == "build"
