"""A measured number beside its goal, and the two ways to show many of them."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table. ``value`` is a median unless the name says otherwise."""

    part: str
    name: str
    unit: str
    value: float
    goal: float | None = None
    at_least: bool = False
    """The goal is a floor, not a ceiling."""
    samples: int = 1
    detail: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def ratio(self) -> float | None:
        """How much of what is allowed was used: 1 or less meets the goal."""
        if self.goal is None:
            return None
        if self.at_least:
            return self.goal / self.value if self.value else float("inf")
        return self.value / self.goal


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def spread(values: Sequence[float], *, detail: dict[str, float] | None = None) -> dict[str, Any]:
    """Return the fields of a ``Figure`` that describe many samples."""
    more = {"p95": percentile(values, 95), "max": max(values), **(detail or {})}
    return {"value": statistics.median(values), "samples": len(values), "detail": more}


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as aligned text."""
    head = ("part", "what", "value", "p95", "goal", "ratio", "n", "and")
    rows = [head, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(figure: Figure) -> tuple[str, ...]:
    bound = "≥" if figure.at_least else "≤"
    detail = [f"{name} {_number(value)}" for name, value in figure.detail.items() if name != "p95"]
    return (
        figure.part,
        figure.name,
        f"{_number(figure.value)} {figure.unit}",
        _number(figure.detail["p95"]) if "p95" in figure.detail else "",
        "" if figure.goal is None else f"{bound} {_number(figure.goal)}",
        "" if figure.ratio is None else f"{figure.ratio:.2f}{'' if figure.ratio <= 1 else '  !'}",
        str(figure.samples),
        ", ".join(detail),
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """Say what the numbers were measured on, and how busy it was."""
    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else []
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load_average": load,
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
    }


def write(path: Path, figures: Sequence[Figure], before: dict[str, Any]) -> None:
    """Keep the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [asdict(figure) | {"ratio": figure.ratio} for figure in figures]
    text = json.dumps({"before": before, "after": machine(), "figures": lines}, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
