"""Files beside a session's database, named by the sha256 of their bytes: a copy of the folder is whole.

Attachments of users, and what is too large for a row: the whole of a part that
is shown cut, long bodies of the API's history. A file is there, and on the
disk, before the transaction that names it commits; one that nothing names any
more, or that a crash left unnamed, is dropped one day (``sweeping``).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from pathlib import Path

from .faults import unwritable

BLOBS = "blobs"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DRAFT = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]{8}")
_ASIDE = ".aside"


def address_of(content: bytes) -> str:
    """Return the name that ``content`` has here."""
    return hashlib.sha256(content).hexdigest()


class Blobs:
    """The blobs of one session; ``directory`` need not be there yet."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, content: bytes) -> str:
        """Keep ``content`` and return its address. Raises ``StoreUnwritable``.

        Written beside and renamed: readers see all or nothing.
        """
        address = address_of(content)
        target = self._directory / address
        if self.hold(address):
            return address
        draft = self._directory / f".{address}.{secrets.token_hex(4)}"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
            _sync_names(self._directory)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)  # Half a file would keep a full disk full.
            raise unwritable("A file of the session could not be saved", error) from error
        return address

    def hold(self, address: str) -> bool:
        """Keep a blob from being dropped until it is named; False when there is none."""
        if _SHA256.fullmatch(address) is None:
            return False
        try:
            os.utime(self._directory / address)
        except FileNotFoundError:
            return False
        except OSError:
            return os.path.exists(self._directory / address)  # noqa: PTH110 -- nothing can be written here, nor dropped; pathlib's may raise
        return True

    def load(self, address: str) -> bytes | None:
        """Return what was saved under ``address``, if anything."""
        if _SHA256.fullmatch(address) is None:
            return None
        for directory in (self._directory, self._directory / _ASIDE, self._directory):  # It may just be moving.
            try:
                return (directory / address).read_bytes()
            except FileNotFoundError:
                continue
        return None

    # -- dropping ------------------------------------------------------------------------

    def old(self, before: int) -> dict[str, int]:
        """Return the blobs that were last touched before a time (ms), each with that time in ns; drop old drafts."""
        found: dict[str, int] = {}
        if not self._directory.is_dir():
            return found
        self._settle()
        with os.scandir(self._directory) as entries:
            for entry in entries:
                touched = entry.stat(follow_symlinks=False).st_mtime_ns
                if touched >= before * 1_000_000 or entry.name == _ASIDE:
                    continue
                if _SHA256.fullmatch(entry.name):
                    found[entry.name] = touched
                elif _DRAFT.fullmatch(entry.name):
                    Path(entry.path).unlink(missing_ok=True)  # A crash came while it was written.
        return found

    def drop(self, address: str, touched: int) -> bool:
        """Drop a blob, unless it was touched since; tell which."""
        blob, aside = self._directory / address, self._directory / _ASIDE / address
        try:
            aside.parent.mkdir(exist_ok=True)
            blob.rename(aside)
            # Only now can nobody touch it any more.
            if aside.stat().st_mtime_ns == touched:
                aside.unlink()
                return True
            aside.rename(blob)
        except OSError:
            pass  # It has gone, or cannot go.
        return False

    def _settle(self) -> None:
        """Put back what a crash left aside, as one touched now: somebody may be about to name it."""
        aside = self._directory / _ASIDE
        for left in list(aside.iterdir()) if aside.is_dir() else []:
            with contextlib.suppress(OSError):
                os.utime(left)
                left.replace(self._directory / left.name)


def _sync_names(directory: Path) -> None:
    """Let a new name survive a power cut, as its bytes do."""
    if os.name == "nt":
        return  # A directory cannot be opened there, and its names are journaled.
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
