"""Folders of files, on this machine or in an object store, by this process or by a Dask cluster.

The unit of work is a file. Doing one twice, even at the same time, does no harm: it appears as a
whole, and is the same each time. A mark is left beside it with what was counted, so that a run that
was killed, or whose worker was, does no file again that is whole. When all are, the marks go.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
import tempfile
import threading
import uuid
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import fsspec
from fsspec.implementations.local import LocalFileSystem

from kitref import __version__, rules
from kitref.columns import files
from kitref.columns.files import Counts, Task
from kitref.errors import EngineUnavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    Progress = Callable[[Counts, float], None]

_MARKS: Final = ".kitref"
_FAULTS: Final = (
    ("botocore.exceptions", "BotoCoreError"),  # s3fs
    ("google.auth.exceptions", "GoogleAuthError"),  # gcsfs
    ("aiohttp", "ClientError"),  # both
)
_PATIENCE: Final = 60  # seconds until a cluster's first worker has to be there


class Job(NamedTuple):
    """A file to expand.

    Attributes:
        given: Its URL.
        made: The URL of what to write.
        mark: The URL of the mark that it is whole; empty for none.
        apart: The URL of a folder where each worker that is at it has its parts for itself, as one
            that was given up may still be alive; empty where the next goes on with the parts of the
            last.
    """

    given: str
    made: str
    mark: str = ""
    apart: str = ""


def expand(
    given: str,
    made: str,
    task: Task,
    scheduler: str = "",
    progress: Progress = lambda _counts, _share: None,
) -> Counts:
    """Expand the names in a file, or in all files of a folder and of the folders in it.

    A file in a folder that cannot be done stops no other. What begins with a dot or an underscore
    is left out: these are notes of who wrote the others.

    Args:
        given: The file or the folder: a path, or a URL of a kind that fsspec knows.
        made: What to write, the same; the files in a folder keep their paths in it.
        task: What to do.
        scheduler: The address of a Dask scheduler whose workers see both; empty for this process.
        progress: Called with what was counted so far and the share that is done, 0 to 1.

    Returns:
        What was counted in all files.

    Raises:
        UsageError: A file cannot be read or written, there is none, or a package is missing.
        EngineUnavailable: The scheduler does not answer, has no workers, or they died again and
            again.
    """
    rules.rule(task.rule).expand("alpine", task.with_tag)  # what cannot be asked for is said first
    source, start = _system(given)
    target, end = _system(made)
    with _readable(given):
        names = _names(source, start) if source.isdir(start) else None
    if names is not None:
        pairs, marks = [(f"{start}/{name}", f"{end}/{name}") for name in names], f"{end}/{_MARKS}"
    else:
        head, _, tail = end.rpartition("/")
        pairs, marks = [(start, end)], f"{head}/.{tail}{_MARKS}" if scheduler else ""
    read = f"{_place(source, start)}/"
    if any(f"{_place(target, each)}/".startswith(read) for each in (end, *(to for _, to in pairs))):
        what = f"{made} is {given}, or lies in it"
        raise UsageError(what, remedy="write elsewhere")
    jobs = [
        Job(
            # Whole, as a worker's current folder is another.
            given=source.unstrip_protocol(each),
            made=target.unstrip_protocol(to),
            mark=f"{target.unstrip_protocol(marks)}/{_digest(to)}.json" if marks else "",
            apart=target.unstrip_protocol(marks) if scheduler and _is_local(target) else "",
        )
        for each, to in pairs
    ]
    counts = Counts()
    ended = 0
    under_way: dict[Job, tuple[Counts, float]] = {}
    failed: dict[Job, UsageError] = {}
    with (
        _marked(target, marks, made) if marks else contextlib.nullcontext(),
        contextlib.closing(
            _there(jobs, task, scheduler) if scheduler else _here(jobs, task)
        ) as outcomes,
    ):
        for job, outcome, share in outcomes:
            if isinstance(outcome, UsageError):
                failed[job] = outcome
            elif share < 1:
                under_way[job] = outcome, share
            else:
                counts = counts.plus(outcome)
            if share == 1:
                under_way.pop(job, None)
                ended += 1
            rows, shares = zip((counts, ended), *under_way.values(), strict=True)
            progress(functools.reduce(Counts.plus, rows), sum(shares) / len(jobs))
        if failed:
            raise _all([failed[job] for job in jobs if job in failed], len(jobs))
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
    source, start = _system(job.given)
    target, end = _system(job.made)
    note = job.mark and _system(job.mark)[1]
    made_of: list[object] = []
    if note:
        with _readable(job.given):
            made_of = [__version__, job.given, asdict(task), source.ukey(start)]
        with contextlib.suppress(OSError, ValueError):
            found, counts = json.loads(target.cat_file(note))
            if found == made_of and target.exists(end):
                return Counts(*counts)
    if _is_local(source) and _is_local(target):
        apart = Path(_system(job.apart)[1], uuid.uuid4().hex) if job.apart else None
        counts = files.expand(Path(start), Path(end), task, progress, apart)
    else:
        with tempfile.TemporaryDirectory(prefix="kitref-") as folder:
            # What is written appears as a whole: an object store shows no half objects.
            here, there = Path(folder) / "in" / Path(start).name, Path(folder) / Path(end).name
            here.parent.mkdir()  # not every kind of store makes it
            with _readable(job.given):
                source.get_file(start, f"{here}")
            try:
                counts = files.expand(here, there, task, progress)
            except UsageError as error:  # which knows the file by the name that it has here
                what = error.what.replace(f"{here}", job.given).replace(f"{there}", job.made)
                raise UsageError(what, remedy=error.remedy) from error
            with files.writable(job.made):
                target.makedirs(end.rpartition("/")[0], exist_ok=True)
                target.put_file(f"{there}", end)
    if note:
        with files.writable(job.mark):
            target.pipe_file(note, json.dumps([made_of, counts]).encode())
    return counts


def _names(source: Any, folder: str) -> list[str]:  # noqa: ANN401 - fsspec has no types
    """Return the paths of the files in a folder, from it on.

    Raises:
        UsageError: There is none, or one of no known format.
    """
    found = _walk(Path(folder)) if _is_local(source) else source.find(folder)
    paths = [path.removeprefix(folder).lstrip("/") for path in found]
    names = [path for path in paths if not any(map(_is_note, path.split("/")))]
    if not names:
        raise UsageError(f"{folder}: there is no file in it", remedy="give a folder with some")
    for name in names:
        files.kind(Path(folder, name))
    return sorted(names)


def _walk(top: Path) -> Iterator[str]:
    """Yield the files in a folder and in those in it, of each once, wherever links lead."""
    folders, seen = [top], {top.resolve()}
    for folder in folders:  # which become more
        with _readable(f"{folder}"):
            entries = sorted(folder.iterdir(), key=Path.is_symlink)  # itself before a link to it
        for entry in entries:
            if not entry.is_dir():
                yield f"{entry}"
            elif not _is_note(entry.name) and (place := entry.resolve()) not in seen:
                folders.append(entry)
                seen.add(place)


def _is_note(name: str) -> bool:
    """Say whether a file is left out; some stores list folders, too, with no name behind them."""
    return not name or name.startswith((".", "_"))


def _digest(path: str) -> str:
    """Return a name for what belongs to a file, another for each, however long its path is."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()


@contextlib.contextmanager
def _marked(target: Any, marks: str, made: str) -> Iterator[None]:  # noqa: ANN401
    """Keep a folder for marks, which goes when all is done."""
    if _is_local(target):
        with files.alone(Path(marks), made):
            yield
        return
    with files.writable(made):
        target.makedirs(marks, exist_ok=True)
    yield
    with files.writable(made), contextlib.suppress(FileNotFoundError):  # some have no folders
        target.rm(marks, recursive=True)


def _all(failed: list[UsageError], jobs: int) -> UsageError:
    """Return one error for all files that could not be done."""
    if jobs == 1:
        return failed[0]
    what = "".join(f"\n  {error}" for error in failed)
    remedy = "mend them and start the same again: what is whole is not done again"
    return UsageError(f"{len(failed)} of {jobs} files could not be done:{what}", remedy=remedy)


def _system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL or a path, and what the file is called there."""
    if "://" not in url or url.startswith("file://"):  # where `::` is no sign of a chain
        return LocalFileSystem(), LocalFileSystem._strip_protocol(url)  # noqa: SLF001 - as fsspec's
    try:
        system, path = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{error}", remedy="s3:// needs s3fs, gs:// gcsfs") from error
    return system, path


def _is_local(system: Any) -> bool:  # noqa: ANN401
    return isinstance(system, LocalFileSystem)


def _place(system: Any, path: str) -> str:  # noqa: ANN401
    """Return where a file is, behind all links, the same for the same file."""
    return (
        os.path.realpath(path) if _is_local(system) else system.unstrip_protocol(path).rstrip("/")
    )


@contextlib.contextmanager
def _readable(url: str) -> Iterator[None]:
    """Say what it is that cannot be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(f"{url}: there is no such file", remedy="give another one") from error
    except _faults() as error:
        what = f"{url}: cannot be read ({getattr(error, 'strerror', None) or error})"
        raise UsageError(what, remedy="see that it can be reached, and that you may") from error


def _faults() -> tuple[type[Exception], ...]:
    """Return what is raised where nothing can be read; clients of stores have some of their own."""
    loaded = [(sys.modules[module], name) for module, name in _FAULTS if module in sys.modules]
    return (OSError, *(getattr(module, name) for module, name in loaded))


Outcomes: TypeAlias = "Generator[tuple[Job, Counts | UsageError, float]]"
"""What was counted in a job so far, or why it could not be done, and the share of it that is done;
for each job 1 at last, and only then."""


def _here(jobs: list[Job], task: Task) -> Outcomes:
    """Do the jobs, as many at a time as there are cores, and yield what comes, as it comes."""
    news: SimpleQueue[tuple[Job, Counts | Future[Counts], float]] = SimpleQueue()
    stopped = threading.Event()

    def report(job: Job, counts: Counts, share: float) -> None:
        if stopped.is_set():
            raise CancelledError
        if share < 1:
            news.put((job, counts, share))

    def end(job: Job, future: Future[Counts]) -> None:
        news.put((job, future, 1))

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            for job in jobs:
                future = pool.submit(work, job, task, functools.partial(report, job))
                future.add_done_callback(functools.partial(end, job))
            left = len(jobs)
            while left:
                job, found, share = news.get()
                if isinstance(found, Counts):
                    yield job, found, share
                    continue
                left -= 1
                try:
                    yield job, found.result(), share
                except UsageError as error:
                    yield job, error, share
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


def _there(jobs: list[Job], task: Task, scheduler: str) -> Outcomes:
    """Have the workers of a cluster do the jobs, and yield what comes, as it comes."""
    try:
        import distributed  # noqa: PLC0415 - only for a cluster
    except ImportError as error:
        what = f"a cluster needs a package that is not there ({error.name})"
        raise UsageError(what, remedy="pip install 'kitref[columns,cluster]'") from error
    try:
        distributed.comm.get_address_host_port(scheduler)
    except ValueError as error:  # of which a client would only think when it is too late
        what = f"{scheduler} is no address of a Dask scheduler"
        raise UsageError(what, remedy="give one such as tcp://127.0.0.1:8786") from error
    try:
        client = distributed.Client(scheduler, set_as_default=False)
    except OSError as error:
        what = f"no Dask scheduler answers at {scheduler}"
        raise EngineUnavailable(what, remedy="start one: dask scheduler") from error
    with client:
        of = dict(zip(client.map(work, jobs, task=task, pure=False, retries=0), jobs, strict=True))
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)  # after `map`: some come only for work
        except TimeoutError as error:
            what = f"the Dask scheduler at {scheduler} has no workers, for {_PATIENCE} s now"
            raise EngineUnavailable(what, remedy=f"start one: dask worker {scheduler}") from error
        for future in distributed.as_completed(of, loop=client.loop):
            try:
                yield of[future], Counts(*future.result()), 1
            except UsageError as error:
                yield of[future], error, 1
            except distributed.KilledWorker as error:
                what = f"workers died again and again ({error})"
                raise EngineUnavailable(
                    what, remedy="give them more memory; what is whole stays"
                ) from error
