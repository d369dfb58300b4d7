"""Whole columns: the scalar's answer for every text, whatever the column lies like in memory."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kitref
from kitref import InvalidReference, Rule, corpus
from kitref.columns import arrays, scan
from kitref.oracle import texts

if TYPE_CHECKING:
    from collections.abc import Sequence

SEED = 7
MUTATED = 20_000
DIGEST = "@sha256:" + "0123456789abcdef" * 4


def unicode_only(candidates: Sequence[str]) -> list[str]:
    """Leave out what is no UTF-8, which no column of Arrow's can hold."""
    return [
        text for text in candidates if not any("\ud800" <= letter <= "\udfff" for letter in text)
    ]


CORPUS = [case.text for case in corpus.load()]
LONG = [
    f"{domain}{'a' * length}{tail}"
    for domain in ("", "b.io/", "docker.io/", "index.docker.io/", "a_b.io/", "u/")
    for length in (*range(236, 258), 1000)
    for tail in ("", ":" + "t" * 128, DIGEST)
]
TEXTS = unicode_only([*CORPUS, *LONG, *itertools.islice(texts.generate(SEED, CORPUS), MUTATED)])
WAYS = [
    pytest.param(rule, with_tag, id=f"{rule.name}{'-with-tag' * with_tag}")
    for rule in kitref.RULES
    for with_tag in (False, True)[: 1 + rule.has_with_tag]
]
names = st.sampled_from(TEXTS) | st.text("aA0._-/:@[]é\n", max_size=12) | st.text(max_size=40)


def scalar(rule: Rule, with_tag: bool, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return rule.expand(text, with_tag).asked
    except InvalidReference:
        return None


def parsed(text: str | None) -> tuple[str | None, ...]:
    if text is None:
        return (None,) * 4
    try:
        return tuple(kitref.parse(text))
    except InvalidReference:
        return (None,) * 4


def rows(table: pa.Table) -> list[tuple[str | None, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def column(values: Sequence[str | None], kind: pa.DataType = pa.string()) -> pa.ChunkedArray:  # noqa: B008
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(("rule", "with_tag"), WAYS)
def test_expands_as_the_scalar_does(rule: Rule, with_tag: bool) -> None:
    asked = arrays.expand(column(TEXTS), rule, with_tag).to_pylist()
    expected = [scalar(rule, with_tag, text) for text in TEXTS]
    differing = [t for t, a, e in zip(TEXTS, asked, expected, strict=True) if a != e]
    assert differing == []


def test_parses_as_the_scalar_does() -> None:
    made = rows(arrays.parse(column(TEXTS)))
    differing = [t for t, m in zip(TEXTS, made, strict=True) if m != parsed(t)]
    assert differing == []


@settings(deadline=None)  # the first call of each loop compiles it
@given(
    st.lists(st.lists(names | st.none(), max_size=9), max_size=4),
    st.sampled_from([(way.values[0], way.values[1]) for way in WAYS]),
    st.sampled_from([pa.string(), pa.large_string(), pa.string_view()]),
    st.booleans(),
    st.integers(0, 3),
)
def test_a_column_of_any_make(
    chunks: list[list[str | None]],
    way: tuple[Rule, bool],
    kind: pa.DataType,
    encoded: bool,
    cut: int,
) -> None:
    rule, with_tag = way
    made = [pa.array(chunk, pa.string()) for chunk in chunks]
    if encoded:
        kind = pa.dictionary(pa.int32(), kind)
        made = [array.dictionary_encode() for array in made]
    given_column = pa.chunked_array([array.cast(kind)[cut:] for array in made], kind)
    flat = [text for chunk in chunks for text in chunk[cut:]]
    asked = arrays.expand(given_column, rule, with_tag)
    asked.validate(full=True)
    assert asked.type == kind
    assert asked.to_pylist() == [scalar(rule, with_tag, text) for text in flat]
    table = arrays.parse(given_column)
    table.validate(full=True)
    assert rows(table) == [parsed(text) for text in flat]


def test_a_column_that_several_threads_share() -> None:
    many = [*TEXTS, None] * 11  # more than three slices
    asked = arrays.expand(column(many), kitref.rule("fixed"), with_tag=True)
    asked.validate(full=True)
    once = [scalar(kitref.rule("fixed"), True, text) for text in [*TEXTS, None]]
    assert asked.to_pylist() == once * 11
    assert rows(arrays.parse(column(many))) == [parsed(text) for text in [*TEXTS, None]] * 11


def test_bytes_under_a_null_are_not_looked_at() -> None:
    offsets, data = (
        pa.array([0, 3, 7, 9], pa.int32()).buffers()[1],
        pa.py_buffer(b"one\xff\xff\xff\xffup"),
    )
    array = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(b"\x05"), offsets, data])
    asked = arrays.expand(pa.chunked_array([array]), kitref.rule("fixed"), with_tag=False)
    assert asked.to_pylist() == ["docker.io/library/one", None, "docker.io/library/up"]


def test_a_column_too_long_for_its_offsets_comes_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_STRING_LIMIT", 1000)
    asked = arrays.expand(column(["alpine"] * 100), kitref.rule("fixed"), with_tag=False)
    assert asked.num_chunks > 1
    assert all(chunk.nbytes < 1000 for chunk in asked.chunks)
    assert asked.to_pylist() == ["docker.io/library/alpine"] * 100


def test_two_names_that_become_one_are_one_value_of_a_dictionary() -> None:
    encoded = pa.array(["alpine", "docker.io/library/alpine", "UP", None]).dictionary_encode()
    asked = arrays.expand(pa.chunked_array([encoded]), kitref.rule("fixed"), with_tag=False)
    assert asked.chunk(0).dictionary.to_pylist() == ["docker.io/library/alpine"]
    assert asked.chunk(0).indices.to_pylist() == [0, 0, None, None]


def test_the_reason_stands_beside_an_invalid_name() -> None:
    given_names = pa.chunked_array([["alpine", "UP"], [None, "a b", "a//b"]], pa.string())
    asked = arrays.expand(given_names, kitref.rule("fixed"), with_tag=False)
    assert arrays.reasons(given_names, asked).to_pylist() == [
        None, "upper case in the path", None, "white space", "double slash",
    ]  # fmt: skip


def test_the_memory_that_it_takes_is_three_times_the_columns_at_most() -> None:
    given_names = column([f"user{n}/image{n}:v{n}" for n in range(300_000)])
    arrays.expand(given_names[:9], kitref.rule("fixed"), with_tag=False)  # the compiler's memory
    tracemalloc.start()
    try:
        arrays.expand(given_names, kitref.rule("fixed"), with_tag=False)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert given_names.nbytes + most < 3 * given_names.nbytes


def test_the_loops_do_not_hold_pythons_lock() -> None:
    loops: list[Any] = [scan.judge, scan.measure, scan.write]
    assert all(loop.targetoptions["nogil"] for loop in loops)
