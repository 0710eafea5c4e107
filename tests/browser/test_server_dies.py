"""The server is killed in the middle of an answer, and another one starts at its address: the page finds it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Script, Visit
from tests.browser.lab import START_MS, Lab, LabPage, code
from tests.model_server import Gate, ModelServer, Reply, Text

GONE = re.compile(
    r"ERR_(CONNECTION_(REFUSED|RESET|CLOSED|ABORTED)|EMPTY_RESPONSE|SOCKET_NOT_CONNECTED)"
    r"|ERR_(INCOMPLETE_CHUNKED_ENCODING|CONTENT_LENGTH_MISMATCH)|WebSocket connection|Failed to fetch"
)
"""What a page notes while nobody answers: the browser's own words, and JupyterLab's."""


@pytest.fixture(params=["auto", "ask"])
def mortal_lab(
    request: pytest.FixtureRequest, claude: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Lab, str]]:
    """A server of its own to kill, and whether it takes up by itself what was cut."""
    folder = tmp_path_factory.mktemp("mortal")
    key_file = folder / "key"
    key_file.write_text(claude.key, encoding="utf-8")
    lab = Lab(
        folder,
        "--AgentExtension.demo=False",
        f"--AgentExtension.base_url={claude.url}",
        f"--AgentExtension.api_key_file={key_file}",
        f"--AgentExtension.recovery={request.param}",
        "--AgentExtension.recovery_backoff_s=0",
    )
    yield lab, request.param
    lab.close()


def forget_silence(page: LabPage) -> None:
    """Leave out what the page noted because nobody answered; the rest is a fault."""
    page.faults[:] = [fault for fault in page.faults if not GONE.search(fault)]


async def test_what_was_shown_stays_and_the_answer_goes_on(
    mortal_lab: tuple[Lab, str], visit: Visit, script: Script
) -> None:
    lab, recovery = mortal_lab
    cut, rest = Gate(), Gate()
    word = script([Reply(Text("Before the cut, ", cut, "never said.")), Reply(Text("and after it.", rest))])
    page = await visit(lab)
    lost = page.page.get_by_role("dialog", name=re.compile("Server Connection Error"))
    # JupyterLab says so itself, in front of everything.
    await page.page.add_locator_handler(lost, lambda: lost.get_by_role("button", name="Close").click())
    await page.open(lab.write("mortal.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Talk, {word}")
    await cut.until_reached()
    await expect(side).to_contain_text("Before the cut,")
    start_again = lab.kill()
    await expect(side).to_have_attribute("data-status", "offline")
    await page.picture("server-gone", side)
    start_again()
    cut.open()
    rest.open()
    if recovery == "ask":
        await expect(side).to_contain_text("The server stopped while this reply was being written.", timeout=START_MS)
        await page.picture("interrupted", side)
        await side.get_by_role("button", name="Continue").click()
    await expect(side).to_contain_text("and after it.", timeout=START_MS)
    await page.ready(side)
    said = await page.transcript(side)
    assert said[0] == f"Talk, {word}"
    assert "Before the cut," in " ".join(said)
    assert "never said" not in " ".join(said)
    await expect(side.get_by_role("button", name="Continue")).to_have_count(0)
    await page.picture(f"went-on-{recovery}", side)
    forget_silence(page)
