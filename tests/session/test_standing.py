"""What is allowed for good, and what nobody answers: kept by the server, whoever looks."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from jupyter_agent.errors import CommandRejected, StoreError
from jupyter_agent.notebook.ports import base_hash
from jupyter_agent.store.opening import connect
from jupyter_agent.store.rules import MAX_RULES, RuleBook
from jupyter_agent.store.schema import rules_migrations
from tests.clock import HandClock
from tests.model_server import ModelServer, Reply, Text, ToolUse
from tests.roads import write_notebook
from tests.session.test_host import hosting, viewing

pytestmark = pytest.mark.timeout(60)


async def test_a_rule_is_one_for_one_notebook_whatever_its_name(tmp_path: Path) -> None:
    book = RuleBook(tmp_path)
    assert await book.list() == []
    assert not (tmp_path / "rules.db").exists(), "asking makes no file"
    rule = await book.add("ada", "edit_cell", "a[1]*.ipynb")
    assert await book.add("ada", "edit_cell", "a[1]*.ipynb") == rule, "twice is once"
    assert await book.match("ada", "edit_cell", "a[1]*.ipynb", "write") == rule
    for user, tool, path in (
        ("bob", "edit_cell", "a[1]*.ipynb"),
        ("ada", "run_cell", "a[1]*.ipynb"),
        ("ada", "edit_cell", "a1.ipynb"),
        ("ada", "edit_cell", "a[1]b.ipynb"),
    ):
        assert await book.match(user, tool, path, "write") is None
    assert await RuleBook(tmp_path).list() == [rule], "another server reads the same book"
    assert await book.remove(rule.id)
    assert not await book.remove(rule.id)
    assert await RuleBook(tmp_path).list() == []


async def test_a_rule_of_before_folders_counted_is_kept_and_holds_in_none(tmp_path: Path) -> None:
    db = connect(tmp_path / "rules.db")
    rules_migrations.apply(db, stop_before="m002_rule_roots")
    db.conn.execute("INSERT INTO rules VALUES ('rul_1', 'ada', 'edit_cell', 'a.ipynb', 1)")
    db.conn.close()
    book = RuleBook(tmp_path, root="/work")
    assert [(rule.id, rule.root) for rule in await book.list()] == [("rul_1", "")]
    assert await book.match("ada", "edit_cell", "a.ipynb", "write") is None
    assert await book.remove("rul_1")


async def test_code_runs_unasked_only_in_a_notebook_that_was_named_itself(tmp_path: Path) -> None:
    book = RuleBook(tmp_path)
    for tool in ("run_cell", "edit_cell"):
        await book.add("ada", tool, "a.ipynb")
    with sqlite3.connect(tmp_path / "rules.db") as db:
        db.execute("UPDATE rules SET notebook='*'")
    db.close()
    assert await book.match("ada", "edit_cell", "b.ipynb", "write") is not None
    assert await book.match("ada", "run_cell", "b.ipynb", "execute") is None


async def test_what_is_allowed_in_a_folder_is_not_allowed_where_windows_finds_the_way_out_of_it(tmp_path: Path) -> None:
    book = RuleBook(tmp_path)
    await book.add("ada", "edit_cell", "work/a.ipynb", pattern="work/*")
    assert await book.match("ada", "edit_cell", "work/deep/b.ipynb", "write") is not None
    assert await book.match("ada", "edit_cell", "work/deep\\..\\..\\b.ipynb", "write") is None
    await book.add("ada", "edit_cell", "odd\\name.ipynb")
    assert await book.match("ada", "edit_cell", "odd\\name.ipynb", "write") is not None


@pytest.mark.parametrize("loss", ["damaged", "gone", "emptied"])
async def test_a_lost_book_comes_back_from_its_copy(tmp_path: Path, loss: str) -> None:
    rule = await RuleBook(tmp_path).add("ada", "edit_cell", "a.ipynb")
    for end in ("-wal", "-shm"):
        (tmp_path / f"rules.db{end}").unlink(missing_ok=True)
    if loss == "gone":
        (tmp_path / "rules.db").unlink()
    elif loss == "emptied":
        (tmp_path / "rules.db").write_bytes(b"")
    else:
        (tmp_path / "rules.db").write_bytes(b"scribble" * 1000)
    assert await RuleBook(tmp_path).list() == [rule]
    if loss == "damaged":
        assert len([name for name in os.listdir(tmp_path) if name.startswith("rules.db.damaged-")]) == 1  # noqa: PTH208 -- what is asked is a matter of a moment


async def test_a_rule_that_could_not_be_copied_holds_and_one_taken_back_never_returns(tmp_path: Path) -> None:
    book = RuleBook(tmp_path)
    rule = await book.add("ada", "edit_cell", "a.ipynb")
    (tmp_path / "rules.db.new").mkdir()  # where the copy is made
    other = await book.add("ada", "edit_cell", "b.ipynb")
    assert await book.match("ada", "edit_cell", "b.ipynb", "write") == other
    assert await book.remove(rule.id)
    (tmp_path / "rules.db").write_bytes(b"scribble" * 1000)
    assert await book.match("ada", "edit_cell", "a.ipynb", "write") is None


async def test_a_book_that_cannot_be_read_means_that_the_user_is_asked(tmp_path: Path) -> None:
    (tmp_path / "rules.db").mkdir()
    book = RuleBook(tmp_path)
    assert await book.match("ada", "edit_cell", "a.ipynb", "write") is None
    with pytest.raises(StoreError):
        await book.add("ada", "edit_cell", "a.ipynb")


async def test_a_question_that_nobody_answers_in_time_is_a_no_also_while_the_session_sleeps(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."})), Reply(Text("Then not."))])
    clock = HandClock()
    async with hosting(model_server, tmp_path, approval_expires_s=3600.0, clock=clock) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await view.say("plan")
            asked = (await view.event("approval.requested"))["d"]["approval"]
            await view.event("turn.status", status="awaiting")
            assert asked["expires_at"] - asked["requested_at"] == 3_600_000
            clock.move(3_700_000)
            await view.event("turn.ended", outcome="completed")
            resolved = view.of("approval.resolved")[-1]["d"]
            assert (resolved["decision"], resolved["by"]) == ("deny", "system")
            assert "Nobody answered" in resolved["reason"]
            assert view.tools[0]["state"] == "output-denied"
            assert "denied this" not in view.tools[0]["error"], "the user did not"
    assert "Nobody answered in time" in model_server.requests[-1].result_text()


async def test_a_question_answered_in_time_rings_no_more(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."})), Reply(Text("Done."))])
    clock = HandClock()
    async with hosting(model_server, tmp_path, approval_expires_s=60.0, clock=clock) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await view.say("plan")
            asked = (await view.event("approval.requested"))["d"]["approval"]
            await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow")
            await view.event("turn.ended", outcome="completed")
            assert (await host.get(session.id)).state.jobs == {}


async def test_a_rule_that_is_taken_back_holds_for_no_call_that_has_not_begun(
    model_server: ModelServer, tmp_path: Path
) -> None:
    write_notebook(tmp_path, "a.ipynb")
    adding = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "y = 1"})
    deleting = ToolUse("delete_cell", {"cell_id": "first", "base_hash": base_hash("code", "x = 20 + 1")})
    model_server.script([Reply(deleting, adding), Reply(Text("Then not."))])
    async with hosting(model_server, tmp_path) as host:
        rule = await host.rules.add("me", "insert_cell", "a.ipynb")
        session = await host.create(notebook_path="a.ipynb")
        async with viewing(host, session.id) as view:
            await view.say("go")
            await view.event("turn.status", status="awaiting")
            (first,) = view.view["approvals"]
            assert await host.rules.remove(rule.id)
            heard = len(view.events)
            await view.ask("approval.answer", id=first["id"], rev=1, decision="deny")
            asked = (await view.event("approval.requested", after=heard))["d"]["approval"]
            await view.event("turn.status", after=heard, status="awaiting")
            await view.ask("approval.answer", id=asked["id"], rev=1, decision="deny")
            await view.event("turn.ended", outcome="completed")
            assert [part["state"] for part in view.view["messages"][1]["parts"] if part["type"] == "tool"] == [
                "output-denied", "output-denied",
            ]  # fmt: skip
    assert "y = 1" not in (tmp_path / "a.ipynb").read_text(encoding="utf-8")


async def test_calls_that_were_allowed_are_refused_when_the_mode_is_plan_before_they_begin(
    model_server: ModelServer, tmp_path: Path
) -> None:
    write_notebook(tmp_path, "a.ipynb")
    adding = [
        ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": f"{name} = 1"}) for name in ("y", "z")
    ]
    model_server.script([Reply(*adding), Reply(Text("Then not."))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(notebook_path="a.ipynb")
        async with viewing(host, session.id) as view:
            await view.say("go")
            await view.event("turn.status", status="awaiting")
            first, second = view.view["approvals"]
            await view.ask("approval.answer", id=first["id"], rev=1, decision="allow")
            assert [one["id"] for one in view.view["approvals"]] == [second["id"]]
            await view.ask("session.set", mode="plan")
            await view.event("turn.ended", outcome="completed")
            assert [part["state"] for part in view.view["messages"][1]["parts"] if part["type"] == "tool"] == [
                "output-denied", "output-denied",
            ]  # fmt: skip
    assert '= 1"' not in (tmp_path / "a.ipynb").read_text(encoding="utf-8").replace("20 + 1", "")


async def test_what_could_be_allowed_for_a_while_cannot_be_after_it(model_server: ModelServer, tmp_path: Path) -> None:
    """The server was away when the time was over, and an answer comes before it has looked at what is due."""
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."})), Reply(Text("Then not."))])
    clock = HandClock()
    async with hosting(model_server, tmp_path, approval_expires_s=0.0, clock=clock) as host:
        clock.move(-60_000)  # so that nothing rings
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await view.say("plan")
            asked = (await view.event("approval.requested"))["d"]["approval"]
            await view.event("turn.status", status="awaiting")
            late = await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow")
            assert (late["status"], late["error"]["code"]) == ("rejected", "expired")
            assert [one["id"] for one in view.view["approvals"]] == [asked["id"]]
            clock.move(120_000)
            await view.event("turn.ended", outcome="completed")
            assert view.tools[0]["state"] == "output-denied"


async def test_a_rule_that_is_there_is_not_one_too_many(tmp_path: Path) -> None:
    book = RuleBook(tmp_path)
    first = await book.add("me", "run_cell", "a.ipynb")
    with sqlite3.connect(tmp_path / "rules.db") as db:
        more = [(f"rul_{n}", "me", "run_cell", "", f"{n}.ipynb", n) for n in range(MAX_RULES - 1)]
        db.executemany("INSERT INTO rules (id, user, tool, root, notebook, created_at) VALUES (?,?,?,?,?,?)", more)
    db.close()
    assert await book.add("me", "run_cell", "a.ipynb") == first
    with pytest.raises(CommandRejected) as refused:
        await book.add("me", "run_cell", "b.ipynb")
    assert refused.value.code == "too_many_rules"
    assert len(await book.list()) == MAX_RULES
