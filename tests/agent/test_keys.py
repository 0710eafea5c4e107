"""The key is shown to nobody, whatever the endpoint says."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from jupyter_agent.agent.claude import ClaudeModel
from jupyter_agent.hosts.server.engine import Engine
from jupyter_agent.settings import Settings
from tests.agent.test_claude import answer, failed
from tests.model_server import HttpError, ModelServer


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
async def test_an_endpoint_that_repeats_the_key_does_not_spread_it(
    model_server: ModelServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    key = model_server.key
    caplog.set_level(logging.INFO)
    model_server.script([HttpError(status, message=f"Incorrect key provided: {key}.")] * 2)
    model = ClaudeModel(
        Settings(data_dir=tmp_path, base_url=model_server.url, api_key=key, max_attempts=1, max_retry_delay_s=0)
    )
    events = await answer(model)
    await model.close()
    assert failed(events).message
    assert key not in repr(events)
    assert key not in caplog.text


async def test_an_address_is_shown_without_its_password(tmp_path: Path) -> None:
    base_url = "http://ada:lovelace@127.0.0.1:9/v"
    model = ClaudeModel(Settings(data_dir=tmp_path, base_url=base_url, api_key="a-key", max_attempts=1))
    error = failed(await answer(model))
    await model.close()
    assert "127.0.0.1:9/v" in error.message
    assert "lovelace" not in repr(error.__dict__) + str(error)


async def test_a_key_in_the_headers_is_a_secret_too(tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer gateway-key-1", "X-Api-Key": "gateway-key-2", "X-Team": "data-science"}
    settings = Settings(data_dir=tmp_path, default_headers=headers, api_key="key-of-the-file")
    engine = Engine(lambda: settings, contents_manager=None, session_manager=None, kernel_manager=None)
    assert {"gateway-key-1", "gateway-key-2", "key-of-the-file"} <= set(engine.secrets())
    assert "data-science" not in engine.secrets()
