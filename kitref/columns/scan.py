"""The loops over bytes, compiled by numba, that run without Python's lock.

They read an Arrow column as it lies in memory: `data` has the bytes of all its texts, one behind
the other, and text `row` is `data[offsets[row]:offsets[row + 1]]`. Each does the rows from `first`
up to `last`, that one not included. The compiled code is kept in the kit's cache, so that only the
first process on a machine waits for the compiler.
"""
# ruff: noqa: ANN001, ANN201, ANN202 - numba finds the types by itself

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import functools
import os
import pkgutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from llvmlite import ir
from numba import config, njit, types, uint64
from numba.extending import intrinsic

from kitref.columns.verdicts import ADDITIONS, NOTHING, PARTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

_SWEEP: Final = np.uint64(32)
"""How many bytes are copied at once: those of a register."""

_ROOM: Final = np.uint64(96)
"""How many bytes more than a text has sweeping may write: a sweep for what is put before it and two
for what comes after."""

_MADE_OF: Final = repr((pkgutil.get_data(__name__, "scan.py"), ADDITIONS, PARTINGS, NOTHING))
"""What is compiled. numba itself looks only at the time and the size of this very file."""

_ONE: Final = np.uint64(1)  # added to an unsigned number, a plain 1 would make a float of it


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function on its first call, and keep the code in the kit's cache."""
    users = config.CACHE_DIR
    try:
        # Read while a function is decorated. What the user compiles is to stay where it was.
        config.CACHE_DIR = str(_cache() / "numba" / f"{zlib.crc32(_MADE_OF.encode()):08x}")
        loop = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # there is no home, or nothing can be written: each process compiles anew
        loop = njit(nogil=True)(function)
    finally:
        config.CACHE_DIR = users

    @functools.wraps(loop, updated=())
    def called(*arguments: Any) -> Any:  # noqa: ANN401
        try:
            return loop(*arguments)
        except OSError:  # the code could not be kept, as on a full disk; but compiled it is
            return loop(*arguments)

    return called


def _cache() -> Path:
    """Return the kit's cache, the same as `engines.places` does with more packages."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".cache") / "kitref"


def _table(texts: list[str]) -> tuple[Any, Any]:
    """Return texts as bytes, each in a place of `_SWEEP` and one to spare, and their lengths."""
    places = b"".join(text.encode().ljust(int(_SWEEP)) for text in [*texts, ""])
    return np.frombuffer(places, np.uint8), np.array([len(text) for text in texts], np.uint64)


_BEFORE, _BEFORE_LENGTHS = _table([before for before, _ in ADDITIONS])
_AFTER, _AFTER_LENGTHS = _table([after for _, after in ADDITIONS])
_DOMAIN, _DOMAIN_LENGTHS = _table([domain or "" for domain, _, _ in PARTINGS])
_TYPED_DOMAIN = np.array([domain is None for domain, _, _ in PARTINGS])
_BEHIND_SLASH = np.array([behind for _, behind, _ in PARTINGS])
_OFFICIAL, _OFFICIAL_LENGTHS = _table([before for _, _, before in PARTINGS])


@njit(inline="always")
def _begin(offsets, row):
    """Return a row, where its text begins and ends, and the state that it begins in."""
    return row, uint64(offsets[row]), uint64(offsets[row + 1]), np.uint32(0)


@njit(inline="always")
def _follow(data, offsets, row, classes, steps):
    """Return the state of the automaton after a text."""
    _, begin, end, state = _begin(offsets, row)
    for i in range(begin, end):
        state = steps[state + classes[data[i]]]
    return state


@_compiled
def judge(data, offsets, classes, steps, verdicts, first, last, judged):
    """Write the verdict of each text to `judged`; there has to be a text."""
    # Four texts side by side, as a step waits for the one before it in the same text, but not for
    # those in others. A text that is through makes room for the next; at first, all four are.
    row_a = row_b = row_c = row_d = row = first
    a = b = c = d = end_a = end_b = end_c = end_d = uint64(0)
    state_a = state_b = state_c = state_d = np.uint32(0)
    while row + 4 <= last:
        together = min(end_a - a, end_b - b, end_c - c, end_d - d)
        for i in range(together):
            state_a = steps[state_a + classes[data[a + i]]]
            state_b = steps[state_b + classes[data[b + i]]]
            state_c = steps[state_c + classes[data[c + i]]]
            state_d = steps[state_d + classes[data[d + i]]]
        a, b, c, d = a + together, b + together, c + together, d + together
        if a == end_a:
            judged[row_a] = verdicts[state_a]
            row_a, a, end_a, state_a = _begin(offsets, row)
            row += 1
        if b == end_b:
            judged[row_b] = verdicts[state_b]
            row_b, b, end_b, state_b = _begin(offsets, row)
            row += 1
        if c == end_c:
            judged[row_c] = verdicts[state_c]
            row_c, c, end_c, state_c = _begin(offsets, row)
            row += 1
        if d == end_d:
            judged[row_d] = verdicts[state_d]
            row_d, d, end_d, state_d = _begin(offsets, row)
            row += 1
    for left in (row_a, row_b, row_c, row_d):
        state = _follow(data, offsets, left, classes, steps)
        judged[left] = verdicts[state]
    for left in range(row, last):
        state = _follow(data, offsets, left, classes, steps)
        judged[left] = verdicts[state]


@_compiled
def measure(data, offsets, judged, first, last):  # noqa: ARG001 - as `measure_parts` has it
    """Return how long all expanded texts are, as the only element of a tuple."""
    size = uint64(0)
    for row in range(first, last):
        verdict = judged[row]
        if verdict != NOTHING:
            size += uint64(offsets[row + 1] - offsets[row])
            size += _BEFORE_LENGTHS[verdict] + _AFTER_LENGTHS[verdict]
    return (size,)


@_compiled
def write(data, offsets, judged, first, last, outs, ends, at, stop):
    """Write the expanded texts, and where each of them ends.

    All from `outs` on has an element for each column that is written: the bytes of its texts, the
    ends of its texts, where in its bytes to begin, and from where on they are another's.
    """
    (out,), (out_ends,), (at,), (stop,) = outs, ends, at, stop
    for row in range(first, last):
        verdict = judged[row]
        if verdict != NOTHING:
            place = verdict * _SWEEP
            begin, end = uint64(offsets[row]), uint64(offsets[row + 1])
            before, after = _BEFORE_LENGTHS[verdict], _AFTER_LENGTHS[verdict]
            length = end - begin
            # The two ways are written out, for a compiler that would look anew before each copy.
            if end + _SWEEP <= data.size and at + length + _ROOM <= stop:
                _copy_sweeping(_BEFORE, place, before, out, at)
                _copy_sweeping(data, begin, length, out, at + before)
                _copy_sweeping(_AFTER, place, after, out, at + before + length)
            else:
                _copy_exactly(_BEFORE, place, before, out, at)
                _copy_exactly(data, begin, length, out, at + before)
                _copy_exactly(_AFTER, place, after, out, at + before + length)
            at += before + length + after
        out_ends[row] = at


@_compiled
def measure_parts(data, offsets, judged, first, last):
    """Return how long all domains are, all paths, all tags and all digests."""
    domains = paths = tags = digests = uint64(0)
    for row in range(first, last):
        verdict = judged[row]
        if verdict != NOTHING:
            begin, end = uint64(offsets[row]), uint64(offsets[row + 1])
            slash, path, colon, sign = _cut(data, begin, end, verdict)
            domains += slash - begin if _TYPED_DOMAIN[verdict] else _DOMAIN_LENGTHS[verdict]
            paths += colon - path + _OFFICIAL_LENGTHS[verdict]
            tags += max(sign, colon + _ONE) - (colon + _ONE)
            digests += max(end, sign + _ONE) - (sign + _ONE)
    return domains, paths, tags, digests


@_compiled
def write_parts(data, offsets, judged, first, last, outs, ends, at, stop):
    """Write the parts of the texts, each to a column, as `write` does; one that lacks is empty."""
    domains, paths, tags, digests = outs
    domain_at, path_at, tag_at, digest_at = at
    domain_stop, path_stop, tag_stop, digest_stop = stop
    for row in range(first, last):
        verdict = judged[row]
        if verdict != NOTHING:
            place = verdict * _SWEEP
            begin, end = uint64(offsets[row]), uint64(offsets[row + 1])
            slash, path, colon, sign = _cut(data, begin, end, verdict)
            room = end - begin + _ROOM
            sweeping = (
                end + _ROOM <= data.size
                and domain_at + room <= domain_stop
                and path_at + room <= path_stop
                and tag_at + room <= tag_stop
                and digest_at + room <= digest_stop
            )
            if _TYPED_DOMAIN[verdict]:
                domain_at = _copy(data, begin, slash - begin, domains, domain_at, sweeping)
            else:
                length = _DOMAIN_LENGTHS[verdict]
                domain_at = _copy(_DOMAIN, place, length, domains, domain_at, sweeping)
            length = _OFFICIAL_LENGTHS[verdict]
            path_at = _copy(_OFFICIAL, place, length, paths, path_at, sweeping)
            path_at = _copy(data, path, colon - path, paths, path_at, sweeping)
            tag, digest = colon + _ONE, sign + _ONE
            if tag < sign:
                tag_at = _copy(data, tag, sign - tag, tags, tag_at, sweeping)
            if digest < end:
                digest_at = _copy(data, digest, end - digest, digests, digest_at, sweeping)
        ends[0][row] = domain_at
        ends[1][row] = path_at
        ends[2][row] = tag_at
        ends[3][row] = digest_at


@njit(inline="always")
def _cut(data, begin, end, verdict):
    """Return where in a valid name the first slash is, the path, the `:` of a tag and the `@`.

    What is missing is where the next thing would be.
    """
    slash = path = begin
    if _BEHIND_SLASH[verdict]:
        while data[slash] != ord("/"):
            slash += _ONE
        path = slash + _ONE
    colon = path
    while colon < end and data[colon] != ord(":") and data[colon] != ord("@"):
        colon += _ONE
    sign = colon
    while sign < end and data[sign] != ord("@"):
        sign += _ONE
    return slash, path, colon, sign


@njit(inline="always")
def _copy(data, begin, length, out, at, sweeping):
    """Copy `length` bytes to `out`, and return where they end there."""
    if sweeping:
        _copy_sweeping(data, begin, length, out, at)
    else:
        _copy_exactly(data, begin, length, out, at)
    return at + length


@njit(inline="always")
def _copy_exactly(data, begin, length, out, at):
    """Copy `length` bytes to `out`."""
    for i in range(length):
        out[at + i] = data[begin + i]


@njit(inline="always")
def _copy_sweeping(data, begin, length, out, at):
    """Copy `length` bytes to `out` and some more, for what comes next to overwrite.

    It is much faster for short texts. There has to be room, and none that another thread writes to.
    """
    _sweep(data, begin, out, at)
    for i in range(_SWEEP, length, _SWEEP):
        _sweep(data, begin + i, out, at + i)


@intrinsic
def _sweep(_context, data, begin, out, at):
    """Copy `_SWEEP` bytes: one load and one store, which no loop in Python becomes."""

    def generate(context, builder, signature, arguments):
        def place(array, index):
            start = context.make_array(signature.args[array])(context, builder, arguments[array])
            sweep = ir.VectorType(ir.IntType(8), int(_SWEEP)).as_pointer()
            return builder.bitcast(builder.gep(start.data, [arguments[index]]), sweep)

        loaded = builder.load(place(0, 1))
        stored = builder.store(loaded, place(2, 3))
        loaded.align = stored.align = 1
        return context.get_dummy_value()

    return types.void(data, begin, out, at), generate
