"""Say in one line what was tested, and refuse a run that left the browser out.

python .ci/summary.py tests/artifacts/vitest.xml tests/artifacts/pytest.xml
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

BROWSER = "tests.browser"


def outcomes(report: Path) -> Counter[str]:
    """Count a JUnit report's cases by what became of them."""
    counts: Counter[str] = Counter()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        tags = {child.tag for child in case}
        counts["failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"] += 1
        if case.get("classname", "").startswith(BROWSER):
            counts["skipped in the browser" if "skipped" in tags else "in the browser"] += 1
    return counts


def main(typescript: Path, python: Path) -> int:
    ours = outcomes(python)
    theirs = outcomes(typescript)
    print(
        f"TypeScript: {theirs['passed']} passed, {theirs['failed']} failed, {theirs['skipped']} skipped. "
        f"Python: {ours['passed']} passed, {ours['failed']} failed, {ours['skipped']} skipped, "
        f"{ours['in the browser']} of them in a browser."
    )
    if ours["in the browser"] == 0 or ours["skipped in the browser"]:
        print("The browser tests did not all run.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))
