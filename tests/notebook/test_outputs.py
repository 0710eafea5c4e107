from __future__ import annotations

from typing import Any

from jupyter_agent.notebook.outputs import Outputs


def stream(text: str, name: str = "stdout") -> tuple[str, dict[str, Any]]:
    return "stream", {"name": name, "text": text}


def display(text: str, display_id: str | None = None, kind: str = "display_data") -> tuple[str, dict[str, Any]]:
    return kind, {"data": {"text/plain": text}, "metadata": {}, "transient": {"display_id": display_id}}


def collected(*messages: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    outputs = Outputs()
    for msg_type, content in messages:
        outputs.apply(msg_type, content)
    return outputs.cells()


def test_streams_of_one_name_are_one_output():
    assert [item["text"] for item in collected(stream("a"), stream("b"), stream("!", "stderr"), stream("c"))] == [
        "ab",
        "!",
        "c",
    ]


def test_clear_output_that_waits_clears_when_the_next_output_comes():
    wait = ("clear_output", {"wait": True})
    assert [item["text"] for item in collected(stream("old"), wait)] == ["old"]
    assert [item["text"] for item in collected(stream("old"), wait, stream("new"))] == ["new"]
    assert collected(stream("old"), ("clear_output", {"wait": False})) == []


def test_a_display_is_updated_where_it_stands():
    cells = collected(display("1", "d"), stream("x"), display("2", "d", "update_display_data"))
    assert cells[0]["data"] == {"text/plain": "2"}
    assert len(cells) == 2


def test_many_small_prints_are_joined_in_time_that_grows_with_their_number():
    assert len(collected(*[stream("line\n")] * 50_000)[0]["text"]) == 250_000


def test_an_unclaimed_run_stops_keeping_at_its_cap():
    outputs = Outputs()
    outputs.cap = 10
    outputs.apply(*stream("x" * 8))
    outputs.apply(*stream("y" * 8))
    assert outputs.cut
    assert outputs.cells()[0]["text"] == "x" * 8
