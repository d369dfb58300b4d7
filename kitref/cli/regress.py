"""The command `kitref regress`."""

from __future__ import annotations

import os

import click

from kitref.cli import ends


@click.command()
@click.option(
    "--engine",
    "wanted",
    multiple=True,
    metavar="NAME|own|URL",
    help="An engine to run on, again for more: docker-trixie, docker-trixie/graph, trixie, own, or"
    " a URL as in DOCKER_HOST.  [default: every private engine]",
)
@click.option(
    "--require",
    multiple=True,
    metavar="all|NAME",
    help="An engine that must be had, else the exit code is 3; again for more.  [default: all where"
    " CI=true, else none]",
)
@click.option(
    "-p",
    "--parameter",
    "parameters",
    type=(str, str),
    multiple=True,
    metavar="NAME VALUE",
    help="A parameter of the notebooks, again for more.",
)
@click.option(
    "--cell-seconds",
    default=300,
    show_default=True,
    type=click.IntRange(min=1),
    help="How long a cell may take.",
)
@click.option(
    "--notebooks",
    type=click.Path(),
    default="notebooks",
    show_default=True,
    help="The folder of the notebooks.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False),
    default="reports/latest",
    show_default=True,
    help="The folder to write: a new or empty one, or that of a run, which is replaced as a whole"
    " when this one ends.",
)
@click.option(
    "--baseline",
    type=click.Path(file_okay=False),
    default="reports/baseline",
    show_default=True,
    help="What is expected; not compared where a parameter is given.",
)
@click.option(
    "--update-baseline",
    is_flag=True,
    help="Write the baseline from this run, if every engine was had and every notebook passed;"
    " takes neither --engine nor --parameter.",
)
@click.option("--profile", is_flag=True, help="Show the time line of the run.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of tables.")
def regress(  # noqa: PLR0913, PLR0917 - as click passes them
    wanted: tuple[str, ...],
    require: tuple[str, ...],
    parameters: tuple[tuple[str, str], ...],
    cell_seconds: int,
    notebooks: str,
    output: str,
    baseline: str,
    update_baseline: bool,
    profile: bool,
    as_json: bool,
) -> None:
    """Reproduce the bug on live engines: run the notebooks on each, side by side.

    The private engines are fetched from the machine's own distribution (Debian or Ubuntu), run in
    namespaces of their own, and leave nothing behind.

    \b
    Examples:
      kitref regress
      kitref regress --engine own --engine docker-trixie
      kitref regress -p image ghcr.io/you/app:dev -p old_rule v1.0.1

    \b
    Exit codes:
      0 all as expected   1 a finding   2 wrong usage   3 an engine missing   4 an error
    """  # noqa: D301 - click's mark
    import json
    from pathlib import Path

    from kitref import errors, runs

    if update_baseline and (wanted or parameters):
        raise errors.UsageError(
            "the baseline is that of a whole run with the default parameters",
            remedy="leave out --engine and --parameter, or --update-baseline",
        )
    runs.server()  # which imports what it needs while we do
    from kitref import regression
    from kitref.report import terminal, timeline

    ends.end_on_sigterm()
    if not require and os.environ.get("CI", "").lower() == "true":
        require = ("all",)
    with terminal.progress() as report:
        record = regression.regress(
            folder=Path(output),
            notebooks=Path(notebooks),
            wanted=wanted,
            require=require,
            parameters=dict(parameters),
            baseline=None if update_baseline else Path(baseline),
            cell_seconds=cell_seconds,
            report=report,
        )
    if as_json:
        click.echo(json.dumps(record.as_json(), indent=2))
    else:
        terminal.show(record)
        if profile:
            timeline.show(record.spans, record.wall)
    if update_baseline:
        for path in regression.update_baseline(record, Path(baseline)):
            click.echo(f"wrote {path}", err=True)
    click.get_current_context().exit(record.exit_code)
