"""A Claude agent that lives in Jupyter.

``from jupyter_agent import AgentPanel`` puts it into a notebook; Jupyter
Server and JupyterLab find the rest by themselves. Importing this module costs
nothing: whatever is heavy is imported by the name that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hosts.widget import AgentPanel

__version__ = "0.1.0"
__all__ = ["AgentPanel", "__version__", "conflicting_distribution", "load_ipython_extension"]

_NAMESAKE = "jupyter-agent"


def conflicting_distribution() -> str | None:
    """Return the sentence to fail with if another distribution shares our import package."""
    from importlib import metadata

    try:
        metadata.distribution(_NAMESAKE)
    except metadata.PackageNotFoundError:
        return None
    return (
        "jupyter_agent does not run, because the unrelated distribution 'jupyter-agent' is installed beside "
        "'jupyter-agent-panel' and overwrites its files: uninstall both, then install 'jupyter-agent-panel' again."
    )


def __getattr__(name: str) -> Any:
    if name != "AgentPanel":
        raise AttributeError(f"module 'jupyter_agent' has no attribute {name!r}")
    if (sentence := conflicting_distribution()) is not None:
        raise ImportError(sentence)
    from .hosts.widget import AgentPanel

    return AgentPanel


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext jupyter_agent`` brings the magics ``%agent`` and ``%%agent``."""
    from .hosts.magics import register

    register(ipython)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction] -- Jupyter Server calls it
    from .hosts.server.app import AgentExtension

    return [{"module": "jupyter_agent", "app": AgentExtension}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:  # pyright: ignore[reportUnusedFunction] -- JupyterLab calls it
    return [{"src": "labextension", "dest": "jupyter-agent-panel"}]
