"""``Services``: what every session of a server shares."""

from __future__ import annotations

from dataclasses import dataclass

from ..agent.model import Model
from ..notebook.ports import Workspace
from ..settings import Settings
from ..store.owning import Server
from ..store.profile import Profile, profile_of
from ..store.rules import RuleBook
from ..tools.toolbox import Toolbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What every session of a server shares."""

    settings: Settings
    workspace: Workspace
    model: Model
    toolbox: Toolbox
    server: Server
    rules: RuleBook

    @property
    def profile(self) -> Profile:
        """How databases are opened where the sessions are."""
        return profile_of(self.settings.data_dir, self.settings.storage)
