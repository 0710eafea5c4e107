"""Two Jupyter servers on one data directory: the page of the second one looks, then takes over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visit
from tests.browser.lab import START_MS, Lab, code


@pytest.fixture
def two_labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Lab]]:
    """Two servers that share where sessions are kept, and nothing else."""
    shared = tmp_path_factory.mktemp("shared")
    labs = [
        Lab(
            tmp_path_factory.mktemp(name),
            f"--AgentExtension.data_dir={shared}",
            "--AgentExtension.idle_s=60",
            variables={"JUPYTER_AGENT_DEMO_TOKENS_PER_S": "0"},
        )
        for name in ("one", "two")
    ]
    yield labs[0], labs[1]
    for lab in labs:
        lab.close()


async def test_a_session_that_is_open_elsewhere_is_shown_and_can_be_taken_over(
    two_labs: tuple[Lab, Lab], visit: Visit
) -> None:
    one, two = [await visit(lab) for lab in two_labs]
    for page in (one, two):
        await page.open(page.lab.write("shared.ipynb", [code("x = 1", "first")]))
    there = await one.open_panel()
    await one.ask("Hello there")
    await expect(there.locator('[data-role="assistant"]')).to_have_count(1, timeout=START_MS)
    await one.ready(there)
    here = await two.open_panel()
    # The two were started in different folders: the notebook there is another one, and the session is chosen by hand.
    session = await there.get_attribute("data-session")
    await here.get_by_role("button", name="Sessions", exact=True).click()
    await here.locator(f'[data-session-id="{session}"] .jp-agent-session').click()
    await expect(here).to_have_attribute("data-session", session or "")
    await expect(here).to_contain_text("Hello there")
    await expect(here).to_contain_text("open in another Jupyter server")
    await two.picture("open-elsewhere", here)
    await here.get_by_role("button", name="Take over").click()
    await expect(here).not_to_contain_text("another Jupyter server", timeout=START_MS)
    await expect(there.get_by_role("button", name="Take over")).to_be_visible()
    await two.ask("Hello from here", here)
    await expect(here.locator('[data-role="assistant"]')).to_have_count(2, timeout=START_MS)
    await two.ready(here)
