"""``jupyter agent …``, as a process of its own, beside a running server and without one."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_agent.errors import AgentError
from jupyter_agent.hosts.cli import doctor as checks
from jupyter_agent.settings import Settings
from jupyter_agent.store import snapshots
from jupyter_agent.store.opening import connect
from jupyter_agent.store.owning import Server, claim
from jupyter_agent.store.transfer import import_session
from tests.hosts.conftest import SLOWLY
from tests.hosts.running_server import API, ROOT, Json, RunningServer

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 32


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def agent(*arguments: str, stdin: str = "", first: Callable[[], None] | None = None, **variables: str) -> Done:
    """Run a command; its process does ``first`` before."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANTHROPIC", "JUPYTER"))}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "error"),
        "JUPYTER_PLATFORM_DIRS": "1",
        **variables,
    }

    def run() -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "jupyter_agent.hosts.cli", *arguments],
            input=stdin.encode(),
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
            preexec_fn=first,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    done = await asyncio.to_thread(run)
    assert "Traceback" not in done.err
    return done


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
    assert (await agent("sessions", "list", *empty)) == Done(0, "", "")
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
    assert (none.code, "no such snapshot" in none.err) == (1, True)
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
    back = await agent("sessions", "restore", taken, "--at", "1760000000000", *place)
    assert back.code == 0, back.err
    shown = (await agent("sessions", "show", taken, "--json", *place)).json["messages"]
    assert shown[: len(exported["messages"])] == exported["messages"]


# -- doctor ------------------------------------------------------------------------


async def test_the_doctor_finds_a_sound_installation_sound(tmp_path: Path) -> None:
    done = await agent("doctor", "--data-dir", str(tmp_path))
    assert done.out.startswith("OK  version: jupyter-agent-panel ")
    assert "OK  model: the demo model" in done.out
    for name in ("SQLite", "server extension", "front end", "kernel", "data directory", "sessions", "namesake"):
        assert f"OK  {name}: " in done.out
    assert done.code == 0
    report = (await agent("doctor", "--json", "--data-dir", str(tmp_path))).json
    assert report["ok"] is True
    assert {"name", "ok", "found", "hint"} == set(report["checks"][0])


async def test_the_doctor_says_by_which_road_claude_is_reached_and_shows_no_key(tmp_path: Path) -> None:
    key, url = "sk-ant-very-secret", "https://me:hush@gateway.example:8443/anthropic?key=hush"
    done = await agent("doctor", "--data-dir", str(tmp_path), ANTHROPIC_API_KEY=key, ANTHROPIC_BASE_URL=url)
    assert "by ANTHROPIC_API_KEY, at https://gateway.example:8443/anthropic" in done.out
    assert key not in done.out + done.err
    assert "hush" not in done.out + done.err


async def test_the_doctor_reads_jupyters_own_configuration(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    file = config / "jupyter_server_config.py"
    file.write_text(
        f"c.AgentExtension.model = 'claude-of-the-house'\nc.AgentExtension.data_dir = {str(tmp_path / 'there')!r}\n"
        f"c.AgentExtension.api_key_file = {str(tmp_path / 'key')!r}\n"
    )
    missing = await agent("doctor", JUPYTER_CONFIG_DIR=str(config))
    assert missing.code == 1
    assert "!!  model: the API key file cannot be read" in missing.out
    (tmp_path / "key").write_text("sk-secret\n")
    found = await agent("doctor", JUPYTER_CONFIG_DIR=str(config))
    assert "OK  model: claude-of-the-house by the key in api_key_file" in found.out
    assert f"OK  data directory: {tmp_path / 'there'}, on a local disk" in found.out
    assert "sk-secret" not in found.out
    file.write_text("c.AgentExtension.model = 1 / 0\n")
    broken = await agent("doctor", JUPYTER_CONFIG_DIR=str(config))
    assert broken.code == 1
    assert "!!  configuration: " in broken.out


async def test_the_doctor_names_the_namesake(tmp_path: Path) -> None:
    info = tmp_path / "jupyter_agent-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jupyter-agent\nVersion: 9.9\n")
    done = await agent("doctor", "--data-dir", str(tmp_path), PYTHONPATH=os.pathsep.join([str(ROOT), str(tmp_path)]))
    assert done.code == 1
    assert "!!  namesake: " in done.out


async def test_the_doctor_says_when_the_server_would_not_load_us(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    disabled = {"ServerApp": {"jpserver_extensions": {"jupyter_agent": False}}}
    (config / "jupyter_server_config.json").write_text(json.dumps(disabled))
    done = await agent("doctor", "--data-dir", str(tmp_path), JUPYTER_CONFIG_DIR=str(config))
    assert done.code == 1
    assert "!!  server extension: disabled" in done.out
    assert "jupyter server extension enable jupyter_agent" in done.out


def test_a_check_that_breaks_keeps_no_other_from_being_seen(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = list(checks.examine(str(tmp_path / "file" / "below")))
    assert not next(check for check in found if check.name == "data directory").ok
    assert found[-1].name == "model"


async def test_all_that_can_be_configured_is_listed_with_its_default() -> None:
    told = await agent("settings")
    assert told.code == 0
    assert "--AgentExtension.max_steps=<Int>" in told.out
    listed = (await agent("settings", "--json")).json
    fields = set(Settings.__dataclass_fields__) - {"api_key"}
    assert set(listed) == fields | {"api_key_file", "open_panel"}
    assert all(one["help"] for one in listed.values())
    assert listed["mode"]["default"] == "build"
