"""Sessions as Markdown."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_agent.protocol.markdown import as_markdown, fenced

Json = dict[str, Any]
SESSION: Json = {
    "id": "ses_1",
    "title": "Means",
    "notebook_path": "a/b.ipynb",
    "model": "claude",
    "created_at": 1_760_000_000_000,
}


def told(*parts: Json, status: str = "complete", **how: Any) -> str:
    message = {"role": "assistant", "status": status, "created_at": 0, "parts": list(parts)}
    return as_markdown(SESSION, [message], **how)


def tool(**facts: Any) -> Json:
    return {"type": "tool", "name": "edit_cell", "state": "output-available", "output": None, "error": None, **facts}


def test_it_begins_with_what_it_is() -> None:
    assert as_markdown(SESSION, []) == ("# Means\n\nses_1 · a/b.ipynb · claude · 2025-10-09 08:53 UTC\n")


def test_an_edit_is_told_as_a_difference() -> None:
    diff = {"type": "diff", "before": "x = 1\ny = 2", "after": "x = 1\ny = 3", "language": "python", "label": ""}
    assert "```diff\n@@ -1,2 +1,2 @@\n x = 1\n-y = 2\n+y = 3\n```" in told(tool(output={"display": [diff]}))


def test_colours_of_a_terminal_are_left_out_and_tables_stay_tables() -> None:
    text = {"type": "text", "text": "\x1b[31mred\x1b[0m"}
    table = {"type": "table", "header": ["name", "value"], "rows": [["a|b", "1\n2"]]}
    out = told(tool(output={"display": [text, table]}))
    assert "```\nred\n```" in out
    assert "| name | value |\n| --- | --- |\n| a\\|b | 1 2 |" in out


@pytest.mark.parametrize("images", [True, False])
def test_images_are_inside_or_only_named(images: bool) -> None:
    image = {"type": "image", "mime": "image/png", "data": "AAAA", "alt": "a plot"}
    out = told(tool(output={"display": [image]}), images=images)
    assert ("data:image/png;base64,AAAA" in out) is images
    assert "a plot" in out


def test_how_a_call_and_a_turn_ended_is_said() -> None:
    out = told(tool(state="output-error", error="No such cell."), tool(state="output-denied"), status="stopped")
    assert "**edit_cell** — failed\n\n```\nNo such cell.\n```" in out
    assert "**edit_cell** — denied" in out
    assert out.endswith("*(stopped)*\n")


def test_what_was_taken_back_is_not_told() -> None:
    assert "gone" not in told({"type": "text", "text": "gone", "superseded": True})


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    assert fenced("a\n````\nb") == "`````\na\n````\nb\n`````"
