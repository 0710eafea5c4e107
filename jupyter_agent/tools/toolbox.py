"""All tools of a session: their definitions, the gate, and the one door through which they are called.

The gate, by the mode and what a tool declares to do::

                   read, idempotent    write, execute    exit_plan
    plan           allow               deny              ask
    build          allow               ask               allow (says: you are there already)

A call never raises but for being cancelled: whatever goes wrong becomes an
outcome that the model can act on. Secrets are taken out of every outcome
before anything stores, shows or sends it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal, cast

from ..errors import ToolError
from ..protocol.content import Display, DisplayText, Effect, Json, Mode
from ..protocol.plain import whole
from ..settings import Settings
from .tool import Params, Tool, ToolContext, ToolOutcome, text_outcome

Gate = Literal["allow", "ask", "deny"]

REDACTED = "[secret removed]"
SHORTEST_SECRET = 8
"""A shorter one would take ordinary words out of every text."""

PLAN_DENIAL = (
    "Not done: this session is in Plan mode, in which nothing is changed or run. Keep looking and planning; "
    "when the plan is complete, call exit_plan to ask the user to switch to Build mode."
)

log = logging.getLogger(__name__)


class Toolbox:
    """The tools, in the order in which the model is told of them."""

    def __init__(self, settings: Settings, secrets: Callable[[], Sequence[str]] = tuple) -> None:
        self._settings = settings
        self._secrets = secrets

    @cached_property
    def _tools(self) -> dict[str, Tool[Any]]:
        from .cells import DeleteCell, EditCell, InsertCell, ReadCell, ReadNotebook, RunCell
        from .planning import CreateTask, ExitPlan, UpdateTask
        from .variables import InspectVariable, ListVariables

        # Sessions resend their definitions byte for byte; new tools join at the end.
        kinds: list[type[Tool[Any]]] = [
            ReadNotebook,
            ReadCell,
            InsertCell,
            EditCell,
            DeleteCell,
            RunCell,
            ListVariables,
            InspectVariable,
            CreateTask,
            ExitPlan,
            UpdateTask,
        ]
        return {kind.name: kind(self._settings) for kind in kinds}

    def definitions(self) -> list[dict[str, Json]]:
        """Return the tools as the Messages API takes them, in a fixed order."""
        return [tool.definition() for tool in self._tools.values()]

    def effect(self, name: str) -> Effect:
        """Return what a tool may do to the world; an unknown one does nothing but fail."""
        tool = self._tools.get(name)
        return tool.effect if tool is not None else "read"

    def gate(self, name: str, mode: Mode, input: Json) -> Gate:
        """Tell whether a call may go ahead, must be asked for, or is refused."""
        tool = self._tools.get(name)
        if tool is None:
            return "allow"
        match (mode, tool.effect):
            case ("plan", "write" | "execute"):
                return "deny"
            case ("plan", _) if name == "exit_plan":
                decision: Gate = "ask"
            case ("build", "write" | "execute"):
                decision = "ask"
            case _:
                return "allow"
        # Nobody is asked about a call that cannot be understood; it fails in words.
        return decision if isinstance(self._read(tool, input), Params) else "allow"

    def fault(self, name: str, input: Json) -> str | None:
        """Return what is wrong with an input, in words; None when the tool takes it."""
        tool = self._tools.get(name)
        if tool is None:
            return f"There is no tool {name!r}."
        params = self._read(tool, input)
        return params if isinstance(params, str) else None

    async def preview(self, name: str, input: Json, context: ToolContext) -> list[Display]:
        """Return what the approval shows: the code or the difference, never raw parameters.

        Raises:
            ToolError: the call cannot succeed, so nobody need be asked about it.
        """
        tool = self._tools.get(name)
        params = self._read(tool, input) if tool is not None else None
        if tool is None or not isinstance(params, Params):
            return []
        try:
            display = await tool.preview(params, context)
        except ToolError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if _is_told_to_stop(error):
                raise
            log.exception("the preview of %s failed", name)
            display = [DisplayText(text=f"{name}: what it will do could not be shown.")]
        return cast("list[Display]", self._clean(display))

    async def call(self, name: str, input: Json, context: ToolContext) -> ToolOutcome:
        """Validate, run, and turn whatever goes wrong into words."""
        return cast("ToolOutcome", self._clean(await self._call(name, input, context)))

    # -- inside --------------------------------------------------------------------

    async def _call(self, name: str, input: Json, context: ToolContext) -> ToolOutcome:
        tool = self._tools.get(name)
        if tool is None:
            known = ", ".join(self._tools)
            return text_outcome(f"There is no tool {name!r}. There are: {known}.", is_error=True)
        params = self._read(tool, input)
        if not isinstance(params, Params):
            return text_outcome(params, is_error=True)
        try:
            return await tool.run(params, context)
        except ToolError as error:
            text = f"{error.message} {error.hint}" if error.hint else error.message
            return text_outcome(text, is_error=True)
        except (Exception, asyncio.CancelledError) as error:
            if _is_told_to_stop(error):
                raise
            log.exception("%s failed", name)
            return text_outcome(
                f"{name} failed inside ({type(error).__name__}). It may or may not have had an effect: "
                "look before you try again.",
                is_error=True,
            )

    def _read(self, tool: Tool[Any], input: Json) -> Params | str:
        """Return the validated parameters, or what is wrong with them."""
        from pydantic import ValidationError

        try:
            return tool.params.model_validate(input)
        except ValidationError as error:
            faults = [_fault(dict(fault)) for fault in error.errors(include_url=False, include_context=False)]
            return f"The input of {tool.name} is not valid: {'; '.join(faults)}. Nothing was done."

    def _clean(self, value: Any) -> Any:
        secrets = [secret for secret in self._secrets() if len(secret) >= SHORTEST_SECRET]
        return _redact(value, sorted(secrets, key=len, reverse=True))


def _is_told_to_stop(error: BaseException) -> bool:
    """Tell whether the call itself is to end, and not only something that it waited for was given up."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling() > 0)


def _fault(fault: dict[str, Any]) -> str:
    where = ".".join(str(step) for step in fault["loc"])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])


def _redact(value: Any, secrets: list[str]) -> Any:
    """Return the value with every secret in its strings replaced, and every half of a character."""
    match value:
        case str():
            value = whole(value)
            for secret in secrets:
                value = value.replace(secret, REDACTED)
            return value
        case list():
            return [_redact(item, secrets) for item in cast("list[Any]", value)]
        case dict():
            items = cast("dict[str, Any]", value).items()
            return {_redact(key, secrets): _redact(item, secrets) for key, item in items}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changed = {f.name: _redact(getattr(value, f.name), secrets) for f in dataclasses.fields(value) if f.init}
            return dataclasses.replace(value, **changed)
        case _:
            return value
