"""One whole regression: engines had, notebooks run on each, one record of what came out."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kitref
from kitref import baseline as baselines
from kitref import engines, errors, runs, tables
from kitref.engines import attach, dind, places, private
from kitref.registry import private as registries
from kitref.report import html, junit, picture, timeline
from kitref.report.record import Change, Had, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd

REPRODUCE = "01-reproduce.ipynb"
"""The notebook that runs once on each engine."""

MATRIX = "03-engines.ipynb"
"""The notebook that runs once on all of them."""

BUILD = "04-linuxkit-build.ipynb"
"""The notebook that runs once on the newest engine of each store."""


def regress(
    *,
    folder: Path,
    notebooks: Path,
    wanted: Sequence[str] = (),
    require: Sequence[str] = (),
    parameters: dict[str, Any] | None = None,
    baseline: Path | None = None,
    cell_seconds: int = runs.CELL_SECONDS,
    report: Callable[[str, str], None] = lambda _title, _state: None,
) -> Record:
    """Run the notebooks on every engine and store that can be had, and write what came out.

    Args:
        folder: Where to write; replaced as a whole when the run ends.
        notebooks: The folder of the notebooks.
        wanted: Engines: names, suites, titles, ``own`` or URLs; none means all private ones.
        require: Engines that must be had (names, suites or titles), or ``all``.
        parameters: Notebook parameters, for every notebook.
        baseline: The folder of the baseline to compare with, if any.
        cell_seconds: How long a cell may take.
        report: Called with an engine's or a notebook's title and its new state, in words.

    Returns:
        The record; its files are ``results.json``, ``junit.xml``, ``report.html``,
        ``lookups.csv``, ``reproduce.svg`` and the executed notebooks.

    Raises:
        UsageError: A parameter, an engine or a required engine is not known, or the baseline is
            none; nothing was run.
    """
    start = runs.now()
    report = clock = timeline.Clock(report)
    given = _parameters(notebooks, parameters or {})
    choice = _choose(wanted)
    required = _required(require, choice)
    # Of the default parameters' answers alone, which the baseline holds.
    expected = baselines.read(baseline) if baseline and not parameters else None
    engines.sweep()
    with contextlib.ExitStack() as stack:
        # A kernel that was killed (Ctrl-C, a cell's time, a crash) has left its names on a user's
        # engine, and only a sweep takes them away.
        stack.callback(engines.sweep)
        folders = stack.enter_context(_folder())
        partial = stack.enter_context(runs.fresh(folder))
        (partial / "notebooks").mkdir()
        shared = folders / "engines.json"
        stack.enter_context(runs.environment(folders, **{engines.RUNNING: str(shared)}))
        # Kernels start while the engines do.
        crew = stack.enter_context(runs.Crew(notebooks, cell_seconds=cell_seconds))
        had, lacking = stack.enter_context(_all(choice, report))
        shared.write_text(_shared(had))
        jobs = _jobs(had, notebooks, given, partial, folders, lacking)
        ran = crew.run(
            [job for job, reason in jobs if not reason],
            report=lambda job, state: report(job.title, state),
        )
        ended = {result.job.title: result for result in ran}
        lookups = _lookups([job for job, _ in jobs])
        results = tuple(
            ended.get(job.title)
            or runs.Result(job=job, status="skipped", seconds=0.0, reason=reason)
            for job, reason in jobs
        )
        record = Record(
            start=start,
            end=runs.now(),
            engines=had,
            results=results,
            lookups=lookups,
            reproduced=_lookups([job for job, _ in jobs if job.notebook.name == REPRODUCE]),
            changes=_changes(lookups, expected, results, report),
            required=required,
            folder=partial,
            spans=clock.spans(),
            wall=clock.seconds,
        )
        _write(record, partial)
    return dataclasses.replace(record, folder=folder)


def update_baseline(record: Record, folder: Path) -> list[Path]:
    """Write the baseline from a run.

    Args:
        record: A complete run: every private engine of the machine was had, and every notebook
            passed with its default parameters.
        folder: The folder of the baseline.

    Returns:
        The files that were written.

    Raises:
        UsageError: The run is not complete; nothing is written.
        Finding: Two engines of one class answer differently, or the fixed rule asks for another
            name than the corpus says; nothing is written.
    """
    missing = {spec.title for spec in private.specs()} - {
        one.title for one in record.engines if one.engine
    }
    ended = [result.job.title for result in record.results if result.status != "passed"]
    if lacking := [*sorted(missing), *ended]:
        raise errors.UsageError(
            f"the run is not complete, so the baseline stays ({', '.join(lacking)})",
            remedy="run it again when every engine can be had and every notebook passes",
        )
    return baselines.update(record.lookups, folder)


def _parameters(notebooks: Path, parameters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parameters of each notebook, checked; each takes those that it declares."""
    reserved = {"engine", "engines", "store", "output"} & parameters.keys()
    if reserved:
        raise errors.UsageError(
            f"{', '.join(sorted(reserved))} is set by the run itself",
            remedy="choose engines with --engine",
        )
    names = (REPRODUCE, MATRIX, BUILD)
    for name in names:
        if not (notebooks / name).is_file():
            raise errors.UsageError(
                f"there is no {notebooks / name}",
                remedy="run it in a clone of kitref, or give --notebooks",
            )
    if not parameters:
        return {name: {} for name in names}  # and nobody has to wait until they are read
    declared = {name: runs.declared(notebooks / name) for name in names}
    known = set().union(*declared.values())
    for name in parameters.keys() - known:
        raise errors.UsageError(
            f"no notebook has a parameter {name!r}", remedy="there are " + ", ".join(sorted(known))
        )
    given = {
        name: runs.check_parameters(
            notebooks / name, {key: parameters[key] for key in parameters.keys() & names}
        )
        for name, names in declared.items()
    }
    for checked in given.values():
        _check_values(checked)
    return given


def _jobs(
    had: tuple[Had, ...],
    notebooks: Path,
    given: dict[str, dict[str, Any]],
    folder: Path,
    folders: Path,
    lacking: str,
) -> list[tuple[runs.Job, str]]:
    """Return what is to be run, and why not where it is not: the longest first."""

    def job(name: str, on: str, **parameters: str) -> runs.Job:
        slot = f"{name.removesuffix('.ipynb')}.{on}".translate(str.maketrans("/:@ ", "...-"))
        return runs.Job(
            title=f"{name.removesuffix('.ipynb')} on {on}",
            notebook=notebooks / name,
            output=folder / "notebooks" / f"{slot}.ipynb",
            parameters=given[name] | parameters | {"output": str(folders / slot)},
        )

    live = ",".join(f"{one.given}/{one.store}" for one in had if one.engine)
    matrix = job(MATRIX, "all engines", engines=live)
    # Later ones are newer; one that was skipped gives way to one that was had.
    newest = {one.store: one for one in sorted(had, key=lambda one: one.engine is not None)}
    return [
        (matrix, "" if live else "no engine could be had"),
        *(
            (job(name, one.title, engine=one.given, store=one.store), one.reason or why)
            for name, these, why in ((REPRODUCE, had, ""), (BUILD, newest.values(), lacking))
            for one in these
        ),
    ]


def _shared(had: tuple[Had, ...]) -> str:
    """Return the engines that the notebooks share, as `kitref.engines.RUNNING` has them."""
    return json.dumps(
        {
            f"{one.given}/{one.store}": {
                "name": one.engine.name,
                "url": one.engine.url,
                "source": one.engine.source,
            }
            for one in had
            if one.engine and one.engine.private
        }
    )


def _lookups(jobs: list[runs.Job]) -> pd.DataFrame:
    """Return the look-ups that notebooks wrote."""
    ordered = sorted(jobs, key=lambda job: job.notebook.name)
    paths = (Path(job.parameters["output"]) / "lookups.csv" for job in ordered)
    return tables.join(path for path in paths if path.exists())


def _changes(
    lookups: pd.DataFrame,
    expected: Mapping[baselines.Key, baselines.Answer] | None,
    results: tuple[runs.Result, ...],
    report: Callable[[str, str], None],
) -> tuple[Change, ...]:
    """Return what became of the baseline, if there is one to compare with."""
    if expected is None:
        return ()
    complete = all(result.status != "error" for result in results)
    changes = baselines.compare(lookups, expected, complete=complete)
    count = Counter(change.status for change in changes)
    report("baseline", ", ".join(f"{n} {status}" for status, n in sorted(count.items())))
    return changes


def _write(record: Record, folder: Path) -> None:
    """Write a record's files."""
    tables.write(record.lookups, folder / "lookups.csv")
    if len(record.reproduced):
        matrix = tables.matrix(record.reproduced)
        picture.save(
            picture.draw(
                matrix, title="Is the image found under the name that each rule asks for?"
            ),
            folder / "reproduce.svg",
            alt=f"{len(matrix)} engines and stores by rule; the same as a table in lookups.csv",
        )
    (folder / "results.json").write_text(json.dumps(record.as_json(), indent=2) + "\n")
    junit.write(record, folder / "junit.xml")
    html.write(record, folder / "report.html")


def _check_values(parameters: dict[str, Any]) -> None:
    """Refuse values that every notebook would refuse, before anything runs."""
    for name, value in parameters.items():
        if name.endswith("_rule"):
            kitref.rule(value)
        if name == "image":
            try:
                named = kitref.parse(value)
            except errors.InvalidReference as error:
                raise errors.UsageError(f"image: {error.reason} in {value!r}") from error
            if named.digest:
                raise errors.UsageError(
                    f"image: no image can be tagged with a digest, as {value!r} asks",
                    remedy="leave the digest out",
                )


def _choose(wanted: Sequence[str]) -> list[private.Spec | str]:
    """Return the engines of a run: private ones, and addresses of the user's own."""
    if not wanted:
        try:
            return list(private.specs())
        except errors.EngineUnavailable:
            return ["own"]  # no private ones on this machine
    choice: list[private.Spec | str] = []
    for name in wanted:
        if "://" in name:
            attach.check(name)
        engine, slash, store = name.partition("/")
        in_container = bool(dind.version(engine))
        if in_container and slash:
            dind.check_store(engine, store)
        if name == "own" or "://" in name or in_container:
            choice.append(name)
            continue
        fitting = [spec for spec in private.specs() if name in (spec.title, spec.name, spec.suite)]
        if not fitting:
            raise errors.UsageError(
                f"there is no private engine {name!r}",
                remedy="take own, a URL, or one of " + ", ".join(s.title for s in private.specs()),
            )
        choice.extend(fitting)
    return list(dict.fromkeys(choice))


def _required(require: Sequence[str], choice: list[private.Spec | str]) -> frozenset[str]:
    """Return the titles of the engines that must be had."""
    titles = {c if isinstance(c, str) else c.title for c in choice}
    required: set[str] = set()
    for name in require:
        fitting = {title for title in titles if name in ("all", title, title.partition("/")[0])} | {
            c.title for c in choice if not isinstance(c, str) and c.suite == name
        }
        if not fitting:
            raise errors.UsageError(
                f"required engine {name!r} is none of this run's",
                remedy="take all, or one of " + ", ".join(sorted(titles)),
            )
        required |= fitting
    return frozenset(required)


@contextlib.contextmanager
def _all(
    choice: list[private.Spec | str], report: Callable[[str, str], None]
) -> Iterator[tuple[tuple[Had, ...], str]]:
    """Have all engines at once, each fetched and started beside the others.

    Yields:
        The engines, and why the private registry's package cannot be had; empty where it can.
    """
    with contextlib.ExitStack() as stack:
        # Leaving the pool waits for its threads, also on Ctrl-C: by then each engine that was
        # started has told the stack how to end it.
        with concurrent.futures.ThreadPoolExecutor(len(choice) + 1) as pool:
            lacking = pool.submit(_lacking)
            had = tuple(pool.map(lambda one: _have(one, stack, report), choice))
        yield had, lacking.result()


def _lacking() -> str:
    """Return why the private registry's package cannot be had; empty where it can."""
    try:
        registries.fetch()
    except errors.EngineUnavailable as error:
        return str(error)
    return ""


def _have(
    one: private.Spec | str, stack: contextlib.ExitStack, report: Callable[[str, str], None]
) -> Had:
    """Have one engine until the stack is left, or say why not."""
    title: str
    given: str
    store: str
    if isinstance(one, private.Spec):
        title, given, store = one.title, one.name, one.store
    elif dind.version(one.partition("/")[0]):
        title, given, store = one, one.partition("/")[0], one.partition("/")[2] or "any"
    else:
        title, given, store = one, one, "any"
    try:
        if isinstance(one, private.Spec):
            private.fetch(one, lambda step, share: report(title, f"{step} {share:.0%}"))
        report(title, "starting")
        engine = stack.enter_context(engines.opened(given, store))
    except errors.EngineUnavailable as error:
        report(title, f"skipped: {error}")
        return Had(title=title, given=given, store=store, reason=str(error))
    report(title, f"ready: {engine.kind} {engine.version}, store {engine.store}")
    return Had(title=title, given=given, store=engine.store, engine=engine)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Have a temporary folder that is removed also after a kill, at the next start."""
    folder = places.temporary()
    lease = places.Lease.take({"kind": "private", "title": "a run's folder", "folder": str(folder)})
    try:
        yield folder
    finally:
        places.discard(folder)
        lease.end()
