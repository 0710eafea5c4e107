"""Whether any session has an alarm set, asked of the index by the standard library alone: a server's start is cheap."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def alarmed(data_dir: Path) -> bool:
    """Tell whether some session is to be woken some day; False as well where the list cannot be read now."""
    path = data_dir / "index.db"
    try:
        if not path.is_file():
            return False
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)) as conn:
            return conn.execute("SELECT 1 FROM alarms LIMIT 1").fetchone() is not None
    except (OSError, sqlite3.Error):
        return False
