"""What the server would be configured with, read from Jupyter's own files without starting one."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jupyter_core.application import JupyterApp
from jupyter_core.paths import jupyter_data_dir

from ...errors import AgentError
from ...settings import Settings

_FILES = ("jupyter_server_config", "jupyter_lab_config", "jupyter_jupyter_agent_config")
_NOT_SETTINGS = ("data_dir", "api_key")


class _Reader(JupyterApp):
    """Reads configuration files; what a server got on its command line, nobody else knows."""

    name = "jupyter-agent"  # pyright: ignore[reportAssignmentType] -- as every JupyterApp does


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """``settings`` lack the key, which is not read; ``enabled`` is what the configuration says of our extension."""

    given: dict[str, Any]
    """What the files say of us, as they say it."""
    settings: Settings
    key_file: str | None
    enabled: bool | None


def read_configuration(data_dir: str | None = None) -> Configured:
    """Return what a server started now would be told. Raises ``AgentError`` when a file cannot be read."""
    config = _config()
    ours: dict[str, Any] = dict(config.get("AgentExtension", {}))
    names = [field.name for field in fields(Settings) if field.name not in _NOT_SETTINGS]
    values: dict[str, Any] = {name: ours[name] for name in names if name in ours}
    place = data_dir or ours.get("data_dir") or str(Path(jupyter_data_dir()) / "jupyter_agent")
    if not isinstance(place, str):
        raise AgentError(f"c.AgentExtension.data_dir is {place!r}, not a text.", code="bad_config")
    key_file = ours.get("api_key_file")
    extensions: dict[str, Any] = dict(config.get("ServerApp", {}).get("jpserver_extensions", {}))
    return Configured(
        given=ours,
        settings=Settings(data_dir=Path(place).expanduser(), **values),
        key_file=None if key_file is None else str(key_file),
        enabled=extensions.get("jupyter_agent"),
    )


def _config() -> Any:
    # A broken file is told once, by us.
    reader = _Reader(log_level=logging.CRITICAL, raise_config_file_errors=True)
    try:
        for name in _FILES:
            reader.config_file_name = name
            reader.load_config_file()
    except Exception as error:  # a user's own Python may raise anything
        raise AgentError(
            f"Jupyter's configuration cannot be read: {error}.", code="bad_config", hint="Mend the file, or remove it."
        ) from error
    return reader.config
