"""A client of the session protocol written from its description alone.

It imports nothing of ``jupyter_agent``: what it believes about frames, order
and folding is what a reader of the protocol would believe. Every frame it
hears is checked: numbers without gaps, offsets that fit, states that only
move forward, one end a turn.
"""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]
BOUND_S = 45.0
"""As long as the model server waits: a server's first turn may begin with ten seconds of imports."""

TERMINAL = {"output-available", "output-error", "output-denied"}
NEXT = {
    "input-streaming": {"input-available", *TERMINAL},
    "input-available": {"input-available", "approval-requested", *TERMINAL},
    "approval-requested": {"approval-responded", *TERMINAL},
    "approval-responded": {"approval-responded", *TERMINAL},
}


def units(text: str) -> int:
    """Length as JavaScript counts it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def events_in(frame: Json) -> Iterator[Json]:
    """The events of a frame, alone or in a batch."""
    yield from frame.get("batch", [frame])


class Stranger:
    """One view of one session, over whatever carries JSON objects both ways."""

    def __init__(self, send: Callable[[Json], object]) -> None:
        self.send_raw = send
        self._news = asyncio.Event()
        self.frames: list[Json] = []
        self.events: list[Json] = []
        self.view: Json = {}
        self.ep: str | None = None
        self.seq: int | None = None
        self.ended: list[str] = []
        self.fault: Exception | None = None
        self.heard: Callable[[], object] = lambda: None
        """Called after each event."""

    # -- talking ---------------------------------------------------------------------

    def send(self, kind: str, *, cmd_id: str | None = None, **d: Any) -> str:
        """Give a command; return its id."""
        cmd_id = cmd_id or str(uuid.uuid4())
        self.send_raw({"v": 1, "cmd_id": cmd_id, "type": kind, "d": d})
        return cmd_id

    async def ask(self, kind: str, *, cmd_id: str | None = None, **d: Any) -> Json:
        """Give a command and return its ack."""
        start = len(self.events)
        return await self.acked(self.send(kind, cmd_id=cmd_id, **d), after=start)

    async def acked(self, cmd_id: str, *, after: int = 0) -> Json:
        """Return the ack of a command."""
        event = await self.event(lambda e: e["type"] == "ack" and e["d"]["cmd_id"] == cmd_id, after=after)
        return event["d"]

    async def open(self) -> Json:
        """Greet, subscribe, catch up; return the snapshot."""
        self.send("hello", protocol=[1], client="stranger")
        await self.event("welcome")
        return await self.subscribe()

    async def subscribe(self, **d: Any) -> Json:
        """Subscribe and catch up; return the snapshot, or what came instead."""
        start = len(self.events)
        wish: Json = {"page": 25} | d
        self.send("subscribe", **wish)
        await self.event("caught_up", after=start)
        return next(event for event in self.events[start:] if event["type"] not in ("hb", "pong", "ack"))

    async def say(self, text: str, **d: Any) -> Json:
        """Send a message; return the ack's result."""
        ack = await self.ask("message.send", id=f"msg_{uuid.uuid4().hex}", parts=[{"type": "text", "text": text}], **d)
        assert ack["status"] == "accepted", ack
        return ack["result"]

    # -- listening -------------------------------------------------------------------

    def hear(self, frame: Json) -> None:
        """Take a frame of the server."""
        self.frames.append(frame)
        try:
            assert frame["v"] == 1
            for event in events_in(frame):
                self._check(frame, event)
                self.events.append(event)
                self.heard()
        except Exception as fault:
            # Whoever carries the frame is not the one to hear of it.
            self.fault = self.fault or fault
        self._news.set()

    async def event(
        self, wanted: str | Callable[[Json], bool], *, after: int = 0, within: float = BOUND_S, **d: Any
    ) -> Json:
        """Return the first event that fits, heard already or still to come."""

        def fits(event: Json) -> bool:
            if callable(wanted):
                return wanted(event)
            return event["type"] == wanted and all(event["d"].get(key) == value for key, value in d.items())

        seen = after
        try:
            async with asyncio.timeout(within):
                while True:
                    self._news.clear()
                    if self.fault is not None:
                        raise self.fault
                    for event in self.events[seen:]:
                        if fits(event):
                            return event
                    seen = len(self.events)
                    await self._news.wait()
        except TimeoutError:
            heard = [(event["type"], event["d"]) for event in self.events[-8:]]
            raise AssertionError(f"{wanted} {d} did not come; last heard {heard}") from None

    async def reads(self, words: str) -> None:
        """Wait until the newest message says all of these words: how many frames bring them is a matter of time."""

        def said(_event: Json) -> bool:
            return bool(self.view.get("messages")) and words in self.text

        await self.event(said)

    def of(self, *kinds: str) -> list[Json]:
        """All events of these kinds so far."""
        return [event for event in self.events if event["type"] in kinds]

    @property
    def text(self) -> str:
        """The text of the newest message."""
        parts = self.view["messages"][-1]["parts"]
        return "".join(p["text"] for p in parts if p["type"] == "text" and not p["superseded"])

    @property
    def tools(self) -> list[Json]:
        """The tool parts of the newest message."""
        return [part for part in self.view["messages"][-1]["parts"] if part["type"] == "tool"]

    # -- believing and checking --------------------------------------------------------

    def _check(self, frame: Json, event: Json) -> None:
        numbered = [key for key in ("seq", "covers") if key in event]
        assert len(numbered) <= 1, event
        if event["type"] == "snapshot":
            if (self.ep, self.seq) == (frame["ep"], event["d"]["as_of"]):
                self.same_story_as(event)
            self.view = copy.deepcopy(event["d"])
            self.ep, self.seq = frame["ep"], event["d"]["as_of"]
        if event["type"] == "caught_up":
            assert event["d"]["seq"] == self.seq, (event, self.seq)
        if not numbered:
            return
        assert self.ep == frame["ep"]
        assert self.seq is not None
        first, last = event["covers"] if "covers" in event else (event["seq"], event["seq"])
        assert first <= self.seq + 1, f"gap: after {self.seq} came {event}"
        if last <= self.seq:
            return
        assert "covers" in event or first == self.seq + 1
        self._in_order(event)
        self._fold(event)
        self.seq = last

    def _in_order(self, event: Json) -> None:
        """Check what may follow what: nothing of a turn after its end, no step beside a call, no turn unasked."""
        kind, turn = event["type"], event["turn"]
        if kind.startswith(("turn.", "step.", "part.", "tool.")):
            assert turn not in self.ended, f"{kind} after the end of its turn"
        if kind == "step.started":
            mine = [part for m in self.view["messages"] if m["turn_id"] == turn for part in m["parts"]]
            running = [part for part in mine if part["type"] == "tool" and part["state"] not in TERMINAL]
            assert not [part for part in running if not part["superseded"]], f"a step beside a call: {running}"
        if kind == "turn.started" and event["d"]["turn"]["trigger"] in ("user", "queue"):
            assert self.view["messages"][-1]["role"] == "user", "a turn that nobody asked for"

    def _fold(self, event: Json) -> None:
        d = copy.deepcopy(event["d"])
        if event["type"] == "part.delta" and "covers" in event:
            self._skip_overlap(d)
        if event["type"].startswith(("message.", "part.", "tool.", "step.")):
            self._fold_transcript(event["type"], d)
        else:
            self._fold_rest(event["type"], d)

    def _skip_overlap(self, d: Json) -> None:
        """Leave of a merged delta what is not here yet: its range may reach back behind the cursor."""
        part = self._part(d["part_id"])
        known = units((part or {}).get(d["field"]) or "") - d["at"]
        if known > 0:
            d["delta"] = (
                d["delta"].encode("utf-16-le", "surrogatepass")[2 * known :].decode("utf-16-le", "surrogatepass")
            )
            d["at"] += known

    def _fold_transcript(self, kind: str, d: Json) -> None:
        view = self.view
        match kind:
            case "message.added" | "message.updated":
                self._put(view["messages"], self._with_earlier_parts(d["message"]))
            case "message.removed":
                view["messages"] = [m for m in view["messages"] if m["id"] != d["message_id"]]
            case "part.added" | "part.done":
                parts: list[Json] = self._message(d["message_id"])["parts"]
                self._put(parts, d["part"])
                parts.sort(key=lambda part: part["idx"])
            case "part.delta" if part := self._part(d["part_id"]):
                text = part.get(d["field"]) or ""
                assert d["at"] == units(text), f"{d} does not fit {text!r}"
                part[d["field"]] = text + d["delta"]
            case "tool.state" if part := self._part(d.pop("part_id")):
                self._move(part, d)
            case "step.reset":
                for part in filter(None, map(self._part, d["parts"])):
                    part["superseded"] = True
            case "step.started":
                view["turn"]["step"] = d["step"]
            case _:
                pass

    def _fold_rest(self, kind: str, d: Json) -> None:
        view = self.view
        match kind:
            case "turn.started":
                assert view["turn"] is None, "two turns at once"
                view["turn"] = d["turn"]
            case "turn.status":
                view["turn"].update(d)
            case "turn.ended":
                self._end(d)
            case "session.updated":
                view["session"].update(d["patch"], rev=d["rev"])
            case "queue.updated":
                view["queue"], view["paused"] = d["items"], d["paused"]
            case "approval.requested":
                self._put(view["approvals"], d["approval"])
            case "approval.resolved":
                view["approvals"] = [a for a in view["approvals"] if a["id"] != d["id"]]
            case "task.updated":
                self._put(view["tasks"], d["task"])
            case _:
                pass

    def _move(self, part: Json, d: Json) -> None:
        assert d["state"] in NEXT[part["state"]], f"{part['state']} -> {d['state']}"
        assert d["rev"] > part["rev"]
        part.update(d)
        if part["state"] != "input-streaming":
            part.pop("input_json", None)

    def _end(self, d: Json) -> None:
        assert d["turn"] not in self.ended, "a turn ended twice"
        self.ended.append(d["turn"])
        for message_id in d["message_ids"]:
            for part in self._message(message_id)["parts"]:
                assert part["state"] in TERMINAL | {"done"}, f"left open: {part}"
                assert not part.get("running")
        self.view["turn"], self.view["last_outcome"] = None, d

    def _message(self, message_id: str) -> Json:
        return next(m for m in self.view["messages"] if m["id"] == message_id)

    def _with_earlier_parts(self, message: Json) -> Json:
        known = next((m for m in self.view["messages"] if m["id"] == message["id"]), None)
        if known is None or not message["parts"]:
            return message
        first = message["parts"][0]["idx"]
        return {**message, "parts": [*(p for p in known["parts"] if p["idx"] < first), *message["parts"]]}

    def _part(self, part_id: str) -> Json | None:
        """The part; None when it may be one of the earlier ones, which a view is not told."""
        found = next((p for m in self.view["messages"] for p in m["parts"] if p["id"] == part_id), None)
        assert found is not None or self.view["page"]["has_more"], f"nobody told of {part_id}"
        return found

    @staticmethod
    def _put(items: list[Json], item: Json) -> None:
        for index, old in enumerate(items):
            if old["id"] == item["id"]:
                items[index] = item
                return
        items.append(item)

    # -- agreeing ----------------------------------------------------------------------

    def same_story_as(self, snapshot: Json) -> None:
        """Assert that this view's fold is what a newcomer was told."""
        told = snapshot["d"]
        assert told["as_of"] == self.seq
        assert self._newest(told) == told["messages"]
        for name in ("turn", "queue", "paused", "approvals", "tasks", "last_outcome"):
            assert self.view[name] == told[name], name
        for name in ("id", "title", "mode", "model", "rev", "notebook_path", "archived_at"):
            assert self.view["session"][name] == told["session"][name], name

    def _newest(self, told: Json) -> list[Json]:
        """Return as much of the transcript as somebody was told who may ask for what is older."""
        # A story that was not sent, but read from the rows, has no pages.
        if not told.get("page", {}).get("has_more"):
            return self.view["messages"]
        first, *more = self.view["messages"][-len(told["messages"]) :]
        before = told["page"]["before"]
        ids = [part["id"] for part in first["parts"]]
        return [{**first, "parts": first["parts"][ids.index(before) :]} if before in ids else first, *more]
