"""What an inline panel may not ask, whoever runs code in its kernel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from jupyter_agent.agent.claude import ClaudeModel
from jupyter_agent.hosts.kernel import FRAME
from jupyter_agent.hosts.server.relay import Answers, Relay
from jupyter_agent.hosts.server.relayed_panel import RelayedPanel
from jupyter_agent.session.host import SessionHost
from jupyter_agent.settings import Settings
from jupyter_agent.tools.toolbox import Toolbox
from tests.fakes import DiskWorkspace

Json = dict[str, Any]


class Kernel:
    """The far end of a link: it passes on at once, and tells what runs in it."""

    def __init__(self) -> None:
        self.ours = False
        self.ran_our_code = False
        self.events: list[Json] = []
        self.news = asyncio.Event()
        self.says: Callable[[Json], None] = lambda _message: None

    def subscribe(self, callback: Callable[[Json], None]) -> Callable[[], None]:
        self.says = callback
        return lambda: None

    def runs_our_code(self) -> bool:
        return self.ours

    def send_control(self, msg_type: str, content: Json) -> str:
        del msg_type
        for frame in content.get("frames", []):
            self.events += frame.get("batch", [frame])
        self.news.set()
        return ""

    async def ack(self, cmd_id: str) -> Json:
        async with asyncio.timeout(30):
            while True:
                for event in self.events:
                    if event["type"] == "ack" and event["d"]["cmd_id"] == cmd_id:
                        return event["d"]
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def hosting(tmp_path: Path) -> AsyncGenerator[SessionHost]:
    """A host whose model is never asked."""
    settings = Settings(data_dir=tmp_path / "data", base_url="http://127.0.0.1:9", api_key="a-key-of-no-use")
    model, workspace = ClaudeModel(settings), DiskWorkspace(tmp_path, settings)
    host = SessionHost(settings, workspace=workspace, model=model, toolbox=Toolbox(settings))
    yield host
    await host.close()
    await model.close()
    await workspace.close()


@asynccontextmanager
async def panel(tmp_path: Path, **rights: bool) -> AsyncGenerator[tuple[RelayedPanel, Kernel]]:
    """A panel of a.ipynb that is attached, started by somebody with these rights."""
    async with hosting(tmp_path) as host:
        relayed, kernel = panel_of(host, **rights)
        yield relayed, kernel
        relayed.close()


def panel_of(host: SessionHost, **rights: bool) -> tuple[RelayedPanel, Kernel]:
    kernel = Kernel()

    async def get_host() -> SessionHost:
        return host

    async def find_notebook() -> str:
        return "a.ipynb"

    relayed = RelayedPanel(
        "p",
        link=cast("Any", kernel),
        answers=Answers(),
        settings=host.settings,
        get_host=get_host,
        find_notebook=find_notebook,
        user="ada",
        log=logging.getLogger(__name__),
        **({"may_write": True, "may_execute": True} | rights),
    )
    relayed.receive({"attach": {}})
    return relayed, kernel


async def asked(relayed: RelayedPanel, kernel: Kernel, tag: str, **body: Any) -> Json:
    cmd_id = f"c{len(kernel.events)}"
    relayed.receive({"command": {"v": 1, "cmd_id": cmd_id, "type": tag, "d": body}})
    return await kernel.ack(cmd_id)


ALLOW = {"id": "apr_1", "rev": 1, "decision": "allow"}


async def test_who_may_not_execute_allows_nothing_but_may_deny(tmp_path: Path) -> None:
    async with panel(tmp_path, may_execute=False) as (relayed, kernel):
        assert (await asked(relayed, kernel, "approval.answer", **ALLOW))["error"]["code"] == "forbidden"
        denied = await asked(relayed, kernel, "approval.answer", **(ALLOW | {"decision": "deny"}))
        assert denied["error"]["code"] == "not_open"
        assert (await asked(relayed, kernel, "session.set", mode="plan"))["status"] == "accepted"


async def test_who_may_only_watch_changes_nothing(tmp_path: Path) -> None:
    async with panel(tmp_path, may_write=False, may_execute=False) as (relayed, kernel):
        for tag, body in (("session.set", {"title": "x"}), ("queue.resume", {}), ("turn.stop", {"turn": "trn_1"})):
            assert (await asked(relayed, kernel, tag, **body))["error"]["code"] == "forbidden"
        assert (await asked(relayed, kernel, "history"))["status"] == "accepted"


async def test_while_the_agents_code_runs_nothing_is_allowed_and_no_mode_changes(tmp_path: Path) -> None:
    async with panel(tmp_path) as (relayed, kernel):
        kernel.ours = True
        for scope in ("once", "session"):
            answer = await asked(relayed, kernel, "approval.answer", **ALLOW, scope=scope)
            assert answer["error"]["code"] == "own_code_runs"
        assert (await asked(relayed, kernel, "session.set", mode="build"))["error"]["code"] == "own_code_runs"
        assert (await asked(relayed, kernel, "session.set", title="x"))["status"] == "accepted"
        task = (await asked(relayed, kernel, "task.create", title="Look", mode="plan"))["result"]
        named = {"id": task["id"], "rev": task["rev"]}
        assert (await asked(relayed, kernel, "task.update", **named, mode="build"))["error"]["code"] == "own_code_runs"
        kernel.ours = False
        always = await asked(relayed, kernel, "approval.answer", **ALLOW, scope="always")
        assert always["error"]["code"] == "forbidden"


async def test_what_the_agents_code_left_behind_allows_nothing_where_its_user_never_did(
    tmp_path: Path,
) -> None:
    async with panel(tmp_path) as (relayed, kernel):
        kernel.ran_our_code = True
        for scope in ("once", "session"):
            answer = await asked(relayed, kernel, "approval.answer", **ALLOW, scope=scope)
            assert answer["error"]["code"] == "own_code_ran"
            assert answer["error"]["hint"]
        denied = await asked(relayed, kernel, "approval.answer", **(ALLOW | {"decision": "deny"}))
        assert denied["error"]["code"] == "not_open"
        kernel.ran_our_code = False
        assert (await asked(relayed, kernel, "approval.answer", **ALLOW))["error"]["code"] == "not_open"


async def test_a_page_without_another_road_goes_on_answering_by_comm(tmp_path: Path) -> None:
    async with panel(tmp_path) as (relayed, kernel):
        assert (await asked(relayed, kernel, "approval.answer", **ALLOW))["error"]["code"] == "not_open"
        kernel.ran_our_code = True
        assert (await asked(relayed, kernel, "approval.answer", **ALLOW))["error"]["code"] == "not_open"


async def test_the_panels_of_a_kernel_that_nobodys_request_started_talk_and_let_nothing_act(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        kernel = Kernel()

        async def link(_kernel_id: str) -> Kernel:
            return kernel

        async def get_host() -> SessionHost:
            return host

        links = SimpleNamespace(link=link)
        engine: Any = SimpleNamespace(links=links, host=get_host, settings=host.settings)
        notebook = {"kernel": {"id": "k"}, "type": "notebook", "path": "a.ipynb"}
        relay = Relay(
            engine,
            kernel_manager=SimpleNamespace(list_kernel_ids=lambda: ["k"]),
            session_manager=SimpleNamespace(list_sessions=lambda: [notebook]),
            authorizer=None,
            log=logging.getLogger(__name__),
        )
        await relay.watch_running()  # It ran before this server's extension did: nobody knows who started it.

        async def said(tag: str, **d: Any) -> Json:
            cmd_id = f"c{len(kernel.events)}"
            command = {"v": 1, "cmd_id": cmd_id, "type": tag, "d": d}
            kernel.says({"msg_type": FRAME, "content": {"panel": "p", "command": command}})
            return await kernel.ack(cmd_id)

        kernel.says({"msg_type": FRAME, "content": {"panel": "p", "attach": {}}})
        assert (await said("session.set", title="Mine"))["status"] == "accepted"
        assert (await said("approval.answer", **ALLOW))["error"]["code"] == "forbidden"
        assert (await said("approval.answer", **(ALLOW | {"decision": "deny"})))["error"]["code"] == "not_open"
        relay.close()
