"""Arrow columns of names: from the buffers of one to those of another, by several threads."""

from __future__ import annotations

import functools
import itertools
import operator
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kitref import reference
from kitref.columns import scan
from kitref.columns.verdicts import ADDITIONS, NOTHING, Machine, expanding, parsing
from kitref.errors import InvalidReference, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy.typing as npt

    from kitref.rules import Rule

_T = TypeVar("_T")

PARTS: Final = reference.Reference._fields
"""The columns that a parse makes: domain, path, tag and digest."""

_OPTIONAL: Final = ("tag", "digest")

_ROWS: Final = 1 << 16
"""How many rows a thread takes at a time; what it needs for them fits into its cache."""

_PART: Final = 1 << 18
"""How many rows a thread takes at a time where it does them by their values."""

_SAMPLES: Final = 16
_SAMPLED: Final = 1 << 10  # rows of a sample
_FEW: Final = 8  # rows for each distinct text, from which on the detour by these is shorter
_LONG: Final = 64  # bytes of a name, from which on it is for an expansion, too
_MOST: Final = 1 << 30  # bytes of a part; what comes of them fits into an array of type string

_LONGEST: Final = max(len(before) + len(after) for before, after in ADDITIONS)
_STRING_LIMIT: Final = (1 << 31) - 1  # bytes in an array of type string, by Arrow's format


def expand(names: pa.ChunkedArray, rule: Rule, with_tag: bool) -> pa.ChunkedArray:
    """Expand names.

    Args:
        names: The names: ``string``, ``large_string``, ``string_view``, or a dictionary of these.
        rule: The rule.
        with_tag: Whether to add `:latest`, as the rule does it.

    Returns:
        A column of the same type and length, null where a name is null or invalid.

    Raises:
        UsageError: The column is of another type, or `with_tag` is asked of a rule that has no such
            option.
    """
    machine = expanding(rule, with_tag)
    if not pa.types.is_dictionary(names.type):
        texts = plain(names)
        if not _are_few(texts, _LONG):
            return _expand(texts, machine).cast(names.type)
        parts = _by_values(texts, lambda part: expand(part, rule, with_tag).cast(texts.type))
        return pa.chunked_array(
            itertools.chain.from_iterable(part.chunks for part in parts), texts.type
        ).cast(names.type)
    chunks = []
    for values, indices in _distinct(names):
        # Two names may become one; an invalid one becomes null, which is no value of a dictionary.
        encoded = _expand(values, machine).combine_chunks().dictionary_encode()
        asked = encoded.dictionary.cast(names.type.value_type)
        chunks += [
            pa.DictionaryArray.from_arrays(
                encoded.indices.take(each).cast(names.type.index_type),
                asked,
                ordered=names.type.ordered,
            )
            for each in indices.chunks
        ]
    return pa.chunked_array(chunks, names.type)


def parse(names: pa.ChunkedArray) -> pa.Table:
    """Take names apart.

    Args:
        names: The names, as for `expand`.

    Returns:
        A table with the columns `PARTS`; all null where a name is null or invalid.

    Raises:
        UsageError: The column is of another type.
    """
    if not pa.types.is_dictionary(names.type):
        texts = plain(names)
        return pa.concat_tables(_by_values(texts, parse)) if _are_few(texts) else _parse(texts)
    tables = [_parse(values).take(indices) for values, indices in _distinct(names)]
    return pa.concat_tables([_parse(plain(names[:0])), *tables])


def reasons(names: pa.ChunkedArray, asked: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return why names are invalid.

    Args:
        names: The names.
        asked: What they were expanded to.

    Returns:
        As many texts; null where a name is valid, or null itself.
    """
    invalid = pc.and_(names.is_valid(), asked.is_null()).combine_chunks()
    # Each text once: next to finding out why it is invalid, finding it again costs nothing.
    texts = plain(names).filter(invalid).cast(pa.large_binary()).combine_chunks()
    encoded = texts.dictionary_encode()
    found = [
        reference.find_fault(text.decode(errors="surrogateescape")).reason
        for text in encoded.dictionary.to_pylist()
    ]
    given = pa.array(found, pa.string()).take(encoded.indices)
    nothing = pa.nulls(len(names), pa.string())
    return pa.chunked_array([pc.replace_with_mask(nothing, invalid, given)])


def _are_few(texts: pa.ChunkedArray, least: int = 0) -> bool:
    """Say whether few of the texts are distinct, as far as a sample tells, and how long they are.

    Args:
        texts: The texts.
        least: How many bytes a text has to have on average.
    """
    if len(texts) <= _PART or texts.nbytes < least * len(texts):
        return False
    places = range(0, len(texts), len(texts) // _SAMPLES)
    sample = [chunk for at in places for chunk in texts[at : at + _SAMPLED].chunks]
    return len(pc.unique(pa.chunked_array(sample))) * _FEW <= sum(map(len, sample))


def _by_values(texts: pa.ChunkedArray, work: Callable[[pa.ChunkedArray], _T]) -> list[_T]:
    """Do work on texts, by the values of some rows at a time unless these are too long for it."""
    parts = [texts[first : first + _PART] for first in range(0, len(texts), _PART)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(
            pool.map(
                lambda part: work(part if part.nbytes > _MOST else part.dictionary_encode()), parts
            )
        )


def _distinct(names: pa.ChunkedArray) -> Iterator[tuple[pa.ChunkedArray, pa.ChunkedArray]]:
    """Yield the values of each dictionary, as `plain` does, and the indices into them."""
    # Each by itself, as Arrow unifies none with a null in it, and none with more values together
    # than the indices can tell apart.
    for values, chunks in itertools.groupby(names.chunks, operator.attrgetter("dictionary")):
        indices = [chunk.indices for chunk in chunks]
        yield plain(pa.chunked_array([values])), pa.chunked_array(indices)


def plain(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as ``string`` or ``large_string``.

    Raises:
        UsageError: The column is of no type of text.
    """
    kind = names.type
    if pa.types.is_dictionary(kind):
        taken = [values.take(indices).chunks for values, indices in _distinct(names)]
        none = plain(pa.chunked_array([], kind.value_type))
        return pa.chunked_array(itertools.chain.from_iterable(taken), none.type)
    if pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return names.cast(pa.large_string())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return names
    raise UsageError(f"a column of {kind} has no names", remedy="give a column of text")


class _Chunk(NamedTuple):
    """An array of texts as the scanner reads it, with the verdict of each text."""

    array: pa.Array
    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[Any]
    judged: npt.NDArray[np.uint8]


class _Slice(NamedTuple):
    """What a thread takes at a time: the rows of a chunk from `first` up to `last`."""

    chunk: _Chunk
    first: int
    last: int


class _Made(NamedTuple):
    """What comes of a chunk: for each column the bytes of its texts, and where each text ends.

    Attributes:
        chunk: The chunk.
        bytes: For each column, the bytes of its texts.
        ends: For each column, a 0 and then the end of each text, as Arrow's offsets are.
        bounds: Where the bytes of each slice begin, a place for each column; and where all end.
    """

    chunk: _Chunk
    bytes: tuple[npt.NDArray[np.uint8], ...]
    ends: tuple[npt.NDArray[Any], ...]
    bounds: npt.NDArray[np.uint64]


def _expand(texts: pa.ChunkedArray, machine: Machine) -> pa.ChunkedArray:
    return _made(texts, machine, scan.measure, scan.write, ["asked"]).column(0)


def _parse(texts: pa.ChunkedArray) -> pa.Table:
    return _made(texts, parsing(), scan.measure_parts, scan.write_parts, PARTS)


def _made(
    texts: pa.ChunkedArray,
    machine: Machine,
    measure: Callable[..., tuple[int, ...]],
    write: Callable[..., None],
    columns: Sequence[str],
) -> pa.Table:
    """Judge the texts, measure what comes of them, and write it to columns of just that size."""
    chunks = [_chunk(array) for array in _small_enough(texts.chunks)]
    slices = [each for chunk in chunks for each in _slices(chunk)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        run = pool.map if len(texts) > _ROWS else map
        sizes = iter(run(functools.partial(_measure, machine, measure), slices))
        made = [_lay_out(chunk, [next(sizes) for _ in _slices(chunk)]) for chunk in chunks]
        parts = [(each, number) for each in made for number in range(len(each.bounds) - 1)]
        list(run(lambda part: _write(write, *part), parts))
    return pa.table(
        {
            name: pa.chunked_array([_array(each, number, name) for each in made], texts.type)
            for number, name in enumerate(columns)
        }
    )


def _measure(
    machine: Machine, measure: Callable[..., tuple[int, ...]], rows: _Slice
) -> tuple[int, ...]:
    """Judge some rows, and return how many bytes come of them, for each column."""
    chunk, first, last = rows
    _judge(machine, chunk, first, last)
    return measure(chunk.data, chunk.offsets, chunk.judged, first, last)


def _lay_out(chunk: _Chunk, sizes: list[tuple[int, ...]]) -> _Made:
    """Make room for what comes of a chunk whose slices have been measured."""
    bounds = np.zeros((len(sizes) + 1, len(sizes[0])), np.uint64)
    np.cumsum(sizes, axis=0, out=bounds[1:])
    return _Made(
        chunk=chunk,
        bytes=tuple(np.empty(size, np.uint8) for size in bounds[-1]),
        ends=tuple(np.zeros(len(chunk.array) + 1, chunk.offsets.dtype) for _ in bounds[-1]),
        bounds=bounds,
    )


def _write(write: Callable[..., None], made: _Made, number: int) -> None:
    """Write what comes of one slice."""
    chunk, first, last = _slices(made.chunk)[number]
    ends = tuple(each[1:] for each in made.ends)
    at, stop = tuple(made.bounds[number]), tuple(made.bounds[number + 1])
    write(chunk.data, chunk.offsets, chunk.judged, first, last, made.bytes, ends, at, stop)


def _slices(chunk: _Chunk) -> list[_Slice]:
    rows = len(chunk.array)
    return [_Slice(chunk, first, min(first + _ROWS, rows)) for first in range(0, rows, _ROWS)]


def _small_enough(arrays: Iterable[pa.Array]) -> Iterator[pa.Array]:
    """Yield arrays that are not empty, cut in two where too much for one comes of them."""
    for array in arrays:
        most = array.nbytes + _LONGEST * len(array)
        if pa.types.is_string(array.type) and most > _STRING_LIMIT and len(array) > 1:
            half = len(array) // 2
            yield from _small_enough([array[:half], array[half:]])
        elif len(array):
            yield array


def _chunk(array: pa.Array) -> _Chunk:
    _, offsets, data = array.buffers()
    kind = np.int64 if pa.types.is_large_string(array.type) else np.int32
    begin = array.offset
    return _Chunk(
        array=array,
        data=np.frombuffer(data or b"", np.uint8),
        offsets=np.frombuffer(offsets, kind)[begin : begin + len(array) + 1],
        judged=np.empty(len(array), np.uint8),
    )


def _judge(machine: Machine, chunk: _Chunk, first: int, last: int) -> None:
    """Find the verdicts of some rows."""
    classes, steps, verdicts, limit = machine
    scan.judge(chunk.data, chunk.offsets, classes, steps, verdicts, first, last, chunk.judged)
    judged = chunk.judged[first:last]
    if chunk.array.null_count:
        judged[_is_null(chunk.array[first:last])] = NOTHING
    lengths = np.diff(chunk.offsets[first : last + 1])
    for row in np.flatnonzero((lengths > limit) & (judged != NOTHING)):
        try:
            reference.parse(chunk.array[first + int(row)].as_py())
        except InvalidReference:  # its path is too long
            judged[row] = NOTHING


def _is_null(array: pa.Array) -> npt.NDArray[np.bool_]:
    return array.is_null().to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _array(made: _Made, number: int, name: str) -> pa.Array:
    """Return the Arrow array of one column."""
    chunk, ends = made.chunk, made.ends[number]
    # A valid name has no empty tag and no empty digest: what is empty was not there.
    here = np.diff(ends) > 0 if name in _OPTIONAL else chunk.judged != NOTHING
    absent = len(here) - int(np.count_nonzero(here))
    bits = pa.py_buffer(np.packbits(here, bitorder="little")) if absent else None
    buffers = [bits, pa.py_buffer(ends), pa.py_buffer(made.bytes[number])]
    return pa.Array.from_buffers(chunk.array.type, len(here), buffers, absent)
