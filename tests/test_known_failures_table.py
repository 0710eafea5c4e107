"""The table in ``README.md`` tells the truth: every known failure has its tests, and they are there."""

from __future__ import annotations

import ast

import pytest

from .failures import NAMES, TESTS, rows


def test_every_known_failure_is_in_the_table() -> None:
    assert {failure for failure, _, _ in rows()} == set(NAMES)
    text = (TESTS / "README.md").read_text(encoding="utf-8")
    written = sum(line.startswith(("| F", "| J")) for line in text.splitlines())
    assert written == len(rows()), "a row that cannot be read"


@pytest.mark.parametrize("test", sorted({test for _, _, test in rows()}))
def test_a_test_of_the_table_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    if file.startswith("js/"):
        assert f'"{name}"' in (TESTS.parent / file).read_text(encoding="utf-8")
        return
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    names |= {
        node.targets[0].id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert name in names
