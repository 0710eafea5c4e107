"""The clients that are out in the storm: the panel's own, in Node, and a twin written from the protocol.

::

    PipedClient   js/src/client.ts and its real connections; a pipe is their network, see js/test/storm.ts
    Twin          Python: outbox, cursor, heartbeat, fold; what any other client would do
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_agent.protocol.fold import Gap, View, empty, fold

Json = dict[str, Any]
BOUND_S = 60.0
JS = Path(__file__).parents[2] / "js"
NODE = Path(
    shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])) or "node"
)


def bundle(name: str, folder: Path) -> Path:
    """Build ``js/test/<name>.ts`` for Node, with the panel's client in it."""
    out = folder / f"{name}.mjs"
    wish = {"entryPoints": [f"test/{name}.ts"], "outfile": str(out), "bundle": True, "format": "esm"}
    build = f"require('esbuild').buildSync({json.dumps({**wish, 'platform': 'node', 'logLevel': 'error'})})"
    subprocess.run([NODE, "-e", build], cwd=JS, check=True)
    return out


class Node:
    """The process in which the panel's clients live."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._orders: list[Json] = []
        self.hear: dict[str, Callable[[Json], None]] = {}

    @classmethod
    async def start(cls, bundle: Path) -> Node:
        """Start it. Close it with ``close``."""
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(NODE, bundle, stdin=pipe, stdout=pipe, limit=1 << 26))

    @staticmethod
    def bundle(folder: Path) -> Path:
        """Build what runs there."""
        return bundle("storm", folder)

    def order(self, name: str, **order: Any) -> None:
        """Have a client do something at the next ``step``."""
        self._orders.append({"name": name, **order})

    async def step(self) -> None:
        """Give the orders, and pass on what the clients did."""
        orders, self._orders = self._orders, []
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(orders).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), BOUND_S)
        assert line, "the clients' process ended"
        for said in json.loads(line):
            if said["name"] in self.hear:
                self.hear[said["name"]](said)

    async def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), BOUND_S)


class PipedClient:
    """One client in Node. ``up`` takes what it sends, ``road_opens`` that it dials."""

    def __init__(self, node: Node, road: str, session_id: str, up: Callable[[Json], object]) -> None:
        self.name = uuid.uuid4().hex
        self.road_opens: Callable[[], None] = lambda: None
        self.told: Json | None = None
        self._node = node
        self._up = up
        node.hear[self.name] = self._hear
        node.order(self.name, open={"road": road, "session_id": session_id})

    def _hear(self, said: Json) -> None:
        if "up" in said:
            self._up(said["up"])
        elif said.get("socket") == "open":
            self.road_opens()
        elif "view" in said:
            self.told = said

    def down(self, content: Json) -> None:
        """Deliver something to it."""
        self._node.order(self.name, down=content)

    def opened(self) -> None:
        """Its socket stands."""
        self._node.order(self.name, socket="opened")

    def cut(self) -> None:
        """Its socket broke."""
        self._node.order(self.name, socket=1006)

    def advance(self, ms: int) -> None:
        """Its clock is the process's; see ``Node.order``."""

    def act(self, **what: Any) -> None:
        """The user does something."""
        self._node.order(self.name, **what)

    async def tell(self) -> Json:
        """Return its view, how many commands wait, its status."""
        self._node.order(self.name, tell=True)
        await self._node.step()
        assert self.told is not None
        return self.told

    def close(self) -> None:
        """Dispose of it."""
        self._node.order(self.name, close=True)


class Twin:
    """What the protocol asks of a client, and no more."""

    RESEND_MS = 5_000
    GRACE_MS = 1_000

    def __init__(self, up: Callable[[Json], object]) -> None:
        self._up = up
        self._now = 0
        self._view: View = empty()
        self._outbox: dict[str, tuple[Json, int]] = {}
        self._asked: tuple[str, int, bool] | None = None
        """The subscription under way: its id, since when, whether from the cursor."""
        self._tail: tuple[int, int] | None = None
        self._connected = False

    def opened(self) -> None:
        """The road stands."""
        self._connected = True
        self._subscribe(from_cursor=True)
        for command, _ in list(self._outbox.values()):
            self._post(command)

    def cut(self) -> None:
        """The road broke; it is dialled again at once."""
        self.opened()

    def act(self, *, send: str | None = None, answer: str | None = None, stop: bool = False) -> None:
        """The user does something."""
        if send is not None:
            body = {"id": f"msg_{uuid.uuid4().hex}", "parts": [{"type": "text", "text": send}], "when_busy": "queue"}
            self._deliver("message.send", body)
        approvals, turn = self._view.get("approvals"), self._view["turn"]
        if answer and approvals:
            asked = approvals[0]
            self._deliver(
                "approval.answer", {"id": asked["id"], "rev": asked["rev"], "decision": answer, "scope": "once"}
            )
        if stop and turn:
            self._deliver("turn.stop", {"turn": turn["id"]})

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self._now += ms
        for command, at in list(self._outbox.values()):
            if self._now - at >= self.RESEND_MS:
                self._post(command)
        if self._asked is not None and self._now - self._asked[1] >= self.RESEND_MS:
            self._subscribe(from_cursor=False)
        if self._tail is not None and self._now >= self._tail[1]:
            seq, self._tail = self._tail[0], None
            if seq > self._view["seq"] and self._asked is None:
                self._subscribe(from_cursor=True)

    def down(self, frame: Json) -> None:
        """Take a frame."""
        match frame.get("type"):
            case "ack":
                self._outbox.pop(frame["d"]["cmd_id"], None)
            case "hb":
                if frame["d"]["seq"] > self._view["seq"] and self._tail is None:
                    self._tail = frame["d"]["seq"], self._now + self.GRACE_MS
            case "resync":
                self._lost()
            case "caught_up":
                if self._view["ep"] == frame["ep"] and frame["d"]["seq"] <= self._view["seq"]:
                    self._asked = None
                else:
                    self._lost(again=True)
            case "snapshot" if self._is_late(frame):
                pass
            case _:
                self._fold(frame)

    def _is_late(self, frame: Json) -> bool:
        """A snapshot that nobody waits for any more would take the view back in time."""
        return self._asked is None and frame["ep"] == self._view["ep"] and frame["d"]["as_of"] < self._view["seq"]

    def _fold(self, frame: Json) -> None:
        if self._view["session"] is None and frame.get("type") != "snapshot":
            return
        try:
            self._view = fold(self._view, frame)
        except Gap:
            self._lost()

    def _lost(self, *, again: bool = False) -> None:
        if again or self._asked is None:
            tried = self._asked is not None and self._asked[2]
            self._subscribe(from_cursor=not tried)

    def _subscribe(self, *, from_cursor: bool) -> None:
        known = self._view["ep"] is not None
        since = {"ep": self._view["ep"], "seq": self._view["seq"]} if from_cursor and known else None
        command = _command("subscribe", {"since": since, "page": 25})
        self._asked = command["cmd_id"], self._now, since is not None
        self._up(command)

    def _deliver(self, kind: str, d: Json) -> None:
        self._post(_command(kind, d))

    def _post(self, command: Json) -> None:
        self._outbox[command["cmd_id"]] = command, self._now
        self._up(command)

    async def tell(self) -> Json:
        """Return its view, how many commands wait, its status."""
        return {"view": self._view, "waiting": len(self._outbox), "status": "syncing" if self._asked else "ready"}

    def close(self) -> None:
        """Nothing is held."""


def _command(kind: str, d: Json) -> Json:
    return {"v": 1, "cmd_id": str(uuid.uuid4()), "type": kind, "d": d}
