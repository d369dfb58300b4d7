"""One whole regression: engines had, notebooks run on each, one record of what came out."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import kitref
from kitref import engines, errors, runs, tables
from kitref.engines import dind, places, private
from kitref.report import picture
from kitref.report.record import Had, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

REPRODUCE = "01-reproduce.ipynb"


def regress(
    *,
    folder: Path,
    notebooks: Path,
    wanted: Sequence[str] = (),
    require: Sequence[str] = (),
    parameters: dict[str, Any] | None = None,
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
        cell_seconds: How long a cell may take.
        report: Called with an engine's or a notebook's title and its new state, in words.

    Returns:
        The record; its files are ``results.json``, ``lookups.csv``, ``reproduce.svg`` and the
        executed notebooks.

    Raises:
        UsageError: A parameter, an engine or a required engine is not known; nothing was run.
    """
    start = runs.now()
    notebook = notebooks / REPRODUCE
    if not notebook.is_file():
        raise errors.UsageError(
            f"there is no {notebook}", remedy="run it in a clone of kitref, or give --notebooks"
        )
    reserved = {"engine", "store", "output"} & (parameters or {}).keys()
    if reserved:
        raise errors.UsageError(
            f"{', '.join(sorted(reserved))} is set by the run itself",
            remedy="choose engines with --engine",
        )
    given = runs.check_parameters(notebook, parameters or {})
    _check_values(given)
    choice = _choose(wanted)
    required = _required(require, choice)
    engines.sweep()
    with contextlib.ExitStack() as stack:
        folders = stack.enter_context(_folder())
        partial = stack.enter_context(runs.fresh(folder))
        had = stack.enter_context(_all(choice, report))
        shared = {
            f"{h.given}/{h.store}": {
                "name": h.engine.name,
                "url": h.engine.url,
                "source": h.engine.source,
            }
            for h in had
            if h.engine and h.engine.private
        }
        (partial / "notebooks").mkdir()
        jobs = {
            h.title: runs.Job(
                title=f"{notebook.stem} on {h.title}",
                notebook=notebook,
                output=partial
                / "notebooks"
                / f"{notebook.stem}.{_slot(partial, h.title).name}.ipynb",
                parameters=given
                | {
                    "engine": h.given,
                    "store": h.store,
                    "output": str(_slot(folders, h.title)),
                },
            )
            for h in had
        }
        stack.enter_context(runs.environment(folders, **{engines.RUNNING: json.dumps(shared)}))
        ran = runs.run(
            [jobs[h.title] for h in had if h.engine],
            report=lambda job, state: report(job.title, state),
            cell_seconds=cell_seconds,
        )
        ended = {result.job.title: result for result in ran}
        results = tuple(
            ended.get(job.title)
            or runs.Result(job=job, status="skipped", seconds=0.0, reason=h.reason)
            for h, job in zip(had, jobs.values(), strict=True)
        )
        lookups = tables.join(
            path for h in had if (path := _slot(folders, h.title) / "lookups.csv").exists()
        )
        record = Record(
            start=start,
            end=runs.now(),
            engines=had,
            results=results,
            lookups=lookups,
            required=required,
            folder=partial,
        )
        _write(record, partial)
    return dataclasses.replace(record, folder=folder)


def _slot(folder: Path, title: str) -> Path:
    """Return an engine's own folder of a run."""
    return folder / title.translate(str.maketrans("/:@", "..."))


def _write(record: Record, folder: Path) -> None:
    """Write a record's files."""
    tables.write(record.lookups, folder / "lookups.csv")
    if len(record.lookups):
        matrix = tables.matrix(record.lookups)
        picture.save(
            picture.draw(
                matrix, title="Is the image found under the name that each rule asks for?"
            ),
            folder / "reproduce.svg",
            alt=f"{len(matrix)} engines and stores by rule; the same as a table in lookups.csv",
        )
    (folder / "results.json").write_text(json.dumps(record.as_json(), indent=2) + "\n")


def _check_values(parameters: dict[str, Any]) -> None:
    """Refuse values that every notebook would refuse, before anything runs."""
    for name, value in parameters.items():
        if name.endswith("_rule"):
            kitref.rule(value)
        if name == "image":
            try:
                kitref.parse(value)
            except errors.InvalidReference as error:
                raise errors.UsageError(f"image: {error.reason} in {value!r}") from error


def _choose(wanted: Sequence[str]) -> list[private.Spec | str]:
    """Return the engines of a run: private ones, and addresses of the user's own."""
    if not wanted:
        try:
            return list(private.specs())
        except errors.EngineUnavailable:
            return ["own"]  # no private ones on this machine
    choice: list[private.Spec | str] = []
    for name in wanted:
        if name == "own" or "://" in name or dind.version(name.partition("/")[0]):
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
) -> Iterator[tuple[Had, ...]]:
    """Have all engines at once, each fetched and started beside the others."""
    with contextlib.ExitStack() as stack:
        # Leaving the pool waits for its threads, also on Ctrl-C: by then each engine that was
        # started has told the stack how to end it.
        with concurrent.futures.ThreadPoolExecutor(len(choice)) as pool:
            had = tuple(pool.map(lambda one: _have(one, stack, report), choice))
        yield had


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
