"""Any order of commands, views that come and go, naps and crashes in between: every view tells the same story.

The law: folding the events gives the later snapshot. ``Stranger`` checks each
frame on its way (no gaps, offsets that fit, states that only move forward, one
end a turn); at the end each view's fold is held against a newcomer's snapshot.

A crash leaves what the disk holds at that moment: the data directory is copied,
and a new host goes on with the copy. What the old one still does, nobody sees.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    rule,
)

from jupyter_agent.agent.claude import ClaudeModel
from jupyter_agent.session.connection import Connection
from jupyter_agent.session.host import SessionHost
from jupyter_agent.settings import Settings
from jupyter_agent.tools.toolbox import Toolbox
from tests.fakes import DiskWorkspace
from tests.model_server import ErrorEvent, ModelServer, Reply, Request, Text, Think, ToolUse
from tests.roads import write_notebook
from tests.stranger import Stranger

T = TypeVar("T")
WHENS = ["queue", "reject", "steer"]
Json = dict[str, Any]


def improvise(request: Request) -> Reply:
    """Answer somehow: a word, a thought, a look, an edit that has to be asked for, a fault."""
    chance = random.Random(len(str(request.body)))
    if chance.random() < 0.5:
        return Reply(Text("So be it. ", "🐍 " * chance.randint(0, 3)))
    return chance.choice(
        [
            Reply(Think("Hm."), Text("Let me look. "), ToolUse("read_notebook", {})),
            Reply(ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": "y = 1"})),
            Reply(
                ToolUse("read_cell", {"cell_id": "first"}),
                ToolUse("insert_cell", {"after": "first", "cell_type": "markdown", "source": "# y"}),
                ToolUse("insert_cell", {"after": "gone", "cell_type": "code", "source": "z"}),
            ),
            Reply(ToolUse("exit_plan", {"plan": "Build."})),
            Reply(ToolUse("create_task", {"title": "Later", "description": "Do it.", "mode": "build"})),
            Reply(Text("Half", ErrorEvent())),
        ]
    )


def copy_as_after_kill(old: Path, new: Path) -> None:
    """Copy a data directory that is in use: a commit that is under way is in it as a whole, or not at all."""

    def copy(source: str, target: str) -> None:
        with suppress(FileNotFoundError):  # It went while we looked.
            shutil.copy2(source, target)

    shutil.copytree(old, new, ignore=shutil.ignore_patterns("*.db", "*.db-*", "session.owner.*"), copy_function=copy)
    for path in old.rglob("*.db"):
        with (
            closing(sqlite3.connect(path)) as source,
            closing(sqlite3.connect(new / path.relative_to(old))) as target,
        ):
            source.backup(target)


class AnyOrder(RuleBasedStateMachine):
    """One session, up to a handful of views."""

    views = Bundle("views")
    away = Bundle("away")
    host: SessionHost
    model: ClaudeModel
    workspace: DiskWorkspace
    session: str

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="any-order-"))
        write_notebook(self.folder, "a.ipynb")
        self.model_server = ModelServer()
        self.model_server.default = improvise
        self.model_server.__enter__()
        self.alive: list[tuple[Stranger, Connection]] = []
        self.cut_off: list[Stranger] = []
        self.lives = 0
        self.sent: list[str] = []

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Let the session work until this is done."""
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 30))

    @initialize(target=views)
    def begin(self) -> MultipleResults[Stranger]:
        """Open the house; three look at it."""

        async def opened() -> None:
            self._open_host()
            self.session = (await self.host.create(notebook_path="a.ipynb")).id

        self.run(opened())
        return multiple(*(self._new_view() for _ in range(3)))

    @property
    def data(self) -> Path:
        """The data directory of this life."""
        return self.folder / f"data-{self.lives}"

    def _open_host(self) -> None:
        chosen = Settings(
            data_dir=self.data,
            base_url=self.model_server.url,
            api_key=self.model_server.key,
            idle_s=0.01,
            max_steps=4,
            max_cuts=1,
            recovery_backoff_s=0.01,
            auto_title=False,
        )
        self.model = ClaudeModel(chosen)
        self.workspace = DiskWorkspace(self.folder, chosen)
        self.host = SessionHost(chosen, workspace=self.workspace, model=self.model, toolbox=Toolbox(chosen))
        self.host.start()

    def _new_view(self) -> Stranger:
        stranger = Stranger(lambda command: None)
        self._connect(stranger)
        self.run(stranger.open())
        return stranger

    def _connect(self, stranger: Stranger) -> None:
        connection = self.host.connect(self.session, lambda frame: stranger.hear(frame.data), user="me", road="panel")
        stranger.send_raw = connection.receive
        self.alive.append((stranger, connection))

    @rule(target=views)
    def look(self) -> Stranger:
        """Another view."""
        return self._new_view()

    @rule(view=consumes(views))
    def leave(self, view: Stranger) -> None:
        """A view goes."""
        self._disconnect(view)

    def _disconnect(self, view: Stranger) -> None:
        for stranger, connection in self.alive:
            if stranger is view:
                connection.close()
        self.alive = [(stranger, connection) for stranger, connection in self.alive if stranger is not view]

    @rule(target=away, view=consumes(views), asks=st.booleans())
    def lose_the_line(self, view: Stranger, *, asks: bool) -> Stranger:
        """A view's line breaks, maybe while it is told what it missed."""

        async def lose() -> None:
            if asks:
                view.send("subscribe", since={"ep": view.ep, "seq": view.seq}, page=25)
            self._disconnect(view)

        self.run(lose())
        self.cut_off.append(view)
        return view

    @rule(target=views, view=consumes(away))
    def have_the_line_again(self, view: Stranger) -> Stranger:
        """The view comes back and asks for what it missed, however much that is by now."""
        self._reconnect(view)
        return view

    def _reconnect(self, view: Stranger) -> None:
        self.cut_off.remove(view)
        self._connect(view)
        self._catch_up(view)

    @rule(view=views)
    def come_back(self, view: Stranger) -> None:
        """A view asks for what it missed, which is nothing."""
        self._catch_up(view)

    def _catch_up(self, view: Stranger) -> None:
        assert view.ep is not None
        self.run(view.subscribe(since={"ep": view.ep, "seq": view.seq}))

    @rule(view=views, text=st.text(max_size=8), when=st.sampled_from(WHENS), instead=st.booleans())
    def say(self, view: Stranger, text: str, when: str, *, instead: bool) -> None:
        """Send something, maybe instead of an answer; acknowledged means it will be there."""
        message_id = f"msg_{uuid.uuid4().hex}"
        body: Json = {"id": message_id, "parts": [{"type": "text", "text": text}], "when_busy": when}
        body["deny_pending"] = instead
        ack = self.run(view.ask("message.send", **body))
        if ack["status"] == "accepted":
            self.sent.append(message_id)
        else:
            assert ack["error"]["code"] in {"empty", "busy"}

    @rule(view=views, clear=st.booleans())
    def stop(self, view: Stranger, *, clear: bool) -> None:
        """Stop the turn this view sees, if it still runs."""
        turn = view.view["turn"]
        target = turn["id"] if turn else "trn_none"
        dropped = [item["message_id"] for item in view.view["queue"]] if clear else []
        ack = self.run(view.ask("turn.stop", turn=target, clear_queue=clear))
        if ack["status"] == "accepted":
            self.sent = [m for m in self.sent if m not in dropped]
        else:
            assert ack["error"]["code"] == "not_running"

    @rule(
        view=views,
        decision=st.sampled_from(["allow", "deny"]),
        scope=st.sampled_from(["once", "session", "always"]),
        reason=st.sampled_from([None, "Not now."]),
    )
    def answer(self, view: Stranger, decision: str, scope: str, reason: str | None) -> None:
        """Answer the first question this view sees."""
        if view.view["approvals"]:
            asked = view.view["approvals"][0]
            answer: Json = {"decision": decision, "scope": scope, "reason": reason}
            ack = self.run(view.ask("approval.answer", id=asked["id"], rev=asked["rev"], **answer))
            assert ack["status"] == "accepted" or ack["error"]["code"] in {"not_open", "scope"}

    @rule(view=views, mode=st.sampled_from(["plan", "build"]))
    def switch(self, view: Stranger, mode: str) -> None:
        """Change the mode."""
        assert self.run(view.ask("session.set", mode=mode))["status"] == "accepted"

    @rule(view=views, what=st.sampled_from(["resume", "remove", "send_now", "edit", "reorder"]))
    def queue(self, view: Stranger, what: str) -> None:
        """Do something with what waits."""
        if what == "resume":
            self.run(view.ask("queue.resume"))
        elif view.view["queue"]:
            item, first = view.view["queue"][-1], view.view["queue"][0]
            more: dict[str, Json] = {
                "edit": {"parts": [{"type": "text", "text": "Or rather this."}]}, "reorder": {"before": first["id"]},
            }  # fmt: skip
            ack = self.run(view.ask(f"queue.{what}", id=item["id"], rev=item["rev"], **more.get(what, {})))
            if what == "remove" and ack["status"] == "accepted":
                self.sent = [m for m in self.sent if m != item["message_id"]]

    @rule(view=views, title=st.text(max_size=8), mode=st.sampled_from(["plan", "build"]))
    def plan_ahead(self, view: Stranger, title: str, mode: str) -> None:
        """Write a task down."""
        self._try(view, "task.create", title=title, mode=mode)

    @rule(view=views, status=st.sampled_from(["pending", "done", "cancelled"]))
    def tick_off(self, view: Stranger, status: str) -> None:
        """Change the first task this view sees."""
        for task in view.view["tasks"][:1]:
            self._try(view, "task.update", id=task["id"], rev=task["rev"], status=status)

    @rule(view=views)
    def do_a_task(self, view: Stranger) -> None:
        """Run the last task this view sees."""
        for task in view.view["tasks"][-1:]:
            self._try(view, "task.run", id=task["id"], rev=task["rev"])

    @rule(view=views, kind=st.sampled_from(["turn.continue", "turn.retry", "session.rewind", "session.clear"]))
    def go_back(self, view: Stranger, kind: str) -> None:
        """Go on, answer anew, or leave messages behind."""
        last = view.view["last_outcome"]
        body: Json = {}
        if kind == "turn.continue":
            body = {"after": last["turn"] if last else "trn_none"}
        elif kind != "session.clear":
            body = {"message_id": view.view["messages"][-1]["id"] if view.view["messages"] else "msg_none"}
        if self._try(view, kind, **body) and kind != "turn.continue":
            there = self.run(self._there())
            self.sent = [message_id for message_id in self.sent if message_id in there]

    @rule(view=views, back=st.integers(1, 5))
    def rewind(self, view: Stranger, back: int) -> None:
        """Go further back, maybe to a message that left the branch."""
        messages = view.view["messages"]
        if messages and self._try(view, "session.rewind", message_id=messages[-1 - back % len(messages)]["id"]):
            there = self.run(self._there())
            self.sent = [message_id for message_id in self.sent if message_id in there]

    @rule(view=views)
    def fork(self, view: Stranger) -> None:
        """Copy the session; the copy has nothing that runs or waits."""
        ack = self.run(view.ask("session.fork"))
        if ack["status"] == "accepted":
            self.run(self._rests(ack["result"]["id"]))

    async def _rests(self, session: str) -> None:
        newcomer = Stranger(lambda command: connection.receive(command))
        connection = self.host.connect(session, lambda frame: newcomer.hear(frame.data), user="me", road="panel")
        await newcomer.open()
        assert (newcomer.view["turn"], newcomer.view["queue"], newcomer.view["approvals"]) == (None, [], [])
        connection.close()

    def _try(self, view: Stranger, kind: str, **body: Any) -> bool:
        ack = self.run(view.ask(kind, **body))
        assert ack["status"] == "accepted" or ack["error"]["message"], ack
        return ack["status"] == "accepted"

    @rule()
    def nap(self) -> None:
        """Give the session the time to fall asleep, if it may."""
        self.run(asyncio.sleep(0.03))

    @rule(turns_of_the_loop=st.integers(0, 60))
    def crash(self, turns_of_the_loop: int) -> None:
        """The process dies a few instants later; everybody comes back."""
        self.run(self._instants(turns_of_the_loop))
        self._die()
        for stranger, _ in self.alive:
            self._catch_up(stranger)

    @rule(view=views, turns_of_the_loop=st.integers(0, 30))
    def say_into_a_crash(self, view: Stranger, turns_of_the_loop: int) -> None:
        """The process dies with a message on its way, and the view sends it again."""
        body: Json = {"id": f"msg_{uuid.uuid4().hex}", "parts": [{"type": "text", "text": "Hear me."}]}
        cmd_id = str(uuid.uuid4())

        async def say() -> None:
            view.send("message.send", cmd_id=cmd_id, **body)
            await self._instants(turns_of_the_loop)

        self.run(say())
        self._die()
        for stranger, _ in self.alive:
            self._catch_up(stranger)
        ack = self.run(view.ask("message.send", cmd_id=cmd_id, **body))
        assert ack["status"] == "accepted" or ack["original"] == "accepted", ack
        self.sent.append(body["id"])

    async def _instants(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0.0005)

    def _die(self) -> None:
        """Leave the disk as it is, and go on from there."""
        views = [stranger for stranger, _ in self.alive]
        for _, connection in self.alive:
            connection.close()
        self.alive = []
        before, old = self.data, (self.host, self.model, self.workspace)
        self.lives += 1
        copy_as_after_kill(before, self.data)
        self.run(self._bury(*old))

        async def reborn() -> None:
            self._open_host()

        self.run(reborn())
        for stranger in views:
            self._connect(stranger)

    @staticmethod
    async def _bury(host: SessionHost, model: ClaudeModel, workspace: DiskWorkspace) -> None:
        await host.close()
        await model.close()
        await workspace.close()

    async def _there(self) -> set[str]:
        newcomer = Stranger(lambda command: connection.receive(command))
        connection = self.host.connect(self.session, lambda frame: newcomer.hear(frame.data), user="me", road="panel")
        await newcomer.open()
        told = (await newcomer.subscribe(page=200))["d"]
        connection.close()
        return {m["id"] for m in told["messages"]} | {item["message_id"] for item in told["queue"]}

    def teardown(self) -> None:
        """Let all come to rest, then compare the stories."""
        try:
            for view in list(self.cut_off):
                self._reconnect(view)
            self.run(self._compare())
            assert self.model_server.refusals == []
        finally:
            self.run(self._close())
            self.run(asyncio.sleep(0))  # A closed connection lets go of its socket one turn of the loop later.
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.model_server.stop()
            self.loop.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _compare(self) -> None:
        newcomer = Stranger(lambda command: connection.receive(command))
        connection = self.host.connect(self.session, lambda frame: newcomer.hear(frame.data), user="me", road="panel")
        await newcomer.open()
        # A turn may end by itself before it is told to; then the next in the queue has begun.
        while (turn := newcomer.view["turn"]) is not None:
            await newcomer.ask("turn.stop", turn=turn["id"])
            await newcomer.event("turn.ended", turn=turn["id"])
        snapshot = await newcomer.subscribe(page=200)
        told = snapshot["d"]
        newcomer.same_story_as(snapshot)
        there = {m["id"] for m in told["messages"]} | {item["message_id"] for item in told["queue"]}
        assert set(self.sent) <= there, "an acknowledged message is gone"
        for stranger, _ in self.alive:
            assert stranger.fault is None, stranger.fault
            old = {m["id"] for m in stranger.view["messages"]} - {m["id"] for m in told["messages"]}
            assert not old, "a message is gone"
            stranger.view["messages"] = [m for m in stranger.view["messages"] if m["id"] in there]
            told_to_it = {**told, "messages": told["messages"][-len(stranger.view["messages"]) :]}
            stranger.same_story_as({**snapshot, "d": told_to_it if stranger.view["messages"] else told})
        connection.close()

    async def _close(self) -> None:
        for _, connection in self.alive:
            connection.close()
        await self._bury(self.host, self.model, self.workspace)


TestAnyOrder = pytest.mark.timeout(3600)(AnyOrder.TestCase)  # Five hundred orders take ten minutes.
TestAnyOrder.settings = settings(max_examples=25 if settings().derandomize else 500, stateful_step_count=25)
