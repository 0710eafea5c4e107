"""Servers that one user starts in different folders keep their sessions together, and their notebooks apart.

A path is relative to the server's root directory: ``a.ipynb`` is another notebook in each folder.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from jupyter_agent.protocol.content import Session
from jupyter_agent.session.host import SessionHost
from tests.model_server import ModelServer, Reply, ToolUse
from tests.roads import write_notebook
from tests.session.test_host import hosting, viewing
from tests.stranger import Json

INSERT = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "y = 1"})


@asynccontextmanager
async def serving(model_server: ModelServer, folder: Path, root: str) -> AsyncGenerator[SessionHost]:
    """A server that was started in one of the folders; the data directory is the user's."""
    (folder / root).mkdir(exist_ok=True)
    write_notebook(folder / root, "a.ipynb")
    async with hosting(model_server, folder / root, data_dir=folder / "data") as host:
        yield host


async def allow(host: SessionHost, session: Session, model_server: ModelServer, scope: str) -> Json | None:
    """Have a cell inserted; return the question, None when nobody was asked."""
    model_server.script([Reply(INSERT), "Done."])
    async with viewing(host, session.id) as view:
        await view.say("insert")
        news = await view.event(lambda e: e["type"] in ("approval.requested", "turn.ended"))
        if news["type"] == "turn.ended":
            return None
        asked: Json = news["d"]["approval"]
        await view.event("turn.status", status="awaiting")
        await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow", scope=scope)
        await view.event("turn.ended", outcome="completed")
        return asked


async def test_a_notebook_of_the_same_path_in_another_folder_has_sessions_of_its_own(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with serving(model_server, tmp_path, "one") as host:
        first = await host.for_notebook("a.ipynb")
        assert (await host.for_notebook("a.ipynb")).id == first.id
    async with serving(model_server, tmp_path, "two") as host:
        second = await host.for_notebook("a.ipynb")
        assert second.id != first.id
        of_a, _ = await host.list_sessions(notebook=("a.ipynb",))
        assert [session.id for session in of_a] == [second.id]
        everything, _ = await host.list_sessions()
        assert {session.id for session in everything} == {first.id, second.id}
        assert await host.library.is_here(second.id)
        assert not await host.library.is_here(first.id)
        # Whoever says where its notebook is now, says it of this server.
        await host.update(first.id, {"notebook_path": "b.ipynb"})
        assert (await host.for_notebook("b.ipynb")).id == first.id
    for file in (tmp_path / "data").glob("index.db*"):
        file.unlink()
    async with serving(model_server, tmp_path, "one") as host:
        assert (await host.for_notebook("a.ipynb")).id not in (first.id, second.id)


async def test_what_was_allowed_for_good_in_one_folder_is_asked_in_another(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with serving(model_server, tmp_path, "one") as host:
        session = await host.create(notebook_path="a.ipynb")
        assert await allow(host, session, model_server, "always") is not None
        assert await allow(host, session, model_server, "always") is None
    async with serving(model_server, tmp_path, "two") as host:
        session = await host.create(notebook_path="a.ipynb")
        assert await allow(host, session, model_server, "once") is not None


async def test_a_session_of_another_folder_is_asked_each_time(model_server: ModelServer, tmp_path: Path) -> None:
    async with serving(model_server, tmp_path, "one") as host:
        session = await host.create(notebook_path="a.ipynb")
        assert await allow(host, session, model_server, "session") is not None
        assert await allow(host, session, model_server, "session") is None
    async with serving(model_server, tmp_path, "two") as host:
        asked = await allow(host, session, model_server, "once")
        assert asked is not None
        assert asked["scopes"] == ["once"]
    async with serving(model_server, tmp_path, "one") as host:
        assert await allow(host, session, model_server, "once") is None
