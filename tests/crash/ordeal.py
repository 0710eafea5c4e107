"""One conversation, any number of deaths, and what must be true after each of them.

::

    start ─► the user talks ─► death ─► the book is read ─► start again ─► … ─► rest ─► a last message ─► the book

After each death: the database is whole, its log keeps the rules, and whatever
was shown or acknowledged is in it. At the end: every turn was taken up again to
its own end; every view, the server, the rows and the log tell the same story;
every acknowledged command has had its effect once; no cell was written twice;
the API was never sent a history it refuses.
"""

# What it reads is JSON that may be anything: types would be claims.
# pyright: basic

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.model_server import ModelServer, Reply, Request
from tests.roads import write_notebook

from . import talk
from .book import Book, check_log
from .places import BOUND_S, Place
from .user import Page, User, parts_of

Json = dict[str, Any]

INTERRUPTED_REASONS = {"interrupted", "stopped"}


@dataclass
class Fate:
    """When a life ends: at a commit, so long after so many frames, or once the user sees something; else never."""

    failpoint: str | None = None
    frames: int | None = None
    delay_s: float = 0.0
    sees: Callable[[Json], bool] | None = None
    """Asked of each part that the view holds."""

    def __str__(self) -> str:
        return self.failpoint or f"{self.frames} frames and {self.delay_s * 1000:.1f} ms"


@dataclass
class Death:
    """Where a life ended."""

    place: str
    """``before`` or ``after`` a commit, ``at random``."""
    points: list[str]
    """What that commit held."""
    wish: str
    """Whose turn it cut off, ``none`` when none was live."""


@dataclass
class Report:
    """What became of one conversation."""

    kind: str
    """What it was killed in (``Place.kind``)."""
    deaths: list[Death] = field(default_factory=list[Death])
    """Empty when the fate never came."""
    outcomes: dict[str, str] = field(default_factory=dict[str, str])
    """Status of the answer by the name of the wish."""


class Ordeal:
    """See the module."""

    def __init__(self, place: Place, claude: ModelServer, notebook: str) -> None:
        self._place = place
        self._claude = claude
        self._notebook = place.notebooks / notebook
        self.user = User()
        self.watcher = Page()
        self.report = Report(place.kind)
        self._session: str | None = None
        self._over = False

    async def go(self, *fates: Fate) -> Report:
        """Live through all of it. Raises ``AssertionError`` at the first lie."""
        for fate in [*fates, Fate()]:
            await self._place.start(fate.failpoint)
            try:
                await self._live(fate)
            except BaseException:
                self._place.kill()
                raise
            finally:
                status = await self._place.end()
            if self._over:
                break
            self._after_death(status)
        self._after_all()
        return self.report

    # -- one life ------------------------------------------------------------------------

    async def _live(self, fate: Fate) -> None:
        place = self._place
        if self._session is None:
            self._session = await place.create(notebook_path=self._notebook.name)
        if self._session is None:
            return
        killer = self._killer(fate)
        for page in (self.watcher, self.user):
            send = await place.view(self._session, page.hear)
            if send is None:
                break
            self._repeat_old_commands(page, send)
            page.come_back(send)
        try:
            if await self._until(self.user.rest) and await self._talk_on():
                killer.cancel()
                self._over = await self._compare()
        finally:
            killer.cancel()
            for page in (self.user, self.watcher):
                page.lose()

    def _killer(self, fate: Fate) -> asyncio.Task[None]:
        """Kill after so many frames and a moment. The moment is the point: it is chosen, not waited for."""

        async def kill() -> None:
            if (sees := fate.sees) is not None:
                while not any(map(sees, parts_of(self.user.view))):
                    await self.user.changed()
                self._place.kill()
            if fate.frames is not None:
                start = len(self.user.frames)
                while len(self.user.frames) - start < fate.frames:
                    await self.user.changed()
                await asyncio.sleep(fate.delay_s)
                self._place.kill()

        return asyncio.get_running_loop().create_task(kill())

    async def _until(self, done: asyncio.Event) -> bool:
        """Wait for it; False when the process died before."""
        over = (done.wait(), self._place.dead.wait(), self.user.failed())
        waits: list[asyncio.Task[Any]] = [asyncio.ensure_future(coroutine) for coroutine in over]
        try:
            ready, _ = await asyncio.wait(waits, timeout=BOUND_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        assert self.user.fault is None, self.user.fault
        assert self.watcher.fault is None, self.watcher.fault
        assert ready, f"it did not come to rest: {self._state()}"
        return done.is_set() and not self._place.dead.is_set()

    def _state(self) -> str:
        view = {key: value for key, value in self.user.view.items() if key != "messages"}
        last = [(event["type"], event["d"]) for event in self.user.events[-6:]]
        return json.dumps([view, self.user.outcomes(), list(self.user.outbox.values()), last], indent=1, default=str)

    def _repeat_old_commands(self, page: Page, send: Any) -> None:
        """What was acknowledged is said once more, as by a page that missed the ack: it may have no effect."""
        for cmd_id, ack in page.acks.items():
            if ack["status"] != "rejected":
                send(page.given[cmd_id])
                send({**page.given[cmd_id], "cmd_id": f"{cmd_id}-again"})

    async def _talk_on(self) -> bool:
        """Say one thing more, which must be answered; False when the process died of it."""
        self.user.rest.clear()
        key = self.user.wish("after", life=len(self.report.deaths))
        if not await self._until(self.user.rest):
            return False
        assert self.user.outcomes()[key] == "complete", self._state()
        return True

    async def _compare(self) -> bool:
        """Every view's fold is the server's snapshot. False when the process died meanwhile."""
        assert self._session is not None
        async with asyncio.timeout(BOUND_S):
            while True:
                newcomer = Page()
                send = await self._place.view(self._session, newcomer.hear)
                if send is None:
                    return False
                newcomer.come_back(send)
                if not await self._until(newcomer.up_to_date):
                    return False
                # Something may still be said after the last answer, e.g. a title.
                if self.user.seq == self.watcher.seq == newcomer.seq:
                    break
        snapshot = next(event for event in newcomer.events if event["type"] == "snapshot")
        for page in (self.user, self.watcher):
            assert page.fault is None, page.fault
            page.same_story_as(snapshot)
        return True

    # -- after a life ----------------------------------------------------------------------

    def _after_death(self, status: int) -> None:
        self.report.deaths.append(self._death(status))
        assert status in (137, -9), f"it died of something else ({status}):\n{self._place.said()}"
        assert self._claude.refusals == []
        if self._session is None:
            return
        book = Book(self._place.sessions / self._session)
        check_log(book.log(), at_rest=False)
        book.retold().same_story_as({"d": book.story()})
        for page in (self.user, self.watcher):
            self._check_nothing_shown_is_lost(page, book)
            self._check_acks(page, book)
        self._check_effects(book)

    def _death(self, status: int) -> Death:
        said = re.findall(r"Died (before|after) a commit of commit ?(.*)", self._place.said())
        place, points = map(str, said[-1]) if status == 137 else ("at random", "")
        turn = self.user.view.get("turn") or {"message_id": ""}
        parent = {m["id"]: m["parent_id"] for m in self.user.view.get("messages", [])}.get(turn["message_id"])
        wish = next((name for name, message_id in self.user.ids.items() if message_id == parent), "none")
        return Death(place, points.split(), wish)

    def _after_all(self) -> None:
        assert self._session is not None
        book = Book(self._place.sessions / self._session)
        check_log(book.log(), at_rest=True)
        story = book.story()
        book.retold().same_story_as({"d": story})
        for page in (self.user, self.watcher):
            page.same_story_as({"d": story})
            self._check_nothing_shown_is_lost(page, book)
            self._check_acks(page, book)
        self._check_effects(book)
        self._check_wishes(story)
        assert self._claude.refusals == []
        assert "Traceback" not in self._place.said(), self._place.said()
        self.report.outcomes = self.user.outcomes()
        for name, status in self.report.outcomes.items():
            wanted = "stopped" if name == "stopped" else "complete"
            assert status == wanted, f"{name} was not taken up again to its end: {self.report}"

    def _check_nothing_shown_is_lost(self, page: Page, book: Book) -> None:
        assert (page.seq or 0) <= book.last_seq, "shown before it was stored"
        there = {part["id"]: part for part in parts_of(book.story())}
        for part_id, text in page.shown.items():
            assert str(there[part_id].get("text") or "").startswith(text), f"was shown: {text!r}; is: {there[part_id]}"

    def _check_acks(self, page: Page, book: Book) -> None:
        for cmd_id, ack in page.acks.items():
            kept = book.commands.get(cmd_id)
            if ack["status"] == "duplicate" and kept is None:
                continue  # Known by its message.
            assert kept is not None, f"acknowledged, then forgotten: {ack}"
            assert kept["ack"]["status"] == (ack.get("original") or ack["status"]), (kept, ack)

    def _check_effects(self, book: Book) -> None:
        """A cell for each call that succeeded, none for one that did not run, never two."""
        written = Counter(talk.MARK.findall("\n".join("".join(cell["source"]) for cell in self._cells())))
        assert all(count == 1 for count in written.values()), f"written twice: {written}"
        names = Counter(name for name, _ in written)
        assert all(count == 1 for count in names.values()), f"done twice: {names}"
        ids = {call for _, call in written}
        parts = {part["tool_call_id"]: part for part in parts_of(book.story()) if part["type"] == "tool"}
        for call, part in parts.items():
            if part["name"] != "insert_cell":
                continue
            if part["state"] == "output-available":
                assert call in ids, f"said to be done, but is not: {part}"
            elif part["state"] == "output-denied" or part["reason"] in ("never_ran", "denied"):
                assert call not in ids, f"said not to be done, but is: {part}"
        assert ids <= set(parts), "a cell that no call wrote"
        executed = {row["id"] for row in book.calls if row["attempt"] > 0}
        assert ids <= executed, "done before the intent was stored"
        again = [row["id"] for row in book.calls if row["attempt"] > 1 and row["effect"] in ("write", "execute")]
        assert not again, f"run twice: {again}"

    def _cells(self) -> list[Json]:
        """What the next reader of the notebook finds: Jupyter puts a copy beside a file while it writes it."""
        copy = self._notebook.with_name(".~" + self._notebook.name)
        try:
            return json.loads(self._notebook.read_text(encoding="utf-8"))["cells"]
        except ValueError:
            assert copy.exists(), "the notebook is broken, and there is no copy"
            return json.loads(copy.read_text(encoding="utf-8"))["cells"]

    def _check_wishes(self, story: Json) -> None:
        """Each acknowledged command has had its effect, once."""
        users = Counter(message["id"] for message in story["messages"] if message["role"] == "user")
        answers = Counter(message["parent_id"] for message in story["messages"] if message["role"] == "assistant")
        for command in self.user.accepted("message.send"):
            message_id = command["d"]["id"]
            assert users[message_id] == 1, f"{command} is there {users[message_id]} times"
            assert answers[message_id] == 1, f"{command} has {answers[message_id]} answers"
        ended = {
            message["turn_id"]: message["status"] for message in story["messages"] if message["role"] == "assistant"
        }
        for command in self.user.accepted("turn.stop"):
            assert ended[command["d"]["turn"]] == "stopped", f"{command}: {ended[command['d']['turn']]}"
        self._check_decisions()

    def _check_decisions(self) -> None:
        assert self._session is not None
        book = Book(self._place.sessions / self._session)
        decided = {row["id"]: row["decision"] for row in book.approvals}
        calls = {row["tool_call_id"]: row["id"] for row in book.approvals}
        parts = {part["tool_call_id"]: part for part in parts_of(book.story()) if part["type"] == "tool"}
        wanted = {command["d"]["id"]: command["d"]["decision"] for command in self.user.accepted("approval.answer")}
        for approval, decision in wanted.items():
            assert decided[approval] == decision, f"{approval} was answered {decision}, is {decided[approval]}"
        for call, approval in calls.items():
            if wanted.get(approval) == "deny":
                assert parts[call]["state"] == "output-denied", parts[call]
            elif approval not in wanted:
                assert parts[call]["state"] != "output-available" or decided[approval] == "allow", parts[call]


@asynccontextmanager
async def talking(says: Callable[[Request], Reply] = talk.answer) -> AsyncGenerator[ModelServer]:
    """Claude's side of the conversation; it outlives every death."""
    with ModelServer() as claude:
        claude.default = says
        yield claude


def new_notebook(folder: Path) -> str:
    """Write the notebook of a conversation; return its name."""
    folder.mkdir(parents=True, exist_ok=True)
    write_notebook(folder, "a.ipynb")
    return "a.ipynb"


def random_fates(seed: int) -> list[Fate]:
    """One to three deaths at moments that the seed chooses."""
    chance = random.Random(seed)
    return [
        Fate(frames=chance.randint(1, 45), delay_s=chance.choice([0, 0, chance.uniform(0, 0.02)]))
        for _ in range(chance.randint(1, 3))
    ]
