"""A command refused for what passes is not on record: sent again with the same ``cmd_id`` it takes effect, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.errors import PASSING, AgentError
from jupyter_agent.session.inbox import rejected
from tests.model_server import ModelServer, Reply, ToolUse
from tests.roads import write_notebook
from tests.session.test_host import hosting, viewing
from tests.stranger import Stranger

Json = dict[str, Any]
pytestmark = pytest.mark.timeout(60)


async def sent(view: Stranger, command: Json) -> Json:
    """Send a command as it is, and return the next answer to it."""
    heard = len(view.events)
    view.send_raw(command)

    def answer() -> list[Json]:
        return [e["d"] for e in view.events[heard:] if e["type"] == "ack" and e["d"]["cmd_id"] == command["cmd_id"]]

    await view.event(lambda _: bool(answer()))
    return answer()[0]


def message(text: str) -> Json:
    said = {"id": "msg_one", "parts": [{"type": "text", "text": text}], "when_busy": "queue"}
    return {"v": 1, "cmd_id": "cmd-one", "type": "message.send", "d": said}


def test_every_ack_says_of_its_code_whether_it_passes() -> None:
    for code in (*PASSING, "busy", "queue_full", "stale", "store_damaged", "internal"):
        error = rejected("cmd", AgentError("No.", code=code)).error
        assert error is not None
        assert error.retryable == (code in PASSING)


async def test_a_message_that_a_full_disk_refused_is_taken_once_there_is_room(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script(["Now it fits."])
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            command = message("x" * 200_000)
            actor = await host.get(session.id)
            connection = actor.journal._store.db.conn  # pyright: ignore[reportPrivateUsage] -- the disk is at the database's end
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages + 4}")
            refused = await sent(view, command)
            assert (refused["status"], refused["error"]["code"]) == ("rejected", "store_unwritable")
            assert refused["error"]["retryable"]
            await view.event("resync")
            await view.subscribe()
            assert (await sent(view, command))["status"] == "accepted"
            await view.event("turn.ended", outcome="completed")
            assert (await sent(view, command))["original"] == "accepted"
            assert [m["role"] for m in view.view["messages"]] == ["user", "assistant"]


async def test_an_answer_whose_rule_could_not_be_kept_is_taken_when_it_can(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(ToolUse("insert_cell", {"source": "y = 1", "after": "first"})), "Done."])
    write_notebook(tmp_path, "numbers.ipynb")
    in_the_way = tmp_path / "data" / "rules.db"
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create(notebook_path="numbers.ipynb")
        async with viewing(host, session.id) as view:
            await view.say("go")
            asked = (await view.event("approval.requested"))["d"]["approval"]
            answer = {"id": asked["id"], "rev": asked["rev"], "decision": "allow", "scope": "always"}
            command: Json = {"v": 1, "cmd_id": "cmd-answer", "type": "approval.answer", "d": answer}
            in_the_way.unlink(missing_ok=True)
            in_the_way.mkdir()
            refused = await sent(view, command)
            assert (refused["status"], refused["error"]["code"]) == ("rejected", "store_unwritable")
            assert refused["error"]["retryable"]
            in_the_way.rmdir()
            assert (await sent(view, command))["status"] == "accepted"
            await view.event("turn.ended", outcome="completed")
            assert len(await host.rules.list()) == 1


async def test_a_session_that_another_server_has_takes_the_message_when_it_is_let_go(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script(["Hello."])
    async with hosting(model_server, tmp_path) as second:
        async with hosting(model_server, tmp_path, idle_s=60.0) as first:
            session = await first.create()
            await first.get(session.id)
            view = Stranger(lambda command: connection.receive(command))
            connection = second.connect(session.id, lambda frame: view.hear(frame.data), user="me", road="panel")
            await view.open()
            refused = await sent(view, message("hello"))
            assert (refused["error"]["code"], refused["error"]["retryable"]) == ("open_elsewhere", True)
        assert (await sent(view, message("hello")))["status"] == "accepted"
        await view.event("turn.ended", outcome="completed")
        connection.close()


async def test_what_is_refused_for_good_stays_refused(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            refused = await sent(view, message("  "))
            assert (refused["error"]["code"], refused["error"]["retryable"]) == ("empty", False)
            again = await sent(view, message("now it has words"))
            assert (again["status"], again["original"], again["error"]) == ("duplicate", "rejected", refused["error"])
