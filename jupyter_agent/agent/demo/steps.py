"""The steps that jobs are made of: agree, change, run, find the data, profile, plot, repair."""

from __future__ import annotations

import re
from collections.abc import Generator

from .facts import (
    SeenCell,
    SeenFrame,
    SeenVariable,
    find_failure,
    read_cells,
    read_change,
    read_frame,
    read_outputs,
    read_series,
    read_table,
    read_variables,
)
from .repair import Failure, Known, Repair, find_repair
from .sources import Drawing, description
from .talk import Call, Move, Result, Say, Talk, Think

MAX_REPAIRS = 3
MAX_CELLS_TO_RUN = 6

Steps = Generator[list[Move], list[Result], str]
"""A part of a job; returns what to tell about it at the end."""


class Stop(Exception):
    """The job ends here, with these words."""


def agree(talk: Talk, plan: str, *, asked_for: bool = False) -> Generator[list[Move], list[Result], None]:
    """In Plan mode, ask before anything is changed; a plan that was asked for is shown in any mode."""
    if talk.mode != "plan" or talk.agreed:
        return
    why = "Here is my plan." if asked_for else "We are in Plan mode, so I propose before I change anything."
    [answer] = yield [Say(why), Call("exit_plan", {"plan": plan})]
    if answer.is_error:
        raise Stop(f"Then I change nothing.{_reason(answer)} Tell me what to plan instead.")
    talk.agreed = True


def add_and_run(say: Say, source: str) -> Generator[list[Move], list[Result], Result]:
    """Add a cell at the end, run it, return what came back."""
    added = yield from change(say, Call("insert_cell", {"source": source, "cell_type": "code"}))
    return (yield from run(_changed(added)))


def run(cell: tuple[str, str], say: str = "") -> Generator[list[Move], list[Result], Result]:
    """Run a cell by its id and hash."""
    words: list[Move] = [Say(say)] if say else []
    [ran] = yield [*words, Call("run_cell", {"cell_id": cell[0], "base_hash": cell[1]})]
    if ran.refused:
        [answer] = yield [Say("That needs Build mode."), Call("exit_plan", {"plan": "Run the cell."})]
        if answer.is_error:
            raise Stop(f"Then I leave it.{_reason(answer)}")
        [ran] = yield [Call("run_cell", {"cell_id": cell[0], "base_hash": cell[1]})]
    if ran.denied:
        raise Stop(f"I do not run it, then; the cell stays in the notebook as it is.{_reason(ran)}")
    return ran


def change(say: Say, call: Call) -> Generator[list[Move], list[Result], Result]:
    """Change a cell; where Plan mode refuses, ask to leave it and try once more."""
    [result] = yield [say, call]
    if result.refused:
        [answer] = yield [Say("That needs Build mode."), Call("exit_plan", {"plan": say.text})]
        if answer.is_error:
            raise Stop(f"Then I change nothing.{_reason(answer)}")
        [result] = yield [call]
    if result.denied:
        raise Stop(f"Then I leave the notebook as it is.{_reason(result)}")
    if result.is_error:
        raise Stop(f"The notebook could not be changed: {result.text}")
    return result


def find_frame(talk: Talk, then: str, listed: Result | None = None) -> Generator[list[Move], list[Result], SeenFrame]:
    """Find the DataFrame that is meant; run the cell that makes one if the kernel has none."""
    if listed is None:
        [listed] = yield [
            Think("Which DataFrame is in the kernel? Its names and columns must come from there, not from me."),
            Say("I look at what is in the kernel."),
            Call("list_variables"),
        ]
    picked = pick(listed, talk.ask)
    if picked is None:
        if "busy" in listed.text and listed.is_error:
            raise Stop(f"The kernel cannot answer now: {listed.text}")
        yield from _run_makers(talk, then)
        [again] = yield [Call("list_variables")]
        picked = pick(again, talk.ask)
    if picked is None:
        raise Stop("The cells ran, but the kernel has no DataFrame. Ask me to **make sample data**, if you like.")
    return (yield from _inspect(picked))


def _run_makers(talk: Talk, then: str) -> Generator[list[Move], list[Result], None]:
    [read] = yield [
        Say("There is no DataFrame yet. I read the notebook for a cell that makes one."),
        Call("read_notebook"),
    ]
    cells = [cell for cell in read_cells(wanted(read)) if cell.cell_type == "code" and "AgentPanel" not in cell.source]
    makers = [n for n, cell in enumerate(cells) if re.search(r"DataFrame\(|\bread_\w+\(|load_\w+\(", cell.source)]
    if not makers:
        raise Stop(
            "There is no DataFrame in the kernel, and no cell of the notebook makes one. Run or write such a cell, "
            "or ask me to **make sample data**."
        )
    chosen = cells[: makers[0] + 1][-MAX_CELLS_TO_RUN:]
    count = "first code cell" if len(chosen) == 1 else f"first {len(chosen)} code cells"
    yield from agree(talk, f"1. Run the notebook's {count}, up to {chosen[-1].name}, to have the data.\n2. {then}")
    words = "The kernel does not have the data yet, so I run the cells that make it."
    for cell in chosen:
        ran = yield from run((cell.id, cell.hash), words)
        unless_failed(ran)
        words = ""


def _inspect(picked: SeenVariable) -> Generator[list[Move], list[Result], SeenFrame]:
    say = Say(f"`{picked.name}` is a DataFrame; I look at its columns.")
    [shown] = yield [say, Call("inspect_variable", {"name": picked.name})]
    frame = read_frame(picked.name, shown.text)
    if shown.is_error or (frame.pandas and not frame.columns):
        raise Stop(f"`{picked.name}` could not be read as a table with named columns: {shown.text[:300]}")
    if not frame.pandas:
        raise Stop(f"`{picked.name}` is not a pandas DataFrame, and the demo has a script for pandas only.")
    return frame


def profile_steps(frame: SeenFrame, say: Say | None = None) -> Steps:
    """Add and run a cell that describes; return the numbers read from its output."""
    words = say or Say(f"`{frame.name}` has {size(frame)}. I add a cell that describes it.")
    ran = yield from add_and_run(words, description(frame))
    unless_failed(ran)
    return _summary(frame, read_outputs(ran.text))


def plot_steps(picture: Drawing) -> Steps:
    """Add and run a cell that draws; return what came back."""
    ran = yield from add_and_run(Say(f"I add a cell that draws {picture.what}."), picture.source)
    unless_failed(ran)
    came = "one picture" if ran.images == 1 else f"{ran.images} pictures" if ran.images else "no picture"
    return f"The cell that draws {picture.what} ran, and {came} came back. {_printed(ran)}".rstrip()


def fix_steps(talk: Talk, cell: SeenCell) -> Steps:
    """Repair a cell and run it again, a few times if one error hides another."""
    failure = cell.failure
    assert failure is not None
    source, current = cell.source, (cell.id, cell.hash)
    told = [_explained(cell, failure)]
    for _ in range(MAX_REPAIRS):
        known = yield from _known_names(source, failure, told[-1])
        repair = find_repair(source, failure, known)
        if repair is None or repair.source == source:
            return (
                f"{told[-1]}\n\nThe demo has no repair that it could justify for this one. Claude would look further."
            )
        yield from agree(talk, f"{repair.why}\n\n```python\n{repair.source}\n```\n\nThen run the cell again.")
        source = repair.source
        edited = yield from change(Say(repair.why), _edit(current, repair))
        current = _changed(edited)
        ran = yield from run(current)
        again = find_failure(ran.text) if ran.failed else None
        if not ran.failed:
            return f"{repair.why}\n\nThe cell runs now. {_what_came(ran)}"
        if again is None or again == failure:
            return f"I changed the cell ({repair.why}), but it still fails:\n\n```\n{_tail(ran.text)}\n```"
        failure = again
        told.append(f"That error is gone; now there is another: **{failure.name}**: {failure.value}")
    return f"I repaired {MAX_REPAIRS} errors, and there is another: **{failure.name}**: {failure.value}. I stop here."


def _known_names(source: str, failure: Failure, explained: str) -> Generator[list[Move], list[Result], Known]:
    [listed] = yield [Say(explained), Call("list_variables")]
    variables = read_variables(listed.text) if not listed.is_error else []
    columns: list[str] = []
    if failure.name in ("KeyError", "AttributeError"):
        frames = [v for v in variables if v.is_frame and re.search(rf"\b{v.name}\b", source)][:3]
        if frames:
            shown = yield [Call("inspect_variable", {"name": frame.name}) for frame in frames]
            columns = [c for f, s in zip(frames, shown, strict=True) for c in read_frame(f.name, s.text).columns]
    return Known(variables=[v.name for v in variables], columns=columns)


# -- words ---------------------------------------------------------------------------


def wanted(result: Result) -> str:
    """Return what a reading tool said; without it there is nothing to do."""
    if result.is_error:
        raise Stop(f"The notebook could not be read: {result.text}")
    return result.text


def _changed(result: Result) -> tuple[str, str]:
    found = read_change(result.text)
    if found is None:
        raise Stop("The cell was changed, but its hash did not come back, so I do not run it.")
    return found


def _edit(cell: tuple[str, str], repair: Repair) -> Call:
    return Call("edit_cell", {"cell_id": cell[0], "base_hash": cell[1], "source": repair.source})


def unless_failed(ran: Result) -> None:
    """End the job when a cell of ours did not run through."""
    if not ran.failed:
        return
    failure = find_failure(ran.text)
    if failure is None:
        raise Stop(f"The cell did not run: {ran.text}")
    meaning = f"{failure.meaning} Ask me to **fix the failing cell** and I try."
    raise Stop(f"The cell stopped with **{failure.name}**: {failure.value}\n\n{meaning}")


def _reason(result: Result) -> str:
    said = re.search(r"They said: (.*)", result.text)
    return f" You said: {said.group(1).strip()}" if said else ""


def pick(listed: Result, ask: str) -> SeenVariable | None:
    """Return the DataFrame that the ask names, else the likeliest one."""
    variables = [] if listed.is_error else read_variables(listed.text)
    frames = [v for v in variables if v.is_frame]
    named = [v for v in frames if re.search(rf"\b{re.escape(v.name)}\b", ask)]
    usual = [v for v in frames if v.name in ("df", "data")]
    return next(iter([*named, *usual, *frames]), None)


def size(frame: SeenFrame) -> str:
    """Say how large it is."""
    return f"{frame.rows:,} rows and {frame.width} columns"


def _explained(cell: SeenCell, failure: Failure) -> str:
    where = f", at `{failure.line[:100]}`" if failure.line else ""
    name = cell.name[:1].upper() + cell.name[1:]
    return f"{name} stops with **{failure.name}**: {failure.value}{where}.\n\n{failure.meaning}"


def _what_came(ran: Result) -> str:
    if ran.images:
        return "A picture came back."
    output = read_outputs(ran.text)
    if not output or output == "It printed nothing.":
        return "It printed nothing."
    return f"It came back with:\n\n```\n{_tail(output, 8)}\n```"


def _printed(ran: Result) -> str:
    lines = [line for line in read_outputs(ran.text).split("\n") if line.strip() and not line.startswith("[image")]
    read = read_series("\n".join(lines))
    if {"count", "min", "50%", "max"} <= read.keys():
        return (
            f"It prints {read['count']:.0f} values with the median {read['50%']:.4g}, "
            f"from {read['min']:.4g} to {read['max']:.4g}."
        )
    kept = [line for line in lines if not line.startswith("<Figure")]
    return f"It prints:\n\n```\n{_tail(chr(10).join(kept), 8)}\n```" if kept else ""


def _tail(text: str, lines: int = 6) -> str:
    kept = text.strip().split("\n")[-lines:]
    return "\n".join(line[:160] for line in kept)


def _summary(frame: SeenFrame, output: str) -> str:
    table = read_table(output)
    lines = [
        f"- `{label}`: mean {row['mean']:.4g}, between {row['min']:.4g} and {row['max']:.4g}{_missing(row)}"
        for label, row in table.items()
        if {"mean", "min", "max"} <= row.keys()
    ]
    lines += [
        f"- `{m[1]}`: {m[2]} different values" + (f", {m[3]} missing" if m[3] != "0" else "")
        for m in re.finditer(r"^(.+?): (\d+) different values, (\d+) missing$", output, re.M)
    ]
    head = f"`{frame.name}` has {size(frame)}."
    if not lines:
        return f"{head} The cell's output holds the rest; the demo could not read single numbers from it."
    more = f"\n- and {len(lines) - 8} more columns, in the cell's output" if len(lines) > 8 else ""
    return f"{head} From the cell's output:\n\n" + "\n".join(lines[:8]) + more


def _missing(row: dict[str, float]) -> str:
    missing = row.get("missing", 0)
    return f"; {missing:.0f} missing" if missing else ""
