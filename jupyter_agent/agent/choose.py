"""Claude or the demo: decided once, without importing either's machinery."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..settings import Settings
from .model import Model

_ANY_OF = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_PROFILE",
    "ANTHROPIC_FEDERATION_RULE_ID",
)
"""Each of these tells the SDK where to go or as whom. The SDK reads them itself; here only their presence counts."""


def choose_model(settings: Settings) -> Model:
    """Return the demo when it is asked for, or when nothing to reach Claude is configured."""
    wanted = settings.demo
    if wanted is True or (wanted is None and not can_reach_claude(settings)):
        from .demo import demo_model

        return demo_model(settings)
    from .claude import ClaudeModel

    return ClaudeModel(settings)


def can_reach_claude(settings: Settings) -> bool:
    """Tell whether a key, a profile or an endpoint is configured."""
    if settings.api_key or settings.base_url or sends_a_key(settings.default_headers):
        return True
    return any(os.environ.get(name) for name in _ANY_OF) or _has_profile()


def sends_a_key(headers: dict[str, str]) -> bool:
    """Tell whether the configured headers carry a key of their own, as gateways want it."""
    return any(name.lower() in ("authorization", "x-api-key") for name in headers)


def _has_profile() -> bool:
    """The SDK also takes the profile that lies where its own log-in puts it."""
    folder = _config_folder()
    return folder is not None and (
        (folder / "active_config").exists() or (folder / "configs" / "default.json").exists()
    )


def _config_folder() -> Path | None:
    named = os.environ.get("ANTHROPIC_CONFIG_DIR")
    if named:
        return Path(named)
    try:
        if sys.platform == "win32":
            roaming = os.environ.get("APPDATA")
            return (Path(roaming) if roaming else Path.home() / "AppData" / "Roaming") / "Anthropic"
        return Path.home() / ".config" / "anthropic"
    except RuntimeError:  # no home directory
        return None
