"""Old against new: what two rules ask for each name, and what difference that makes.

What a store would answer is the model's word (`kitref.stores`), for an image that is tagged under
the name as the user wrote it; only an engine proves it. The host of a pull is the asked name's
first part, as containerd reads a name (`Parse` and `Hostname` in its package reference, through
which LinuxKit puts every asked name): to it, `foo/bar/baz` is on a host called `foo`. Before v0.8
LinuxKit pulled through Docker instead, which reads a name as it looks it up.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NoReturn

from kitref import corpus, stores
from kitref.errors import CorpusError, Finding, InvalidReference, UsageError, printable
from kitref.reference import DOCKER_HUB, parse
from kitref.rules import RULES, rule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from kitref.reference import Reference
    from kitref.rules import Rule

Said = Literal["found", "absent", "refused", "not-asked"]
"""What a store says; `not-asked` where the rule itself refuses the name."""

Verdict = Literal["right", "wrong", "invalid"]
"""Whether Docker reads the asked name as it reads the name itself; `invalid`: it is no name."""

COLUMNS: Final = ("name", "image", "reference")
"""The columns that are taken for the names', in this order, where none is given."""

_CORPUS: Final = ".jsonl"
_WITH_COLUMNS: Final = (".csv", ".parquet")
_HUB_HOSTS: Final = (DOCKER_HUB, f"index.{DOCKER_HUB}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A name to compare the rules on.

    Attributes:
        text: The name as the user wrote it.
        family: Its family in the corpus; empty in a file that has none.
    """

    text: str
    family: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one rule makes of one name.

    Attributes:
        name: The name.
        rule: The rule's name.
        asked: What an engine is asked for; None where the rule refuses the name.
        reason: Why, in a few words.
        host: The host that a pull of it would go to, by containerd's reading (under rule `none`
            by Docker's); empty where it has none, None where nothing valid is asked for.
        meant: The name's own canonical form; empty where it is no valid name.
        registry: The domain that the name itself means; empty where it is no valid name.
        verdict: Whether Docker reads what is asked as it reads the name.
    """

    name: Name
    rule: str
    asked: str | None
    reason: str
    host: str | None
    meant: str
    registry: str
    verdict: Verdict

    @property
    def elsewhere(self) -> bool:
        """Whether a pull would go to another host than the name's own registry."""
        # Kept: Go's oddity (`a_b.io/foo`) has no domain, so no host is another than it.
        if self.host is None or not self.registry:
            return False
        return self.host not in (_HUB_HOSTS if self.registry == DOCKER_HUB else (self.registry,))

    @property
    def note(self) -> str:
        """What is to be said about the asked name, empty if it is as it should be."""
        if self.asked is None:
            return self.reason
        if self.host is None:
            return "what is asked for is no valid name"
        if self.elsewhere:
            return f"a pull goes to {self.host or 'no host'}, not to {self.registry}"
        return ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What the stores of one behaviour class say to what each rule asks, by the model.

    Attributes:
        store: The behaviour class.
        old: What it says under the old rule.
        new: What it says under the new one.
    """

    store: str
    old: Said
    new: Said

    def __str__(self) -> str:
        """Return both in words, or one where they are the same."""
        return self.old if self.old == self.new else f"{self.old} → {self.new}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A name under an old and a new rule.

    Attributes:
        name: The name.
        fault: What makes it no valid name; empty if it is one.
        old: What the old rule makes of it.
        new: What the new rule makes of it.
        model: What difference that makes, a behaviour class each, by the model.
    """

    name: Name
    fault: str
    old: Asked
    new: Asked
    model: tuple[Effect, ...]

    @property
    def differs(self) -> bool:
        """Whether the two rules ask for different names."""
        return self.old.asked != self.new.asked


def compare(names: Iterable[Name], *, old: Rule, new: Rule) -> Iterator[Comparison]:
    """Compare two rules, name by name.

    Args:
        names: The names, valid or not.
        old: The old rule.
        new: The new rule.

    Yields:
        A comparison a name, in their order.
    """
    for name in names:
        before, after = _ask(name, old), _ask(name, new)
        yield Comparison(
            name=name,
            fault=_fault(name.text),
            old=before,
            new=after,
            model=tuple(
                Effect(
                    store=behaviour.name,
                    old=_said(behaviour, before),
                    new=_said(behaviour, after),
                )
                for behaviour in stores.CLASSES.values()
            ),
        )


def ask(names: Iterable[Name], rules: Sequence[Rule]) -> Iterator[Asked]:
    """Put every name to every rule.

    Args:
        names: The names, valid or not.
        rules: The rules.

    Yields:
        What each rule makes of each name: all rules for the first name, then for the next.
    """
    for name in names:
        for each in rules:
            yield _ask(name, each)


def examine(records: Iterable[Asked], *, new: str = "fixed") -> list[str]:
    """Check that a rule asks for every valid name rightly, and refuses the others.

    Args:
        records: What rules ask for names.
        new: The rule that is to be right.

    Returns:
        What was checked, a line each.

    Raises:
        Finding: The rule asks for another image or another registry than the name means, or for
            something where the name is invalid; it says which rule, which name and what.
    """
    asked = [record for record in records if record.rule == new]
    astray = [record for record in asked if _is_astray(record)]
    if astray:
        first, text = astray[0], printable(astray[0].name.text)
        raise Finding(
            f"rule {new} is wrong about {len(astray)} of {len(asked)} names, first {text!r}: it"
            f" asks for {printable(first.asked or 'nothing')!r}"
            f" ({first.note or first.reason}), Docker reads"
            f" {first.meant or 'no valid name'!r}",
            remedy="see kitref/normalize.py for what the fixed rule asks for",
        )
    if not asked:
        return [f"skipped: rule {new} is not among the rules"]
    valid = sum(record.verdict != "invalid" for record in asked)
    return [
        f"checked: rule {new} asks for {valid} valid names as Docker reads them",
        f"checked: rule {new} refuses {len(asked) - valid} invalid names",
    ]


def _is_astray(record: Asked) -> bool:
    if record.verdict == "invalid":
        return record.asked is not None
    return record.verdict == "wrong" or record.elsewhere


def choose(text: str) -> tuple[Rule, ...]:
    """Return the rules that a text names.

    Args:
        text: Rules as `kitref.rule` takes them, with commas between; empty for every rule.

    Returns:
        The rules, each once, in the order of the text.

    Raises:
        UnknownRule: One of them is none.
    """
    names = _listed(text)
    return tuple({found.name: found for found in map(rule, names)}.values()) if names else RULES


def load(
    path: str | Path | None = None, *, families: str = "", column: str = ""
) -> tuple[Name, ...]:
    """Read the names to compare rules on.

    Args:
        path: A file of names: `.csv`, `.parquet`, `.jsonl` (a corpus), or any other text, a name a
            line; the kit's own corpus if not given. Empty lines and cells are no names.
        families: Families of the corpus, with commas between; empty for all.
        column: The column of a CSV or Parquet file; by default the first of `COLUMNS` that it has,
            else its first.

    Returns:
        The names in the order of the file.

    Raises:
        CorpusError: The file cannot be read, or holds no name.
        UsageError: There is no such family, or the file has no families or no columns.
    """
    kind = Path(path).suffix.lower() if path else _CORPUS
    if column and kind not in _WITH_COLUMNS:
        raise UsageError(
            f"{path or 'the corpus of the kit'} has no columns",
            remedy=f"leave out the column, or give a file in {' or '.join(_WITH_COLUMNS)}",
        )
    if not path or kind == _CORPUS:
        return _of_families(corpus.load(path or None), _listed(families))
    if families:
        raise UsageError(f"{path} has no families", remedy="leave them out, or give a corpus")
    file = Path(path)
    texts = _read(file, kind, column)
    if not texts:
        _refuse(f"{file}", "no name in it", "give a file with a name a line")
    return tuple(Name(text=text) for text in texts)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _of_families(cases: Iterable[corpus.Case], families: Collection[str]) -> tuple[Name, ...]:
    known = corpus.families()
    for family in families:
        if family not in known:
            raise UsageError(f"no family is called {family!r}", remedy=f"it is {', '.join(known)}")
    return tuple(
        Name(text=case.text, family=case.family)
        for case in cases
        if not families or case.family in families
    )


def _fault(text: str) -> str:
    try:
        parse(text)
    except InvalidReference as error:
        return error.reason
    return ""


# What a rule asks, and what is said to it.


def _ask(name: Name, each: Rule) -> Asked:
    meant = _parsed(name.text)
    asked = None
    try:
        _, _, asked, reason = each.expand(name.text)
    except InvalidReference as error:
        reason = f"the rule refuses the name: {error.reason}"
    read = None if asked is None else _parsed(asked)
    return Asked(
        name=name,
        rule=each.name,
        asked=asked,
        reason=reason,
        host=None if asked is None else pull_host(each.name, asked),
        meant=meant.canonical if meant else "",
        registry=meant.domain if meant else "",
        verdict=_verdict(meant, read),
    )


def pull_host(rule: str, asked: str) -> str | None:
    """Return the host that a pull goes to.

    Args:
        rule: The name of the rule by which the name was expanded.
        asked: The expanded name.

    Returns:
        The host; empty where the name has none, None where it is no reference.
    """
    read = _parsed(asked)
    # Kept: before v0.8 LinuxKit pulled through Docker, which reads the name as it is meant.
    if read is None or rule == "none":
        return read and read.domain
    first, slash, _ = asked.partition("/")
    return first if slash else ""


def _parsed(text: str) -> Reference | None:
    try:
        return parse(text)
    except InvalidReference:
        return None


def _verdict(meant: Reference | None, read: Reference | None) -> Verdict:
    if meant is None:
        return "invalid"
    return "right" if read and read.canonical == meant.canonical else "wrong"


def _said(behaviour: stores.BehaviourClass, asked: Asked) -> Said:
    if asked.asked is None:
        return "not-asked"
    # No image can be tagged with what is no name, so nothing is there to be found.
    tagged_as = stores.NOBODY if asked.verdict == "invalid" else asked.name.text
    return stores.predict(behaviour, tagged_as=tagged_as, asked=asked.asked)


# Files of names.


def _read(file: Path, kind: str, column: str) -> list[str]:
    try:
        content = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        remedy = "give a file of names: text, .csv, .parquet or .jsonl"
        raise CorpusError(f"{file}: cannot be read ({reason})", remedy=remedy) from error
    if kind == ".parquet":
        return _parquet(file, column)
    text = _decoded(content, file)
    if kind == ".csv":
        return _csv(text, file, column)
    # A line ends with a line feed and nothing else, as for `kitref expand`.
    return [line for line in text.split("\n") if line]


def _decoded(content: bytes, file: Path) -> str:
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        number = before.count(b"\n") + 1
        at = len(before.rpartition(b"\n")[2].decode()) + 1
        _refuse(
            f"{file}:{number}:{at}", f"byte {content[error.start]:#04x} is no UTF-8",
            "save it as UTF-8",
        )  # fmt: skip


def _csv(text: str, file: Path, column: str) -> list[str]:
    # The ends of the lines stay as they are: one may stand in a quoted cell.
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    texts = []
    try:
        header = next(rows, [])
        at = _column(header, file, column)
        for row in rows:
            if row and len(row) <= at:
                what = f"{len(row)} columns, expected {len(header)}"
                _refuse(f"{file}:{rows.line_num}", what, "complete the row")
            texts.append(row[at] if row else "")
    except csv.Error as error:
        _refuse(f"{file}:{rows.line_num}", f"no CSV: {error}", "quote the cell as RFC 4180 has it")
    return [text for text in texts if text]


def _parquet(file: Path, column: str) -> list[str]:
    import importlib  # noqa: PLC0415 - by name, since the library is no dependency of the kit

    try:
        parquet = importlib.import_module("pyarrow.parquet")
        arrow = importlib.import_module("pyarrow")
    except ImportError as error:
        remedy = "pip install pyarrow, or give the names as CSV or text"
        raise CorpusError(f"{file}: Parquet needs pyarrow", remedy=remedy) from error
    try:
        table = parquet.read_table(file)
    except (arrow.ArrowException, OSError) as error:
        what = f"no Parquet: {str(error).partition(chr(10))[0]}"
        raise CorpusError(f"{file}: {what}", remedy="write the file anew") from error
    header = table.column_names
    cells = table.column(_column(header, file, column)).to_pylist()
    for number, cell in enumerate(cells, start=1):
        if cell is not None and not isinstance(cell, str):
            _refuse(f"{file}: row {number}", f"{cell!r} is no text", "give another --column")
    return [cell for cell in cells if cell]


def _column(header: Sequence[str], file: Path, column: str) -> int:
    if not header:
        _refuse(f"{file}:1", "no header", "name the columns in the first line")
    if column and column not in header:
        _refuse(f"{file}:1", f"no column {column!r}", f"it has {', '.join(map(repr, header))}")
    wanted = [column] if column else COLUMNS
    return next((header.index(each) for each in wanted if each in header), 0)


def _refuse(where: str, what: str, remedy: str) -> NoReturn:
    raise CorpusError(f"{where}: {what}", remedy=remedy)
