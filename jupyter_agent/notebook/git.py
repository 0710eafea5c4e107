"""Which git repository and branch a folder is on, read from files alone.

::

    folder, its parent, …  ──►  .git/           the repository's own
                                .git (a file)   "gitdir: <path>": a worktree's or a submodule's
                                  │
                                  ▼
                                HEAD            "ref: refs/heads/<branch>", or a commit

No git is run: it would read the repository's configuration, which may name
programs, and the folder may be anybody's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_MOST = 4096
"""Both files are one short line; a pipe or a device in their place is not read at all."""
_BRANCH = "refs/heads/"
_COMMIT = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")
_ELSEWHERE = ".invalid"
"""What HEAD names where refs are kept in a table, for those who would read files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitPlace:
    """``root``: the working tree, an absolute path. A detached head has a ``commit`` (hex) and no ``branch``."""

    root: str
    branch: str | None = None
    commit: str | None = None


def git_place(folder: Path) -> GitPlace | None:
    """Return where in git a folder is; None outside of any repository. A folder that is gone counts as its parent."""
    for place in (folder, *folder.parents):
        head = _head_of(place / ".git")
        if head is not None:
            return _read(place, head)
    return None


def _head_of(dot_git: Path) -> str | None:
    try:
        if dot_git.is_dir():
            return _line(dot_git / "HEAD")
        told = _line(dot_git)
        if told is None or not told.startswith("gitdir:"):
            return None
        return _line(dot_git.parent / told.removeprefix("gitdir:").strip() / "HEAD")
    except OSError:
        return None


def _line(path: Path) -> str | None:
    """Return a small file's first line; None when there is none. Raises ``OSError``."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        text = file.read(_MOST).decode(errors="replace")
    return text.partition("\n")[0].strip()


def _read(root: Path, head: str) -> GitPlace:
    ref = head.removeprefix("ref:").strip()
    if ref.startswith(_BRANCH):
        branch = ref.removeprefix(_BRANCH)
        return GitPlace(root=str(root), branch=None if branch == _ELSEWHERE else branch)
    return GitPlace(root=str(root), commit=head if _COMMIT.fullmatch(head) else None)
