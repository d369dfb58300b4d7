"""The face of the columns: every library's column in, the same library's out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from kitref import UnknownRule, UsageError, columns

NAMES = ["alpine", None, "UP", "a.b/c:d"]
ASKED = ["docker.io/library/alpine", None, None, "a.b/c:d"]
REASONS = [None, None, "upper case in the path", None]
PARTS = {
    "domain": ["docker.io", None, None, "a.b"],
    "path": ["library/alpine", None, None, "c"],
    "tag": [None, None, None, "d"],
    "digest": [None, None, None, None],
}
ARROW = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.uint16(), pa.large_string()),
]
PANDAS = [
    "str",
    "object",
    "string",
    "string[python]",
    "string[pyarrow]",
    pd.ArrowDtype(pa.string()),
    pd.ArrowDtype(pa.string_view()),
    "category",
]


def plain(series: Any) -> list[str | None]:  # noqa: ANN401 - pandas or Polars
    return [value if isinstance(value, str) else None for value in series]


def arrow_array(kind: pa.DataType) -> pa.Array:
    array = pa.array(NAMES)
    return (
        array.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else array.cast(kind)
    )


@pytest.mark.parametrize("kind", ARROW, ids=str)
def test_arrow_arrays(kind: pa.DataType) -> None:
    array = arrow_array(kind)
    asked = columns.expand(array)
    assert isinstance(asked, pa.Array)
    assert (asked.type, asked.to_pylist()) == (kind, ASKED)
    chunked = columns.expand(pa.chunked_array([array, array[2:]]))
    assert isinstance(chunked, pa.ChunkedArray)
    assert (chunked.type, chunked.to_pylist()) == (kind, ASKED + ASKED[2:])
    assert columns.expand(array[:0]).to_pylist() == []
    assert columns.parse(array).to_pydict() == PARTS
    assert columns.expand(array, reasons=True).to_pydict() == {"asked": ASKED, "reason": REASONS}


@pytest.mark.parametrize("kind", PANDAS, ids=str)
def test_pandas_series(kind: Any) -> None:  # noqa: ANN401
    index = [3, 1, 4, 1]
    series = pd.Series(NAMES, index=index, name="image", dtype=kind)
    asked = columns.expand(series)
    assert plain(asked) == ASKED
    assert (list(asked.index), asked.name) == (index, "image")
    if kind == "category":
        assert set(asked.cat.categories) == {"a.b/c:d", "docker.io/library/alpine"}
    else:
        assert asked.dtype == series.dtype
    frame = columns.expand(series, reasons=True)
    assert {name: plain(frame[name]) for name in frame} == {"asked": ASKED, "reason": REASONS}
    frame = columns.parse(series)
    assert list(frame.index) == index
    assert {name: plain(frame[name]) for name in frame} == PARTS


@pytest.mark.parametrize("kind", [pl.String, pl.Categorical], ids=str)
def test_polars_series(kind: Any) -> None:  # noqa: ANN401
    series = pl.Series("image", NAMES, dtype=kind)
    asked = columns.expand(series)
    assert (asked.name, asked.dtype, asked.to_list()) == ("image", series.dtype, ASKED)
    frame = columns.expand(series, reasons=True)
    assert frame.to_dict(as_series=False) == {"asked": ASKED, "reason": REASONS}
    assert columns.parse(series).to_dict(as_series=False) == PARTS


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(NAMES, id="list"),
        pytest.param(iter(NAMES), id="iterator"),
        pytest.param(np.array(NAMES, object), id="numpy"),
        pytest.param(pd.Index(NAMES), id="pandas-index"),
        pytest.param(pd.array(NAMES, dtype="string"), id="pandas-array"),
    ],
)
def test_what_arrow_reads(given: object) -> None:
    asked = columns.expand(given)
    assert isinstance(asked, pa.Array)
    assert asked.to_pylist() == ASKED


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(["a", None, "\udc80"], id="list"),
        pytest.param(pd.Series(["a", None, "\udc80"], dtype=object), id="pandas"),
    ],
)
def test_half_a_character_is_an_invalid_name(given: Any) -> None:  # noqa: ANN401
    table = columns.expand(given, reasons=True)
    assert plain(map(str, table["asked"])) == ["docker.io/library/a", "None", "None"]
    assert str(table["reason"][2]) == "bytes that are no UTF-8"


def test_half_a_character_is_not_for_an_old_rule() -> None:
    with pytest.raises(UsageError, match="surrogates not allowed"):
        columns.expand(pd.Series(["\udc80"], dtype=object), "none")


def test_the_rule_and_the_tag() -> None:
    array = pa.array(["bastion.io/foo", "alpine"])
    asked = columns.expand(array, "v1.0.1").to_pylist()
    assert asked == ["docker.io/bastion.io/foo", "docker.io/library/alpine"]
    asked = columns.expand(array, with_tag=True).to_pylist()
    assert asked == ["bastion.io/foo:latest", "docker.io/library/alpine:latest"]


def test_a_column_of_nulls_alone() -> None:
    assert columns.expand(pa.nulls(2)).to_pylist() == [None, None]
    assert plain(columns.expand(pd.Series([None, None], dtype=object))) == [None, None]


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(pa.array([1]), id="arrow-numbers"),
        pytest.param(pa.array([b"a"]), id="arrow-bytes"),
        pytest.param(pa.array([1]).dictionary_encode(), id="arrow-dictionary-of-numbers"),
        pytest.param(pd.Series([1]), id="pandas-numbers"),
        pytest.param(pd.Series(["a", 1], dtype=object), id="pandas-mixed"),
        pytest.param(pl.Series([1]), id="polars-numbers"),
        pytest.param(7, id="no-column"),
        pytest.param("alpine", id="one-name"),
        pytest.param(pa.table({"name": ["alpine"]}), id="arrow-table"),
    ],
)
def test_what_has_no_names_is_refused(column: object) -> None:
    with pytest.raises(UsageError) as caught:
        columns.expand(column)
    assert caught.value.remedy


def test_a_wrong_rule_is_refused() -> None:
    with pytest.raises(UnknownRule):
        columns.expand(pa.array(["a"]), "v9.9")
    with pytest.raises(UsageError):
        columns.expand(pa.array(["a"]), "none", with_tag=True)


@pytest.mark.parametrize("missing", ["pyarrow", "numba"])
def test_the_extra_is_named_where_it_is_missing(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from kitref import UsageError, columns\n"
        "try: columns.expand(['a'])\n"
        "except UsageError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert missing in run.stdout
    assert "kitref[columns]" in run.stdout
