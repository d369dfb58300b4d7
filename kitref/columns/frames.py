"""Columns of every library that people have them in: pyarrow, pandas, Polars."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from kitref import rules
from kitref.columns import arrays
from kitref.errors import UsageError

if TYPE_CHECKING:
    Column: TypeAlias = Any
    """An array or chunked array, a pandas or Polars Series, or what else gives an Arrow stream."""


def expand(column: Column, rule: str, *, with_tag: bool, reasons: bool) -> Any:  # noqa: ANN401
    """Expand a column; see `kitref.columns.expand`."""
    found = rules.rule(rule)
    # To an old rule any text is a name, also one that no column can hold.
    names = _arrow(column, any_text=found is rules.FIXED)
    asked = arrays.expand(names, found, with_tag)
    if not reasons:
        return _like(column, asked)
    return _table_like(column, pa.table({"asked": asked, "reason": arrays.reasons(names, asked)}))


def parse(column: Column) -> Any:  # noqa: ANN401
    """Take the names of a column apart; see `kitref.columns.parse`."""
    return _table_like(column, arrays.parse(_arrow(column, any_text=True)))


def _arrow(column: Column, *, any_text: bool) -> pa.ChunkedArray:
    """Return a column as Arrow has it, without a copy where it lies so in memory."""
    try:
        arrow = isinstance(column, pa.Array) or hasattr(column, "__arrow_c_stream__")
        if _is("pandas", column) or not arrow:
            column = _array(column, any_text=any_text)
        names = pa.chunked_array([column] if isinstance(column, pa.Array) else column)
        # Nulls alone may have no type at all.
        return names.cast(pa.string()) if pa.types.is_null(names.type) else names
    except (pa.ArrowException, TypeError, UnicodeEncodeError) as error:
        what = f"no names can be read from this {type(column).__name__} ({error})"
        raise UsageError(what, remedy="give a column of text") from error


def _array(values: Any, *, any_text: bool) -> pa.Array | pa.ChunkedArray:  # noqa: ANN401
    """Return an Arrow array of values that do not lie in memory as Arrow has them."""
    if isinstance(values, (str, bytes)):
        raise TypeError("it is one text")  # and not a column of its letters
    try:
        return pa.array(values, from_pandas=True)
    except UnicodeEncodeError:  # half a character
        if not any_text:
            raise
        texts = [
            each.encode(errors="surrogatepass") if isinstance(each, str) else each
            for each in values
        ]
        return pa.array(texts, pa.large_binary(), from_pandas=True).view(pa.large_string())


def _like(column: Column, made: pa.ChunkedArray) -> Any:  # noqa: ANN401
    """Return an Arrow column as one of the same kind as another."""
    if _is("polars", column):
        return sys.modules["polars"].Series(column.name, made)
    if _is("pandas", column):
        return _pandas(column, made)
    if not isinstance(column, pa.ChunkedArray) and not hasattr(column, "__arrow_c_stream__"):
        try:
            return made.chunk(0) if made.num_chunks == 1 else made.combine_chunks()
        except pa.ArrowInvalid as error:
            what = "more than the 2 GiB come of it that an array of type string can hold"
            remedy = "give it as large_string, or as a chunked array"
            raise UsageError(what, remedy=remedy) from error
    return made


def _table_like(column: Column, made: pa.Table) -> Any:  # noqa: ANN401
    """Return an Arrow table as one of the library that a column is from."""
    if _is("polars", column):
        return sys.modules["polars"].from_arrow(made)
    if _is("pandas", column):
        parts = {name: _pandas(column, made[name]) for name in made.column_names}
        return sys.modules["pandas"].DataFrame(parts, index=column.index)
    return made


def _pandas(column: Column, made: pa.ChunkedArray) -> Any:  # noqa: ANN401
    """Return an Arrow column as a pandas Series of the same type, where that holds any text."""
    kind = column.dtype
    if hasattr(kind, "__from_arrow__"):
        made = made.cast(getattr(kind, "pyarrow_dtype", made.type))
        values, kind = kind.__from_arrow__(made), None
    elif kind == "object":
        values = made.to_numpy()
    else:  # categories, which are others now
        values, kind = made.to_pandas().array, None
    series = sys.modules["pandas"].Series
    return series(values, dtype=kind, index=column.index, name=column.name)


def _is(library: str, column: Column) -> bool:
    """Say whether a column is a Series of a library; if it is, someone has imported that."""
    module = sys.modules.get(library)
    return module is not None and isinstance(column, module.Series)
