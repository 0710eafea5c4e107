"""What became of the turns that crashes cut off, as a table: hosts and points by outcomes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from .ordeal import Report

ARTIFACT = Path(__file__).parents[1] / "artifacts" / "crash.md"
OUTCOMES = ("complete", "stopped", "interrupted", "failed", "no turn")


class Tally:
    """Counts reports."""

    def __init__(self) -> None:
        self.seed: int | None = None
        """Of the random moments, where there was one."""
        self._counts: Counter[tuple[str, str, str, str]] = Counter()
        self._conversations: Counter[str] = Counter()

    def add(self, report: Report) -> None:
        """Count one conversation: what became of the turn that each death cut off."""
        self._conversations[report.kind] += 1
        for death in report.deaths:
            outcome = report.outcomes.get(death.wish, "no turn")
            for point in death.points or ["any moment"]:
                self._counts[report.kind, death.place, point, outcome] += 1

    def table(self) -> str:
        """Return it as Markdown."""
        head = ["killed", "point", *OUTCOMES]
        points = sorted({(kind, place, point) for kind, place, point, _ in self._counts}, reverse=True)
        rows = [
            [kind, f"{place} {point}", *(str(self._counts[kind, place, point, it] or "") for it in OUTCOMES)]
            for kind, place, point in points
        ]
        lines = [head, ["---"] * len(head), *rows]
        killed = ", ".join(f"{count} in a {kind}" for kind, count in sorted(self._conversations.items()))
        dice = "" if self.seed is None else f" The seed of the whole servers' random moments was {self.seed}."
        title = f"# Conversations killed: {killed}\n\nWhat became of the turn that was live.{dice}\n\n"
        return title + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"

    def write(self) -> None:
        """Print it, and leave it where the other reports are."""
        if not self._conversations:
            return
        ARTIFACT.parent.mkdir(exist_ok=True)
        ARTIFACT.write_text(self.table(), encoding="utf-8")
        print("\n" + self.table())  # noqa: T201 -- seen with -s and when something fails
