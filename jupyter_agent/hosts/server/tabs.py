"""The door through which an open JupyterLab page edits and runs its notebooks.

Each page holds one such socket. What is said over it is ``notebook.tabs``'
business; this module authenticates the page and moves JSON.
"""

# Tornado types its sockets loosely:
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .base import to_json
from .socket import AgentSocket

if TYPE_CHECKING:
    from ...notebook.tabs import TabConnection


class TabSocket(AgentSocket):
    """One JupyterLab page."""

    opening_action = "write"
    tab: TabConnection | None = None

    def open(self, *args: str, **kwargs: str) -> None:
        """Introduce the page."""
        super().open(*args, **kwargs)
        self.tab = self.engine.tabs.attach(self._send, self.user_name)

    def on_message(self, message: str | bytes) -> None:
        """Hand an object over; anything else is the page's mistake and is dropped."""
        try:
            data: Any = json.loads(message)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            self.log.warning("A page sent something other than a JSON object; dropped.")
            return
        if self.tab is not None:
            self.tab.receive(data)

    def on_close(self) -> None:
        """Forget the page: its edits in flight fail at once."""
        if self.tab is not None:
            self.tab.close()
            self.tab = None
        super().on_close()

    def _send(self, message: dict[str, Any]) -> None:
        self.send_text(to_json(message))
