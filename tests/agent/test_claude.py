"""ClaudeModel through the real SDK against the model server: each fault, each promise of the stream."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_agent.agent.claude import ClaudeModel
from jupyter_agent.agent.model import (
    ApiMessage,
    AttemptReset,
    Block,
    BlockClosed,
    BlockOpened,
    InputDelta,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    RetryNotice,
    StepClosed,
    StepFailed,
    StepOpened,
    TextDelta,
)
from jupyter_agent.settings import Settings
from tests.model_server import (
    BOUND_S,
    CleanEnd,
    Drop,
    EmptyStream,
    ErrorEvent,
    Gate,
    Hangup,
    HttpError,
    Malformed,
    ModelServer,
    NoHeaders,
    Ping,
    RawBlock,
    RawEvent,
    Reply,
    Stall,
    Text,
    Think,
    ToolUse,
    words,
)

pytestmark = pytest.mark.asyncio

MODEL = "claude-sonnet-5-5"
TOOL: dict[str, Any] = {
    "name": "look",
    "eager_input_streaming": True,
    "input_schema": {"type": "object", "properties": {}},
}
NOT_PROXIED = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_PROFILE")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in NOT_PROXIED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))


@pytest.fixture
def settings(tmp_path: Path, model_server: ModelServer) -> Settings:
    return Settings(
        data_dir=tmp_path,
        base_url=model_server.url,
        api_key=model_server.key,
        max_retry_delay_s=0.01,
        max_attempts=3,
        max_cuts=2,
    )


@pytest_asyncio.fixture
async def claude(settings: Settings) -> AsyncIterator[ClaudeModel]:
    model = ClaudeModel(settings)
    yield model
    await model.close()


def text(said: str) -> Block:
    return {"type": "text", "text": said}


def user(*content: Block | str) -> ApiMessage:
    return ApiMessage(role="user", content=[text(c) if isinstance(c, str) else c for c in content])


def asking(*messages: ApiMessage, session_id: str = "ses_1", tools: list[dict[str, Any]] | None = None) -> ModelRequest:
    return ModelRequest(
        model=MODEL,
        system=[text("Be brief.")],
        tools=[TOOL] if tools is None else tools,
        messages=list(messages) or [user("hi")],
        session_id=session_id,
    )


async def answer(model: ClaudeModel, request: ModelRequest | None = None) -> list[ModelEvent]:
    async with asyncio.timeout(BOUND_S):
        events = [event async for event in model.stream(request or asking())]
    assert isinstance(events[-1], StepClosed | StepFailed)
    assert not any(isinstance(event, StepClosed | StepFailed) for event in events[:-1])
    return events


def said(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def closed(events: list[ModelEvent]) -> StepClosed:
    assert isinstance(events[-1], StepClosed), events[-1]
    return events[-1]


def failed(events: list[ModelEvent]) -> Any:
    assert isinstance(events[-1], StepFailed), events[-1]
    return events[-1].error


def kinds(events: list[ModelEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


# -- an answer ---------------------------------------------------------------------


async def test_an_answer_comes_block_by_block_and_ends_with_what_to_send_back(
    claude: ClaudeModel, model_server: ModelServer
) -> None:
    model_server.script(
        [Reply(Think("Let me see."), Text("Two ", Ping(), "looks."), ToolUse("look"), ToolUse("look", {"deep": True}))]
    )
    events = await answer(claude)
    assert said(events) == "Two looks."
    assert "".join(e.text for e in events if isinstance(e, ReasoningDelta)) == "Let me see."
    opened = [e for e in events if isinstance(e, BlockOpened)]
    assert [(e.index, e.kind, e.name) for e in opened] == [
        (0, "reasoning", ""), (1, "text", ""), (2, "tool", "look"), (3, "tool", "look"),
    ]  # fmt: skip
    assert "".join(e.partial_json for e in events if isinstance(e, InputDelta) and e.index == 3) == '{"deep": true}'
    step = closed(events)
    assert step.stop_reason == "tool_use"
    assert [b["type"] for b in step.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert [e.block for e in events if isinstance(e, BlockClosed)] == step.content
    assert step.content[2]["id"] == opened[2].call_id
    first = events[0]
    assert isinstance(first, StepOpened)
    assert first.request_id == model_server.requests[0].request_id
    assert step.request_id == first.request_id
    assert first.model == MODEL
    assert first.usage.cache_creation_input_tokens > 0
    assert step.usage.output_tokens > 1


async def test_what_came_back_is_accepted_when_it_is_sent_again(claude: ClaudeModel, model_server: ModelServer) -> None:
    strange = {"type": "hologram", "data": {"n": 12345678901234567890}, "caller": None}
    redacted = {"type": "redacted_thinking", "data": "abc"}
    model_server.script(
        [
            Reply(Think(), RawBlock(redacted), Text("Look: ", "é🙂"), RawBlock(strange), ToolUse("look", id="toolu_1")),
            "Seen.",
        ]
    )
    step = closed(await answer(claude))
    assert step.content[0]["thinking"] == ""
    assert step.content[0]["signature"]
    assert step.content[1] == redacted
    assert step.content[3] == strange
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("three cells")]}
    history = [user("hi"), ApiMessage(role="assistant", content=step.content), user(result, "go on")]
    events = await answer(claude, asking(*history))
    assert said(events) == "Seen."
    assert closed(events).usage.cache_read_input_tokens > 0


async def test_the_request_holds_what_the_newest_models_want(claude: ClaudeModel, model_server: ModelServer) -> None:
    model_server.script(["ok"])
    await answer(claude)
    request = model_server.requests[0]
    assert request.body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert request.body["cache_control"] == {"type": "ephemeral"}
    assert set(request.body) == {
        "model", "max_tokens", "messages", "system", "tools", "stream", "thinking", "cache_control",
    }  # fmt: skip
    assert request.headers["authorization"] == f"Bearer {model_server.key}"
    assert "x-api-key" not in request.headers


async def test_effort_is_sent_only_when_it_is_configured(settings: Settings, model_server: ModelServer) -> None:
    model_server.script(["ok"])
    claude = ClaudeModel(replace(settings, effort="low"))
    await answer(claude)
    await claude.close()
    assert model_server.requests[0].body["output_config"] == {"effort": "low"}


async def test_unknown_events_are_passed_over(claude: ClaudeModel, model_server: ModelServer) -> None:
    model_server.script([Reply(RawEvent("weather", {"sun": True}), Text("still ", RawEvent("news"), "fine"))])
    assert said(await answer(claude)) == "still fine"


async def test_a_token_is_told_before_the_next_one_is_sent(claude: ClaudeModel, model_server: ModelServer) -> None:
    gate = Gate()
    model_server.script([Reply(Text("first", gate, " second"))])
    async with asyncio.timeout(BOUND_S), aclosing(claude.stream(asking())) as events:
        async for event in events:
            if isinstance(event, TextDelta) and event.text == "first":
                break
        gate.open()
        assert said([event async for event in events]) == " second"


async def test_stop_reasons_reach_the_loop_as_they_are(claude: ClaudeModel, model_server: ModelServer) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    model_server.script(
        [
            Reply("a", stop_reason="max_tokens"),
            Reply("b", stop_reason="pause_turn"),
            Reply("c", stop_reason="refusal", stop_details=details),
            Reply("d", stop_reason="model_context_window_exceeded"),
            Reply("e", stop_reason="a_new_reason"),
        ]
    )
    steps = [closed(await answer(claude)) for _ in range(5)]
    assert [s.stop_reason for s in steps] == [
        "max_tokens", "pause_turn", "refusal", "model_context_window_exceeded", "a_new_reason",
    ]  # fmt: skip
    assert steps[2].stop_details == details


async def test_half_characters_never_get_out(claude: ClaudeModel, model_server: ModelServer) -> None:
    def half(code: str) -> str:
        return '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"' + code + '"}}'

    model_server.script([Reply(Text("a", Malformed(half("\\ud83d")), Malformed(half("\\ude42")), "b"))])
    events = await answer(claude)
    assert said(events) == "a🙂b"
    assert closed(events).content == [text("a🙂b")]


async def test_a_long_answer_is_read_quickly(claude: ClaudeModel, model_server: ModelServer) -> None:
    model_server.script([words(3000)])
    events = await answer(claude)
    assert sum(isinstance(e, TextDelta) for e in events) == 3000


# -- faults before the first byte ------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HttpError(529), "overloaded"),
        (HttpError(429, headers={"retry-after": "0"}), "rate_limited"),
        (HttpError(500), "server_error"),
        (HttpError(503, type="overloaded_error"), "overloaded"),
        (HttpError(504), "timeout"),
        (HttpError(502, body="<html>Bad gateway</html>"), "server_error"),
        (Hangup(), "connection"),
    ],
)
async def test_a_passing_fault_is_asked_again_and_told(
    claude: ClaudeModel, model_server: ModelServer, error: Any, code: str
) -> None:
    model_server.script([error, "Here I am."])
    events = await answer(claude)
    notice = events[0]
    assert isinstance(notice, RetryNotice)
    assert notice.code == code
    assert notice.text
    assert said(events) == "Here I am."


async def test_attempts_end_and_the_last_fault_is_told(claude: ClaudeModel, model_server: ModelServer) -> None:
    model_server.script([HttpError(529)] * 3)
    events = await answer(claude)
    assert kinds(events) == ["RetryNotice", "RetryNotice", "StepFailed"]
    error = failed(events)
    assert error.code == "overloaded"
    assert error.retryable
    assert error.request_id == model_server.requests[-1].request_id


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (HttpError(402), "billing", True),
        (HttpError(403), "permission", True),
        (HttpError(404, message="model: claude-sonnet-5-5"), "not_found", True),
        (HttpError(413), "request_too_large", False),
        (HttpError(400, message="messages: something odd"), "bad_history", False),
        (HttpError(400, message="max_tokens: something odd"), "invalid_request", False),
        (HttpError(400, message="prompt is too long: 1000001 tokens > 1000000 maximum"), "context_too_long", False),
        (HttpError(400, message="Your credit balance is too low to access the Anthropic API."), "billing", True),
        (HttpError(500, headers={"x-should-retry": "false"}), "server_error", True),
    ],
)
async def test_a_lasting_fault_ends_the_step_at_once(
    claude: ClaudeModel, model_server: ModelServer, error: HttpError, code: str, retryable: bool
) -> None:
    model_server.script([error])
    events = await answer(claude)
    assert len(events) == 1
    told = failed(events)
    assert (told.code, told.retryable) == (code, retryable)
    assert told.request_id
    assert told.message.endswith((".", "odd", "error"))


async def test_a_wrong_key_is_told_with_what_to_do(settings: Settings) -> None:
    with ModelServer() as server:
        claude = ClaudeModel(replace(settings, base_url=server.url, api_key="wrong"))
        error = failed(await answer(claude))
        await claude.close()
    assert error.code == "auth"
    assert "ANTHROPIC_API_KEY" in error.hint


async def test_a_wait_that_is_too_long_is_told_not_made(claude: ClaudeModel, model_server: ModelServer) -> None:
    model_server.script([HttpError(429, headers={"retry-after": "3600"})])
    error = failed(await answer(claude))
    assert error.code == "rate_limited"
    assert "60 minutes" in error.message


async def test_nobody_at_the_address_is_a_connection_fault(settings: Settings) -> None:
    claude = ClaudeModel(replace(settings, base_url="http://127.0.0.1:9", max_attempts=2))
    events = await answer(claude)
    await claude.close()
    assert kinds(events) == ["RetryNotice", "StepFailed"]
    assert failed(events).code == "connection"
    assert "127.0.0.1:9" in failed(events).message


async def test_no_answer_in_time_is_a_timeout(settings: Settings, model_server: ModelServer) -> None:
    claude = ClaudeModel(replace(settings, read_timeout_s=0.2, max_cuts=1))
    model_server.script([NoHeaders(), NoHeaders()])
    events = await answer(claude)
    await claude.close()
    assert kinds(events) == ["RetryNotice", "StepFailed"]
    assert failed(events).code == "timeout"


async def test_a_web_page_is_no_model(settings: Settings, model_server: ModelServer) -> None:
    page = HttpError(200, body="<html>Please log in</html>", headers={"content-type": "text/html; charset=utf-8"})
    model_server.script([page])
    claude = ClaudeModel(settings)
    error = failed(await answer(claude))
    await claude.close()
    assert error.code == "bad_endpoint"
    assert "text/html" in error.message


# -- faults in mid-stream --------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Drop(), "connection"),
        (CleanEnd(), "truncated"),
        (Malformed(), "malformed"),
        (ErrorEvent(), "overloaded"),
        (ErrorEvent("rate_limit_error", "Slow down"), "rate_limited"),
        (ErrorEvent("api_error", "Oops"), "server_error"),
        (ErrorEvent("timeout_error", "Late"), "timeout"),
        (RawEvent("content_block_delta", {"index": 7, "delta": {"type": "text_delta", "text": "x"}}), "malformed"),
    ],
)
async def test_a_broken_answer_is_reset_and_asked_again(
    claude: ClaudeModel, model_server: ModelServer, fault: Any, code: str
) -> None:
    model_server.script([Reply(Text("Half an ans", fault)), "A whole answer."])
    events = await answer(claude)
    reset = next(i for i, e in enumerate(events) if isinstance(e, AttemptReset))
    told = events[reset]
    assert isinstance(told, AttemptReset)
    assert told.code == code
    assert said(events[:reset]) == "Half an ans"
    assert isinstance(events[reset + 1], StepOpened)
    assert said(events[reset:]) == "A whole answer."
    assert closed(events).content == [text("A whole answer.")]


async def test_a_stall_is_noticed_by_the_watchdog(settings: Settings, model_server: ModelServer) -> None:
    model_server.script([Reply(Text("Half", Stall())), "Whole."])
    claude = ClaudeModel(replace(settings, read_timeout_s=2.0))
    events = await answer(claude)
    await claude.close()
    assert [e.code for e in events if isinstance(e, AttemptReset)] == ["stalled"]
    assert said(events) == "HalfWhole."


@pytest.mark.parametrize(
    ("silence", "code"), [(Reply(Text("Half", Stall())), "stalled"), (NoHeaders(), "timeout")], ids=["stall", "nothing"]
)
async def test_a_silence_is_borne_three_times_however_many_cuts_are(
    settings: Settings, model_server: ModelServer, silence: Any, code: str
) -> None:
    model_server.script([silence] * 3)
    claude = ClaudeModel(replace(settings, read_timeout_s=1.0, max_cuts=5, max_attempts=6))
    events = await answer(claude)
    await claude.close()
    assert failed(events).code == code
    assert len(model_server.requests) == 3


async def test_pings_keep_the_watchdog_quiet(settings: Settings, model_server: ModelServer) -> None:
    gates = [Gate() for _ in range(5)]
    pieces: list[Any] = [piece for gate in gates for piece in (gate, Ping())]
    model_server.script([Reply(Text("a", *pieces, "b"))])
    claude = ClaudeModel(replace(settings, read_timeout_s=2.0))
    timers = [threading.Timer(0.5 * (n + 1), gate.open) for n, gate in enumerate(gates)]
    for timer in timers:
        timer.start()
    events = await answer(claude)
    await claude.close()
    assert said(events) == "ab"
    assert "AttemptReset" not in kinds(events)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (EmptyStream(), "truncated"),
        (Reply(opening=[ErrorEvent()]), "overloaded"),
        (Reply(opening=[Drop()]), "connection"),
        (Reply(opening=[Malformed()]), "malformed"),
    ],
)
async def test_a_stream_that_never_began_resets_nothing(
    claude: ClaudeModel, model_server: ModelServer, reply: Any, code: str
) -> None:
    model_server.script([reply, "Now."])
    events = await answer(claude)
    notice = events[0]
    assert isinstance(notice, RetryNotice)
    assert notice.code == code
    assert "AttemptReset" not in kinds(events)
    assert said(events) == "Now."


@pytest.mark.parametrize("raw", ['{"path": "a.ipynb", "code', '{"a": }', "[1, 2]", '"text"'])
async def test_a_call_that_cannot_be_read_is_never_handed_over(
    claude: ClaudeModel, model_server: ModelServer, raw: str
) -> None:
    model_server.script([Reply(ToolUse("look", raw=raw)), "Sorry."])
    events = await answer(claude)
    assert [e.code for e in events if isinstance(e, AttemptReset)] == ["malformed"]
    assert closed(events).content == [text("Sorry.")]


async def test_a_call_cut_by_max_tokens_comes_with_an_empty_input(
    claude: ClaudeModel, model_server: ModelServer
) -> None:
    model_server.script([Reply(ToolUse("look", raw='{"code": "impor'), stop_reason="max_tokens")])
    step = closed(await answer(claude))
    assert step.stop_reason == "max_tokens"
    assert step.content[0]["input"] == {}


async def test_cuts_end_too(claude: ClaudeModel, model_server: ModelServer) -> None:
    model_server.script([Reply(Text("Half", Drop()))] * 3)
    events = await answer(claude)
    assert kinds(events).count("AttemptReset") == 2
    assert failed(events).code == "connection"


async def test_a_drop_after_any_event_is_survived(claude: ClaudeModel, model_server: ModelServer) -> None:
    for count in range(1, 14):
        parts = (Think("Hm, well."), Text("One two"), ToolUse("look", {"a": 1}))
        model_server.script([Reply(*parts, drop_after_events=count), Reply(*parts)])
        step = closed(await answer(claude))
        assert step.stop_reason == "tool_use"
        assert len(step.content) == 3


# -- parameters that an endpoint does not take ---------------------------------------


async def test_thinking_is_left_out_once_it_was_refused(settings: Settings) -> None:
    with ModelServer() as server:
        claude = ClaudeModel(replace(settings, base_url=server.url))
        server.script(["One.", "Two."])
        request = replace(asking(), model="claude-haiku-4-5")
        first, second = await answer(claude, request), await answer(claude, request)
        await claude.close()
    notice = first[0]
    assert isinstance(notice, RetryNotice)
    assert notice.code == "parameter_dropped"
    assert said(first) == "One."
    assert kinds(second)[0] == "StepOpened"
    assert said(second) == "Two."
    assert len(server.refusals) == 1
    assert "thinking" not in server.requests[-1].body


async def test_the_models_list_tells_beforehand_what_is_not_taken(
    claude: ClaudeModel, model_server: ModelServer
) -> None:
    model_server.script(["Fine."])
    await claude.list_models()
    events = await answer(claude, replace(asking(), model="claude-haiku-4-5"))
    assert kinds(events)[0] == "StepOpened"


async def test_notes_join_the_user_message_where_no_system_role_is_taken(settings: Settings) -> None:
    with ModelServer() as server:
        claude = ClaudeModel(settings=replace(settings, base_url=server.url))
        server.script(["Noted."])
        note = ApiMessage(role="system", content=[text("The notebook changed.")])
        request = replace(asking(user("hi"), note), model="claude-sonnet-5")
        events = await answer(claude, request)
        await claude.close()
    assert said(events) == "Noted."
    assert server.requests[-1].messages == [
        {"role": "user", "content": [text("hi"), text("<system-note>\nThe notebook changed.\n</system-note>")]}
    ]


@pytest.mark.parametrize(
    ("message", "gone"),
    [
        ("cache_control: Extra inputs are not permitted", "cache_control"),
        ("tools.0.custom.eager_input_streaming: Extra inputs are not permitted", "eager_input_streaming"),
        ("thinking: unknown field", "thinking"),
    ],
)
async def test_an_endpoint_may_refuse_a_parameter(
    claude: ClaudeModel, model_server: ModelServer, message: str, gone: str
) -> None:
    model_server.script([HttpError(400, message=message), "Fine."])
    assert said(await answer(claude)) == "Fine."
    assert gone not in json.dumps(model_server.requests[-1].body)


async def test_thinking_that_is_bound_elsewhere_is_dropped_and_told(settings: Settings) -> None:
    with ModelServer() as server:
        claude = ClaudeModel(replace(settings, base_url=server.url))
        server.script([Reply(Think("Hm."), "One."), "Two.", "Three."])
        first = closed(await answer(claude, asking(user("a"))))
        changed = [user("b"), ApiMessage(role="assistant", content=first.content), user("c")]
        second = await answer(claude, asking(*changed))
        third = await answer(claude, asking(*changed))
        await claude.close()
    notice = second[0]
    assert isinstance(notice, RetryNotice)
    assert notice.code == "reasoning_dropped"
    assert said(second) == "Two."
    assert kinds(third)[0] == "StepOpened"
    assert said(third) == "Three."
    assert [r.message for r in server.refusals] == [
        "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation."
    ]


async def test_reasoning_of_another_endpoint_is_left_out_and_told(settings: Settings) -> None:
    thought: Block = {"type": "thinking", "thinking": "Hm.", "signature": "demo"}
    call: Block = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    result: Block = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("seen")]}
    history = [
        user("a"),
        ApiMessage(role="assistant", content=[thought, text("Looking."), call]),
        user(result),
        ApiMessage(role="assistant", content=[thought]),
        user("b"),
    ]
    with ModelServer() as server:
        claude = ClaudeModel(replace(settings, base_url=server.url))
        server.script(["One.", "Two."])
        first = await answer(claude, asking(*history))
        second = await answer(claude, asking(*history))
        await claude.close()
    assert [e.code for e in first if isinstance(e, RetryNotice)] == ["reasoning_dropped"]
    assert said(first) == "One."
    assert kinds(second)[0] == "StepOpened"
    assert [m["role"] for m in server.requests[-1].messages] == ["user", "assistant", "user", "user"]
    assert len(server.refusals) == 1


async def test_a_history_that_ends_in_reasoning_does_not_lock_the_session(settings: Settings) -> None:
    with ModelServer() as server:
        claude = ClaudeModel(replace(settings, base_url=server.url))
        server.script([Reply(Think("Hm."), "One."), "Two."])
        step = closed(await answer(claude))
        history = [user("hi"), ApiMessage(role="assistant", content=step.content[:1]), user("go on")]
        assert said(await answer(claude, asking(*history))) == "Two."
        await claude.close()
    assert "thinking" in server.requests[-1].body


async def test_a_session_that_began_with_the_demo_goes_on_with_claude(
    claude: ClaudeModel, model_server: ModelServer
) -> None:
    model_server.script(["Hello."])
    events = await answer(claude, replace(asking(), model="demo"))
    first = events[0]
    assert isinstance(first, StepOpened)
    assert first.model == MODEL


# -- keys and endpoints -------------------------------------------------------------------


async def test_without_any_key_the_first_step_says_so(tmp_path: Path) -> None:
    claude = ClaudeModel(Settings(data_dir=tmp_path))
    error = failed(await answer(claude))
    assert error.code == "auth"
    assert "ANTHROPIC_API_KEY" in error.hint
    await claude.close()


async def test_the_environment_is_enough(
    tmp_path: Path, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in model_server.environment.items():
        monkeypatch.setenv(name, value)
    model_server.script(["Hello."])
    claude = ClaudeModel(Settings(data_dir=tmp_path))
    assert said(await answer(claude)) == "Hello."
    await claude.close()


async def test_an_endpoint_without_a_key_gets_a_placeholder(tmp_path: Path) -> None:
    with ModelServer(key="no-key-configured") as server:
        server.script(["Hello."])
        claude = ClaudeModel(Settings(data_dir=tmp_path, base_url=server.url))
        assert said(await answer(claude)) == "Hello."
        await claude.close()


async def test_a_gateway_may_read_the_key_from_its_own_header(settings: Settings, model_server: ModelServer) -> None:
    model_server.script([HttpError(401, message="x-api-key header is required"), "Hello.", "Again."])
    claude = ClaudeModel(settings)
    assert said(await answer(claude)) == "Hello."
    assert said(await answer(claude)) == "Again."
    await claude.close()
    assert [r.headers.get("x-api-key") for r in model_server.requests] == [None, model_server.key, model_server.key]


async def test_default_headers_are_sent(settings: Settings, model_server: ModelServer) -> None:
    model_server.script(["Hello."])
    claude = ClaudeModel(replace(settings, default_headers={"x-team": "data"}))
    await answer(claude)
    await claude.close()
    assert model_server.requests[0].headers["x-team"] == "data"


async def test_the_key_is_in_no_repr(settings: Settings) -> None:
    assert settings.api_key is not None
    assert settings.api_key not in repr(settings)


# -- stopping ------------------------------------------------------------------------------


async def test_cancelling_closes_the_connection_at_once(claude: ClaudeModel, model_server: ModelServer) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half", gate)), "Next."])
    task = asyncio.ensure_future(answer(claude))
    await gate.until_reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(model_server.requests[0].disconnected.wait, BOUND_S)
    assert said(await answer(claude)) == "Next."


async def test_closing_the_iterator_closes_the_connection(claude: ClaudeModel, model_server: ModelServer) -> None:
    model_server.script([Reply(Text("Half", Gate()))])
    async with aclosing(claude.stream(asking())) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert await asyncio.to_thread(model_server.requests[0].disconnected.wait, BOUND_S)


async def test_cancelling_a_wait_between_attempts_ends_it(settings: Settings, model_server: ModelServer) -> None:
    model_server.script([HttpError(529)])
    claude = ClaudeModel(replace(settings, max_retry_delay_s=3600.0))
    noticed = asyncio.Event()

    async def listen() -> None:
        model_server.script([HttpError(429, headers={"retry-after": "3000"})])
        async for event in claude.stream(asking()):
            if isinstance(event, RetryNotice):
                noticed.set()

    task = asyncio.ensure_future(listen())
    await asyncio.wait_for(noticed.wait(), BOUND_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, BOUND_S)
    await claude.close()


# -- models --------------------------------------------------------------------------------


async def test_the_picker_shows_the_endpoints_models(claude: ClaudeModel) -> None:
    models = {model.id: model for model in await claude.list_models()}
    assert models[MODEL].display_name == "Claude Sonnet 5.5"
    assert models["claude-sonnet-4-5"].deprecated
    assert "claude-opus-4-0" not in models


async def test_without_a_list_the_known_models_and_the_configured_one_are_shown(
    settings: Settings, model_server: ModelServer
) -> None:
    model_server.models_error = HttpError(404)
    claude = ClaudeModel(replace(settings, model="local-llama"))
    ids = [model.id for model in await claude.list_models()]
    await claude.close()
    assert ids[0] == "local-llama"
    assert MODEL in ids
