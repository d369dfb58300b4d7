"""Files of names, of any size: read in parts, expanded, and written, all three at the same time.

A file grows next to where it is to be, and behind each part is a note of what was counted in it and
where it ends. So a run that was killed goes on behind the last part that has one. The file itself
appears as a whole, when all parts are in it.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import functools
import gzip
import io
import json
import lzma
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from kitref import __version__, rules
from kitref.columns import arrays
from kitref.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from _typeshed import ReadableBuffer

_T = TypeVar("_T")

ASKED: Final = "asked"
"""The column that is added."""

_COLUMNS: Final = ("name", "image", "reference")  # as `kitref compare` looks for it
_PART: Final = 1 << 18  # rows of a part
_PART_BYTES: Final = 1 << 27  # in memory, from which a part is one with fewer rows, too
_BATCH: Final = 1 << 16  # rows that are read at a time
_BLOCK: Final = 1 << 24  # bytes that are read at a time
_GZIP: Final = 6  # gzip's own level; Arrow's takes twice as long for 2 % fewer bytes
_COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4", ".xz": "xz"}
_LOCK: Final = "lock"
_GROWING: Final = "whole"
_FORMAT: Final = 2  # of the notes on parts
_REMEDY: Final = "take .parquet, .csv or .txt, the last two also with .gz, .zst, .bz2, .lz4 or .xz"


class Counts(NamedTuple):
    """What was counted in some names.

    Attributes:
        rows: All rows; one whose cell or line is empty has no name.
        valid: The valid names; with an old rule, all of them.
        invalid: The invalid names.
        changed: The names that are asked for under another one.
    """

    rows: int = 0
    valid: int = 0
    invalid: int = 0
    changed: int = 0

    def plus(self, other: Counts) -> Counts:
        """Return the counts of both together."""
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be done with names.

    Attributes:
        rule: The rule's name.
        with_tag: Whether to add `:latest`, as the rule does it.
        column: The column of the names; empty for `name`, `image`, `reference` or the first.
    """

    rule: str = "fixed"
    with_tag: bool = False
    column: str = ""


def expand(
    given: Path,
    made: Path,
    task: Task,
    progress: Callable[[Counts, float], None] = lambda _counts, _share: None,
    parts: Path | None = None,
) -> Counts:
    """Expand the names in a file, in memory that does not grow with it.

    The table that is written has the column `asked` behind all others; from a text, a name a line,
    becomes a text. What is null, empty or invalid gives null, or nothing between two line ends.

    Args:
        given: The file of names.
        made: The file to write, of the same format; compressed as its suffix says.
        task: What to do.
        progress: Called after each part with what was counted and the share that is done, 0 to 1.
        parts: The folder where the file grows, which goes when it is whole; `.OUT.parts` beside the
            file to write where there is none.

    Returns:
        What was counted in the whole file.

    Raises:
        UsageError: A file cannot be read or written as what its suffix says, or has no such column;
            or another run is writing it.
    """
    form = kind(given)
    if kind(made) != form:
        raise UsageError(f"{made} is no {form} file, as {given} is", remedy="give both one format")
    rule = rules.rule(task.rule)
    with _readable(given):
        stat = given.stat()
    if made.exists() and made.samefile(given):
        raise UsageError(f"{made} is the file that is read", remedy="write another one")
    if made.is_dir():
        raise UsageError(f"{made} is a folder", remedy="give two files, or two folders")
    of = [_FORMAT, __version__, f"{given.resolve()}", *asdict(task).values()]
    of += [stat.st_size, stat.st_mtime_ns]
    parts = parts or made.with_name(f".{made.name}.parts")
    with alone(parts, f"{made}"):
        with writable(f"{made}"):
            made.parent.mkdir(parents=True, exist_ok=True)
            notes = _resume(parts, of)
        counts = functools.reduce(Counts.plus, (counted for counted, _ in notes), Counts())
        read = _ahead(_parts(given, form, counts.rows))
        with contextlib.closing(_ahead(_expand_each(read, given, rule, task))) as expanded:
            for table, counted, share in expanded:
                with writable(f"{made}"):
                    end = _append(table, parts / _GROWING, form, _packing(made))
                    with _written(parts / f"{len(notes):06}.json") as file:
                        file.write(json.dumps([*counted, end]).encode())
                notes.append((counted, end))
                counts = counts.plus(counted)
                progress(counts, share)
        with writable(f"{made}"):
            if form == "parquet":
                _index(parts / _GROWING, [end for _, end in notes])
            (parts / _GROWING).replace(made)
    return counts


def _ahead(items: Generator[_T]) -> Generator[_T]:
    """Yield what an iterator does, which has a thread to make the next one in the meantime."""
    with contextlib.closing(items), ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


# Reading.


def kind(path: Path) -> str:
    """Return `parquet`, `csv` or `text`, by a file's suffix.

    Raises:
        UsageError: It is of none of these.
    """
    packed = _packing(path) is not None
    suffix = Path(path.stem if packed else path.name).suffix.lower()
    found = {".parquet": "parquet", ".csv": "csv", ".txt": "text"}.get(suffix)
    if found is None or (found == "parquet" and packed):
        raise UsageError(f"{path} is of no known format", remedy=_REMEDY)
    return found


def _packing(path: Path) -> str | None:
    return _COMPRESSIONS.get(path.suffix.lower())


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say which file it is that cannot be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file", remedy=_REMEDY) from error
    except (pa.ArrowException, lzma.LZMAError, OSError, EOFError, UnicodeError) as error:
        what = f"{path}: cannot be read ({str(error).partition(chr(10))[0]})"
        raise UsageError(what, remedy="write the file anew") from error


def _parts(path: Path, form: str, skipped: int) -> Generator[tuple[pa.Table, float]]:
    """Yield the rows behind the first `skipped` in parts, each with the share read so far."""
    read = {"parquet": _read_parquet, "csv": _read_csv, "text": _read_text}[form]
    waiting: list[pa.Table] = []
    rows = size = 0
    share = 0.0
    with _readable(path):
        for table, share in read(path, skipped):
            waiting.append(table)
            rows, size = rows + len(table), size + table.nbytes
            if rows >= _PART or size >= _PART_BYTES:
                yield pa.concat_tables(waiting), share
                waiting, rows, size = [], 0, 0
    if rows or not share:  # a file without a row has a part, too
        yield pa.concat_tables(waiting), 1


def _read_parquet(path: Path, skipped: int) -> Iterator[tuple[pa.Table, float]]:
    file = pa.parquet.ParquetFile(path)
    all_rows, done = file.metadata.num_rows, 0
    yield file.schema_arrow.empty_table(), 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if done + rows > skipped:
            for batch in file.iter_batches(_BATCH, row_groups=[group]):
                left = batch[max(0, skipped - done) :]
                done += len(batch)
                yield pa.Table.from_batches([left]), done / all_rows
        else:
            done += rows


def _read_csv(path: Path, skipped: int) -> Iterator[tuple[pa.Table, float]]:
    with _opened(path) as (stream, _):
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
        header = next(csv.reader(text), [])
    if not header:
        raise UsageError(f"{path}: no header", remedy="name the columns in the first line")
    # What is no UTF-8 is an invalid name, as in a text, and no concern of ours in other columns.
    kinds = dict.fromkeys(header, pa.string())
    texts = pa.csv.ConvertOptions(column_types=kinds, check_utf8=False)
    # An empty line is a row where there is one column, and no name is in it.
    parse = pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(header) > 1)
    with _opened(path) as (stream, share):
        read = pa.csv.ReadOptions(block_size=_BLOCK)
        table = pa.csv.open_csv(stream, read, parse, texts)
        yield table.schema.empty_table(), 0
        for batch in table:
            yield pa.Table.from_batches([batch[skipped:]]), share()
            skipped = max(0, skipped - len(batch))


def _read_text(path: Path, skipped: int) -> Iterator[tuple[pa.Table, float]]:
    # A line ends with a line feed and nothing else, as for `kitref expand`.
    with _opened(path) as (stream, share):
        yield _lines(b"")[:0], 0
        begun: list[bytes] = []  # a line, in all the blocks that it goes through
        while block := stream.read(_BLOCK):
            whole, feed, tail = block.rpartition(b"\n")
            if feed:
                table = _lines(b"".join([*begun, whole]))
                yield table[skipped:], share()
                skipped = max(0, skipped - len(table))
                begun = []
            begun.append(tail)
        if rest := b"".join(begun):
            yield _lines(rest)[skipped:], 1


def _lines(text: bytes) -> pa.Table:
    lines = pc.split_pattern(pa.array([text], pa.large_binary()), "\n").values
    # Nobody looks whether they are UTF-8: a line that is not is an invalid name.
    return pa.table({_COLUMNS[0]: lines.view(pa.large_string())})


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], float]]]:
    """Open a file, unpacked; and say at any time which share of it has been read."""
    size = path.stat().st_size or 1
    with path.open("rb") as file:
        how = _packing(path)
        stream: Any = file
        if how == "xz":
            stream = lzma.LZMAFile(file)  # noqa: SIM115 - closed below
        elif how:
            stream = pa.CompressedInputStream(file, how)
        with stream:
            yield stream, lambda: file.tell() / size


# Expanding.


def _expand_each(
    parts: Iterator[tuple[pa.Table, float]], given: Path, rule: rules.Rule, task: Task
) -> Generator[tuple[pa.Table, Counts, float]]:
    for names, share in parts:
        try:
            expanded = _expanded(names, rule, task)
        except UsageError as error:
            raise UsageError(f"{given}: {error.what}", remedy=error.remedy) from error
        yield *expanded, share


def _expanded(table: pa.Table, rule: rules.Rule, task: Task) -> tuple[pa.Table, Counts]:
    """Return a table with what its names are asked for as, and the counts."""
    if ASKED in table.column_names:
        what = f"there is a column {ASKED} already"
        raise UsageError(what, remedy="give it another name, or leave it out")
    names = arrays.plain(table[_column(table.column_names, task.column)])
    names = pc.if_else(pc.equal(names, ""), None, names)
    asked = arrays.expand(names, rule, task.with_tag)
    counts = Counts(
        rows=len(names),
        valid=len(names) - asked.null_count,
        invalid=asked.null_count - names.null_count,
        changed=pc.sum(pc.not_equal(names, asked)).as_py() or 0,
    )
    return table.append_column(ASKED, asked), counts


def _column(known: list[str], wanted: str) -> str:
    if not known:
        raise UsageError("there is no column", remedy="write the file anew, with one of names")
    name = wanted or next((name for name in _COLUMNS if name in known), known[0])
    if name not in known:
        raise UsageError(f"no column is called {name!r}", remedy=f"it has {', '.join(known)}")
    if known.count(name) > 1:
        raise UsageError(f"more than one column is called {name!r}", remedy="rename all but one")
    return name


# Writing.


@contextlib.contextmanager
def writable(what: str) -> Iterator[None]:
    """Say what it is that cannot be written.

    Args:
        what: The file or the folder.

    Raises:
        UsageError: It cannot be.
    """
    try:
        yield
    except OSError as error:
        reason = f"{what}: cannot be written ({error.strerror or error})"
        raise UsageError(reason, remedy="see that there is room, and the right to write") from error


@contextlib.contextmanager
def alone(folder: Path, made: str) -> Iterator[None]:
    """Keep a folder of what is not whole yet, which no other run has at the same time.

    It goes when all is done, and also when that failed before anything in it was whole.

    Args:
        folder: The folder.
        made: What to write.

    Raises:
        UsageError: Another run has it.
    """
    with contextlib.ExitStack() as stack:
        with writable(made):
            while not _locked(stack, folder / _LOCK, made):
                pass  # the run that had it took the folder away
        done = False
        try:
            yield
            done = True
        finally:
            if done or not any(folder.glob("*.json")):
                shutil.rmtree(folder, ignore_errors=True)


def _locked(stack: contextlib.ExitStack, lock: Path, made: str) -> bool:
    """Lock a file, and make it and its folder; say whether it is there still."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        file = stack.enter_context(lock.open("wb"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            what = f"{made}: another run is at it"
            raise UsageError(what, remedy="wait for it, or write elsewhere") from error
        except OSError:  # this file system has no locks
            return True
        return os.path.samestat(os.fstat(file.fileno()), lock.stat())
    return False


def _resume(parts: Path, of: list[object]) -> list[tuple[Counts, int]]:
    """Return the notes on the whole parts, of this very task; take away all that is not one."""
    task, growing = parts / "task", parts / _GROWING
    notes: list[tuple[Counts, int]] = []
    with contextlib.suppress(OSError, ValueError):  # there are no more
        while json.loads(task.read_text("utf-8")) == of:
            *counted, end = json.loads((parts / f"{len(notes):06}.json").read_text("utf-8"))
            if growing.stat().st_size < end:
                break
            notes.append((Counts(*counted), end))
    kept = {parts / _LOCK, growing, *(parts / f"{number:06}.json" for number in range(len(notes)))}
    for left in set(parts.iterdir()) - kept:
        left.unlink()
    growing.touch()
    os.truncate(growing, notes[-1][1] if notes else 0)
    with _written(task) as file:
        file.write(json.dumps(of).encode())
    return notes


def _append(table: pa.Table, growing: Path, form: str, how: str | None) -> int:
    """Write a part behind the others, as compressed ones may be, too; return where it ends."""
    with growing.open("ab") as file:
        start = file.tell()
        packed: Any = contextlib.nullcontext(file)
        if how == "gzip":
            packed = gzip.GzipFile("", "wb", _GZIP, file, mtime=0)
        elif how == "xz":
            packed = lzma.LZMAFile(file, "wb")  # noqa: SIM115 - closed below
        elif how:
            packed = pa.CompressedOutputStream(file, how)
        with packed as sink:
            if form == "parquet":
                _write_parquet(table, file)
            elif form == "csv":
                pa.csv.write_csv(table, sink, pa.csv.WriteOptions(include_header=not start))
            else:
                sink.write(_text(table[ASKED]))
    return growing.stat().st_size


class _Behind(io.RawIOBase):
    """A file to write, of which another has the beginning already, and this adds what follows."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._known = file.tell()

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        left = memoryview(data)[self._known :]
        size = memoryview(data).nbytes
        self._known -= size - left.nbytes
        self._file.write(left)
        return size


def _write_parquet(table: pa.Table, file: IO[bytes]) -> None:
    """Write a whole Parquet file behind others, but with places in it that count from their start.

    So no byte of a part is written a second time: all that is left for the end is an index of all.
    """
    start, nothing = file.tell(), memoryview(bytes(_BLOCK))
    with (
        pa.PythonFile(_Behind(file), "w") as sink,
        pa.parquet.ParquetWriter(sink, table.schema, compression="zstd") as out,
    ):
        # A writer takes for a place how many bytes there are before it.
        while (ahead := start - sink.tell()) > 0:
            sink.write(nothing[:ahead])
        out.write_table(table)


def _index(growing: Path, ends: list[int]) -> None:
    """Write at the end of some Parquet files, one behind the other, what makes one of them all."""
    if len(ends) == 1:
        return
    content = pa.memory_map(f"{growing}").read_buffer()
    first, *others = (pa.parquet.read_metadata(pa.BufferReader(content[:end])) for end in ends)
    for other in others:
        first.append_row_groups(other)
    with growing.open("ab") as file:
        first.write_metadata_file(file)


def _text(asked: pa.ChunkedArray) -> pa.Buffer:
    """Return texts with a line end behind each: the very bytes of a column of these."""
    end, nothing = (pa.scalar(text, pa.large_string()) for text in ("\n", ""))
    lines = pc.fill_null(asked, nothing).combine_chunks()
    ended = pc.binary_join_element_wise(lines, nothing, end)
    return ended.buffers()[2][: pc.sum(pc.binary_length(ended)).as_py() or 0]


@contextlib.contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears at its path when it is whole, whoever else writes it as well."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
