"""What a session works in: its notebook's kernel, and where in git that notebook's folder is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .git import GitPlace, git_place
from .kernels import KernelFacts, NotebookKernels


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """``kernel`` is None while none runs; ``git`` outside of any repository."""

    notebook_path: str | None
    kernel: KernelFacts | None
    git: GitPlace | None


class Observer:
    """Looks around; starts nothing, runs nothing and asks no kernel."""

    def __init__(self, contents_manager: Any, kernels: NotebookKernels) -> None:
        self._contents = contents_manager
        self._kernels = kernels

    async def look(self, notebook_path: str | None, *, here: bool = True) -> Surroundings:
        """Return what is around a notebook, or around a session that has none; nothing where it is not ``here``."""
        if not here:
            return Surroundings(notebook_path=notebook_path, kernel=None, git=None)
        return Surroundings(
            notebook_path=notebook_path,
            kernel=await self._kernels.facts(notebook_path) if notebook_path else None,
            git=await asyncio.to_thread(self._git, notebook_path),
        )

    def _git(self, notebook_path: str | None) -> GitPlace | None:
        root = getattr(self._contents, "root_dir", None)
        if not isinstance(root, str) or not root:
            return None  # Notebooks are not kept on a disk that is seen from here.
        return git_place(_folder_of(Path(root).absolute(), notebook_path or ""))


def _folder_of(root: Path, notebook_path: str) -> Path:
    """Return where a notebook lies; the root for a path that leads out of it, or that no disk could have."""
    *folders, _ = notebook_path.strip("/").split("/")
    if any(name in ("", ".", "..") or "\0" in name or "\\" in name for name in folders):
        return root
    return root.joinpath(*folders)
