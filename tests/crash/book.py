"""A session's database, read by somebody who knows only its tables.

It imports nothing of ``jupyter_agent``. ``story`` rebuilds, from rows, what a
snapshot would say; ``log`` rebuilds the events; ``check_log`` is the protocol's
rules of order, held against any log.
"""

# What it reads is JSON that may be anything: types would be claims.
# pyright: basic

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.stranger import NEXT, TERMINAL, Stranger

Json = dict[str, Any]


class Book:
    """What a dead session's folder holds. The folder is copied: reading must not repair it."""

    def __init__(self, folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="book-") as copy:
            for name in ("session.db", "session.db-wal"):
                if (folder / name).exists():
                    shutil.copy(folder / name, copy)
            with closing(sqlite3.connect(Path(copy) / "session.db")) as conn:
                conn.row_factory = sqlite3.Row
                check = conn.execute("PRAGMA integrity_check").fetchone()[0]
                assert check == "ok", check
                self._read(conn)

    def _read(self, conn: sqlite3.Connection) -> None:
        def rows(table: str, rest: str = "") -> list[Json]:
            return [dict(row) for row in conn.execute(f"SELECT * FROM {table} {rest}")]

        self.meta = {row["key"]: json.loads(row["value"]) for row in rows("meta")}
        self.messages = rows("messages", "ORDER BY ord")
        self.parts = rows("parts", "ORDER BY message_id, idx")
        self.turns = rows("turns", "ORDER BY ord")
        self.events = rows("events", "ORDER BY seq")
        self.segments = rows("segments", "ORDER BY seq_to")
        self.calls = rows("tool_calls", "ORDER BY turn_id, step, ord")
        self.approvals = rows("approvals", "ORDER BY rowid")
        self.queue = rows("queue", "ORDER BY pos")
        self.tasks = rows("tasks", "ORDER BY created_at, id")
        self.commands = {row["cmd_id"]: {**row, "ack": json.loads(row["ack"])} for row in rows("commands")}

    # -- what the rows say ---------------------------------------------------------------

    def story(self) -> Json:
        """What a snapshot would say."""
        live = [turn for turn in self.turns if turn["status"] != "ended"]
        assert len(live) <= 1, "two live turns"
        return {
            "as_of": self.last_seq,
            "session": self.meta["session"],
            "messages": self._messages(),
            "turn": self._as_told("turn.started", "turn", live[0]) if live else None,
            "queue": [json.loads(row["data"]) for row in self.queue],
            "paused": self.meta.get("queue", {"paused": False})["paused"],
            "approvals": [json.loads(row["data"]) for row in self.approvals if row["state"] == "open"],
            "tasks": [self._as_told("task.updated", "task", row) for row in self.tasks],
            "last_outcome": self.meta.get("last_outcome"),
        }

    def _as_told(self, kind: str, key: str, row: Json) -> Json:
        """A row, with the names that its event had: each of them has a column."""
        bodies = (json.loads(event["body"])[key] for event in self.events if event["type"] == kind)
        told = next(body for body in bodies if body["id"] == row["id"])
        return {name: row[name] for name in told}

    @property
    def last_seq(self) -> int:
        """The number of the newest event."""
        return max([0, *(row["seq"] for row in self.events), *(row["seq_to"] for row in self.segments)])

    def _messages(self) -> list[Json]:
        grown: dict[str, Json] = {}
        for _, _, delta in self._deltas():
            texts = grown.setdefault(delta["part_id"], {"text": "", "input_json": ""})
            texts[delta["field"]] += delta["delta"]
        told: list[Json] = []
        for row in self.messages:
            if row["removed"]:
                continue
            names = ("id", "role", "status", "turn_id", "parent_id", "created_at")
            parts = [json.loads(part["data"]) for part in self.parts if part["message_id"] == row["id"]]
            for part in parts:
                if part.get("state") in ("streaming", "input-streaming"):
                    for field, text in grown.get(part["id"], {}).items():
                        if text:
                            part[field] = (part.get(field) or "") + text
            more: Json = {"parts": parts, "meta": json.loads(row["meta"]), "truncated": False}
            told.append({name: row[name] for name in names} | more)
        return told

    def _deltas(self) -> list[tuple[int, int, Json]]:
        return [tuple(delta) for row in self.segments for delta in json.loads(row["body"])]

    # -- what the log says ---------------------------------------------------------------

    def log(self) -> list[Json]:
        """Every event, numbers of collapsed deltas covered by what follows them."""
        turn_of = {row["seq_to"]: row["turn_id"] for row in self.segments}
        told = [self._event(row) for row in self.events]
        live = next(iter(turn_of.values()), None)
        told += [{"seq": s, "ts": ts, "turn": live, "type": "part.delta", "d": d} for s, ts, d in self._deltas()]
        told.sort(key=lambda event: event["seq"])
        last = 0
        for event in told:
            if event["seq"] > last + 1:
                event["covers"] = [last + 1, event["seq"]]
            last = event["seq"]
            if "covers" in event:
                del event["seq"]
        return told

    def _event(self, row: Json) -> Json:
        d = json.loads(row["body"])
        if "ref" in d:
            match row["type"]:
                case "part.done":
                    d = {"message_id": d["message_id"], "part": self._part(d["ref"])}
                case "message.updated":
                    d = {"message": next(m for m in self._messages() if m["id"] == d["ref"])}
                case _:
                    names = ("state", "running", "rev", "input", "output", "error", "reason", "started_at", "ended_at")
                    part = self._part(d["ref"])
                    d = {"part_id": part["id"]} | {name: part[name] for name in names if part[name] is not None}
        return {"seq": row["seq"], "ts": row["ts"], "turn": row["turn_id"], "type": row["type"], "d": d}

    def _part(self, part_id: str) -> Json:
        return next(json.loads(row["data"]) for row in self.parts if row["id"] == part_id)

    def retold(self) -> Stranger:
        """A view that was there from the first event on."""
        view = Stranger(lambda command: None)
        first = {"as_of": 0, "messages": [], "turn": None, "queue": [], "paused": False, "approvals": [], "tasks": []}
        session = {**self.meta["session"], "title": "", "rev": 1}
        head = {"v": 1, "ep": self.meta["epoch"]}
        view.hear({**head, "type": "snapshot", "d": {**first, "session": session, "last_outcome": None}})
        for event in self.log():
            view.hear({**head, **event})
        assert view.fault is None, view.fault
        return view


# -- the rules of order ----------------------------------------------------------------


def check_log(events: Iterable[Json], *, at_rest: bool) -> None:
    """Hold a log against the rules of order; ``at_rest``: nothing may be open at its end."""
    rules = Rules()
    for event in events:
        rules.take(event)
    if at_rest:
        rules.rest()


class Rules:
    """One log, event by event. Whatever is wrong raises ``AssertionError``."""

    def __init__(self) -> None:
        self.seq = 0
        self.ts = 0
        self.turn: str | None = None
        self.ended: set[str] = set()
        self.spoken: set[str] = set()
        """Turns whose user message is there."""
        self.tools: dict[str, str] = {}
        self.open: dict[str, str] = {}
        """Open part: its type."""
        self.closed: set[str] = set()
        self.asked: set[str] = set()

    def take(self, event: Json) -> None:
        """One more."""
        first, last = event["covers"] if "covers" in event else (event["seq"], event["seq"])
        assert first == self.seq + 1, f"a gap: after {self.seq} came {event}"
        assert event["ts"] >= self.ts, f"time goes backwards: {event}"
        assert event["turn"] not in self.ended, f"{event} after its turn's end"
        self.seq, self.ts = last, event["ts"]
        kind, d = event["type"], event["d"]
        self._turns(kind, d, event)
        self._parts(kind, d)
        self._questions(kind, d)

    def rest(self) -> None:
        """Nothing may be open."""
        assert self.turn is None, f"{self.turn} never ended"
        assert not self.open, f"left open: {self.open}"
        assert not self.asked, f"never answered: {self.asked}"

    def _turns(self, kind: str, d: Json, event: Json) -> None:
        match kind:
            case "message.added" if d["message"]["role"] == "user":
                self.spoken.add(d["message"]["turn_id"])
            case "turn.started":
                assert self.turn is None, f"two turns at once: {event}"
                self.turn = d["turn"]["id"]
                if d["turn"]["trigger"] in ("user", "queue"):
                    assert self.turn in self.spoken, "the turn started before its message was there"
            case "turn.ended":
                assert d["turn"] == self.turn, f"{event} ends another turn than {self.turn}"
                assert not self.open, f"{event} leaves open {self.open}"
                assert not self.asked, f"{event} leaves unanswered {self.asked}"
                self.ended.add(d["turn"])
                self.turn = None
            case "turn.status" | "step.started" | "step.ended" | "step.reset":
                assert self.turn is not None, f"{event} without a turn"
                if kind == "step.started":
                    left = [part for part, state in self.tools.items() if state not in TERMINAL]
                    assert not left, f"step {d['step']} began before {left} had come to rest"
            case _:
                pass

    def _parts(self, kind: str, d: Json) -> None:
        match kind:
            case "part.added":
                part = d["part"]
                assert part["id"] not in self.open, "a part opened twice"
                assert part["id"] not in self.closed, "a part opened again"
                if part["type"] == "tool":
                    self.tools[part["id"]] = part["state"]
                if part.get("state") in ("streaming", "input-streaming"):
                    self.open[part["id"]] = part["type"]
            case "part.delta":
                assert d["part_id"] in self.open, f"a delta of a part that is not open: {d}"
            case "part.done":
                self._close(d["part"]["id"])
            case "tool.state":
                self._move(d)
            case _:
                pass

    def _move(self, d: Json) -> None:
        was = self.tools.get(d["part_id"])
        assert was is not None, f"{d} of an unknown part"
        # Logged by reference, an early state may read as the row is now.
        assert d["state"] in NEXT.get(was, {was}) or d["state"] == was, f"{was} -> {d['state']}"
        self.tools[d["part_id"]] = d["state"]
        if d["state"] in TERMINAL:
            assert not d.get("running")
            self._close(d["part_id"])
        else:
            self.open[d["part_id"]] = "tool"

    def _close(self, part_id: str) -> None:
        assert part_id in self.open or part_id in self.closed, f"{part_id} closed, never opened"
        self.open.pop(part_id, None)
        self.closed.add(part_id)

    def _questions(self, kind: str, d: Json) -> None:
        if kind == "approval.requested":
            self.asked.add(d["approval"]["id"])
        elif kind == "approval.resolved":
            assert d["id"] in self.asked, f"{d} answers no open question"
            self.asked.remove(d["id"])
