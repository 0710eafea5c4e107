"""JupyterLab as a user drives it: a server, and a page of it that notes what went wrong.

A page is asked in the words of the screen: labels, roles and the ``data-``
attributes that the panel keeps for tests. Whatever is waited for is a state of
the page, with a bound.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import BrowserContext, ConsoleMessage, Error, Locator, Request, Response, expect
from playwright.async_api import Page as BrowserPage

from tests.hosts.running_server import TOKEN, RunningServer

Json = dict[str, Any]

ARTIFACTS = Path(__file__).parents[1] / "artifacts" / "browser"
BOUND_MS = 60_000
START_MS = 60_000
"""A page that loads beside other work may take its time."""
# Playwright's own five seconds are too few for a page beside other work, and nothing waits for their end in vain.
expect.set_options(timeout=BOUND_MS)

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whoever asks for another host gets no answer, and is seen to have asked.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)

NOT_OURS: tuple[tuple[str, str], ...] = (
    (r"status of 404 .*/api/kernels/", "JupyterLab asks after a kernel that died with its server."),
    (r"reading 'schema'\)\s+at \S+/static/notebook/", "Notebook 7 says so at every start, without us too."),
    (
        r"'filebrowser:open-path' not registered",
        "Notebook 7, after JupyterLab was open on the same server, wants to open what that had open; without us too.",
    ),
)
"""Patterns of faults that are not ours, each with the reason."""

DATA = 'import pandas as pd\n\ndf = pd.DataFrame({"price": [10.0, 20.5, 40.0, 31.0], "rooms": [1, 2, 4, 3]})'

PLOT = "import matplotlib.pyplot as plt\n\nplt.plot([1, 4, 9, 16])\nplt.show()"

WIDGET = "from jupyter_agent import AgentPanel\n\npanel = AgentPanel()\npanel"


def code(source: str, cell_id: str) -> Json:
    """Return a code cell that was never run."""
    cell: Json = {"id": cell_id, "cell_type": "code", "source": source, "metadata": {}, "outputs": []}
    return cell | {"execution_count": None}


def waits_for(name: str) -> str:
    """Return code that runs until ``Lab.touch`` makes this file beside its notebook."""
    return f"from pathlib import Path\nimport time\nwhile not Path({name!r}).exists():\n    time.sleep(0.02)\n"


class Lab:
    """A Jupyter server with JupyterLab and Notebook 7, settings and layouts of its own."""

    def __init__(self, directory: Path, *options: str, variables: Mapping[str, str] | None = None) -> None:
        settings = directory / "settings"
        _write(settings / "@jupyterlab/apputils-extension/notification.jupyterlab-settings", {"fetchNews": "false"})
        # Saved notebooks are to hold the state of widgets: one test measures how large it is.
        _write(settings / "@jupyter-widgets/jupyterlab-manager/plugin.jupyterlab-settings", {"saveState": True})
        self._start: Callable[[int | None], RunningServer] = lambda port: RunningServer(
            directory / "server",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
            *options,
            extensions={"jupyter_agent": True, "jupyterlab": True, "notebook": True},
            variables={
                "JUPYTERLAB_SETTINGS_DIR": str(settings),
                "JUPYTERLAB_WORKSPACES_DIR": str(directory / "workspaces"),
                **(variables or {}),
            },
            port=port,
        )
        self.server = self._start(None)

    def kill(self) -> Callable[[], None]:
        """Kill the server; return what starts the next one, at the same address."""
        port, log = self.server.kill(), self.server.log

        def start_again() -> None:
            self.server = self._start(port)
            self.server.log[:0] = log

        return start_again

    def write(self, name: str, cells: Sequence[Json] = ()) -> str:
        """Put a notebook where the server finds it; return its path there."""
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook: Json = {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": list(cells)}
        (self.server.notebooks / name).write_text(json.dumps(notebook), encoding="utf-8")
        return name

    def read(self, name: str) -> Json:
        """Return a notebook as it stands on disk."""
        return json.loads((self.server.notebooks / name).read_text(encoding="utf-8"))

    def close(self) -> None:
        """End the server and keep its log; a traceback in it fails the run."""
        self.server.stop()
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        (ARTIFACTS / f"{self.server.directory.parent.name}.log").write_text("".join(self.server.log), encoding="utf-8")
        # Jupyter Server's own are left alone: it logs one when a page goes while its kernel speaks.
        _, *tracebacks = "".join(self.server.log).split("Traceback (most recent call last)")
        assert [one for one in tracebacks if "/jupyter_agent/" in one.partition("\n[")[0]] == []

    def touch(self, name: str) -> None:
        """Make the file that a cell waits for."""
        (self.server.notebooks / name).touch()


def _write(path: Path, value: Json) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(value), encoding="utf-8")


class LabPage:
    """One page of JupyterLab, or of Notebook 7."""

    def __init__(self, lab: Lab, context: BrowserContext, page: BrowserPage) -> None:
        self.lab = lab
        self.context = context
        self.page = page
        self.faults: list[str] = []
        self.requests: list[str] = []
        self._workspace = uuid.uuid4().hex
        page.set_default_timeout(BOUND_MS)
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)
        page.on("request", self._on_request)
        page.on("websocket", lambda socket: self.requests.append(socket.url))

    # -- what went wrong -----------------------------------------------------------------

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(f"{message.text} ({message.location.get('url', '')})")

    def _on_error(self, error: Error) -> None:
        self._note(f"uncaught: {error.stack or error}")

    def _note(self, fault: str) -> None:
        if not any(re.search(pattern, fault) for pattern, _ in NOT_OURS):
            self.faults.append(fault)

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)

    @property
    def foreign(self) -> list[str]:
        """Addresses outside of the server that were asked for."""
        home = urlsplit(self.lab.server.base).netloc
        parts = [(url, urlsplit(url)) for url in self.requests]
        return [url for url, at in parts if at.scheme not in ("data", "blob") and at.netloc != home]

    # -- going there ---------------------------------------------------------------------

    async def open(self, notebook: str) -> None:
        """Open a notebook in JupyterLab and wait until its kernel is at rest."""
        await self.page.goto(f"{self.lab.server.base}/lab/workspaces/{self._workspace}/tree/{notebook}?token={TOKEN}")
        await self.loaded()

    async def open_classic(self, notebook: str) -> None:
        """The same in Notebook 7."""
        await self.page.goto(f"{self.lab.server.base}/notebooks/{notebook}?token={TOKEN}")
        await self.loaded()

    @asynccontextmanager
    async def layout_saved(self, words: str = '"current":"jupyter-agent-panel"') -> AsyncGenerator[None, None]:
        """Wait until JupyterLab has stored this, by default that the panel is open: it does so a second later."""

        def stores_it(response: Response) -> bool:
            return "/api/workspaces" in response.url and words in (response.request.post_data or "")

        # Not `requestfinished`: an older JupyterLab never reads the answer, and so never finishes.
        async with self.page.expect_event("response", stores_it):
            yield

    async def reload(self) -> None:
        """Load the page again and wait as at first."""
        await self.page.reload()
        await self.loaded()

    async def loaded(self) -> None:
        """Wait until the notebook in front can run cells."""
        await self.page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=START_MS)
        await self.page.wait_for_function(
            """() => {
                const panel = window.jupyterapp?.shell.currentWidget;
                return panel?.sessionContext?.session?.kernel?.status === "idle";
            }""",
            timeout=START_MS,
        )

    async def command(self, name: str, **arguments: Any) -> None:
        """Run one of JupyterLab's commands; does not wait for what it leads to."""
        await self.page.evaluate(
            "([name, args]) => { void window.jupyterapp.commands.execute(name, args) }", [name, arguments]
        )

    async def open_panel(self) -> Locator:
        """Show the side panel and wait until it can be talked to."""
        await self.command("jupyter-agent:open")
        await self.ready(self.side)
        return self.side

    async def show_widget(self, cell: int = 0) -> Locator:
        """Run the cell that makes an inline panel, and wait for it."""
        await self.run_cell(cell)
        await self.ready(self.widget)
        return self.widget

    async def ready(self, panel: Locator) -> None:
        """Wait until nothing runs in a panel's session."""
        await expect(panel).to_have_attribute("data-status", "ready", timeout=START_MS)

    async def needs_subshell(self) -> None:
        """Skip the test where no comm message is heard beside a running cell: that came with ipykernel 7."""
        info = await self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.info")
        if "kernel subshells" not in (info.get("supported_features") or []):
            pytest.skip("before ipykernel 7 a kernel has no subshells: comm messages wait for the running cell")

    async def needs_untracked_messages(self) -> None:
        """Skip the test where JupyterLab counts every message as its kernel's work: 4.5 learned to leave some out."""
        version = await self.page.evaluate("window.jupyterapp.version")
        if tuple(int(number) for number in version.split(".")[:2]) < (4, 5):
            pytest.skip(f"JupyterLab {version} does not know `untracked_message_types`: its kernel indicator flickers")

    # -- the panels ----------------------------------------------------------------------

    @property
    def side(self) -> Locator:
        """The panel beside the notebook."""
        return self.page.locator('.jp-agent[data-surface="side"]')

    @property
    def widget(self) -> Locator:
        """The panel in a cell's output."""
        return self.page.locator('.jp-agent[data-surface="widget"]')

    async def ask(self, text: str, panel: Locator | None = None) -> None:
        """Write a message and press Enter."""
        box = (panel or self.side).get_by_label("Message", exact=True)
        await box.fill(text)
        await box.press("Enter")

    async def question(self, words: str, panel: Locator | None = None) -> Locator:
        """Wait for an approval that asks this."""
        card = (panel or self.side).get_by_role("region", name=words)
        await card.wait_for(timeout=START_MS)
        return card

    async def allow(self, words: str, panel: Locator | None = None) -> None:
        """Wait for an approval that asks this, and allow it."""
        card = await self.question(words, panel)
        await card.get_by_role("button", name="Allow", exact=True).click()
        await card.wait_for(state="detached")

    async def transcript(self, panel: Locator) -> list[str]:
        """What is said in a panel, message by message, as it can be read."""
        return await panel.locator("[data-message-id]").all_inner_texts()

    # -- the notebook --------------------------------------------------------------------

    @property
    def cells(self) -> Locator:
        """The cells of the notebook in front."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")

    def prompt(self, cell: int) -> Locator:
        """The brackets beside a cell's source."""
        return self.cells.nth(cell).locator(".jp-InputPrompt").first

    async def start_cell(self, cell: int) -> None:
        """Run a cell, as a user does; returns at once."""
        await self.cells.nth(cell).locator(".cm-content").first.click()
        await self.page.keyboard.press("Control+Enter")

    async def run_cell(self, cell: int) -> None:
        """Run a cell and wait until it is done."""
        await self.start_cell(cell)
        await expect(self.prompt(cell)).to_have_text(re.compile(r"\[\d+\]"), timeout=START_MS)

    async def interrupt_and_rest(self) -> None:
        """Interrupt the kernel, as a user does, and wait until it rests."""
        await self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")
        await self.loaded()

    async def close(self) -> None:
        """Leave, and end the kernels that were started from here."""
        await self.context.close()
        _, sessions = await self.lab.server.ask("GET", "/api/sessions")
        for session in sessions:
            await self.lab.server.ask("DELETE", f"/api/sessions/{session['id']}")

    # -- artefacts -----------------------------------------------------------------------

    async def picture(self, name: str, of: Locator | None = None) -> None:
        """Keep a picture of the page, or of a part of it, for people to look at."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        if of is None:
            await self.page.screenshot(path=path)
        else:
            await of.screenshot(path=path)
