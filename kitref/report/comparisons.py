"""Comparisons of two rules, for the terminal, for a page and for programs."""

from __future__ import annotations

import json
import os
import sys
from itertools import groupby
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from kitref.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table
    from rich.text import Text

    from kitref.compare import Asked, Comparison, Effect

_SHOWN = 100
_WIDTH = 160
_STYLES = {"found": "green", "absent": "red", "refused": "yellow", "not-asked": "dim"}
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif; }}
table {{ border-collapse: collapse; }}
th, td {{ border: 1px solid GrayText; padding: 0.2em 0.5em; text-align: left; }}
td {{ overflow-wrap: anywhere; vertical-align: top; min-width: 6em; }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
{table}
</html>
"""


def as_json(records: Sequence[Comparison]) -> str:
    """Return comparisons in JSON.

    Args:
        records: The comparisons.

    Returns:
        An object a line, in ASCII.
    """
    return "".join(f"{json.dumps(_fields(record))}\n" for record in records)


def as_csv(records: Sequence[Comparison]) -> str:
    """Return comparisons as CSV, names as they are: what `kitref.tables.comparisons` has."""
    from kitref import tables  # noqa: PLC0415 - pandas is for the files alone

    return tables.comparisons(records).to_csv(index=False, lineterminator="\n")


def as_markdown(records: Sequence[Comparison], said: str) -> str:
    """Return comparisons as a table of GitHub's Markdown, after a sentence that sums them up."""
    from kitref import tables  # noqa: PLC0415 - as above

    # By hand: pandas needs a library more for it, and would let a name be markup.
    table = tables.comparisons_to_read(records)
    rows = [list(table.columns), ["---"] * len(table.columns)]
    code = [column == "name" or column.endswith("asks for") for column in table.columns]
    rows += [list(map(_cell, row, code)) for row in table.to_numpy()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([said, "", *(lines if len(table) else [])]) + "\n"


def as_html(records: Sequence[Comparison], said: str) -> str:
    """Return comparisons as a page that needs no other file, with a sentence that sums them up."""
    import pandas as pd  # noqa: PLC0415 - as above

    from kitref import tables  # noqa: PLC0415 - as above

    # Else pandas cuts what is longer than 50 characters.
    with pd.option_context("display.max_colwidth", None):
        table = tables.comparisons_to_read(records).to_html(index=False, border=0)
    return _PAGE.format(title="Old against new", summary=escape(said), table=table)


def as_table(records: Sequence[Comparison]) -> Table:
    """Return comparisons as a table for the terminal.

    Args:
        records: The comparisons, one at least.

    Returns:
        A table of rich's; every name is printable, and one that is very long is cut.
    """
    from rich.table import Table  # noqa: PLC0415 - for the terminal alone
    from rich.text import Text  # noqa: PLC0415 - text is never markup

    first = records[0]
    table = Table(show_lines=True)
    for column in ("name", f"{first.old.rule} asks for", f"{first.new.rule} asks for"):
        table.add_column(column, overflow="fold", ratio=3)
    table.add_column("what a store says (model)", overflow="fold", ratio=3)
    for record in records:
        new = _shown(record.new) if record.differs else "the same"
        table.add_row(
            *(Text(cell) for cell in (_clipped(record.name.text), _shown(record.old), new)),
            _model(record.model),
        )
    return table


def show(records: Sequence[Comparison], said: str) -> None:
    """Print comparisons as a table, with a sentence that sums them up after it."""
    from rich.console import Console  # noqa: PLC0415 - as above

    # Where nobody looks, and nobody says how wide it is, a table need not be cut to 80 columns.
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH
    console = Console(width=wide, highlight=False)
    with console.capture() as page:
        if records:
            console.print(as_table(records))
        console.print(said, markup=False)
    # Not by rich: it would end the program itself, as with a finding, when nobody reads on.
    sys.stdout.write(page.get())


def summary(records: Sequence[Comparison]) -> str:
    """Return how many of the names differ, in a sentence."""
    differ = [record for record in records if record.differs]
    invalid = sum(bool(record.fault) for record in records)
    astray = sum(bool(record.fault) for record in differ)
    return (
        f"The rules differ on {len(differ) - astray} of {len(records) - invalid} valid names and on"
        f" {astray} of {invalid} invalid ones. What a store says is the word of a model, for an"
        " image tagged under the name as it is written."
    )


def _fields(record: Comparison) -> dict[str, object]:
    return {
        "name": record.name.text,
        "family": record.name.family or None,
        "fault": record.fault or None,
        "differs": record.differs,
        "old": _asked_fields(record.old),
        "new": _asked_fields(record.new),
        "model": {effect.store: {"old": effect.old, "new": effect.new} for effect in record.model},
    }


def _asked_fields(asked: Asked) -> dict[str, object]:
    return {
        "rule": asked.rule,
        "asked": asked.asked,
        "reason": asked.reason,
        "host": asked.host,
        "note": asked.note or None,
    }


def _cell(cell: str, code: bool) -> str:
    # A name is code, so that nothing in it is markup; a bar would end the cell even so.
    cell = cell.replace("`", "\\x60").replace("|", "\\|")
    return f"`{cell}`" if cell and code else cell


def _shown(asked: Asked) -> str:
    said = "" if asked.asked is None else _clipped(asked.asked)
    return "\n".join(line for line in (said, asked.note and f"({asked.note})") if line)


def _clipped(text: str) -> str:
    said = printable(text)
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}... ({len(text)} characters)"


def _model(effects: Sequence[Effect]) -> Text:
    """Return what the stores say, those that say the same on one line."""
    from rich.text import Text  # noqa: PLC0415 - as above

    said = Text()
    ordered = sorted(effects, key=str)
    groups = [(text, list(same)) for text, same in groupby(ordered, key=str)]
    for text, same in groups:
        stores = "every store" if len(groups) == 1 else ", ".join(effect.store for effect in same)
        said.append(f"{stores}: ").append(text, style=_STYLES[same[0].new]).append("\n")
    said.rstrip()
    return said
