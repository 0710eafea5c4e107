"""``Listing``: the list of sessions, kept for those who ask and told to those who watch.

::

    a commit came back ─► changed(facts, events) ── what a list shows is new ──► index and watchers, at once
                                                 └─ only its time or usage ────► at most once in QUIET_S
    words said, changed or taken away ───────────────────────────────────────► index, once a message

Deltas never come by here. The index is a copy: what it misses when the
process dies is read again at the next start from the sessions themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ..errors import AgentError, StoreError
from ..protocol.content import Message, Session, Usage
from ..protocol.events import MessageAdded, MessageRemoved, MessageUpdated
from ..protocol.frames import VERSION, Frame, Recorded
from ..protocol.plain import to_plain
from ..store.index import SessionIndex
from ..store.kept_index import KeptIndex
from ..store.profile import Profile

log = logging.getLogger(__name__)
T = TypeVar("T")

QUIET_S = 1.0
Watcher = Callable[[Frame], None]


@dataclass(slots=True)
class _Shown:
    """What the list shows of an awake session, since when, and what waits to replace it."""

    facts: Session
    due_at: int | None
    at: float
    waiting: Session | None = None
    timer: asyncio.TimerHandle | None = None


class Listing:
    """See the module. Made on the event loop; the index has a thread of its own."""

    def __init__(self, sessions_dir: Path, profile: Profile = "local") -> None:
        self._index = KeptIndex(sessions_dir, profile)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jupyter-agent-index")
        self._shown: dict[str, _Shown] = {}
        self._watchers: set[Watcher] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- asking --------------------------------------------------------------------------

    async def ask(self, question: Callable[[SessionIndex], T]) -> T:
        """Ask the index, which is opened or made anew when it must be. Raises ``StoreError``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._index.ask, question)

    async def _keep(self, question: Callable[[SessionIndex], object]) -> None:
        """Write down what has happened already: a list that cannot be written takes nothing of it back."""
        try:
            await self.ask(question)
        except StoreError as error:
            log.warning("The list of sessions is behind: %s", error.message)

    async def close(self) -> None:
        """Write what waits, then close the index."""
        for shown in list(self._shown.values()):
            if shown.waiting is not None:
                self._show(shown.waiting, shown.due_at)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._index.close)
        self._thread.shutdown(wait=False)

    # -- what happens to sessions --------------------------------------------------------

    def changed(self, facts: Session, due_at: int | None, events: list[Recorded]) -> None:
        """An awake session committed something; ``due_at`` is when its earliest job is due."""
        words = [word for recorded in events if (word := _word(recorded)) is not None]
        if words:
            self._later(lambda index: index.put_words(facts.id, words))
        shown, now = self._shown.get(facts.id), asyncio.get_running_loop().time()
        if shown is None or (shown.due_at, _loud(shown.facts)) != (due_at, _loud(facts)) or now - shown.at >= QUIET_S:
            self._show(facts, due_at)
            return
        shown.waiting = facts
        if shown.timer is None:
            due = shown.at + QUIET_S
            shown.timer = asyncio.get_running_loop().call_at(due, self._show_what_waits, facts.id)

    def _show_what_waits(self, session_id: str) -> None:
        shown = self._shown.get(session_id)
        if shown is not None and shown.waiting is not None:
            self._show(shown.waiting, shown.due_at)

    def _show(self, facts: Session, due_at: int | None) -> None:
        before = self._shown.get(facts.id)
        if before is not None and before.timer is not None:
            before.timer.cancel()
        self._shown[facts.id] = _Shown(facts=facts, due_at=due_at, at=asyncio.get_running_loop().time())
        plain = to_plain(facts)

        def put(index: SessionIndex) -> None:
            index.put(plain, awake=True)
            index.set_alarm(facts.id, due_at)

        self._later(put)
        self._tell("session.changed", {"session": plain})

    def asleep(self, facts: Session) -> None:
        """A session went to sleep: its file is at rest, and the list agrees with it."""
        shown = self._shown.pop(facts.id, None)
        if shown is not None and shown.timer is not None:
            shown.timer.cancel()
        plain = to_plain(facts)
        self._later(lambda index: index.put(plain))
        if shown is not None and shown.waiting is not None:
            self._tell("session.changed", {"session": plain})

    async def added(self, facts: Session, *, read: bool = False, root: str | None = None) -> None:
        """A session came: a new one below ``root``, or one whose messages are to be ``read`` too."""
        plain = to_plain(facts)

        def put(index: SessionIndex) -> None:
            index.put(plain)
            index.set_root(facts.id, root)

        await self._keep(lambda index: index.read(facts.id) if read else put(index))
        self._tell("session.changed", {"session": plain})

    async def shown(self, facts: Session, root: str | None) -> None:
        """Wait until the list shows an awake session as it is now."""
        plain = to_plain(facts)

        def put(index: SessionIndex) -> None:
            index.put(plain, awake=True)
            index.set_root(facts.id, root)

        await self._keep(put)

    async def read(self, session_id: str) -> None:
        """A session's file is another one now."""
        await self._keep(lambda index: index.read(session_id))

    async def damaged(self, session_id: str) -> None:
        """A session could not be read."""
        await self._keep(lambda index: index.put_damaged(session_id))

    async def removed(self, session_id: str) -> None:
        """A session went."""
        shown = self._shown.pop(session_id, None)
        if shown is not None and shown.timer is not None:
            shown.timer.cancel()
        await self._keep(lambda index: index.remove(session_id))
        self._tell("session.removed", {"id": session_id})

    def _later(self, question: Callable[[SessionIndex], Any]) -> None:
        task = asyncio.get_running_loop().create_task(self.ask(question))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, AgentError):
            log.error("The list of sessions could not be kept", exc_info=error)

    # -- watching ------------------------------------------------------------------------

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Tell ``watcher`` of every change from now on; return what ends that."""
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    def _tell(self, kind: str, d: dict[str, Any]) -> None:
        if not self._watchers:
            return
        frame = Frame({"v": VERSION, "type": kind, "d": d})
        for watcher in list(self._watchers):
            watcher(frame)


def _loud(facts: Session) -> Session:
    """What a list should show at once when it differs."""
    return replace(facts, updated_at=0, usage=Usage())


def _word(recorded: Recorded) -> tuple[str, str | None] | None:
    """Return ``(message id, its text or None when it is gone)`` if the event changes what can be found."""
    match recorded.event:
        case MessageAdded(message=message) | MessageUpdated(message=message):
            text = _text(message)
            return (message.id, text) if text else None
        case MessageRemoved(message_id=message_id):
            return message_id, None
        case _:
            return None


def _text(message: Message) -> str:
    return "\n\n".join(part.text for part in message.parts if part.type == "text" and not part.superseded)
