"""History repair: whatever a crash leaves, the API takes what comes out; what was sound stays as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_agent.agent.model import ApiMessage
from jupyter_agent.agent.repair import CUT_RESULT, MOST_LEVEL, repair
from tests.model_rules import API_VERSION, Rules

Json = dict[str, Any]


def user(*blocks: Json) -> ApiMessage:
    return ApiMessage(role="user", content=list(blocks))


def assistant(*blocks: Json) -> ApiMessage:
    return ApiMessage(role="assistant", content=list(blocks))


def text(said: str) -> Json:
    return {"type": "text", "text": said}


def call(call_id: str) -> Json:
    return {"type": "tool_use", "id": call_id, "name": "look", "input": {}}


def result(call_id: str) -> Json:
    return {"type": "tool_result", "tool_use_id": call_id, "content": "seen"}


def thought(signature: str = "sig") -> Json:
    return {"type": "thinking", "thinking": "Hm.", "signature": signature}


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}}

CALLS = st.sampled_from(["toolu_1", "toolu_2", "toolu_3"])
TEXTS = st.builds(text, st.sampled_from(["", "  ", "Hello.", "🐍"]))
SAID = st.lists(st.one_of(TEXTS, st.just(IMAGE), st.builds(result, CALLS)), max_size=4)
ANSWERED = st.lists(st.one_of(TEXTS, st.builds(thought, st.sampled_from(["", "sig"]))), max_size=3)


def spoken(blocks: list[Json], calls: list[str]) -> ApiMessage:
    """An answer; its calls come last, each once: the model itself breaks no rule."""
    return assistant(*blocks, *(call(call_id) for call_id in calls))


def words(blocks: list[Json]) -> ApiMessage:
    """What the user said."""
    return user(*blocks)


ASSISTANT = st.builds(spoken, ANSWERED, st.lists(CALLS, max_size=3, unique=True))
HISTORIES = st.lists(st.one_of(st.builds(words, SAID), ASSISTANT), max_size=8)


def refusal(messages: list[ApiMessage]) -> Any:
    """What the API says to this history, thinking's own seals apart."""
    rules = Rules()
    body: Json = {
        "model": "claude-sonnet-5",
        "max_tokens": 100,
        "messages": [{"role": m.role, "content": copy.deepcopy(m.content)} for m in messages],
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "stream": True,
    }
    headers = {"authorization": "Bearer k", "anthropic-version": API_VERSION}
    return rules.refuse(headers, body)


def unique_calls(history: list[ApiMessage]) -> list[ApiMessage]:
    """Name each call anew, as the API does; a result names the newest call of that name."""
    count, now = 0, dict[str, str]()
    renamed: list[ApiMessage] = []
    for message in history:
        content = copy.deepcopy(message.content)
        for block in content:
            if block["type"] == "tool_use":
                count += 1
                now[block["id"]] = f"{block['id']}_{count}"
                block["id"] = now[block["id"]]
            elif block["type"] == "tool_result":
                block["tool_use_id"] = now.get(block["tool_use_id"], block["tool_use_id"])
        renamed.append(ApiMessage(role=message.role, content=content))
    return renamed


@given(history=HISTORIES, level=st.integers(0, MOST_LEVEL))
def test_whatever_is_left_comes_out_acceptable_and_a_second_time_unchanged(
    history: list[ApiMessage], level: int
) -> None:
    mended = repair([user(text("go")), *unique_calls(history)], level)
    roles = [message.role for message in mended]
    assert roles == [("user", "assistant")[i % 2] for i in range(len(roles))]
    assert roles[-1] == "user"
    assert repair(mended, level) == mended
    refused = refusal(mended)
    assert refused is None or "signature" in refused.message, refused


@given(history=HISTORIES)
def test_nothing_that_was_said_is_lost(history: list[ApiMessage]) -> None:
    before = unique_calls(history)
    said = [b["text"] for m in before for b in m.content if b["type"] == "text" and b["text"].strip()]
    calls = [b["id"] for m in before for b in m.content if b["type"] == "tool_use"]
    after = repair(before)
    kept = [b["text"] for m in after for b in m.content if b["type"] == "text"]
    assert [word for word in kept if not word.startswith("(")] == said
    assert [b["id"] for m in after for b in m.content if b["type"] == "tool_use"] == calls
    answers = [b["tool_use_id"] for m in after for b in m.content if b["type"] == "tool_result"]
    assert answers == calls


def test_a_sound_history_is_sent_as_it_is() -> None:
    history = [
        user(text("go")),
        assistant(thought(), text("Look: "), call("a"), call("b")),
        user(result("a"), result("b"), text("and hurry")),
        assistant(thought(), text("Done.")),
        user(text("thanks")),
    ]
    assert repair(history) == history


def test_a_call_without_an_answer_gets_the_same_one_each_time() -> None:
    history = [user(text("go")), assistant(call("a"), call("b")), user(result("b"), text("now"))]
    *_, last = repair(history)
    assert [block.get("tool_use_id") for block in last.content] == ["a", "b", None]
    assert last.content[0]["content"] == CUT_RESULT
    assert repair(history)[-1] == last


def test_a_paused_answer_may_stand_last() -> None:
    history = [user(text("go")), assistant(text("Wait."))]
    assert repair(history, paused=True) == history
    assert repair(history)[-1].role == "user"


@pytest.mark.parametrize(
    ("level", "gone"),
    [(1, {"thinking"}), (2, {"thinking", "image"}), (4, {"thinking", "image", "tool_use", "tool_result"})],
)
def test_each_level_is_plainer(level: int, gone: set[str]) -> None:
    drawn = {**result("a"), "content": [text("Here:"), IMAGE]}
    history = [user(text("go"), IMAGE), assistant(thought(), call("a")), user(drawn)]
    blocks = [block for message in repair(history, level) for block in message.content]
    within = [inner for block in blocks if block["type"] == "tool_result" for inner in block["content"]]
    assert not {block["type"] for block in [*blocks, *within]} & gone


def test_calls_of_the_live_turn_stay_calls_at_level_three() -> None:
    history = [
        user(text("one")), assistant(call("a")), user(result("a")), assistant(text("Done.")),
        user(text("two")), assistant(call("b")), user(result("b")),
    ]  # fmt: skip
    blocks = [block for message in repair(history, 3) for block in message.content]
    assert [block["id"] for block in blocks if block["type"] == "tool_use"] == ["b"]
    assert any("I called look" in block.get("text", "") for block in blocks)
