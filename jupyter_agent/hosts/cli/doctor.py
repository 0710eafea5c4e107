"""``jupyter agent doctor``: a line for each thing that has to be right, and a hint where it is not.

It looks and touches nothing: no request to a model, no kernel, no key on the screen. Where an endpoint of one's own
is configured it knocks there, and leaves without a word.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ... import __version__, conflicting_distribution
from ...agent.choose import can_reach_claude, sends_a_key
from ...errors import AgentError, StoreError
from ...protocol.ids import is_session_id
from ...settings import Settings
from .config import Configured, read_configuration

_LABEXTENSION = "jupyter-agent-panel"
_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
_LEAST_FREE = 100 << 20
_KNOCK_S = 3.0
_PORTS = {"http": 80, "https": 443}
_STATIC = Path(__file__).parents[2] / "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line: what was looked at, whether it is right, what was found, what to do."""

    name: str
    ok: bool
    found: str
    hint: str | None = None


def doctor(arguments: argparse.Namespace) -> int:
    """Print every check; return 1 when one of them is not right."""
    checks = list(examine(arguments.data_dir))
    healthy = all(check.ok for check in checks)
    if arguments.json:
        sys.stdout.write(json.dumps({"ok": healthy, "checks": [asdict(check) for check in checks]}, indent=1) + "\n")
    else:
        for check in checks:
            sys.stdout.write(f"{'OK' if check.ok else '!!'}  {check.name}: {check.found}\n")
            if check.hint:
                sys.stdout.write(f"    {check.hint}\n")
    return 0 if healthy else 1


def examine(data_dir: str | None) -> Iterator[Check]:
    """Yield the checks, cheapest first."""
    yield Check(
        name="version",
        ok=True,
        found=f"jupyter-agent-panel {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}",
    )
    yield _namesake()
    yield _versions()
    yield _sqlite()
    yield from _careful("front end", _front_end)
    yield from _careful("kernel", _kernel)
    try:
        configured = read_configuration(data_dir)
    except AgentError as error:
        yield Check(name="configuration", ok=False, found=error.message, hint=error.hint)
        return
    settings = configured.settings
    yield from _careful("settings", lambda: _settings(configured.given))
    yield from _careful("server extension", lambda: _server_extension(configured))
    yield from _careful("data directory", lambda: _data_dir(settings))
    yield from _careful("sessions", lambda: _sessions(settings))
    yield from _careful("model", lambda: _model(settings, configured.key_file))


def _careful(name: str, look: Callable[[], Check]) -> Iterator[Check]:
    """Let one check that cannot be made not keep the others from being seen."""
    try:
        yield look()
    except Exception as error:  # whatever is broken here is what the user wants to hear of
        yield Check(name=name, ok=False, found=f"could not be looked at: {type(error).__name__}: {error}")


def _version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _namesake() -> Check:
    sentence = conflicting_distribution()
    return Check(
        name="namesake",
        ok=sentence is None,
        found=sentence or "no other distribution installs a package of this name",
        hint=None if sentence is None else "pip uninstall jupyter-agent jupyter-agent-panel",
    )


def _versions() -> Check:
    names = ("anthropic", "jupyter-server", "jupyterlab", "notebook", "anywidget", "ipywidgets")
    found = [f"{name} {version}" for name in names if (version := _version_of(name)) is not None]
    missing = [name for name in ("anthropic", "jupyter-server", "anywidget") if _version_of(name) is None]
    return Check(
        name="packages",
        ok=not missing,
        found=", ".join(found),
        hint=f"Missing: {', '.join(missing)}. Install jupyter-agent-panel again." if missing else None,
    )


def _sqlite() -> Check:
    conn = sqlite3.connect(":memory:")
    try:
        options = {row[0] for row in conn.execute("PRAGMA compile_options")}
    finally:
        conn.close()
    with_search = "ENABLE_FTS5" in options
    return Check(
        name="SQLite",
        ok=True,
        found=f"{sqlite3.sqlite_version}, {'with' if with_search else 'without'} FTS5",
        hint=None if with_search else "Sessions are found by their titles only.",
    )


def _server_extension(configured: Configured) -> Check:
    from jupyter_core.paths import jupyter_config_path
    from jupyter_server.extension.config import ExtensionConfigManager

    manager: Any = ExtensionConfigManager(read_config_path=jupyter_config_path())
    enabled = configured.enabled
    if enabled is None:
        enabled = manager.get_jpserver_extensions().get("jupyter_agent")
    return Check(
        name="server extension",
        ok=enabled is True,
        found={True: "enabled", False: "disabled", None: "not installed where Jupyter looks"}[enabled],
        hint=None if enabled else "jupyter server extension enable jupyter_agent",
    )


def _front_end() -> Check:
    from jupyter_core.paths import jupyter_path

    found = next((path for path in map(_package_json, jupyter_path("labextensions")) if path.is_file()), None)
    built = (_STATIC / "widget.js").is_file()
    if found is None or not built:
        what = "JupyterLab extension" if found is None else "widget"
        return Check(name="front end", ok=False, found=f"the {what} is missing", hint=_AGAIN)
    version = str(json.loads(found.read_text(encoding="utf-8"))["version"])
    same = version == __version__
    hint = None if same else f"It is of another version than the Python package. {_AGAIN}"
    return Check(name="front end", ok=same, found=f"{version} in {found.parent}", hint=hint)


_AGAIN = "Install jupyter-agent-panel again, in the environment of the server."


def _package_json(folder: str) -> Path:
    return Path(folder) / _LABEXTENSION / "package.json"


def _kernel() -> Check:
    version = _version_of("ipykernel")
    if version is None:
        hint = "Kernels of other environments work too; install jupyter-agent-panel there for the widget."
        return Check(name="kernel", ok=True, found="no ipykernel in this environment", hint=hint)
    subshells = int(version.split(".")[0]) >= 7
    return Check(
        name="kernel",
        ok=True,
        found=f"ipykernel {version}, {'with' if subshells else 'without'} subshells",
        hint=None if subshells else "An inline panel is heard between cells only; ipykernel 7 hears it always.",
    )


def _settings(given: dict[str, Any]) -> Check:
    from .settings import troubles_with

    wrong = troubles_with(given)
    return Check(
        name="settings",
        ok=not wrong,
        found=f"c.AgentExtension has {', '.join(given)}" if given else "none, so all have their defaults",
        hint="\n    ".join([*wrong, "`jupyter agent settings` lists what there is."]) if wrong else None,
    )


def _data_dir(settings: Settings) -> Check:
    from ...store.profile import profile_of

    place = settings.data_dir
    existing = next(path for path in (place, *place.parents) if path.exists())
    usage = shutil.disk_usage(existing)
    profile = profile_of(existing, settings.storage)
    facts = f"{place}, on a {profile} disk, {usage.free / (1 << 30):.1f} GiB free"
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Check(name="data directory", ok=False, found=f"{facts}, not writable", hint=f"Check {existing}.")
    if usage.free < _LEAST_FREE:
        return Check(name="data directory", ok=False, found=facts, hint="Make room: sessions cannot be stored soon.")
    return Check(name="data directory", ok=True, found=facts)


def _sessions(settings: Settings) -> Check:
    from ...store import transfer

    folder = settings.data_dir / "sessions"
    ids = [entry.name for entry in folder.iterdir() if is_session_id(entry.name)] if folder.is_dir() else []
    damaged: list[str] = []
    for session_id in ids:
        try:
            transfer.read_facts(folder / session_id)
        except StoreError as error:
            damaged.append(f"{session_id}: {error.message}")
    return Check(
        name="sessions",
        ok=not damaged,
        found=f"{len(ids)}, {len(damaged) or 'none'} unreadable",
        hint="\n    ".join(damaged) or None,
    )


def _model(settings: Settings, key_file: str | None) -> Check:
    if key_file is not None and (trouble := _trouble_with(key_file)) is not None:
        return Check(name="model", ok=False, found=trouble, hint="Check c.AgentExtension.api_key_file.")
    reachable = key_file is not None or can_reach_claude(settings)
    if settings.demo is True or (settings.demo is None and not reachable):
        hint = None if settings.demo else "Set ANTHROPIC_API_KEY for Claude."
        return Check(name="model", ok=True, found="the demo model: it needs no key and is not Claude", hint=hint)
    endpoint = settings.base_url or os.environ.get("ANTHROPIC_BASE_URL")
    found = f"{settings.model} by {_road(settings, key_file)}{f', at {_without_secrets(endpoint)}' if endpoint else ''}"
    if endpoint and (trouble := _trouble_reaching(endpoint)) is not None:
        hint = "Start it, or check c.AgentExtension.base_url and ANTHROPIC_BASE_URL."
        return Check(name="model", ok=False, found=f"{found}, which {trouble}", hint=hint)
    return Check(
        name="model",
        ok=reachable,
        found=found,
        hint=None if reachable else "Set ANTHROPIC_API_KEY, or leave c.AgentExtension.demo unset for the demo model.",
    )


def _trouble_with(key_file: str) -> str | None:
    try:
        text = Path(key_file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return f"the API key file cannot be read: {getattr(error, 'strerror', None) or 'not a text file'}"
    return None if text.strip() else "the API key file is empty"


def _road(settings: Settings, key_file: str | None) -> str:
    """Say which key, by name only."""
    named = [name for name in _KEYS if os.environ.get(name)]
    if key_file is not None:
        who = "the key in api_key_file"
    elif sends_a_key(settings.default_headers):
        who = "a key among default_headers"
    elif named:
        who = named[0]
    elif can_reach_claude(settings):
        who = "a profile, or an endpoint that asks for no key"
    else:
        who = "no key"
    return who


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}{parts.path}" if place else "something"


def _trouble_reaching(url: str) -> str | None:
    """Tell why nobody can be there. Past a proxy nobody can be heard from here."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        host, port = "", 0
    if not host:
        return "is no address of the form https://…"
    if parts.scheme in getproxies() and not proxy_bypass(host):
        return None
    try:
        socket.create_connection((host, port), timeout=_KNOCK_S).close()
    except (OSError, UnicodeError) as error:
        return f"does not answer: {getattr(error, 'strerror', None) or error}"
    return None
