"""What is around a session: ``GET sessions/{id}/details``.

::

    {"session": {…}, "notebook_path": str|null, "storage": "local"|"network",
     "kernel": {"name", "display_name", "state"} | null while none runs,
     "git": {"root", "branch": str|null, "commit": str|null} | null outside of any repository}

The last two are null, too, for a session whose notebook is below another server's root. Looked up when it is
asked for: kernels come and go and branches change without a word to us.
"""

from __future__ import annotations

from ...protocol.plain import to_plain
from .base import AgentHandler, guarded, of_session


class DetailsHandler(AgentHandler):
    """A session's facts, its notebook's kernel, and the repository it works in."""

    @guarded
    @of_session
    async def get(self, session_id: str) -> None:
        host = await self.engine.host()
        session = await host.session(session_id)
        here = await host.library.is_here(session_id)
        found = await self.engine.observer.look(session.notebook_path, here=here)
        self.reply({"session": to_plain(session), **to_plain(found), "storage": self.engine.storage})
