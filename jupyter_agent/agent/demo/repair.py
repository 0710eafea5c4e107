"""What common errors mean, and repairs for those whose cause can be seen.

A repair is found only where the code, the error and the kernel's names leave
little doubt; otherwise there is an explanation and no edit.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass

MODULES = {
    "pd": "import pandas as pd",
    "np": "import numpy as np",
    "plt": "import matplotlib.pyplot as plt",
    "sns": "import seaborn as sns",
    "pl": "import polars as pl",
    "Path": "from pathlib import Path",
    "Counter": "from collections import Counter",
    "defaultdict": "from collections import defaultdict",
    "datetime": "from datetime import datetime",
    "timedelta": "from datetime import timedelta",
    "partial": "from functools import partial",
} | {
    name: f"import {name}"
    for name in (
        "math", "json", "re", "os", "sys", "time", "random", "itertools", "functools", "collections", "statistics",
        "pathlib", "csv", "string", "numpy", "pandas", "matplotlib", "seaborn", "scipy", "sklearn",
    )
}  # fmt: skip

MEANINGS = {
    "NameError": "Python met a name that has no value: it is misspelt, was never defined, or is missing its import.",
    "KeyError": "A key was looked up that is not there. With a DataFrame, the key is the name of a column.",
    "ModuleNotFoundError": "The package is not installed in this kernel's environment.",
    "ImportError": "The package is there, but it does not have what is imported from it.",
    "AttributeError": "The object has no attribute or method of that name.",
    "TypeError": "An operation got a value of a type that it cannot work with.",
    "ValueError": "The type was right, but the value was not one that the operation can work with.",
    "IndexError": "A position was asked for beyond the end of the sequence.",
    "ZeroDivisionError": "Something was divided by zero.",
    "FileNotFoundError": "There is no file at that path, seen from the folder where the kernel runs.",
    "SyntaxError": "Python could not read the code, so nothing of the cell ran.",
    "IndentationError": "The lines are not indented consistently, so nothing of the cell ran.",
    "KeyboardInterrupt": "The run was interrupted.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as a cell shows it."""

    name: str
    value: str
    line: str = ""
    """The line of the cell that failed, where the traceback tells it."""

    @property
    def meaning(self) -> str:
        """What this kind of error means."""
        return MEANINGS.get(self.name, f"Python stopped with {self.name}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A new source for the cell, and why."""

    source: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The names a repair may choose from."""

    variables: Iterable[str] = ()
    columns: Iterable[str] = ()


def find_repair(source: str, failure: Failure, known: Known) -> Repair | None:
    """Return a repair that can be justified, or None."""
    match failure.name:
        case "NameError" | "UnboundLocalError":
            return _unknown_name(source, failure, known)
        case "KeyError":
            return _unknown_key(source, failure, known)
        case "AttributeError":
            return _unknown_attribute(source, failure, known)
        case "SyntaxError":
            return _syntax(source, failure)
        case "TypeError":
            return _concatenation(source, failure)
        case _:
            return None


def _unknown_name(source: str, failure: Failure, known: Known) -> Repair | None:
    found = re.search(r"name '(\w+)' is not defined", failure.value)
    if not found:
        return None
    name = found.group(1)
    if name in MODULES:
        line = MODULES[name]
        return Repair(source=f"{line}\n\n{source}", why=f"`{name}` is used but never imported; I add `{line}`.")
    names = {*known.variables, *_defined(source), *dir(builtins)} - {name}
    near = _nearest(name, [n for n in names if not keyword.iskeyword(n)])
    if near is None:
        return None
    return Repair(source=_replace_name(source, name, near), why=f"`{name}` looks like a slip for `{near}`.")


_KEYS = (r"Column not found: ([^'\"]+)", r"\[['\"](.+?)['\"]", r"^['\"](.+)['\"]$")
"""The key in a KeyError, as pandas and dicts word it."""


def _unknown_key(source: str, failure: Failure, known: Known) -> Repair | None:
    found = next((m for pattern in _KEYS if (m := re.search(pattern, failure.value))), None)
    key = found.group(1) if found else ""
    near = _nearest(key, list(known.columns))
    if near is None or not re.search(_quoted(key), source):
        return None
    fixed = re.sub(_quoted(key), lambda m: f"{m.group(1)}{near}{m.group(1)}", source)
    return Repair(source=fixed, why=f"There is no column `{key}`; the data has `{near}`.")


def _quoted(text: str) -> str:
    return rf"(['\"]){re.escape(text)}\1"


_METHODS = (
    "describe", "head", "tail", "groupby", "mean", "median", "min", "max", "sum", "count", "value_counts", "plot",
    "sort_values", "sort_index", "reset_index", "set_index", "drop", "dropna", "fillna", "isna", "merge", "join",
    "rename", "astype", "apply", "columns", "shape", "dtypes", "query", "assign", "unique", "nunique", "corr", "std",
    "append", "extend", "split", "strip", "lower", "upper", "replace", "items", "keys", "values", "show", "hist",
)  # fmt: skip


def _unknown_attribute(source: str, failure: Failure, known: Known) -> Repair | None:
    found = re.search(r"has no attribute '(\w+)'", failure.value)
    if not found:
        return None
    name = found.group(1)
    told = re.search(r"Did you mean:? '(\w+)'", failure.value)
    near = told.group(1) if told else _nearest(name, [n for n in (*known.columns, *_METHODS) if n.isidentifier()])
    if near is None or near == name:
        return None
    fixed = re.sub(rf"\.{name}\b", f".{near}", source)
    return None if fixed == source else Repair(source=fixed, why=f"There is no `.{name}`; `.{near}` is meant, I think.")


_OPENERS = {"(": ")", "[": "]", "{": "}"}


def _syntax(source: str, failure: Failure) -> Repair | None:
    unclosed = re.search(r"'([(\[{])' was never closed", failure.value)
    if unclosed:
        closer = _OPENERS[unclosed.group(1)]
        return _if_readable(source.rstrip() + closer, f"A `{unclosed.group(1)}` is never closed; I add the `{closer}`.")
    if "expected ':'" in failure.value:
        lines = source.split("\n")
        for index, line in enumerate(lines):
            if re.match(r"\s*(if|elif|else|for|while|def|class|with|try|except|finally)\b", line) and not re.search(
                r":\s*(#.*)?$", line
            ):
                lines[index] = line.rstrip() + ":"
                break
        return _if_readable("\n".join(lines), "A `:` is missing at the end of a line.")
    return None


def _concatenation(source: str, failure: Failure) -> Repair | None:
    if "can only concatenate str" not in failure.value or not failure.line:
        return None
    found = re.search(r"(['\"])\s*\+\s*([A-Za-z_]\w*(?:\[[^\]]*\]|\([^()]*\))?)", failure.line)
    if not found or failure.line.strip() not in source:
        return None
    value = found.group(2)
    line = failure.line.replace(found.group(0), found.group(0).replace(value, f"str({value})", 1), 1)
    why = f"Text and `{value}` cannot be added; `str({value})` makes text of it."
    return _if_readable(source.replace(failure.line.strip(), line.strip(), 1), why)


def _if_readable(source: str, why: str) -> Repair | None:
    try:
        ast.parse(source)
    except SyntaxError:
        return None
    return Repair(source=source, why=why)


def _nearest(name: str, names: Iterable[str]) -> str | None:
    choices = sorted(set(names))
    same = [choice for choice in choices if choice.lower() == name.lower()]
    near = same or difflib.get_close_matches(name, choices, n=1, cutoff=0.7)
    return near[0] if near else None


def _defined(source: str) -> set[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return names | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


def _replace_name(source: str, name: str, other: str) -> str:
    return re.sub(rf"(?<![\w.'\"]){re.escape(name)}(?!\w)", other, source)
