"""The list of sessions is a copy: damaged, lost or in the way, it is made anew, and nobody is refused for it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from jupyter_agent.protocol.content import Session
from jupyter_agent.protocol.ids import new_id
from jupyter_agent.store.kept_index import rebuilt
from jupyter_agent.store.making import making
from tests.model_server import ModelServer
from tests.session.test_host import hosting, until, viewing

pytestmark = pytest.mark.timeout(60)
TABLES = ("sessions", "texts", "words_data", "idx_sessions_active", "idx_sessions_all", "alarms", "chores", "roots")


def overwrite(database: Path, name: str) -> None:
    """Fill the first page of a table or an index with nonsense."""
    with closing(sqlite3.connect(database)) as db:
        size = db.execute("PRAGMA page_size").fetchone()[0]
        page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name=?", (name,)).fetchone()[0]
    data = bytearray(database.read_bytes())
    data[(page - 1) * size : page * size] = b"\xff" * size
    database.write_bytes(data)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere" / "index.db")


def nothing_in_it(path: Path) -> None:
    path.write_bytes(b"")


async def listed_once(model_server: ModelServer, tmp_path: Path) -> tuple[str, Path]:
    model_server.script(["Kept."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(title="Old")
        async with viewing(host, session.id) as view:
            await view.say("remember this")
            await view.event("turn.ended")
    return session.id, tmp_path / "data" / "index.db"


async def all_is_well(model_server: ModelServer, tmp_path: Path, session_id: str) -> None:
    async with hosting(model_server, tmp_path) as host:
        assert (await host.create(title="New")).title == "New"
        for q, titles in {"": {"Old", "New"}, "remember": {"Old"}, "nothing": set[str]()}.items():
            assert {session.title for session in (await host.list_sessions("all", q))[0]} == titles
        await host.update(session_id, {"title": "Newest"})
        assert [session.title for session in (await host.list_sessions())[0]] == ["Newest", "New"]
        await host.delete(session_id)
        assert [session.title for session in (await host.list_sessions())[0]] == ["New"]


@pytest.mark.parametrize("table", TABLES)
async def test_a_list_with_a_damaged_page_is_made_anew(model_server: ModelServer, tmp_path: Path, table: str) -> None:
    session_id, index = await listed_once(model_server, tmp_path)
    overwrite(index, table)
    await all_is_well(model_server, tmp_path, session_id)


@pytest.mark.parametrize("table", TABLES)
async def test_reindex_mends_whatever_page_is_damaged(model_server: ModelServer, tmp_path: Path, table: str) -> None:
    session_id, index = await listed_once(model_server, tmp_path)
    overwrite(index, table)
    assert rebuilt(tmp_path / "data" / "sessions", "local") == 1
    with closing(sqlite3.connect(index)) as db:
        assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    await all_is_well(model_server, tmp_path, session_id)


@pytest.mark.parametrize("harm", [a_folder, a_link_to_nowhere, nothing_in_it], ids=lambda harm: harm.__name__)
async def test_whatever_is_where_the_list_should_be_keeps_nobody_out(
    model_server: ModelServer, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    session_id, index = await listed_once(model_server, tmp_path)
    harm(index)
    await all_is_well(model_server, tmp_path, session_id)


async def test_a_session_whose_file_is_gone_is_listed_as_damaged(model_server: ModelServer, tmp_path: Path) -> None:
    session_id, _ = await listed_once(model_server, tmp_path)
    (tmp_path / "data" / "sessions" / session_id / "session.db").unlink()
    async with hosting(model_server, tmp_path) as host:
        assert [(one.title, one.status) for one in (await host.list_sessions())[0]] == [("Old", "error")]
        await host.delete(session_id)
        assert (await host.list_sessions())[0] == []


async def test_reindexing_beside_a_server_hides_no_session_and_holds_up_none(
    model_server: ModelServer, tmp_path: Path
) -> None:
    sessions = tmp_path / "data" / "sessions"
    for _ in range(150):
        session = Session(id=new_id("ses"), title="One of many", created_at=1, updated_at=1)
        with making(sessions / session.id, session):
            pass
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        assert len((await host.list_sessions(limit=200))[0]) == 150
        session = await host.create(title="0")
        working = asyncio.create_task(asyncio.to_thread(rebuilt, sessions, "local"))
        changes = 0
        while not working.done():
            changes += 1
            await host.update(session.id, {"title": str(changes)})
            shown, _ = await host.list_sessions(limit=200)
            assert len(shown) == 151
            assert shown[0].title == str(changes)
        assert await working == 151
        await until(lambda: host.rooms == 1)
        assert (await host.list_sessions())[0][0].title == str(changes)
