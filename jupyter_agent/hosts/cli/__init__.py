"""``jupyter agent …``: sessions on disk, and what is wrong with an installation. Needs no running server.

Each command imports what it needs when it runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ... import __version__
from ...errors import AgentError

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]  # pyright: ignore[reportPrivateUsage] # noqa: SLF001 -- its only name
    Run = Callable[[argparse.Namespace], int]

_REINDEX = "build the list of sessions anew from their databases"
_DATA_DIR = "where sessions are kept; default: what Jupyter's configuration says"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0 done, 1 not done, 2 asked wrongly."""
    arguments = parser().parse_args(argv)
    _take_any_text()
    try:
        run: Run = arguments.run
        code = run(arguments)
        sys.stdout.flush()
        return code
    except AgentError as error:
        sys.stderr.write(f"{error.message}\n{error.hint or ''}".rstrip() + "\n")
        return 1
    except BrokenPipeError:  # `… | head` has seen enough
        _drop_the_rest()
        return 1
    except OSError as error:
        what = f"{error.filename} could not be used"
        if error.filename is None:
            _drop_the_rest()
            what = "The answer could not be written"
        sys.stderr.write(f"{what}: {error.strerror or error}.\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _take_any_text() -> None:
    """Let a screen that lacks some letter show its number: Windows' and bare ones lack many."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] -- closed by who started us
        sys.stdout = io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore[reportUnknownMemberType] -- isinstance leaves its type open


def _drop_the_rest() -> None:
    """What is left in the buffer has nowhere to go, and Python would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    top = argparse.ArgumentParser(prog="jupyter agent", description="A Claude agent that lives in Jupyter.")
    top.add_argument("--version", action="version", version=f"jupyter-agent-panel {__version__}")
    top.set_defaults(run=_help(top))
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    _add_sessions(commands)
    _verb(commands, "reindex", _REINDEX)
    doctor = commands.add_parser("doctor", help="say what is installed, what is configured, and what is wrong")
    _common(doctor)
    doctor.set_defaults(run=_doctor)
    settings = commands.add_parser("settings", help="list all that can be configured, with defaults")
    settings.add_argument("--json", action="store_true", help="answer in JSON, for scripts")
    settings.set_defaults(run=_settings)
    return top


def _add_sessions(commands: Verbs) -> None:
    sessions = commands.add_parser("sessions", help="list, show, export, import, restore sessions")
    sessions.set_defaults(run=_help(sessions))
    verbs = sessions.add_subparsers(title="commands", metavar="COMMAND")

    listing = _verb(verbs, "list", "list sessions, newest first")
    listing.add_argument("--state", choices=["active", "archived", "all"], default="active")
    listing.add_argument("--limit", type=_positive, default=50)
    listing.add_argument("-q", dest="query", default="", help="only titles that hold this")

    show = _verb(verbs, "show", "print a session's conversation")
    show.add_argument("session", help="its id, or the beginning of it")

    export = _verb(verbs, "export", "write a session to a file, or to the screen")
    export.add_argument("session", help="its id, or the beginning of it")
    export.add_argument("-o", "--output", default="-", help="the file; default: standard output")
    export.add_argument("--format", choices=["json", "markdown"], help="default: by the file's name, else json")
    export.add_argument("--force", action="store_true", help="replace the file if there is one")

    take = _verb(verbs, "import", "make a new session of an exported one, or of a .chat file")
    take.add_argument("file", help="the file; - for standard input")
    take.add_argument("--title", help="another title")

    back = _verb(verbs, "restore", "put a session back to a snapshot, the newest by default")
    back.add_argument("session", help="its id, or the beginning of it")
    back.add_argument("--at", type=int, help="the newest from then or before, as --list counts time (ms)")
    back.add_argument("--list", action="store_true", help="only name the snapshots")

    _verb(verbs, "reindex", _REINDEX)


def _verb(verbs: Verbs, name: str, purpose: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
    _common(verb)
    verb.set_defaults(run=_sessions(name))
    return verb


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", help=_DATA_DIR)
    parser.add_argument("--json", action="store_true", help="answer in JSON, for scripts")


def _sessions(verb: str) -> Run:
    def run(arguments: argparse.Namespace) -> int:
        from . import sessions

        return sessions.VERBS[verb](arguments)

    return run


def _doctor(arguments: argparse.Namespace) -> int:
    from .doctor import doctor

    return doctor(arguments)


def _settings(arguments: argparse.Namespace) -> int:
    from .settings import list_settings

    return list_settings(arguments)


def _help(parser: argparse.ArgumentParser) -> Run:
    def run(_: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    return run


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return number
