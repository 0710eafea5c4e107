"""Which kind of disk the data directory is on: one whose locks and shared memory work, or a network's.

::

    local     WAL, normal locking: other processes may read while one writes
    network   WAL in one process alone (no shared memory); one process at a time, told by a heartbeat
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Literal

Profile = Literal["local", "network"]

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK_TYPES = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "cvmfs", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "vboxsf", "virtiofs"),
    }
)
_DRIVE_REMOTE = 4


def profile_of(path: Path, wanted: str) -> Profile:
    """Return ``wanted``, or for ``auto`` what the file system of ``path`` asks for."""
    match wanted:
        case "local" | "network":
            return wanted
        case _:
            return _detected(path.absolute())


@cache
def _detected(path: Path) -> Profile:
    if sys.platform == "win32":
        return "network" if _is_remote_drive(path) else "local"
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return "network" if _is_remote_mount(path.resolve()) else "local"
    kind = file_system_of(path.resolve(), mounts)
    return "network" if kind in _NETWORK_TYPES or kind.startswith("fuse.") else "local"


def _is_remote_drive(path: Path) -> bool:
    if path.drive.startswith("\\\\"):
        return True
    windll = getattr(ctypes, "windll", None)
    return windll is not None and windll.kernel32.GetDriveTypeW(f"{path.drive}\\") == _DRIVE_REMOTE


def _is_remote_mount(path: Path) -> bool:
    """Ask macOS' and the BSDs' ``mount``, which lists without touching what may hang."""
    try:
        said = subprocess.run(["/sbin/mount"], capture_output=True, timeout=2, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return False  # ``storage="network"`` says it where nothing tells.
    return is_remote(path, said.decode("utf-8", "surrogateescape"))


def is_remote(path: Path, mounts: str) -> bool:
    """Tell whether ``path`` is on a network's disk, by lines like ``/dev/disk3s5 on / (apfs, local, journaled)``."""
    best, remote = -1, False
    for line in mounts.splitlines():
        found = re.fullmatch(r".+? on (/.*) \(([^()]*)\)", line)
        if found is None:
            continue
        point, words = Path(found[1]), found[2].split(", ")
        if (path == point or point in path.parents) and len(point.parts) >= best:
            best, remote = len(point.parts), "local" not in words
    return remote


def file_system_of(path: Path, mounts: str) -> str:
    """Return the type of the file system that holds ``path``, by Linux's ``mountinfo``; "" if none does."""
    best, found = -1, ""
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        point = Path(_unescaped(fields.split(" ")[4]))
        # Of two mounts at one place, the later hides the earlier.
        if (path == point or point in path.parents) and len(point.parts) >= best:
            best, found = len(point.parts), rest.split(" ")[0]
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
