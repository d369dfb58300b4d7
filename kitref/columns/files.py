"""Files of names, of any size: read in batches, expanded, and written part by part.

A file is written in parts, next to where it is to be, and each part appears as a whole with what
was counted in it, or not at all. So a run that was killed goes on behind the last whole part. The
file itself appears as a whole, too, when all parts are there.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import itertools
import json
import lzma
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from kitref import rules
from kitref.columns import arrays
from kitref.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ASKED: Final = "asked"
"""The column that is added."""

_COLUMNS: Final = ("name", "image", "reference")  # as `kitref compare` looks for it
_PART: Final = 1 << 20  # rows of a part
_BLOCK: Final = 1 << 24  # bytes that are read at a time
_COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4", ".xz": "xz"}
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
) -> Counts:
    """Expand the names in a file, in memory that does not grow with it.

    The table that is written has the column `asked` behind all others; from a text, a name a line,
    becomes a text. What is null, empty or invalid gives null, or nothing between two line ends.

    Args:
        given: The file of names.
        made: The file to write, of the same format; compressed as its suffix says.
        task: What to do.
        progress: Called after each part with what was counted and the share that is done, 0 to 1.

    Returns:
        What was counted in the whole file.

    Raises:
        UsageError: A file cannot be read or written as what its suffix says, or has no such column.
    """
    form = kind(given)
    if kind(made) != form:
        raise UsageError(f"{made} is no {form} file, as {given} is", remedy="give both one format")
    rule = rules.rule(task.rule)
    parts = made.with_name(f".{made.name}.parts")
    with _readable(given):
        stat = given.stat()
    whole = _resume(parts, [*asdict(task).values(), stat.st_size, stat.st_mtime_ns])
    counts = functools.reduce(Counts.plus, whole, Counts())
    remaining = _parts(given, form, counts.rows)
    for number, (names, share) in enumerate(remaining, start=len(whole)):
        table, counted = _expanded(names, rule, task)
        part = parts / f"{number:06}"
        _write(table, part, form, _COMPRESSIONS.get(made.suffix), header=number == 0)
        with _written(part.with_suffix(".json")) as file:
            file.write(json.dumps(counted).encode())
        counts = counts.plus(counted)
        progress(counts, share)
    _join(parts, made, form)
    shutil.rmtree(parts)
    return counts


# Reading.


def kind(path: Path) -> str:
    """Return `parquet`, `csv` or `text`, by a file's suffix.

    Raises:
        UsageError: It is of none of these.
    """
    suffixes = path.suffixes[-2:]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    found = {".parquet": "parquet", ".csv": "csv", ".txt": "text"}.get("".join(suffixes[-1:]))
    if found is None or (found == "parquet" and path.suffix != ".parquet"):
        raise UsageError(f"{path} is of no known format", remedy=_REMEDY)
    return found


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say which file it is that cannot be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file", remedy=_REMEDY) from error
    except (pa.ArrowException, lzma.LZMAError, OSError, EOFError, UnicodeError) as error:
        what = f"{path}: cannot be read ({str(error).partition(chr(10))[0]})"
        raise UsageError(what, remedy="write the file anew; text has to be UTF-8") from error


def _parts(path: Path, form: str, skipped: int) -> Iterator[tuple[pa.Table, float]]:
    """Yield the rows behind the first `skipped` in parts, each with the share read so far."""
    read = {"parquet": _read_parquet, "csv": _read_csv, "text": _read_text}[form]
    waiting: list[pa.Table] = []
    share = 0.0
    with _readable(path):
        for table, share in read(path, skipped):
            waiting.append(table)
            if sum(map(len, waiting)) >= _PART:
                yield pa.concat_tables(waiting), share
                waiting = []
    if any(map(len, waiting)) or not share:  # a file without a row has a part, too
        yield pa.concat_tables(waiting), 1


def _read_parquet(path: Path, skipped: int) -> Iterator[tuple[pa.Table, float]]:
    file = pa.parquet.ParquetFile(path)
    all_rows, done = file.metadata.num_rows, 0
    yield file.schema_arrow.empty_table(), 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if done + rows > skipped:
            for batch in file.iter_batches(_PART, row_groups=[group]):
                left = batch[max(0, skipped - done) :]
                done += len(batch)
                yield pa.Table.from_batches([left]), done / all_rows
        else:
            done += rows


def _read_csv(path: Path, skipped: int) -> Iterator[tuple[pa.Table, float]]:
    with _opened(path) as (stream, _), io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        header = next(csv.reader(text), [])
    if not header:
        raise UsageError(f"{path}: no header", remedy="name the columns in the first line")
    texts = pa.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()))
    parse = pa.csv.ParseOptions(newlines_in_values=True)
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
        rest = b""
        while block := stream.read(_BLOCK):
            whole, feed, tail = block.rpartition(b"\n")
            if feed:
                table = _lines(rest + whole)
                yield table[skipped:], share()
                skipped = max(0, skipped - len(table))
                rest = tail
            else:
                rest += tail
        if rest:
            yield _lines(rest)[skipped:], 1


def _lines(text: bytes) -> pa.Table:
    texts = pa.array([text], pa.large_binary()).cast(pa.large_string())
    return pa.table({_COLUMNS[0]: pc.split_pattern(texts, "\n").values})


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], float]]]:
    """Open a file, unpacked; and say at any time which share of it has been read."""
    size = path.stat().st_size or 1
    with path.open("rb") as file:
        how = _COMPRESSIONS.get(path.suffix)
        stream: Any = file
        if how == "xz":
            stream = lzma.LZMAFile(file)  # noqa: SIM115 - closed below
        elif how:
            stream = pa.CompressedInputStream(file, how)
        with stream:
            yield stream, lambda: file.tell() / size


# Expanding.


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
    if not wanted:
        return next((name for name in _COLUMNS if name in known), known[0])
    if wanted not in known:
        raise UsageError(f"no column is called {wanted!r}", remedy=f"it has {', '.join(known)}")
    return wanted


# Writing.


def _resume(parts: Path, of: list[object]) -> list[Counts]:
    """Return the counts of the whole parts, of this very task; begin anew where it was another."""
    note = parts / "task.json"
    with contextlib.suppress(OSError, ValueError):
        if json.loads(note.read_text("utf-8")) == of:
            numbered = (parts / f"{number:06}" for number in itertools.count())
            notes = (
                part.with_suffix(".json") for part in itertools.takewhile(Path.exists, numbered)
            )
            whole = itertools.takewhile(Path.exists, notes)
            return [Counts(*json.loads(each.read_text("utf-8"))) for each in whole]
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    with _written(note) as file:
        file.write(json.dumps(of).encode())
    return []


def _write(table: pa.Table, part: Path, form: str, how: str | None, *, header: bool) -> None:
    """Write a part, so that it appears as a whole."""
    with _written(part) as file:
        if form == "parquet":
            pa.parquet.write_table(table, file, compression="zstd")
            return
        packed: Any = contextlib.nullcontext(file)
        if how == "xz":
            packed = lzma.LZMAFile(file, "wb")  # noqa: SIM115 - closed below
        elif how:
            packed = pa.CompressedOutputStream(file, how)
        with packed as sink:
            if form == "csv":
                pa.csv.write_csv(table, sink, pa.csv.WriteOptions(include_header=header))
            else:
                sink.write(_text(table[ASKED]))


def _text(asked: pa.ChunkedArray) -> pa.Buffer:
    """Return texts with a line end behind each: the very bytes of a column of these."""
    end, nothing = (pa.scalar(text, pa.large_string()) for text in ("\n", ""))
    lines = pc.fill_null(asked, nothing).combine_chunks()
    ended = pc.binary_join_element_wise(lines, nothing, end)
    return ended.buffers()[2][: pc.sum(pc.binary_length(ended)).as_py() or 0]


def _join(parts: Path, made: Path, form: str) -> None:
    """Make the file of its parts: compressed ones, too, are one behind the other."""
    paths = sorted(path for path in parts.iterdir() if path.name.isdigit())
    if len(paths) == 1:
        paths[0].replace(made)
        return
    with _written(parts / "whole") as file:
        if form == "parquet":
            schema = pa.parquet.read_schema(paths[0])
            with pa.parquet.ParquetWriter(file, schema, compression="zstd") as out:
                for path in paths:
                    out.write_table(pa.parquet.read_table(path))
        else:
            for path in paths:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, file, _BLOCK)
    (parts / "whole").replace(made)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears at its path when it is whole, whoever else writes it as well."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with partial.open("wb") as file:
        yield file
    partial.replace(path)
