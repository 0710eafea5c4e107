"""What becomes of a turn that the server's death cut off, row by row.

A death is a copy of the data directory at that instant: whatever was on disk,
locks and orderly ends aside, is what the next server finds.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.session.permissions import input_hash
from jupyter_agent.store.marks import mark, marked
from tests.model_server import Gate, HttpError, ModelServer, Reply, Text, Think, ToolUse
from tests.roads import write_notebook
from tests.session.test_host import hosting, until, viewing
from tests.stranger import Stranger

Json = dict[str, Any]
Death = Callable[[], None]
INSERT = {"after": "first", "cell_type": "code", "source": "y = 1"}


@asynccontextmanager
async def dying(
    server: ModelServer, folder: Path, said: str = "go", **settings: Any
) -> AsyncGenerator[tuple[Stranger, Death, str]]:
    """A session with a turn under way, and the instant of its server's death."""
    (folder / "alive").mkdir()
    write_notebook(folder / "alive", "a.ipynb")
    copies: list[Path] = []

    def die() -> None:
        shutil.copytree(folder / "alive", folder / "after")
        copies.append(folder / "after")

    async with hosting(server, folder / "alive", **settings) as host:
        session = await host.create(notebook_path="a.ipynb")
        async with viewing(host, session.id) as view:
            await view.say(said)
            yield view, die, session.id
    assert copies, "it never died"


@asynccontextmanager
async def reborn(server: ModelServer, folder: Path, session_id: str, **settings: Any) -> AsyncGenerator[Stranger]:
    """The next server, which takes up what it finds, and a view of it."""
    wishes: Json = {"recovery_backoff_s": 0.0} | settings
    async with hosting(server, folder / "after", **wishes) as host:
        await host.wake_unfinished()
        async with viewing(host, session_id) as view:
            yield view
            view.same_story_as(await view.subscribe())
    assert view.fault is None


def cells(folder: Path) -> list[str]:
    """The notebook's sources, as they are on disk."""
    return ["".join(cell["source"]) for cell in json.loads((folder / "after" / "a.ipynb").read_text())["cells"]]


async def ended(view: Stranger, **d: Any) -> Json:
    """The turn's end: heard, or in the snapshot already."""
    if view.view["turn"] is None:
        return view.view["last_outcome"]
    return (await view.event("turn.ended", **d))["d"]


def history(server: ModelServer) -> list[Json]:
    """The newest request's messages."""
    return server.requests[-1].body["messages"]


async def test_nothing_came_yet_so_the_step_is_asked_again(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(gate, Text("Lost.")), "Here."])
    async with dying(model_server, tmp_path) as (_view, die, session):
        await gate.until_reached()
        die()
        gate.open()
    async with reborn(model_server, tmp_path, session) as view:
        assert (await ended(view))["outcome"] == "completed"
        assert view.text == "Here."
        assert len(view.view["messages"]) == 2


async def test_cut_text_is_kept_and_gone_on_from_in_the_same_message(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(Think("Hm."), Text("Half ", gate, "lost")), "and whole."])
    async with dying(model_server, tmp_path) as (view, die, session):
        await view.reads("Half ")
        die()
        gate.open()
    async with reborn(model_server, tmp_path, session) as view:
        assert (await ended(view))["outcome"] == "completed"
        (answer,) = [m for m in view.view["messages"] if m["role"] == "assistant"]
        assert [part["text"] for part in answer["parts"] if part["type"] == "text"] == ["Half ", "and whole."]
        assert not any(part["superseded"] for part in answer["parts"])
    *_, half, go_on = history(model_server)
    assert half == {"role": "assistant", "content": [{"type": "text", "text": "Half "}]}
    assert "Continue exactly where it stopped" in json.dumps(go_on)
    assert model_server.refusals == []


async def test_a_copy_of_a_turn_that_was_cut_and_gone_on_with_has_all_that_was_said(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half ", gate, "lost")), Reply(Text("and whole."), ToolUse("insert_cell", INSERT))])
    async with dying(model_server, tmp_path) as (view, die, session):
        await view.reads("Half ")
        die()
        gate.open()
    async with hosting(model_server, tmp_path / "after", recovery_backoff_s=0.0) as host:
        async with viewing(host, session) as view:
            if not view.view["approvals"]:
                await view.event("approval.requested")
            copied = (await view.ask("session.fork"))["result"]["id"]
        model_server.script(["Good."])
        async with viewing(host, copied) as view:
            assert view.text == "Half and whole."
            assert [tool["reason"] for tool in view.tools] == ["never_ran"]
            await view.say("go on")
            await view.event("turn.ended", outcome="completed")
    said = [block.get("text") for message in history(model_server) for block in message["content"]]
    assert [text for text in said if text in ("Half ", "and whole.")] == ["Half ", "and whole."]
    assert model_server.refusals == []


async def test_thoughts_alone_are_thought_again(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(Think("Let me ", gate, "see")), "Seen."])
    async with dying(model_server, tmp_path) as (view, die, session):
        await view.event("part.delta")
        die()
        gate.open()
    async with reborn(model_server, tmp_path, session) as view:
        assert (await ended(view))["outcome"] == "completed"
        thought, text = view.view["messages"][-1]["parts"]
        assert (thought["superseded"], text["text"]) == (True, "Seen.")
    assert len(history(model_server)) == 1


async def test_a_complete_call_in_an_incomplete_answer_never_runs(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Now: "), ToolUse("insert_cell", INSERT), Text(gate, "lost")), "Done."])
    async with dying(model_server, tmp_path) as (view, die, session):
        await view.event("tool.state", state="input-available")
        die()
        gate.open()
    async with reborn(model_server, tmp_path, session) as view:
        assert (await ended(view))["outcome"] == "completed"
        parts = view.view["messages"][-1]["parts"]
        call = next(part for part in parts if part["type"] == "tool")
        assert (call["state"], call["reason"], call["superseded"]) == ("output-error", "never_ran", True)
        assert view.view["approvals"] == []
    assert cells(tmp_path) == ["# Numbers", "x = 20 + 1"]
    assert len(history(model_server)) == 1


async def test_a_call_that_had_been_allowed_but_not_begun_runs_once(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(ToolUse("insert_cell", INSERT)), Reply(Text("Done."))])
    async with dying(model_server, tmp_path) as (view, die, session):
        asked = (await view.event("approval.requested"))["d"]["approval"]
        await view.event("turn.status", status="awaiting")
        die()
    database = tmp_path / "after" / "data" / "sessions" / session / "session.db"
    with sqlite3.connect(database) as db:
        # What the answer's transaction leaves, without what comes after it.
        db.execute("UPDATE tool_calls SET state='approved'")
        db.execute(
            "UPDATE approvals SET state='resolved', decision='allow', scope='once', decided_by='me', input_hash=?"
            " WHERE id=?",
            (input_hash(INSERT), asked["id"]),
        )
        db.execute("UPDATE turns SET status='running' WHERE status='awaiting'")
        db.execute("UPDATE parts SET data=json_set(data, '$.state', 'approval-responded') WHERE type='tool'")
    db.close()
    async with reborn(model_server, tmp_path, session) as view:
        assert (await ended(view))["outcome"] == "completed"
    assert cells(tmp_path) == ["# Numbers", "x = 20 + 1", "y = 1"]


async def begun(server: ModelServer, folder: Path, tool: ToolUse, effect: str) -> str:
    """A session whose server died while a call ran."""
    gate = Gate()
    server.script([Reply(tool), Reply(gate, Text("Lost."))])
    async with dying(server, folder) as (_view, die, session):
        await gate.until_reached()
        die()
        gate.open()
    database = folder / "after" / "data" / "sessions" / session / "session.db"
    with sqlite3.connect(database) as db:
        # As it was between the call's intent and its result.
        db.execute("UPDATE tool_calls SET state='executing', result=NULL, effect=?", (effect,))
        db.execute("DELETE FROM api_blocks WHERE ord=1")
        db.execute("DELETE FROM steps WHERE step=2")
        row = db.execute("SELECT id, data FROM parts WHERE type='tool'").fetchone()
        part = json.loads(row[1]) | {"state": "input-available", "running": True, "output": None, "ended_at": None}
        db.execute("UPDATE parts SET data=?, state='input-available' WHERE id=?", (json.dumps(part), row[0]))
        db.execute("UPDATE turns SET step=1")
    db.close()
    return session


async def test_a_reading_call_that_had_begun_runs_again(model_server: ModelServer, tmp_path: Path) -> None:
    session = await begun(model_server, tmp_path, ToolUse("read_notebook", {}), "read")
    model_server.script(["Read."])
    async with reborn(model_server, tmp_path, session) as view:
        assert (await ended(view))["outcome"] == "completed"
        call = view.view["messages"][-1]["parts"][0]
        assert (call["state"], call["running"]) == ("output-available", False)
    assert model_server.refusals == []


@pytest.mark.parametrize("effect", ["write", "execute"])
async def test_a_changing_call_that_had_begun_is_told_to_have_an_unknown_outcome_and_never_reruns(
    model_server: ModelServer, tmp_path: Path, effect: str
) -> None:
    session = await begun(model_server, tmp_path, ToolUse("create_task", {"title": "One"}), effect)
    model_server.script(["I shall look first."])
    async with reborn(model_server, tmp_path, session) as view:
        assert (await ended(view))["outcome"] == "completed"
        call = view.view["messages"][-1]["parts"][0]
        assert (call["state"], call["reason"], call["running"]) == ("output-error", "interrupted", False)
        assert "may or may not have completed" in call["error"]
        assert ("kernel" in call["error"]) == (effect == "execute")
        assert len(view.view["tasks"]) == 1
    (result,) = history(model_server)[-1]["content"]
    assert result["is_error"] is True
    assert "may or may not have completed" in json.dumps(result)


async def test_a_stop_that_was_under_way_is_finished(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half ", gate, "lost")), "Next."])
    async with dying(model_server, tmp_path) as (view, die, session):
        await view.reads("Half ")
        die()
        gate.open()
    database = tmp_path / "after" / "data" / "sessions" / session / "session.db"
    with sqlite3.connect(database) as db:
        db.execute("UPDATE turns SET status='stopping'")
    db.close()
    async with reborn(model_server, tmp_path, session) as view:
        assert view.view["last_outcome"]["outcome"] == "stopped"
        assert view.text == "Half "
        await view.say("next")
        await view.event("turn.ended", outcome="completed")
    assert "Half" in json.dumps(history(model_server))
    assert model_server.refusals == []


@pytest.mark.parametrize("settings", [{"recovery": "ask"}, {"recovery": "never"}, {"recovery_window_s": 0.0}])
async def test_where_it_may_not_go_on_by_itself_everything_stays_and_the_user_continues(
    model_server: ModelServer, tmp_path: Path, settings: Json
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half ", gate, "lost")), "and whole."])
    async with dying(model_server, tmp_path) as (view, die, session):
        await view.reads("Half ")
        await view.ask("message.send", id="msg_waits", parts=[{"type": "text", "text": "then this"}])
        die()
        gate.open()
    async with reborn(model_server, tmp_path, session, **settings) as view:
        outcome = view.view["last_outcome"]
        assert outcome["outcome"] == "interrupted"
        assert outcome["error"]["retryable"] == (settings.get("recovery") != "never")
        assert view.text == "Half "
        assert view.view["paused"]
        assert [item["message_id"] for item in view.view["queue"]] == ["msg_waits"]
        heard = len(view.events)
        ack = await view.ask("turn.continue", after=outcome["turn"])
        assert ack["status"] == "accepted"
        await view.event("turn.ended", after=heard, outcome="completed")
        assert view.text == "and whole."
        assert [item["message_id"] for item in view.view["queue"]] == ["msg_waits"]
    assert [message["role"] for message in history(model_server)] == ["user", "assistant", "user"]
    assert model_server.refusals == []


@pytest.mark.parametrize("settings", [{"recovery": "never"}, {"recovery_window_s": 0.0}, {"max_interruptions": 0}])
async def test_an_answer_that_was_complete_is_so_whatever_the_settings_say(
    model_server: ModelServer, tmp_path: Path, settings: Json
) -> None:
    model_server.script(["All of it.", "And more."])
    async with dying(model_server, tmp_path) as (view, die, session):

        def die_between() -> None:
            # The answer is on disk, and the end of its turn is not.
            if view.events[-1]["type"] == "step.ended":
                view.heard = lambda: None
                die()

        view.heard = die_between
        await view.event("turn.ended")
    async with reborn(model_server, tmp_path, session, **settings) as view:
        assert (await ended(view))["outcome"] == "completed"
        assert view.text == "All of it."
    assert len(model_server.requests) == 1


async def test_only_the_last_turn_can_be_continued_and_not_once_it_is_complete(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([HttpError(403), "Fine."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("go")
            failed = (await view.event("turn.ended", outcome="failed"))["d"]
            ack = await view.ask("turn.continue", after="trn_other")
            assert ack["error"]["code"] == "stale"
            cmd_id = str(uuid.uuid4())
            first = await view.ask("turn.continue", cmd_id=cmd_id, after=failed["turn"])
            assert first["status"] == "accepted"
            await view.event("turn.ended", outcome="completed")
            heard = len(view.events)
            again = await view.acked(view.send("turn.continue", cmd_id=cmd_id, after=failed["turn"]), after=heard)
            assert (again["status"], again["result"]) == ("duplicate", first["result"])
            ack = await view.ask("turn.continue", after=first["result"]["turn"])
            assert ack["error"]["code"] == "nothing_to_continue"


async def cut_before_the_first_byte(server: ModelServer, folder: Path) -> str:
    """A session whose server died while it waited for the model."""
    gate = Gate()
    server.script([Reply(gate, Text("Lost."))])
    async with dying(server, folder) as (_view, die, session):
        await gate.until_reached()
        die()
        gate.open()
    return session


def as_of_now(folder: Path) -> Path:
    """Copy what the server that lives now would leave if it died now."""
    shutil.copytree(folder / "after", folder / "next")
    return folder / "next"


def in_its_place(folder: Path) -> None:
    """That server did die: the next one finds the copy."""
    shutil.rmtree(folder / "after")
    (folder / "next").rename(folder / "after")


@asynccontextmanager
async def database(folder: Path, session: str) -> AsyncGenerator[sqlite3.Connection]:
    """The session's rows, while nobody has it open."""
    db = sqlite3.connect(folder / "after" / "data" / "sessions" / session / "session.db")
    with db:
        yield db
    db.close()


async def test_a_server_that_dies_each_time_gives_up_in_the_end(model_server: ModelServer, tmp_path: Path) -> None:
    session = await cut_before_the_first_byte(model_server, tmp_path)
    for _ in range(2):
        async with reborn(model_server, tmp_path, session, max_interruptions=2, recovery_backoff_s=60.0) as view:
            assert view.view["turn"]["status"] == "recovering"
            as_of_now(tmp_path)
        in_its_place(tmp_path)
    async with reborn(model_server, tmp_path, session, max_interruptions=2) as view:
        outcome = view.view["last_outcome"]
        assert (outcome["outcome"], outcome["error"]["code"]) == ("failed", "recovery_exhausted")
        assert "died 3 times" in outcome["error"]["message"]
        model_server.script(["Still here."])
        await view.say("and now?")
        await view.event("turn.ended", outcome="completed")


async def test_a_server_that_ends_in_an_orderly_way_has_not_died(model_server: ModelServer, tmp_path: Path) -> None:
    session = await cut_before_the_first_byte(model_server, tmp_path)
    for _ in range(4):
        async with reborn(model_server, tmp_path, session, max_interruptions=1, recovery_backoff_s=60.0) as view:
            assert view.view["turn"]["status"] == "recovering"
    async with reborn(model_server, tmp_path, session, max_interruptions=1, recovery_backoff_s=60.0) as view:
        as_of_now(tmp_path)
    in_its_place(tmp_path)  # and once it does die: that note is no longer good
    async with reborn(model_server, tmp_path, session, max_interruptions=1) as view:
        outcome = view.view["last_outcome"]
        assert (outcome["outcome"], outcome["error"]["code"]) == ("failed", "recovery_exhausted")


async def test_a_reply_that_is_taken_up_again_and_again_and_comes_no_further_ends(
    model_server: ModelServer, tmp_path: Path
) -> None:
    session = await cut_before_the_first_byte(model_server, tmp_path)
    for _ in range(3):
        async with reborn(model_server, tmp_path, session, max_recoveries=3, recovery_backoff_s=60.0) as view:
            assert view.view["turn"]["status"] == "recovering"
    async with reborn(model_server, tmp_path, session, max_recoveries=3) as view:
        outcome = view.view["last_outcome"]
        assert (outcome["outcome"], outcome["error"]["code"]) == ("failed", "recovery_exhausted")
        assert "came no further" in outcome["error"]["message"]


async def earlier(folder: Path, session: str, ms: int) -> None:
    """Let all that the session knows have happened so much earlier, but for when the user was there."""
    async with database(folder, session) as db:
        for table, column in (
            ("events", "ts"), ("segments", "ts"), ("turns", "started_at"), ("tool_calls", "started_at"),
            ("tool_calls", "ended_at"),
        ):  # fmt: skip
            db.execute(f"UPDATE {table} SET {column} = {column} - ?", (ms,))


@pytest.mark.parametrize("came", ["nothing", "result"])
async def test_a_recovery_that_comes_no_further_for_long_ends_whatever_was_found(
    model_server: ModelServer, tmp_path: Path, came: str
) -> None:
    if came == "nothing":
        session = await cut_before_the_first_byte(model_server, tmp_path)
    else:
        session = await begun(model_server, tmp_path, ToolUse("create_task", {"title": "One"}), "write")
    # The server was away for long, which fails nothing; then it came back and did not come further.
    await earlier(tmp_path, session, 600_000)
    async with reborn(model_server, tmp_path, session, recovery_backoff_s=60.0) as view:
        assert view.view["turn"]["status"] == "recovering"
    await earlier(tmp_path, session, 301_000)
    async with reborn(model_server, tmp_path, session) as view:
        outcome = view.view["last_outcome"]
        assert (outcome["outcome"], outcome["error"]["code"]) == ("failed", "recovery_exhausted")
        assert "5 minutes" in outcome["error"]["message"]


async def test_a_recovery_that_came_further_has_its_time_anew(model_server: ModelServer, tmp_path: Path) -> None:
    session = await cut_before_the_first_byte(model_server, tmp_path)
    async with reborn(model_server, tmp_path, session, recovery_backoff_s=60.0):
        pass
    await earlier(tmp_path, session, 301_000)
    gate = Gate()
    model_server.script([Reply(Text("Half ", gate, "lost")), "and whole."])
    async with reborn(model_server, tmp_path, session, recovery_stall_s=900.0) as view:
        await view.reads("Half ")
        as_of_now(tmp_path)
        gate.open()
        await view.event("turn.ended")
    in_its_place(tmp_path)
    model_server.script(["and whole."])
    async with reborn(model_server, tmp_path, session) as view:
        assert (await ended(view))["outcome"] == "completed"


async def test_text_that_broke_off_long_ago_is_not_gone_on_with_unasked(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half ", gate, "lost"))])
    async with dying(model_server, tmp_path) as (view, die, session):
        await view.reads("Half ")
        die()
        gate.open()
    await earlier(tmp_path, session, 301_000)
    async with reborn(model_server, tmp_path, session) as view:
        assert view.view["last_outcome"]["outcome"] == "interrupted"
        assert view.text == "Half "


async def test_who_looks_on_without_a_word_is_there_all_the_same(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(gate, Text("Lost.")), "Here."])
    async with dying(model_server, tmp_path, recovery_window_s=0.5) as (_view, die, session):
        await gate.until_reached()
        with sqlite3.connect(tmp_path / "alive" / "data" / "sessions" / session / "session.db") as db:
            said_at = db.execute("SELECT max(created_at) FROM commands").fetchone()[0]
            seen_at = "SELECT max(value) FROM meta WHERE key='seen_at'"
            await until(lambda: int(db.execute(seen_at).fetchone()[0] or 0) > said_at)
        db.close()
        die()
        gate.open()
    async with database(tmp_path, session) as db:
        db.execute("UPDATE commands SET created_at = created_at - 3600000")
    async with reborn(model_server, tmp_path, session) as view:
        assert (await ended(view))["outcome"] == "completed"


async def test_a_question_that_waits_has_no_budget(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(ToolUse("insert_cell", INSERT)), "Done."])
    async with dying(model_server, tmp_path) as (view, die, session):
        await view.event("turn.status", status="awaiting")
        die()
    for _ in range(3):
        await earlier(tmp_path, session, 86_400_000)
        async with reborn(model_server, tmp_path, session, max_interruptions=0, max_recoveries=0) as view:
            assert view.view["turn"]["status"] == "awaiting"
            as_of_now(tmp_path)
        in_its_place(tmp_path)
    async with reborn(model_server, tmp_path, session, max_interruptions=0, max_recoveries=0) as view:
        (asked,) = view.view["approvals"]
        await view.ask("approval.answer", id=asked["id"], rev=asked["rev"], decision="allow", scope="once")
        assert (await ended(view))["outcome"] == "completed"


async def test_a_recovering_turn_can_be_stopped_while_it_catches_its_breath(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half ", gate, "lost"))])
    async with dying(model_server, tmp_path) as (view, die, session):
        await view.reads("Half ")
        die()
        gate.open()
    async with reborn(model_server, tmp_path, session, recovery_backoff_s=60.0) as view:
        turn = view.view["turn"]
        assert turn["status"] == "recovering"
        await view.ask("turn.stop", turn=turn["id"])
        await view.event("turn.ended", outcome="stopped")


async def test_only_unfinished_sessions_are_woken_when_the_server_starts(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate = Gate()
    model_server.script([Reply(gate, Text("Lost."))])
    async with dying(model_server, tmp_path, idle_s=60.0) as (_view, die, session):
        await gate.until_reached()
        assert marked(tmp_path / "alive" / "data") == [session]
        die()
        gate.open()
    model_server.script(["Quiet.", "Whole."])
    async with hosting(model_server, tmp_path / "after", recovery_backoff_s=0.0) as host:
        quiet = await host.create()
        async with viewing(host, quiet.id) as view:
            await view.say("hello")
            await view.event("turn.ended")
    assert marked(tmp_path / "after" / "data") == [session]
    async with reborn(model_server, tmp_path, session) as view:
        assert (await ended(view))["outcome"] == "completed"
    assert marked(tmp_path / "after" / "data") == []


async def test_a_mark_that_cannot_be_looked_at_keeps_no_other_from_being_found(tmp_path: Path) -> None:
    marks = tmp_path / "wake"
    marks.mkdir()
    (marks / "gone_meanwhile").symlink_to(tmp_path / "nowhere")
    (marks / "ses_0123456789abcdef").touch()
    (marks / "a folder").mkdir()
    assert set(marked(tmp_path)) == {"ses_0123456789abcdef", "a folder"}


async def test_marks_that_name_nothing_are_taken_away(model_server: ModelServer, tmp_path: Path) -> None:
    marks = tmp_path / "data" / "wake"
    marks.mkdir(parents=True)
    for name in ("junk", "..x", "ses_0123456789abcdef", "ses_UPPER", "\u202e"):
        (marks / name).touch()
    async with hosting(model_server, tmp_path) as host:
        await host.wake_unfinished()
    assert list(marks.iterdir()) == []


async def test_a_session_that_was_brought_back_in_the_middle_of_a_turn_is_marked_again(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate = Gate()
    model_server.script([Reply(gate, Text("Lost.")), Reply(gate, Text("Lost again."))])
    async with hosting(model_server, tmp_path, recovery_backoff_s=60.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("go")
            await gate.until_reached()
        await host.delete(session.id)
        (tmp_path / "data" / "wake" / session.id).unlink(missing_ok=True)  # as a start in between does
        await host.undelete(session.id)
        assert marked(tmp_path / "data") == [session.id]
        gate.open()


async def test_a_turn_goes_on_after_the_servers_death_with_nobody_looking(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half ", gate, "lost")), "and whole."])
    async with dying(model_server, tmp_path) as (view, die, session):
        await view.reads("Half ")
        die()
        gate.open()
    async with hosting(model_server, tmp_path / "after", recovery_backoff_s=0.0) as host:
        await host.wake_unfinished()
        await until(lambda: not marked(tmp_path / "after" / "data"))  # nobody is told: that is the point
        messages, _ = await host.messages(session)
        assert messages[-1].status == "complete"


async def test_a_history_that_is_refused_is_sent_plainer_until_it_is_taken(
    model_server: ModelServer, tmp_path: Path
) -> None:
    refused = HttpError(400, message="messages.1: this history is not to my liking")
    model_server.script([Reply(Think("Hm."), ToolUse("read_notebook", {})), refused, refused, "Better."])
    write_notebook(tmp_path, "a.ipynb")
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(notebook_path="a.ipynb")
        async with viewing(host, session.id) as view:
            await view.say("go")
            await view.event("turn.ended", outcome="completed")
            assert view.text == "Better."
    second, third, fourth = (json.dumps(request.body["messages"]) for request in model_server.requests[1:])
    assert '"thinking"' in second
    assert '"thinking"' not in third
    assert "tool_use" in third
    assert '"thinking"' not in fourth


async def test_no_more_sessions_wake_at_once_than_the_settings_say(model_server: ModelServer, tmp_path: Path) -> None:
    count, at_once = 7, 2
    async with hosting(model_server, tmp_path) as host:
        ids = [(await host.create()).id for _ in range(count)]
    for session_id in ids:
        mark(tmp_path / "data" / "sessions" / session_id)
    async with hosting(model_server, tmp_path, wake_at_once=at_once, idle_s=60.0) as host:
        waking, most = asyncio.create_task(host.wake_unfinished()), 0
        while not waking.done():
            # Those that have a room and are not awake yet: looked at each time the loop comes round.
            most = max(most, host.rooms - sum(host.awake(session_id) is not None for session_id in ids))
            await asyncio.sleep(0)
        await waking
        assert most == at_once
        assert [session_id for session_id in ids if host.awake(session_id) is None] == []
