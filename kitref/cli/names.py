"""Commands on names: `kitref expand`, `kitref parse`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from kitref import errors, normalize, reference, rules
from kitref.cli import ends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_CHUNK = 1 << 16
_ERROR_SHOWS = 200
_references = click.argument("references", metavar="[REF]...", nargs=-1)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.command()
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


@click.command()
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
        _write_answers([references], answer, ends.complain)
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
        click.get_current_context().exit(ends.FINDING)


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
