"""`make bench`: the kit beside its peers, in one run, as ratios.

Whatever is compared is run in turns, several times, and what counts is the median of the ratios of
each turn: a machine that is busy for a while is busy for both. What takes but a moment is run in
rounds, by either side in each, and of a turn the best of each side counts.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import lookups, names, peers
from benchmarks.figures import Figures, say
from kitref import columns, corpus, errors
from kitref.engines import places, private
from kitref.oracle import go

if TYPE_CHECKING:
    from collections.abc import Callable

    from kitref.engines import Engine

HERE: Final = Path(__file__).parent
CLONE: Final = HERE.parent
REPORT: Final = CLONE / "reports" / "bench.md"
PYTHON_PEERS: Final = {
    "docker_image_py": "docker-image-py",
    "oras": "oras",
    "docker": "docker",
    "duckdb": "duckdb",
    "polars": "polars",
}
ROUNDS: Final = 25  # of a turn, each shorter than a busy machine lets a process run
SINGLE_NAMES: Final = 1_000  # how often a single name is asked for in a round
SAMPLE: Final = 300_000  # how many of a column's names the peers that go one by one are given
REPEATED: Final = 1 << 21  # rows of a column with few distinct names
FILES: Final = 8  # of a folder
AT_ONCE: Final = (1, 4, 16, 32)  # look-ups at a time; the kit takes 16
MATRIX: Final = 200  # names of a matrix; the look-ups are some ten times as many
EXPAND: Final = ("expand(name)", "from kitref import expand")
NOT_COMPILING: Final = "PYTHONDONTWRITEBYTECODE"
EXCEPTION: Final = "an exception in Python, and nothing else"


class Bench:
    """What can be measured here, and what came of it.

    Args:
        turns: How many turns.
        folder: A folder for what the peers read.
    """

    def __init__(self, turns: int, folder: Path) -> None:
        self.figures = Figures(turns)
        self.folder = folder

    # What is measured.

    def start(self) -> None:
        """Measure what the start of the kit costs."""
        hello = "import click; click.command()(lambda: click.echo('alpine'))()"
        subject = "kitref expand alpine"
        self.figures.compare(
            f"{subject}: time, in that of a click program that prints a word",
            "ms",
            partial(_start, sys.executable, "-c", hello),
            {subject: partial(_start, f"{Path(sys.executable).parent}/kitref", "expand", "alpine")},
            {subject: "<= 1.3"},
            rounds=ROUNDS,
        )
        python = partial(_start, sys.executable, "-c")

        def more() -> float:
            times = [(python("pass"), python("import kitref")) for _ in range(ROUNDS)]
            bare, kit = map(min, zip(*times, strict=True))
            return kit - bare

        group = "import kitref: what it takes more than the bare interpreter"
        took = statistics.median(more() for _ in range(self.figures.turns))
        self.figures.keep(group, "ms", "import kitref", took, "<= 30")

    def hostile(self) -> None:
        """Measure a name of 10 MB against one of 1 MB: ten times as long, if it is linear."""

        def refused(megabytes: int, unit: str) -> float:
            text = unit * (megabytes * 1_000_000 // len(unit)) + "!"
            return peers.one_by_one([text], *EXPAND) / 1e6

        for unit in ("a-", "a/", "a.", "a:"):
            self.figures.compare(
                f"a name of 10 MB out of {unit!r}: time, in that of 1 MB",
                "ms",
                partial(refused, 1, unit),
                {"kitref, expand": partial(refused, 10, unit)},
                {"kitref, expand": "<= 20"},
            )

    def one_name(self) -> None:
        """Measure single names, by kind: a loop over the call itself, on either side."""
        tagged = ("expand(name, with_tag=True)", "from kitref import expand")
        canonical = ("parse(name).canonical", "from kitref import parse")
        refused = ("refuse(name)", "def refuse(name):\n raise ValueError(name)")
        ways = {
            "kitref, expand": (EXPAND, "<= 0.5"),
            "kitref, expand with tag": (tagged, "<= 0.5"),
            "kitref, parse and canonical": (canonical, "<= 1"),
        }
        for kind, some in names.SINGLE.items():
            many = some * (SINGLE_NAMES // len(some))
            subjects = {
                way: partial(peers.one_by_one, many, *call) for way, (call, _) in ways.items()
            } | {
                PYTHON_PEERS[peer]: partial(self._peer, peer, many)
                for peer in ("docker_image_py", "oras", "docker")
                if self._has(peer)
            }
            if kind.startswith("invalid"):
                subjects[EXCEPTION] = partial(peers.one_by_one, many, *refused)
            base, whose = self._base(many)
            goals = {way: goal for way, (_, goal) in ways.items()} if self.go else {}
            group = f"one name, {kind}: time, in that of {whose}"
            self.figures.compare(group, "ns", base, subjects, goals, rounds=ROUNDS)

    def column(self, count: int) -> None:
        """Measure a column of distinct names."""
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
        expand = "kitref.columns.expand"
        subjects: dict[str, Callable[[], float]] = {
            expand: lambda: _each(lambda: columns.expand(given), count),
            f"{expand}, rule v1.0.1": lambda: _each(lambda: columns.expand(given, "v1.0.1"), count),
            "kitref.columns.parse": lambda: _each(lambda: columns.parse(given), count),
            f"{expand}, dictionary of 1000": lambda: _each(
                lambda: columns.expand(repeated), len(repeated)
            ),
            "a loop over kitref.expand": lambda: peers.one_by_one(sample, *EXPAND),
        } | {
            PYTHON_PEERS[peer]: partial(self._peer, peer, [], f"{file}")
            for peer in ("duckdb", "polars")
            if self._has(peer)
        }
        base, whose = self._base(sample)
        group = f"{count:,} distinct names: throughput, in that of {whose}"
        goals = {expand: ">= 30"} if self.go else {}
        self.figures.compare(group, "ns a name", base, subjects, goals, times_faster=True)
        self._few_distinct(encoded.dictionary)
        self.figures.compare(
            "memory of a column's expansion, in that of the column",
            "bytes a name",
            lambda: given.nbytes / count,
            {expand: lambda: _memory(file) / count},
            {expand: "<= 3"},
        )

    def _few_distinct(self, given: pa.Array) -> None:
        """Measure a plain column as it is, by its distinct values, and as the kit chooses."""
        # So many rows at a time that the kit, too, takes them as they are.
        firsts, rows = range(0, REPEATED, 1 << 18), 1 << 18

        def by_values(work: Callable[[pa.Array], object], part: pa.Array) -> None:
            encoded = part.dictionary_encode()
            work(encoded.dictionary).take(encoded.indices)  # type: ignore[attr-defined]

        def best(work: Callable[[], object]) -> float:
            return min(_each(work, REPEATED) for _ in range(3))

        digest = pc.binary_join_element_wise(given[:1000], f"sha256:{'0' * 64}", "@")
        for kind, few in {"names": given[:1000], "names with a digest": digest}.items():
            plain = few.take(pa.array([n * 7919 % 1000 for n in range(REPEATED)], pa.int32()))
            parts = [plain[first : first + rows] for first in firsts]
            for work in (columns.expand, columns.parse):
                self.figures.compare(
                    f"{work.__name__}, a plain column of 1000 distinct {kind}: throughput,"
                    " in that of the same as it is",
                    "ns a name",
                    partial(best, lambda work=work, parts=parts: [work(part) for part in parts]),
                    {
                        "by its distinct values": partial(
                            best,
                            lambda work=work, parts=parts: [by_values(work, p) for p in parts],
                        ),
                        f"kitref.columns.{work.__name__}": partial(best, partial(work, plain)),
                    },
                    {},
                    times_faster=True,
                )

    def files(self, count: int) -> None:
        """Measure a folder of Parquet files, by one process and by two workers."""
        say(f"writing {count} names", style="dim")
        given = names.column(count)
        source, out = self.folder / "in", self.folder / "out"
        source.mkdir()
        each = count // FILES
        for at in range(FILES):
            pq.write_table(pa.table({"name": given[at * each : (at + 1) * each]}),
                           source / f"{at}.parquet", compression="zstd")  # fmt: skip

        def expanded(*options: str) -> float:
            shutil.rmtree(out, ignore_errors=True)
            command = (sys.executable, "-m", "kitref", "expand-file", f"{source}", f"{out}")
            # Some of the names are invalid, which is a finding.
            return _each(lambda: _output([*command, *options], [], fine=(0, 1)), count)

        def cluster(workers: int) -> float:
            from distributed import Client, LocalCluster  # noqa: PLC0415 - slow to import

            local = LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None,
                local_directory=f"{self.folder}",
            )  # fmt: skip
            with local, Client(local) as client:
                client.wait_for_workers(workers)
                return expanded("--scheduler", local.scheduler_address)

        subjects: dict[str, Callable[[], float]] = {
            "kitref expand-file": expanded,
            "kitref expand-file, two Dask workers": partial(cluster, 2),
        }
        if self._has("duckdb"):
            parts = (f"{source}/*.parquet", f"{self.folder / 'duckdb.parquet'}")
            subjects["duckdb"] = partial(self._peer, "duckdb_files", [], *parts)
        base, whose = self._base(given[:SAMPLE].to_pylist())
        self.figures.compare(
            f"{FILES} Parquet files of {each:,} names, read, expanded and written:"
            f" throughput, in that of {whose}, which reads and writes none",
            "ns a name",
            base,
            subjects,
            {},
            times_faster=True,
        )

    def lookups(self, count: int = 1000) -> None:
        """Measure look-ups beside a client that only asks, and the kit's share of a matrix."""
        images = corpus.taggable()[:MATRIX]
        engines: list[Engine] = []
        with contextlib.ExitStack() as running:
            for spec in private.specs():
                try:
                    engine = running.enter_context(private.running(spec))
                except errors.EngineUnavailable as error:
                    self.figures.missing[f"look-ups on {spec.title}"] = str(error)
                    continue
                self.figures.versions[engine.title] = engine.version
                engines.append(engine)
            for engine in {engine.store: engine for engine in engines}.values():  # the newest
                self._one_engine(engine, count)
            of_wall = (
                "look-ups of a matrix: the kit's processor time, in that until all are answered"
            )
            for engine in engines:
                self._matrix(of_wall, engine.title, [engine], images, goal="<= 10")
            cores = len(os.sched_getaffinity(0))
            share = "look-ups of a matrix: the kit's own share of the time of all cores"
            if engines:
                self._matrix(share, "all engines side by side", engines, images, cores, "<= 10")

    def _matrix(
        self,
        group: str,
        subject: str,
        engines: list[Engine],
        images: list[str],
        cores: int = 1,
        goal: str = "",
    ) -> None:
        say(f"{group}: {subject}", style="dim", highlight=False)
        taken = [lookups.matrix(engines, images) for _ in range(self.figures.turns)]
        share = statistics.median(own / (wall * cores) for _, own, wall in taken)
        self.figures.keep(group, "%", f"{subject}, {taken[0][0]:,} look-ups", share * 100, goal)

    def _one_engine(self, engine: Engine, count: int) -> None:
        with lookups.tagged(engine, count) as asked:

            def each(took: Callable[..., float], *more: int) -> float:
                return took(engine, asked, *more) / count * 1e3

            self.figures.compare(
                f"look-ups on {engine.title}, {count:,}: time, in that of Python's own HTTP",
                "ms a look-up",
                partial(each, lookups.bare),
                {"docker": partial(each, lookups.client)}
                | {f"kitref, {n} at a time": partial(each, lookups.kit, n) for n in AT_ONCE},
                {},
            )

    def run(self) -> None:
        """Measure a whole regression against what no order of work can save."""
        out = self.folder / "latest"
        wall, least = [], []
        for turn in range(min(self.figures.turns, 3)):
            say(f"turn {turn + 1}: kitref regress", style="dim")
            command = [sys.executable, "-m", "kitref", "regress", "--json", "--output", f"{out}"]
            done = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, check=False)
            if done.returncode:
                self.figures.missing["kitref regress"] = done.stderr.strip()[-200:]
                return
            profile = json.loads(done.stdout)["profile"]
            wall.append(profile["seconds"])
            least.append(profile["unavoidable"])
        ratio = statistics.median(w / u for w, u in zip(wall, least, strict=True))
        group = "a whole regression: wall time, in that of what cannot be avoided"
        took = statistics.median(wall)
        self.figures.keep(group, "s", "kitref regress", took, ratio=ratio)
        self.figures.keep(group, "s", "the goal: seconds on two cores", took, "<= 60")

    # What it is measured against.

    @functools.cached_property
    def go(self) -> Path | None:
        """Go's peer, built; None if it cannot be had."""
        try:
            oracle = go.build(lambda step, _share: say(f"Go: {step}", style="dim"))
            workshop = self.folder / "go"
            workshop.mkdir()
            shutil.copy(HERE / "main.go", workshop)
            go.run_go(oracle.tree, workshop, "go", "build", "-o", "bench", "main.go")
        except errors.EngineUnavailable as error:
            self.figures.missing["Go"] = str(error)
            return None
        self.figures.versions["Go"] = oracle.title
        return workshop / "bench"

    def _base(self, some: list[str]) -> tuple[Callable[[], float], str]:
        """Return what names are measured against, and in words whose it is."""
        if self.go is None:
            return partial(peers.one_by_one, some, *EXPAND), "a loop over kitref.expand"
        return lambda: float(_output([f"{self.go}"], some)), "one thread of Go"

    @functools.cached_property
    def python(self) -> Path:
        """Python's peers, in a virtual environment in the kit's cache."""
        home = places.cache() / "bench"
        python = home / "bin" / "python"
        try:
            if not python.exists():
                venv.create(home, with_pip=True)
            pip = [f"{python}", "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
            for package in ("pyarrow", *PYTHON_PEERS.values()):
                say(f"installing {package}", style="dim")
                try:
                    _output([*pip, package], [])
                except subprocess.CalledProcessError as error:
                    self.figures.missing[package] = error.stderr.strip()[-200:]
                    continue
                code = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
                version = _output([f"{python}", "-c", code, package], [])
                self.figures.versions[package] = version.strip()
        except (OSError, subprocess.CalledProcessError) as error:
            self.figures.missing["Python's peers"] = f"no virtual environment ({error})"
        return python

    def _has(self, peer: str) -> bool:
        return self.python.exists() and PYTHON_PEERS[peer] in self.figures.versions

    def _peer(self, peer: str, some: list[str], *files: str) -> float:
        return float(_output([f"{self.python}", f"{HERE / 'peers.py'}", peer, *files], some))


def _start(*command: str) -> float:
    """Return the milliseconds of a process's whole life."""
    # What pip installs is compiled; the first start compiles what is run from a clone.
    compiling = {name: value for name, value in os.environ.items() if name != NOT_COMPILING}
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=compiling)
    return (time.perf_counter() - start) * 1e3


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


def _output(command: list[str], lines: list[str], fine: tuple[int, ...] = (0,)) -> str:
    given = "\n".join(lines)
    ran = subprocess.run(command, input=given, check=False, capture_output=True, text=True)
    if ran.returncode not in fine:
        ran.check_returncode()
    return ran.stdout


@click.command()
@click.option("--turns", default=5, show_default=True, help="How many turns.")
@click.option("--count", default=10_000_000, show_default=True, help="How many names a column has.")
@click.option(
    "--only",
    type=click.Choice(["start", "hostile", "one-name", "column", "files", "look-ups", "run"]),
    multiple=True,
    help="What to measure, again for more.  [default: all]",
)
@click.option(
    "--report", type=click.Path(path_type=Path), default=REPORT, help="The page to write."
)
def main(turns: int, count: int, only: tuple[str, ...], report: Path) -> None:
    """Measure the kit beside its peers, and write the page and, beside it, the same as JSON.

    \b
    Example:
      python -m benchmarks --only one-name --turns 3 --report one-name.md
    """  # noqa: D301 - click's mark
    with tempfile.TemporaryDirectory(prefix="kitref-bench-") as folder:
        bench = Bench(turns, Path(folder))
        parts: dict[str, Callable[[], None]] = {
            "start": bench.start,
            "hostile": bench.hostile,
            "one-name": bench.one_name,
            "column": partial(bench.column, count),
            "files": partial(bench.files, count),
            "look-ups": bench.lookups,
            "run": bench.run,
        }
        for name in only or parts:
            parts[name]()
    page, data = bench.figures.report()
    report.write_text(page, "utf-8")
    report.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    click.echo(page)


if __name__ == "__main__":
    main()
