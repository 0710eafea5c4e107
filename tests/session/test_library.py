"""Sessions as a whole: deleted and brought back, found by what was said in them."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from jupyter_agent.errors import SessionNotFound
from jupyter_agent.protocol.frames import Frame
from jupyter_agent.protocol.ids import now_ms
from jupyter_agent.session import safekeeping
from jupyter_agent.session.host import SessionHost
from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.session.test_host import hosting, until, viewing


async def found(host: SessionHost, q: str) -> list[str]:
    """The ids of the sessions that a search finds."""
    return [session.id for session in (await host.list_sessions("all", q))[0]]


async def test_a_deleted_session_is_gone_at_once_and_comes_back_whole(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(Text("Kept."))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(title="precious")
        async with viewing(host, session.id) as view:
            await view.say("remember this")
            await view.event("turn.ended")
            before = await view.subscribe()
            await host.delete(session.id)
            await view.event("session.deleted")
        with pytest.raises(SessionNotFound):
            await host.session(session.id)
        assert await found(host, "precious") == []
        for _ in range(2):  # twice is no error
            assert (await host.undelete(session.id)).title == "precious"
        assert await found(host, "remember") == [session.id]
        async with viewing(host, session.id) as view:
            assert (await view.subscribe())["d"] == before["d"]


async def test_a_session_deleted_twice_at_once_comes_back_whole(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        model_server.script(["Kept."])
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("keep this")
            await view.event("turn.ended")
        ends = await asyncio.gather(*(host.delete(session.id) for _ in range(3)), return_exceptions=True)
        assert [type(end) for end in ends] == [type(None), SessionNotFound, SessionNotFound]
        assert not host.exists(session.id)
        await host.undelete(session.id)
        messages, _ = await host.messages(session.id)
        assert len(messages) == 2


async def test_no_late_chore_makes_a_deleted_session_s_folder_anew(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(title="Gone")
        folder = tmp_path / "data" / "sessions" / session.id
        await host.delete(session.id)
        for late in (
            safekeeping.take(host, session.id, folder, 1),
            safekeeping.tidy(host, session.id, folder, 1),
        ):
            with pytest.raises(SessionNotFound):
                await late
        assert not folder.exists()
        assert (await host.undelete(session.id)).title == "Gone"


async def test_a_session_deleted_long_ago_does_not_come_back(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path, undo_delete_s=600.0) as host:
        session = await host.create()
        await host.delete(session.id)
        half = tmp_path / "data" / "sessions" / ".ses_0123456789abcdef0123"
        half.mkdir()
        assert await host.library.purge_trash() == 0
        assert half.exists()
        assert await host.library.purge_trash(now=session.created_at + 3_700_000) == 1
        assert not half.exists()
        with pytest.raises(SessionNotFound):
            await host.undelete(session.id)
        with pytest.raises(SessionNotFound):
            await host.undelete("../../etc")


async def test_without_an_undo_window_nothing_is_left(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path, undo_delete_s=0.0) as host:
        session = await host.create()
        await host.delete(session.id)
        with pytest.raises(SessionNotFound):
            await host.undelete(session.id)
        assert not list((tmp_path / "data").rglob(f"*{session.id}*"))


async def test_an_archived_and_a_damaged_session_can_be_deleted_and_brought_back(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path) as host:
        archived, damaged = await host.create(title="attic"), await host.create()
        await host.update(archived.id, {"archived_at": 1})
        (tmp_path / "data" / "sessions" / damaged.id / "session.db").write_bytes(b"no database")
        for session in (archived, damaged):
            await host.delete(session.id)
            assert not host.exists(session.id)
        assert (await host.undelete(archived.id)).archived_at == 1


async def test_what_was_said_is_found_by_its_words(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(Text("Bananas are berries.")), Reply(Text("Strawberries are not. 我喜欢数据。"))])
    async with hosting(model_server, tmp_path) as host:
        session, other = await host.create(title="Fruit"), await host.create(title="Nothing (50%)")
        async with viewing(host, session.id) as view:
            for text in ("Are bananas berries?", "And strawberries?"):
                turn = (await view.say(text))["turn"]
                await view.event("turn.ended", turn=turn)
        await until(lambda: host.awake(session.id) is None)
        for q in ("bananas", "BANANAS strawberries", "straw", "fruit", "fruit berr", "数据", 'bananas "berries'):
            assert await found(host, q) == [session.id], q
        assert await found(host, "50%") == [other.id]
        assert await found(host, "(50%)") == [other.id]
        assert await found(host, "%)") == [other.id]
        for q in ("grapes", "banan ", "fruit grapes", "%%%", '"', "*", "NEAR(", "a OR b", "' -- ", "col:x", "\0x", "_"):
            assert await found(host, q) == [], q


async def test_a_session_that_a_crash_left_half_made_is_nobodys(model_server: ModelServer, tmp_path: Path) -> None:
    sessions = tmp_path / "data" / "sessions"
    crash = """
        import os, sys
        from pathlib import Path
        from jupyter_agent.protocol.content import Session
        from jupyter_agent.store.making import making
        session = Session(id="ses_0123456789abcdef", title="Half", created_at=1, updated_at=1)
        with making(Path(sys.argv[1], session.id), session):
            os._exit(137)
    """
    died = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", dedent(crash), str(sessions)], check=False)
    assert died.returncode == 137
    assert len(list(sessions.iterdir())) == 1
    async with hosting(model_server, tmp_path) as host:
        assert (await host.list_sessions("all"))[0] == []
        assert not host.exists("ses_0123456789abcdef")
        await host.library.purge_trash()
        assert len(list(sessions.iterdir())) == 1, "it may be being made just now"
        await host.library.purge_trash(now_ms() + 7_200_000)
        assert list(sessions.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "q"),
    [
        ("Übung Nummer Eins", "übung"),
        ("Übung Nummer Eins", "UBUNG num"),
        ("naïve café", "Cafe"),
        ("naïve café", "nai\u0308ve"),
        ("nai\u0308ve cafe\u0301", "naïve"),
        ("ガス代の分析", "分析"),
        ("100% sure_thing", "100%"),
        ("C++ (draft)", "C++ ("),
        ('a "quoted* NEAR(word', '"quoted* NEAR('),
    ],
)
async def test_titles_and_words_are_found_however_they_are_written(
    model_server: ModelServer, tmp_path: Path, said: str, q: str
) -> None:
    model_server.script(["Fine."])
    async with hosting(model_server, tmp_path) as host:
        titled = await host.create(title=said)
        talked = await host.create(title="Talk")
        await host.create(title="Something else")
        async with viewing(host, talked.id) as view:
            await view.say(said)
            await view.event("turn.ended")
        assert set(await found(host, q)) == {titled.id, talked.id}


async def test_what_was_said_is_found_after_the_list_was_lost(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(Text("Quinoa."))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("what grows")
            await view.event("turn.ended")
    for file in (tmp_path / "data").glob("index.db*"):
        file.unlink()
    async with hosting(model_server, tmp_path) as host:
        assert await found(host, "quinoa grows") == [session.id]


async def test_whoever_watches_the_list_hears_of_every_change(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half", gate, "whole"))])
    async with hosting(model_server, tmp_path) as host:
        heard: list[Frame] = []
        stop = host.library.listing.watch(heard.append)
        session = await host.create(title="watched")
        async with viewing(host, session.id) as view:
            await view.say("go")
            await gate.until_reached()
            await view.reads("Half")
            gate.open()
            await view.event("turn.ended")
        await host.delete(session.id)
        assert {frame.data["type"] for frame in heard[:-1]} == {"session.changed"}
        shown = [frame.data["d"]["session"]["status"] for frame in heard[:-1]]
        assert [status for at, status in enumerate(shown) if shown[at - 1 : at] != [status]] == [
            "ready",
            "submitted",
            "streaming",
            "ready",
        ]
        assert heard[-1].data == {"v": 1, "type": "session.removed", "d": {"id": session.id}}
        stop()
        await host.create()
        assert heard[-1].data["type"] == "session.removed"


async def test_switching_to_plan_from_outside_denies_what_waits_to_write(
    model_server: ModelServer, tmp_path: Path
) -> None:
    cell = {"after": None, "cell_type": "code", "source": "1"}
    model_server.script([Reply(ToolUse("insert_cell", cell)), Reply(Text("Then not."))])
    (tmp_path / "a.ipynb").write_text('{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}', encoding="utf-8")
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(notebook_path="a.ipynb")
        async with viewing(host, session.id) as view:
            await view.say("insert")
            await view.event("turn.status", status="awaiting")
            await host.update(session.id, {"mode": "plan"}, by="me")
            await view.event("approval.resolved", decision="deny", by="me", road="rest")
            await view.event("turn.ended", outcome="completed")


async def test_an_sqlite_without_full_text_searches_by_likeness_and_the_list_moves_between_the_two(
    model_server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(_option: str) -> int:
        return 0

    def without_full_text(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        conn: sqlite3.Connection = really_connect(*args, **kwargs)
        conn.create_function("sqlite_compileoption_used", 1, no)
        return conn

    async def searched(host: SessionHost) -> None:
        assert await found(host, "pineappl") == [session.id]
        assert await found(host, "PINEAPPLE upside") == [session.id]
        assert await found(host, "100%") == [session.id]
        assert await found(host, "10_%") == []
        assert await found(host, "banana") == []

    model_server.script([Reply(Text("Turn the pineapple upside down. It is 100% safe."))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("how?")
            await view.event("turn.ended")
        await until(lambda: host.awake(session.id) is None)
        await searched(host)
    really_connect = sqlite3.connect
    with monkeypatch.context() as poor:
        poor.setattr(sqlite3, "connect", without_full_text)
        async with hosting(model_server, tmp_path) as host:
            await searched(host)
            async with viewing(host, session.id) as view:
                model_server.script([Reply(Text("With syrup."))])
                await view.say("and then?")
                await view.event("turn.ended")
            await until(lambda: host.awake(session.id) is None)
            assert await found(host, "syrup") == [session.id]
            await host.delete(session.id)
            assert await found(host, "syrup") == []
            await host.undelete(session.id)
            assert await found(host, "syrup") == [session.id]
    async with hosting(model_server, tmp_path) as host:
        await searched(host)
        assert await found(host, "syrup") == [session.id]
