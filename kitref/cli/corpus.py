"""Commands on many names: `kitref compare`, `kitref oracle`."""

from __future__ import annotations

import sys

import click

from kitref import rules
from kitref.cli import ends


@click.command()
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
        click.get_current_context().exit(ends.FINDING)


@click.command()
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

    ends.end_on_sigterm()
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
        click.get_current_context().exit(ends.FINDING)
