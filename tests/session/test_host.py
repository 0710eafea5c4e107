"""Waking, sleeping and writing down: what a session's host promises whoever embeds it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.agent.claude import ClaudeModel
from jupyter_agent.errors import SessionNotFound, StoreError
from jupyter_agent.protocol.frames import Frame
from jupyter_agent.session.clock import Clock
from jupyter_agent.session.connection import Connection
from jupyter_agent.session.host import SessionHost
from jupyter_agent.settings import Settings
from jupyter_agent.tools.toolbox import Toolbox
from tests.fakes import DiskWorkspace
from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.stranger import Stranger


@asynccontextmanager
async def hosting(
    model_server: ModelServer, folder: Path, *, clock: Clock | None = None, **settings: Any
) -> AsyncGenerator[SessionHost, None]:
    """A host over one folder; leaving it is the server's orderly end."""
    chosen = Settings(
        data_dir=folder / "data",
        base_url=model_server.url,
        api_key=model_server.key,
        idle_s=0.05,
        auto_title=False,
    )
    chosen = replace(chosen, **settings)
    model, workspace = ClaudeModel(chosen), DiskWorkspace(folder, chosen)
    host = SessionHost(chosen, workspace=workspace, model=model, toolbox=Toolbox(chosen), clock=clock)
    try:
        yield host
    finally:
        await host.close()
        await model.close()
        await workspace.close()


@asynccontextmanager
async def viewing(host: SessionHost, session_id: str) -> AsyncGenerator[Stranger, None]:
    """A view that follows the session."""
    stranger = Stranger(lambda command: connection.receive(command))
    connection = host.connect(session_id, lambda frame: stranger.hear(frame.data), user="me", road="panel")
    await stranger.open()
    yield stranger
    connection.close()


async def until(condition: Callable[[], bool], within: float = 30.0) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 -- eviction is by design invisible from outside
            await asyncio.sleep(0.01)


async def test_many_first_callers_wake_a_session_once(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        actors = await asyncio.gather(*(host.get(session.id) for _ in range(50)))
        assert len({id(actor) for actor in actors}) == 1


async def test_an_unknown_session_is_not_found_and_touches_no_file(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        for strange in ("ses_0000000000000000", "../../etc", "ses_..%2f", ""):
            with pytest.raises(SessionNotFound):
                await host.get(strange)
        assert not (tmp_path / "data" / "sessions").exists()


async def test_an_idle_session_sleeps_under_its_open_views(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(Text("One.")), Reply(Text("Two."))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("first")
            await view.event("turn.ended")
            folder = tmp_path / "data" / "sessions" / session.id
            await until(lambda: not (folder / "session.db-wal").exists())
            await view.say("second")
            await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 2)
            assert view.text == "Two."
            view.same_story_as(await view.subscribe())


async def test_a_session_that_awaits_its_user_sleeps_and_goes_on_with_the_answer(
    model_server: ModelServer, tmp_path: Path
) -> None:
    plan = ToolUse("exit_plan", {"plan": "Do it."})
    model_server.script([Reply(plan), Reply(Text("Done."))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await view.say("plan")
            asked = (await view.event("approval.requested"))["d"]["approval"]
            folder = tmp_path / "data" / "sessions" / session.id
            await until(lambda: not (folder / "session.db-wal").exists())
            view.same_story_as(await view.subscribe())
            await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow", scope="once")
            await view.event("turn.ended", outcome="completed")
            assert view.view["session"]["mode"] == "build"


async def test_an_approval_survives_the_servers_end_and_is_answered_after_it(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."})), Reply(Text("Done."))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await view.say("plan")
            asked = (await view.event("approval.requested"))["d"]["approval"]
            await view.event("turn.status", status="awaiting")
    async with hosting(model_server, tmp_path) as host, viewing(host, session.id) as view:
        assert view.view["approvals"] == [asked]
        await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow", scope="once")
        await view.event("turn.ended", outcome="completed")
        assert view.text == "Done."


async def test_a_turn_that_the_servers_end_cut_is_settled_at_the_next_start(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half", gate)), Reply(Text("Whole."))])
    async with hosting(model_server, tmp_path, recovery="never") as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("go")
            await gate.until_reached()
            await view.reads("Half")
    gate.open()
    async with hosting(model_server, tmp_path, recovery="never") as host, viewing(host, session.id) as view:
        assert view.view["turn"] is None
        assert view.view["last_outcome"]["outcome"] == "interrupted"
        assert view.text == "Half"
        await view.say("again")
        await view.event("turn.ended", outcome="completed")
        assert view.text == "Whole."


async def test_two_sessions_do_not_wait_for_each_other(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(Text("slow", gate))], match="slow one")
    model_server.script([Reply(Text("Quick."))], match="quick one")
    async with hosting(model_server, tmp_path) as host:
        slow, quick = await host.create(), await host.create()
        async with viewing(host, slow.id) as first, viewing(host, quick.id) as second:
            await first.say("slow one")
            await gate.until_reached()
            await second.say("quick one")
            await second.event("turn.ended", outcome="completed")
            gate.open()
            await first.event("turn.ended", outcome="completed")


async def test_a_failing_socket_keeps_no_event_from_the_others(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(Text("Heard."))])

    def broken(_frame: Frame) -> None:
        raise ConnectionError("gone")

    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        bad = host.connect(session.id, broken, user="me", road="panel")
        bad.receive({"v": 1, "cmd_id": "c", "type": "subscribe", "d": {}})
        async with viewing(host, session.id) as view:
            await view.say("hello")
            await view.event("turn.ended", outcome="completed")


async def test_nothing_is_shown_that_could_not_be_stored(
    model_server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            actor = await host.get(session.id)
            # What a full disk does to SQLite, without filling one.
            actor.journal._store.db.conn.execute("PRAGMA query_only=ON")  # pyright: ignore[reportPrivateUsage] -- the fault is injected at the database itself
            ack = await view.ask("message.send", id="m1", parts=[{"type": "text", "text": "hello"}])
            assert ack["status"] == "rejected"
            assert ack["error"]["code"] == "store_unwritable"
            await view.event("resync")
            assert view.of("message.added") == []
            snapshot = await view.subscribe()
            assert snapshot["d"]["messages"] == []


async def test_a_second_server_may_not_own_the_same_session(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path, idle_s=60.0) as first:
        session = await first.create()
        await first.get(session.id)
        async with hosting(model_server, tmp_path) as second:
            with pytest.raises(StoreError) as refused:
                await second.get(session.id)
            assert refused.value.code == "open_elsewhere"


async def test_a_deposed_owner_writes_nothing_more(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            path = tmp_path / "data" / "sessions" / session.id / "session.db"
            with sqlite3.connect(path) as other:
                other.execute("UPDATE meta SET value = value + 1 WHERE key = 'gen'")
            other.close()
            ack = await view.ask("message.send", id="m1", parts=[{"type": "text", "text": "hello"}])
            assert ack["error"]["code"] == "open_elsewhere"


async def test_a_server_that_ends_in_a_turn_it_cannot_store_ends_quietly(
    model_server: ModelServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half ", gate, "lost"))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("go")
            await view.reads("Half ")
        path = tmp_path / "data" / "sessions" / session.id / "session.db"
        with sqlite3.connect(path) as other:
            other.execute("UPDATE meta SET value = value + 1 WHERE key = 'gen'")
        other.close()
    gate.open()
    assert [record.message for record in caplog.records if record.exc_info] == []


async def test_who_asked_for_older_messages_is_told_when_the_session_breaks(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            actor = host.awake(session.id)
            path = tmp_path / "data" / "sessions" / session.id / "session.db"
            with sqlite3.connect(path) as other:
                other.execute("UPDATE meta SET value = value + 1 WHERE key = 'gen'")
            other.close()
            view.send("session.set", title="Another")
            asked: list[str] = []
            while host.awake(session.id) is actor:
                asked.append(view.send("history", before=None, limit=5))
                await asyncio.sleep(0)
            for cmd_id in asked:
                await view.acked(cmd_id)


async def test_who_comes_first_to_a_sleeping_session_is_heard_first(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script(["One.", "Two.", "Three."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await until(lambda: host.awake(session.id) is None)
            for n in range(2):
                view.send("message.send", id=f"msg_{n}", parts=[{"type": "text", "text": str(n)}])
            while host.awake(session.id) is None:  # noqa: ASYNC110 -- the very moment counts
                await asyncio.sleep(0)
            view.send("message.send", id="msg_2", parts=[{"type": "text", "text": "2"}])
            await view.event(lambda _: len(view.ended) == 3)
            asked = [message["id"] for message in view.view["messages"] if message["role"] == "user"]
            assert asked == ["msg_0", "msg_1", "msg_2"]


async def test_the_list_is_made_anew_from_the_sessions_themselves(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        made = [await host.create(title=f"Session {n}") for n in range(3)]
    for file in (tmp_path / "data").glob("index.db*"):
        file.unlink()
    async with hosting(model_server, tmp_path) as host:
        listed, more = await host.list_sessions()
        assert {session.id for session in listed} == {session.id for session in made}
        assert more is False


async def test_a_notebook_has_one_session_however_many_ask_first(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        found = await asyncio.gather(*(host.for_notebook("a.ipynb") for _ in range(10)))
        assert len({session.id for session in found}) == 1


async def test_an_attachment_of_a_connection_is_small(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        connection: Connection = host.connect(session.id, lambda _frame: None, user="me", road="panel")
        connection.attachment = {"cursor": 3}
        for too_large in ("x" * 16_384, "é" * 3_000, "\U0001f600" * 1_500):
            with pytest.raises(ValueError, match="16384"):
                connection.attachment = {"blob": too_large}
        assert connection.attachment["cursor"] == 3
        connection.close()


async def test_tasks_keep_their_order_over_a_restart_though_the_clock_went_back(
    model_server: ModelServer, tmp_path: Path
) -> None:
    titles = [f"{n}" for n in range(5)]
    async with hosting(model_server, tmp_path) as host:
        session_id = (await host.create()).id
        async with viewing(host, session_id) as view:
            made = [(await view.ask("task.create", title=title))["result"] for title in titles]
            await view.ask("task.update", id=made[0]["id"], rev=made[0]["rev"], status="done")
            assert [task["title"] for task in view.view["tasks"]] == titles
    with sqlite3.connect(tmp_path / "data" / "sessions" / session_id / "session.db") as db:
        db.execute("UPDATE tasks SET created_at = 1000 - CAST(title AS INTEGER)")
    db.close()
    async with hosting(model_server, tmp_path) as host, viewing(host, session_id) as newcomer:
        assert [task["title"] for task in newcomer.view["tasks"]] == titles
        assert newcomer.view["tasks"][0]["status"] == "done"
