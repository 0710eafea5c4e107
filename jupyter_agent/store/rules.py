"""``RuleBook``: what a user has allowed for good, kept apart from all sessions.

Nothing else holds it, so it is written with care: each change is synced to the
disk, then copied to a second file; a damaged book is set aside and the copy
takes its place. It is opened for each question, which are rare:
what one server allows or takes back holds in the others at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import glob
import logging
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from sqlite_utils import Database

from ..errors import CommandRejected, StoreDamaged, StoreError, StoreUnwritable
from ..protocol.content import Effect
from ..protocol.ids import new_id, now_ms
from .faults import DISK_HINT, as_store_error
from .opening import connect
from .profile import Profile
from .schema import rules_migrations

T = TypeVar("T")
log = logging.getLogger(__name__)

NAME = "rules.db"
MAX_RULES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``user`` need not be asked about ``tool`` in notebooks whose path fits the glob ``notebook``.

    ``root``: the server's root directory that the path is below, empty where notebooks are not on a disk.
    """

    id: str
    user: str
    tool: str
    root: str
    notebook: str
    created_at: int

    def fits(self, path: str, effect: Effect) -> bool:
        """Tell whether it holds there."""
        return fits(self.notebook, path, effect)


def fits(pattern: str, path: str, effect: Effect) -> bool:
    """Tell whether a glob holds for a notebook; code runs only in one that was named itself."""
    if pattern == glob.escape(path):
        return True
    # To Windows a backslash is a slash: ``..`` behind it leads out of the folder that the glob names.
    return effect != "execute" and "\\" not in path and fnmatch.fnmatchcase(path, pattern)


class RuleBook:
    """See the module. Its methods leave the event loop for the disk, and raise ``StoreError``."""

    def __init__(self, folder: Path, profile: Profile = "local", *, root: str | None = None) -> None:
        """``root``: of the server that asks; its rules hold below it and nowhere else."""
        self._path = folder / NAME
        self._copy = folder / f"{NAME}.bak"
        self._profile: Profile = profile
        self._root = root or ""
        self._lock = asyncio.Lock()

    async def list(self) -> list[Rule]:
        """Return all rules, the oldest first."""
        return await self._asked(_all) if self._there() else []

    async def match(self, user: str, tool: str, path: str, effect: Effect) -> Rule | None:
        """Return a rule by which this user need not be asked; none can be read, none is there."""
        try:
            rules = await self.list()
        except StoreError as error:
            log.error("The rules cannot be read, so the user is asked: %s", error.message)
            return None
        mine = (user, tool, self._root)
        return next((r for r in rules if (r.user, r.tool, r.root) == mine and r.fits(path, effect)), None)

    async def add(self, user: str, tool: str, path: str, *, pattern: str | None = None) -> Rule:
        """Let the user not be asked about this tool any more, in this very notebook or all that fit; twice is once."""
        notebook = glob.escape(path) if pattern is None else pattern
        rule = Rule(id=new_id("rul"), user=user, tool=tool, root=self._root, notebook=notebook, created_at=now_ms())

        def known(db: Database) -> Rule | None:
            return next((r for r in _all(db) if replace(r, id=rule.id, created_at=rule.created_at) == rule), None)

        def add(db: Database) -> Rule:
            if (old := known(db)) is not None:
                return old
            if db.conn.execute("SELECT count(*) FROM rules").fetchone()[0] >= MAX_RULES:
                raise CommandRejected("There are too many rules.", code="too_many_rules", hint="Delete some.")
            db.conn.execute(
                "INSERT INTO rules (id, user, tool, root, notebook, created_at) VALUES (?,?,?,?,?,?)",
                (rule.id, rule.user, rule.tool, rule.root, rule.notebook, rule.created_at),
            )
            return rule

        return await self._changed(add)

    async def remove(self, rule_id: str) -> bool:
        """Ask again from now on, in all sessions; tell whether there was such a rule."""
        if not self._there():
            return False
        return await self._changed(lambda db: db.conn.execute("DELETE FROM rules WHERE id=?", (rule_id,)).rowcount > 0)

    # -- inside --------------------------------------------------------------------

    def _there(self) -> bool:
        try:
            return _is_there(self._path) or _is_there(self._copy)
        except OSError as error:
            raise StoreUnwritable(f"The rules cannot be read: {error.strerror}.", hint=DISK_HINT) from None

    async def _changed(self, change: Callable[[Database], T]) -> T:
        def changed(db: Database) -> T:
            db.conn.execute("PRAGMA synchronous=FULL")
            db.conn.execute("BEGIN IMMEDIATE")
            try:
                result = change(db)
                db.conn.execute("COMMIT")
            except BaseException:
                if db.conn.in_transaction:
                    db.conn.execute("ROLLBACK")
                raise
            try:
                self._back_up(db)
            except (OSError, sqlite3.Error) as error:
                # The change holds: to call it refused would be a lie. An old copy would undo it one day.
                log.error("The rules could not be copied to %s: %s", self._copy, error)
                with contextlib.suppress(OSError):
                    self._copy.unlink(missing_ok=True)
            return result

        return await self._asked(changed)

    def _back_up(self, db: Database) -> None:
        fresh = self._copy.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        db.conn.execute("VACUUM INTO ?", (str(fresh),))
        fresh.replace(self._copy)

    async def _asked(self, question: Callable[[Database], T]) -> T:
        async with self._lock:
            return await asyncio.to_thread(self._ask, question)

    def _ask(self, question: Callable[[Database], T]) -> T:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self._ask_once(question)
            except StoreDamaged:
                self._restore()
                return self._ask_once(question)
        except OSError as error:
            raise StoreUnwritable(f"The rules cannot be kept: {error.strerror}.", hint=DISK_HINT) from None

    def _ask_once(self, question: Callable[[Database], T]) -> T:
        # An empty file is what a full disk, or a copy that was cut off, leaves of one.
        if self._copy.exists() and not (self._path.exists() and self._path.stat().st_size):
            self._drop_logs()
            shutil.copy(self._copy, self._path)
        db = connect(self._path, profile=self._profile)
        try:
            rules_migrations.apply(db)
            return question(db)
        except sqlite3.Error as error:
            raise as_store_error(error) from error
        finally:
            db.conn.close()

    def _restore(self) -> None:
        log.error("%s is damaged; it is set aside, and its copy takes its place", self._path)
        self._path.replace(self._path.with_name(f"{NAME}.damaged-{now_ms()}"))
        self._drop_logs()

    def _drop_logs(self) -> None:
        for end in ("-wal", "-shm"):
            self._path.with_name(NAME + end).unlink(missing_ok=True)


def _is_there(path: Path) -> bool:
    """Tell whether there is such a file. Raises ``OSError``, unlike ``exists`` from Python 3.14 on."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _all(db: Database) -> list[Rule]:
    rows = db.conn.execute("SELECT id, user, tool, root, notebook, created_at FROM rules ORDER BY created_at, id")
    return [Rule(id=row[0], user=row[1], tool=row[2], root=row[3], notebook=row[4], created_at=row[5]) for row in rows]
