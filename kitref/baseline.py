"""What engines are expected to answer, as small text files, and what became of it in a run.

A file holds one behaviour class, so a new version of an engine is compared with what its kind has
always answered. A line holds one name, tagged in one way, asked for in one way, the outcome, and
the rules that ask so; lines are sorted, so that a change is a line in a diff.
"""

from __future__ import annotations

import csv
import functools
import io
import re
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from kitref import compare as names
from kitref import corpus, errors, stores
from kitref.report.record import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd

COLUMNS = ["image", "tagged_as", "asked", "outcome", "rules"]
"""The columns of a file."""

_OWN = re.compile(r"kitref-[0-9a-f]{12}-")
"""What the kit puts into a name on a user's engine; it is another in every run."""


_NEW: Final = (
    "not in the baseline: a line of it was removed, or the corpus grew; --update-baseline writes it"
)


class Key(NamedTuple):
    """What an answer is an answer to."""

    behaviour: str
    image: str
    tagged_as: str
    rule: str


class Answer(NamedTuple):
    """The name that was asked for, the outcome, and who says so: an engine, or a file and line."""

    asked: str
    outcome: str
    source: str

    def __str__(self) -> str:
        """Return it for a reader."""
        return f"{self.asked}: {self.outcome}"


def read(folder: Path) -> dict[Key, Answer]:
    """Read a baseline.

    Args:
        folder: The folder of the baseline.

    Returns:
        What is expected of each behaviour class.

    Raises:
        UsageError: There is no baseline; or a file of it is not one, holds no line or one key
            twice; names file and line.
    """
    if not any(folder.glob("*.csv")):
        raise errors.UsageError(
            f"there is no baseline in {folder}", remedy="make one with --update-baseline"
        )
    expected: dict[Key, Answer] = {}
    for behaviour in stores.CLASSES:
        path = folder / f"{behaviour}.csv"
        count = len(expected)
        for key, answer in _lines(path):
            if (other := expected.setdefault(key, answer)) is not answer:
                _refuse(
                    answer.source,
                    f"rule {key.rule}, {key.image} tagged {key.tagged_as or 'nothing'} already has"
                    f" an answer at {other.source}",
                )
        if len(expected) == count:
            _refuse(f"{path}", "holds no answer")
    return expected


def compare(
    lookups: pd.DataFrame, expected: Mapping[Key, Answer], *, complete: bool = True
) -> tuple[Change, ...]:
    """Compare a run's look-ups with the baseline.

    Args:
        lookups: The look-ups, as `kitref.tables.lookups` has them.
        expected: The baseline, as `read` returns it.
        complete: Whether the run came to its end. Where an engine or a kernel died, what has no
            answer was not asked, and is not gone.

    Returns:
        What became of each answer, sorted; every engine's answer for itself.
    """
    elsewhere = _elsewhere(expected)
    answers: dict[Key, list[Answer]] = {}
    for key, answer in _answers(lookups):
        answers.setdefault(key, []).append(answer)
    # A user's engine is not asked for names that leave no room to make them unique.
    asked = {
        key.behaviour
        for key, given in answers.items()
        if any(not answer.source.startswith("own-") for answer in given)
    }
    changes = []
    for key in sorted(expected.keys() | answers.keys()):
        was = expected.get(key)
        for now in answers.get(key, []):
            status = _status(was, now)
            why = _NEW if status == "new" else ""
            if was and status == "changed":
                why = _cause(key, was, now, elsewhere)
            changes.append(_change(status, key, was, now, why))
        if key not in answers:
            status = "gone" if complete and key.behaviour in asked else "not-asked"
            why = f"{was.source}: this was not asked" if was and status == "gone" else ""
            changes.append(_change(status, key, was, None, why))
    return tuple(changes)


def update(lookups: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the baseline from a run's look-ups.

    Args:
        lookups: The look-ups of a complete run.
        folder: The folder to write to.

    Returns:
        The files.

    Raises:
        Finding: Two engines of one behaviour class answer differently, or the fixed rule asks for
            another name than the corpus says; names both. Nothing is written.
    """
    answers: dict[Key, Answer] = {}
    for key, answer in _answers(lookups):
        by_hand = _by_hand().get(key.image, answer.asked) if key.rule == "fixed" else answer.asked
        if answer.asked != by_hand:
            raise errors.Finding(
                f"rule fixed asks for {answer.asked}, and the corpus says that {key.image} becomes"
                f" {by_hand}"
            )
        other = answers.setdefault(key, answer)
        if other[:2] != answer[:2]:
            raise errors.Finding(
                f"{other.source} and {answer.source} are of one class, {key.behaviour}, and answer "
                f"differently to {key.image} under rule {key.rule}: {other}, {answer}"
            )
    grouped: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for key, answer in answers.items():
        line = (key.image, key.tagged_as, answer.asked, answer.outcome)
        grouped.setdefault(key.behaviour, {}).setdefault(line, []).append(key.rule)
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder / f"{name}.csv", lines) for name, lines in sorted(grouped.items())]


def _write(path: Path, lines: dict[tuple[str, ...], list[str]]) -> Path:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((*line, " ".join(sorted(rules))) for line, rules in sorted(lines.items()))
    partial.replace(path)
    return path


def _lines(path: Path) -> Iterator[tuple[Key, Answer]]:
    """Yield the answers that a file of a baseline holds."""
    try:
        content = path.read_bytes()
    except OSError as error:
        _refuse(f"{path}", f"cannot be read ({error.strerror})")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _refuse(f"{path}:{line}", f"byte {content[error.start]:#04x} is no UTF-8")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in rows:
            if rows.line_num == 1 and row == COLUMNS:
                continue
            if rows.line_num == 1 or len(row) != len(COLUMNS) or row[3] not in _OUTCOMES:
                what = f"not a line of a baseline: {','.join(row)[:80]!r}"
                _refuse(f"{path}:{rows.line_num}", what)
            image, tagged_as, asked, outcome, rules = row
            for rule in rules.split():
                key = Key(path.stem, image, tagged_as, rule)
                yield key, Answer(asked, outcome, f"{path}:{rows.line_num}")
    except csv.Error as error:
        _refuse(f"{path}:{rows.line_num}", f"no CSV ({error})")


def _refuse(where: str, what: str) -> NoReturn:
    raise errors.UsageError(f"{where}: {what}", remedy="restore the file from version control")


def _answers(lookups: pd.DataFrame) -> Iterable[tuple[Key, Answer]]:
    """Yield the answers of a run."""
    for row in lookups.itertuples():
        kind = "podman" if row.store == "podman" else "docker"
        behaviour = stores.classify(kind, str(row.store), str(row.version)).name
        key = Key(behaviour, str(row.image), _OWN.sub("", str(row.tagged_as)), str(row.rule))
        engine = f"{row.engine}/{row.store} {row.version}"
        yield key, Answer(_OWN.sub("", str(row.asked)), str(row.outcome), engine)


def _status(was: Answer | None, now: Answer) -> str:
    if now.outcome == "not-asked":
        return "not-asked"
    if was is None:
        return "new"
    return "same" if was[:2] == now[:2] else "changed"


def _cause(
    key: Key, was: Answer, now: Answer, elsewhere: Mapping[tuple[str, str], set[str]]
) -> str:
    """Return what changed: the rule, the engine, or the file that says what is expected."""
    edited = f"{was.source}: the baseline was edited, or is out of date:"
    if was.asked != now.asked:
        if now.asked in elsewhere[key.image, key.rule]:
            return f"{edited} rule {key.rule} makes {now.asked} of it, as ever"
        goes, went = (names.pull_host(key.rule, each.asked) or "no host" for each in (now, was))
        pull = f"goes to {goes}, not to {went}" if goes != went else f"still goes to {goes}"
        return f"rule {key.rule} changed: it asks for another name than {was.source}; a pull {pull}"
    behaviour = stores.CLASSES[key.behaviour]
    model = stores.predict(behaviour, tagged_as=key.tagged_as or stores.NOBODY, asked=now.asked)
    if model == now.outcome:
        return f"{edited} the engine answers as the model of its store does"
    return f"the engine changed: {model} is also what the model of its store says"


def _elsewhere(expected: Mapping[Key, Answer]) -> dict[tuple[str, str], set[str]]:
    """Return what each rule is known to make of each name, wherever that is written down.

    A rule looks at nothing but the name, so that all lines of a name and rule say the same, in
    every file; one that was edited is alone. What the fixed rule makes of a name of the corpus was
    written by hand.
    """
    known: dict[tuple[str, str], set[str]] = {}
    for key, answer in expected.items():
        known.setdefault((key.image, key.rule), set()).add(answer.asked)
    by_hand = {(image, "fixed"): {asked} for image, asked in _by_hand().items()}
    return known | by_hand


@functools.cache
def _by_hand() -> dict[str, str]:
    """Return what the corpus says that the fixed rule makes of each name."""
    return {case.text: case.expanded for case in corpus.load() if case.expanded}


def _change(status: str, key: Key, was: Answer | None, now: Answer | None, why: str) -> Change:
    return Change(
        status=status,  # type: ignore[arg-type]
        behaviour=key.behaviour,
        engine=now.source if now else "",
        image=key.image,
        tagged_as=key.tagged_as,
        rule=key.rule,
        was=str(was or ""),
        now=str(now or ""),
        why=why,
    )


_OUTCOMES = frozenset(("found", "absent", "refused"))
