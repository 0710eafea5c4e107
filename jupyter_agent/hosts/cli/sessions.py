"""``jupyter agent sessions …``: what lies in the data directory.

Reading works beside a running server. What writes makes something new, or
says that a server has the session open.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import AgentError, SessionNotFound, StoreDamaged, StoreError
from ...protocol.ids import is_session_id, now_ms
from ...store import snapshots, taking_in, transfer
from ...store.index import SessionIndex
from ...store.kept_index import rebuilt
from ...store.owning import Server, claim
from ...store.profile import Profile, profile_of
from .config import read_configuration

Json = dict[str, Any]
_ID_CHARS = 24
_NO_SNAPSHOTS = "This session has no snapshots yet. The server takes one each day that a session changed."


def _sessions_dir(arguments: argparse.Namespace) -> Path:
    return _place(arguments)[0]


def _place(arguments: argparse.Namespace) -> tuple[Path, Profile]:
    """Return the sessions' folder, and the kind of disk that it is on."""
    settings = read_configuration(arguments.data_dir).settings
    existing = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    return settings.data_dir / "sessions", profile_of(existing, settings.storage)


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
        if not wanted:
            _remark("No session fits." if found else f"There are no sessions in {_sessions_dir(arguments)}.")
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
    _print(_markdown(session, messages, images=False).rstrip())
    return 0


def _markdown(session: Json, messages: list[Json], *, images: bool) -> str:
    """Return the conversation as a document. Raises ``StoreDamaged``."""
    from ...protocol.markdown import as_markdown
    from ...protocol.plain import whole

    try:
        return whole(as_markdown(session, messages, images=images))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise StoreDamaged("The session's database cannot be read.") from error


def export(arguments: argparse.Namespace) -> int:
    """Write a session to a file."""
    folder, target = _find(arguments), str(arguments.output)
    kind = arguments.format or ("markdown" if target.endswith((".md", ".markdown")) else "json")
    if kind == "markdown":
        text = _markdown(*transfer.read_session(folder), images=True)
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
    """Write whole, or not at all: a disk that fills up in between leaves the old file, or none."""
    whole = replace and path.is_file()
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft") if whole else path
    made = False
    if path.is_dir():
        raise AgentError(f"{path} is a directory.", code="unwritable", hint="Name a file in it.")
    try:
        with draft.open("w" if replace else "x", encoding="utf-8", newline="\n") as file:
            made = whole or not replace
            file.write(text)
        if whole:
            draft.replace(path)
    except FileExistsError:
        raise AgentError(f"{path} is there already.", code="exists", hint="--force replaces it.") from None
    except OSError as error:
        if made:
            draft.unlink(missing_ok=True)
        raise AgentError(f"{path} cannot be written: {error.strerror}.", code="unwritable") from None


# -- writing -------------------------------------------------------------------------


def take_in(arguments: argparse.Namespace) -> int:
    """Make a new session of a file."""
    sessions_dir, profile = _place(arguments)
    document = _read(str(arguments.file))
    name = Path(arguments.file).stem if arguments.file != "-" else ""
    session = taking_in.take_in(sessions_dir, document, title=arguments.title, name=name, profile=profile)
    facts = transfer.read_facts(sessions_dir / session.id)
    listed = _put_into_the_list(sessions_dir, session.id, profile)
    if arguments.json:
        _print_json({"session": facts})
    else:
        _print(f"{session.id}  {session.title or '(untitled)'}")
        if not listed:
            _print("It is in the list when the server has started anew.")
    return 0


def _read(name: str) -> Json:
    try:
        written = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        document: Any = json.loads(written)  # by its own encoding: PowerShell's is UTF-16
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise AgentError(f"{name} cannot be read: {why}.", code="unreadable") from None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise transfer.NotImportable(
            f"{name} is not an exported session.", hint="Export one with `jupyter agent sessions export`."
        )
    return document  # pyright: ignore[reportUnknownVariableType] -- free-form JSON


def restore(arguments: argparse.Namespace) -> int:
    """Put a session back to a snapshot, or name those that there are."""
    folder = _find(arguments)
    sessions_dir, profile = _place(arguments)
    found = snapshots.listed(folder)
    if arguments.list:
        return _list_snapshots(folder, found, as_json=arguments.json)
    wanted = [one for one in found if arguments.at is None or one.at <= arguments.at][:1]
    if not wanted:
        if not found:
            raise AgentError(_NO_SNAPSHOTS, code="no_snapshot")
        hint = f"`jupyter agent sessions restore {folder.name} --list` names them."
        raise AgentError("This session has no snapshot from then or before.", code="no_snapshot", hint=hint)
    # Whoever has the session open keeps it: this raises StoreLocked.
    claimed = claim(folder, Server(), profile)
    try:
        snapshots.go_back(claimed, wanted[0], now_ms())
    finally:
        claimed.release()
    _put_into_the_list(sessions_dir, folder.name, profile)
    if arguments.json:
        _print_json({"session": transfer.read_facts(folder), "at": wanted[0].at})
    else:
        _print(f"{folder.name} is as it was on {wanted[0].when()}. What it was before is a snapshot too.")
    return 0


def _list_snapshots(folder: Path, found: list[snapshots.Snapshot], *, as_json: bool) -> int:
    if as_json:
        listed = [{"at": one.at, "reason": one.reason, "bytes": one.bytes} for one in found]
        _print_json({"session": folder.name, "snapshots": listed})
        return 0
    if not found:
        _remark(_NO_SNAPSHOTS)
    for one in found:
        _print(f"{one.at}  {one.when()}  {one.reason:<9}  {one.bytes >> 10} KiB")
    return 0


def _put_into_the_list(sessions_dir: Path, session_id: str, profile: Profile) -> bool:
    """Tell a running server too: it reads the same list. False when it keeps the list to itself."""
    try:
        index = SessionIndex(sessions_dir, profile)
    except StoreError:
        return False
    try:
        return index.read(session_id)
    except sqlite3.Error:
        return False  # The list can be rebuilt; the session is there.
    finally:
        index.close()


def reindex(arguments: argparse.Namespace) -> int:
    """Build the list anew."""
    sessions_dir, profile = _place(arguments)
    # Nothing is made where nothing is: it may be a name that was mistyped.
    count = rebuilt(sessions_dir, profile) if sessions_dir.parent.exists() else 0
    if arguments.json:
        _print_json({"sessions": count})
    elif count == 0:
        _print(f"There are no sessions in {sessions_dir}.")
    else:
        _print(f"{count} {'session is' if count == 1 else 'sessions are'} listed.")
    return 0


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _remark(text: str) -> None:
    """Tell the person, and not the script that reads the answer."""
    sys.stderr.write(text + "\n")


def _print_json(value: Json) -> None:
    # ASCII: a pipe may have any encoding, and what models write may hold half a character.
    _print(json.dumps(value, ensure_ascii=True, allow_nan=False, indent=1))


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": list_sessions,
    "show": show,
    "export": export,
    "import": take_in,
    "restore": restore,
    "reindex": reindex,
}
