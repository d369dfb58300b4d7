"""The command `kitref`: arguments in, calls out, exit code.

Each command imports what it needs when it runs, so that none waits for what it does not use.
"""
# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from kitref import __version__, errors, normalize, reference, rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_FINDING, _USAGE, _NO_ENGINE, _CRASH = 1, 2, 3, 4
_INTERRUPTED, _NOBODY_READS, _TERMINATED = (
    130,
    141,
    143,
)  # as a shell says it: 128 and the signal's number
_CHUNK = 1 << 16
_ERROR_SHOWS = 200


class _Kit(click.Group):
    """A group whose commands end with the kit's exit codes; only a crash shows a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run a command, and turn what it raises into an exit code."""
        _buffer_output()
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except errors.KitrefError as error:
            _complain(error)
            ctx.exit(_exit_code(error))
        except BrokenPipeError:
            _drop_output()
            ctx.exit(_NOBODY_READS)
        except KeyboardInterrupt:
            ctx.exit(_INTERRUPTED)
        except OSError as error:
            _drop_output()
            click.secho(f"kitref: {error}", err=True, fg="red")
            ctx.exit(_CRASH)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except Exception:  # noqa: BLE001 - the one place where anything at all ends
            import traceback

            traceback.print_exc()
            click.secho("kitref: crashed; please report the above", err=True, fg="red")
            ctx.exit(_CRASH)
        return result


def _buffer_output() -> None:
    """Give the output a buffer where PYTHONUNBUFFERED took it away.

    Without one, Python hands each text to the system once, and drops what a pipe does not take.
    """
    if sys.stdout and isinstance(sys.stdout.buffer, io.RawIOBase):
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(sys.stdout.buffer),
            encoding=sys.stdout.encoding,
            errors=sys.stdout.errors,
            line_buffering=True,
        )


def _end_on_sigterm() -> None:
    """Let SIGTERM, as CI sends it, unwind everything that is under way."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))


def _complain(error: errors.KitrefError) -> None:
    if isinstance(error, errors.InvalidReference):
        what, _, rest = str(error).partition("\n")
    else:
        what, rest = error.what, error.remedy
    click.secho(f"kitref: {what}", err=True, fg="red")
    if rest:
        click.echo(rest, err=True)


def _exit_code(error: errors.KitrefError) -> int:
    if isinstance(error, errors.UsageError):
        return _USAGE
    return _NO_ENGINE if isinstance(error, errors.EngineUnavailable) else _FINDING


def _drop_output() -> None:
    # Python flushes the output once more at its end, and would complain again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_Kit, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kitref", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Which name does a tool ask a container engine for, and does the engine find the image?

    \b
    Exit codes: 0 all as expected, 1 a finding (such as an invalid name),
    2 wrong usage, 3 no engine, 4 a crash.
    """  # noqa: D301 - click's mark
    if os.environ.get("NO_COLOR"):
        ctx.color = False  # by default click looks whether it writes to a terminal


_references = click.argument("references", metavar="[REF]...", nargs=-1)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@main.command()
@_references
@click.option(
    "--rule",
    "rule_name",
    metavar="R",
    default="fixed",
    show_default=True,
    help="The rule: fixed, none, a commit, or a release such as v1.0.1 or nitro-cli@v1.3.1.",
)
@click.option("--with-tag", is_flag=True, help="Add :latest where a name has no tag or digest.")
@click.option("--explain", is_flag=True, help="Say why, after a tab.")
@_as_json
def expand(
    references: tuple[str, ...], rule_name: str, with_tag: bool, explain: bool, as_json: bool
) -> None:
    """Expand names to those that an engine is asked for.

    Without REF, names are read from standard input, one a line, and each line in gives one line
    out, in order and without delay; where a name is invalid, that line is "error: REASON: NAME".

    With --json a line is {"text", "rule", "asked", "reason"}, or, where a name is invalid,
    {"text", "error": {"reason", "start", "end"}}.

    \b
    Example:
      $ kitref expand bastion.io/foo:local
      bastion.io/foo:local
      $ kitref expand --rule v1.0.1 bastion.io/foo:local
      docker.io/bastion.io/foo:local
    """  # noqa: D301 - click's mark
    rule = rules.rule(rule_name)
    rule.expand("alpine", with_tag)  # a rule without with-tag says so before a name is read

    def explained(text: str) -> str:
        expansion = rule.expand(text, with_tag)
        return f"{expansion.asked}\t{expansion.reason}"

    def asked(text: str) -> str:
        return rule.expand(text, with_tag).asked

    def fixed(text: str) -> str:
        return normalize.expand(text, with_tag)

    if as_json:
        _answer_json(references, lambda text: rule.expand(text, with_tag)._asdict())
    elif explain:
        _answer(references, explained)
    else:
        _answer(references, fixed if rule is rules.FIXED else asked)


@main.command()
@_references
@_as_json
def parse(references: tuple[str, ...], as_json: bool) -> None:
    """Take names apart, and give their familiar and canonical form.

    Without REF, names are read from standard input, one a line, and each line in gives one line
    out, in order and without delay; where a name is invalid, that line is "error: REASON: NAME".

    With --json a line is {"text", "domain", "path", "tag", "digest", "familiar", "canonical"}, or,
    where a name is invalid, {"text", "error": {"reason", "start", "end"}}.

    \b
    Example:
      $ kitref parse foo/bar
      domain=docker.io path=foo/bar familiar=foo/bar canonical=docker.io/foo/bar
    """  # noqa: D301 - click's mark
    if as_json:
        _answer_json(references, _parsed)
    else:
        _answer(references, _parsed_line)


@main.command()
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
    help="The folder to write; it is replaced as a whole when the run ends.",
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
    help="Write the baseline from this run, if every engine was had and every notebook passed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of tables.")
def regress(
    wanted: tuple[str, ...],
    require: tuple[str, ...],
    parameters: tuple[tuple[str, str], ...],
    cell_seconds: int,
    notebooks: str,
    output: str,
    baseline: str,
    update_baseline: bool,
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

    from kitref import regression
    from kitref.report import terminal

    _end_on_sigterm()
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
    if update_baseline:
        for path in regression.update_baseline(record, Path(baseline)):
            click.echo(f"wrote {path}", err=True)
    click.get_current_context().exit(record.exit_code)


@main.group()
def engines() -> None:
    """List, start, stop and clean up the engines that the kit starts itself.

    \b
    Example:
      export DOCKER_HOST=$(kitref engines start docker-trixie --store containerd)
      docker images
      kitref engines stop docker-trixie
    """  # noqa: D301 - click's mark


@engines.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def list_engines(as_json: bool) -> None:
    """List the private engines, those that run, and your own."""
    import json

    from kitref.engines import attach, packages, places, private, sweep

    sweep()
    running = {
        content["title"]: content["url"]
        for _, content in places.leases()
        if content.get("detached")
    }
    rows = []
    try:
        for spec in private.specs():
            root = packages.fetched(spec.suite, spec.kind)
            rows.append(
                {
                    "engine": spec.name,
                    "store": spec.store,
                    "version": root.version if root else "",
                    "state": "running"
                    if spec.title in running
                    else "fetched"
                    if root
                    else "to be fetched",
                    "url": running.get(spec.title, ""),
                }
            )
    except errors.EngineUnavailable as error:
        click.echo(f"kitref: {error}", err=True)
    for address in attach.addresses():
        try:
            with contextlib.closing(attach.connect(address.url)) as own:
                rows.append(
                    {
                        "engine": "own",
                        "store": own.store,
                        "version": own.version,
                        "state": address.origin,
                        "url": address.url,
                    }
                )
        except errors.KitrefError as error:
            rows.append(
                {
                    "engine": "own",
                    "store": "",
                    "version": "",
                    "state": error.what,
                    "url": address.url,
                }
            )
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    widths = [max(len(row[key]) for row in rows) for key in rows[0]] if rows else []
    for row in rows:
        click.echo("  ".join(map(str.ljust, row.values(), widths)).rstrip())


@engines.command("start")
@click.argument("engine", default="private")
@click.option(
    "--store",
    default="any",
    show_default=True,
    type=click.Choice(["any", "graph", "containerd", "podman"]),
    help="The image store.",
)
def start_engine(engine: str, store: str) -> None:
    """Start a private engine that stays, and print the DOCKER_HOST to export.

    ENGINE is a name (docker-trixie), a suite (trixie), or private: the newest with that store.

    \b
    Example:
      export DOCKER_HOST=$(kitref engines start docker-trixie --store graph)
    """  # noqa: D301 - click's mark
    from kitref.engines import private, sweep
    from kitref.report import terminal

    _end_on_sigterm()
    sweep()
    spec = private.choose(engine, store)
    with terminal.progress() as report:
        private.fetch(spec, lambda step, share: report(spec.title, f"{step} {share:.0%}"))
        report(spec.title, "starting")
        started = private.start(spec, detached=True)
        report(spec.title, f"ready: {started.engine.kind} {started.engine.version}")
    click.echo(started.engine.url)


@engines.command("stop")
@click.argument("engine", required=False)
@click.option("--all", "every", is_flag=True, help="Stop all of them.")
def stop_engine(engine: str | None, every: bool) -> None:
    """Stop engines that `kitref engines start` left running.

    \b
    Example:
      kitref engines stop docker-trixie
    """  # noqa: D301 - click's mark
    from kitref.engines import private, sweep

    if (engine is None) == (not every):
        raise click.UsageError("name an engine, or give --all")
    sweep()
    stopped = private.stop_detached(engine)
    for title in stopped:
        click.echo(f"{title}: stopped")
    if engine and not stopped:
        raise errors.UsageError(
            f"no engine {engine!r} is running", remedy="`kitref engines list` shows those that are"
        )


@engines.command("clean")
def clean_engines() -> None:
    """Remove the fetched engines from the cache, and whatever a killed run left.

    \b
    Example:
      kitref engines clean
    """  # noqa: D301 - click's mark
    from kitref.engines import packages, sweep

    sweep()
    for name, what in packages.remove_all():
        click.echo(f"{name}: {what}")


@main.command()
@click.argument("names", metavar="[CORPUS]", required=False)
@click.option(
    "--old",
    metavar="R",
    default="9bb26e4c3",
    show_default="9bb26e4c3, of LinuxKit v0.8.1 to v1.0.1 and the Nitro CLI up to v1.3.1",
    help="The old rule: none, a commit, or a release such as v1.0.1 or nitro-cli@v1.3.1.",
)
@click.option("--new", metavar="R", default="fixed", show_default=True, help="The new rule.")
@click.option(
    "--family", metavar="F", multiple=True, help="A family of the corpus, again for more."
)
@click.option(
    "--format",
    "form",
    default="table",
    show_default=True,
    type=click.Choice(["table", "csv", "json", "md", "html"]),
    help="How to print it; json is one object a line.",
)
@click.option("--only-changed", is_flag=True, help="Leave out what both rules ask for alike.")
@click.option(
    "--column",
    metavar="C",
    default="",
    help="The column of a CSV or Parquet file.  [default: name, image, reference, or the first]",
)
@click.option("--check", is_flag=True, help="End with 1 if the rules differ on any name.")
def compare(
    names: str | None,
    old: str,
    new: str,
    family: tuple[str, ...],
    form: str,
    only_changed: bool,
    column: str,
    check: bool,
) -> None:
    """Compare what two rules ask for, name by name, and what difference it makes.

    CORPUS is a file of names: .csv, .parquet, .jsonl (a corpus), or other text, a name a line.
    Without it, the kit's own corpus is compared.

    What a store says is the word of a model, for an image that is tagged under the name as it is
    written: found, absent, refused, or not-asked where the rule itself refuses the name. The host
    of a pull is the first part of what is asked for, as containerd reads it.

    \b
    Examples:
      kitref compare --family nested --only-changed
      kitref compare images.txt --old v1.0.1 --format md
    """  # noqa: D301 - click's mark
    from kitref import compare as comparing
    from kitref.report import comparisons

    records = tuple(
        comparing.compare(
            comparing.load(names, families=",".join(family), column=column),
            old=rules.rule(old),
            new=rules.rule(new),
        )
    )
    said = comparisons.summary(records)
    shown = [record for record in records if record.differs or not only_changed]
    if form == "table":
        comparisons.show(shown, said)
    else:
        page = {
            "csv": lambda: comparisons.as_csv(shown),
            "json": lambda: comparisons.as_json(shown),
            "md": lambda: comparisons.as_markdown(shown, said),
            "html": lambda: comparisons.as_html(shown, said),
        }[form]()
        sys.stdout.buffer.write(page.encode())
    if check and any(record.differs for record in records):
        click.get_current_context().exit(_FINDING)


@main.command()
@click.option(
    "--count",
    default=50_000,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many texts to generate.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Which texts.  [default: drawn anew, and printed]",
)
@click.option(
    "--corpus",
    "file",
    metavar="FILE",
    help="The corpus, JSON Lines as kitref/data/corpus.jsonl.  [default: the kit's]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def oracle(count: int, seed: int | None, file: str | None, as_json: bool) -> None:
    """Hold the corpus and generated texts against Go's distribution/reference.

    Go and the package are fetched from Debian, unpacked into the kit's cache and built there;
    nothing is installed. Where they cannot be had, that is said, and the exit code is 3.

    \b
    Examples:
      kitref oracle
      kitref oracle --count 1000000 --seed 7

    \b
    Exit codes:
      0 all agree   1 a disagreement   2 wrong usage   3 no oracle to be had   4 a crash
    """  # noqa: D301 - click's mark
    import json
    import secrets
    import shlex

    from kitref import corpus
    from kitref import oracle as go
    from kitref.report import terminal

    _end_on_sigterm()
    cases = corpus.load(file)
    with terminal.progress() as report:
        built = go.build(lambda step, share: report("oracle", f"{step} {share:.0%}"))
        report("oracle", f"ready: {built.title}")
        result = go.compare(
            built,
            cases,
            count=count,
            seed=secrets.randbelow(2**32) if seed is None else seed,
            command="kitref oracle" + (f" --corpus {shlex.quote(file)}" if file else ""),
            progress=lambda done: report("generated", f"compared {done:,} of {count:,}"),
        )
    click.echo(json.dumps(result.as_json(), indent=2) if as_json else str(result))
    if result.disagreeing:
        click.get_current_context().exit(_FINDING)


def _parsed(text: str) -> dict[str, str | None]:
    parsed = reference.parse(text)
    names = {"familiar": parsed.familiar, "canonical": parsed.canonical}
    return {"text": text, **parsed._asdict(), **names}


def _parsed_line(text: str) -> str:
    parts = _parsed(text)
    del parts["text"]
    return " ".join(f"{part}={value}" for part, value in parts.items() if value is not None)


def _answer_json(references: tuple[str, ...], answer: Callable[[str], dict[str, Any]]) -> None:
    """Answer names in JSON, invalid ones too."""
    import json

    # ASCII only: what was no UTF-8 in the input must not make the output no JSON.
    encode = json.JSONEncoder(ensure_ascii=True).encode

    def invalid(error: errors.InvalidReference) -> str:
        fault = {"reason": error.reason, "start": error.start, "end": error.end}
        return encode({"text": error.text, "error": fault})

    _write_answers([references] if references else _lines(), lambda t: encode(answer(t)), invalid)


def _answer(references: tuple[str, ...], answer: Callable[[str], str]) -> None:
    """Answer names in plain text: an invalid one in place if read, on standard error if given."""

    def in_place(error: errors.InvalidReference) -> str:
        text = error.text
        clipped = text if len(text) <= _ERROR_SHOWS else f"{text[:_ERROR_SHOWS]}..."
        return f"error: {error.reason}: {errors.printable(clipped)}"

    if references:
        _write_answers([references], answer, _complain)
    else:
        _write_answers(_lines(), answer, in_place)


def _write_answers(
    batches: Iterable[Sequence[str]],
    answer: Callable[[str], str],
    answer_invalid: Callable[[errors.InvalidReference], str | None],
) -> None:
    """Write the answers to a batch of names, then ask for the next batch.

    Args:
        batches: The names.
        answer: Gives a valid name's line.
        answer_invalid: Gives an invalid name's line, None if there is none.
    """
    sink = sys.stdout.buffer
    all_valid = True
    for batch in batches:
        lines: list[str] = []
        for text in batch:
            try:
                lines.append(answer(text))
            except errors.InvalidReference as error:
                all_valid = False
                line = answer_invalid(error)
                if line is not None:
                    lines.append(line)
        sink.write("".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))
        sink.flush()
    if not all_valid:
        click.get_current_context().exit(_FINDING)


def _lines() -> Iterator[list[str]]:
    """Yield the lines of standard input, in batches of what is there, so that nobody waits.

    A line ends with a line feed and nothing else, as in Go's and every other tool's reading.
    Bytes that are no UTF-8 come as lone surrogates, and leave as the bytes that they were.
    """
    if sys.stdin.isatty():
        click.echo("Names, one a line; Ctrl-D ends them.", err=True)
    pieces: list[bytes] = []
    while chunk := sys.stdin.buffer.read1(_CHUNK):  # type: ignore[union-attr]
        head, *others = chunk.split(b"\n")
        pieces.append(head)
        if others:
            lines = [b"".join(pieces), *others[:-1]]
            pieces = [others[-1]]
            yield [line.decode(errors="surrogateescape") for line in lines]
    if last := b"".join(pieces):
        yield [last.decode(errors="surrogateescape")]
