"""The demo in a session: real gate, real approvals, real notebook, told to a view."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from jupyter_agent.agent.demo import demo_model
from jupyter_agent.session.host import SessionHost
from jupyter_agent.settings import Settings
from jupyter_agent.tools.toolbox import Toolbox
from tests.fakes import DiskWorkspace
from tests.roads import MemoryRoad
from tests.stranger import Stranger

DATA = 'import pandas as pd\n\ndf = pd.DataFrame({"price": [10.0, 20.5, 40.0], "city": ["Oslo", "Rome", "Oslo"]})'


@pytest_asyncio.fixture
async def road(tmp_path: Path) -> AsyncIterator[MemoryRoad]:
    settings = Settings(data_dir=tmp_path / "data", model="demo", auto_title=False)
    model = demo_model(settings, tokens_per_s=0)
    workspace = DiskWorkspace(tmp_path, settings)
    host = SessionHost(settings, workspace=workspace, model=model, toolbox=Toolbox(settings))
    yield MemoryRoad(host, tmp_path)
    await host.close()
    await model.close()
    await workspace.close()


async def open_session(road: MemoryRoad, mode: Any) -> str:
    cell: dict[str, Any] = {"id": "data", "cell_type": "code", "source": DATA, "metadata": {}, "outputs": []}
    cell["execution_count"] = None
    notebook: dict[str, Any] = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
    (road.notebooks / "flats.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    return (await road.host.create(notebook_path="flats.ipynb", mode=mode)).id


async def answer_all(view: Stranger, decision: str, **more: Any) -> dict[str, Any]:
    """Answer what is asked until the turn ends; return its end."""
    after = 0
    while True:
        event = await view.event(lambda e: e["type"] in ("approval.requested", "turn.ended"), after=after, within=60)
        after = view.events.index(event) + 1
        if event["type"] == "turn.ended":
            return event["d"]
        approval = event["d"]["approval"]
        assert approval["preview"], "an approval shows what will happen"
        ack = await view.ask("approval.answer", id=approval["id"], rev=approval["rev"], decision=decision, **more)
        assert ack["status"] == "accepted"


async def test_a_plan_is_approved_and_then_built(road: MemoryRoad) -> None:
    session_id = await open_session(road, "plan")
    async with road.view(session_id) as view:
        await view.open()
        await view.say("Plan first, then build")
        ended = await answer_all(view, "allow")
        assert ended["outcome"] == "completed"
        assert "The plan is carried out" in view.text
        assert "`price`: mean 23.5, between 10 and 40" in view.text
        assert view.view["session"]["mode"] == "build"
        assert [tool["name"] for tool in view.tools if tool["state"] == "output-error"] == ["list_variables"]
        assert [tool["name"] for tool in view.tools].count("exit_plan") == 1
    cells = json.loads((road.notebooks / "flats.ipynb").read_text(encoding="utf-8"))["cells"]
    assert len(cells) == 3
    assert any("image/png" in output.get("data", {}) for output in cells[-1]["outputs"])


async def test_a_denial_and_its_reason_reach_the_demo(road: MemoryRoad) -> None:
    session_id = await open_session(road, "build")
    async with road.view(session_id) as view:
        await view.open()
        await view.say("make sample data")
        ended = await answer_all(view, "deny", reason="I have my own")
        assert ended["outcome"] == "completed"
        assert "Then I leave the notebook as it is. You said: I have my own" in view.text
    cells = json.loads((road.notebooks / "flats.ipynb").read_text(encoding="utf-8"))["cells"]
    assert len(cells) == 1
