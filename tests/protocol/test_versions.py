"""Old and new: what a protocol version said when it came out is still understood, and what its readers need still said.

``tests/golden/v1`` is frozen. A test that fails here says that a panel or a
server that somebody has installed would break: make the change an addition, or
make it a new major version with a folder of its own, and keep this one passing
for as long as its version is spoken. ``newer.jsonl`` is a conversation of that
version as a server of a later minor one would tell it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from jupyter_agent.protocol import codec
from jupyter_agent.protocol.__main__ import wire_schema
from jupyter_agent.protocol.commands import Command
from jupyter_agent.protocol.features import ALWAYS, FEATURES
from jupyter_agent.protocol.fold import View, empty, fold

Json = dict[str, Any]
V1 = Path(__file__).parents[1] / "golden" / "v1"
RECORDINGS = sorted(path.stem for path in V1.glob("*.jsonl"))
COMMANDS: list[Json] = json.loads((V1 / "commands.json").read_text(encoding="utf-8"))


def lines_of(name: str) -> list[Json]:
    return [json.loads(line) for line in (V1 / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_frozen_conversation_still_folds_to_its_view(name: str) -> None:
    view: View = empty()
    compared = 0
    for line in lines_of(name):
        if "frame" in line:
            view = fold(view, line["frame"])
        if "view" in line:
            assert {key: view[key] for key in line["view"]} == line["view"]
            compared += 1
    assert compared


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command["type"]))
def test_a_frozen_command_is_still_taken_as_it_was_meant(command: Json) -> None:
    cmd_id, taken = codec.decode_command(command)
    assert cmd_id == command["cmd_id"]
    assert taken.tag == command["type"]
    for name, value in command["d"].items():
        if not isinstance(value, dict | list):
            assert getattr(taken, name) == value


def test_every_frozen_command_that_was_sent_in_a_conversation_is_taken() -> None:
    said = [line["command"] for line in lines_of("crash") if "command" in line]
    assert [codec.decode_command(command)[1].tag for command in said] == [command["type"] for command in said]


def test_what_readers_of_the_first_version_rely_on_is_still_there() -> None:
    then = json.loads((V1 / "schema.json").read_text(encoding="utf-8"))
    assert broken(then["$defs"], wire_schema()["$defs"]) == []


def test_every_command_has_a_feature_or_needs_none() -> None:
    named = [command for commands in FEATURES.values() for command in commands]
    assert sorted(cls.tag for cls in (*ALWAYS, *named)) == sorted(cls.tag for cls in get_args(Command))


# -- comparing two versions' schemas ---------------------------------------------------


def broken(then: Json, now: Json) -> list[str]:
    """Return what breaks a reader, or a sender, of ``then`` that talks to a peer of ``now``."""
    said, asked = within("Frame", then), within("AgentCommand", then)
    faults: list[str] = []
    for name in sorted(said | asked):
        if name not in now:
            faults.append(f"{name} is gone")
            continue
        before, after = then[name].get("properties", {}), now[name].get("properties", {})
        for field, shape in before.items():
            where = f"{name}.{field}"
            if field not in after:
                faults.append(f"{where} is gone")
            elif name in said and field in then[name]["required"] and field not in now[name]["required"]:
                faults.append(f"{where} may be missing")
            else:
                new, old = kinds(after[field], now), kinds(shape, then)
                faults += [f"{where} may be {kind}" for kind in new - old if name in said and matters(kind, old)]
                faults += [f"{where} may not be {kind}" for kind in old - new if name in asked]
        if name in asked:
            faults += [f"{name}.{field} must be there" for field in needed(now[name]) - needed(then[name])]
    return faults


def needed(schema: Json) -> set[str]:
    return set(schema.get("required", []))


def within(name: str, defs: Json) -> set[str]:
    """Return the definitions that are reached from ``name``."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        at = waiting.pop()
        if at not in found:
            found.add(at)
            waiting += references(defs[at])
    return found


def references(schema: Any) -> list[str]:
    match schema:
        case {"$ref": str(ref)}:
            return [ref.rpartition("/")[2]]
        case dict():
            return [ref for value in schema.values() for ref in references(value)]  # pyright: ignore[reportUnknownVariableType] -- free-form JSON
        case list():
            return [ref for value in schema for ref in references(value)]  # pyright: ignore[reportUnknownVariableType] -- free-form JSON
        case _:
            return []


def kinds(schema: Json, defs: Json) -> set[str]:
    """Return what a value may be: names of objects, JSON types, and the values of an enumeration."""
    match schema:
        case {"$ref": str(ref)}:
            name = ref.rpartition("/")[2]
            return {f"object {name}"} if "properties" in defs[name] else kinds(defs[name], defs)
        case {"anyOf": choices} | {"oneOf": choices}:
            return {kind for choice in choices for kind in kinds(choice, defs)}
        case {"const": value}:
            return {f"value {value}"}
        case {"enum": values}:
            return {f"value {value}" for value in values}
        case {"type": "array", "items": {**items}}:
            return {f"array of {kind}" for kind in kinds(items, defs)}
        case {"type": str(name)}:
            return {name}
        case _:
            return {"anything"}


def matters(kind: str, known: set[str]) -> bool:
    """Tell whether a reader of ``known`` breaks at ``kind``: new values and tagged objects are passed over."""
    kind = kind.removeprefix("array of ")
    known = {name.removeprefix("array of ") for name in known}
    if "anything" in known:
        return False
    if kind.startswith("value "):
        return not any(name == "string" or name.startswith("value ") for name in known)
    if kind.startswith("object "):
        return sum(name.startswith("object ") for name in known) < 2
    return True


@pytest.mark.parametrize(
    ("path", "change", "fault"),
    [
        (("PartDelta", "required"), ["part_id", "field", "delta"], "PartDelta.at may be missing"),
        (("PartDelta", "properties"), {}, "PartDelta.at is gone"),
        (("PartDelta", "properties", "at"), {"type": "string"}, "PartDelta.at may be string"),
        (("TurnStop", "required"), ["turn", "why"], "TurnStop.why must be there"),
        (("WhenBusy", "enum"), ["queue", "reject"], "MessageSend.when_busy may not be value steer"),
        (("Level", "enum"), ["info", "warning", "error", "whisper"], None),
    ],
)
def test_a_change_that_breaks_somebody_is_found(path: tuple[str, ...], change: Any, fault: str | None) -> None:
    then = wire_schema()["$defs"]
    now = json.loads(json.dumps(then))
    at = now
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = change
    assert (fault in broken(then, now)) if fault else broken(then, now) == []
