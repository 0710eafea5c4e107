"""What keeps a session over REST: taking it over from another server, its snapshots, going back to one."""

from __future__ import annotations

from ...protocol.plain import to_plain
from .base import AgentHandler, BadRequest, guarded, of_session


class TakeOverHandler(AgentHandler):
    """Own a session that another server has open; that one only shows it from then on."""

    @guarded
    @of_session
    async def post(self, session_id: str) -> None:
        host = await self.engine.host()
        self.reply({"session": to_plain(await host.take_over(session_id))})


class SnapshotsHandler(AgentHandler):
    """What a session can be put back to, newest first."""

    @guarded
    @of_session
    async def get(self, session_id: str) -> None:
        host = await self.engine.host()
        found = await host.snapshots(session_id)
        self.reply({"snapshots": [{"at": one.at, "bytes": one.bytes, "reason": one.reason} for one in found]})


class RestoreHandler(AgentHandler):
    """Put a session back to its newest snapshot from a time or before."""

    @guarded
    @of_session
    async def post(self, session_id: str) -> None:
        wish = self.json_object()
        at = wish.get("at")
        if wish.keys() - {"at"} or not isinstance(at, int) or isinstance(at, bool):
            raise BadRequest("The body is an object with the field at, a time in milliseconds.")
        host = await self.engine.host()
        self.reply({"session": to_plain(await host.restore(session_id, at))})
