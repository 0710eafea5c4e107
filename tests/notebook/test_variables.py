from __future__ import annotations

import asyncio

import pytest

from jupyter_agent.errors import ToolError
from jupyter_agent.notebook.kernel_link import KernelBusy, KernelLink
from jupyter_agent.notebook.kernels import BUSY_AFTER_S
from jupyter_agent.notebook.ports import NoKernel

from .server import BOUND_S, Server, until

TRAP = """
touched = []
class Meta(type):
    def __getattribute__(cls, name):
        touched.append(name)
        return super().__getattribute__(name)
class Trap(metaclass=Meta):
    def __init__(self): self.inside = 1
    def __repr__(self): touched.append('repr'); return 'TRAPPED'
    __str__ = __len__ = __iter__ = __repr__
    def __getattribute__(self, name): touched.append(name); return object.__getattribute__(self, name)
    @property
    def shape(self): touched.append('shape')
trap = Trap()
held = [trap, {'k': trap}, (trap,)]
touched.clear()
"""


async def done(link: KernelLink, code: str) -> str:
    run = link.execute(code)
    await run.done()
    assert run.outputs.error is None, run.outputs.error
    return "".join(item.get("text", "") for item in run.outputs.cells())


async def test_variables_are_listed_with_type_and_preview(server: Server):
    link = await server.kernel("a.ipynb")
    await done(link, "import json\nx = 1\nname = 'Ada'\nitems = list(range(100))\n_hidden = 1\ndef f(a, b=2): pass")
    listed = {v.name: (v.type, v.summary) for v in await server.workspace.variables("a.ipynb")}
    assert listed["x"] == ("int", "1")
    assert listed["name"] == ("str", "'Ada'")
    assert listed["items"] == ("list", "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …] (100 items)")
    assert listed["f"] == ("function", "f(a, b)")
    assert set(listed) == {"x", "name", "items", "f"}


async def test_arrays_and_frames_are_described_by_their_shape(server: Server):
    pytest.importorskip("pandas")
    link = await server.kernel("a.ipynb")
    await done(link, "import numpy as np, pandas as pd\na = np.arange(12.).reshape(3, 4)")
    await done(link, "df = pd.DataFrame({'x': [1, 2], 'y': ['p', 'q']})")
    listed = {v.name: v.summary for v in await server.workspace.variables("a.ipynb")}
    assert listed["a"].startswith("array (3, 4) float64: [0.0, 1.0")
    assert listed["df"] == "DataFrame 2 × 2: 'x', 'y'"
    text = await server.workspace.inspect("a.ipynb", name="df", safe=True)
    assert "'x'  int64" in text
    assert "2 | 'q'" in text


async def test_looking_leaves_no_trace_in_the_kernel(server: Server):
    link = await server.kernel("a.ipynb")
    await done(link, "x = 1\nbefore = set(globals())")
    await server.workspace.variables("a.ipynb")
    await server.workspace.inspect("a.ipynb", name="x", safe=True)
    await server.workspace.inspect("a.ipynb", name="x", safe=False)
    told = await done(link, "print(set(globals()) - before - {'_i2', '_i3', '_ii', '_iii', '_i'}, len(In))")
    assert told == "{'before'} 3\n" or told == "set() 3\n"


async def test_looking_works_when_the_user_took_the_names_of_builtins(server: Server):
    link = await server.kernel("a.ipynb")
    await done(link, "exec = compile = globals = print = type = len = str = list = None\nx = 5")
    assert ("x", "5") in {(v.name, v.summary) for v in await server.workspace.variables("a.ipynb")}


async def test_a_safe_look_runs_nothing_of_a_strangers_class(server: Server):
    link = await server.kernel("a.ipynb")
    await done(link, TRAP)
    await server.workspace.variables("a.ipynb")
    for name in ("trap", "held", "Trap"):
        await server.workspace.inspect("a.ipynb", name=name, safe=True)
    assert await done(link, "print(touched)") == "[]\n"
    assert "TRAPPED" in await server.workspace.inspect("a.ipynb", name="trap", safe=False)


async def test_a_missing_variable_is_named_with_one_like_it(server: Server):
    link = await server.kernel("a.ipynb")
    await done(link, "Data = 1")
    with pytest.raises(ToolError, match="Did you mean 'Data'"):
        await server.workspace.inspect("a.ipynb", name="data", safe=True)


async def test_a_busy_kernel_is_said_to_be_busy_and_not_waited_for(server: Server):
    assert BUSY_AFTER_S < 2
    link = await server.kernel("a.ipynb")
    run = link.execute(server.waits)
    await until(lambda: link.is_running(run.msg_id))
    with pytest.raises(KernelBusy):
        await server.workspace.variables("a.ipynb")
    # Also when we have only just come and know nothing of what runs.
    server.links.drop(link.kernel_id)
    with pytest.raises(KernelBusy):
        await server.workspace.variables("a.ipynb")
    server.go()
    assert await run.done() == "gone", "this link was dropped, and the cell ran on"


async def test_a_repr_that_never_ends_is_given_up_and_interrupted(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jupyter_agent.notebook.kernels.REPR_S", 0.3)
    link = await server.kernel("a.ipynb")
    await done(link, "class Slow:\n    def __repr__(self):\n        while True: pass\nslow = Slow()")
    with pytest.raises(ToolError, match="too long"):
        await server.workspace.inspect("a.ipynb", name="slow", safe=False)
    async with asyncio.timeout(BOUND_S):
        assert await done(link, "print('alive')") == "alive\n"


async def test_without_a_kernel_there_is_nothing_to_look_at(server: Server):
    server.write("a.ipynb", "x = 1")
    with pytest.raises(NoKernel, match="Run a cell first"):
        await server.workspace.variables("a.ipynb")
