"""What is too large for a frame: cut or left out by the same rule everywhere, and never over the limit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_agent.protocol import fold
from jupyter_agent.protocol.cut import fit_message, fit_snapshot, frames_of, size

LIMIT = 64 * 1024


def text(idx: int, length: int, state: str = "done") -> dict[str, Any]:
    """A part that says something."""
    return {"id": f"prt_{idx}", "idx": idx, "type": "text", "text": "x" * length, "state": state, "superseded": False}


def answer(parts: list[dict[str, Any]], status: str = "complete") -> dict[str, Any]:
    """A message of these parts."""
    return {"id": "msg_1", "role": "assistant", "status": status, "parts": parts, "truncated": False}


def snapshot_of(*messages: dict[str, Any]) -> dict[str, Any]:
    """The body of a snapshot."""
    rest: dict[str, Any] = {"queue": [], "paused": False, "approvals": [], "tasks": [], "turn": None}
    page = {"before": None, "has_more": False}
    session = {"updated_at": 0, "status": "ready"}
    return {"as_of": 1, "session": session, "messages": list(messages), "page": page, "last_outcome": None, **rest}


@given(
    lengths=st.lists(st.integers(0, 3_000), max_size=200) | st.lists(st.integers(0, 200_000), max_size=8),
    status=st.sampled_from(["complete", "streaming"]),
)
def test_events_and_snapshots_of_any_message_fit_and_agree(lengths: list[int], status: str) -> None:
    message = answer([text(idx, length) for idx, length in enumerate(lengths)], status)
    event = {"seq": 1, "ts": 1, "turn": None, "type": "message.updated", "d": {"message": message}}
    [(frame, count)] = frames_of("ses_1", "ep", [event], LIMIT)
    assert count == 1
    assert len(frame.text) <= LIMIT
    told = fit_snapshot(snapshot_of(fit_message(message, LIMIT // 2)), LIMIT)
    assert size(told) <= LIMIT
    heard = frame.data["d"]["message"]
    assert heard == told["messages"][0]
    assert [part["idx"] for part in heard["parts"]] == list(range(len(lengths)))[-len(heard["parts"]) :]
    assert heard["parts"] or not lengths


@pytest.mark.parametrize("count", [1_000, 20_000])
def test_a_view_keeps_the_parts_that_a_frame_leaves_out(count: int) -> None:
    parts = [text(idx, 20) for idx in range(count)]
    view = {**fold.empty(), **snapshot_of(answer(parts, "streaming")), "ep": "ep", "seq": 0}
    event = {"seq": 1, "ts": 1, "turn": None, "type": "message.updated", "d": {"message": answer(parts)}}
    [(frame, _)] = frames_of("ses_1", "ep", [event], LIMIT)
    assert len(frame.data["d"]["message"]["parts"]) < count
    assert fold.fold(view, frame.data)["messages"] == [answer(parts)]


def test_an_open_part_is_never_cut() -> None:
    # The deltas that follow are counted from its text.
    message = answer([text(0, LIMIT, "streaming")], "streaming")
    assert fit_message(message, LIMIT // 2) is message
