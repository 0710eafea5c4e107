"""What keeps a session over REST: taking it over from another server, its snapshots, going back to one."""

from __future__ import annotations

from ...protocol.plain import to_plain
from .base import AgentHandler, guarded, of_session


class TakeOverHandler(AgentHandler):
    """Own a session that another server has open; that one only shows it from then on."""

    @guarded
    @of_session
    async def post(self, session_id: str) -> None:
        host = await self.engine.host()
        self.reply({"session": to_plain(await host.take_over(session_id))})
