"""The queue under haste and restarts: whatever was acknowledged is said once, in order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.session.test_host import hosting, viewing
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(60)
Json = dict[str, Any]


async def waiting_turn(view: Stranger) -> Json:
    """A turn that rests on a question; return the answer that lets it end."""
    await view.say("plan")
    asked = (await view.event("approval.requested"))["d"]["approval"]
    await view.event("turn.status", status="awaiting")
    return {"id": asked["id"], "rev": asked["rev"], "decision": "deny"}


def said(view: Stranger) -> list[str]:
    """What the user has said, in order."""
    return [m["parts"][0]["text"] for m in view.view["messages"] if m["role"] == "user"]


def plan_then(model_server: ModelServer, replies: int) -> None:
    """Let the model ask first, then answer plainly."""
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."}))] + [Reply(Text("Fine."))] * (replies + 1))


async def test_messages_and_tasks_that_wait_survive_a_restart_in_order(
    model_server: ModelServer, tmp_path: Path
) -> None:
    plan_then(model_server, 3)
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            answer = await waiting_turn(view)
            await view.say("one")
            task = (await view.ask("task.create", title="two"))["result"]
            await view.ask("task.run", id=task["id"], rev=1)
            await view.say("three")
            before = view.view["queue"]
    async with hosting(model_server, tmp_path) as host, viewing(host, session.id) as view:
        assert view.view["queue"] == before
        await view.ask("approval.answer", **answer)
        await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 4)
        assert said(view) == ["plan", "one", "two", "three"]
        assert view.view["tasks"][0]["status"] == "done"
        assert view.view["queue"] == []


@pytest.mark.parametrize("change", ["edit", "remove", "reorder", "send_now"])
async def test_a_change_that_meets_the_start_of_its_message_happens_whole_or_not_at_all(
    model_server: ModelServer, tmp_path: Path, change: str
) -> None:
    plan_then(model_server, 2)
    more: Json = {"parts": [{"type": "text", "text": "edited"}]} if change == "edit" else {}
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as one, viewing(host, session.id) as two:
            answer = await waiting_turn(one)
            item = (await one.say("first"))["queue_id"]
            await one.say("second")
            _, ack = await asyncio.gather(
                one.ask("approval.answer", **answer), two.ask(f"queue.{change}", id=item, rev=1, **more)
            )
            texts = {"plan", "edited" if change == "edit" and ack["status"] == "accepted" else "first", "second"}
            if change == "remove" and ack["status"] == "accepted":
                texts.remove("first")
            if ack["status"] == "rejected":
                assert ack["error"]["code"] in ("not_queued", "stale")
            await one.event(lambda e: e["type"] == "turn.ended" and len(one.ended) >= len(texts))
            assert sorted(said(one)) == sorted(texts)
            snapshot = await one.subscribe()
            one.same_story_as(snapshot)
            assert snapshot["d"]["queue"] == []


async def test_a_message_that_two_views_send_now_starts_once(model_server: ModelServer, tmp_path: Path) -> None:
    plan_then(model_server, 1)
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as one, viewing(host, session.id) as two:
            await waiting_turn(one)
            item = (await one.say("now"))["queue_id"]
            acks = await asyncio.gather(
                *(view.ask("queue.send_now", id=item, rev=1) for view in (one, two)),
            )
            assert "accepted" in [ack["status"] for ack in acks]
            await one.event("turn.ended", outcome="stopped")
            await one.event(lambda e: e["type"] == "turn.ended" and len(one.ended) == 2)
            assert said(one) == ["plan", "now"]
            assert {e["d"]["decision"] for e in one.of("approval.resolved")} == {"cancelled"}


async def test_an_order_that_nobody_sees_any_more_is_stale(model_server: ModelServer, tmp_path: Path) -> None:
    plan_then(model_server, 0)
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await waiting_turn(view)
            a, b = [(await view.say(text))["queue_id"] for text in ("a", "b")]
            assert (await view.ask("queue.reorder", id=b, rev=1, before=a))["status"] == "accepted"
            assert [item["id"] for item in view.view["queue"]] == [b, a]
            late = await view.ask("queue.reorder", id=b, rev=1, before=None)
            assert late["error"]["code"] == "stale"
            gone = await view.ask("queue.reorder", id=a, rev=1, before="que_gone")
            assert gone["error"]["code"] == "not_queued"
            assert [item["id"] for item in view.view["queue"]] == [b, a]


async def test_a_server_that_goes_while_a_turn_stops_for_the_next_begins_none(
    model_server: ModelServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half", gate, "lost")), "At once."])
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("first")
            await view.reads("Half")
            item = (await view.say("now"))["queue_id"]
            await view.ask("queue.send_now", id=item, rev=1)
    gate.open()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("jupyter_agent")] == []
    async with hosting(model_server, tmp_path, recovery_backoff_s=0.0) as host:
        await host.wake_unfinished()
        async with viewing(host, session.id) as view:
            if view.view["turn"] is not None:
                await view.event("turn.ended", outcome="completed")
            parts = [part["text"] for message in view.view["messages"] for part in message["parts"]]
            assert parts == ["first", "Half", "now", "At once."]
