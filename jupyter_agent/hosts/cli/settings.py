"""``jupyter agent settings``: all that can be configured; Jupyter's own ``--help-all`` is silent on extensions."""

from __future__ import annotations

import argparse
import json
import sys
from difflib import get_close_matches
from typing import Any

from traitlets import TraitError
from traitlets.config import Config

from ..server.app import AgentExtension


def list_settings(arguments: argparse.Namespace) -> int:
    """Print each setting with its default and what it means."""
    ours = AgentExtension.class_own_traits(config=True)
    names = [name for name in vars(AgentExtension) if name in ours]  # as they stand there: what belongs together
    if arguments.json:
        told: dict[str, Any] = {name: {"default": ours[name].default(), "help": ours[name].help} for name in names}
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
        return 0
    for name in names:
        sys.stdout.write(AgentExtension.class_get_trait_help(ours[name]) + "\n")
    return 0


def troubles_with(given: dict[str, Any]) -> list[str]:
    """Tell what the server would not take, and so not load us at all, and what it does not know, and so ignores."""
    known: list[str] = AgentExtension.class_trait_names(config=True)
    wrong: list[str] = []
    for name, value in given.items():
        if name not in known:
            meant = get_close_matches(name, known, 1)
            wrong.append(f"There is no {name}{f', only {meant[0]}' if meant else ''}.")
            continue
        try:
            AgentExtension(config=Config({"AgentExtension": {name: value}}))
        except TraitError as error:
            wrong.append(str(error))
    return wrong
