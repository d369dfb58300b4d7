"""The time line of a run: what took how long, and how much of it could not be avoided."""

from __future__ import annotations

import dataclasses
import itertools
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BAR: Final = 40  # characters of the time line
_WIDTH: Final = 110  # of what is no terminal
_KERNEL, _IMPORTS, _ENGINE = "kernel start", "imports", "engine start"
_MARKS: Final = {"fetch": "f", _ENGINE: "e", _KERNEL: "k", _IMPORTS: "i"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of a run.

    Attributes:
        lane: The engine's or the notebook's title.
        what: ``fetch``, ``engine start``, ``kernel start`` (with the worker's), ``imports``, or a
            cell.
        start: Seconds from the start of the run.
        end: The same, of its end.
    """

    lane: str
    what: str
    start: float
    end: float


class Clock:
    """What a run reports, with the time of each."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._events: dict[str, list[tuple[float, str]]] = {}

    def __call__(self, title: str, state: str) -> None:
        """Take the time of a state, and report it."""
        with self._lock:
            at = time.monotonic() - self._start
            self._events.setdefault(title, []).append((at, state))
        self._report(title, state)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return round(time.monotonic() - self._start, 2)

    def spans(self) -> tuple[Span, ...]:
        """Return what took how long: a span lasts until its lane's next state."""
        found = []
        for lane, events in self._events.items():
            notebook = any(state.startswith("cell ") for _, state in events)
            cells = 0
            for (start, state), (end, _) in itertools.pairwise(events):
                cells += state.startswith("cell ")
                what = state
                if state.startswith("cell "):
                    what = _IMPORTS if cells == 1 else state
                elif state == "starting":
                    what = _KERNEL if notebook else _ENGINE
                elif not notebook:
                    what = "fetch"
                found.append(Span(lane=lane, what=what, start=round(start, 2), end=round(end, 2)))
        return tuple(found)


def unavoidable(spans: Sequence[Span], cores: int | None = None) -> float:
    """Return the seconds that no order of work saves.

    The slowest start of an engine, and then every kernel's start and imports, which keep a core
    each, spread over the cores.

    Args:
        spans: The spans of a run.
        cores: How many cores there are; by default this machine's.
    """
    engines = [span.end - span.start for span in spans if span.what == _ENGINE]
    kernels = [span.end - span.start for span in spans if span.what in (_KERNEL, _IMPORTS)]
    # While more notebooks than cores start side by side, each takes longer than it would alone.
    at_once = min((cores or os.cpu_count() or 1) + 1, max(len(kernels) // 2, 1))
    return round(max(engines, default=0.0) + sum(kernels) / at_once, 2)


def show(spans: Sequence[Span], wall: float) -> None:
    """Print a time line, a row a lane, and what could not be avoided.

    Args:
        spans: The spans.
        wall: Seconds of the whole run.
    """
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    grid = Table()
    for head in ("lane", "seconds", "time line"):
        grid.add_column(head, no_wrap=True)
    for lane in dict.fromkeys(span.lane for span in spans):
        of_it = [span for span in spans if span.lane == lane]
        bar = [" "] * _BAR
        for span in of_it:
            first = int(span.start / wall * _BAR)
            last = max(first + 1, round(span.end / wall * _BAR))
            bar[first:last] = [_MARKS.get(span.what, "#")] * (min(last, _BAR) - first)
        total = sum(span.end - span.start for span in of_it)
        grid.add_row(Text(lane), f"{total:.1f}", Text("".join(bar)))
    console.print(grid)
    console.print("f fetch, e engine start, k kernel start, i imports, # cells")
    least = unavoidable(spans)
    console.print(
        f"wall {wall:.1f} s; the slowest engine's start, and every kernel's start and imports over"
        f" the cores: {least:.1f} s; ratio {wall / max(least, 0.1):.2f}",
        highlight=False,
        soft_wrap=True,
    )
