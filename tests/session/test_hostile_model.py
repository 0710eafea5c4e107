"""A model, or an endpoint that calls itself one, that sends what no model should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.model_server import ModelServer, RawBlock, RawEvent, Reply, Text, ToolUse
from tests.session.test_host import hosting, viewing

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def acceptable(model_server: ModelServer) -> Iterator[None]:
    """Whatever the model sent, what we send back is what the API takes."""
    yield
    assert model_server.refusals == []
    assert model_server.remaining == 0, "the model was not asked as often as the script says"


async def turn(model_server: ModelServer, folder: Path, *answers: Any, after: str = "Fine.", **settings: Any) -> Any:
    """Play a turn to its end and another one after it; return the view that saw both."""
    model_server.script([*answers, Reply(Text(after))])
    async with hosting(model_server, folder, max_retry_delay_s=0.0, **settings) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as stranger:
            view: Any = stranger
            await view.say("go")
            view.first = await view.event("turn.ended")
            view.parts = view.view["messages"][-1]["parts"]
            heard = len(view.events)
            await view.say("and now?")
            await view.event("turn.ended", after=heard)
            assert view.text == after
            view.same_story_as(await view.subscribe())
            await host.messages(session.id)
            return view


def text_block(*deltas: str) -> list[RawEvent]:
    """A block sent exactly so, however its text is cut."""
    return [
        RawEvent("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        *(
            RawEvent("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}})
            for text in deltas
        ),
        RawEvent("content_block_stop", {"index": 0}),
    ]


async def test_a_tool_id_that_was_used_before_names_a_call_of_its_own(
    model_server: ModelServer, tmp_path: Path
) -> None:
    same = ToolUse("create_task", {"title": "One"}, id="toolu_same")
    view = await turn(
        model_server,
        tmp_path,
        Reply(same, ToolUse("create_task", {"title": "Two"}, id="toolu_same")),
        Reply(same),
        "Done.",
    )
    assert view.first["d"]["outcome"] == "completed"
    assert [task["title"] for task in view.view["tasks"]] == ["One", "Two", "One"]
    assert len({part["tool_call_id"] for part in view.parts if part["type"] == "tool"}) == 3


async def test_a_tool_id_of_an_earlier_question_can_be_asked_again(model_server: ModelServer, tmp_path: Path) -> None:
    plan = ToolUse("exit_plan", {"plan": "Do it."}, id="toolu_plan")
    model_server.script([Reply(plan), "No.", Reply(plan), "Yes."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            for _ in range(2):
                heard = len(view.events)
                await view.say("plan")
                asked = (await view.event("approval.requested", after=heard))["d"]["approval"]
                await view.ask("approval.answer", id=asked["id"], rev=1, decision="deny", scope="once")
                await view.event("turn.ended", after=heard, outcome="completed")


@pytest.mark.parametrize("name", ["", "functions.read_notebook", "x" * 2000, "no_such_tool", "läs", "half \ud83d"])
async def test_a_call_of_a_tool_that_does_not_exist_fails_the_turn_and_not_the_session(
    model_server: ModelServer, tmp_path: Path, name: str
) -> None:
    calls = [Reply(ToolUse(name, {"a": 1})) for _ in range(2)]
    view = await turn(model_server, tmp_path, *calls, max_cuts=1)
    assert view.first["d"]["error"]["code"] == "malformed"
    assert len(view.first["d"]["error"]["message"]) < 200


@pytest.mark.parametrize("id", ["", "with space", "ü", "x" * 3000])
async def test_a_call_without_a_usable_id_is_given_one(model_server: ModelServer, tmp_path: Path, id: str) -> None:
    call = {"type": "tool_use", "id": id, "name": "create_task", "input": {"title": "One"}}
    view = await turn(model_server, tmp_path, Reply(RawBlock(call), stop_reason="tool_use"), "Done.")
    assert view.first["d"]["outcome"] == "completed"
    assert [task["title"] for task in view.view["tasks"]] == ["One"]


@pytest.mark.parametrize(
    "raw",
    [
        '{"title": NaN}',
        '{"title": 1e999}',
        '{"title": -Infinity}',
        '{"title": "\\ud83d"}',
        '{"title": ' + "[" * 150 + "]" * 150 + "}",
        '{"title": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"title": ' + "9" * 6000 + "}",
        '["title"]',
        "null",
        '{"title": "cut',
    ],
    ids=lambda raw: raw[:20],
)
async def test_an_input_that_is_no_sound_json_never_runs_and_never_harms_the_session(
    model_server: ModelServer, tmp_path: Path, raw: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [Reply(ToolUse("create_task", raw=raw)) for _ in range(2)]
    view = await turn(model_server, tmp_path, *bad, max_cuts=1)
    assert view.first["d"]["outcome"] == "failed"
    assert view.first["d"]["error"]["code"] == "malformed"
    assert view.view["tasks"] == []
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
async def test_a_call_in_an_answer_that_was_cut_does_not_run(
    model_server: ModelServer, tmp_path: Path, reason: str
) -> None:
    rest = ["Again."] if reason == "max_tokens" else []
    view = await turn(
        model_server, tmp_path, Reply(ToolUse("create_task", {"title": "Half"}), stop_reason=reason), *rest
    )
    assert view.view["tasks"] == []
    assert [part["reason"] for part in view.parts if part["type"] == "tool"] == ["never_ran"]


@pytest.mark.parametrize("reason", ["end_turn", "stop_sequence", "pause_turn", "something_new"])
async def test_a_call_runs_only_when_the_answer_ended_to_have_it_run(
    model_server: ModelServer, tmp_path: Path, reason: str
) -> None:
    call = ToolUse("create_task", raw='{"title": "One"')
    rest = ["Again."] if reason == "pause_turn" else []
    view = await turn(model_server, tmp_path, Reply(call, stop_reason=reason), *rest)
    assert view.first["d"]["outcome"] == "completed"
    assert view.view["tasks"] == []
    assert [part["reason"] for part in view.parts if part["type"] == "tool"] == ["never_ran"]


async def test_a_refusal_with_calls_runs_none_of_them(model_server: ModelServer, tmp_path: Path) -> None:
    view = await turn(
        model_server, tmp_path, Reply("Well", ToolUse("create_task", {"title": "One"}), stop_reason="refusal")
    )
    assert view.first["d"]["error"]["code"] == "refused"
    assert view.view["tasks"] == []


async def test_an_answer_without_content_ends_the_turn(model_server: ModelServer, tmp_path: Path) -> None:
    view = await turn(model_server, tmp_path, Reply())
    assert view.first["d"]["outcome"] == "completed"


async def test_a_pause_without_end_is_bounded(model_server: ModelServer, tmp_path: Path) -> None:
    pauses = [Reply(Text("Hm."), stop_reason="pause_turn") for _ in range(4)]
    view = await turn(model_server, tmp_path, *pauses, max_steps=4)
    assert view.first["d"]["outcome"] == "step_limit"


async def test_an_empty_pause_without_end_is_bounded(model_server: ModelServer, tmp_path: Path) -> None:
    view = await turn(model_server, tmp_path, *[Reply(stop_reason="pause_turn") for _ in range(4)], max_steps=4)
    assert view.first["d"]["outcome"] == "step_limit"


async def test_hundreds_of_calls_at_once_are_all_answered(model_server: ModelServer, tmp_path: Path) -> None:
    calls = [ToolUse("create_task", {"title": f"Task {n}"}) for n in range(300)]
    view = await turn(model_server, tmp_path, Reply(*calls), "Done.")
    assert len(view.view["tasks"]) == 300


async def test_a_very_long_answer_is_kept_whole(model_server: ModelServer, tmp_path: Path) -> None:
    piece = "🐍" * 500_000
    model_server.script([Reply(*text_block(piece, piece))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(mode="plan")
        async with viewing(host, session.id) as view:
            await view.say("go")
            await view.event("turn.ended")
            message = view.view["messages"][-1]
            snapshot = await view.subscribe()
            parts = [await host.part(session.id, message["id"], part["id"]) for part in message["parts"]]
    assert "".join(part["text"] for part in parts) == piece * 2
    assert snapshot["d"]["page"]["has_more"], "it is more than a frame shows"


async def test_events_outside_of_a_block_are_a_fault_of_the_stream(
    model_server: ModelServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    late = RawEvent("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "late"}})
    twice = RawEvent("content_block_stop", {"index": 0})
    view = await turn(model_server, tmp_path, Reply(Text("One"), late), Reply(Text("Two"), twice), max_cuts=1)
    assert view.first["d"]["error"]["code"] == "malformed"
    assert "Traceback" not in caplog.text


async def test_a_delta_of_another_kind_than_its_block_harms_nothing(
    model_server: ModelServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = RawEvent("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "odd"}})
    start = RawEvent(
        "content_block_start",
        {"index": 0, "content_block": {"type": "tool_use", "id": "toolu_a", "name": "create_task", "input": {}}},
    )
    stop = RawEvent("content_block_stop", {"index": 0})
    view = await turn(model_server, tmp_path, Reply(start, odd, stop, stop_reason="end_turn"))
    assert view.first["d"]["outcome"] == "completed"
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("pieces", [("\\ud83d", "\\udc0d"), ("\\ud83d", "x"), ("\\udc0d", "x"), ("\\ud83d",)])
async def test_half_a_character_never_leaves(
    model_server: ModelServer, tmp_path: Path, pieces: tuple[str, ...]
) -> None:
    halves = [p.encode().decode("unicode_escape") for p in pieces]
    view = await turn(model_server, tmp_path, Reply(*text_block("a", *halves)))
    for event in view.of("part.delta"):
        event["d"]["delta"].encode("utf-8")
    view.parts[0]["text"].encode("utf-8")


@pytest.mark.parametrize("usage", [{"output_tokens": "many"}, {"output_tokens": None}, {"output_tokens": -5}])
async def test_counts_that_are_no_numbers_count_nothing(
    model_server: ModelServer, tmp_path: Path, usage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    odd = RawEvent("message_delta", {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage})
    view = await turn(model_server, tmp_path, Reply(Text("One"), odd))
    assert view.first["d"]["outcome"] == "completed"
    assert "Traceback" not in caplog.text
