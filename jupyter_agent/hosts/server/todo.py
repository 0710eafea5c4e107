"""A session's tasks over REST, where each change is the protocol's command, and its ack the answer; and its alarms."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ...errors import CommandRejected
from ...protocol.ids import new_id
from ...protocol.plain import to_plain
from .base import AgentHandler, BadRequest, guarded, of_session

if TYPE_CHECKING:
    from ...store.writes import Job

_CREATE = frozenset({"title", "description", "mode"})
_CHANGE = frozenset({"title", "description", "mode", "status", "if_rev"})
_RUN = frozenset({"if_rev"})


class _TaskHandler(AgentHandler):
    """What the handlers share."""

    def wish(self, known: frozenset[str]) -> dict[str, Any]:
        """Return the body. Raises ``BadRequest`` for a field that means nothing here."""
        body = self.json_object()
        for name in body.keys() - known:
            raise BadRequest(f"{name[:40]!r} is not a field that can be set here.")
        return body

    async def give(self, session_id: str, tag: str, body: dict[str, Any]) -> dict[str, Any]:
        """Give the session a command; return the ack's result. Raises ``AgentError``."""
        host = await self.engine.host()
        command = {"v": 1, "cmd_id": new_id("cmd"), "type": tag, "d": body}
        ack = await host.command(session_id, command, user=self.user_name, road="rest")
        if ack["status"] == "rejected":
            error = ack["error"]
            raise CommandRejected(error["message"], code=error["code"], hint=error.get("hint"))
        return ack["result"]

    async def one(self, session_id: str, task_id: str) -> dict[str, Any]:
        """Return the task as it is now. Raises ``CommandRejected``."""
        host = await self.engine.host()
        task = next((task for task in await host.library.tasks(session_id) if task.id == task_id), None)
        if task is None:
            raise CommandRejected("There is no such task in this session.", code="no_such_task")
        return to_plain(task)

    async def aimed(self, session_id: str, task_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the command's body: aimed at the task as the caller saw it, or as it is now."""
        seen = body.pop("if_rev", None)
        task = await self.one(session_id, task_id)
        return {**body, "id": task_id, "rev": task["rev"] if seen is None else seen}


class TasksHandler(_TaskHandler):
    """All of them, and where new ones are written down."""

    @guarded
    @of_session
    async def get(self, session_id: str) -> None:
        host = await self.engine.host()
        self.reply({"tasks": [to_plain(task) for task in await host.library.tasks(session_id)]})

    @guarded
    @of_session
    async def post(self, session_id: str) -> None:
        task = await self.give(session_id, "task.create", self.wish(_CREATE))
        self.reply({"task": task}, HTTPStatus.CREATED)


class TaskHandler(_TaskHandler):
    """One of them."""

    @guarded
    @of_session
    async def get(self, session_id: str, task_id: str) -> None:
        self.reply({"task": await self.one(session_id, task_id)})

    @guarded
    @of_session
    async def patch(self, session_id: str, task_id: str) -> None:
        body = await self.aimed(session_id, task_id, self.wish(_CHANGE))
        self.reply({"task": await self.give(session_id, "task.update", body)})


class TaskRunHandler(_TaskHandler):
    """Do it now, or after the turn that runs."""

    @guarded
    @of_session
    async def post(self, session_id: str, task_id: str) -> None:
        result = await self.give(session_id, "task.run", await self.aimed(session_id, task_id, self.wish(_RUN)))
        task = await self.one(session_id, task_id)
        self.reply({"task": task, **{name: result[name] for name in ("turn", "queue_id", "paused")}})


class JobsHandler(AgentHandler):
    """What the session will do by itself and when, for who wonders; nothing here can be changed."""

    @guarded
    @of_session
    async def get(self, session_id: str) -> None:
        host = await self.engine.host()
        jobs = sorted((await host.get(session_id)).state.jobs.values(), key=lambda job: job.due_at)
        self.reply({"jobs": [_shown(job) for job in jobs]})


def _shown(job: Job) -> dict[str, Any]:
    from ...store.writes import NEVER

    facts = {"id": job.id, "kind": job.kind, "attempts": job.attempts, "last_error": job.last_error}
    # One that failed too often rests: it has no time.
    return facts | {"due_at": job.due_at if job.due_at < NEVER else None}
