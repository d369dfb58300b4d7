"""Whole columns of names at once, with the very answers of `kitref.expand` and `kitref.parse`.

The extra ``columns`` is needed for it (pyarrow and numba); the rest of the kit does without.
"""

from __future__ import annotations

from typing import Any

from kitref.errors import UsageError

__all__ = ["expand", "parse"]


def expand(
    column: Any,  # noqa: ANN401 - see Args
    rule: str = "fixed",
    with_tag: bool = False,
    reasons: bool = False,
) -> Any:  # noqa: ANN401
    """Expand a column of names to those that an engine is asked for.

    Args:
        column: The names: a pyarrow array or chunked array, a pandas or Polars Series of any type
            of text, dictionaries and categories too; what else gives an Arrow stream; or a list, a
            NumPy array and the like.
        rule: The rule, by any name that `kitref.rule` takes.
        with_tag: Whether to add `:latest`, as the rule does it.
        reasons: Whether to say why a name is invalid, too.

    Returns:
        A column of the same kind and length, null where a name is null or invalid; a pyarrow array
        where the column is of another library than those three. With `reasons` it is a table of the
        same library, with the columns asked and reason.

    Raises:
        UnknownRule: There is no such rule.
        UsageError: The column has something other than text; `with_tag` is asked of a rule that has
            no such option; or a package is missing.
    """
    return _frames().expand(column, rule, with_tag=with_tag, reasons=reasons)


def parse(column: Any) -> Any:  # noqa: ANN401
    """Take the names of a column apart.

    Args:
        column: The names, as for `expand`.

    Returns:
        A table of the same library with the columns domain, path, tag and digest, as `Reference`
        has them; all of them are null where a name is null or invalid.

    Raises:
        UsageError: The column has something other than text, or a package is missing.
    """
    return _frames().parse(column)


def _frames() -> Any:  # noqa: ANN401 - a module
    try:
        from kitref.columns import frames  # noqa: PLC0415 - not without the extra
    except ImportError as error:
        what = f"columns need a package that is not there ({error.name})"
        raise UsageError(what, remedy="pip install 'kitref[columns]'") from error
    return frames
