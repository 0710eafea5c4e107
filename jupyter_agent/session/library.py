"""``Library``: the sessions there are, asleep or awake: made, found, changed, copied, deleted.

It knows folders and the list; whatever needs a session awake asks the host.
A deleted session is gone at once for everybody, and can be brought back whole
for ``settings.undo_delete_s``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import CommandRejected, SessionFailed, SessionNotFound, StoreUnwritable
from ..protocol import codec
from ..protocol.content import Json, Message, Mode, Road, Session, Task
from ..protocol.events import SessionDeleted
from ..protocol.ids import is_session_id, new_id, now_ms
from ..store import reading, taking_in, transcript, transfer
from ..store.blobs import BLOBS
from ..store.faults import unwritable
from ..store.index import Place, State
from ..store.making import half_made, making
from ..store.profile import Profile
from ..store.store import SessionStore
from ..store.trash import Trash
from . import forking, looking
from .catching_up import page_before
from .listing import Listing

if TYPE_CHECKING:
    from .actor import SessionActor
    from .host import SessionHost

T = TypeVar("T")

_OF_A_NOTEBOOK = 25
UNKNOWN = "There is no such session."


class Library:
    """All methods belong to the host's event loop."""

    def __init__(self, host: SessionHost, profile: Profile) -> None:
        self._host = host
        self._profile: Profile = profile
        self._settings = host.settings
        self.folder = host.settings.data_dir / "sessions"
        self.listing = Listing(self.folder, profile)
        self._trash = Trash(host.settings.data_dir, host.settings.undo_delete_s, profile)
        self._for_notebook = asyncio.Lock()

    def _clock(self) -> int:
        return self._host.alarms.clock.now_ms()

    def folder_of(self, session_id: str) -> Path:
        """Return where a session lives. Raises ``SessionNotFound``, before any path is built from a bad id."""
        if not is_session_id(session_id) or not self._is_there(self.folder / session_id):
            raise SessionNotFound(UNKNOWN)
        return self.folder / session_id

    def _is_there(self, folder: Path) -> bool:
        try:
            return S_ISDIR(folder.stat().st_mode)
        except PermissionError as error:
            raise unwritable("The session cannot be read", error) from None
        except OSError:
            return False

    def exists(self, session_id: str) -> bool:
        """Tell whether there is such a session that can be looked at; wakes nobody."""
        try:
            return bool(self.folder_of(session_id))
        except (SessionNotFound, StoreUnwritable):
            return False

    # -- making and finding --------------------------------------------------------------

    async def create(
        self,
        *,
        title: str = "",
        mode: Mode | None = None,
        model: str | None = None,
        notebook_path: str | None = None,
    ) -> Session:
        """Make a session. Raises ``StoreError``."""
        now = now_ms()
        session = Session(
            id=new_id("ses"),
            title=title,
            mode=mode or ("plan" if self._settings.mode == "plan" else "build"),
            model=model or self._settings.model,
            notebook_path=notebook_path,
            created_at=now,
            updated_at=now,
        )
        folder, root = self.folder / session.id, self._host.root

        def make() -> None:
            with making(folder, session, profile=self._profile, root=root):
                pass  # It is empty.

        await asyncio.to_thread(make)
        await self.listing.added(session, root=root)
        return session

    async def for_notebook(self, path: str) -> Session:
        """Return the notebook's newest active session, or a new one."""
        async with self._for_notebook:
            known, _ = await self.list_sessions(limit=_OF_A_NOTEBOOK, notebook=(path,))
            found = next((session.id for session in known if self.exists(session.id)), None)
            return await (self.create(notebook_path=path) if found is None else self.session(found))

    async def is_here(self, session_id: str) -> bool:
        """Tell whether the session's notebook is below this server's root directory, as far as one can know."""
        return await self.listing.ask(lambda index: index.root_of(session_id)) in (None, self._host.root)

    async def list_sessions(
        self,
        state: State = "active",
        q: str = "",
        limit: int = 25,
        before: str | None = None,
        *,
        notebook: tuple[str | None] | None = None,
    ) -> tuple[list[Session], bool]:
        """Return ``(sessions newest first, has_more)``; ``q`` is looked for in titles and messages.

        ``notebook``: only those of this server's notebook ``(path,)``, or of none. Raises ``CommandRejected`` for an
        unknown cursor.
        """
        place = None if notebook is None else Place(notebook[0], self._host.root)
        found = await self.listing.ask(
            lambda index: index.list(state=state, q=q, limit=limit, before=before, notebook=place)
        )
        if found is None:
            raise CommandRejected("There is no such session to go on from.", code="unknown_cursor")
        rows, more = found
        return [self._now(codec.decode_session(row)) for row in rows], more

    def _now(self, session: Session) -> Session:
        actor = self._host.awake(session.id)
        return actor.state.facts() if actor is not None else session

    async def session(self, session_id: str) -> Session:
        """Return a session's facts, also of one that can only be looked at. Raises ``SessionNotFound``."""
        try:
            return (await self._host.get(session_id)).state.facts()
        except looking.ONLY_LOOK as why:
            return await looking.Onlooker(self.folder / session_id, why).facts()

    async def messages(
        self, session_id: str, before: str | None = None, limit: int = 25
    ) -> tuple[list[Message], str | None]:
        """Return messages, oldest first, and the cursor of what comes before them.

        Raises ``CommandRejected`` for an unknown cursor.
        """
        try:
            page = await (await self._host.get(session_id)).page(before, limit)
        except looking.ONLY_LOOK as why:
            onlooker = looking.Onlooker(self.folder / session_id, why)
            page = await page_before(onlooker, self._settings, before, limit)
        if page is None:
            raise CommandRejected("There is no such message in this session.", code="unknown_cursor")
        return [codec.decode_message(row) for row in page.messages], page.before

    async def tasks(self, session_id: str) -> list[Task]:
        """Return a session's tasks, also of one that can only be looked at. Raises ``SessionNotFound``."""
        try:
            return list((await self._host.get(session_id)).state.tasks.values())
        except looking.ONLY_LOOK as why:
            onlooker = looking.Onlooker(self.folder / session_id, why)
            known = await onlooker.read(lambda store: reading.facts(store.db.conn))
            return [codec.decode_task(task) for task in known["tasks"]]

    async def part(self, session_id: str, message_id: str, part_id: str) -> dict[str, Json]:
        """Return one part of a message, whole. Raises ``SessionNotFound``."""

        def question(store: SessionStore) -> dict[str, Json] | None:
            return transcript.part_of(store.db.conn, store.blobs, message_id, part_id)

        found = await self._read(session_id, question)
        if found is None:
            raise SessionNotFound("There is no such part in this session.", code="unknown_part")
        return found

    async def _read(self, session_id: str, question: Callable[[SessionStore], T]) -> T:
        """Ask a session's database, also of one that can only be looked at. Raises ``SessionNotFound``."""
        try:
            return await (await self._host.get(session_id)).journal.read(question)
        except looking.ONLY_LOOK as why:
            return await looking.Onlooker(self.folder / session_id, why).read(question)

    def blobs(self, session_id: str) -> Path:
        """Return the folder of a session's attachments. Raises ``SessionNotFound``."""
        return self.folder_of(session_id) / BLOBS

    # -- changing ------------------------------------------------------------------------

    async def update(
        self,
        session_id: str,
        patch: dict[str, Json],
        if_rev: int | None = None,
        *,
        by: str = "system",
        road: Road = "rest",
    ) -> Session:
        """Change title, mode, model, notebook_path or archived_at. Raises ``CommandRejected`` when stale."""
        actor = await self._host.get(session_id)
        actor.change(patch, if_rev, by=by, road=road)
        await actor.journal.committed()
        facts = actor.state.facts()
        await self.listing.shown(facts, actor.state.root)
        return facts

    # -- copying -------------------------------------------------------------------------

    async def fork(self, actor: SessionActor, session_id: str, message_id: str | None) -> Session:
        """Make ``session_id`` out of an awake session, up to a message; made already, it is returned as it is."""
        if self.exists(session_id):
            return await self.session(session_id)
        folder = self.folder / session_id
        await actor.journal.committed()
        await actor.journal.read(lambda store: forking.copy(store, half_made(folder)))
        session = await asyncio.to_thread(forking.make_own, folder, session_id, message_id, self._profile)
        await self.listing.added(session, read=True)
        return session

    async def export(self, session_id: str) -> dict[str, Any]:
        """Return all of a session as one JSON document. Raises ``SessionNotFound``, ``StoreError``."""
        copied = await self._read(session_id, lambda store: transfer.copied(store.db.conn))
        generator = f"jupyter-agent-panel/{self._host.version}"
        return await asyncio.to_thread(transfer.document_of, copied, self.blobs(session_id), generator=generator)

    async def take_in(self, document: dict[str, Any], title: str | None = None) -> Session:
        """Make a new session of an exported one, or of a ``.chat`` file. Raises ``NotImportable``, ``StoreError``."""
        made = await asyncio.to_thread(
            taking_in.take_in, self.folder, document, title=title, name=title or "", profile=self._profile
        )
        await self.listing.added(made, read=True)
        return await self.session(made.id)

    # -- deleting ------------------------------------------------------------------------

    async def delete(self, session_id: str) -> None:
        """Delete a session, damaged or not; its views are told. Raises ``SessionNotFound``, ``StoreError``."""
        folder = self.folder_of(session_id)
        async with self._host.alone(session_id, SessionNotFound("The session was deleted.")) as room:
            await asyncio.to_thread(self._trash.put, folder, self._clock())
        await self.listing.removed(session_id)
        for connection in list(room.connections):
            connection.send(SessionDeleted())
        self._host.forget(session_id)

    async def undelete(self, session_id: str) -> Session:
        """Bring a deleted session back, as it was. Raises ``SessionNotFound`` when it is gone for good."""
        if is_session_id(session_id) and not self.exists(session_id):
            back = await asyncio.to_thread(self._trash.bring_back, self.folder / session_id, self._clock())
            if not back and not self.exists(session_id):
                raise SessionNotFound(UNKNOWN, hint="A deleted session can be brought back for a short time only.")
            # Before it wakes: on a network disk nobody reads beside its owner.
            await self.listing.read(session_id)
            with contextlib.suppress(*looking.ONLY_LOOK, SessionFailed):  # It is back, though the disk may be full.
                actor = await self._host.get(session_id)
                await self.listing.added(actor.state.facts())
                if actor.state.session.archived_at is not None and self._host.settings.purge_after_days > 0:
                    # Put away as of now: the next day's chore would delete it again.
                    await self.update(session_id, {"archived_at": self._clock()})
        return await self.session(session_id)

    async def purge_trash(self, now: int | None = None) -> int:
        """Delete for good what nobody can bring back any more; return how many sessions that were."""
        return await asyncio.to_thread(self._trash.purge, self._clock() if now is None else now)
