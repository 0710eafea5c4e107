"""Those who judge are judged: each rule of order is broken once, and noticed."""

# pyright: basic

from __future__ import annotations

from typing import Any

import pytest

from jupyter_agent.store.failpoints import Failpoint

from .book import check_log

Json = dict[str, Any]


def good() -> list[Json]:
    """A short log that breaks no rule: a text, a call that is asked for and answered, an end."""
    user = {"id": "msg_u", "role": "user", "turn_id": "trn_1"}
    answer = {"id": "msg_a", "role": "assistant", "turn_id": "trn_1"}
    text = {"id": "prt_1", "type": "text", "state": "streaming"}
    tool = {"id": "prt_2", "type": "tool", "state": "input-streaming"}
    told: list[tuple[str, Json]] = [
        ("message.added", {"message": user}),
        ("turn.started", {"turn": {"id": "trn_1", "trigger": "user"}}),
        ("message.added", {"message": answer}),
        ("step.started", {"step": 1}),
        ("part.added", {"message_id": "msg_a", "part": text}),
        ("part.delta", {"part_id": "prt_1", "at": 0, "field": "text", "delta": "Hm"}),
        ("part.done", {"message_id": "msg_a", "part": {**text, "state": "done"}}),
        ("part.added", {"message_id": "msg_a", "part": tool}),
        ("tool.state", {"part_id": "prt_2", "state": "input-available", "rev": 2}),
        ("tool.state", {"part_id": "prt_2", "state": "approval-requested", "rev": 3}),
        ("approval.requested", {"approval": {"id": "apr_1"}}),
        ("approval.resolved", {"id": "apr_1"}),
        ("tool.state", {"part_id": "prt_2", "state": "output-denied", "rev": 4}),
        ("step.started", {"step": 2}),
        ("turn.ended", {"turn": "trn_1"}),
    ]
    return [{"seq": i, "ts": i, "turn": "trn_1", "type": kind, "d": d} for i, (kind, d) in enumerate(told, start=1)]


def numbered(log: list[Json]) -> list[Json]:
    """The same events, counted anew."""
    return [{**event, "seq": i, "ts": i} for i, event in enumerate(log, start=1)]


def without(*gone: int) -> list[Json]:
    """The good log without these events."""
    return numbered([event for event in good() if event["seq"] not in gone])


def moved(seq: int, before: int) -> list[Json]:
    """The good log with one event at another place."""
    log = good()
    event = log.pop(seq - 1)
    log.insert(before - 1, event)
    return numbered(log)


def test_a_good_log_passes() -> None:
    check_log(good(), at_rest=True)
    check_log(good()[:9], at_rest=False)


@pytest.mark.parametrize(
    ("log", "complaint"),
    [
        ([event for event in good() if event["seq"] != 6], "a gap"),
        ([*good(), {**good()[5], "seq": 16, "ts": 16}], "after its turn's end"),
        (numbered([*good()[:5], {**good()[4]}, *good()[5:]]), "opened twice"),
        (moved(1, before=3), "before its message was there"),
        (without(7), "leaves open"),
        (without(5), "not open"),
        (without(12), "leaves unanswered"),
        (moved(13, before=15), "had come to rest"),
        (without(9, 10, 11, 12, 13), "had come to rest"),
        (without(9), "approval-requested"),
        (numbered([*good()[:4], good()[1], *good()[4:]]), "two turns at once"),
        (without(11), "answers no open question"),
        (without(15), "never ended"),
        ([{**event, "ts": 20 - event["seq"]} for event in good()], "backwards"),
    ],
)
def test_a_broken_rule_is_noticed(log: list[Json], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_log(log, at_rest=True)


@pytest.mark.parametrize("spec", ["", "commit:3", "during_commit:delta", "after_commit:delta:0", "after_commit:"])
def test_a_failpoint_that_makes_no_sense_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="JUPYTER_AGENT_FAILPOINT"):
        Failpoint.parse(spec)
