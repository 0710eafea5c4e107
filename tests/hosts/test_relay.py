"""Inline panels: a real kernel, the server's relay, and what a page would hear on iopub."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from tests.hosts.conftest import SLOWLY
from tests.hosts.running_server import API, ROOT, Json, Page, PanelView, RunningServer


@pytest.fixture
async def slow_page(slow_server: RunningServer) -> AsyncIterator[Page]:
    """A notebook of its own, beside a model that talks for a minute."""
    async with slow_server.notebook_page(f"{uuid.uuid4().hex}.ipynb") as opened:
        yield opened


@pytest.fixture
async def page(server: RunningServer) -> AsyncIterator[Page]:
    """A notebook of its own for each test."""
    async with server.notebook_page(f"{uuid.uuid4().hex}.ipynb") as opened:
        yield opened


async def test_a_panel_shows_the_session_of_its_notebook(server: RunningServer, page: Page) -> None:
    panel = await page.open_panel()
    hello = (await panel.wait_for(lambda c: bool(c.get("hello", {}).get("session_id"))))["hello"]
    assert hello["status"] == "ready"
    assert hello["mode"] == "build"
    status, body = await server.ask("GET", f"{API}/sessions/{hello['session_id']}")
    assert status == 200
    assert body["session"]["notebook_path"].endswith(".ipynb")
    assert await page.execute("print(panel.session_id, panel.status, panel.mode, panel.model)") == (
        f"{hello['session_id']} ready build {hello['model']}\n"
    )


async def test_a_turn_streams_through_the_comm_without_a_gap(page: Page) -> None:
    panel = await page.open_panel()
    snapshot = await panel.subscribe()
    panel.command("message.send", id="msg_comm", parts=[{"type": "text", "text": "Hello"}])
    await panel.event("turn.ended", outcome="completed")
    last = snapshot["as_of"]
    for event in panel.events:
        if "seq" in event or "covers" in event:
            first, end = event.get("covers") or (event["seq"], event["seq"])
            assert first == last + 1, event
            last = end
    parts = [e["d"]["part"] for e in panel.events if e["type"] == "part.done"]
    streamed = "".join(e["d"]["delta"] for e in panel.events if e["type"] == "part.delta")
    assert streamed == "".join(part["text"] for part in parts if part["type"] == "text")


async def test_python_asks_and_stops_without_any_page(slow_page: Page) -> None:
    await slow_page.execute("from jupyter_agent import AgentPanel\np = AgentPanel()")
    await slow_page.execute(f"p.ask({SLOWLY!r})")
    await slow_page.execute(_WAIT.format(condition="p.status == 'streaming'"))
    await slow_page.execute("p.stop()")
    await slow_page.execute(_WAIT.format(condition="p.status == 'ready'"))


async def test_asked_and_stopped_in_one_breath_is_stopped(slow_page: Page) -> None:
    panel = await slow_page.open_panel()
    await panel.subscribe()
    await slow_page.execute(f"panel.ask({SLOWLY!r}); panel.stop()")
    await panel.event("turn.ended", outcome="stopped")


@pytest.mark.parametrize("cell", ["import time; time.sleep(600)", "while True: pass"])
async def test_frames_and_stop_pass_a_busy_kernel(slow_page: Page, cell: str) -> None:
    slow_page.needs_subshell()
    panel = await slow_page.open_panel()
    await panel.subscribe()
    running = slow_page.run(cell, "cell-2")
    await slow_page.running(running)
    panel.command("message.send", id="msg_busy", parts=[{"type": "text", "text": SLOWLY}])
    turn = (await panel.event("turn.started"))["d"]["turn"]["id"]
    await panel.event("part.delta")
    panel.command("turn.stop", turn=turn)
    await panel.event("turn.ended", outcome="stopped")
    assert not any(m["msg_type"] == "execute_reply" for m in slow_page.of(running)), "the cell still ran"
    await slow_page.server.ask("POST", f"/api/kernels/{slow_page.kernel_id}/interrupt")
    await slow_page.idle(running)


async def test_output_of_the_users_threads_keeps_its_cell(slow_page: Page) -> None:
    panel = await slow_page.open_panel()
    await panel.subscribe()
    running = slow_page.run(
        "import threading, time\n"
        "def work():\n"
        "    for n in range(20):\n"
        "        print('line', n, flush=True)\n"
        "        time.sleep(0.1)\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()",
        "cell-2",
    )
    await slow_page.running(running)
    sent = panel.command("message.send", id="msg_threads", parts=[{"type": "text", "text": SLOWLY}])
    await panel.event("ack", cmd_id=sent)
    for n in range(10):  # the page talks too, on its subshell
        panel.command("ping")
        await slow_page.channel.wait_for(lambda _, n=n: f"line {2 * n}\n" in slow_page.printed(running))
    await slow_page.idle(running)
    assert slow_page.printed(running).count("line") == 20


async def test_the_kernel_passes_on_frame_after_frame_and_none_is_dropped(slow_page: Page) -> None:
    panel = await slow_page.open_panel()
    await panel.subscribe()
    sent = panel.command("message.send", id="msg_rate", parts=[{"type": "text", "text": SLOWLY}])
    await panel.event("ack", cmd_id=sent)
    await panel.event("part.delta")
    before = len(panel.customs(slow_page.heard))
    # How many a second is a bench's question.
    await slow_page.channel.wait_for(lambda _: len(panel.customs(slow_page.heard)) >= before + 40)
    assert not [e for e in panel.events if e["type"] == "resync"]
    numbers = [e.get("covers") or [e["seq"], e["seq"]] for e in panel.events if "seq" in e or "covers" in e]
    assert [first for first, _ in numbers[1:]] == [last + 1 for _, last in numbers[:-1]]
    turn = (await panel.event("turn.started"))["d"]["turn"]["id"]
    panel.command("turn.stop", turn=turn)
    await panel.event("turn.ended")


async def test_a_cell_run_again_finds_the_session_and_lets_the_old_panel_go(page: Page) -> None:
    first = await page.open_panel()
    hello = await first.wait_for(lambda c: bool(c.get("hello", {}).get("session_id")))
    second = await page.open_panel()
    again = await second.wait_for(lambda c: bool(c.get("hello", {}).get("session_id")))
    assert hello["hello"]["session_id"] == again["hello"]["session_id"]
    await page.channel.wait_for(
        lambda m: m["msg_type"] == "jupyter_agent_frame" and m["content"] == {"panel": first.comm_id, "detach": {}}
    )


async def test_a_comm_that_the_page_closes_is_closed_here_too_and_its_view_goes(page: Page) -> None:
    panel = await page.open_panel()
    await panel.subscribe()
    closing: Json = {"comm_id": panel.comm_id, "data": {}}
    page.send("shell", "comm_close", closing, subshell=page.subshell)
    await page.channel.wait_for(
        lambda m: m["msg_type"] == "jupyter_agent_frame" and m["content"] == {"panel": panel.comm_id, "detach": {}}
    )
    await page.channel.wait_for(lambda m: m["msg_type"] == "comm_close" and m["content"]["comm_id"] == panel.comm_id)
    assert await page.execute("print(panel.comm)") == "None\n"
    await page.execute("panel.close()")


@pytest.mark.parametrize("wrong", ["transport='pigeon'", "height=None"])
async def test_a_panel_that_cannot_be_made_is_one_error(page: Page, wrong: str) -> None:
    cell = f"from jupyter_agent import AgentPanel\ntry:\n    AgentPanel({wrong})\nexcept Exception:\n    print(1)"
    running = page.run(cell)
    await page.idle(running)
    assert page.printed(running) == "1\n"


async def test_after_a_kernel_restart_a_new_panel_finds_the_same_session(
    slow_server: RunningServer, slow_page: Page
) -> None:
    panel = await slow_page.open_panel()
    session_id = (await panel.wait_for(lambda c: bool(c.get("hello", {}).get("session_id"))))["hello"]["session_id"]
    sent = panel.command("message.send", id="msg_survives", parts=[{"type": "text", "text": SLOWLY}])
    await panel.event("ack", cmd_id=sent)
    status, _ = await slow_server.ask("POST", f"/api/kernels/{slow_page.kernel_id}/restart")
    assert status == 200
    await slow_page.ready()
    _, body = await slow_server.ask("GET", f"{API}/sessions/{session_id}")
    assert body["session"]["status"] in ("submitted", "streaming"), "the turn is the server's, not the kernel's"
    panel = await slow_page.open_panel()
    again = await panel.wait_for(lambda c: bool(c.get("hello", {}).get("session_id")))
    assert again["hello"]["session_id"] == session_id
    turn = (await panel.subscribe())["turn"]
    panel.command("turn.stop", turn=turn["id"])
    await panel.event("turn.ended", outcome="stopped")


# -- what a comm may not do ---------------------------------------------------------


async def test_a_panel_cannot_reach_another_notebooks_session(server: RunningServer, page: Page) -> None:
    foreign = await server.new_session(notebook_path="other.ipynb")
    panel = await page.open_panel(f"AgentPanel(session_id={foreign!r})")
    await panel.event("error", code="other_notebook")
    panel.command("message.send", id="msg_foreign", parts=[{"type": "text", "text": "Hello"}])
    await panel.event("error", code="detached")
    _, body = await server.ask("GET", f"{API}/sessions/{foreign}/messages")
    assert body["messages"] == []


@pytest.mark.parametrize("session_id", ["ses_0123456789abcdef", "../../etc", ""])
async def test_a_session_that_is_not_there_is_named_so(page: Page, session_id: str) -> None:
    panel = await page.open_panel(f"AgentPanel(session_id={session_id!r})")
    await panel.event("error", code="not_found")


async def test_a_comm_never_allows_a_tool_for_good(page: Page) -> None:
    panel = await page.open_panel()
    await panel.subscribe()
    sent = panel.command("approval.answer", id="apr_x", rev=1, decision="allow", scope="always")
    ack = await panel.event("ack", cmd_id=sent)
    assert (ack["d"]["status"], ack["d"]["error"]["code"]) == ("rejected", "forbidden")


async def test_frames_that_make_no_sense_are_answered_and_change_nothing(page: Page) -> None:
    panel = await page.open_panel()
    await panel.subscribe()
    for nonsense in ({"v": 1}, {"v": 1, "cmd_id": "c", "type": 3}, {}):
        panel.post({"command": nonsense})
    panel.post({"command": "text"})
    panel.post({"unheard-of": {}})
    await page.execute(
        "from jupyter_agent.hosts.kernel import kernel_relay\n"
        "for content in ({}, {'attach': 3}, {'command': []}, {'frames': None}):\n"
        "    kernel_relay().publish(panel._panel_id, content)"
    )
    panel.command("ping")
    await panel.event("pong")


_FAILED = {
    "output_type": "error",
    "ename": "NameError",
    "evalue": "name 'time' is not defined",
    "traceback": ["Cell In[1], line 1", "----> 1 time.sleep(30)", "NameError: name 'time' is not defined"],
}
_BROKEN: Json = {
    "id": "broken",
    "cell_type": "code",
    "source": "time.sleep(30)",
    "metadata": {},
    "execution_count": 1,
    "outputs": [_FAILED],
}


async def test_while_the_agents_own_code_runs_a_comm_changes_no_mode_and_approves_nothing(
    server: RunningServer,
) -> None:
    async with server.notebook_page("own_code.ipynb", [_BROKEN]) as page:
        page.needs_subshell()
        panel = await page.open_panel()
        session_id = (await panel.subscribe())["session"]["id"]
        panel.command("message.send", id="msg_fix", parts=[{"type": "text", "text": "Fix the failing cell"}])
        answered: set[str] = set()
        while not (running := _running_code(page, "sleep(30)")):
            await page.channel.wait_for(
                lambda _: bool(_open_approvals(panel) - answered) or bool(_running_code(page, "sleep(30)"))
            )
            for approval_id in _open_approvals(panel) - answered:
                answered.add(approval_id)
                answer = {"id": approval_id, "rev": 1, "decision": "allow"}
                command = {"v": 1, "cmd_id": f"allow {approval_id}", "type": "approval.answer", "d": answer}
                _, ack = await server.ask("POST", f"{API}/sessions/{session_id}/commands", command)
                assert ack["status"] == "accepted", ack
        refused = [
            panel.command("session.set", mode="plan"),
            panel.command("approval.answer", id="apr_x", rev=1, decision="allow"),
        ]
        for cmd_id in refused:
            ack = (await panel.event("ack", cmd_id=cmd_id))["d"]
            assert (ack["status"], ack["error"]["code"]) == ("rejected", "own_code_runs")
        turn = (await panel.event("turn.started"))["d"]["turn"]["id"]
        panel.command("turn.stop", turn=turn)
        await panel.event("turn.ended", outcome="stopped")
        await page.idle(running)
        cmd_id = panel.command("session.set", mode="plan")
        assert (await panel.event("ack", cmd_id=cmd_id))["d"]["status"] == "accepted"


def _running_code(page: Page, code: str) -> str | None:
    """The id of the request that runs ``code``, once the kernel has taken it."""
    for message in page.heard:
        if message["msg_type"] == "execute_input" and code in message["content"]["code"]:
            return message["parent_header"]["msg_id"]
    return None


def _open_approvals(panel: PanelView) -> set[str]:
    return {e["d"]["approval"]["id"] for e in panel.events if e["type"] == "approval.requested"}


# -- large things -------------------------------------------------------------------


async def test_what_is_too_large_for_iopub_comes_in_pieces(page: Page) -> None:
    panel = await page.open_panel()
    await panel.subscribe()
    text = "😀 large " * 30_000
    sent = panel.command("message.send", id="msg_large", parts=[{"type": "text", "text": text}])
    await panel.event("ack", cmd_id=sent)
    await panel.event("turn.ended")
    added = next(e for e in panel.events if e["type"] == "message.added" and e["d"]["message"]["id"] == "msg_large")
    assert added["d"]["message"]["parts"][0]["text"] == text or added["d"]["message"]["truncated"]
    from_widget = [m for m in page.heard if m["msg_type"] == "comm_msg" and m["content"]["comm_id"] == panel.comm_id]
    assert max(len(str(m["content"]["data"])) for m in from_widget) <= 256 * 1024


async def test_a_page_that_jupyter_did_not_serve_gets_the_panel_itself(page: Page) -> None:
    panel = await page.open_panel()
    panel.post({"bundle": {}})
    sent = await panel.wait_for(lambda c: "bundle" in c or "not_built" in str(c))
    static = ROOT / "jupyter_agent" / "static"
    assert sent["bundle"] == (static / "widget.js").read_text(encoding="utf-8")
    assert sent["style"] == (static / "widget.css").read_text(encoding="utf-8")


async def test_the_panels_saved_state_is_small(page: Page) -> None:
    panel = await page.open_panel("panel = AgentPanel(height=300)\npanel")
    assert len(str(panel.state)) < 8 * 1024
    assert panel.state["height"] == "300px"
    assert set(panel.state) & {"mode", "model", "status", "title"} == set()


_WAIT = """
import time
until = time.time() + 20
while not ({condition}):
    assert time.time() < until, (p.status, p.session_id)
    time.sleep(0.02)
"""
