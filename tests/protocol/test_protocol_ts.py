"""The wire in other languages: the JSON Schema, and the TypeScript types made of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pydantic
import pytest

from jupyter_agent.protocol.__main__ import wire_schema
from jupyter_agent.protocol.commands import Command
from jupyter_agent.protocol.content import DisplayText, Message, TextPart, ToolOutput, ToolPart
from jupyter_agent.protocol.events import Ack, Event, MessageAdded, PartDelta, ToolStateChanged
from jupyter_agent.protocol.frames import Recorded, frame_of, transient

ROOT = Path(__file__).parents[2]


def check(frame: object) -> None:
    schema = wire_schema()
    validator: Any = jsonschema.Draft202012Validator({"$ref": "#/$defs/Frame", "$defs": schema["$defs"]})
    validator.validate(frame)


def test_every_event_and_every_command_has_its_place_in_the_schema() -> None:
    defs = wire_schema()["$defs"]
    events = [defs[f"{cls.__name__}Event"]["properties"]["type"]["const"] for cls in get_args(Event)]
    commands = [defs[f"{cls.__name__}Command"]["properties"]["type"]["const"] for cls in get_args(Command)]
    assert events == [cls.tag for cls in get_args(Event)]
    assert commands == [cls.tag for cls in get_args(Command)]


@pytest.mark.parametrize(
    "event",
    [
        MessageAdded(message=Message(id="msg_1", role="user", status="complete", parts=[TextPart(id="prt_1", idx=0)])),
        PartDelta(part_id="prt_1", at=0, field="text", delta="Hello"),
        ToolStateChanged(part_id="prt_2", state="input-available", running=True, rev=2),
        ToolStateChanged(
            part_id="prt_2",
            state="output-available",
            running=False,
            rev=3,
            output=ToolOutput(model=[{"type": "text", "text": "4"}], display=[DisplayText(text="4")]),
        ),
        MessageAdded(
            message=Message(
                id="msg_2",
                role="assistant",
                status="streaming",
                parts=[ToolPart(id="prt_3", idx=0, tool_call_id="toolu_1", name="run_cell", effect="execute")],
            )
        ),
    ],
)
def test_what_is_sent_fits_the_schema(event: Event) -> None:
    check(frame_of("ses_0", "ep", [Recorded(seq=1, ts=1, turn=None, event=event).wire()]).data)


def test_a_batch_and_a_transient_event_fit_the_schema() -> None:
    delta = Recorded(seq=1, ts=1, turn="trn_1", event=PartDelta(part_id="prt_1", at=0, field="text", delta="a"))
    check(frame_of("ses_0", "ep", [delta.wire(), delta.wire()]).data)
    check(transient("ses_0", "ep", 1, Ack(cmd_id="c", status="accepted")).data)


def test_the_schema_refuses_an_event_that_does_not_exist() -> None:
    with pytest.raises(jsonschema.ValidationError):
        check({"v": 1, "sid": "s", "ep": "e", "ts": 1, "turn": None, "type": "part.invented", "d": {}})


@pytest.mark.skipif(
    tuple(map(int, pydantic.VERSION.split(".")[:2])) < (2, 13),
    reason="this version of pydantic leaves the docstrings out of the schema, and the file was made with them",
)
def test_the_typescript_types_are_fresh() -> None:
    node = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    assert node is not None, "Node is missing: run the tests with `make test`."
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(
        [node, "protocol.mjs", "--check"], cwd=ROOT / "js", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
