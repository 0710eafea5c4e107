"""What became of the turns that crashes cut off, as a table: points by outcomes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from .ordeal import Report

ARTIFACT = Path(__file__).parents[1] / "artifacts" / "crash.md"
OUTCOMES = ("complete", "stopped", "interrupted", "failed", "no turn")


class Tally:
    """Counts reports."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._conversations = 0

    def add(self, report: Report) -> None:
        """Count one conversation: what became of the turn that each death cut off."""
        self._conversations += 1
        for death in report.deaths:
            outcome = report.outcomes.get(death.wish, "no turn")
            for point in death.points or ["any moment"]:
                self._counts[death.place, point, outcome] += 1

    def table(self) -> str:
        """Return it as Markdown."""
        head = ["point", *OUTCOMES]
        rows = [
            [f"{place} {point}", *(str(self._counts[place, point, outcome] or "") for outcome in OUTCOMES)]
            for place, point in sorted({(place, point) for place, point, _ in self._counts})
        ]
        lines = [head, ["---"] * len(head), *rows]
        title = f"# {self._conversations} conversations killed\n\nWhat became of the turn that was live.\n\n"
        return title + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"

    def write(self) -> None:
        """Print it, and leave it where the other reports are."""
        ARTIFACT.parent.mkdir(exist_ok=True)
        ARTIFACT.write_text(self.table(), encoding="utf-8")
        print("\n" + self.table())  # noqa: T201 -- seen with -s and when something fails
