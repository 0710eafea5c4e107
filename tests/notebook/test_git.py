"""Which repository and branch a folder is on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jupyter_agent.notebook.git import GitPlace, git_place

COMMIT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"


def repository(root: Path, head: str) -> Path:
    """Make what git keeps of a repository, as far as it says where it is."""
    (root / ".git").mkdir(parents=True)
    (root / ".git" / "HEAD").write_text(head)
    return root


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A folder in no repository."""
    assert git_place(tmp_path) is None
    return tmp_path


def test_a_folder_deep_in_a_repository_is_on_its_branch(nowhere: Path) -> None:
    root = repository(nowhere / "work", "ref: refs/heads/feature/plots\n")
    deep = root / "notebooks" / "2026"
    deep.mkdir(parents=True)
    assert git_place(deep) == GitPlace(root=str(root), branch="feature/plots")
    assert git_place(root / "deleted" / "meanwhile") == GitPlace(root=str(root), branch="feature/plots")


def test_a_detached_head_is_a_commit_and_no_branch(nowhere: Path) -> None:
    root = repository(nowhere / "work", f"{COMMIT}\n")
    assert git_place(root) == GitPlace(root=str(root), commit=COMMIT)


def test_a_worktree_has_a_branch_of_its_own(nowhere: Path) -> None:
    root = repository(nowhere / "work", "ref: refs/heads/main\n")
    kept = root / ".git" / "worktrees" / "beside"
    kept.mkdir(parents=True)
    (kept / "HEAD").write_text("ref: refs/heads/beside\n")
    for name, told in (("absolute", kept), ("relative", Path("../work/.git/worktrees/beside"))):
        tree = nowhere / name
        tree.mkdir()
        (tree / ".git").write_text(f"gitdir: {told}\n")
        assert git_place(tree) == GitPlace(root=str(tree), branch="beside")


def test_a_repository_within_another_is_the_one_that_counts(nowhere: Path) -> None:
    outer = repository(nowhere / "outer", "ref: refs/heads/outer\n")
    inner = repository(outer / "inner", "ref: refs/heads/inner\n")
    assert git_place(inner) == GitPlace(root=str(inner), branch="inner")


def test_a_branch_that_files_do_not_tell_is_none(nowhere: Path) -> None:
    root = repository(nowhere / "table", "ref: refs/heads/.invalid\n")
    assert git_place(root) == GitPlace(root=str(root))


@pytest.mark.parametrize("head", [b"\xff\xfe\x00", b"", b"rubbish", b"ref: refs/heads/" + b"x" * 100_000])
def test_a_head_that_is_none_fails_nobody(nowhere: Path, head: bytes) -> None:
    root = repository(nowhere / "work", "")
    (root / ".git" / "HEAD").write_bytes(head)
    found = git_place(root)
    assert found is not None
    assert found.commit is None
    assert len(found.branch or "") <= 4096


def test_what_only_looks_like_a_repository_is_passed_by(nowhere: Path) -> None:
    root = repository(nowhere / "work", "ref: refs/heads/main\n")
    (root / "empty" / ".git").mkdir(parents=True)
    (root / "text").mkdir()
    (root / "text" / ".git").write_text("this is not one")
    (root / "lost").mkdir()
    (root / "lost" / ".git").write_text("gitdir: /nowhere/at/all")
    for name in ("empty", "text", "lost"):
        assert git_place(root / name) == GitPlace(root=str(root), branch="main")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_in_place_of_the_head_keeps_nobody_waiting(nowhere: Path) -> None:
    root = nowhere / "work"
    (root / ".git").mkdir(parents=True)
    os.mkfifo(root / ".git" / "HEAD")
    assert git_place(root) is None
