"""``python -m jupyter_agent.protocol`` prints the JSON Schema of the wire.

Everything is read from the dataclasses beside this file; the schema is what
the TypeScript types in ``js/src/protocol.gen.ts`` are made of, and what
clients in other languages can be checked against.
"""

from __future__ import annotations

import json
import sys
from typing import Any, cast, get_args

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from . import content
from .commands import Command
from .events import Event
from .frames import VERSION
from .plain import omitted_when_none

NAMED = (
    *("Mode", "Effect", "ToolState", "ToolReason", "MessageStatus", "SessionStatus", "TurnStatus", "Trigger"),
    *("OutcomeKind", "TaskStatus", "WhenBusy", "Level", "Scope", "Decision", "Road", "Display", "Part"),
)
"""Unions of ``content`` that keep their name, so that a reader of the schema finds them again."""


class _Spoken(GenerateJsonSchema):
    """A schema of what is really sent: no invented titles, and a tag is never left out."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        plain = super().default_schema(schema)
        if "const" not in plain:
            return plain
        return {key: value for key, value in plain.items() if key != "default"}


def wire_schema() -> dict[str, Any]:
    """Return the JSON Schema of every frame and every command.

    Objects are left open: a later minor version may add fields, which a reader ignores.
    """
    defs = _defs(Event) | _defs(Command)
    events = [_event(defs, cls) for cls in get_args(Event)]
    commands = [_command(defs, cls) for cls in get_args(Command)]
    head = {"v": {"const": VERSION}, "sid": {"type": "string"}, "ep": {"type": "string"}}
    defs["AgentEvent"] = {"description": "Whatever the server may say.", "anyOf": events}
    defs["AgentCommand"] = {"description": "Whatever a view may ask for.", "anyOf": commands}
    defs["FrameHead"] = _object(head, description="On every frame from the server.")
    defs["EventFrame"] = {"description": "One event.", "allOf": [_ref("FrameHead"), _ref("AgentEvent")]}
    defs["BatchFrame"] = _object(
        head | {"batch": {"type": "array", "items": _ref("AgentEvent")}}, description="Several events, in order."
    )
    defs["Frame"] = {"description": "From the server.", "anyOf": [_ref("EventFrame"), _ref("BatchFrame")]}
    aliases = {name: _alias(name) for name in NAMED}
    defs = {name: _with_names(schema, aliases) for name, schema in defs.items()} | aliases
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Wire",
        "description": "What travels between a view and a session.",
        **_object({"frame": _ref("Frame"), "command": _ref("AgentCommand")}),
        "$defs": dict(sorted(defs.items())),
    }


def _defs(union: Any) -> dict[str, Any]:
    """Return the definitions of every class that a union reaches."""
    defs: dict[str, Any] = {}
    for cls in get_args(union):
        schema = TypeAdapter(cls).json_schema(
            mode="serialization", schema_generator=_Spoken, ref_template="#/$defs/{model}"
        )
        defs |= schema.pop("$defs", {})
        defs[cls.__name__] = schema
    for name, schema in defs.items():
        schema["required"] = _required(name, schema, from_server=union is Event)
        schema.setdefault("properties", {})
    return defs


def _alias(name: str) -> dict[str, Any]:
    schema = TypeAdapter(getattr(content, name)).json_schema(mode="serialization", schema_generator=_Spoken)
    return {key: value for key, value in schema.items() if key != "$defs"}


def _with_names(schema: Any, aliases: dict[str, dict[str, Any]]) -> Any:
    """Return ``schema`` with every spelled-out union of ``NAMED`` replaced by a reference to it."""
    if isinstance(schema, list):
        items = cast("list[Any]", schema)
        return [_with_names(item, aliases) for item in items]
    if not isinstance(schema, dict):
        return schema
    fields = cast("dict[str, Any]", schema)
    shape = {key: value for key, value in fields.items() if key not in ("default", "description")}
    for name, alias in aliases.items():
        if shape == alias:
            return _ref(name)
    return {key: _with_names(value, aliases) for key, value in fields.items()}


def _required(name: str, schema: dict[str, Any], *, from_server: bool) -> list[str]:
    """Return the fields that are always there: we write ``null``, a view may leave out."""
    fields = schema.get("properties", {})
    if not from_server:
        return [field for field, rule in fields.items() if field in schema.get("required", []) or "const" in rule]
    return [field for field in fields if not omitted_when_none(name, field) or field in schema.get("required", [])]


def _event(defs: dict[str, Any], cls: Any) -> dict[str, Any]:
    """Define the tagged, numbered form of an event and return a reference to it."""
    name = f"{cls.__name__}Event"
    order = {"type": "integer", "description": "Its place in the session; transient events have none."}
    covers = {
        "type": "array",
        "items": {"type": "integer"},
        "minItems": 2,
        "maxItems": 2,
        "description": "Instead of seq: the range that a merged event stands for.",
    }
    turn = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    body = {"type": {"const": cls.tag}, "d": _ref(cls.__name__), "ts": {"type": "integer"}, "turn": turn}
    defs[name] = _object(body, {"seq": order, "covers": covers})
    return _ref(name)


def _command(defs: dict[str, Any], cls: Any) -> dict[str, Any]:
    """Define the tagged form of a command and return a reference to it."""
    name = f"{cls.__name__}Command"
    body = {"v": {"const": VERSION}, "cmd_id": {"type": "string"}, "type": {"const": cls.tag}, "d": _ref(cls.__name__)}
    defs[name] = _object(body)
    return _ref(name)


def _object(
    required: dict[str, Any], optional: dict[str, Any] | None = None, *, description: str = ""
) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": description} if description else {}
    return schema | {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(wire_schema(), indent=2) + "\n")
