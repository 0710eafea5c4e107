"""A cell's outputs, built from the kernel's messages the way JupyterLab builds them.

``Outputs.apply`` takes one iopub message; ``Outputs.cells`` is then what a
notebook would store: streams of one name merged, carriage returns left to the
reader, ``clear_output`` honoured (also the waiting kind), and displays that
are updated later found again by their ``display_id``.
"""

from __future__ import annotations

from typing import Any, cast

from .ports import fields

Json = Any

SOFT_CAP = 1 << 20
"""How many characters an unclaimed run may hold before its outputs are only counted."""


class Outputs:
    """The outputs of one run, in nbformat 4 form."""

    def __init__(self) -> None:
        self.items: list[dict[str, Json]] = []
        self.cap: int | None = None
        self.cut = False
        self._size = 0
        self._stream: list[str] = []
        self._displays: dict[str, list[int]] = {}
        self._clear_next = False

    def apply(self, msg_type: str, content: dict[str, Json]) -> None:
        """Take one iopub message that this run's request caused."""
        match msg_type:
            case "stream":
                self._add_stream(str(content.get("name", "stdout")), str(content.get("text", "")))
            case "display_data" | "execute_result":
                self._add_display(msg_type, content)
            case "update_display_data":
                self._update_display(content)
            case "error":
                self._add(
                    {
                        "output_type": "error",
                        "ename": str(content.get("ename", "")),
                        "evalue": str(content.get("evalue", "")),
                        "traceback": _lines(content.get("traceback")),
                    }
                )
            case "clear_output":
                if content.get("wait"):
                    self._clear_next = True
                else:
                    self._clear()
            case _:
                pass

    def cells(self) -> list[dict[str, Json]]:
        """Return the outputs as a notebook stores them."""
        self._seal_stream()
        return [dict(item) for item in self.items]

    @property
    def error(self) -> tuple[str, str] | None:
        """The name and message of the exception that ended the run, if one did."""
        for item in reversed(self.items):
            if item["output_type"] == "error":
                return item["ename"], item["evalue"]
        return None

    # -- building ------------------------------------------------------------------

    def _add_stream(self, name: str, text: str) -> None:
        if not text:
            return
        self._clear_if_waiting()
        if self._full(len(text)):
            return
        last = self.items[-1] if self.items else None
        if last is None or last["output_type"] != "stream" or last["name"] != name:
            self._seal_stream()
            self.items.append({"output_type": "stream", "name": name, "text": ""})
        # Joined once, at the end: a loop that prints a hundred thousand lines
        # must not copy all it printed so far for each of them.
        self._stream.append(text)

    def _seal_stream(self) -> None:
        if self._stream and self.items:
            self.items[-1]["text"] += "".join(self._stream)
        self._stream = []

    def _add(self, item: dict[str, Json]) -> None:
        self._clear_if_waiting()
        self._seal_stream()
        self.items.append(item)

    def _add_display(self, msg_type: str, content: dict[str, Json]) -> None:
        data: dict[str, Json] = fields(content.get("data"))
        if self._full(sum(len(str(value)) for value in data.values())):
            return
        item: dict[str, Json] = {"output_type": msg_type, "data": data, "metadata": fields(content.get("metadata"))}
        if msg_type == "execute_result":
            item["execution_count"] = content.get("execution_count")
        self._add(item)
        display_id = fields(content.get("transient")).get("display_id")
        if display_id:
            self._displays.setdefault(str(display_id), []).append(len(self.items) - 1)

    def _update_display(self, content: dict[str, Json]) -> None:
        display_id = fields(content.get("transient")).get("display_id")
        for index in self._displays.get(str(display_id), []):
            self.items[index]["data"] = fields(content.get("data"))
            self.items[index]["metadata"] = fields(content.get("metadata"))

    def _full(self, size: int) -> bool:
        self._size += size
        if self.cap is not None and self._size > self.cap:
            self.cut = True
        return self.cut

    def _clear_if_waiting(self) -> None:
        if self._clear_next:
            self._clear()

    def _clear(self) -> None:
        self.items.clear()
        self._stream = []
        self._displays.clear()
        self._clear_next = False
        self._size = 0


def _lines(value: Json) -> list[str]:
    return [str(line) for line in cast("list[Json]", value)] if isinstance(value, list) else []
