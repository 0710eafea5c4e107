"""``StepWriter``: one step's stream, written into the ledger as it comes.

A part opens with its block's first visible character, so an empty thinking
block leaves no empty card; what the API sent is kept verbatim all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jiter

from ..protocol.content import Json, ReasoningPart, TextPart, ToolPart
from ..protocol.ids import new_id
from ..store.writes import Call
from ..tools.toolbox import Toolbox
from .ledger import Ledger
from .model import (
    Block,
    BlockClosed,
    BlockOpened,
    InputDelta,
    ModelEvent,
    ReasoningDelta,
    StepClosed,
    TextDelta,
)


@dataclass(slots=True)
class _Open:
    """A block that has not closed yet, and the part that shows it, if any."""

    kind: Literal["text", "reasoning", "tool", "other"]
    part_id: str = ""
    text: str = ""


class StepWriter:
    """Writes the parts of one step."""

    def __init__(self, ledger: Ledger, toolbox: Toolbox, step: int) -> None:
        self._ledger = ledger
        self._toolbox = toolbox
        self._step = step
        self._open: dict[int, _Open] = {}
        self._closed: list[Block] = []
        self._parts: dict[str, str] = {}
        """Part by tool_use id."""

    def feed(self, event: ModelEvent) -> None:
        """Write one event down."""
        match event:
            case BlockOpened(index=index, kind=kind):
                self._open[index] = _Open(kind)
                if kind == "tool":
                    self._open_tool(index, event)
            case TextDelta(index=index, text=text) | ReasoningDelta(index=index, text=text):
                self._more(self._open[index], text)
            case InputDelta(index=index, partial_json=text):
                block = self._open[index]
                block.text += text
                self._ledger.delta(block.part_id, text)
            case BlockClosed(index=index, block=block):
                self._close(self._open.pop(index), block)
            case _:
                pass

    def _open_tool(self, index: int, event: BlockOpened) -> None:
        part = ToolPart(
            id=new_id("prt"),
            idx=0,
            tool_call_id=event.call_id,
            name=event.name,
            effect=self._toolbox.effect(event.name),
            input_json="",
        )
        self._open[index].part_id = self._parts[event.call_id] = part.id
        self._ledger.add_part(part)

    def _more(self, block: _Open, text: str) -> None:
        if not text:
            return
        if not block.part_id:
            block.part_id = new_id("prt")
            kind = TextPart if block.kind == "text" else ReasoningPart
            self._ledger.add_part(kind(id=block.part_id, idx=0, state="streaming"))
        block.text += text
        self._ledger.delta(block.part_id, text)

    def _close(self, open_block: _Open, block: Block) -> None:
        self._closed.append(block)
        if open_block.kind == "tool":
            self._ledger.tool_state(open_block.part_id, "input-available", input=block.get("input"))
        elif open_block.part_id:
            self._ledger.finish_part(open_block.part_id)

    async def close(self, closed: StepClosed) -> None:
        """Store the complete answer and the calls in it."""
        content = [block for block in closed.content if not _is_empty_text(block)]
        uses = [block for block in content if block.get("type") == "tool_use"]
        refused = closed.stop_reason == "refusal"
        await self._ledger.close_step(
            stop_reason=closed.stop_reason,
            usage=closed.usage,
            request_id=closed.request_id,
            content=[] if refused else content,
            calls=[] if refused else [self._call(ord_, block) for ord_, block in enumerate(uses)],
        )

    def _call(self, ord_: int, block: Block) -> Call:
        name = str(block["name"])
        return Call(
            id=str(block["id"]),
            turn_id="",
            step=self._step,
            ord=ord_,
            part_id=self._parts[str(block["id"])],
            name=name,
            input=block.get("input"),
            effect=self._toolbox.effect(name),
        )

    def reset(self) -> StepWriter:
        """Grey out what this attempt showed; return the writer of the next one."""
        self._settle_open()
        self._ledger.reset_step(self._step)
        return StepWriter(self._ledger, self._toolbox, self._step)

    def salvage(self) -> list[Block]:
        """Settle what is open; return what the API takes back of an answer that broke off.

        Complete blocks and text as far as it came; no tool call (it never ran),
        no unsigned thinking, and no thinking at the end.
        """
        kept = [block for block in self._closed if block.get("type") != "tool_use" and not _is_empty_text(block)]
        kept += [
            {"type": "text", "text": block.text}
            for block in self._open.values()
            if block.kind == "text" and block.text.strip()
        ]
        self._settle_open()
        while kept and kept[-1].get("type") != "text":
            kept.pop()
        return kept

    def _settle_open(self) -> None:
        for block in self._open.values():
            if block.kind == "tool":
                self._ledger.tool_state(
                    block.part_id,
                    "output-error",
                    input=partial_input(block.text),
                    error="The reply broke off before this call was complete; it did not run.",
                    reason="never_ran",
                )
            elif block.part_id:
                self._ledger.finish_part(block.part_id)
        self._open.clear()


def partial_input(text: str) -> Json:
    """Return as much of a tool's input as its unfinished JSON says, None when that is nothing."""
    try:
        return jiter.from_json(text.encode("utf-8", "surrogatepass"), partial_mode="trailing-strings")
    except ValueError:
        return None


def _is_empty_text(block: Block) -> bool:
    return block.get("type") == "text" and not str(block.get("text", "")).strip()
