"""``State``: what an awake session knows without asking its database.

It is the fold of the recorded events, restricted to what decisions need: the
session's facts, the live turn with its one message, queue, approvals, tasks.
Older messages stay in the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ..protocol import codec
from ..protocol.content import (
    TERMINAL_TOOL_STATES,
    Approval,
    Json,
    Message,
    Mode,
    Part,
    QueueItem,
    ReasoningPart,
    Session,
    SessionStatus,
    Task,
    TextPart,
    ToolPart,
    Turn,
    Usage,
)
from ..protocol.events import (
    ApprovalRequested,
    ApprovalResolved,
    Event,
    MessageAdded,
    MessageUpdated,
    PartAdded,
    PartDelta,
    PartDone,
    QueueUpdated,
    SessionUpdated,
    StepEnded,
    StepReset,
    StepStarted,
    TaskUpdated,
    ToolStateChanged,
    TurnEnded,
    TurnStarted,
    TurnStatusChanged,
)
from ..protocol.plain import utf16_len
from ..store.loading import Loaded
from ..store.writes import Call, DropJob, Job, Permission, PutJob, Write

_TOOL_FIELDS = (
    "input",
    "output",
    "error",
    "reason",
    "approval_id",
    "allowed",
    "truncated",
    "whole",
    "started_at",
    "ended_at",
)


@dataclass(slots=True)
class OpenText:
    """The growing text of an open part; joined only when somebody reads it."""

    chunks: list[str] = field(default_factory=list[str])
    units: int = 0

    def add(self, text: str) -> None:
        """Append."""
        self.chunks.append(text)
        self.units += utf16_len(text)

    def text(self) -> str:
        """Return all of it."""
        return "".join(self.chunks)


@dataclass(slots=True)
class State:
    """See the module. ``apply`` is the only thing that changes what events speak of."""

    ep: str
    seq: int
    session: Session
    turn: Turn | None = None
    message: Message | None = None
    parts: dict[str, Part] = field(default_factory=dict[str, Part])
    texts: dict[str, OpenText] = field(default_factory=dict[str, OpenText])
    step_parts: list[str] = field(default_factory=list[str])
    usage: Usage = field(default_factory=Usage)
    stop_reason: str | None = None
    message_ids: list[str] = field(default_factory=list[str])
    """Messages that the live turn has written; more than one when it was steered."""
    spoken_step: int = 0
    answered_step: int = 0
    interrupted: int = 0
    cuts: int = 0
    progress_at: int = 0
    """As ``Loaded`` has it: when the session woke."""
    recovering_since: int | None = None
    put_down: str | None = None
    repair_level: int = 0
    begins_at: str | None = None
    """The turn that the API's history begins with, where what came before was refused in every form."""
    seen_at: int = 0
    calls: list[Call] = field(default_factory=list[Call])
    queue: list[QueueItem] = field(default_factory=list[QueueItem])
    paused: bool = False
    queue_rev: int = 0
    titled_by: str | None = None
    """Whose the title is: ``words``, ``model`` or ``user``."""
    title_tries: int = 0
    head: str | None = None
    """The branch's last message; whoever removes messages says which it is then."""
    head_turn: str | None = None
    """The turn whose answer the branch ends with, once that is over; what was said in it may come after the answer."""
    approvals: dict[str, Approval] = field(default_factory=dict[str, Approval])
    tasks: dict[str, Task] = field(default_factory=dict[str, Task])
    last_outcome: TurnEnded | None = None
    grants: set[str] = field(default_factory=set[str])
    permissions: dict[str, Permission] = field(default_factory=dict[str, Permission])
    """What the user said to calls of the live turn, by call."""
    prefix: Json = None
    start_next: str | None = None
    """The waiting message that the running turn is stopped for."""
    last_looked: bool = False
    """The last turn was a task's that only looks, and the user has not agreed to more in it."""
    left_plan: str | None = None
    """The turn of a Plan task in which the user has agreed to Build."""
    mixed_turn: str | None = None
    """The turn in which others have spoken than who asked for it: nobody's rules hold in it."""
    held_turn: str | None = None
    """The turn that a snapshot caught in the middle, until it is taken up: it may have done more than it knows."""
    restored_to: int | None = None
    """The time (ms) of the snapshot that the session was put back to, until the model is told."""
    root: str | None = None
    """The folder that the notebook's path is below; None for a session that came from elsewhere."""
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])

    @classmethod
    def of(cls, loaded: Loaded) -> State:
        """Return the state that the database describes."""
        known = loaded.facts
        state = cls(
            ep=loaded.ep,
            seq=loaded.seq,
            session=codec.decode_session(known["session"]),
            queue=[codec.decode_queue_item(item) for item in known["queue"]],
            paused=known["paused"],
            queue_rev=loaded.queue_rev,
            head=loaded.head,
            head_turn=loaded.head_turn,
            titled_by=loaded.titled_by,
            approvals={a["id"]: codec.decode_approval(a) for a in known["approvals"]},
            tasks={t["id"]: codec.decode_task(t) for t in known["tasks"]},
            last_outcome=codec.decode_outcome(known["last_outcome"]) if known["last_outcome"] else None,
            grants=set(loaded.grants),
            prefix=loaded.prefix,
            last_looked=loaded.last_looked,
            left_plan=loaded.left_plan,
            mixed_turn=loaded.mixed_turn,
            held_turn=loaded.held_turn,
            restored_to=loaded.restored_to,
            root=loaded.root,
            start_next=loaded.start_next,
            jobs={job.id: job for job in loaded.jobs},
            repair_level=loaded.repair_level,
            begins_at=loaded.begins_at,
            seen_at=loaded.seen_at,
        )
        if known["turn"] is not None:
            state.load_turn(loaded)
        return state

    def load_turn(self, loaded: Loaded) -> None:
        """Take up the live turn."""
        self.turn = codec.decode_turn(loaded.facts["turn"])
        message = codec.decode_message(loaded.message)
        self.message = replace(message, parts=[])
        for part in message.parts:
            self._open_part(part)
        self.usage = sum((Usage(**usage) for usage in loaded.turn_usage), Usage())
        self.message_ids = list(loaded.message_ids)
        self.spoken_step, self.answered_step = loaded.spoken_step, loaded.answered_step
        self.interrupted, self.cuts, self.put_down = loaded.interrupted, loaded.cuts, loaded.put_down
        self.progress_at, self.recovering_since = loaded.progress_at, loaded.recovering_since
        self.step_parts = list(loaded.step_parts)
        self.calls = loaded.calls
        self.permissions = loaded.permissions
        if loaded.step is not None and loaded.step.closed:
            self.stop_reason = loaded.step.stop_reason

    # -- reading -------------------------------------------------------------------

    def part(self, part_id: str) -> Part:
        """Return a part of the live message as it is now, open text included."""
        part = self.parts[part_id]
        text = self.texts.get(part_id)
        if text is None:
            return part
        match part:
            case ToolPart():
                return replace(part, input_json=text.text())
            case TextPart() | ReasoningPart():
                return replace(part, text=text.text())
            case _:
                return part

    def live_parts(self) -> list[Part]:
        """Return the live message's parts in order."""
        return sorted((self.part(part_id) for part_id in self.parts), key=lambda part: part.idx)

    def open_parts(self) -> Iterator[Part]:
        """Yield the parts that have not come to rest."""
        for part in self.live_parts():
            match part:
                case ToolPart(state=state) if state not in TERMINAL_TOOL_STATES:
                    yield part
                case TextPart() | ReasoningPart() if part.state == "streaming":
                    yield part
                case _:
                    pass

    @property
    def step_is_open(self) -> bool:
        """Whether the newest step's answer is not complete; true before the first step."""
        return self.stop_reason is None

    def reopen_step(self) -> None:
        """Let the next request be the newest step once more: it left nothing in the history."""
        if self.turn is not None and self.turn.step > 0:
            self.turn = replace(self.turn, step=self.turn.step - 1)

    def call(self, call_id: str) -> Call | None:
        """Return a call of the newest step."""
        return next((call for call in self.calls if call.id == call_id), None)

    def mode(self) -> Mode:
        """Return the mode that holds: the session's, or Plan in the turn of a task that only looks."""
        return "plan" if self._only_looks() else self.session.mode

    def _only_looks(self) -> bool:
        turn = self.turn
        return turn is not None and turn.trigger == "task" and turn.mode == "plan" and self.left_plan != turn.id

    def status(self) -> SessionStatus:
        """Derive the session's status (the fold's ``status_of``)."""
        if self.turn is None:
            failed = self.last_outcome is not None and self.last_outcome.outcome == "failed"
            return "error" if failed else "ready"
        match self.turn.status:
            case "awaiting":
                return "awaiting"
            case "recovering":
                return "recovering"
            case _:
                return "streaming" if self.parts else "submitted"

    def facts(self) -> Session:
        """Return the session's facts with the derived status."""
        return replace(self.session, status=self.status())

    # -- folding -------------------------------------------------------------------

    def apply(self, event: Event, ts: int) -> None:
        """Fold one event in."""
        self.session = replace(self.session, updated_at=ts)
        self._apply_turn(event)
        self._apply_transcript(event)
        self._apply_waiting(event)

    def _apply_turn(self, event: Event) -> None:
        match event:
            case SessionUpdated(patch=patch, rev=rev):
                self.session = replace(self.session, **patch, rev=rev)
            case TurnStarted(turn=turn):
                self._start_turn(turn)
            case TurnStatusChanged(status=status, attempt=attempt) if self.turn:
                self.turn = replace(self.turn, status=status, attempt=attempt)
            case TurnEnded():
                self._end_turn(event)
            case StepStarted(step=step) if self.turn:
                self.turn = replace(self.turn, step=step)
                self.stop_reason, self.calls, self.step_parts = None, [], []
            case StepEnded(stop_reason=stop_reason, usage=usage):
                self.stop_reason, self.cuts = stop_reason, 0
                self.usage = self.usage + usage
            case _:
                pass

    def _apply_transcript(self, event: Event) -> None:
        match event:
            case StepReset(parts=parts):
                for part_id in parts:
                    self.parts[part_id] = replace(self.part(part_id), superseded=True)  # type: ignore[call-arg] -- text, reasoning and tool parts have it
                self.step_parts = []
            case MessageAdded(message=message):
                self.head = message.id
                if message.role == "assistant" and self._is_live(message):
                    self._begin_message(message)
            case MessageUpdated(message=message) if self.message and message.id == self.message.id:
                self.message = replace(message, parts=[])
            case PartAdded(part=part):
                self._open_part(part)
                self.step_parts.append(part.id)
            case PartDelta(part_id=part_id, delta=delta):
                self.texts[part_id].add(delta)
            case PartDone(part=part):
                self.parts[part.id] = part
                self.texts.pop(part.id, None)
            case ToolStateChanged():
                self._move_tool(event)
            case _:
                pass

    def _apply_waiting(self, event: Event) -> None:
        match event:
            case ApprovalRequested(approval=approval):
                self.approvals[approval.id] = approval
            case ApprovalResolved(id=approval_id):
                self.approvals.pop(approval_id, None)
            case QueueUpdated(items=items, paused=paused, rev=rev):
                self.queue, self.paused, self.queue_rev = list(items), paused, rev
            case TaskUpdated(task=task):
                self.tasks[task.id] = task
            case _:
                pass

    def _start_turn(self, turn: Turn) -> None:
        self.turn, self.message = turn, None
        self.parts, self.texts, self.step_parts, self.calls = {}, {}, [], []
        self.usage, self.stop_reason, self.message_ids = Usage(), None, []
        self.spoken_step = self.answered_step = self.interrupted = self.cuts = 0
        self.permissions = {}

    def _is_live(self, message: Message) -> bool:
        return self.turn is not None and message.turn_id == self.turn.id

    def _begin_message(self, message: Message) -> None:
        self.message = replace(message, parts=[])
        self.message_ids.append(message.id)
        self.parts, self.texts, self.step_parts = {}, {}, []

    def _end_turn(self, event: TurnEnded) -> None:
        self.last_outcome, self.last_looked = event, self._only_looks()
        self.head_turn = event.turn
        self.session = replace(self.session, usage=self.session.usage + event.usage)
        self.turn = self.message = self.stop_reason = None
        self.parts, self.texts, self.step_parts, self.calls = {}, {}, [], []

    def _open_part(self, part: Part) -> None:
        self.parts[part.id] = part
        match part:
            case ToolPart(state="input-streaming"):
                self._open_text(part.id, part.input_json or "")
            case TextPart() | ReasoningPart() if part.state == "streaming":
                self._open_text(part.id, part.text)
            case _:
                pass

    def _open_text(self, part_id: str, text: str) -> None:
        self.texts[part_id] = OpenText()
        if text:
            self.texts[part_id].add(text)

    def _move_tool(self, event: ToolStateChanged) -> None:
        part = self.parts.get(event.part_id)
        if not isinstance(part, ToolPart):
            return
        patch: dict[str, Any] = {name: getattr(event, name) for name in _TOOL_FIELDS}
        known = {name: value for name, value in patch.items() if value is not None}
        if event.state != "input-streaming":
            self.texts.pop(event.part_id, None)
        self.parts[event.part_id] = replace(
            part, state=event.state, running=event.running, rev=event.rev, input_json=None, **known
        )

    def written(self, write: Write) -> None:
        """Keep what a write says of what is due; the others speak for themselves."""
        match write:
            case PutJob(job=job):
                self.jobs[job.id] = job
            case DropJob(job_id=job_id):
                self.jobs.pop(job_id, None)
            case _:
                pass

    def put_call(self, call: Call) -> None:
        """Replace a call of the newest step."""
        self.calls = [call if old.id == call.id else old for old in self.calls]


def waiting(calls: Iterable[Call]) -> bool:
    """Tell whether a call waits for the user."""
    return any(call.state == "approval" for call in calls)
