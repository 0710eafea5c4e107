"""The model server is held to what the real API does, seen through the real SDK."""

# Sends what the SDK's types would not let through.
# pyright: basic

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from .model_server import (
    CleanEnd,
    Gate,
    HttpError,
    ModelServer,
    Ping,
    RawBlock,
    Reply,
    Request,
    Text,
    Think,
    ToolUse,
    words,
)

TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
MODEL = "claude-sonnet-5-5"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def client(server: ModelServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key=server.key, base_url=server.url, max_retries=0, timeout=45) as client:
        yield client


def ask(client: anthropic.Anthropic, messages: list[Any], **options: Any) -> Any:
    options = {"max_tokens": 1000, "tools": [TOOL], "model": MODEL, **options}
    with client.messages.stream(messages=messages, **options) as stream:
        return stream.get_final_message()


def user(*content: Any) -> dict[str, Any]:
    return {
        "role": "user",
        "content": [{"type": "text", "text": c} if isinstance(c, str) else c for c in content],
    }


def result(call: str, text: str = "seen") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call, "content": [{"type": "text", "text": text}]}


def test_a_reply_of_every_kind_reaches_the_sdk_as_it_was_scripted(
    server: ModelServer, client: anthropic.Anthropic
) -> None:
    redacted = {"type": "redacted_thinking", "data": "abc"}
    server.script(
        [
            Reply(
                Think("Hm, hm."),
                RawBlock(redacted),
                Text("Two ", Ping(), "calls."),
                ToolUse("look"),
                ToolUse("look", {"a": "ü"}),
            )
        ]
    )
    message = ask(client, [user("hi")], thinking={"type": "adaptive", "display": "summarized"})
    blocks = [b.to_dict() for b in message.content]
    assert [b["type"] for b in blocks] == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]
    assert blocks[0]["thinking"] == "Hm, hm."
    assert blocks[0]["signature"]
    assert blocks[2]["text"] == "Two calls."
    assert blocks[3]["input"] == {}
    assert blocks[4]["input"] == {"a": "ü"}
    assert message.stop_reason == "tool_use"
    assert server.refusals == []
    assert server.remaining == 0


def test_thinking_is_empty_unless_a_summary_is_asked_for(server: ModelServer, client: anthropic.Anthropic) -> None:
    server.script([Reply(Think("secret"), "said")])
    blocks = [b.to_dict() for b in ask(client, [user("hi")]).content]
    assert blocks[0]["thinking"] == ""
    assert blocks[0]["signature"]


def test_an_input_may_come_from_an_earlier_result(server: ModelServer, client: anthropic.Anthropic) -> None:
    def from_result(request: Request) -> dict[str, Any]:
        return {"cell": request.find(r"cell (\w+)")}

    server.script([[ToolUse("look", id="toolu_1")], [ToolUse("look", from_result)]])
    first = ask(client, [user("hi")])
    second = ask(
        client,
        [user("hi"), {"role": "assistant", "content": first.content}, user(result("toolu_1", "cell abc"))],
    )
    assert second.content[0].input == {"cell": "abc"}


def test_scripts_are_kept_for_the_conversation_that_they_match(
    server: ModelServer, client: anthropic.Anthropic
) -> None:
    server.script(["for anybody"])
    server.script(["for B"], match="I am B")
    assert ask(client, [user("I am B")]).content[0].text == "for B"
    assert ask(client, [user("I am A")]).content[0].text == "for anybody"


def test_a_gate_holds_the_stream(server: ModelServer, client: anthropic.Anthropic) -> None:
    gate = Gate()
    server.script([[Text("before", gate, " after")]])
    with client.messages.stream(model=MODEL, max_tokens=10, messages=[{"role": "user", "content": "hi"}]) as stream:
        texts = iter(stream.text_stream)
        assert next(texts) == "before"
        gate.wait_reached()
        gate.open()
        assert "".join(texts) == " after"


def test_words_makes_so_many_tokens_and_each_send_is_timed(server: ModelServer, client: anthropic.Anthropic) -> None:
    server.script([words(100)])
    ask(client, [user("hi")])
    assert len(server.tokens) == 100
    times = [t.monotonic for t in server.tokens]
    assert times == sorted(times)


def test_what_was_sent_before_counts_as_read_from_the_cache(server: ModelServer, client: anthropic.Anthropic) -> None:
    server.script(["one", "two"])
    mark: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
    first = ask(client, [user("hi")], **mark)
    history = [user("hi"), {"role": "assistant", "content": first.content}, user("more")]
    second = ask(client, history, **mark)
    assert first.usage.cache_read_input_tokens == 0
    assert first.usage.cache_creation_input_tokens > 0
    assert second.usage.cache_read_input_tokens == first.usage.cache_creation_input_tokens


def test_a_clean_early_end_leaves_no_stop_reason(server: ModelServer, client: anthropic.Anthropic) -> None:
    server.script([[Text("half", CleanEnd())]])
    assert ask(client, [user("hi")]).stop_reason is None


def test_models_and_token_counts_are_served(server: ModelServer, client: anthropic.Anthropic) -> None:
    assert MODEL in {m.id for m in client.models.list()}
    assert client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "hi"}]).input_tokens > 0


def test_a_request_without_stream_takes_nothing_from_a_script(server: ModelServer, client: anthropic.Anthropic) -> None:
    server.script(["kept"])
    message = client.messages.create(model=MODEL, max_tokens=10, messages=[{"role": "user", "content": "title?"}])
    assert message.content[0].to_dict()["text"] == server.plain_reply
    assert server.remaining == 1


# -- refusals ----------------------------------------------------------------------

CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}


def assistant(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


SAID = {"type": "text", "text": "said"}

REFUSED: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "a call without a result": ([user("a"), assistant(CALL), user("b")], {}, "were found without `tool_result`"),
    "a result after text": (
        [user("a"), assistant(CALL), user("b", result("toolu_1"))], {}, "were found without `tool_result`",
    ),
    "a result nobody asked for": ([user(result("toolu_9"))], {}, "unexpected `tool_use_id`"),
    "two results for one call": (
        [user("a"), assistant(CALL), user(result("toolu_1"), result("toolu_1"))], {}, "must have a single result",
    ),
    "a prefill": ([user("a"), assistant(SAID)], {}, "does not support assistant message prefill"),
    "a temperature": ([user("a")], {"extra_body": {"temperature": 1}}, "temperature: Extra inputs"),
    "an empty text": ([user("a"), assistant({"type": "text", "text": ""}), user("b")], {}, "must be non-empty"),
    "a blank text": ([user("  ")], {}, "must contain non-whitespace text"),
    "an empty message": ([user("a"), assistant(), user("b")], {}, "must have non-empty content"),
    "an undeclared tool": (
        [user("a"), assistant({**CALL, "name": "leap"}), user(result("toolu_1"))], {}, "does not define",
    ),
    "a field of the SDK's own": (
        [user("a"), assistant({**SAID, "parsed_output": None}), user("b")], {}, "Extra inputs are not permitted",
    ),
    "a signature of somebody else": (
        [user("a"), assistant({"type": "thinking", "thinking": "", "signature": "x"}, SAID), user("b")], {},
        "Invalid `signature`",
    ),
    "an unknown block": ([user({"type": "hologram"})], {}, "does not match any of the expected tags"),
    "a forced tool": ([user("a")], {"tool_choice": {"type": "any"}}, "forcing tool use"),
    "adaptive thinking where it is unknown": (
        [user("a")], {"thinking": {"type": "adaptive"}, "model": "claude-haiku-4-5"},
        "adaptive thinking is not supported on this model",
    ),
    "an image in an error": (
        [
            user("a"),
            assistant(CALL),
            user({
                **result("toolu_1"), "is_error": True,
                "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}],
            }),
        ],
        {}, "all content must be type `text`",
    ),
    "a system message after another": (
        [user("a"), {"role": "system", "content": "x"}, {"role": "system", "content": "y"}], {},
        "must follow a user message",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses(case: str, server: ModelServer, client: anthropic.Anthropic) -> None:
    messages, options, words = REFUSED[case]
    server.script(["never said"])
    with pytest.raises(anthropic.BadRequestError, match=words):
        ask(client, messages, **options)
    assert len(server.refusals) == 1
    assert server.remaining == 1


def test_it_refuses_a_thinking_block_whose_prefix_changed(server: ModelServer, client: anthropic.Anthropic) -> None:
    server.script([Reply(Think("Hm."), "said"), "fine"])
    turn = assistant(*ask(client, [user("first")]).content)
    with pytest.raises(anthropic.BadRequestError, match="bound to a different conversation") as caught:
        ask(client, [user("changed"), turn, user("next")])
    assert caught.value.request_id
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.1\.content\.0: Invalid"):
        ask(client, [user("first"), turn, user("next")], system="new")
    assert ask(client, [user("first"), turn, user("next")]).content[0].text == "fine"


def test_it_drops_such_blocks_when_told_to(server: ModelServer, client: anthropic.Anthropic) -> None:
    server.script([Reply(Think("Hm."), "said"), "fine"])
    turn = assistant(*ask(client, [user("first")]).content)
    changed: Any = [user("changed"), turn, user("next")]
    with client.beta.messages.stream(
        model=MODEL,
        max_tokens=10,
        messages=changed,
        betas=["thinking-binding-controls-2026-08-01"],
        thinking={"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}},
    ) as stream:
        message = stream.get_final_message()
    assert message.to_dict()["input_transformations"] == [
        {"type": "thinking_dropped", "path": "messages.1.content.0", "reason": "prefix_binding_mismatch"}
    ]


def test_a_paused_turn_may_be_sent_back_as_it_is(server: ModelServer, client: anthropic.Anthropic) -> None:
    server.script([Reply(Think("a"), "paused", stop_reason="pause_turn"), Reply(Think("b"), "done"), "next"])
    first = assistant(*ask(client, [user("go")]).content)
    second = assistant(*ask(client, [user("go"), first]).content)
    joined = assistant(*first["content"], *second["content"])
    assert ask(client, [user("go"), first, second, user("on")]).content[0].text == "next"
    server.script(["next"])
    assert ask(client, [user("go"), joined, user("on")]).content[0].text == "next"
    assert server.refusals == []


def test_it_wants_a_bearer_token_and_the_version(server: ModelServer) -> None:
    with (
        anthropic.Anthropic(api_key="wrong", base_url=server.url, max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        ask(client, [user("hi")])
    with (
        anthropic.Anthropic(
            api_key=server.key,
            base_url=server.url,
            max_retries=0,
            default_headers={"anthropic-version": "2023-06-01"},
        ) as client,
        pytest.raises(anthropic.BadRequestError, match="anthropic-version"),
    ):
        ask(client, [user("hi")])


def test_an_http_error_has_the_apis_shape(server: ModelServer, client: anthropic.Anthropic) -> None:
    server.script([HttpError(529), HttpError(429, headers={"retry-after": "7"})])
    with pytest.raises(anthropic.APIStatusError) as caught:
        ask(client, [user("hi")])
    assert caught.value.type == "overloaded_error"
    assert caught.value.request_id
    with pytest.raises(anthropic.RateLimitError) as limited:
        ask(client, [user("hi")])
    assert limited.value.response.headers["retry-after"] == "7"
