"""What a server says it can do, beyond saying something and stopping it.

A name is said in ``welcome.features`` and never taken back within a major
version. What came to the protocol later has a name of its own here, so that a
newer view can tell an older server; a view needs to ask for none that was
there from the beginning. ``model:<kind>`` follows them: who answers here.
"""

from __future__ import annotations

from .commands import (
    ApprovalAnswer,
    Command,
    Hello,
    History,
    MessageSend,
    Ping,
    QueueEdit,
    QueueRemove,
    QueueReorder,
    QueueResume,
    QueueSendNow,
    SessionClear,
    SessionFork,
    SessionRewind,
    SessionSet,
    Subscribe,
    TaskCreate,
    TaskRun,
    TaskUpdate,
    TurnContinue,
    TurnRetry,
    TurnStop,
)

ALWAYS: tuple[type[Command], ...] = (Hello, Subscribe, MessageSend, TurnStop, SessionSet, Ping)
"""What needs no name."""

FEATURES: dict[str, tuple[type[Command], ...]] = {
    "history": (History,),
    "queue": (QueueEdit, QueueRemove, QueueReorder, QueueSendNow, QueueResume),
    "approvals": (ApprovalAnswer,),
    "tasks": (TaskCreate, TaskUpdate, TaskRun),
    "attachments": (),
    # message.send: what happens to it while a turn runs, or waits for an answer
    "steer": (),
    "deny_pending": (),
    # approval.answer: another input in place of the model's, for the input that was looked at
    "edited_input": (),
    # approval.answer: what is allowed for good in more notebooks than this one
    "rule_patterns": (),
    "continue": (TurnContinue,),
    "retry": (TurnRetry,),
    "branches": (SessionClear, SessionRewind),
    "fork": (SessionFork,),
    # a part that came cut has the rest by REST; an ack says whether its refusal passes
    "whole_parts": (),
    "retryable": (),
}
"""The commands that come with each name; none where it is a field or a route."""
