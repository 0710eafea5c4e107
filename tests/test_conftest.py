"""What fails in the background fails the test."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.conftest import LoopComplaints


async def _fail() -> None:
    raise RuntimeError("nobody looks")


async def test_a_task_that_fails_unseen_is_seen(loop_complaints: LoopComplaints) -> None:
    task = asyncio.create_task(_fail())
    await asyncio.wait({task})
    del task
    gc.collect()
    with pytest.raises(AssertionError, match=r"(?s)Task exception was never retrieved.*nobody looks"):
        loop_complaints.check()


async def test_a_callback_that_raises_is_seen(loop_complaints: LoopComplaints) -> None:
    def raises() -> None:
        raise RuntimeError("in a callback")

    asyncio.get_running_loop().call_soon(raises)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(AssertionError, match="in a callback"):
        loop_complaints.check()


def _forget(_coroutine: object) -> None:
    pass


def test_a_coroutine_that_nobody_awaits_is_warned_of() -> None:
    with pytest.warns(RuntimeWarning, match="was never awaited"):
        _forget(_fail())
