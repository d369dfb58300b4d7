"""Notebooks run headless by papermill: each in a process and a kernel of its own, side by side."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import datetime as dt
import fcntl
import json
import multiprocessing
import os
import queue
import shutil
import signal
import threading
import time
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from kitref import errors
from kitref.engines import places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, ForkServerProcess

    from jupyter_client.manager import AsyncKernelManager

Status = Literal["passed", "failed", "error", "skipped"]

CELL_SECONDS = 300
"""How long a cell may take before its notebook ends as an error."""

_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
_GRACE_SECONDS = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A notebook to run.

    Attributes:
        title: What to call it in progress and reports.
        notebook: The notebook.
        output: Where the executed notebook goes.
        parameters: Its parameters.
    """

    title: str
    notebook: Path
    output: Path
    parameters: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a notebook ended.

    Attributes:
        job: What was to be run.
        status: ``passed``; ``failed`` (a check of the notebook does not hold); ``error`` (it could
            not be run to its end); ``skipped`` (it was not run).
        seconds: How long it took.
        reason: Why, where it did not pass.
    """

    job: Job
    status: Status
    seconds: float
    reason: str = ""


def declared(notebook: Path) -> set[str]:
    """Return the names of the parameters that a notebook declares."""
    return set(_declared(notebook))


def check_parameters(notebook: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Check parameters against those that a notebook declares.

    Args:
        notebook: The notebook; its cell tagged ``parameters`` annotates each with a type.
        parameters: Names and values; text is read as the type that is declared.

    Returns:
        The parameters with values of their types.

    Raises:
        UsageError: A name that the notebook does not have, or a value that its type cannot take.
    """
    declared = _declared(notebook)
    taken = {}
    for name, value in parameters.items():
        if name not in declared:
            raise errors.UsageError(
                f"{notebook.name} has no parameter {name!r}",
                remedy="it has " + ", ".join(sorted(declared)),
            )
        taken[name] = _typed(notebook, name, declared[name], value)
    return taken


def _declared(notebook: Path) -> dict[str, str]:
    """Return the type of each parameter that a notebook declares, as it is written there."""
    # Where papermill is imported already, which takes longer than all else before a run.
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=server()) as pool:
        return pool.submit(_inspect, notebook).result()


def _inspect(notebook: Path) -> dict[str, str]:
    import papermill  # noqa: PLC0415 - in a worker alone

    declared = papermill.inspect_notebook(str(notebook))
    return {name: parameter["inferred_type_name"] for name, parameter in declared.items()}


def server() -> ForkServerContext:
    """Have the process that workers are forks of; it imports once what they all need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kitref.runs", "papermill", "jupyter_client.manager"])
    forkserver.ensure_running()
    return context


class Crew:
    """Workers that run notebooks side by side, each a process with a kernel of its own.

    As many as run at once are there from the start, and their kernels with them, so that both are
    ready when there are notebooks to run. Use it as a context manager.

    Args:
        folder: The folder of the notebooks, where their kernels run.
        cell_seconds: How long a cell may take.
        at_once: How many to run at once; by default one more than the machine has cores, since a
            kernel waits for its engine some of the time.
    """

    def __init__(
        self, folder: Path, *, cell_seconds: int = CELL_SECONDS, at_once: int | None = None
    ) -> None:
        self._folder = folder
        self._cell_seconds = cell_seconds
        self._at_once = at_once or (os.cpu_count() or 1) + 1
        # Nobody waits while the server imports what the workers are to have.
        self._starter = concurrent.futures.ThreadPoolExecutor(1)
        self._ahead: list[concurrent.futures.Future[_Worker]] = []

    def __enter__(self) -> Self:
        """Start the workers."""
        self._ahead = [self._starter.submit(self._worker) for _ in range(self._at_once)]
        return self

    def __exit__(self, *_: object) -> None:
        """End those that are still there."""
        self._starter.shutdown(cancel_futures=True)
        for worker in self._ahead:
            if not worker.cancelled():
                worker.result().end()

    def run(self, jobs: Sequence[Job], *, report: Callable[[Job, str], None]) -> list[Result]:
        """Run notebooks.

        A cell that hangs, a kernel that dies and a process that is killed each end their own
        notebook as an error with its reason; the others go on.

        Args:
            jobs: The notebooks.
            report: Called with each new state of a job, in words.

        Returns:
            A result a job, in the order of the jobs.
        """
        waiting = list(jobs)[::-1]
        working: dict[Connection, _Worker] = {}
        results: dict[str, Result] = {}
        try:
            while waiting or working:
                while waiting and len(working) < self._at_once:
                    worker = self._ahead.pop(0).result() if self._ahead else self._worker()
                    working[worker.connection] = worker
                    job = waiting.pop()
                    report(job, "starting")
                    worker.give(job)
                for ready in wait(list(working)):
                    worker = working[ready]  # type: ignore[index]
                    job, said = worker.job, worker.hear()
                    if isinstance(said, Result):
                        del working[worker.connection]
                        results[job.title] = said
                        report(job, f"{said.status} in {said.seconds:.1f} s")
                    else:
                        report(job, said)
        finally:
            for worker in working.values():
                worker.end()
        return [results[job.title] for job in jobs]

    def _worker(self) -> _Worker:
        return _Worker(self._folder, self._cell_seconds)


@contextlib.contextmanager
def environment(folder: Path, **variables: str) -> Iterator[None]:
    """Point Jupyter, IPython and matplotlib at a folder of the run, for the length of a block.

    Args:
        folder: An empty folder that is removed after the run.
        variables: Other variables for the run.
    """
    wanted = variables | {
        name: str(folder / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    # The kit's for good: matplotlib looks through all fonts of the machine to fill it.
    wanted["MPLCONFIGDIR"] = str(places.cache() / "matplotlib")
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """Make a folder's new content beside it and put it in its place when the block ends well.

    Args:
        folder: The folder to replace.

    Yields:
        The folder to write to. If the block raises, the old content stays as it was.

    Raises:
        UsageError: It cannot be written, holds anything but a run, or another run writes to it;
            nothing is removed.
    """
    folder = folder.resolve()  # what a link leads to is replaced, and `..` is no name to write to
    partial = folder.parent / f".{folder.name}.partial"
    try:
        if not _replaceable(folder):
            raise errors.UsageError(
                f"{folder} would be replaced as a whole, and it is not the folder of a run",
                remedy="name a new folder, an empty one, or one that a run has written",
            )
        partial.mkdir(parents=True, exist_ok=True)
        held = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
        # One that nobody holds is that of a run that died.
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise errors.UsageError(
            f"another run is writing to {folder}", remedy="wait for it, or name another folder"
        ) from None
    except OSError as error:
        raise errors.UsageError(
            f"{folder} cannot be written: {error.strerror}",
            remedy="name a folder in one that you may write to",
        ) from error
    try:
        for left in partial.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(held)


def _replaceable(folder: Path) -> bool:
    """Return whether nobody loses anything with a folder but what a run has written."""
    if folder.is_mount() or Path.cwd().is_relative_to(folder):
        return False
    try:
        record = (folder / "results.json").read_bytes()
    except FileNotFoundError:
        return not folder.exists() or not any(folder.iterdir())
    with contextlib.suppress(ValueError, LookupError, TypeError):
        return bool(json.loads(record)["kit"]["name"] == "kitref")
    return False


def now() -> str:
    """Return the time as RFC 3339 has it, in UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


class _Worker:
    """A process with a kernel that is given one notebook, and says how it goes.

    Attributes:
        connection: Where it speaks.
        job: The notebook that it was given.
    """

    job: Job

    def __init__(self, folder: Path, cell_seconds: int) -> None:
        context = server()
        self.connection, theirs = context.Pipe()
        self.process: ForkServerProcess = context.Process(
            target=_work,
            args=(folder, cell_seconds, theirs, dict(os.environ)),
            name="kitref worker",
        )
        self.process.start()
        theirs.close()

    def give(self, job: Job) -> None:
        """Give it its notebook."""
        self.job = job
        self.start = time.monotonic()
        with contextlib.suppress(OSError):  # it has died, which is heard
            self.connection.send(job)

    def hear(self) -> str | Result:
        """Return what the process says next: a state in words, or how it ended."""
        try:
            said = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            said = ("error", f"its process ended with {self.process.exitcode}")
        if isinstance(said, str):
            return said
        status, reason = said
        self.process.join(_GRACE_SECONDS)
        self.end()
        return Result(
            job=self.job,
            status=status,
            seconds=round(time.monotonic() - self.start, 2),
            reason=reason,
        )

    def end(self) -> None:
        """End the process: it ends its kernel when it loses us, or is killed."""
        self.connection.close()
        self.process.join(_GRACE_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _work(folder: Path, cell_seconds: int, parent: Connection, environment: dict[str, str]) -> None:
    """Start a kernel, and run the notebook that comes; the whole life of a worker process."""
    os.environ.clear()  # the server's is that of the first run
    os.environ.update(environment)
    # A group of its own: Ctrl-C goes to the kit, which then lets go of the connection.
    os.setpgid(0, 0)
    given: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(parent, given), daemon=True).start()
    try:
        with _kernel(folder) as kernel:
            parent.send(_execute(given.get(), cell_seconds, parent, kernel))
    except KeyboardInterrupt:
        pass  # nobody waits for us any more


@contextlib.contextmanager
def _kernel(folder: Path) -> Iterator[AsyncKernelManager]:
    """Have a kernel that runs in a folder."""
    from jupyter_client.manager import AsyncKernelManager  # noqa: PLC0415 - in a worker alone
    from jupyter_core.utils import run_sync  # noqa: PLC0415

    # Sockets in a folder of the run instead of TCP ports; the number keeps kernels apart.
    sockets = Path(os.environ["JUPYTER_RUNTIME_DIR"]) / f"{os.getpid()}.json"
    sockets.parent.mkdir(parents=True, exist_ok=True)
    kernel = AsyncKernelManager(
        kernel_name="python3", transport="ipc", connection_file=str(sockets)
    )
    try:
        run_sync(kernel.start_kernel)(cwd=str(folder))
        yield kernel
    finally:
        if kernel.has_kernel:
            run_sync(kernel.shutdown_kernel)(now=True)  # no cell leaves work for the kernel's end


def _execute(
    job: Job, cell_seconds: int, parent: Connection, kernel: AsyncKernelManager
) -> tuple[Status, str]:
    """Run a notebook in a kernel; say how far it is, and return how it ended."""
    import papermill  # noqa: PLC0415 - in a worker alone
    from nbclient.exceptions import CellTimeoutError, DeadKernelError  # noqa: PLC0415

    cells = json.loads(job.notebook.read_text("utf-8"))["cells"]

    def tell(cell: dict[str, Any], cell_index: int) -> None:
        # papermill adds a cell with the parameters.
        if cell["cell_type"] == "code":
            parent.send(f"cell {cell_index + 1} of {len(cells) + 1}")

    try:
        papermill.execute_notebook(
            str(job.notebook),
            str(job.output),
            parameters=job.parameters,
            progress_bar=False,
            log_output=False,
            execution_timeout=cell_seconds,
            cwd=str(job.notebook.parent),
            on_cell_start=tell,
            km=kernel,
        )
    except papermill.exceptions.PapermillExecutionError as error:
        kind: Status = "failed" if error.ename == "Finding" else "error"
        return kind, f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        return "error", f"a cell took longer than {cell_seconds} s"
    except DeadKernelError:
        return "error", "its kernel died"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this notebook's reason
        return "error", f"{type(error).__name__}: {error}"
    return "passed", ""


def _listen(parent: Connection, given: queue.SimpleQueue[Job]) -> None:
    """Take the notebook, and stop when the process that we work for lets go of us or dies."""
    with contextlib.suppress(EOFError, OSError):
        given.put(parent.recv())
        parent.recv()
    os.kill(os.getpid(), signal.SIGINT)  # whatever goes on ends, and the kernel with it
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def _typed(notebook: Path, name: str, kind: str, value: object) -> object:
    """Return a value as the type that a parameter declares."""
    wanted = _TYPES.get(kind)
    if wanted is None or type(value) is wanted:
        return value
    try:
        if wanted is bool:
            return {"true": True, "false": False}[str(value).lower()]
        if isinstance(value, str):
            return wanted(value)
    except (KeyError, ValueError):
        pass
    raise errors.UsageError(
        f"{notebook.name}: {name} takes {kind}, not {value!r}",
        remedy=f"`papermill --help-notebook {notebook}` lists the parameters",
    )
