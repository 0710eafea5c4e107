"""Where the benches play: a model server, a real JupyterLab, a real Chromium."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psutil
from playwright.async_api import Browser, async_playwright

from tests.browser.lab import FLAGS, WIDGET, Lab, LabPage, code
from tests.chromium import chromium
from tests.model_server import ModelServer, Pace

from .answer import Answered, next_tag, reply

PROBE = Path(__file__).with_name("probe.js")
BOUND_S = 60.0


class Stage:
    """One server, and both ends of what is measured."""

    def __init__(self, claude: ModelServer, lab: Lab, browser: Browser) -> None:
        self.claude = claude
        self.lab = lab
        self._browser = browser
        self._process = psutil.Process(lab.server.process.pid)

    @asynccontextmanager
    async def page(self, *surfaces: str) -> AsyncGenerator[Asker, None]:
        """Open a notebook of its own, with the side panel, the widget, or both."""
        context = await self._browser.new_context(viewport={"width": 1400, "height": 900})
        await context.add_init_script(path=PROBE)
        page = LabPage(self.lab, context, await context.new_page())
        await page.open(self.lab.write(f"{'-'.join(surfaces)}.ipynb", [code(WIDGET, "panel")]))
        if "side" in surfaces:
            await page.open_panel()
        if "widget" in surfaces:
            await page.show_widget()
        asker = Asker(self.claude, page, await page.page.evaluate("bench.skew()") / 1000)
        await asker.ask(surfaces[0], 20, Pace(), watch=surfaces)  # the first turn pays for imports
        await self.settle()
        try:
            yield asker
        finally:
            await page.close()

    # -- the server --------------------------------------------------------------------

    def cpu_s(self) -> float:
        """Return the CPU seconds that the server process has used."""
        times = self._process.cpu_times()
        return times.user + times.system

    def written_bytes(self) -> int | None:
        """Return what the server has written to disks, where the system counts that."""
        counters = getattr(self._process, "io_counters", None)
        return None if counters is None else counters().write_bytes

    def stored_bytes(self) -> int:
        """Return what the sessions' databases hold, wherever their logs stand."""
        folder = self.lab.server.directory / "data" / "jupyter_agent" / "sessions"
        return sum(_pages(file) for file in folder.glob("*/session.db"))

    async def settle(self, within_s: float = 20.0) -> None:
        """Wait until the server has nothing left to do, so that the next measure starts clean."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            before = self.cpu_s()
            await asyncio.sleep(0.5)
            if self.cpu_s() - before < 0.02:
                return


class Asker:
    """Asks in one page and reads its probe."""

    def __init__(self, claude: ModelServer, page: LabPage, skew_s: float) -> None:
        self.claude = claude
        self.page = page
        self._skew_s = skew_s

    async def ask(self, surface: str, count: int, pace: Pace, *, watch: Sequence[str] = ()) -> Answered:
        """Type a question, press Enter, and see the whole answer come."""
        surfaces, page = watch or (surface,), self.page.page
        tag = next_tag()
        self.claude.default = reply(tag, count, pace)
        asked = len(self.claude.requests)
        for name in surfaces:
            await page.evaluate("([name, tag, count]) => bench.watch(name, tag, count)", [name, tag, count])
        await page.evaluate("bench.start()")
        await self.page.ask("Say many words", self._panel(surface))
        async with asyncio.timeout(BOUND_S):
            for name in surfaces:
                await page.evaluate("name => bench.complete(name)", name)
        for name in surfaces:
            await self.page.ready(self._panel(name))
        return self._answered(tag, asked, await page.evaluate("bench.report()"))

    def _panel(self, surface: str) -> Any:
        return self.page.side if surface == "side" else self.page.widget

    def _answered(self, tag: str, asked: int, report: dict[str, Any]) -> Answered:
        sent = [token for token in self.claude.tokens if tag in token.text]
        request = next(r for r in self.claude.requests[asked:] if r.index == sent[0].request)

        def wall(stamp_ms: float) -> float:
            return stamp_ms / 1000 + self._skew_s

        return Answered(
            entered=wall(report["entered"]),
            received=request.received_at + (sent[0].wall - sent[0].monotonic),
            sent=sent,
            stamps={name: [(n, wall(at)) for n, at in stamps] for name, stamps in report["stamps"].items()},
            frames=[wall(at) for at in report["frames"]],
        )


def _pages(database: Path) -> int:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        (used,) = connection.execute(
            "SELECT (page_count - freelist_count) * page_size"
            " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
        ).fetchone()
        return int(used)


@asynccontextmanager
async def stage(folder: Path) -> AsyncGenerator[Stage, None]:
    """Set up all of it, and take it down."""
    with ModelServer() as claude:
        lab = await asyncio.to_thread(_start, folder, claude)
        try:
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
                yield Stage(claude, lab, browser)
                await browser.close()
        finally:
            await asyncio.to_thread(lab.server.stop)


def _start(folder: Path, claude: ModelServer) -> Lab:
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "key"
    key.write_text(claude.key, encoding="utf-8")
    return Lab(
        folder,
        "--AgentExtension.demo=False",
        f"--AgentExtension.base_url={claude.url}",
        f"--AgentExtension.api_key_file={key}",
    )
