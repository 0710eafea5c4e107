"""The script: what the demo does when it is asked for one of the few things it knows.

Each job reads like the conversation it leads. ``yield`` says something and
calls tools; what comes back are their results, after the user allowed them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

from .facts import SeenCell, read_cells
from .sources import SAMPLE, drawing
from .steps import (
    Stop,
    add_and_run,
    agree,
    find_frame,
    fix_steps,
    plot_steps,
    profile_steps,
    size,
    unless_failed,
    wanted,
)
from .talk import Call, Job, Move, Say, Talk, Think

logger = logging.getLogger(__name__)


def next_moves(talk: Talk) -> list[Move]:
    """Play the job up to now; return what comes next."""
    job = _choose(talk.ask)(talk)
    moves: list[Move]
    try:
        moves = next(job)
        for results in talk.results:
            moves = job.send(results)
    except StopIteration as ended:
        moves = list(ended.value)
    except Stop as stop:
        moves = [Say(str(stop))]
    except Exception:
        logger.exception("The demo's script failed")
        moves = [Say("The demo's script has lost its place here. Ask me once more, please.")]
    missing = [move.name for move in moves if isinstance(move, Call) and move.name not in talk.tools]
    return [Say(f"That needs the tool `{missing[0]}`, which this session does not have.")] if missing else moves


# -- what was asked ------------------------------------------------------------------


def _choose(ask: str) -> Callable[[Talk], Job]:
    return next((job for pattern, job in _JOBS if re.search(pattern, ask, re.I)), help_)


def help_(talk: Talk) -> Job:
    """Say what this is, and what it can do."""
    words = (Path(__file__).parent / "help.md").read_text(encoding="utf-8").strip()
    known = re.search(r"^\s*(hi|hello|hey|help|good \w+|who are you|what (can|are) you)\b", talk.ask, re.I)
    return [Say(words if known else f"I have no script for that.\n\n{words}")]
    yield []


def thanks(_: Talk) -> Job:
    """Be polite."""
    return [Say("You are welcome. Ask for **help** to see what else the demo can do.")]
    yield []


def profile(talk: Talk) -> Job:
    """Describe the DataFrame in the kernel by numbers that were read."""
    frame = yield from find_frame(talk, "Add one cell that describes the DataFrame, and run it.")
    plan = f"Add one cell that describes `{frame.name}` and run it."
    yield from agree(talk, plan)
    return [Say((yield from profile_steps(frame)))]


def plot(talk: Talk) -> Job:
    """Draw one column of the DataFrame in the kernel."""
    frame = yield from find_frame(talk, "Add one cell that draws one of its columns, and run it.")
    picture = drawing(frame, talk.ask)
    yield from agree(talk, f"Add one cell that draws {picture.what} and run it.")
    return [Say((yield from plot_steps(picture)))]


def fix(talk: Talk) -> Job:
    """Explain the failing cell's error; repair it where the cause can be seen."""
    [read] = yield [Say("I look for the cell that failed."), Call("read_notebook")]
    cells = read_cells(wanted(read))
    failed = next((cell for cell in cells if cell.failure is not None), None)
    if failed is None:
        raise Stop("No cell of this notebook shows an error now. Run the cell that troubles you, then ask me again.")
    return [Say((yield from fix_steps(talk, failed)))]


def plan_and_build(talk: Talk) -> Job:
    """Look around, propose, and build when the user agrees."""
    read, listed = yield [
        Think("Look before planning: the notebook's cells and the kernel's variables."),
        Say("I look at the notebook and at the kernel before I plan."),
        Call("read_notebook"),
        Call("list_variables"),
    ]
    failed = next((cell for cell in read_cells(wanted(read)) if cell.failure is not None), None)
    then = "Add a cell that describes the DataFrame and one that draws a column, and run both."
    frame = yield from find_frame(talk, then, listed)
    picture = drawing(frame, talk.ask)
    steps = [f"Add a cell that describes `{frame.name}` ({size(frame)}), run it, and read the numbers."]
    steps.append(f"Add a cell that draws {picture.what}, and run it.")
    if failed is not None and failed.failure is not None:
        steps.insert(0, f"Repair {failed.name}, which stops with {failed.failure.name}, and run it again.")
    plan = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    yield from agree(talk, plan, asked_for=True)
    told: list[str] = []
    if failed is not None:
        told.append((yield from fix_steps(talk, failed)))
    told.append((yield from profile_steps(frame, Say(_announce(talk, plan)))))
    told.append((yield from plot_steps(picture)))
    return [Say("The plan is carried out.\n\n" + "\n\n".join(told))]


def explain(_: Talk) -> Job:
    """Say what stands in the notebook."""
    [read] = yield [Say("I read the notebook."), Call("read_notebook")]
    text = wanted(read)
    cells = read_cells(text)
    if not cells:
        raise Stop("The notebook has no cells yet.")
    return [Say(_outline(text.partition("\n")[0], cells))]


def sample_data(talk: Talk) -> Job:
    """Make a small DataFrame to play with."""
    yield from agree(talk, "Add one cell that makes a small DataFrame `df` of invented weather, and run it.")
    ran = yield from add_and_run(Say("I add a cell with a small, invented DataFrame."), SAMPLE)
    unless_failed(ran)
    return [Say("There is a DataFrame `df` now, with invented weather. Ask me to **profile** or to **plot** it.")]


def task(talk: Talk) -> Job:
    """Write something down for later."""
    title = re.sub(
        r"^\W*(please\s+)?(can you\s+)?(remind me( later)?( to)?|"
        r"(create|add|make|write down)( me)? an? (task|todo)( to| for|:)?|(task|todo)\b\s*:?)\s*",
        "",
        talk.ask.strip(),
        flags=re.I,
    ).strip(" .\n")
    title = (title.splitlines() or [""])[0][:120] or "Come back to this"
    [created] = yield [
        Say("I write that down."),
        Call("create_task", {"title": title[:1].upper() + title[1:], "description": talk.ask, "mode": "build"}),
    ]
    if created.is_error:
        raise Stop(f"It could not be written down: {created.text}")
    return [Say(f"Written down for later: **{title[:1].upper() + title[1:]}**. It is not started by itself.")]


_JOBS: tuple[tuple[str, Callable[[Talk], Job]], ...] = (
    (r"^\s*(hi|hello|hey|help|good (morning|day|evening))\b|\bwho are you|what can you do|are you claude", help_),
    (r"\bremind me|\b(create|add|make|write down)\b.{0,12}\b(task|todo)\b|^\s*(task|todo)\b", task),
    (r"\bplan\b", plan_and_build),
    (r"\b(fix|repair|debug|traceback|fail(s|ed|ing|ure)?|error|broken|went wrong)\b", fix),
    (r"\b(sample|example|some|invented|fake) data\b", sample_data),
    (r"\b(plot|plots|chart|graph|histogram|draw|diagram|visuali[sz]e|scatter)\b", plot),
    (r"\b(explain|summari[sz]e|describe|outline|what).{0,30}\bnotebook\b", explain),
    (
        r"\b(profile|describe|summar\w+|statistics|stats|explore|overview|analy[sz]e|data ?frame|dataset|data)\b",
        profile,
    ),
    (r"^\s*(thanks|thank you|thx|bye|great|ok|cool)\b", thanks),
)


def _announce(talk: Talk, plan: str) -> str:
    return "I begin." if talk.mode == "plan" else f"My plan:\n\n{plan}\n\nYou are in Build mode, so I begin at once."


def _outline(heading: str, cells: list[SeenCell]) -> str:
    titles = [
        (len(m[1]), m[2].strip())
        for cell in cells
        if cell.cell_type == "markdown"
        for m in re.finditer(r"^(#{1,3}) (.+)$", cell.source, re.M)
    ]
    code = [cell for cell in cells if cell.cell_type == "code"]
    lines = [f"This is `{heading.partition(':')[0]}`: {len(cells)} cells, {len(code)} of them code."]
    if titles:
        lines.append("\n".join(f"{'  ' * (depth - 1)}- {title}" for depth, title in titles[:12]))
    broken = [cell for cell in code if cell.failure is not None]
    if broken:
        lines.append(f"One thing stands out: {broken[0].name} stops with an error. Ask me to fix it.")
    lines.append("That is all the demo can tell: it counts and quotes, and does not understand.")
    return "\n\n".join(lines)
