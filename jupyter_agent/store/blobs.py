"""Files beside a session's database, named by the sha256 of their bytes: a copy of the folder is whole.

Attachments of users, and what is too large for a row: the whole of a part that
is shown cut, long bodies of the API's history. A file is there, and on the
disk, before the transaction that names it commits; one that nothing names is
what a crash left in between, and harms nobody.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

from ..errors import StoreUnwritable

BLOBS = "blobs"
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
        if target.exists():
            return address
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            draft = self._directory / f".{address}.{secrets.token_hex(4)}"
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
            _sync_names(self._directory)
        except OSError as error:
            raise StoreUnwritable(f"A file of the session could not be saved: {error.strerror or error}.") from error
        return address

    def load(self, address: str) -> bytes | None:
        """Return what was saved under ``address``, if anything."""
        if _SHA256.fullmatch(address) is None:
            return None
        try:
            return (self._directory / address).read_bytes()
        except FileNotFoundError:
            return None


def _sync_names(directory: Path) -> None:
    """Let a new name survive a power cut, as its bytes do."""
    if os.name == "nt":
        return  # A directory cannot be opened there, and its names are journaled.
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
