from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jupyter_agent.notebook.kernel_link import KernelGone
from jupyter_agent.notebook.kernel_links import KernelLinks

from .server import BOUND_S, Server, until


async def test_outputs_are_collected_with_their_error(server: Server):
    link = await server.kernel("a.ipynb")
    run = link.execute("print(1)\nprint(2)\n1 / 0")
    assert await run.done() == "error"
    assert run.outputs.cells()[0]["text"] == "1\n2\n"
    assert run.outputs.error == ("ZeroDivisionError", "division by zero")
    assert run.execution_count == 1


async def test_a_run_that_somebody_else_sent_can_be_followed_after_it_began(server: Server):
    link = await server.kernel("a.ipynb")
    other = await KernelLinks(server.kernels).link(link.kernel_id)
    await other.ready()
    sent = other.execute(f"print('early')\n{server.waits}print('late')")
    await until(lambda: link.is_running(sent.msg_id))
    await until(sent.outputs.cells)
    run = link.watch(sent.msg_id)
    server.go()
    assert await run.done() == "ok"
    assert run.outputs.cells()[0]["text"] == "early\nlate\n"
    other.close()


async def test_stop_interrupts_the_run_that_is_meant_and_no_other(server: Server):
    link = await server.kernel("a.ipynb")
    theirs = link.execute("import time\ntime.sleep(30)")
    await until(lambda: link.is_running(theirs.msg_id))
    ours = link.execute("print('never')")
    await link.stop(ours.msg_id)
    assert link.is_running(theirs.msg_id)
    await link.stop(theirs.msg_id)
    async with asyncio.timeout(BOUND_S):
        assert await theirs.done() == "error"
        await ours.done()
    assert ours.outputs.cells() == [] or ours.outputs.error == ("KeyboardInterrupt", "")


async def test_what_was_stopped_before_it_began_is_interrupted_when_it_begins(server: Server):
    link = await server.kernel("a.ipynb")
    theirs = link.execute(server.waits)
    ours = link.execute("import time\ntime.sleep(30)")
    await until(lambda: link.is_running(theirs.msg_id))
    await link.stop(ours.msg_id)
    server.go()
    async with asyncio.timeout(BOUND_S):
        assert await theirs.done() == "ok"
        # The interrupt meets the cell, or the kernel on its way to the cell.
        assert await ours.done() in ("error", "aborted")


async def test_control_messages_do_not_make_the_shell_look_busy_or_idle(server: Server):
    link = await server.kernel("a.ipynb")
    heard: list[dict[str, Any]] = []
    stop_hearing = link.subscribe(heard.append)
    run = link.execute(server.waits)
    await until(lambda: link.is_running(run.msg_id))
    asked = link.send_control("kernel_info_request", {})
    await until(lambda: any(m["parent_header"].get("msg_id") == asked for m in heard))
    assert link.is_running(run.msg_id)
    server.go()
    assert await run.done() == "ok"
    assert link.execution_state == "idle"
    stop_hearing()


async def test_a_restart_ends_what_ran_and_the_link_goes_on(server: Server):
    link = await server.kernel("a.ipynb")
    run = link.execute("import time\ntime.sleep(30)")
    await until(lambda: link.is_running(run.msg_id))
    await server.kernels.restart_kernel(link.kernel_id)
    async with asyncio.timeout(BOUND_S):
        # A restart begins with an interrupt: the kernel may still say so, if there is time.
        assert await run.done() in ("gone", "error")
        assert await server.links.link(link.kernel_id) is link
        await link.wait_idle()
        again = link.execute("print('alive')")
        assert await again.done() == "ok"
    assert again.outputs.cells()[0]["text"] == "alive\n"


async def test_a_link_made_while_the_kernel_is_busy_finds_out_when_it_is_idle(server: Server):
    link = await server.kernel("a.ipynb")
    run = link.execute(server.waits)
    await until(lambda: link.is_running(run.msg_id))
    late = await KernelLinks(server.kernels).link(link.kernel_id)
    server.go()
    async with asyncio.timeout(BOUND_S):
        await late.wait_idle()
        assert await run.done() == "ok"
    late.close()


async def test_dropping_tells_whoever_waits(server: Server):
    link = await server.kernel("a.ipynb")
    run = link.execute("import time\ntime.sleep(30)")
    await until(lambda: link.is_running(run.msg_id))
    await link.interrupt()
    server.links.drop(link.kernel_id)
    assert await run.done() in ("gone", "error")
    with pytest.raises(KernelGone):
        await link.wait_idle()
    with pytest.raises(KernelGone):
        await server.links.link("no-such-kernel")


async def test_input_fails_at_once_instead_of_waiting_for_a_keyboard(server: Server):
    link = await server.kernel("a.ipynb")
    run = link.execute("input('name? ')")
    async with asyncio.timeout(BOUND_S):
        assert await run.done() == "error"
    assert run.outputs.error is not None
    assert run.outputs.error[0] == "StdinNotImplementedError"
