"""Whole columns: the scalar's answer for every text, whatever the column lies like in memory."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tracemalloc
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kitref
from kitref import InvalidReference, Rule, corpus, reference
from kitref.columns import arrays, automaton, scan, verdicts
from kitref.oracle import texts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
    for domain in ("", "b.io/", "docker.io/", "index.docker.io/", "a_b.io/", "u/", "[::1]/")
    for length in (*range(236, 258), 1000)
    for tail in ("", ":" + "t" * 128, DIGEST)
]
# A reference to the grammar, but for a path that begins with what is no domain of its own.
HOSTS = [
    f"[abc]{port}/{path}" for port in ("", ":80") for path in ("foo", "f__o", "a/b:tag", "a@b")
]
SEEDS = [*CORPUS, *HOSTS]
MADE_UP = itertools.islice(texts.generate(SEED, SEEDS), MUTATED)
TEXTS = unicode_only([*SEEDS, *LONG, *MADE_UP])
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


def walked(questions: tuple[str, ...]) -> list[str]:
    """Go every step of an automaton, from an example of each state, and some more at random."""
    made = automaton.build(questions)
    random = Random(SEED)  # noqa: S311 - nothing is kept secret with it
    letters = [
        [chr(byte) for byte in range(128) if made.classes[byte] == each]
        for each in range(max(made.classes) + 1)
    ]
    open_steps = [  # but those to where no question has an answer any more
        [(each, to) for each, to in enumerate(row) if letters[each] and set(made.steps[to]) != {to}]
        for row in made.steps
    ]
    found = []
    for example, steps in zip(made.examples, open_steps, strict=True):
        for each, state in steps:
            text = example.decode(errors="replace") + random.choice(letters[each])
            found.append(text)
            while open_steps[state] and random.random() < 0.5:
                taken, state = random.choice(open_steps[state])  # noqa: PLW2901
                text += random.choice(letters[taken])
            found.append(text)
    return found


def test_every_step_of_the_automaton_leads_to_the_scalars_answer() -> None:
    found = walked(verdicts.QUESTIONS)
    asked = arrays.expand(column(found), kitref.rule("fixed"), with_tag=True).to_pylist()
    assert sum(text is not None for text in asked) > 1000
    expected = [scalar(kitref.rule("fixed"), True, text) for text in found]
    assert [t for t, a, e in zip(found, asked, expected, strict=True) if a != e] == []
    made = rows(arrays.parse(column(found)))
    assert [t for t, m in zip(found, made, strict=True) if m != parsed(t)] == []


@pytest.mark.parametrize(("rule", "with_tag"), [way for way in WAYS if "fixed" not in str(way.id)])
def test_every_step_for_an_old_rule(rule: Rule, with_tag: bool) -> None:
    found = walked(verdicts.OLD_QUESTIONS)
    asked = arrays.expand(column(found), rule, with_tag).to_pylist()
    assert asked == [scalar(rule, with_tag, text) for text in found]


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


def test_dictionaries_that_arrow_does_not_unify() -> None:
    def dictionary(*values: str | None) -> pa.Array:
        indices = pa.array(range(len(values)), pa.int8())
        return pa.DictionaryArray.from_arrays(indices, pa.array(values, pa.string()))

    with_nulls = pa.chunked_array([dictionary("a", None), dictionary(None, "b")])
    asked = arrays.expand(with_nulls, kitref.rule("fixed"), with_tag=False)
    expected = ["docker.io/library/a", None, None, "docker.io/library/b"]
    assert asked.to_pylist() == expected
    assert arrays.parse(with_nulls)["path"].to_pylist() == ["library/a", None, None, "library/b"]
    many = [dictionary(*(f"{letter}/{n}" for n in range(100))) for letter in "ab"]
    asked = arrays.expand(pa.chunked_array(many), kitref.rule("fixed"), with_tag=False)
    assert asked.type == pa.dictionary(pa.int8(), pa.string())
    assert asked.to_pylist()[99:101] == ["docker.io/a/99", "docker.io/b/0"]
    assert arrays.plain(pa.chunked_array(many)).to_pylist()[99:101] == ["a/99", "b/0"]


def test_a_dictionary_that_chunks_share_is_expanded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []
    judge = scan.judge

    def counted(*arguments: Any) -> None:  # noqa: ANN401
        judged.append(arguments[6])
        judge(*arguments)

    monkeypatch.setattr(scan, "judge", counted)
    encoded = pa.array(["alpine", "a.b/c", "alpine"]).dictionary_encode()
    chunked = pa.chunked_array([encoded, encoded[1:]])
    asked = arrays.expand(chunked, kitref.rule("fixed"), with_tag=False)
    alpine = "docker.io/library/alpine"
    assert asked.to_pylist() == [alpine, "a.b/c", alpine, "a.b/c", alpine]
    assert judged == [2]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
@pytest.mark.parametrize("most", [1 << 30, 0], ids=["by-values", "too-long-for-it"])
def test_a_column_of_few_distinct_names(
    kind: pa.DataType, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_PART", 100)
    monkeypatch.setattr(arrays, "_MOST", most)
    judged: list[int] = []
    judge = scan.judge

    def counted(*arguments: Any) -> None:  # noqa: ANN401
        judged.append(arguments[6])
        judge(*arguments)

    monkeypatch.setattr(scan, "judge", counted)
    given_names = ["alpine" + DIGEST, None, "UP" * 40, "a.b/c:d" + DIGEST, "\xff" * 40]
    chunks = [given_names * 40, [], given_names * 50]
    names = pa.chunked_array([pa.array(chunk, pa.string()).cast(kind) for chunk in chunks])
    digest = DIGEST[1:]
    expanded = arrays.expand(names, kitref.rule("fixed"), with_tag=False)
    parsed = arrays.parse(names)
    asked = ["docker.io/library/alpine" + DIGEST, None, None, "a.b/c:d" + DIGEST, None]
    assert expanded.type == kind
    assert expanded.to_pylist() == asked * 90
    assert parsed["domain"].to_pylist() == ["docker.io", None, None, "a.b", None] * 90
    assert parsed["path"].to_pylist() == ["library/alpine", None, None, "c", None] * 90
    assert parsed["tag"].to_pylist() == [None, None, None, "d", None] * 90
    assert parsed["digest"].to_pylist() == [digest, None, None, digest, None] * 90
    assert sum(judged) == (2 * 5 * 4 if most else 2 * 450)
    judged.clear()
    short = pa.chunked_array([["alpine", "UP", "alpine"] * 100])
    arrays.expand(short, kitref.rule("fixed"), with_tag=False)
    assert sum(judged) == 300  # one after the other, as that is no slower


def test_the_reason_stands_beside_an_invalid_name() -> None:
    given_names = pa.chunked_array([["alpine", "UP"], [None, "a b", "a//b"]], pa.string())
    asked = arrays.expand(given_names, kitref.rule("fixed"), with_tag=False)
    assert arrays.reasons(given_names, asked).to_pylist() == [
        None, "upper case in the path", None, "white space", "double slash",
    ]  # fmt: skip


def test_a_reason_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_for: list[str] = []
    find_fault = reference.find_fault

    def counted(text: str) -> object:
        looked_for.append(text)
        return find_fault(text)

    monkeypatch.setattr(reference, "find_fault", counted)
    given_names = pa.chunked_array([["UP", "a b", "UP"], ["alpine", "UP"]])
    asked = arrays.expand(given_names, kitref.rule("fixed"), with_tag=False)
    upper = "upper case in the path"
    assert arrays.reasons(given_names, asked).to_pylist() == [
        upper, "white space", upper, None, upper,
    ]  # fmt: skip
    assert looked_for == ["UP", "a b"]


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


@settings(deadline=None)
@given(st.lists(names, max_size=6), st.integers(0, 200))
def test_nothing_is_written_beyond_the_bounds(found: list[str], room: int) -> None:
    """Sweeping writes more bytes than a text has, but only where a later text comes."""
    texts_of = [text.encode() for text in [*found, "alpine"]]
    count, data = len(texts_of), np.frombuffer(b"".join(texts_of), np.uint8)
    offsets = np.cumsum([0, *map(len, texts_of)], dtype=np.int32)
    judged = np.zeros(count, np.uint8)
    fixed = kitref.rule("fixed")
    for machine, measure, write in (
        (verdicts.expanding(fixed, with_tag=True), scan.measure, scan.write),
        (verdicts.parsing(), scan.measure_parts, scan.write_parts),
    ):
        classes, steps, ends_in, _ = machine
        scan.judge(data, offsets, classes, steps, ends_in, 0, count, judged)
        sizes = measure(data, offsets, judged, 0, count)
        outs = tuple(np.full(200 + size + room, 170, np.uint8) for size in sizes)
        ends = tuple(np.zeros(count, np.int32) for _ in sizes)
        at = tuple(np.uint64(100) for _ in sizes)
        stop = tuple(np.uint64(100 + size) for size in sizes)
        write(data, offsets, judged, 0, count, outs, ends, at, stop)
        for out, size, end in zip(outs, sizes, ends, strict=True):
            assert end[-1] == 100 + size
            assert set(out[:100]) | set(out[100 + size :]) == {170}


def test_the_code_is_kept_by_what_it_is_made_of(tmp_path: Path) -> None:
    code = (
        "from kitref.columns import verdicts\n"
        "verdicts.ADDITIONS = tuple((f'{a}{sys.argv[1]}', b) for a, b in verdicts.ADDITIONS)\n"
        "from kitref.columns import scan\n"
        "import numpy as np\n"
        "judged, offsets = np.zeros(1, np.uint8), np.zeros(2, np.int32)\n"
        "print(scan.measure(offsets.view(np.uint8), offsets, judged, 0, 1)[0])"
    )
    for added, size in (("", 0), ("xy", 2), ("", 0)):
        run = subprocess.run(
            [sys.executable, "-c", f"import sys; {code}", added],
            check=True, capture_output=True, text=True, env={"XDG_CACHE_HOME": f"{tmp_path}"},
        )  # fmt: skip
        assert int(run.stdout) == size
    assert len(list((tmp_path / "kitref" / "numba").iterdir())) == 2


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param("pathlib.Path.home = none", id="no-home"),
        pytest.param("numba.core.caching.Cache._save_overload = none", id="full-disk"),
    ],
)
def test_where_no_code_can_be_kept(broken: str, tmp_path: Path) -> None:
    code = (
        "import os, pathlib, numba.core.caching\n"
        "def none(*_):\n"
        "    raise RuntimeError if 'home' in sys.argv[1] else OSError(28, 'No space left')\n"
        "exec(sys.argv[1])\n"
        "from kitref import columns\n"
        "print(columns.expand(['a'])[0])"
    )
    environment = {} if "home" in broken else {"XDG_CACHE_HOME": f"{tmp_path}"}
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}", broken],
        check=True, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert run.stdout == "docker.io/library/a\n"


def test_the_loops_do_not_hold_pythons_lock() -> None:
    loops: list[Any] = [scan.judge, scan.measure, scan.write]
    assert all(loop.__wrapped__.targetoptions["nogil"] for loop in loops)
