"""The page's own client, a real kernel, and a cell that prints more than Jupyter lets through.

Jupyter Server then drops comm messages too, the panel's among them, until the
kernel is idle for a moment, which each message of the relay's makes it. The
limit is lowered here, so that a test's worth of printing goes over it in between:
2 MB/s, in pieces so small that what was let through fills the limit, since a piece
that alone goes over it is dropped and not counted.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.running_server import PanelView, RunningServer
from tests.model_server import Gate, ModelServer, Pace, Reply, Text, words
from tests.roads import CELLS
from tests.storm.clients import Node, PipedClient
from tests.stranger import Stranger

Json = dict[str, Any]
Script = Callable[[Sequence[Any]], str]
BEAT_S = 0.05
LOUD = """import time
from pathlib import Path
while not Path("quiet").exists():
    print("x" * 4_000, flush=True)
    time.sleep(0.002)
"""
LIMIT = "--ZMQChannelsWebsocketConnection.iopub_data_rate_limit=10000"
STORY = ("messages", "turn", "queue", "approvals", "last_outcome")


@pytest.fixture(scope="module")
def strict(claude: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that lets little through."""
    folder = tmp_path_factory.mktemp("strict")
    (folder / "key").write_text(claude.key, encoding="utf-8")
    model = (f"--AgentExtension.base_url={claude.url}", f"--AgentExtension.api_key_file={folder / 'key'}")
    running = RunningServer(folder / "server", "--AgentExtension.demo=False", *model, LIMIT)
    yield running
    running.stop()
    assert running.tracebacks == ""


async def test_a_panel_heals_after_a_loud_cell_took_its_words_away(
    strict: RunningServer, script: Script, tmp_path: Path
) -> None:
    name = f"{uuid.uuid4().hex}.ipynb"
    session_id = await strict.new_session(notebook_path=name)
    async with strict.notebook_page(name, CELLS) as page, strict.view(session_id) as socket:
        page.needs_subshell()
        loud_enough = Gate()
        word = script([Reply(Text("It begins, ", loud_enough, Pace(40), words(100)))])
        node = await Node.start(Node.bundle(tmp_path))
        truth = Stranger(socket.send)
        socket.listeners.append(truth.hear)
        await truth.open()
        panel = await page.open_panel(f"panel = AgentPanel(session_id={session_id!r})\npanel")
        client = PipedClient(node, "comm", session_id, panel.post)
        page.channel.listeners.append(lambda message: _pass_on(panel, message, client))
        await _until(node, client, lambda told: told["status"] == "ready")
        client.act(send=f"Say much, {word}")
        await node.step()
        await truth.event("part.delta")
        loud = page.run(LOUD, "loud")
        # As the limiter says: from here on it drops what comes, until it is quiet.
        await page.channel.wait_for(lambda _: "data rate exceeded" in page.printed(loud))
        loud_enough.open()
        await truth.event("turn.ended", outcome="completed", within=60)
        (strict.notebooks / "quiet").touch()
        told = await _until(node, client, lambda told: told["view"]["seq"] == truth.seq and told["waiting"] == 0)
        assert _holes(panel.events), "nothing was lost, so nothing was healed"
        assert {name: told["view"][name] for name in STORY} == {name: truth.view[name] for name in STORY}
        await page.idle(loud)
        await node.close()


def _pass_on(panel: PanelView, message: Json, client: PipedClient) -> None:
    content = message.get("content", {})
    if message.get("msg_type") != "comm_msg" or content.get("comm_id") != panel.comm_id:
        return
    if content["data"].get("method") == "custom":
        client.down(content["data"]["content"])


def _holes(events: list[Json]) -> list[int]:
    """Return after which numbers something was missing when the page heard the next."""
    holes, reached = list[int](), 0
    for event in events:
        if event["type"] == "snapshot":
            reached = max(reached, event["d"]["as_of"])
        first, last = event.get("covers") or [event.get("seq", 0)] * 2
        if first > reached + 1:
            holes.append(reached)
        reached = max(reached, last)
    return holes


async def _until(node: Node, client: PipedClient, wanted: Callable[[Json], bool]) -> Json:
    """Let the client live, in real time, until it is so."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60):
        while True:
            begun = loop.time()
            await asyncio.sleep(BEAT_S)
            node.order("", advance=round(1000 * (loop.time() - begun)))
            told = await client.tell()
            if wanted(told):
                return told
