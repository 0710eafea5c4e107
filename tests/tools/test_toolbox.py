from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.errors import ToolError
from jupyter_agent.notebook.ports import base_hash
from jupyter_agent.protocol.content import (
    DisplayCode,
    DisplayDiff,
    DisplayImage,
    DisplayMarkdown,
    DisplayTable,
    DisplayText,
    Mode,
    Task,
    TaskStatus,
)
from jupyter_agent.settings import Settings
from jupyter_agent.tools.tool import ToolContext, ToolOutcome
from jupyter_agent.tools.toolbox import REDACTED, Toolbox
from tests.notebook.server import Page, Server, running

GOLDEN = Path(__file__).parent.parent / "golden" / "tool_definitions.json"
SECRET = "sk-ant-a-secret-of-some-length"


class Tasks:
    def __init__(self) -> None:
        self.created: list[Task] = []

    async def create(self, title: str, description: str, mode: Mode, *, call_id: str) -> Task:
        assert call_id
        self.created.append(Task(id="tsk_1", title=title, description=description, mode=mode))
        return self.created[-1]

    async def update(
        self, task_id: str, *, title: str | None, description: str | None, status: TaskStatus | None
    ) -> Task:
        new = {"title": title, "description": description, "status": status}
        self.created = [replace(self.created[0], id=task_id, **{k: v for k, v in new.items() if v is not None})]  # pyright: ignore[reportArgumentType] -- each by its own name
        return self.created[0]


def ignore(what: Any) -> None:
    """Nobody looks at the progress here."""


class World:
    """A toolbox over real managers; ``call`` is what the loop does."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.toolbox = Toolbox(server.settings, lambda: [SECRET])
        self.tasks = Tasks()
        self.calls = 0

    def context(self, mode: Mode = "build", path: str | None = "a.ipynb") -> ToolContext:
        self.calls += 1
        return ToolContext(
            session_id="ses_1",
            call_id=f"toolu_{self.calls}",
            mode=mode,
            notebook_path=path,
            workspace=self.server.workspace,
            tasks=self.tasks,
            report=ignore,
        )

    async def call(self, tool: str, /, inside: Mode = "build", **input: Any) -> ToolOutcome:
        return await self.toolbox.call(tool, input, self.context(inside))

    async def preview(self, name: str, /, **input: Any) -> list[Any]:
        return await self.toolbox.preview(name, input, self.context())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path, max_output_chars=600) as server:
        yield World(server)


@pytest.fixture
def toolbox(tmp_path: Path) -> Toolbox:
    return Toolbox(Settings(data_dir=tmp_path))


def text(outcome: ToolOutcome) -> str:
    return "\n".join(block["text"] for block in outcome.content if block["type"] == "text")


def named(source: str, cell_id: str = "cell-0") -> dict[str, Any]:
    return {"cell_id": cell_id, "base_hash": base_hash("code", source)}


# -- definitions and gate -----------------------------------------------------------


def test_the_definitions_are_those_that_were_agreed_on(toolbox: Toolbox):
    written = json.dumps(toolbox.definitions(), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("WRITE_GOLDEN"):
        GOLDEN.write_text(written, encoding="utf-8")
    assert written == GOLDEN.read_text(encoding="utf-8")


def test_definitions_are_the_same_bytes_each_time(toolbox: Toolbox, tmp_path: Path):
    again = Toolbox(Settings(data_dir=tmp_path))
    assert json.dumps(toolbox.definitions()) == json.dumps(again.definitions())


def test_schemas_are_closed_described_and_untitled(toolbox: Toolbox):
    for definition in toolbox.definitions():
        schema = definition["input_schema"]
        assert schema["additionalProperties"] is False
        assert not any("title" in part for part in (schema, *schema["properties"].values()))
        assert all(field.get("description") for field in schema["properties"].values()), definition["name"]
    eager = {d["name"] for d in toolbox.definitions() if d.get("eager_input_streaming")}
    assert eager == {"insert_cell", "edit_cell", "run_cell", "exit_plan"}


VALID: dict[str, dict[str, Any]] = {
    "read_notebook": {},
    "read_cell": {"cell_id": "a"},
    "insert_cell": {"source": "x"},
    "edit_cell": {**named("x"), "source": "y"},
    "delete_cell": named("x"),
    "run_cell": named("x"),
    "list_variables": {},
    "inspect_variable": {"name": "x"},
    "create_task": {"title": "later"},
    "exit_plan": {"plan": "first this"},
}


@pytest.mark.parametrize(
    ("name", "plan", "build"),
    [
        ("read_notebook", "allow", "allow"),
        ("read_cell", "allow", "allow"),
        ("insert_cell", "deny", "ask"),
        ("edit_cell", "deny", "ask"),
        ("delete_cell", "deny", "ask"),
        ("run_cell", "deny", "ask"),
        ("list_variables", "allow", "allow"),
        ("inspect_variable", "allow", "allow"),
        ("create_task", "allow", "allow"),
        ("exit_plan", "ask", "allow"),
        ("no_such_tool", "allow", "allow"),
    ],
)
def test_the_gate_goes_by_mode_and_effect(toolbox: Toolbox, name: str, plan: str, build: str):
    assert toolbox.gate(name, "plan", VALID.get(name, {})) == plan
    assert toolbox.gate(name, "build", VALID.get(name, {})) == build


def test_nobody_is_asked_about_a_call_that_cannot_be_understood(toolbox: Toolbox):
    assert toolbox.gate("edit_cell", "build", {"cell": 1}) == "allow"
    assert toolbox.gate("edit_cell", "plan", {"cell": 1}) == "deny"
    assert toolbox.gate("run_cell", "build", None) == "allow"


# -- calls --------------------------------------------------------------------------


async def test_the_notebook_is_read_with_ids_and_hashes(world: World):
    world.server.write("a.ipynb", "x = 1")
    told = text(await world.call("read_notebook"))
    assert f'<cell id="cell-0" type="code" hash="{base_hash("code", "x = 1")}">' in told
    assert "x = 1" in told
    assert "no kernel running" in told


async def test_a_long_notebook_is_read_in_parts_that_say_how_to_go_on(world: World):
    world.server.write("a.ipynb", *[f"x{i} = '{'.' * 300}'" for i in range(9)])
    told = text(await world.call("read_notebook"))
    assert "more cells: call read_notebook with after=" in told
    after = told.rsplit('after="', 1)[1].split('"')[0]
    rest = text(await world.call("read_notebook", after=after))
    assert f"x{int(after[-1]) + 1} =" in rest


async def test_insert_edit_run_delete_hand_the_hash_on(world: World):
    world.server.write("a.ipynb", "x = 1")
    inserted = text(await world.call("insert_cell", source="print(2)", after="cell-0"))
    cell_id = inserted.split("code cell ")[1].split()[0]
    assert base_hash("code", "print(2)") in inserted
    edited = await world.call("edit_cell", **named("print(2)", cell_id), source="print(3)")
    assert base_hash("code", "print(3)") in text(edited)
    assert edited.display == [DisplayDiff(before="print(2)", after="print(3)", label="cell 2")]
    ran = await world.call("run_cell", **named("print(3)", cell_id))
    assert (text(ran), ran.is_error) == (f"Cell {cell_id} ran as In [1].\n3", False)
    assert ran.display == [DisplayCode(text="print(3)", label="cell 2"), DisplayText(text="3")]
    deleted = await world.call("delete_cell", **named("print(3)", cell_id))
    assert not deleted.is_error
    assert [c.source for c in world.server.load("a.ipynb").cells] == ["x = 1"]


async def test_an_edit_of_a_changed_cell_tells_what_to_do(world: World):
    world.server.write("a.ipynb", "mine")
    outcome = await world.call("edit_cell", **named("old"), source="new")
    assert outcome.is_error
    assert f"Its hash is now {base_hash('code', 'mine')}" in text(outcome)
    assert "Read the cell again" in text(outcome)


async def test_a_failing_cell_gives_the_traceback_without_colours(world: World):
    world.server.write("a.ipynb", "1 / 0")
    outcome = await world.call("run_cell", **named("1 / 0"))
    assert outcome.is_error
    assert "raised ZeroDivisionError" in text(outcome)
    assert "\x1b" not in text(outcome)
    assert "\x1b" in outcome.display[1].text  # type: ignore[union-attr]


async def test_a_picture_goes_to_the_model_and_to_the_eye(world: World):
    source = (
        "import base64, zlib, struct\nfrom IPython.display import Image\n"
        "def chunk(k, d): return struct.pack('>I', len(d)) + k + d + struct.pack('>I', zlib.crc32(k + d))\n"
        "png = b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 1, 1, 8, 0, 0, 0, 0))"
        " + chunk(b'IDAT', zlib.compress(b'\\0\\0')) + chunk(b'IEND', b'')\nImage(png)"
    )
    world.server.write("a.ipynb", source)
    outcome = await world.call("run_cell", **named(source))
    assert [block["type"] for block in outcome.content] == ["text", "image"]
    assert outcome.content[1]["source"]["media_type"] == "image/png"
    assert "[image/png, 1×1, shown below]" in text(outcome)
    assert [type(d) for d in outcome.display] == [DisplayCode, DisplayImage]
    again = await world.call("read_cell", cell_id="cell-0")
    assert [block["type"] for block in again.content] == ["text", "image"]


async def test_long_output_is_cut_in_the_middle_and_says_so(world: World):
    source = "for i in range(1000): print('line', i)"
    world.server.write("a.ipynb", source)
    told = text(await world.call("run_cell", **named(source)))
    assert "line 0" in told
    assert "line 999" in told
    assert "characters (" in told
    assert len(told) < 900


async def test_a_secret_reaches_neither_the_model_nor_the_eye(world: World):
    source = f"print('{SECRET}')"
    world.server.write("a.ipynb", source)
    outcome = await world.call("run_cell", **named(source))
    assert SECRET not in repr(outcome)
    assert REDACTED in text(outcome)
    assert SECRET not in repr(await world.preview("run_cell", **named(source)))


async def test_half_a_character_in_an_open_cell_is_replaced(world: World):
    Page(world.server).open("a.ipynb", "s = 'a\ud83db'").connect()
    assert "a\ufffdb" in text(await world.call("read_notebook"))


async def test_variables_are_a_table_for_the_eye(world: World):
    link = await world.server.kernel("a.ipynb")
    await link.execute("x = 1").done()
    outcome = await world.call("list_variables")
    assert text(outcome) == "x: int = 1"
    assert outcome.display == [DisplayTable(header=["Name", "Type", "Value"], rows=[["x", "int", "1"]])]


async def test_inspecting_runs_a_strangers_repr_in_build_mode_only(world: World):
    link = await world.server.kernel("a.ipynb")
    await link.execute("class C:\n    def __repr__(self): return 'OWN REPR'\nc = C()").done()
    assert "OWN REPR" not in text(await world.call("inspect_variable", inside="plan", name="c"))
    assert "OWN REPR" in text(await world.call("inspect_variable", inside="build", name="c"))


async def test_a_task_is_written_down(world: World):
    outcome = await world.call("create_task", title=" Later ", description="all of it", mode="plan")
    assert world.tasks.created == [Task(id="tsk_1", title="Later", description="all of it", mode="plan")]
    assert "tsk_1" in text(outcome)


async def test_a_task_is_changed_and_something_has_to_change(world: World):
    await world.call("create_task", title="Later")
    outcome = await world.call("update_task", inside="plan", task_id="tsk_1", status="done")
    assert world.tasks.created[0].status == "done"
    assert "done" in text(outcome)
    nothings: list[dict[str, Any]] = [{}, {"status": "finished"}, {"title": " "}]
    for nothing in nothings:
        assert (await world.call("update_task", task_id="tsk_1", **nothing)).is_error


async def test_leaving_plan_mode_switches_to_build_and_is_idle_there(world: World):
    assert (await world.call("exit_plan", inside="plan", plan="# Plan")).switch_mode == "build"
    outcome = await world.call("exit_plan", inside="build", plan="# Plan")
    assert outcome.switch_mode is None
    assert "already" in text(outcome)


async def test_input_that_is_not_valid_is_told_with_the_field_that_is_wrong(world: World):
    outcome = await world.call("edit_cell", cell_id="a", base_hash="short", source="x", extra=1)
    assert outcome.is_error
    assert "base_hash" in text(outcome)
    assert "extra" in text(outcome)
    assert "pydantic" not in text(outcome)
    assert (await world.call("insert_cell", source="x", after="a", before="b")).is_error
    assert (await world.toolbox.call("run_cell", "not an object", world.context())).is_error


async def test_an_unknown_tool_is_answered_with_those_that_exist(world: World):
    outcome = await world.call("write_file")
    assert outcome.is_error
    assert "edit_cell" in text(outcome)


async def test_without_a_notebook_the_model_is_told_so(world: World):
    outcome = await world.toolbox.call("read_notebook", {}, world.context(path=None))
    assert outcome.is_error
    assert "belongs to no notebook" in text(outcome)
    world.server.write("other.ipynb", "y = 1")
    read = await world.toolbox.call("read_notebook", {"path": "other.ipynb"}, world.context(path=None))
    assert "y = 1" in text(read)


async def test_a_fault_of_ours_is_an_outcome_without_a_traceback(world: World, monkeypatch: pytest.MonkeyPatch):
    async def broken(path: str) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(world.server.workspace, "read", broken)
    outcome = await world.call("read_notebook")
    assert outcome.is_error
    assert "Traceback" not in text(outcome)
    assert "look before you try again" in text(outcome)


# -- previews -----------------------------------------------------------------------


async def test_an_approval_shows_what_will_happen(world: World):
    world.server.write("a.ipynb", "x = 1", "y = 2")
    assert await world.preview("insert_cell", source="z", before="cell-1") == [
        DisplayDiff(before="", after="z", label="new cell before cell 2")
    ]
    assert await world.preview("edit_cell", **named("x = 1"), source="x = 2") == [
        DisplayDiff(before="x = 1", after="x = 2", label="cell 1")
    ]
    assert await world.preview("delete_cell", **named("y = 2", "cell-1")) == [
        DisplayDiff(before="y = 2", after="", label="cell 2, deleted")
    ]
    assert await world.preview("run_cell", **named("x = 1")) == [DisplayCode(text="x = 1", label="cell 1")]
    assert await world.preview("exit_plan", plan="# Plan") == [DisplayMarkdown(text="# Plan")]


async def test_nobody_is_asked_about_what_cannot_be_done(world: World):
    world.server.write("a.ipynb", "x = 1")
    with pytest.raises(ToolError, match="changed since you read it"):
        await world.preview("run_cell", **named("old"))
    assert await world.preview("run_cell", cell="bad") == []


async def test_markdown_cells_are_shown_as_markdown(world: World):
    world.server.write("a.ipynb", "x = 1")
    shown = await world.preview("insert_cell", source="# Title", cell_type="markdown")
    assert shown == [DisplayDiff(before="", after="# Title", language="markdown", label="new cell at the end")]
