"""Ratios, measured in turns, and the page that shows them."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from kitref import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

say = Console(stderr=True).print

NOTES: Final = {
    "": "Nothing is known that keeps this from its goal: a miss that comes and goes is a busy"
    " machine, and one that stays where only this part is run is a change for the worse.",
    "kitref expand": "click is nine tenths of it. Tried: a module for each family of commands,"
    " imported when one runs, and in it nothing imported that only some options need. A miss that"
    " comes and goes is a busy machine.",
    "import kitref": "Three quarters of it are Python's `re` and `typing`. Tried: no dataclasses,"
    " no record whose types have to be compiled, nothing imported that only a wrong name needs. A"
    " miss that comes and goes is a busy machine: no ratio, this grows with whatever else runs.",
    "one name": "A half of it is the match, most of the rest Python's calls. Tried: one pattern"
    " that never steps back, its method looked up once, the path counted only where it may be too"
    " long. A miss that comes and goes is a busy machine.",
    "one name, invalid: upper case": "Go refuses such a name before it parses it, in less time than"
    " Python takes to raise and catch an exception, whatever it does besides: the last row does"
    " nothing else. Tried: a class whose `__init__` is written in C, the fault worked out only when"
    " it is read, one pattern instead of two with a split before them, its method looked up once.",
    "one name, invalid: image ID": "The same: a half of it is the exception, the rest the match.",
    "look-ups": "An engine with a graph store answers in less time than most clients need to ask it"
    " and to read the answer. Tried: the Engine API's own client (which opens a connection a name),"
    " its transports behind `requests` and behind urllib3, aiohttp, httpcore and Python's own HTTP;"
    " libcurl, which stands, takes a quarter to half of the processor's time of any of these. The"
    " kit works while the engine does: what it takes of all cores, with all engines asked side by"
    " side as the notebooks ask them, has a table of its own.",
}
"""What to say of a goal that is not met, by how its table's title begins; the longest counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One ratio.

    Attributes:
        group: What is measured, in words; a table of the page.
        unit: The unit of `took`.
        subject: Who does it, or on what.
        ratio: The median ratio to what the group compares with; None where it is no ratio.
        took: The median of the subject's own figure.
        goal: What the ratio (or the figure, where it is none) has to be, such as ``<= 0.5``; empty
            where nothing is asked.
        met: Whether it is; None where nothing is asked.
    """

    group: str
    unit: str
    subject: str
    ratio: float | None
    took: float
    goal: str = ""
    met: bool | None = None


class Figures:
    """What was measured, with what could not be.

    Args:
        turns: How many turns.

    Attributes:
        all: The figures.
        missing: What could not be measured, and why.
        versions: What was measured, and in which version.
    """

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.all: list[Figure] = []
        self.missing: dict[str, str] = {}
        self.versions: dict[str, str] = {}

    def compare(
        self,
        group: str,
        unit: str,
        base: Callable[[], float],
        subjects: Mapping[str, Callable[[], float]],
        goals: Mapping[str, str],
        *,
        times_faster: bool = False,
        rounds: int = 1,
    ) -> None:
        """Measure subjects and what they are compared with in turns, and keep the ratios.

        Where a goal is set, a turn has rounds, in each of which both sides run; the best of each
        side counts.
        """
        taken: dict[str, list[tuple[float, float]]] = {subject: [] for subject in subjects}
        for turn in range(self.turns):
            for subject, measure in subjects.items():
                say(f"turn {turn + 1}: {group}: {subject}", style="dim", highlight=False)
                try:
                    times = [(base(), measure()) for _ in range(rounds if subject in goals else 1)]
                    base_took, took = map(min, zip(*times, strict=True))
                    taken[subject].append((base_took, took))
                except subprocess.CalledProcessError as error:
                    said = f"exit code {error.returncode}: {error.stderr.strip()[-200:]}"
                    self.missing[f"{group}: {subject}"] = said
                except (ValueError, errors.KitrefError) as error:
                    self.missing[f"{group}: {subject}"] = str(error)[:200]
        for subject, pairs in taken.items():
            if pairs:
                ratio = statistics.median(b / s if times_faster else s / b for b, s in pairs)
                took = statistics.median(took for _, took in pairs)
                self.keep(group, unit, subject, took, goals.get(subject, ""), ratio=ratio)

    def keep(
        self,
        group: str,
        unit: str,
        subject: str,
        took: float,
        goal: str = "",
        *,
        ratio: float | None = None,
    ) -> None:
        """Keep a figure, judged by its ratio where it has one."""
        judged = took if ratio is None else ratio
        self.all.append(
            Figure(
                group=group,
                unit=unit,
                subject=subject,
                ratio=ratio,
                took=took,
                goal=goal,
                met=_holds(judged, goal) if goal else None,
            )
        )

    def report(self) -> tuple[str, dict[str, Any]]:
        """Return the page, and the same as data."""
        own = {name: metadata.version(name) for name in ("numba", "numpy", "pyarrow")}
        versions = self.versions | own  # a peer's environment may have others
        machine = _machine()
        lines = [
            "# How fast it is",
            "",
            f"Made by `make bench`: medians of {self.turns} turns; both sides ran in each.",
            "",
            "| on | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in (machine | versions).items()),
        ]
        for group in dict.fromkeys(figure.group for figure in self.all):
            lines += _table([figure for figure in self.all if figure.group == group])
        if self.missing:
            lines += ["", "## Not measured", ""]
            lines += [f"- {name}: {why}" for name, why in self.missing.items()]
        data = {
            "machine": machine,
            "versions": versions,
            "turns": self.turns,
            "figures": [asdict(figure) for figure in self.all],
            "missing": self.missing,
        }
        return "\n".join(lines) + "\n", data


def _table(figures: list[Figure]) -> list[str]:
    """Return the lines of one table, with what there is to say of a goal that is not met."""
    group, unit = figures[0].group, figures[0].unit
    lines = ["", f"## {group}", "", f"| | ratio | {unit} | goal | met |", "|---|---:|---:|---|---|"]
    for each in figures:
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        goal = each.goal.replace("<=", "≤").replace(">=", "≥")
        met = {None: "", True: "yes", False: "**no**"}[each.met]
        lines.append(f"| {each.subject} | {ratio} | {each.took:.2f} | {goal} | {met} |")
    if any(each.met is False for each in figures):
        lines += ["", NOTES[max((name for name in NOTES if group.startswith(name)), key=len)]]
    return lines


def _holds(figure: float, goal: str) -> bool:
    sign, number = goal.split()
    return figure <= float(number) if sign == "<=" else figure >= float(number)


def _machine() -> dict[str, Any]:
    """Return what it was measured on; nothing that says whose machine it is."""
    model = "unknown"
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 30} GiB",
        "system": platform.system(),
        "python": platform.python_version(),
    }
