"""``Claim``: one server at a time owns a session.

::

    claim ──► somebody else asks for it (``session.release``)? ── yes ──► StoreLocked
       │ no
       ▼
    OS lock on ``session.lock`` ── held ──► StoreLocked, naming the owner by ``session.owner``
       │ ours: a local owner before us is dead
       ▼
    network only: the owner's file was touched within 30 s, and its process may live ──► StoreLocked
       │
       ▼
    gen + 1 in the database (the fence in every transaction) ──► ``session.owner`` says who we are

Whoever wants a session that another has asks for it by a file beside it; the
owner sees that within a second, finishes its transaction and lets go.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import socket
import time
import uuid
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import SessionNotFound, StoreLocked
from .faults import unwritable
from .profile import Profile

LOCK_NAME = "session.lock"
OWNER_NAME = "session.owner"
RELEASE_NAME = "session.release"

BEAT_S = 10.0
SILENT_S = 30.0
"""A network owner whose file is older than this is gone."""
REQUEST_S = 15.0
"""How long a request to let go keeps others, the former owner too, from taking the session."""
TAKE_OVER = "Take it over here, or go on there."
ONLY_THERE = "On this network disk only the server that has it can show it. Take it over here, or go on there."


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Who claims sessions. ``url``: where a person finds it, None when it has no address."""

    server_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    url: str | None = None


_DENIALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ENOSPC})

THIS_PROCESS = Server()
"""Whoever opens a session without saying who it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What ``session.owner`` says."""

    server_id: str
    host: str
    boot_id: str
    pid: int
    started: str
    gen: int
    url: str | None

    def where(self) -> str:
        """Return words that tell a person which server this is."""
        place = self.url or f"process {self.pid}"
        return place if self.host == socket.gethostname() else f"{place} on {self.host}"

    def is_dead(self) -> bool:
        """Tell whether the process has surely ended; False also when that cannot be known from here."""
        if self.host != socket.gethostname():
            return False
        return self.boot_id != boot_id() or (started(self.pid) or self.started) != self.started or not _runs(self.pid)


class Claim:
    """The right to write to one session's folder."""

    def __init__(self, folder: Path, server: Server, lock: FileLock | None, profile: Profile) -> None:
        self.folder = folder
        self.server = server
        self.profile: Profile = profile
        self._lock = lock
        self._owner: Owner | None = None
        self._beaten_at = 0.0

    def announce(self, gen: int) -> None:
        """Write down who owns the session from now on. Raises ``StoreUnwritable``."""
        self._owner = Owner(
            server_id=self.server.server_id,
            host=socket.gethostname(),
            boot_id=boot_id(),
            pid=os.getpid(),
            started=started(os.getpid()) or "",
            gen=gen,
            url=self.server.url,
        )
        plain = {name: getattr(self._owner, name) for name in Owner.__slots__}
        draft = self.folder / f"{OWNER_NAME}.{self.server.server_id}"
        try:
            draft.write_text(json.dumps(plain), encoding="utf-8")
            draft.replace(self.folder / OWNER_NAME)
        except OSError as error:
            raise unwritable("The session could not be opened", error) from None
        self._beaten_at = time.monotonic()
        withdraw(self.folder, self.server)

    def check(self) -> None:
        """Raise ``StoreLocked`` when another took a network session; a local one is fenced by its ``gen`` alone."""
        if self.profile == "network" and self._owner is not None and read_owner(self.folder) != self._owner:
            raise deposed()

    def beat(self) -> None:
        """Say that we live, where that is what keeps others away."""
        if self.profile == "network" and time.monotonic() - self._beaten_at >= BEAT_S:
            self._beaten_at = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self.folder / OWNER_NAME)

    def is_asked_for(self) -> bool:
        """Tell whether another server asks us to let go."""
        return _asker(self.folder, self.server) is not None

    def release(self) -> None:
        """Let go."""
        try:
            if self._owner is not None and read_owner(self.folder) == self._owner:
                (self.folder / OWNER_NAME).unlink(missing_ok=True)
        except OSError:
            pass  # The folder has gone, or the disk: then so has the claim.
        finally:
            if self._lock is not None:
                self._lock.release()


def claim(folder: Path, server: Server, profile: Profile) -> Claim:
    """Take the session.

    Raises ``StoreLocked`` when a living server has it, ``StoreUnwritable`` when no lock can be, ``SessionNotFound``.
    """
    if not folder.is_dir():  # It was deleted meanwhile: the lock would make its folder anew.
        raise SessionNotFound("There is no such session.")
    if (asker := _asker(folder, server)) is not None:
        raise elsewhere(asker, profile)
    lock: FileLock | None = FileLock(str(folder / LOCK_NAME), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise elsewhere(_where(folder), profile) from None
    except NotImplementedError:
        lock = None
    except OSError as error:
        if profile == "local" or error.errno in _DENIALS:
            raise unwritable("The session could not be opened", error) from None
        lock = None  # This network has no locks; the heartbeat decides.
    taken = Claim(folder, server, lock, profile)
    if profile == "network" and _lives(folder, server):
        taken.release()
        raise elsewhere(_where(folder), profile)
    return taken


def elsewhere(where: str, profile: Profile) -> StoreLocked:
    """Return what is said of a session that another server has."""
    hint = ONLY_THERE if profile == "network" else TAKE_OVER
    return StoreLocked(f"This session is open in another Jupyter server ({where}).", hint=hint)


def deposed() -> StoreLocked:
    """Return what is said when another server took the session while we had it."""
    return StoreLocked("Another Jupyter server took this session over.", hint=TAKE_OVER)


def _where(folder: Path) -> str:
    owner = read_owner(folder)
    return owner.where() if owner is not None else "it has just begun to open it"


def _lives(folder: Path, server: Server) -> bool:
    owner = read_owner(folder)
    if owner is None or owner.server_id == server.server_id or owner.is_dead():
        return False
    age = _age(folder, OWNER_NAME)
    return age is not None and age < SILENT_S


def _age(folder: Path, name: str) -> float | None:
    """Return how many seconds ago a file was touched; None when it is not there."""
    try:
        touched = (folder / name).stat().st_mtime
        with contextlib.suppress(OSError):
            # Both times are then the file server's, whose clock need not be ours.
            os.utime(folder / LOCK_NAME)
            return (folder / LOCK_NAME).stat().st_mtime - touched
        return time.time() - touched
    except OSError:
        return None


def read_owner(folder: Path) -> Owner | None:
    """Return who owns the session, or owned it when its server died; None when it sleeps."""
    try:
        plain: Any = json.loads((folder / OWNER_NAME).read_text(encoding="utf-8"))
        return Owner(**plain)
    except (OSError, ValueError, TypeError):
        return None


# -- asking for it ------------------------------------------------------------------


def request(folder: Path, server: Server) -> None:
    """Ask whoever owns the session to let go. Raises ``StoreUnwritable``."""
    plain = {"server_id": server.server_id, "where": server.url or f"process {os.getpid()}"}
    draft = folder / f"{RELEASE_NAME}.{server.server_id}"
    try:
        draft.write_text(json.dumps(plain), encoding="utf-8")
        draft.replace(folder / RELEASE_NAME)
    except OSError as error:
        raise unwritable("The session cannot be taken over", error) from None


def withdraw(folder: Path, server: Server) -> None:
    """Ask no more."""
    with contextlib.suppress(OSError, ValueError):
        if _request(folder).get("server_id") == server.server_id:
            (folder / RELEASE_NAME).unlink(missing_ok=True)


def _asker(folder: Path, server: Server) -> str | None:
    """Return which other server asks for the session, None when none does."""
    try:
        asked = _request(folder)
    except (OSError, ValueError):
        return None
    age = _age(folder, RELEASE_NAME)
    if age is None or age >= REQUEST_S or asked.get("server_id") == server.server_id:
        return None
    return str(asked.get("where"))


def _request(folder: Path) -> dict[str, Any]:
    plain: Any = json.loads((folder / RELEASE_NAME).read_text(encoding="utf-8"))
    return plain if isinstance(plain, dict) else {}  # pyright: ignore[reportUnknownVariableType] -- free-form JSON


# -- processes ----------------------------------------------------------------------


@cache
def boot_id() -> str:
    """Return what is the same until the machine starts anew; "" where nothing tells."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def started(pid: int) -> str | None:
    """Return when a process began, in the system's own count; None where that cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]  # the name before may hold spaces and parentheses


def _runs(pid: int) -> bool:
    if platform.system() == "Windows":
        return True  # Asking there ends the process; the heartbeat tells.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
