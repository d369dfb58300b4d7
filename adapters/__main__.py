"""`make conformance`: every adapter built and run over the corpus."""

from __future__ import annotations

import functools
import itertools
import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

import kitref
from adapters.build import adapters
from adapters.survey import Surveyed, survey
from kitref import corpus, runs
from kitref.report import terminal

_RECORD = Path(__file__).parents[1] / "kitref" / "data" / "conformance.json"
_VERDICTS = ("pass", "fail", "allowed", "not-claimed")


@click.command()
@click.option("--quick", is_flag=True, help="Only the adapters that CI runs.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this adapter, again for more.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write what came of it.  [default: of all, the kit's data]",
)
def main(quick: bool, only: tuple[str, ...], output: Path | None) -> None:
    """Build each adapter in an environment of its own, and run it over the corpus.

    \b
    Example:
      python -m adapters --only docker-py --only oras-py --output /dev/stdout

    \b
    Exit codes:
      0 done   1 an implementation that defines its profile does not conform   2 wrong usage
    """  # noqa: D301 - click's mark
    known = adapters()
    if strange := set(only) - {each.name for each in known}:
        names = ", ".join(each.name for each in known)
        raise click.UsageError(f"there is no adapter {min(strange)!r}; there are {names}")
    chosen = tuple(
        each for each in known if (each.quick or not quick) and (not only or each.name in only)
    )
    cases = corpus.load()
    with terminal.progress() as report:

        def progress(name: str, step: str, share: float) -> None:
            report(name, f"{step} {share:.0%}")

        found = [survey(each, cases, functools.partial(progress, each.name)) for each in chosen]
    record = {
        "kit": {"name": "kitref", "version": kitref.__version__},
        "made": runs.now(),
        "cases": len(cases),
        "implementations": [each.as_json for each in found],
    }
    if output or chosen == known:
        (output or _RECORD).write_text(json.dumps(record, indent=1) + "\n")
    show(found)
    sys.exit(any(each.adapter.defines and not conforms(each) for each in found))


def conforms(each: Surveyed) -> bool:
    """Return whether an implementation passed all that it was asked."""
    return set(each.verdicts) <= {"pass"}


def show(found: list[Surveyed]) -> None:
    """Print a line an implementation, and its findings below."""
    console = Console(stderr=True, width=160)
    table = Table("implementation", "version", "profile", *_VERDICTS, "no answer")
    for each in found:
        counts = [each.verdicts[verdict] for verdict in _VERDICTS]
        counts.append(sum(each.verdicts.values()) - sum(counts))
        version = each.version or "skipped"
        table.add_row(each.adapter.name, version, each.adapter.profile, *map(str, counts))
    console.print(table)
    for each in found:
        if each.skipped:
            console.print(f"{each.adapter.name}: skipped: {each.skipped}", markup=False)
        for what, group in itertools.groupby(each.findings, key=lambda finding: finding.what):
            alike = sorted(group, key=lambda finding: len(finding.text))
            console.print(
                f"{each.adapter.name}: {what}, {sum(one.answers for one in alike)} answers;"
                f" the shortest: {json.dumps(alike[0].text)}, {alike[0].given};"
                f" expected {alike[0].wanted}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


if __name__ == "__main__":
    main()
