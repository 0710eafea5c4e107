"""``jupyter agent sessions …``: what lies in the data directory.

Reading works beside a running server. What writes makes something new, or
says that a server has the session open.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import AgentError, SessionNotFound, StoreError
from ...protocol.ids import is_session_id
from ...store import transfer
from ...store.index import SessionIndex
from .config import read_configuration

Json = dict[str, Any]
_ID_CHARS = 24


def _sessions_dir(arguments: argparse.Namespace) -> Path:
    return read_configuration(arguments.data_dir).settings.data_dir / "sessions"


def _folders(sessions_dir: Path) -> Iterator[Path]:
    if sessions_dir.is_dir():
        yield from (entry for entry in sessions_dir.iterdir() if is_session_id(entry.name))


def _find(arguments: argparse.Namespace) -> Path:
    """Return the folder of the one session whose id begins so. Raises ``SessionNotFound``."""
    sessions_dir, wanted = _sessions_dir(arguments), str(arguments.session)
    found = [folder for folder in _folders(sessions_dir) if folder.name.startswith(wanted)]
    exact = [folder for folder in found if folder.name == wanted]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    what = "There are several sessions" if found else "There is no session"
    raise SessionNotFound(
        f"{what} whose id begins with {wanted!r} in {sessions_dir}.", hint="`jupyter agent sessions list` names them."
    )


# -- reading -------------------------------------------------------------------------


def list_sessions(arguments: argparse.Namespace) -> int:
    """Print a line a session, and name those that cannot be read."""
    found: list[Json] = []
    unreadable: list[str] = []
    for folder in _folders(_sessions_dir(arguments)):
        try:
            found.append(transfer.read_facts(folder))
        except StoreError as error:
            unreadable.append(f"{folder.name}: {error.message}")
    wanted = [facts for facts in found if _fits(facts, arguments)]
    wanted.sort(key=lambda facts: facts["updated_at"], reverse=True)
    shown = wanted[: arguments.limit]
    if arguments.json:
        _print_json({"sessions": shown, "has_more": len(wanted) > len(shown)})
    else:
        for facts in shown:
            _print(_line(facts))
        if len(wanted) > len(shown):
            _print(f"… and {len(wanted) - len(shown)} more (--limit)")
    for line in unreadable:
        sys.stderr.write(f"{line}\n")
    return 1 if unreadable else 0


def _fits(facts: Json, arguments: argparse.Namespace) -> bool:
    archived = facts["archived_at"] is not None
    in_state = arguments.state == "all" or archived == (arguments.state == "archived")
    return in_state and arguments.query.casefold() in facts["title"].casefold()


def _line(facts: Json) -> str:
    # The user's own time zone: this is for the eye.
    when = datetime.fromtimestamp(facts["updated_at"] / 1000).strftime("%Y-%m-%d %H:%M")  # noqa: DTZ006
    where = f"  ({facts['notebook_path']})" if facts["notebook_path"] else ""
    return f"{facts['id']:<{_ID_CHARS}}  {when}  {facts['status']:<10}  {facts['title'] or '(untitled)'}{where}"


def show(arguments: argparse.Namespace) -> int:
    """Print the conversation."""
    session, messages = transfer.read_session(_find(arguments))
    if arguments.json:
        _print_json({"session": session, "messages": messages})
        return 0
    from ...protocol.markdown import as_markdown

    _print(as_markdown(session, messages, images=False).rstrip())
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write a session to a file."""
    folder, target = _find(arguments), str(arguments.output)
    kind = arguments.format or ("markdown" if target.endswith((".md", ".markdown")) else "json")
    if kind == "markdown":
        from ...protocol.markdown import as_markdown

        text = as_markdown(*transfer.read_session(folder))
    else:
        document = transfer.export_session(folder, generator=f"jupyter-agent-panel/{__version__}")
        text = json.dumps(document, ensure_ascii=True, allow_nan=False, indent=1) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return 0
    _write(Path(target), text, replace=arguments.force)
    if arguments.json:
        _print_json({"file": target, "format": kind, "session": folder.name})
    else:
        _print(f"{folder.name} is in {target}.")
    return 0


def _write(path: Path, text: str, *, replace: bool) -> None:
    try:
        with path.open("w" if replace else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise AgentError(f"{path} is there already.", code="exists", hint="--force replaces it.") from None
    except OSError as error:
        raise AgentError(f"{path} cannot be written: {error.strerror}.", code="unwritable") from None


# -- writing -------------------------------------------------------------------------


def take_in(arguments: argparse.Namespace) -> int:
    """Make a new session of a file."""
    sessions_dir = _sessions_dir(arguments)
    document = _read(str(arguments.file))
    if "format" not in document and isinstance(document.get("messages"), list):
        from ...store.chat_files import import_chat

        name = Path(arguments.file).stem if arguments.file != "-" else ""
        session = import_chat(sessions_dir, document, title=arguments.title or name)
    else:
        session = transfer.import_session(sessions_dir, document, title=arguments.title)
    facts = transfer.read_facts(sessions_dir / session.id)
    listed = _put_into_the_list(sessions_dir, facts)
    if arguments.json:
        _print_json({"session": facts})
    else:
        _print(f"{session.id}  {session.title or '(untitled)'}")
        if not listed:
            _print("It is in the list when the server has started anew.")
    return 0


def _read(name: str) -> Json:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise AgentError(f"{name} cannot be read: {why}.", code="unreadable") from None
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise transfer.NotImportable(
            f"{name} is not an exported session.", hint="Export one with `jupyter agent sessions export`."
        )
    return document  # pyright: ignore[reportUnknownVariableType] -- free-form JSON


def _put_into_the_list(sessions_dir: Path, facts: Json) -> bool:
    """Tell a running server too: it reads the same list. False when it keeps the list to itself."""
    try:
        index = SessionIndex.open(sessions_dir)
    except StoreError:
        return False
    try:
        index.put(facts)
    except Exception:
        return False
    finally:
        index.close()
    return True


def reindex(arguments: argparse.Namespace) -> int:
    """Build the list anew."""
    sessions_dir = _sessions_dir(arguments)
    index = SessionIndex.open(sessions_dir)
    try:
        changed = index.reconcile()
    finally:
        index.close()
    count = sum(1 for _ in _folders(sessions_dir))
    if arguments.json:
        _print_json({"sessions": count, "changed": changed})
    else:
        _print(f"{count} sessions; {changed} lines of the list were changed.")
    return 0


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _print_json(value: Json) -> None:
    _print(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1))


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": list_sessions,
    "show": show,
    "export": export,
    "import": take_in,
    "reindex": reindex,
}
