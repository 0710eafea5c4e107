"""``%agent`` and ``%%agent``: ask from a cell, and see the panel below it.

::

    %agent [--new] [--mode plan|build] [--session ID] [--stop] [what you want to ask]
    %%agent [the same options]
    what you want to ask, on as many lines as it takes

What follows the options is the message, as it stands: no quotes are needed, and none are read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.display import display  # pyright: ignore[reportUnknownVariableType] -- untyped there

HELP = """\
%agent [options] [what you want to ask]      %%agent [options] takes the rest of the cell

  --new               begin a new session of this notebook
  --session ID        show this session of the notebook
  --mode plan|build   look only, or act
  --stop              stop the running turn; the text so far stays
  --help              this

Without words it shows the panel. `panel = AgentPanel()` does the same from Python."""

_MODES = ("plan", "build")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a line asks for."""

    text: str = ""
    new: bool = False
    stop: bool = False
    help: bool = False
    mode: str | None = None
    session_id: str | None = None


def parse(line: str, cell: str | None = None) -> Wish:
    """Read the options at the line's beginning; the rest is the message. Raises ``UsageError``."""
    wish, rest = Wish(), line.strip()
    while rest.startswith("--"):
        option, _, rest = rest.partition(" ")
        option, assigned, value = option.partition("=")
        rest = rest.lstrip()
        if option in ("--mode", "--session") and not assigned:
            value, _, rest = rest.partition(" ")
            rest = rest.lstrip()
        wish = _with(wish, option, value)
    if wish.new and wish.session_id is not None:
        raise UsageError("%agent: --new and --session exclude each other.")
    return replace(wish, text="\n".join(part for part in (rest, (cell or "").strip("\n")) if part.strip()))


def _with(wish: Wish, option: str, value: str) -> Wish:
    match option:
        case "--new":
            return replace(wish, new=True)
        case "--stop":
            return replace(wish, stop=True)
        case "--help":
            return replace(wish, help=True)
        case "--mode" if value in _MODES:
            return replace(wish, mode=value)
        case "--mode":
            raise UsageError("%agent: --mode is plan or build.")
        case "--session" if value:
            return replace(wish, session_id=value)
        case "--session":
            raise UsageError("%agent: --session needs a session's id.")
        case _:
            raise UsageError(f"%agent: there is no option {option}. `%agent --help` names them.")


def register(shell: Any) -> None:
    """Bring the magics to an IPython shell; twice does no harm."""
    shell.register_magics(AgentMagics)
    if keep_questions not in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.append(keep_questions)


_QUESTION = re.compile(r"%agent[ \t]+(.*\?)\s*")


def keep_questions(lines: list[str]) -> list[str]:
    """Let ``%agent`` at a cell's beginning end in a question mark: IPython takes any such line for a call of help."""
    first = next((n for n, line in enumerate(lines) if line.strip()), None)
    found = None if first is None else _QUESTION.fullmatch(lines[first])
    if first is None or found is None:
        return lines
    return [*lines[:first], f"get_ipython().run_line_magic('agent', {found[1]!r})\n", *lines[first + 1 :]]


@magics_class
class AgentMagics(Magics):
    """The agent of this notebook, by magic."""

    _panel: Any = None

    @no_var_expand  # a question may well speak of {braces} and $dollars
    @line_cell_magic
    def agent(self, line: str, cell: str | None = None) -> None:
        """Ask the agent of this notebook, and show its panel; ``%agent --help`` says more."""
        wish = parse(line, cell)
        if wish.help:
            print(HELP)  # noqa: T201 -- a cell's output is where help belongs
            return
        if wish.stop and self._panel is not None and wish == Wish(stop=True):
            self._panel.stop()
            return
        self._panel = panel = _panel(wish)
        if wish.stop:
            panel.stop()
        if wish.mode is not None:
            panel.set_mode(wish.mode)
        if wish.text:
            panel.ask(wish.text)
        if wish != Wish(stop=True):
            display(panel)


def _panel(wish: Wish) -> Any:
    import jupyter_agent

    from .kernel import kernel_relay

    if kernel_relay() is None:
        raise UsageError("%agent works in Jupyter: there is no Jupyter kernel here that a server could talk to.")
    try:
        return jupyter_agent.AgentPanel(wish.session_id, new=wish.new)
    except ImportError as error:  # the namesake is installed beside us; its sentence says what to do
        raise UsageError(str(error)) from None
