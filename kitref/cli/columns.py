"""Commands on files of any size: `kitref expand-file`."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

import click

from kitref import errors
from kitref.cli import ends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitref.columns.files import Counts


@click.command("expand-file")
@click.argument("given", metavar="IN")
@click.argument("made", metavar="OUT")
@click.option(
    "--column",
    metavar="C",
    default="",
    help="The column of a CSV or Parquet file.  [default: name, image, reference, or the first]",
)
@click.option(
    "--rule",
    metavar="R",
    default="fixed",
    show_default=True,
    help="The rule: fixed, none, a commit, or a release such as v1.0.1 or nitro-cli@v1.3.1.",
)
@click.option("--with-tag", is_flag=True, help="Add :latest where a name has no tag or digest.")
@click.option(
    "--scheduler", metavar="ADDRESS", default="", help="Have the workers of a Dask cluster do it."
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as a JSON object.")
def expand_file(
    given: str, made: str, column: str, rule: str, with_tag: bool, scheduler: str, as_json: bool
) -> None:
    """Expand the names in a file, or in all files of a folder and the folders in it, of any size.

    IN and OUT are two files of the same format, or two folders: Parquet, CSV or text, a name a
    line; the last two may be compressed (.gz, .zst, .bz2, .lz4, .xz). Both may also be URLs, such
    as s3://bucket/folder.

    A table is written with a column "asked" more, empty where a name is invalid; a text line by
    line. A run that was killed goes on where it was when it is started again. In a folder, what
    begins with "." or "_" is left out, and a file that cannot be read stops no other.

    \b
    Example:
      $ kitref expand-file images.parquet asked.parquet --column image
      10000000 names: 9798214 valid, 201786 invalid, 4914113 changed
    \b
    Exit codes: 0 all names are valid, 1 there are invalid ones; with both, all is written.
    2 a file that cannot be read or written, 3 no cluster, 4 a crash.
    """  # noqa: D301 - click's mark
    import json

    try:
        from kitref.columns import folders
        from kitref.columns.files import Task
    except ImportError as error:
        what = f"files need a package that is not there ({error.name})"
        raise errors.UsageError(what, remedy="pip install 'kitref[columns]'") from error
    task = Task(rule=rule, with_tag=with_tag, column=column)
    with _progress(given) as progress:
        counts = folders.expand(given, made, task, scheduler, progress)
    if as_json:
        click.echo(json.dumps(counts._asdict()))
    else:
        names = counts.valid + counts.invalid
        click.echo(
            f"{names} names: {counts.valid} valid, {counts.invalid} invalid,"
            f" {counts.changed} changed"
        )
    if counts.invalid:
        click.get_current_context().exit(ends.FINDING)


@contextlib.contextmanager
def _progress(title: str) -> Iterator[Callable[[Counts, float], None]]:
    """Show the rate and the time that is left, on a terminal."""
    # From the first report on: what a run before did is no part of this one's rate.
    first: list[tuple[float, int, float]] = []

    def report(counts: Counts, share: float) -> None:
        now = time.monotonic()
        began, rows, done = first[0] if first else (now, counts.rows, share)
        first.append((began, rows, done))
        line = f"{title}: {share:.0%}, {counts.rows:,} rows"
        if now > began and share > done:
            left = (now - began) * (1 - share) / (share - done)
            line += f", {(counts.rows - rows) / (now - began):,.0f} a second, {left:.0f} s left"
        click.echo(f"\r\x1b[K{line}", nl=False, err=True)

    if sys.stderr.isatty():
        try:
            yield report
        finally:
            click.echo(err=True)
    else:
        yield lambda _counts, _share: None
