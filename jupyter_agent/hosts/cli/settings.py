"""``jupyter agent settings``: all that can be configured; Jupyter's own ``--help-all`` is silent on extensions."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

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
