"""The person and the page before them: an outbox that resends, and wishes that a crash does not change.

The page does what the protocol asks of one: it keeps commands until they are
acknowledged, sends them again with the same ``cmd_id`` after a reconnect, and
asks for what it missed with the number of the last event it has applied.
"""

# What it reads is JSON that may be anything: types would be claims.
# pyright: basic

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable
from typing import Any

from tests.stranger import Json, Stranger

from .talk import QUEUED, words_for


class Page(Stranger):
    """A view that outlives the server's lives."""

    def __init__(self) -> None:
        super().__init__(self._drop)
        self.outbox: dict[str, Json] = {}
        self.acks: dict[str, Json] = {}
        self.given: dict[str, Json] = {}
        self.shown: dict[str, str] = {}
        """The longest text seen of each part: shown once, shown for ever."""
        self.up_to_date = asyncio.Event()

    @staticmethod
    def _drop(_command: Json) -> None:
        """Nobody is there."""

    def lose(self) -> None:
        """The connection is gone."""
        self.send_raw = self._drop
        self.up_to_date.clear()

    def come_back(self, send: Callable[[Json], object]) -> None:
        """There is a connection again: catch up, say again what was not acknowledged."""
        self.send_raw = send
        self.send("hello", protocol=[1], client="page")
        since = None if self.ep is None else {"ep": self.ep, "seq": self.seq}
        self.send("subscribe", since=since, page=200)
        for command in self.outbox.values():
            send(command)

    def give(self, kind: str, **d: Any) -> str:
        """Give a command until it is acknowledged."""
        cmd_id = str(uuid.uuid4())
        command: Json = {"v": 1, "cmd_id": cmd_id, "type": kind, "d": d}
        self.outbox[cmd_id] = self.given[cmd_id] = command
        self.send_raw(command)
        return cmd_id

    def hear(self, frame: Json) -> None:
        start = len(self.events)
        super().hear(frame)
        for event in self.events[start:]:
            if event["type"] == "ack":
                self._acknowledged(event["d"])
            elif event["type"] == "caught_up":
                self.up_to_date.set()
            elif event["type"] == "resync":
                self.up_to_date.clear()
                self.come_back(self.send_raw)
        if self.fault is None:
            self._remember_what_is_shown()
            if self.up_to_date.is_set():
                self.act()

    def _acknowledged(self, ack: Json) -> None:
        cmd_id = ack["cmd_id"]
        if ack["status"] == "rejected" and (ack.get("error") or {}).get("retryable"):
            return  # It will be said again.
        if cmd_id in self.outbox:
            del self.outbox[cmd_id]
        if cmd_id in self.given:
            first = self.acks.setdefault(cmd_id, ack)
            status = ack.get("original") if ack["status"] == "duplicate" else ack["status"]
            was = first.get("original") if first["status"] == "duplicate" else first["status"]
            assert status == was, f"answered {first}, then {ack}"

    def _remember_what_is_shown(self) -> None:
        for part in parts_of(self.view):
            text = str(part.get("text") or "")
            if len(text) > len(self.shown.get(part["id"], "")):
                self.shown[part["id"]] = text

    def act(self) -> None:
        """Look, and want something."""

    async def changed(self) -> None:
        """Wait for the next frame."""
        self._news.clear()
        await self._news.wait()

    async def failed(self) -> None:
        """Wait until something heard was not what the protocol promises."""
        while self.fault is None:
            await self.changed()

    def accepted(self, kind: str) -> list[Json]:
        """The commands of this kind that were acknowledged as done."""
        return [
            self.given[cmd_id]
            for cmd_id, ack in self.acks.items()
            if self.given[cmd_id]["type"] == kind and "accepted" in (ack["status"], ack.get("original"))
        ]


class User(Page):
    """Who wants what ``talk`` tells."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: dict[str, str] = {}
        """Message id by the name of what it wishes."""
        self.rest = asyncio.Event()
        self._wished: set[str] = set()

    def act(self) -> None:
        view, turn = self.view, self.view["turn"]
        if self._once("first"):
            self.wish("first")
        if turn is not None and self._once("queue"):
            for name in QUEUED:
                self.wish(name)
        for asked in view["approvals"]:
            if self._once(asked["id"]):
                self._answer(asked)
        if turn is not None and self._is_endless(turn) and self._once("stop " + turn["id"]):
            self.give("turn.stop", turn=turn["id"])
        if (
            turn is None
            and view["paused"]
            and self._once(f"resume {len(view['queue'])} {view['last_outcome']['turn']}")
        ):
            self.give("queue.resume")
        if self._is_quiet():
            self.rest.set()

    def wish(self, name: str, *, life: int = 0) -> str:
        """Say something; return the key of what becomes of it."""
        key = f"{name} {life}" if life else name
        self.ids[key] = f"msg_{uuid.uuid4().hex}"
        parts = [{"type": "text", "text": words_for(name)}]
        self.give("message.send", id=self.ids[key], parts=parts, when_busy="queue")
        return key

    def outcomes(self) -> dict[str, str]:
        """How the answer to each wish ended, by its status."""
        answers = {m["parent_id"]: m["status"] for m in self.view["messages"] if m["role"] == "assistant"}
        return {name: answers.get(message_id, "none") for name, message_id in self.ids.items()}

    def _once(self, key: str) -> bool:
        known = key in self._wished
        self._wished.add(key)
        return not known

    def _answer(self, asked: Json) -> None:
        part = next(p for p in parts_of(self.view) if p["id"] == asked["part_id"])
        name = re.match(r"# (\w)", part["input"]["source"])
        assert name is not None
        decision = "deny" if name[1] == "c" else "allow"
        scope = "session" if name[1] == "d" else "once"
        self.give("approval.answer", id=asked["id"], rev=asked["rev"], decision=decision, scope=scope)

    def _is_endless(self, turn: Json) -> bool:
        answer = next((m for m in self.view["messages"] if m["id"] == turn["message_id"]), None)
        if answer is None or answer["parent_id"] != self.ids.get("stopped"):
            return False
        return any(part.get("text") for part in answer["parts"])

    def _is_quiet(self) -> bool:
        ended = [status not in ("none", "streaming", "pending") for status in self.outcomes().values()]
        return self.view["turn"] is None and not self.view["queue"] and not self.outbox and all(ended)


def parts_of(view: Json) -> list[Json]:
    """All parts of all messages."""
    return [part for message in view.get("messages", []) for part in message["parts"]]
