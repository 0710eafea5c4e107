"""What is around a session, over REST."""

from __future__ import annotations

import json
from pathlib import Path

from tests.hosts.running_server import API, RunningServer
from tests.hosts.test_rest import NOBODY, refused


async def test_a_session_tells_its_kernel_and_its_branch(server: RunningServer) -> None:
    work = server.notebooks / "work"
    (work / ".git").mkdir(parents=True)
    (work / ".git" / "HEAD").write_text("ref: refs/heads/plots\n")
    async with server.notebook_page("work/around.ipynb"):
        session_id = await server.new_session(notebook_path="work/around.ipynb")
        status, found = await server.ask("GET", f"{API}/sessions/{session_id}/details")
        assert status == 200
        assert found["session"]["id"] == session_id
        assert found["notebook_path"] == "work/around.ipynb"
        assert found["git"] == {"root": str(work), "branch": "plots", "commit": None}
        assert found["kernel"]["name"] == "python3"
        assert found["kernel"]["display_name"].startswith("Python 3")
        assert found["kernel"]["state"] in ("idle", "busy", "starting")
        assert found["storage"] == "local"

        (work / ".git" / "HEAD").write_text("ref: refs/heads/other\n")
        _, found = await server.ask("GET", f"{API}/sessions/{session_id}/details")
        assert found["git"]["branch"] == "other"


async def test_what_is_not_there_is_null(server: RunningServer) -> None:
    session_id = await server.new_session()
    status, found = await server.ask("GET", f"{API}/sessions/{session_id}/details")
    assert status == 200
    assert (found["notebook_path"], found["kernel"], found["git"]) == (None, None, None)
    closed = await server.new_session(notebook_path="never/written.ipynb")
    _, found = await server.ask("GET", f"{API}/sessions/{closed}/details")
    assert (found["kernel"], found["git"]) == (None, None)


async def test_a_path_that_leads_out_of_the_root_tells_nothing_of_what_is_there(server: RunningServer) -> None:
    outside = server.notebooks.parent / "outside"
    (outside / ".git").mkdir(parents=True)
    (outside / ".git" / "HEAD").write_text("ref: refs/heads/secret\n")
    for path in ("../outside/a.ipynb", "x/../../outside/a.ipynb", "/../outside/a.ipynb"):
        session_id = await server.new_session(notebook_path=path)
        status, found = await server.ask("GET", f"{API}/sessions/{session_id}/details")
        assert status == 200
        assert "secret" not in json.dumps(found)


async def test_details_of_no_session_are_refused(server: RunningServer) -> None:
    refused(await server.ask("GET", f"{API}/sessions/{NOBODY}/details"), 404, "not_found")
    status, _ = await server.ask("GET", f"{API}/sessions/{NOBODY}/details", token=None)
    assert status == 403


async def test_a_session_of_another_root_is_not_looked_for_below_this_one(tmp_path: Path) -> None:
    shared = f"--AgentExtension.data_dir={tmp_path / 'sessions'}"
    first = RunningServer(tmp_path / "first", shared)
    session_id = await first.new_session(notebook_path="a.ipynb")
    first.stop()
    second = RunningServer(tmp_path / "second", shared)
    (second.notebooks / ".git").mkdir()
    (second.notebooks / ".git" / "HEAD").write_text("ref: refs/heads/another-project\n")
    status, found = await second.ask("GET", f"{API}/sessions/{session_id}/details")
    second.stop()
    assert status == 200
    assert (found["notebook_path"], found["kernel"], found["git"]) == ("a.ipynb", None, None)
