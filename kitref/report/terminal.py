"""What a person sees of a run in the terminal: progress while it goes on, tables at its end."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from kitref.report.record import Record

_SHOWN = 20
_STYLES = {
    "found": "green", "absent": "red", "refused": "yellow", "not-asked": "dim",
    "passed": "green", "failed": "red", "error": "bold red", "skipped": "yellow",
}  # fmt: skip


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, str], None]]:
    """Show what is under way, on standard error.

    Yields:
        A function to call with a title and its new state. On a terminal each title keeps a line of
        its own; elsewhere each change of a state, but not of its figures, is a line.
    """
    console = Console(stderr=True)
    states: dict[str, str] = {}
    lock = threading.Lock()

    def table() -> Table:
        grid = Table.grid(padding=(0, 2))
        for title, state in states.items():
            grid.add_row(Text(title), Text(state, _style(state)))
        return grid

    live = Live(console=console, transient=False) if console.is_terminal else None

    def report(title: str, state: str) -> None:
        with lock:
            news = _words(states.get(title, "")) != _words(state)
            states[title] = state
            if live:
                live.update(table())
            elif news:
                console.print(f"{title}: {state}", highlight=False, soft_wrap=True, markup=False)

    with live or contextlib.nullcontext():
        yield report


def show(record: Record) -> None:
    """Print what came out of a run: the matrix, what did not pass, and where the files are."""
    console = Console()
    for image, lookups in record.reproduced.groupby("image", sort=False):
        console.print(f"Is {image} found?", style="bold", highlight=False, markup=False)
        for rule, asked in dict(zip(lookups["rule"], lookups["asked"], strict=True)).items():
            console.print(f"  rule {rule} asks for {asked}", highlight=False, markup=False)
        console.print(_matrix(lookups))
    for result in record.results:
        if result.status != "passed":
            status = Text(result.status, _STYLES[result.status])
            said = Text.assemble(status, f"  {result.job.title}: {result.reason}")
            console.print(said, soft_wrap=True)
    counts = {
        status: sum(result.status == status for result in record.results)
        for status in ("passed", "failed", "error", "skipped")
    }
    console.print(", ".join(f"{n} {status}" for status, n in counts.items()), highlight=False)
    _show_changes(console, record)
    for had in record.engines:
        if had.engine and had.note:
            line = f"{had.title} {had.engine.version} is {had.note}"
            console.print(line, style="yellow", markup=False, soft_wrap=True)
    if record.lacking:
        line = f"required, and not had: {', '.join(record.lacking)}"
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    for path in sorted(record.folder.iterdir()):
        console.print(path.as_posix(), highlight=False, soft_wrap=True, markup=False)


def _show_changes(console: Console, record: Record) -> None:
    """Print what became of the baseline: the counts, and the first of what differs."""
    if not record.changes:
        return
    count = Counter(change.status for change in record.changes)
    console.print(
        "baseline: " + ", ".join(f"{n} {status}" for status, n in sorted(count.items())),
        highlight=False,
    )
    differing = [c for c in record.changes if c.status in ("changed", "gone", "new")]
    for change in differing[:_SHOWN]:
        console.print(
            f"{change.status}  {change.engine or change.behaviour}, rule {change.rule},"
            f" {change.image} tagged {change.tagged_as or 'nothing'}:"
            f" was {change.was or 'nothing'}; now {change.now or 'nothing'}"
            + (f"\n         {change.why}" if change.why else ""),
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if len(differing) > _SHOWN:
        console.print(f"and {len(differing) - _SHOWN} more, in results.json", highlight=False)


def _matrix(lookups: pd.DataFrame) -> Table:
    """Return what the engines said of one image: a row an engine, a column a rule."""
    from kitref import tables  # noqa: PLC0415 - slow to import, and progress needs no pandas

    matrix = tables.matrix(lookups)
    rules = list(matrix.columns[len(tables.ENGINE) :])
    table = Table("engine", "version", "store", *(f"rule {rule}" for rule in rules))
    for row in matrix.to_dict("records"):
        said = [_coloured(str(row[rule])) for rule in rules]
        table.add_row(str(row["engine"]), str(row["version"]), str(row["store"]), *said)
    return table


def _words(state: str) -> str:
    return state.partition(" ")[0]


def _style(state: str) -> str:
    return _STYLES.get(_words(state).rstrip(":"), "none")


def _coloured(cell: str) -> str:
    """Return a cell with its outcome's colour; the mark and the word say it without."""
    style = _STYLES.get(cell.rpartition(" ")[2])
    return f"[{style}]{cell}[/]" if style else cell
