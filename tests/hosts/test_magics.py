"""``%agent`` in a real kernel, with a real server that hears it."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from IPython.core.error import UsageError

from jupyter_agent.hosts.magics import Wish, keep_questions, parse
from tests.hosts.conftest import SLOWLY
from tests.hosts.running_server import API, ROOT, Json, Page, PanelView, RunningServer


@pytest.mark.parametrize(
    ("line", "wish"),
    [
        ("", Wish()),
        ("  what's --new here?", Wish(text="what's --new here?")),
        ("--new Plot it", Wish(text="Plot it", new=True)),
        ("--mode plan  --new", Wish(mode="plan", new=True)),
        ("--mode=build go", Wish(mode="build", text="go")),
        ("--session ses_1 go on", Wish(session_id="ses_1", text="go on")),
        ("--stop", Wish(stop=True)),
        ("--help", Wish(help=True)),
    ],
)
def test_options_come_first_and_the_rest_is_the_message(line: str, wish: Wish) -> None:
    assert parse(line) == wish


def test_a_cell_is_the_message_too() -> None:
    assert parse("--mode plan", "Two\n  lines\n") == Wish(mode="plan", text="Two\n  lines")
    assert parse("First", "then") == Wish(text="First\nthen")


@pytest.mark.parametrize("line", ["--mode", "--mode fly", "--session", "--nonsense", "--new --session ses_1 x", "--"])
def test_a_wrong_option_is_said_in_one_sentence(line: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(line)
    assert str(error.value).startswith("%agent: ")


@pytest.fixture
async def page(server: RunningServer) -> AsyncIterator[Page]:
    """A notebook of its own for each test, with the magics loaded."""
    async with server.notebook_page(f"{uuid.uuid4().hex}.ipynb") as opened:
        await opened.execute("%load_ext jupyter_agent")
        yield opened


@pytest.fixture
async def slow_page(slow_server: RunningServer) -> AsyncIterator[Page]:
    """The same beside a model that talks for a minute."""
    async with slow_server.notebook_page(f"{uuid.uuid4().hex}.ipynb") as opened:
        await opened.execute("%load_ext jupyter_agent")
        yield opened


async def show(page: Page, code: str) -> PanelView:
    """Run a cell whose magic shows a panel, and mount it."""
    before = len(page.heard)
    await page.execute(code, uuid.uuid4().hex)
    opened = await page.channel.wait_for(
        lambda m: m["msg_type"] == "comm_open" and "_esm" in m["content"]["data"].get("state", {}), after=before
    )
    assert any(
        "application/vnd.jupyter.widget-view+json" in m["content"]["data"]
        for m in page.heard[before:]
        if m["msg_type"] == "display_data"
    )
    view = PanelView(page, opened["content"]["comm_id"], opened["content"]["data"]["state"])
    view.post({"attach": {}})
    return view


async def session_of(panel: PanelView) -> str:
    hello = await panel.wait_for(lambda c: bool(c.get("hello", {}).get("session_id")))
    return hello["hello"]["session_id"]


def said(snapshot: Json) -> list[Any]:
    return [m["parts"][0]["text"] for m in snapshot["messages"] if m["role"] == "user"]


async def test_a_line_asks_and_shows_the_answer_below_it(server: RunningServer, page: Page) -> None:
    panel = await show(page, "%agent Hello, what's here?")
    await panel.subscribe()
    await panel.event("turn.ended", outcome="completed")
    _, listed = await server.ask("GET", f"{API}/sessions/{await session_of(panel)}/messages")
    assert said(listed) == ["Hello, what's here?"]


async def test_a_line_is_sent_as_it_stands_not_with_the_values_of_variables(server: RunningServer, page: Page) -> None:
    await page.execute("df = 'ten thousand rows'")
    panel = await show(page, "%agent Hello, what does {df} hold, and $df?")
    await panel.subscribe()
    await panel.event("turn.ended", outcome="completed")
    _, listed = await server.ask("GET", f"{API}/sessions/{await session_of(panel)}/messages")
    assert said(listed) == ["Hello, what does {df} hold, and $df?"]


def test_only_a_question_to_the_agent_is_kept_from_ipythons_help() -> None:
    assert keep_questions(["\n", "%agent Why?\n", "x = 1\n"]) == [
        "\n",
        "get_ipython().run_line_magic('agent', 'Why?')\n",
        "x = 1\n",
    ]
    for cell in (["%agent?\n"], ["%%agent\n", "Why?\n"], ["x?\n"], ["x = 1\n", "%agent Why?\n"], [], ["\n"]):
        assert keep_questions(cell) == cell


async def test_a_cell_asks_in_the_session_that_the_notebook_has(server: RunningServer, page: Page) -> None:
    first = await session_of(await show(page, "%agent"))
    panel = await show(page, "%%agent --mode plan\nHello\n\nagain")
    assert await session_of(panel) == first
    await panel.subscribe()
    await panel.event("turn.ended", outcome="completed")
    _, body = await server.ask("GET", f"{API}/sessions/{first}")
    assert body["session"]["mode"] == "plan"
    _, listed = await server.ask("GET", f"{API}/sessions/{first}/messages")
    assert said(listed) == ["Hello\n\nagain"]


async def test_a_new_session_is_made_once_and_an_old_one_is_found_again(server: RunningServer, page: Page) -> None:
    first = await session_of(await show(page, "%agent"))
    panel = await show(page, "%agent --new")
    second = await session_of(panel)
    assert second != first
    await panel.subscribe()
    panel.post({"attach": {}})  # the page loads anew
    panel.command("ping")
    await panel.event("pong")
    _, body = await server.ask("GET", f"{API}/sessions/{second}")
    path = body["session"]["notebook_path"]
    _, listed = await server.ask("GET", f"{API}/sessions?limit=200")
    assert {s["id"] for s in listed["sessions"] if s["notebook_path"] == path} == {first, second}
    assert await session_of(await show(page, f"%agent --session {first}")) == first


@pytest.mark.parametrize("loaded_again", [False, True])
async def test_stop_ends_the_turn_whoever_began_it(slow_page: Page, loaded_again: bool) -> None:
    panel = await show(slow_page, f"%agent {SLOWLY}")
    await panel.subscribe()
    await panel.event("part.delta")
    if loaded_again:  # then it knows no panel, and must find the turn by itself
        await slow_page.execute("%reload_ext jupyter_agent")
    await slow_page.execute("%agent --stop", "another")
    await panel.event("turn.ended", outcome="stopped")


async def test_help_says_what_there_is_and_mistakes_are_one_line(page: Page) -> None:
    assert "--mode plan|build" in await page.execute("%agent --help")
    failing = page.run("%agent --mode fly")
    await page.idle(failing)
    assert "--mode is plan or build" in json.dumps([m["content"] for m in page.of(failing)])


def test_outside_of_jupyter_one_sentence_says_so() -> None:
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'jupyter_agent')\n"
        "shell.run_cell('%agent Hello')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "%agent works in Jupyter" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
