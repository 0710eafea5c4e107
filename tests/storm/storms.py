"""One client in one storm: the road to its session, and what its user does meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from jupyter_agent.hosts.kernel import in_pieces
from jupyter_agent.hosts.server.relay import Answers
from jupyter_agent.hosts.server.relayed_panel import RelayedPanel
from jupyter_agent.notebook.kernel_link import KernelLink
from jupyter_agent.session.connection import Connection
from jupyter_agent.session.host import SessionHost
from jupyter_agent.settings import Settings

from .clients import Json, Node, PipedClient, Twin
from .weather import CALM, DEAF, TICK_MS, Weather, Wire

BREATH_S = 0.002
"""What the sessions get of real time while the clients' clock goes on by ``TICK_MS``."""
PIECE_CHARS = 1_500
"""Small, so that many a message comes in pieces."""


class ServerEnd(Protocol):
    """The server's side of a road."""

    def up(self, content: Json) -> None:
        """Take what the network delivers."""
        ...

    def cut(self) -> None:
        """The road broke."""
        ...


class SocketEnd:
    """A connection of the host, a new one each time the client dials."""

    def __init__(self, host: SessionHost, session_id: str, down: Callable[[Json], None]) -> None:
        self._host = host
        self._session_id = session_id
        self._down = down
        self._connection: Connection | None = None

    def dialled(self) -> None:
        """A new socket."""
        self.cut()

        def sink(frame: Any) -> None:
            self._down(json.loads(frame.text))

        self._connection = self._host.connect(self._session_id, sink, user="me", road="panel")

    def up(self, content: Json) -> None:
        """Take what the network delivers."""
        if self._connection is not None:
            self._connection.receive(json.dumps(content))

    def cut(self) -> None:
        """The road broke."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


class _Kernel:
    """What a relayed panel needs of a kernel: it takes messages, and says that it has."""

    ran_our_code = False

    def __init__(self, down: Callable[[Json], None]) -> None:
        self.panel: RelayedPanel | None = None
        self._down = down
        self._count = 0

    def runs_our_code(self) -> bool:
        """No cell runs."""
        return False

    def send_control(self, _kind: str, content: Json) -> str:
        """Pass it on to the page as ``AgentPanel`` does: in pieces where it is large."""
        self._count += 1
        msg_id = f"m{self._count}"
        told = {name: value for name, value in content.items() if name in ("hello", "frames")}
        for piece in in_pieces(json.loads(json.dumps(told)), PIECE_CHARS):
            self._down(piece)
        if self.panel is not None:
            asyncio.get_running_loop().call_soon(self.panel.confirm, msg_id)
        return msg_id


class CommEnd:
    """A relayed panel with its outbox; only the kernel is left out."""

    def __init__(self, host: SessionHost, session_id: str, settings: Settings, down: Callable[[Json], None]) -> None:
        self._session_id = session_id

        async def get_host() -> SessionHost:
            return host

        async def find_notebook() -> str:
            return (await host.session(session_id)).notebook_path or ""

        self._kernel = _Kernel(down)
        self._make = lambda: RelayedPanel(
            "panel", link=cast("KernelLink", self._kernel), answers=Answers(), settings=settings, get_host=get_host,
            find_notebook=find_notebook, user="me", may_write=True, may_execute=True, log=logging.getLogger(__name__),
        )  # fmt: skip
        self._panel = self._kernel.panel = self._make()

    def up(self, content: Json) -> None:
        """Take what the network delivers."""
        if "attach" in content:
            content = {"attach": {"session_id": self._session_id}}
        self._panel.receive(content)

    def cut(self) -> None:
        """The server's end went and came back, as when a server restarts under a kernel that lives on."""
        self._panel.close()
        self._panel = self._kernel.panel = self._make()

    def close(self) -> None:
        """Let go."""
        self._panel.close()


class Storm:
    """See the module."""

    def __init__(
        self, kind: str, host: SessionHost, session_id: str, settings: Settings, seed: int, node: Node
    ) -> None:
        self.seed = seed
        self.session_id = session_id
        self.sent: list[str] = []
        self.told: Json = {}
        self._dice = dice = random.Random(seed)
        weather = Weather.drawn(dice)
        self._down = Wire(dice, weather, lambda content: self.client.down(content))
        self._up = Wire(dice, weather, lambda content: self._end.up(content))
        self._weather = weather
        self._end: ServerEnd
        self.client: PipedClient | Twin
        if kind == "comm":
            self._end = CommEnd(host, session_id, settings, self._down.send)
            self.client = PipedClient(node, "comm", session_id, self._up.send)
        else:
            end = self._end = SocketEnd(host, session_id, self._down.send)
            if kind == "socket":
                self.client = PipedClient(node, "socket", session_id, self._up.send)
                self.client.road_opens = self._dialled
            else:
                self.client = Twin(self._up.send)
                end.dialled()
                self.client.opened()

    def _dialled(self) -> None:
        assert isinstance(self._end, SocketEnd)
        self._end.dialled()
        self.client.opened()

    def tick(self) -> None:
        """A moment passes on the road."""
        self._up.advance(TICK_MS)
        self._down.advance(TICK_MS)
        self.client.advance(TICK_MS)

    def blow(self) -> None:
        """The weather of a moment, and a user who does not notice it."""
        chance = self._dice.random()
        if chance < 0.04 and len(self.sent) < 4:
            self.sent.append(f"storm {self.seed}, message {len(self.sent)}: {'🌧 ' * self._dice.randint(0, 3)}")
            self.client.act(send=self.sent[-1])
        elif chance < 0.08:
            self.client.act(answer=self._dice.choice(["allow", "deny"]))
        elif chance < 0.085:
            self.client.act(stop=True)
        if self._dice.random() < self._weather.cut:
            self._cut()

    def calm(self) -> None:
        """The storm is over."""
        self._up.weather = self._down.weather = CALM

    def deafen(self) -> None:
        """Nothing reaches the client any more."""
        self._down.weather = DEAF

    def _cut(self) -> None:
        self._up.cut()
        self._down.cut()
        self._end.cut()
        if isinstance(self.client, Twin):
            assert isinstance(self._end, SocketEnd)
            self._end.dialled()
            self.client.cut()
        elif isinstance(self._end, SocketEnd):
            self.client.cut()

    async def is_settled(self, rest: int | None) -> bool:
        """Tell whether the client has nothing left to say and has come to where the session rests."""
        told = self.told = await self.client.tell()
        if told["view"].get("approvals"):
            self.client.act(answer="allow")
        return rest is not None and told["waiting"] == 0 and told["view"]["seq"] == rest

    def end(self) -> None:
        """Let go of the client."""
        self.client.close()
        if isinstance(self._end, CommEnd):
            self._end.close()
        else:
            self._end.cut()


async def pass_time(node: Node, storms: Sequence[Storm]) -> None:
    """A moment passes everywhere."""
    for storm in storms:
        storm.tick()
    node.order("", advance=TICK_MS)
    await node.step()
    await asyncio.sleep(BREATH_S)
