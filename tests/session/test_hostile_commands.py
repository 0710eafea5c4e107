"""Views that say what no view should: the session is the same afterwards, and every command is answered."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.model_server import Gate, ModelServer, Reply, Text, ToolUse
from tests.session.test_host import hosting, viewing

pytestmark = pytest.mark.timeout(60)

HALF = "\ud83d"


def text(said: str) -> list[dict[str, Any]]:
    """One text part."""
    return [{"type": "text", "text": said}]


def deep(levels: int) -> Any:
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


async def test_half_a_character_in_a_message_is_replaced_and_harms_nothing(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script(["Fine.", "Fine again."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.ask("message.send", id="m1", parts=text(f"a{HALF}b\0c"))
            await view.event("turn.ended", outcome="completed")
            assert view.view["messages"][0]["parts"][0]["text"] == "a\ufffdb\0c"
            heard = len(view.events)
            view.send("message.send", id=f"m2{HALF}", parts=text("x"), cmd_id=f"c{HALF}")
            await view.event("turn.ended", after=heard, outcome="completed")
            await view.ask("session.set", title=f"t{HALF}\0")
            view.same_story_as(await view.subscribe())
        assert (await host.session(session.id)).title == "t\ufffd\0"
    assert model_server.refusals == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), deep(150), deep(900)], ids=["nan", "inf", "150", "900"])
async def test_an_edited_input_that_is_no_sound_json_is_malformed(
    model_server: ModelServer, tmp_path: Path, bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."})), "Done."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await view.say("plan")
            asked = (await view.event("approval.requested"))["d"]["approval"]
            answer: dict[str, Any] = {"id": asked["id"], "rev": 1, "decision": "allow"}
            view.send("approval.answer", **answer, edited_input={"plan": bad})
            await view.event("error", code="malformed")
            assert view.view["approvals"] == [asked]
            await view.ask("approval.answer", **answer)
            await view.event("turn.ended", outcome="completed")
    assert "Traceback" not in caplog.text


async def test_frames_of_any_shape_are_answered_shortly(
    model_server: ModelServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            for frame in (
                '{"v": ' + "[" * 980 + "]" * 980 + "}",
                json.dumps({"v": "x" * 100_000}),
                json.dumps({"v": 1, "cmd_id": "c", "type": "t" * 100_000}),
                json.dumps({"v": 1, "cmd_id": "c" * 201, "type": "ping"}),
                json.dumps(
                    {"v": 1, "cmd_id": "c", "type": "message.send", "d": {"id": "m", "parts": text("x") * 10_000}}
                ),
                json.dumps({"v": 1, "cmd_id": "c", "type": "message.send", "d": {"id": "", "parts": text("x")}}),
                json.dumps({"v": 1, "cmd_id": "c", "type": "message.send", "d": {"id": "m" * 201, "parts": text("x")}}),
                json.dumps({"v": 1, "cmd_id": "c", "type": "session.set", "d": {"title": "x" * 501}}),
                json.dumps({"v": 1, "cmd_id": "c", "type": "session.set", "d": {"model": "x" * 201}}),
                json.dumps({"v": 1, "cmd_id": "c", "type": "session.set", "d": {"mode": "god"}}),
            ):
                heard = len(view.events)
                view.send_raw(frame)  # type: ignore[arg-type]
                await view.event(lambda e: e["type"] in ("error", "ack"), after=heard)
                assert len(json.dumps(view.frames[-1])) < 1000
            view.same_story_as(await view.subscribe())
    assert "Traceback" not in caplog.text


async def test_a_message_may_not_take_the_id_of_another(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(Text("One", gate)), "Two."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("go")
            await gate.until_reached()
            answer_id = view.view["messages"][-1]["id"]
            ack = await view.ask("message.send", id=answer_id, parts=text("mine"))
            assert (ack["status"], ack["error"]["code"]) == ("rejected", "id_taken")
            gate.open()
            await view.event("turn.ended", outcome="completed")
            ack = await view.ask("message.send", id=answer_id, parts=text("mine"))
            assert (ack["status"], ack["error"]["code"]) == ("rejected", "id_taken")
            heard = len(view.events)
            await view.say("again")
            await view.event("turn.ended", after=heard, outcome="completed")


async def test_a_question_answered_from_two_views_at_once_is_answered_once(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."})), "Done."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as one, viewing(host, session.id) as two:
            await one.say("plan")
            asked = (await two.event("approval.requested"))["d"]["approval"]
            acks = await asyncio.gather(
                one.ask("approval.answer", id=asked["id"], rev=1, decision="allow"),
                two.ask("approval.answer", id=asked["id"], rev=1, decision="deny"),
            )
            assert sorted(ack["status"] for ack in acks) == ["accepted", "rejected"]
            await one.event("turn.ended", outcome="completed")
            assert len(one.of("approval.resolved")) == 1


@pytest.mark.parametrize(
    "orders", [("stop", "now"), ("now", "stop"), ("answer", "stop"), ("stop", "answer"), ("now", "now")]
)
async def test_orders_given_in_one_breath_end_each_turn_once(
    model_server: ModelServer, tmp_path: Path, orders: tuple[str, str]
) -> None:
    model_server.script([Reply(ToolUse("exit_plan", {"plan": "Do it."}))] + [Reply(Text("Fine."))] * 3)
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            turn = (await view.say("plan"))["turn"]
            asked = (await view.event("approval.requested"))["d"]["approval"]
            await view.event("turn.status", status="awaiting")
            item = (await view.say("next"))["queue_id"]
            said: dict[str, tuple[str, dict[str, Any]]] = {
                "stop": ("turn.stop", {"turn": turn}),
                "now": ("queue.send_now", {"id": item, "rev": 1}),
                "answer": ("approval.answer", {"id": asked["id"], "rev": 1, "decision": "allow"}),
            }
            await asyncio.gather(*(view.ask(said[order][0], **said[order][1]) for order in orders))
            await view.event("turn.ended", turn=turn)
            if view.view["paused"]:
                await view.ask("queue.resume")
            await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 2)
            assert view.view["turn"] is None
            assert view.view["approvals"] == view.view["queue"] == []
            view.same_story_as(await view.subscribe())


async def test_a_command_is_answered_when_its_session_is_deleted_under_it(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("One", gate))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("go")
            await gate.until_reached()
            deleting = asyncio.create_task(host.delete(session.id))
            said = [
                asyncio.create_task(
                    host.command(
                        session.id,
                        {"v": 1, "cmd_id": f"c{n}", "type": "message.send", "d": {"id": f"m{n}", "parts": text("x")}},
                        user="me",
                    )
                )
                for n in range(5)
            ]
            await deleting
            async with asyncio.timeout(30):
                acks = await asyncio.gather(*said, return_exceptions=True)
            assert all(isinstance(ack, BaseException) or ack["status"] in ("accepted", "rejected") for ack in acks)
            await view.event("session.deleted")
            gate.open()
    assert not (tmp_path / "data" / "sessions" / session.id).exists()


async def test_a_command_is_answered_when_the_server_goes(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path, idle_s=60.0) as host:
        session = await host.create()
        await host.get(session.id)
        said = asyncio.create_task(
            host.command(session.id, {"v": 1, "cmd_id": "c", "type": "history", "d": {}}, user="me")
        )
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        assert (await said)["status"] in ("accepted", "rejected")


async def test_a_waiting_message_whose_file_is_gone_pauses_the_queue(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(Text("One", gate)), "Two."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        blobs = host.blobs(session.id)
        blobs.mkdir()
        (blobs / ("a" * 64)).write_text("x")
        async with viewing(host, session.id) as view:
            await view.say("go")
            await gate.until_reached()
            file = {"type": "file", "sha256": "a" * 64, "mime": "text/plain", "name": "a.txt"}
            item = (await view.ask("message.send", id="m1", parts=[file]))["result"]["queue_id"]
            (blobs / ("a" * 64)).unlink()
            gate.open()
            await view.event("notice", code="unknown_attachment")
            await view.event("queue.updated", paused=True)
            await view.ask("queue.remove", id=item, rev=1)
            heard = len(view.events)
            await view.say("go on")
            await view.event("turn.ended", after=heard, outcome="completed")
