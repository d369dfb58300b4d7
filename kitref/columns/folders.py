"""Folders of files, on this machine or in an object store, by this process or by a Dask cluster.

The unit of work is a file. Doing one twice, even at the same time, does no harm: it appears as a
whole, and is the same each time. A mark is left beside it with what was counted, so that a run that
was killed, or whose worker was, does no file again that is whole. When all are, the marks go.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import fsspec

from kitref import rules
from kitref.columns import files
from kitref.columns.files import Counts, Task
from kitref.errors import EngineUnavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Progress = Callable[[Counts, float], None]

_MARKS: Final = ".kitref"


class Job(NamedTuple):
    """A file to expand.

    Attributes:
        given: Its URL.
        made: The URL of what to write.
        mark: The URL of the mark that it is whole; empty for none.
    """

    given: str
    made: str
    mark: str


def expand(
    given: str,
    made: str,
    task: Task,
    scheduler: str = "",
    progress: Progress = lambda _counts, _share: None,
) -> Counts:
    """Expand the names in a file, or in all files of a folder.

    Args:
        given: The file or the folder: a path, or a URL of a kind that fsspec knows.
        made: What to write, the same; the files in a folder keep their names.
        task: What to do.
        scheduler: The address of a Dask scheduler whose workers see both; empty for this process.
        progress: Called with what was counted so far and the share that is done, 0 to 1.

    Returns:
        What was counted in all files.

    Raises:
        UsageError: A file cannot be read or written, or a package is missing.
        EngineUnavailable: The scheduler does not answer, or its workers died again and again.
    """
    rules.rule(task.rule).expand("alpine", task.with_tag)  # what cannot be asked for is said first
    with _known():
        source, start = fsspec.url_to_fs(given)
        target, end = fsspec.url_to_fs(made)
    if not source.isdir(start):
        jobs, marks = [Job(given=given, made=made, mark="")], ""
    else:
        marks = f"{end}/{_MARKS}"
        target.makedirs(marks, exist_ok=True)
        names = [Path(path).name for path in sorted(source.ls(start, detail=False))]
        jobs = [
            Job(
                given=source.unstrip_protocol(f"{start}/{name}"),
                made=target.unstrip_protocol(f"{end}/{name}"),
                mark=target.unstrip_protocol(f"{marks}/{name}.json"),
            )
            for name in names
            if not name.startswith(".") and files.kind(Path(name))
        ]
    counts = Counts()
    for counted, share in (
        _there(jobs, task, scheduler) if scheduler else _here(jobs, task, progress)
    ):
        counts = counts.plus(counted)
        progress(counts, share)
    if marks:
        target.rm(marks, recursive=True)
    return counts


def work(job: Job, task: Task, progress: Progress = lambda _counts, _share: None) -> Counts:
    """Expand one file, unless it is whole already.

    Args:
        job: Which file.
        task: What to do.
        progress: As for `files.expand`.

    Returns:
        What was counted in it.

    Raises:
        UsageError: It cannot be read or written.
    """
    source, start = fsspec.url_to_fs(job.given)
    target, end = fsspec.url_to_fs(job.made)
    note = job.mark and target._strip_protocol(job.mark)  # noqa: SLF001 - how fsspec's own do it
    with contextlib.suppress(OSError, ValueError):
        made_of = [asdict(task), source.ukey(start)]
        found, counts = json.loads(target.cat_file(note) if note else b"[[], []]")
        if found == made_of and target.exists(end):
            return Counts(*counts)
    if {"file", "local"} >= {*_protocols(source), *_protocols(target)}:
        counts = files.expand(Path(start), Path(end), task, progress)
    else:
        with tempfile.TemporaryDirectory(prefix="kitref-") as folder:
            # What is written appears as a whole: an object store shows no half objects.
            here, there = Path(folder) / "in" / Path(start).name, Path(folder) / Path(end).name
            source.get_file(start, f"{here}")
            counts = files.expand(here, there, task, progress)
            target.put_file(f"{there}", end)
    if note:
        target.pipe_file(note, json.dumps([made_of, counts]).encode())
    return counts


def _protocols(system: Any) -> tuple[str, ...]:  # noqa: ANN401 - fsspec has no types
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)


def _here(jobs: list[Job], task: Task, progress: Progress) -> Iterator[tuple[Counts, float]]:
    """Do one job after the other; report on the way, too."""
    before = Counts()
    for number, job in enumerate(jobs):

        def report(
            counts: Counts, share: float, done: int = number, so_far: Counts = before
        ) -> None:
            progress(so_far.plus(counts), (done + share) / len(jobs))

        counted = work(job, task, report)
        before = before.plus(counted)
        yield counted, (number + 1) / len(jobs)


def _there(jobs: list[Job], task: Task, scheduler: str) -> Iterator[tuple[Counts, float]]:
    """Have the workers of a cluster do the jobs, and yield what comes, as it comes."""
    try:
        import distributed  # noqa: PLC0415 - only for a cluster
    except ImportError as error:
        what = f"a cluster needs a package that is not there ({error.name})"
        raise UsageError(what, remedy="pip install 'kitref[columns,cluster]'") from error
    try:
        with distributed.Client(scheduler, set_as_default=False) as client:
            futures = client.map(work, jobs, task=task, pure=False, retries=0)
            done = distributed.as_completed(futures, with_results=True, loop=client.loop)
            for number, (_, counted) in enumerate(done, start=1):
                yield Counts(*counted), number / len(jobs)
    except OSError as error:
        what = f"no Dask scheduler answers at {scheduler}"
        raise EngineUnavailable(what, remedy="start one: dask scheduler") from error
    except distributed.KilledWorker as error:
        what = f"workers died again and again ({error})"
        raise EngineUnavailable(
            what, remedy="give them more memory; what is whole stays"
        ) from error


@contextlib.contextmanager
def _known() -> Iterator[None]:
    """Say what is missing for a kind of URL."""
    try:
        yield
    except (ImportError, ValueError) as error:
        raise UsageError(f"{error}", remedy="s3:// needs s3fs, gs:// gcsfs") from error
