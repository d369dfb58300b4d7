"""The command `kitref conform`."""

from __future__ import annotations

import contextlib

import click

from kitref import errors
from kitref.cli import ends

_IMPORT_SECONDS = 60
_SECONDS = 10.0  # as the runner has it, which is imported late


@click.command(context_settings={"ignore_unknown_options": False})
@click.option(
    "--profile",
    "name",
    default="docker",
    show_default=True,
    metavar="P",
    help="Whose reading it is held against: docker, fixed, containerd, podman, linuxkit@RELEASE.",
)
@click.option(
    "--known", metavar="FILE", help='Known failures: lines of {"id": ..., "reason": ...}.'
)
@click.option("--engine", metavar="URL|NAME", help="Settle each disagreement on this engine.")
@click.option("--case", "wanted", metavar="ID", multiple=True, help="A case, again for more.")
@click.option("--family", metavar="F", multiple=True, help="A family, again for more.")
@click.option("--corpus", "file", metavar="FILE", help="Another corpus.  [default: the kit's]")
@click.option(
    "--seconds",
    default=_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0.1, max=3600),
    help="How long the program may take for its next line.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False),
    help="A folder for results.json, junit.xml and report.html: a new or empty one, or that of a"
    " run, which is replaced as a whole.",
)
@click.option("--python", "function", metavar="M:F", help="A Python function, module:function.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of tables.")
@click.argument("command", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
def conform(  # noqa: PLR0913, PLR0917 - as click passes them
    name: str,
    known: str | None,
    engine: str | None,
    wanted: tuple[str, ...],
    family: tuple[str, ...],
    file: str | None,
    seconds: float,
    output: str | None,
    function: str | None,
    as_json: bool,
    command: tuple[str, ...],
) -> None:
    """Run a program's normalizer over the reference corpus, and say where it differs.

    COMMAND reads one JSON object a line, {"id", "text", "with_tag"}, and writes one for each, in
    order: the parts that it knows (domain, path, tag, digest, familiar, canonical, asked) or
    {"error": "..."}. What it does not know it leaves out. docs/conformance.md has examples.

    \b
    Examples:
      kitref conform -- ./adapter.sh
      kitref conform --profile fixed --python mypackage.names:expand --engine docker-trixie
      kitref conform --case nested-foo-bar-baz -- ./adapter.sh

    \b
    Exit codes:
      0 it conforms   1 it does not   2 wrong usage   3 no such engine   4 it crashed or hung
    """  # noqa: D301 - click's mark
    import math
    from pathlib import Path

    from kitref import conformance, corpus, engines, runs
    from kitref.report import conformance as said
    from kitref.report import terminal

    ends.end_on_sigterm()
    if bool(command) == bool(function):
        raise click.UsageError("give a command after --, or a function with --python")
    if math.isnan(seconds):
        raise click.UsageError("--seconds takes a number")
    adapter = list(command) if command else _calling(function or "")
    profile = conformance.profile(name)
    cases = corpus.load(file)
    ids = {case.id for case in cases}
    excuses = conformance.load_known(Path(known), ids) if known is not None else {}
    for each, there in ((wanted, ids), (family, {case.family for case in cases})):
        if missing := [one for one in each if one.removesuffix("+tag") not in there]:
            raise errors.UsageError(
                f"there is no {missing[0]!r} in the corpus",
                remedy="the failures of a run name their cases and families",
            )
    if wanted or family:
        names = {one.removesuffix("+tag") for one in wanted}
        cases = tuple(case for case in cases if case.id in names or case.family in family)
    asked = (("--corpus", file), ("--known", known), ("--engine", engine))
    options = [word for option, value in asked if value for word in (option, value)]
    if seconds != _SECONDS:
        options += ["--seconds", f"{seconds:g}"]
    start = runs.now()
    with (
        contextlib.ExitStack() as last,
        contextlib.ExitStack() as stack,
        terminal.progress() as report,
    ):
        folder = stack.enter_context(runs.fresh(Path(output))) if output else None
        live = stack.enter_context(engines.opened(engine)) if engine else None
        judged = conformance.conform(
            adapter,
            cases,
            profile,
            known=excuses,
            seconds=seconds,
            report=lambda done, of: report("cases", f"answered {done} of {of}"),
        )
        if live:
            judged = conformance.settle(
                judged, live, report=lambda done, of: report("cases", f"settled {done} of {of}")
            )
        record = conformance.Conformance(
            command=adapter,
            profile=profile,
            judged=judged,
            start=start,
            end=runs.now(),
            engine=f"{live.title} {live.version}" if live else "",
            options=options,
        )
        # When all else has ended, and also where the folder cannot be written.
        last.callback(said.dump if as_json else said.show, record)
        if folder:
            said.write(record, folder)
    click.get_current_context().exit(record.exit_code)


def _calling(function: str) -> list[str]:
    """Return the command that calls a function, after a first start without a question."""
    import subprocess

    from kitref.conformance import runner

    command = runner.in_process(function)
    with contextlib.suppress(subprocess.TimeoutExpired):  # of one that hangs the run says so
        tried = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_IMPORT_SECONDS,
        )
        if tried.returncode:
            last = tried.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise errors.UsageError(
                f"--python {function} cannot be had: {last or f'it ended with {tried.returncode}'}",
                remedy="name it as module:function; modules here are found too",
            )
    return command
