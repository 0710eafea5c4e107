"""Sessions in the AI SDK's chunks. What its own reader makes of them is tested in ``js/test/ai-sdk.test.ts``.

A new or changed golden conversation is mapped anew by ``JUPYTER_AGENT_GOLDEN=write pytest`` here, too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.protocol.fold import View, empty, fold
from jupyter_agent.protocol.ui_chunks import UiChunks

Json = dict[str, Any]
GOLDEN = Path(__file__).parents[1] / "golden"
RECORDINGS = sorted(path.stem for path in GOLDEN.glob("*.jsonl"))


def frames_of(name: str) -> list[Json]:
    lines = (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry["frame"] for entry in map(json.loads, lines) if "frame" in entry]


def turns_of(frames: list[Json]) -> list[list[Json]]:
    """Map a recording turn by turn, as a client of each turn would hear it."""
    turns: list[list[Json]] = []
    mapper, chunks = UiChunks(), list[Json]()
    for frame in frames:
        chunks += mapper.take(frame)
        if mapper.over:
            turns.append(chunks)
            mapper, chunks = UiChunks(), []
    assert not chunks, "a recording ends with its turn"
    return turns


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_maps_to_the_chunks_that_were_written_down(name: str) -> None:
    turns = turns_of(frames_of(name))
    written = "".join(json.dumps(chunks, sort_keys=True) + "\n" for chunks in turns)
    path = GOLDEN / "ui" / f"{name}.jsonl"
    if os.environ.get("JUPYTER_AGENT_GOLDEN") == "write":
        path.write_text(written, encoding="utf-8")
    assert turns
    assert written == path.read_text(encoding="utf-8")


def told(chunks: list[Json]) -> dict[str, Any]:
    """What the chunks say in the end, however often they were interrupted."""
    said: dict[str, Any] = {}
    for chunk in chunks:
        match chunk["type"]:
            case "text-delta" | "reasoning-delta":
                said[chunk["id"]] = said.get(chunk["id"], "") + chunk["delta"]
            case "tool-input-available":
                said.setdefault(chunk["toolCallId"], {})["input"] = chunk["input"]
            case "tool-output-available" | "tool-output-error" | "tool-output-denied":
                said[chunk["toolCallId"]]["end"] = {k: v for k, v in chunk.items() if k != "toolCallId"}
            case _:
                pass
    return said


def takes_back(name: str) -> bool:
    """Tell whether something is said that who joins later never hears."""
    return any(frame["type"] == "step.reset" for frame in frames_of(name))


@pytest.mark.parametrize("name", [name for name in RECORDINGS if not takes_back(name)])
def test_who_joins_in_the_middle_is_told_the_same(name: str) -> None:
    frames = frames_of(name)
    whole = UiChunks()
    everything = [chunk for frame in frames for chunk in whole.take(frame)]
    view: View = empty()
    for n, frame in enumerate(frames):
        view = fold(view, frame)
        if view["session"] is None:
            continue  # nobody joins before there is a snapshot
        late = UiChunks()
        snapshot = {key: view[key] for key in view if key not in ("ep", "seq")} | {"as_of": view["seq"]}
        chunks = late.take({"v": 1, "sid": "s", "ep": "e", "ts": 0, "turn": None, "type": "snapshot", "d": snapshot})
        for later in frames[n + 1 :]:
            chunks += late.take(later)
        assert told(chunks) == told(everything), n
        assert late.over == whole.over


def _turn(*events: tuple[str, Json]) -> list[Json]:
    """Frames of one turn around these events."""
    turn: Json = {"id": "t", "message_id": "m", "mode": "build", "trigger": "user", "status": "running", "step": 0}
    message: Json = {"id": "m", "role": "assistant", "status": "streaming", "parts": []}
    told: list[tuple[str, Json]] = [("turn.started", {"turn": turn}), ("message.added", {"message": message})]
    body: list[tuple[str, Json]] = [*told, ("step.started", {"step": 1, "model": "x"}), *events]
    return [
        {"v": 1, "sid": "s", "ep": "e", "seq": n + 1, "ts": 0, "turn": "t", "type": tag, "d": d}
        for n, (tag, d) in enumerate(body)
    ]


def _ended(outcome: str, **more: Any) -> tuple[str, Json]:
    return "turn.ended", {"turn": "t", "outcome": outcome, "error": None, "usage": {}, "message_ids": ["m"], **more}


def _tool(**facts: Any) -> Json:
    base = {"id": "p", "idx": 0, "type": "tool", "tool_call_id": "c", "name": "run_cell", "state": "input-streaming"}
    rest = {"input": None, "output": None, "error": None, "approval_id": None, "rev": 1, "superseded": False}
    return {**base, **rest, **facts}


def _types(frames: list[Json]) -> list[str]:
    mapper = UiChunks()
    return [chunk["type"] for frame in frames for chunk in mapper.take(frame)]


ADDED = ("part.added", {"message_id": "m", "part": _tool()})
ASKED = (
    "tool.state",
    {"part_id": "p", "state": "approval-requested", "rev": 2, "running": False, "input": {"a": 1}, "approval_id": "q"},
)


def test_a_denied_call_is_told_with_its_question_and_its_answer() -> None:
    answer = {"id": "q", "rev": 2, "decision": "deny", "by": "me", "road": "panel", "reason": "not now"}
    denied = {"part_id": "p", "state": "output-denied", "rev": 3, "running": False, "reason": "denied"}
    frames = _turn(ADDED, ASKED, ("approval.resolved", answer), ("tool.state", denied), _ended("completed"))
    mapper = UiChunks()
    chunks = [chunk for frame in frames for chunk in mapper.take(frame)]
    assert [chunk["type"] for chunk in chunks] == [
        "start",
        "start-step",
        "tool-input-start",
        "tool-input-available",
        "tool-approval-request",
        "tool-approval-response",
        "tool-output-denied",
        "finish-step",
        "finish",
    ]
    assert chunks[5] == {"type": "tool-approval-response", "approvalId": "q", "approved": False, "reason": "not now"}


def test_a_call_whose_input_never_closed_ends_as_an_error_of_its_input() -> None:
    broken = {"part_id": "p", "state": "output-error", "rev": 2, "running": False, "error": "Stopped."}
    assert _types(_turn(ADDED, ("tool.state", broken), _ended("stopped")))[2:] == [
        "tool-input-start",
        "tool-input-error",
        "finish-step",
        "message-metadata",
        "abort",
    ]


@pytest.mark.parametrize(
    ("outcome", "reason"), [("completed", "stop"), ("interrupted", "interrupted"), ("step_limit", "other")]
)
def test_the_end_of_a_turn_says_how_it_ended(outcome: str, reason: str) -> None:
    mapper = UiChunks()
    last = [chunk for frame in _turn(_ended(outcome)) for chunk in mapper.take(frame)][-1]
    assert (last["type"], last["finishReason"]) == ("finish", reason)
    assert last["messageMetadata"]["outcome"] == outcome


def test_a_failed_turn_says_why() -> None:
    error = {"code": "overloaded", "message": "Claude is busy.", "retryable": True}
    mapper = UiChunks()
    chunks = [chunk for frame in _turn(_ended("failed", error=error)) for chunk in mapper.take(frame)]
    told = [chunk["type"] for chunk in chunks[-3:]]
    assert told == ["message-metadata", "error", "finish"]
    assert chunks[-3]["messageMetadata"]["outcome"] == "failed"
    assert chunks[-2] == {"type": "error", "errorText": "Claude is busy."}


def test_superseded_parts_are_taken_back_and_heard_of_no_more() -> None:
    reset = ("step.reset", {"step": 1, "parts": ["p"]})
    late = ("tool.state", {"part_id": "p", "state": "output-error", "rev": 2, "running": False, "error": "never ran"})
    types = _types(_turn(ADDED, reset, late, _ended("completed")))
    assert types == ["start", "start-step", "tool-input-start", "reset-step", "finish-step", "finish"]
