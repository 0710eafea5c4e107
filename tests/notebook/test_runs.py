from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.errors import ToolError
from jupyter_agent.notebook.kernel_link import KernelGone
from jupyter_agent.notebook.ports import CellChanged, NoKernel, base_hash

from .server import BOUND_S, Page, Server, running, until


def run(server: Server, source: str, op_id: str = "call-1", **kwargs: Any):
    return server.workspace.run("a.ipynb", cell_id="cell-0", base_hash=base_hash("code", source), op_id=op_id, **kwargs)


async def stopped(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# -- a closed notebook --------------------------------------------------------------


async def test_a_closed_notebook_runs_in_a_kernel_started_for_it_and_keeps_the_outputs(server: Server):
    server.write("a.ipynb", "print(6 * 7)")
    told: list[Any] = []
    outcome = await run(server, "print(6 * 7)", report=told.append)
    assert (outcome.status, outcome.note) == ("ok", "")
    assert outcome.cell.outputs[0]["text"] == "42\n"
    saved = server.load("a.ipynb").cells[0]
    assert (saved.outputs[0].text, saved.execution_count) == ("42\n", 1)
    assert (await server.sessions.list_sessions())[0]["path"] == "a.ipynb"
    assert told[0] == {"state": "starting_kernel"}


async def test_it_runs_in_the_kernel_that_the_notebook_has(server: Server):
    server.write("a.ipynb", "print(x)")
    link = await server.kernel("a.ipynb")
    await link.execute("x = 'from the session'").done()
    assert (await run(server, "print(x)")).cell.outputs[0]["text"] == "from the session\n"


async def test_a_cell_that_raises_is_an_error_with_its_traceback(server: Server):
    server.write("a.ipynb", "1 / 0")
    outcome = await run(server, "1 / 0")
    assert outcome.status == "error"
    assert outcome.error == ("ZeroDivisionError", "division by zero")
    assert server.load("a.ipynb").cells[0].outputs[0].ename == "ZeroDivisionError"


async def test_a_cell_that_is_not_what_was_approved_is_not_run(server: Server):
    server.write("a.ipynb", "print('changed')")
    with pytest.raises(CellChanged):
        await run(server, "print('approved')")
    assert await server.sessions.list_sessions() == []


async def test_a_cell_that_changes_while_it_waits_is_not_run(server: Server):
    server.write("a.ipynb", "print('approved')")
    link = await server.kernel("a.ipynb")
    theirs = link.execute(server.waits)
    await until(lambda: link.is_running(theirs.msg_id))
    told: list[Any] = []
    waiting = asyncio.create_task(run(server, "print('approved')", report=told.append))
    await until(lambda: told)
    server.write("a.ipynb", "print('changed')")
    server.go()
    with pytest.raises(CellChanged):
        await waiting


async def test_stop_interrupts_our_run_and_its_outputs_are_kept(server: Server):
    server.write("a.ipynb", "print('began', flush=True)\nimport time\ntime.sleep(30)")
    link = await server.kernel("a.ipynb")
    task = asyncio.create_task(run(server, server.load("a.ipynb").cells[0].source))
    await until(lambda: link.execution_state == "busy")
    await stopped(task)
    async with asyncio.timeout(BOUND_S):
        await link.wait_idle()

    async def kept() -> list[dict[str, Any]]:
        return (await server.workspace.read("a.ipynb")).cells[0].outputs

    async with asyncio.timeout(BOUND_S):
        while not await kept():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await kept())[-1]["ename"] == "KeyboardInterrupt"


async def test_stop_while_it_waits_sends_nothing_and_leaves_the_users_cell_alone(server: Server):
    server.write("a.ipynb", "ours = True")
    link = await server.kernel("a.ipynb")
    theirs = link.execute(f"{server.waits}theirs = True")
    await until(lambda: link.is_running(theirs.msg_id))
    told: list[Any] = []
    task = asyncio.create_task(run(server, "ours = True", report=told.append))
    await until(lambda: told)
    await stopped(task)
    server.go()
    assert await theirs.done() == "ok"
    check = link.execute("print('ours' in globals(), theirs)")
    await check.done()
    assert check.outputs.cells()[0]["text"] == "False True\n"


async def test_input_is_refused_in_words(server: Server):
    server.write("a.ipynb", "input('name? ')")
    outcome = await run(server, "input('name? ')")
    assert outcome.status == "error"
    assert "input()" in outcome.note


async def test_a_kernel_that_dies_under_the_cell_is_said_to_be_gone(server: Server):
    source = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    server.write("a.ipynb", source)
    link = await server.kernel("a.ipynb")
    with pytest.raises(KernelGone, match="All variables are lost"):
        async with asyncio.timeout(BOUND_S):
            await run(server, source)
    async with asyncio.timeout(BOUND_S):
        await link.wait_idle()


async def test_a_cell_over_the_time_limit_is_interrupted(tmp_path: Path):
    async with running(tmp_path, run_timeout_s=0.5) as server:
        server.write("a.ipynb", "import time\ntime.sleep(30)")
        with pytest.raises(ToolError, match="longer than the limit"):
            await run(server, "import time\ntime.sleep(30)")


async def test_a_kernel_that_is_not_installed_is_named(server: Server):
    server.write("a.ipynb", "1", kernel="no-such-kernel")
    with pytest.raises(NoKernel, match="no-such-kernel"):
        await run(server, "1")


async def test_many_lines_of_output_are_all_kept(server: Server):
    source = "for i in range(20000): print(i)"
    server.write("a.ipynb", source)
    outcome = await run(server, source)
    assert outcome.cell.outputs[0]["text"].splitlines()[-1] == "19999"
    assert len(server.load("a.ipynb").cells[0].outputs[0].text.splitlines()) == 20000


# -- an open notebook ---------------------------------------------------------------


async def test_an_open_notebook_runs_in_its_tab_and_the_file_is_left_to_the_tab(server: Server):
    server.write("a.ipynb", "print(6 * 7)")
    await server.kernel("a.ipynb")
    page = Page(server).open("a.ipynb", "print(6 * 7)").connect()
    outcome = await run(server, "print(6 * 7)")
    assert (outcome.status, outcome.note) == ("ok", "")
    assert outcome.cell.outputs[0]["text"] == "42\n"
    assert page.notebooks["a.ipynb"][0]["outputs"][0]["text"] == "42\n"
    assert server.load("a.ipynb").cells[0].outputs == []


async def test_a_run_outlives_the_tab_that_began_it(server: Server):
    source = f"{server.waits}print('done')"
    server.write("a.ipynb", source)
    link = await server.kernel("a.ipynb")
    page = Page(server).open("a.ipynb", source).connect()
    task = asyncio.create_task(run(server, source))
    await until(lambda: link.execution_state == "busy")
    page.say_bye()
    server.go()
    outcome = await task
    assert outcome.cell.outputs[0]["text"] == "done\n"
    assert server.load("a.ipynb").cells[0].outputs[0].text == "done\n"
    await asyncio.gather(*page.runs)


async def test_outputs_go_to_the_tab_that_opened_the_notebook_meanwhile(server: Server):
    source = f"{server.waits}print('done')"
    server.write("a.ipynb", source)
    link = await server.kernel("a.ipynb")
    task = asyncio.create_task(run(server, source))
    await until(lambda: link.execution_state == "busy")
    page = Page(server).open("a.ipynb", source).connect()
    server.go()
    assert (await task).status == "ok"
    assert page.notebooks["a.ipynb"][0]["outputs"][0]["text"] == "done\n"
    assert server.load("a.ipynb").cells[0].outputs == []


async def test_stop_interrupts_a_run_in_a_tab(server: Server):
    source = "import time\ntime.sleep(30)"
    link = await server.kernel("a.ipynb")
    page = Page(server).open("a.ipynb", source).connect()
    task = asyncio.create_task(run(server, source))
    await until(lambda: link.execution_state == "busy")
    await stopped(task)
    async with asyncio.timeout(BOUND_S):
        await asyncio.gather(*page.runs)
    assert page.notebooks["a.ipynb"][0]["outputs"][-1]["ename"] == "KeyboardInterrupt"


async def test_a_tab_that_does_not_run_the_cell_is_an_error(server: Server):
    await server.kernel("a.ipynb")
    Page(server, silent={"run"}).open("a.ipynb", "1").connect()
    with pytest.raises(ToolError, match="was not run"):
        await run(server, "1")


async def test_a_cell_that_runs_before_its_page_said_so_counts_as_the_agents_own(server: Server):
    server.write("a.ipynb", "import time; time.sleep(30)")
    link = await server.kernel("a.ipynb")
    page = Page(server).open("a.ipynb", "import time; time.sleep(30)").connect()
    begun: list[str] = []
    heard = page.say
    page.say = lambda message: begun.append(message["type"]) if message["type"] == "event" else heard(message)  # type: ignore[method-assign]
    task = asyncio.ensure_future(run(server, "import time; time.sleep(30)"))
    await until(lambda: begun and link.execution_state == "busy")
    assert link.runs_our_code()
    await stopped(task)
    assert link.runs_our_code()
    await link.interrupt()
    await until(lambda: link.execution_state == "idle")
    assert not link.runs_our_code()
    assert link.ran_our_code
    link.restarted()
    assert not link.ran_our_code


async def test_looking_at_a_variable_leaves_nothing_of_the_agents_behind(server: Server):
    link = await server.kernel("a.ipynb")
    await link.execute("1", silent=True).done()
    assert not link.ran_our_code
    await link.execute("1").done()
    assert link.ran_our_code
