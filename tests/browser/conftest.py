"""One Chromium, and two Jupyter servers: one asks the scripted model, one has the demo."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.lab import FLAGS, Lab, LabPage
from tests.chromium import chromium
from tests.model_server import Answer, ModelServer

HERE = Path(__file__).parent
VIEWPORT: Any = {"width": 1400, "height": 900}

Script = Callable[[Sequence[Answer]], str]
Visit = Callable[[Lab], Awaitable[LabPage]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here are for the browser, and on the loop that the browser lives on."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.asyncio(loop_scope="package"), append=False)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium, found or installed: without one these tests fail, they are not skipped."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or chromium(), args=list(FLAGS)
        )
        yield browser
        await browser.close()


@pytest.fixture(scope="package")
def claude() -> Iterator[ModelServer]:
    """The Messages API. What it refuses fails the run."""
    with ModelServer() as server:
        yield server
        assert server.refusals == []


@pytest.fixture(scope="package")
def lab(claude: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab with the scripted model; it may not log a traceback."""
    folder = tmp_path_factory.mktemp("lab")
    key_file = folder / "key"
    key_file.write_text(claude.key, encoding="utf-8")
    lab = Lab(
        folder,
        "--AgentExtension.demo=False",
        f"--AgentExtension.base_url={claude.url}",
        f"--AgentExtension.api_key_file={key_file}",
        "--AgentExtension.auto_title=False",
    )
    yield lab
    lab.close()


@pytest.fixture(scope="package")
def demo_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab with the demo model, which talks as fast as it can."""
    lab = Lab(tmp_path_factory.mktemp("demo"), variables={"JUPYTER_AGENT_DEMO_TOKENS_PER_S": "0"})
    yield lab
    lab.close()


@pytest_asyncio.fixture(loop_scope="package")
async def visit(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Visit]:
    """Open pages, each with cookies and storage of its own; their faults fail the test."""
    pages: list[LabPage] = []

    async def open_page(lab: Lab) -> LabPage:
        context = await browser.new_context(viewport=VIEWPORT)
        pages.append(LabPage(lab, context, await context.new_page()))
        return pages[-1]

    yield open_page
    for number, page in enumerate(pages, 1):
        await page.picture(f"{request.node.name}-{number}")
        await page.close()
    assert "\n".join(fault for page in pages for fault in page.faults) == ""
    assert "\n".join(url for page in pages for url in page.foreign) == ""


@pytest_asyncio.fixture(loop_scope="package")
async def page(lab: Lab, visit: Visit) -> LabPage:
    """A page of the server with the scripted model."""
    return await visit(lab)


@pytest.fixture
def script(claude: ModelServer) -> Iterator[Script]:
    """Play answers to the conversation that says the word this returns."""

    words: list[str] = []

    def play(answers: Sequence[Answer]) -> str:
        word = f"word-{uuid.uuid4().hex[:12]}"
        claude.script(answers, match=word)
        words.append(word)
        return word

    yield play
    unasked = [claude.take_back(word) for word in words]
    assert not any(unasked), "the model was not asked as often as the script says"
