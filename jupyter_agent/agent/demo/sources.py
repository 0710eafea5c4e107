"""The cells that the demo writes. They leave no names behind but those that a person would leave."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .facts import SeenFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A cell that draws something, and what that is in words."""

    source: str
    what: str


def description(frame: SeenFrame) -> str:
    """Return a cell that describes every column."""
    name = frame.name
    lines = [f"# Profile of {name}"]
    if len(frame.numbers) < len(frame.columns):
        lines += [
            "print(",
            '    *(f"{label}: {column.nunique()} different values, {column.isna().sum()} missing"',
            f'      for label, column in {name}.select_dtypes(exclude="number").items()),',
            '    sep="\\n",',
            ")",
        ]
    if frame.numbers:
        lines.append(f'{name}.select_dtypes("number").describe().T.assign(missing={name}.isna().sum())')
    return "\n".join(lines)


def drawing(frame: SeenFrame, ask: str) -> Drawing:
    """Return a cell that draws what the ask names, else what suits the data."""
    asked = [label for label in frame.columns if re.search(rf"\b{re.escape(label)}\b", ask, re.I)]
    named = [label for label in asked if label in frame.numbers]
    kinds = [label for label in asked if label not in frame.numbers and label not in frame.dates]
    numbers = named or frame.numbers
    if not numbers or (kinds and not named):
        return _bars(frame.name, (kinds or list(frame.columns))[0])
    if frame.dates and re.search(r"\b(over|time|trend|line|develop\w*)\b", ask, re.I):
        return _line(frame.name, frame.dates[0], numbers[0])
    if len(named) >= 2:
        return _scatter(frame.name, named[0], named[1])
    return _histogram(frame.name, numbers[0])


def _cell(*lines: str, tell: str) -> str:
    head = ["import matplotlib.pyplot as plt", "", "fig, ax = plt.subplots(figsize=(7, 4))"]
    return "\n".join([*head, *lines, "fig.tight_layout()", "plt.show()", f"print({tell})"])


def _histogram(frame: str, label: str) -> Drawing:
    column = f"{frame}[{label!r}]"
    source = _cell(
        f"{column}.plot.hist(bins=20, ax=ax)",
        f"ax.set(title={'Distribution of ' + label!r}, xlabel={label!r})",
        tell=f"{column}.describe().to_string()",
    )
    return Drawing(source=source, what=f"the distribution of `{label}`")


def _bars(frame: str, label: str) -> Drawing:
    counts = f"{frame}[{label!r}].value_counts().head(12)"
    source = _cell(
        f"{counts}.sort_values().plot.barh(ax=ax)",
        f"ax.set(title={'How often: ' + label!r}, xlabel='count', ylabel='')",
        tell=f"{counts}.to_string()",
    )
    return Drawing(source=source, what=f"how often each `{label}` occurs")


def _line(frame: str, date: str, label: str) -> Drawing:
    source = _cell(
        f"{frame}.sort_values({date!r}).plot(x={date!r}, y={label!r}, ax=ax, legend=False)",
        f"ax.set(title={label!r}, xlabel='', ylabel={label!r})",
        tell=f"{frame}[{date!r}].agg(['min', 'max']).to_string()",
    )
    return Drawing(source=source, what=f"`{label}` over `{date}`")


def _scatter(frame: str, x: str, y: str) -> Drawing:
    source = _cell(
        f"ax.scatter({frame}[{x!r}], {frame}[{y!r}], s=16)",
        f"ax.set(xlabel={x!r}, ylabel={y!r})",
        tell=f"'correlation', round({frame}[{x!r}].corr({frame}[{y!r}]), 3)",
    )
    return Drawing(source=source, what=f"`{y}` against `{x}`")


SAMPLE = """import numpy as np
import pandas as pd

# Invented: no weather was measured
rng = np.random.default_rng(7)
days = pd.date_range("2026-01-01", periods=120)
df = pd.DataFrame({
    "day": days,
    "city": rng.choice(["Lisbon", "Oslo", "Cairo"], size=len(days)),
    "temperature": (15 + 8 * np.sin(np.arange(len(days)) / 19) + rng.normal(0, 2, len(days))).round(1),
    "rain": rng.gamma(1.2, 2.0, len(days)).round(1),
})
df.head()"""
