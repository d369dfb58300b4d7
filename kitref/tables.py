"""Records into pandas tables: the only room that does so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kitref.engines import Lookup

LOOKUPS = [
    "engine", "version", "store", "rule", "tagged_as", "image", "asked", "outcome", "image_id",
    "detail",
]  # fmt: skip
"""The columns of a table of look-ups, one row a look-up."""

ENGINE = ["engine", "version", "store", "image"]
"""The columns of a matrix that say which engine was asked about which image."""

MARKS = {"found": "✓", "absent": "✗", "refused": "!", "not-asked": "?"}
"""A mark for each outcome; it always stands beside the word."""


def lookups(records: Iterable[Lookup]) -> pd.DataFrame:
    """Return look-ups as a table.

    Args:
        records: The look-ups.

    Returns:
        A table with the columns `LOOKUPS`, all text; ``rule`` is ``fixed`` or an old rule's
        commit, ``image`` the name as the user wrote it.
    """
    rows = [
        {
            "engine": record.engine.name,
            "version": record.engine.version,
            "store": record.engine.store,
            "rule": record.expansion.rule,
            "tagged_as": record.tagged_as,
            "image": record.image,
            "asked": record.expansion.asked,
            "outcome": record.outcome,
            "image_id": record.image_id or "",
            "detail": record.detail,
        }
        for record in records
    ]
    return pd.DataFrame(rows, columns=LOOKUPS, dtype=str)


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    table.to_csv(partial, index=False)
    partial.replace(path)


def join(paths: Iterable[Path]) -> pd.DataFrame:
    """Return the look-ups of several runs as one table.

    Args:
        paths: CSV files that `write` made.

    Returns:
        One table with the columns `LOOKUPS`; an empty one where there are no files.
    """
    tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths]
    return (
        pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=LOOKUPS, dtype=str)
    )


def matrix(table: pd.DataFrame) -> pd.DataFrame:
    """Return what each engine says under each rule.

    Args:
        table: Look-ups.

    Returns:
        A row an engine, version, store and image; a column a rule, the fixed one last; each cell
        a mark and the outcome in words.
    """
    said = table.assign(said=table["outcome"].map(MARKS) + " " + table["outcome"])
    wide = said.pivot_table(
        index=ENGINE,
        columns="rule",
        values="said",
        aggfunc="first",
        sort=False,
    )
    return wide[sorted(wide.columns, key=lambda rule: (rule == "fixed", rule))].reset_index()
