"""`make bench`: the kit beside its peers, in one run, as ratios.

Whatever is compared is run in turns, several times, and what counts is the median of the ratios of
each turn: a machine that is busy for a while is busy for both.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import pyarrow as pa
from rich.console import Console

import kitref
from benchmarks import lookups, names, peers
from kitref import columns, errors
from kitref.engines import places, private
from kitref.oracle import go

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kitref.engines import Engine

HERE: Final = Path(__file__).parent
REPORT: Final = HERE.parent / "reports" / "bench.md"
PYTHON_PEERS: Final = {
    "docker_image_py": "docker-image-py",
    "oras": "oras",
    "docker": "docker",
    "duckdb": "duckdb",
    "polars": "polars",
}
SINGLE_NAMES: Final = 50_000  # how often a single name is asked for in a turn
SAMPLE: Final = 300_000  # how many of a column's names the peers that go one by one are given

say = Console(stderr=True).print


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One ratio.

    Attributes:
        group: What is measured, in words; a table of the report.
        subject: Who does it, or on what.
        ratio: The median ratio to what the group compares with.
        took: The median of the subject's own time, in the group's unit.
        goal: What the ratio has to be, such as ``<= 0.5``; empty where nothing is asked.
        met: Whether it is; None where nothing is asked.
    """

    group: str
    subject: str
    ratio: float
    took: float
    goal: str = ""
    met: bool | None = None


class Bench:
    """What can be measured here, and what came of it.

    Args:
        turns: How many turns.
        folder: A folder for what the peers read.
    """

    def __init__(self, turns: int, folder: Path) -> None:
        self.turns = turns
        self.folder = folder
        self.figures: list[Figure] = []
        self.missing: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.go = self._go()
        self.python = self._python()

    def compare(
        self,
        group: str,
        base: Callable[[], float],
        subjects: Mapping[str, Callable[[], float]],
        goals: Mapping[str, str],
        *,
        times_faster: bool = False,
    ) -> None:
        """Measure subjects and what they are compared with in turns, and keep the ratios."""
        taken: dict[str, list[tuple[float, float]]] = {subject: [] for subject in subjects}
        for turn in range(self.turns):
            for subject, measure in subjects.items():
                say(f"turn {turn + 1}: {group}: {subject}", style="dim", highlight=False)
                try:
                    taken[subject].append((base(), measure()))
                except (subprocess.CalledProcessError, ValueError) as error:
                    self.missing[subject] = str(error)[:200]
        for subject, pairs in taken.items():
            if pairs:
                ratio = statistics.median(b / s if times_faster else s / b for b, s in pairs)
                goal = goals.get(subject, goals.get("", ""))
                self.figures.append(
                    Figure(
                        group=group,
                        subject=subject,
                        ratio=ratio,
                        took=statistics.median(took for _, took in pairs),
                        goal=goal,
                        met=_holds(ratio, goal) if goal else None,
                    )
                )

    def one_name(self) -> None:
        """Measure single names, by kind, against Go."""
        if self.go is None:
            return
        ways: dict[str, tuple[Callable[[str], object], str]] = {
            "expand": (kitref.expand, "<= 0.5"),
            "expand with tag": (lambda name: kitref.expand(name, with_tag=True), "<= 0.5"),
            "parse and canonical": (lambda name: kitref.parse(name).canonical, "<= 1"),
        }
        for kind, some in names.SINGLE.items():
            many = some * (SINGLE_NAMES // len(some))
            subjects = {
                f"kitref, {way}": partial(peers.one_by_one, answer, many)
                for way, (answer, _) in ways.items()
            } | {
                PYTHON_PEERS[peer]: partial(self._peer, peer, many)
                for peer in ("docker_image_py", "oras", "docker")
                if PYTHON_PEERS[peer] in self.versions
            }
            goals = {f"kitref, {way}": goal for way, (_, goal) in ways.items()}
            self.compare(
                f"one name, {kind}: time, in Go's (ns)",
                partial(self._go_time, many),
                subjects,
                goals,
            )

    def column(self, count: int) -> None:
        """Measure a column of distinct names against one thread of Go."""
        say(f"making {count} names", style="dim")
        given = names.column(count)
        sample = given[:SAMPLE].to_pylist()
        file = self.folder / "names.arrow"
        table = pa.table({"name": given})
        with pa.ipc.new_file(file, table.schema) as out:
            out.write_table(table)
        encoded = given[: count // 10].dictionary_encode()
        repeated = pa.DictionaryArray.from_arrays(
            pa.array([n % 1000 for n in range(SAMPLE)], pa.int32()), encoded.dictionary[:1000]
        )
        columns.expand(given[:1000])  # compiled
        columns.parse(given[:1000])
        subjects: dict[str, Callable[[], float]] = {
            "kitref.columns.expand": lambda: _each(lambda: columns.expand(given), count),
            "kitref.columns.expand, rule v1.0.1": lambda: _each(
                lambda: columns.expand(given, "v1.0.1"), count
            ),
            "kitref.columns.parse": lambda: _each(lambda: columns.parse(given), count),
            "kitref.columns.expand, dictionary of 1000": lambda: _each(
                lambda: columns.expand(repeated), len(repeated)
            ),
            "a loop over kitref.expand": lambda: peers.one_by_one(kitref.expand, sample),
        }
        for peer in ("duckdb", "polars"):
            if PYTHON_PEERS[peer] in self.versions:
                subjects[PYTHON_PEERS[peer]] = partial(self._peer, peer, [], file)
        group = f"{count:,} distinct names: throughput, in that of one thread of Go (ns a name)"
        if self.go:
            goals = {"kitref.columns.expand": ">= 30"}
            self.compare(group, lambda: self._go_time(sample), subjects, goals, times_faster=True)
        self.compare(
            "memory of a column's expansion, in that of the column (bytes a name)",
            lambda: given.nbytes / count,
            {"kitref.columns.expand": lambda: _memory(file) / count},
            {"": "<= 3"},
        )

    def hostile(self) -> None:
        """Measure a name of 10 MB against one of 1 MB: ten times as long, if it is linear."""

        def refused(megabytes: int, unit: str) -> Callable[[], float]:
            text = unit * (megabytes * 1_000_000 // len(unit)) + "!"
            return lambda: peers.one_by_one(kitref.expand, [text]) / 1e6

        for unit in ("a-", "a/", "a.", "a:"):
            self.compare(
                f"a name of 10 MB out of {unit!r}: time, in that of 1 MB (ms)",
                refused(1, unit),
                {"kitref, expand": refused(10, unit)},
                {"": "<= 20"},
            )

    def start(self) -> None:
        """Measure what the start of the kit costs."""

        def run(*command: str) -> Callable[[], float]:
            def took() -> float:
                times = []
                for _ in range(9):
                    start = time.perf_counter()
                    subprocess.run([sys.executable, *command], check=True, capture_output=True)
                    times.append((time.perf_counter() - start) * 1e3)
                return min(times)

            return took

        hello = "import click; click.command()(lambda: click.echo('alpine'))()"
        self.compare(
            "kitref expand alpine: time, in that of a click program that prints a word (ms)",
            run("-c", hello),
            {"kitref expand alpine": run("-m", "kitref", "expand", "alpine")},
            {"": "<= 1.3"},
        )
        bare, full = [], []
        for _ in range(self.turns):
            bare.append(run("-c", "pass")())
            full.append(run("-c", "import kitref")())
        more = statistics.median(f - b for f, b in zip(full, bare, strict=True))
        group = "import kitref: milliseconds more than the bare interpreter"
        self.figures.append(
            Figure(group=group, subject="import kitref", ratio=more, took=statistics.median(full),
                   goal="<= 30", met=more <= 30)  # noqa: PLR2004 - the issue's figure
        )  # fmt: skip

    def lookups(self, count: int = 1000) -> None:
        """Measure what the kit's look-ups take beside a client that does nothing but ask."""
        newest = {spec.store: spec for spec in private.specs()}
        for spec in newest.values():
            try:
                with private.running(spec) as engine, lookups.tagged(engine, count) as asked:
                    self.versions[spec.title] = engine.version
                    self.compare(
                        f"{count:,} look-ups on {spec.title}: time, in that of a bare client"
                        " (ms a look-up)",
                        lambda engine=engine, asked=asked: (
                            lookups.bare(engine, asked) / count * 1e3
                        ),
                        {
                            f"kitref, {width} at a time": partial(_lookups, engine, asked, width)
                            for width in (1, 2, 4, 8)
                        },
                        {"kitref, 1 at a time": "<= 1.1"},
                    )
            except errors.EngineUnavailable as error:
                self.missing[f"look-ups on {spec.title}"] = str(error)

    def _go(self) -> Path | None:
        """Build Go's peer, if it can be had."""
        try:
            oracle = go.build(lambda step, _share: say(f"Go: {step}", style="dim"))
            workshop = self.folder / "go"
            workshop.mkdir()
            shutil.copy(HERE / "main.go", workshop)
            go.run_go(oracle.tree, workshop, "go", "build", "-o", "bench", "main.go")
        except errors.EngineUnavailable as error:
            self.missing["Go"] = str(error)
            return None
        self.versions["Go"] = oracle.title
        return workshop / "bench"

    def _go_time(self, some: list[str]) -> float:
        return float(_output([f"{self.go}"], some))

    def _python(self) -> Path:
        """Install Python's peers into a virtual environment in the kit's cache."""
        home = places.cache() / "bench"
        python = home / "bin" / "python"
        try:
            if not python.exists():
                venv.create(home, with_pip=True)
            install = [
                f"{python}",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]
            for package in ("pyarrow", *PYTHON_PEERS.values()):
                say(f"installing {package}", style="dim")
                try:
                    _output([*install, package], [])
                except subprocess.CalledProcessError as error:
                    self.missing[package] = error.stderr.strip()[-200:]
                    continue
                code = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
                self.versions[package] = _output([f"{python}", "-c", code, package], []).strip()
        except (OSError, subprocess.CalledProcessError) as error:
            self.missing["Python's peers"] = f"no virtual environment ({error})"
        return python

    def _peer(self, peer: str, some: list[str], file: Path | None = None) -> float:
        command = [f"{self.python}", f"{HERE / 'peers.py'}", peer, *([f"{file}"] if file else [])]
        return float(_output(command, some))


def _lookups(engine: Engine, asked: list[str], width: int) -> float:
    return lookups.kit(engine, asked, width) / len(asked) * 1e3


def _each(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / count * 1e9


def _memory(file: Path) -> float:
    """Return how much the memory of a process grows at most by a column and its expansion."""
    # VmHWM is the most that it had; 5 makes it count anew (proc_pid_clear_refs(5)).
    code = (
        "import sys, pyarrow as pa; from kitref import columns\n"
        "columns.expand(pa.array(['alpine']))\n"
        "open('/proc/self/clear_refs', 'w').write('5')\n"
        "def most(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "before = most(); names = pa.ipc.open_file(sys.argv[1]).read_all()['name']\n"
        "columns.expand(names); print((most() - before) * 1024)"
    )
    return float(_output([sys.executable, "-c", code, f"{file}"], []))


def _output(command: list[str], lines: list[str]) -> str:
    given = "\n".join(lines)
    return subprocess.run(command, input=given, check=True, capture_output=True, text=True).stdout


def _holds(ratio: float, goal: str) -> bool:
    sign, number = goal.split()
    return ratio <= float(number) if sign == "<=" else ratio >= float(number)


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


def _report(bench: Bench, turns: int) -> tuple[str, dict[str, Any]]:
    """Return the report as a page and as data."""
    own = {name: metadata.version(name) for name in ("numba", "numpy", "pyarrow")}
    machine = _machine()
    lines = [
        "# How fast it is",
        "",
        f"Made by `make bench`: the medians of {turns} turns, in each of which both sides ran.",
        "",
        "| on | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in machine.items()),
        *(f"| {name} | {value} |" for name, value in (own | bench.versions).items()),
    ]
    group = ""
    for figure in bench.figures:
        if figure.group != group:
            group = figure.group
            title, _, unit = group.rpartition(" (")
            unit = unit.rstrip(")") if title else "ms"
            head = f"| | ratio | {unit} | goal | met |"
            lines += ["", f"## {title or group}", "", head, "|---|---:|---:|---|---|"]
        met = "" if figure.met is None else ("yes" if figure.met else "**no**")
        goal = figure.goal.replace("<=", "≤").replace(">=", "≥")
        row = f"{figure.subject} | {figure.ratio:.2f} | {figure.took:.1f} | {goal} | {met}"
        lines.append(f"| {row} |")
    if bench.missing:
        lines += ["", "## Not measured", ""]
        lines += [f"- {name}: {why}" for name, why in bench.missing.items()]
    data = {
        "machine": machine,
        "versions": own | bench.versions,
        "turns": turns,
        "figures": [asdict(figure) for figure in bench.figures],
        "missing": bench.missing,
    }
    return "\n".join(lines) + "\n", data


@click.command()
@click.option("--turns", default=5, show_default=True, help="How many turns.")
@click.option("--count", default=10_000_000, show_default=True, help="How many names a column has.")
@click.option(
    "--only",
    type=click.Choice(["start", "hostile", "one-name", "column", "look-ups"]),
    multiple=True,
    help="What to measure, again for more.  [default: all]",
)
@click.option(
    "--report", type=click.Path(path_type=Path), default=REPORT, help="The page to write."
)
def main(turns: int, count: int, only: tuple[str, ...], report: Path) -> None:
    """Measure the kit beside its peers, and write the page and, beside it, the same as JSON."""
    with tempfile.TemporaryDirectory(prefix="kitref-bench-") as folder:
        bench = Bench(turns, Path(folder))
        bench.missing["the run"] = "kitref regress --profile shows it as a time line"
        parts: dict[str, Callable[[], None]] = {
            "start": bench.start,
            "hostile": bench.hostile,
            "one-name": bench.one_name,
            "column": lambda: bench.column(count),
            "look-ups": bench.lookups,
        }
        for name in only or parts:
            parts[name]()
    page, data = _report(bench, turns)
    report.write_text(page, "utf-8")
    report.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    click.echo(page)


if __name__ == "__main__":
    main()
