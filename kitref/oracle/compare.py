"""The kit and a corpus held against Go's distribution/reference, text by text."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kitref import normalize, reference
from kitref.errors import InvalidReference, printable
from kitref.oracle import texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kitref.corpus import Case
    from kitref.oracle.go import Answer, Oracle

_BATCH = 20_000  # texts that the program is started once for
_SHOWN = 10  # disagreements that are kept, and shrunk if generated; all are counted
_PARTS = ("domain", "path", "tag", "digest", "familiar", "canonical")
_LATEST = ":latest"


class _Difference(NamedTuple):
    """What two sides say of a text, where it is not the same."""

    about: str
    ours: str | None
    go: str | None


class _Kit(NamedTuple):
    """What the kit makes of a text; a member is None where the kit refuses.

    Attributes:
        text: The text.
        parts: What `parse` makes of it, in the order of `_PARTS`.
        asked: What `expand` makes of it.
        again: What `expand` makes of that.
        tagged: What `expand` with a tag makes of it.
        tagged_again: What `expand` with a tag makes of that.
    """

    text: str
    parts: tuple[str | None, ...] | None
    asked: str | None
    again: str | None
    tagged: str | None
    tagged_again: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A text of which distribution/reference says something else.

    Attributes:
        where: The case of the corpus by its id, or the generated text by its number.
        text: The text.
        shrunk: What is left of the text when all is taken out that the disagreement can do without.
        about: What it is about: a part, a name, or a law of `expand`.
        who: Whose answer `ours` is: `corpus` or `kit`.
        ours: The answer of the corpus or the kit; None stands for none.
        go: What distribution/reference says, or what follows from that; None stands for none.
        repeat: The command that shows it again.
    """

    where: str
    text: str
    shrunk: str
    about: str
    who: str
    ours: str | None
    go: str | None
    repeat: str

    def __str__(self) -> str:
        """Return it in words, in printable ASCII."""
        lines = [
            f"{self.where}: {self.about}",
            f"  text    {printable(self.text)}",
            *([f"  shrunk  {printable(self.shrunk)}"] if self.shrunk != self.text else []),
            f"  {self.who:6}  {_shown(self.ours)}",
            f"  go      {_shown(self.go)}",
            f"  repeat  {self.repeat}",
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a comparison came to.

    Attributes:
        oracle: Which version of distribution/reference was asked, in words.
        seed: The seed of the generated texts.
        cases: How many cases of the corpus were compared.
        generated: How many generated texts were compared.
        valid: How many of those distribution/reference takes.
        disagreeing: On how many cases and texts there is a disagreement.
        disagreements: The first of them.
    """

    oracle: str
    seed: int
    cases: int
    generated: int
    valid: int
    disagreeing: int
    disagreements: tuple[Disagreement, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON knows."""
        return asdict(self)

    def __str__(self) -> str:
        """Return it in words, the disagreements first."""
        lines = [
            *map(str, self.disagreements),
            f"oracle: {self.oracle}",
            f"corpus: {self.cases} cases compared",
            f"generated with seed {self.seed}: {self.generated} texts compared, {self.valid} valid",
            f"disagreements: {self.disagreeing}",
        ]
        if self.disagreeing > len(self.disagreements):
            lines[-1] += f", the first {len(self.disagreements)} shown"
        return "\n".join(lines)


class _Tally:
    """Disagreements as they are met: all counted, the first kept.

    Args:
        oracle: The program, for shrinking.
        command: The command that compares on this corpus.
    """

    def __init__(self, oracle: Oracle, command: str) -> None:
        self._oracle = oracle
        self._command = command
        self.kept: list[Disagreement] = []
        self.count = 0

    def add_case(self, case: Case, difference: _Difference, who: str) -> None:
        """Count a disagreement on a case of the corpus."""
        self._add(f"case {case.id}", case.text, difference, who, f"{self._command} --count 0")

    def add_generated(self, number: int, text: str, difference: _Difference, seed: int) -> None:
        """Count a disagreement on a generated text."""
        repeat = f"{self._command} --seed {seed} --count {number}"
        self._add(f"generated text {number}", text, difference, "kit", repeat)

    def _add(self, where: str, text: str, difference: _Difference, who: str, repeat: str) -> None:
        self.count += 1
        if len(self.kept) == _SHOWN:
            return
        shrunk = _shrunk(self._oracle, text, difference.about) if who == "kit" else text
        self.kept.append(
            Disagreement(
                where=where,
                text=text,
                shrunk=shrunk,
                about=difference.about,
                who=who,
                ours=difference.ours,
                go=difference.go,
                repeat=repeat,
            )
        )


def compare(
    oracle: Oracle,
    cases: Sequence[Case],
    *,
    count: int,
    seed: int,
    command: str = "kitref oracle",
    progress: Callable[[int], None] = lambda _done: None,
) -> Result:
    """Hold every case of a corpus, and then generated texts, against distribution/reference.

    Of each case, what the corpus says and what the kit makes of it are compared; of each generated
    text, what the kit makes of it. What `expand` makes of a text is put to distribution/reference
    as well: it has to mean the same.

    Args:
        oracle: The program to ask.
        cases: The corpus; the generated texts are mutated from it, too.
        count: How many texts to generate.
        seed: Which texts; the same ones for the same seed and corpus.
        command: The command that compares on this corpus, for the reader of a disagreement.
        progress: Called now and then with the number of generated texts that have been compared.

    Returns:
        What it came to.

    Raises:
        EngineUnavailable: The program was removed or failed.
    """
    tally = _Tally(oracle, command)
    _compare_cases(oracle, cases, tally)
    stream = texts.generate(seed, [case.text for case in cases])
    done = valid = 0
    while batch := list(itertools.islice(stream, min(_BATCH, count - done))):
        for number, (kit, answers) in enumerate(_asked(oracle, batch), start=done + 1):
            valid += answers[kit.text].refused is None
            if difference := next(_differences(kit, answers), None):
                tally.add_generated(number, kit.text, difference, seed)
        done += len(batch)
        progress(done)
    return Result(
        oracle=oracle.title,
        seed=seed,
        cases=len(cases),
        generated=done,
        valid=valid,
        disagreeing=tally.count,
        disagreements=tuple(tally.kept),
    )


def _compare_cases(oracle: Oracle, cases: Sequence[Case], tally: _Tally) -> None:
    """Hold what a corpus says, and what the kit makes of its texts, against the oracle."""
    expansions = [
        text for case in cases for text in (case.expanded, case.expanded_with_tag) if text
    ]
    expanded = dict(zip(expansions, oracle.ask(expansions), strict=True))
    pairs = _asked(oracle, [case.text for case in cases])
    for case, (kit, answers) in zip(cases, pairs, strict=True):
        if difference := next(_case_differences(case, answers[case.text], expanded), None):
            tally.add_case(case, difference, "corpus")
        elif difference := next(_differences(kit, answers), None):
            tally.add_case(case, difference, "kit")


def _case_differences(
    case: Case, go: Answer, expanded: Mapping[str, Answer]
) -> Iterator[_Difference]:
    """Yield where a case says something else than distribution/reference."""
    if (case.status == "invalid") != (go.refused is not None):
        yield _Difference("whether it is valid", case.status, _verdict(go))
        return
    for part in _PARTS:
        if getattr(case, part) != getattr(go, part):
            yield _Difference(part, getattr(case, part), getattr(go, part))
    if case.expanded is not None and expanded[case.expanded].canonical != go.canonical:
        yield _Difference("what the expansion means", case.expanded, go.canonical)
    tagged = case.expanded_with_tag
    if tagged is not None and expanded[tagged].canonical != go.tagged:
        yield _Difference("what the expansion with a tag means", tagged, go.tagged)


def _asked(oracle: Oracle, batch: Iterable[str]) -> Iterator[tuple[_Kit, Mapping[str, Answer]]]:
    """Yield what the kit makes of texts, with the answers to them and to their expansions."""
    kits = [_examine(text) for text in batch]
    names = (name for kit in kits for name in (kit.text, kit.asked, kit.tagged) if name is not None)
    questions = list(dict.fromkeys(names))
    answers = dict(zip(questions, oracle.ask(questions), strict=True))
    for kit in kits:
        yield kit, answers


def _examine(text: str) -> _Kit:
    """Return what the kit makes of a text."""
    try:
        asked, tagged = _expanded(text), _expanded(text, with_tag=True)
        return _Kit(
            text=text,
            parts=_parts(text),
            asked=asked,
            again=None if asked is None else _expanded(asked),
            tagged=tagged,
            tagged_again=None if tagged is None else _expanded(tagged, with_tag=True),
        )
    except Exception as error:
        error.add_note(f"the text was {text!a}")
        raise


def _parts(text: str) -> tuple[str | None, ...] | None:
    try:
        parsed = reference.parse(text)
    except InvalidReference:
        return None
    return (*parsed, parsed.familiar, parsed.canonical)


def _expanded(text: str, *, with_tag: bool = False) -> str | None:
    try:
        return normalize.expand(text, with_tag=with_tag)
    except InvalidReference:
        return None


def _differences(kit: _Kit, answers: Mapping[str, Answer]) -> Iterator[_Difference]:
    """Yield where the kit says something else than distribution/reference, or breaks a law."""
    go = answers[kit.text]
    yield from _verdicts(kit, go)
    if go.refused is not None or kit.parts is None or kit.asked is None or kit.tagged is None:
        return
    for part, ours in zip(_PARTS, kit.parts, strict=True):
        if ours != getattr(go, part):
            yield _Difference(part, ours, getattr(go, part))
    latest = _LATEST if go.tag is None and go.digest is None else ""
    laws = (
        ("what expand's answer means", answers[kit.asked].canonical, go.canonical),
        ("what expand's answer with a tag means", answers[kit.tagged].canonical, go.tagged),
        ("expand a second time", kit.again, kit.asked),
        ("expand with a tag a second time", kit.tagged_again, kit.tagged),
        ("when expand adds :latest", kit.tagged, kit.asked + latest),
        ("expand adds and does not rewrite", kit.asked[-len(kit.text) :], kit.text),
    )
    for law, ours, wanted in laws:
        if ours != wanted:
            yield _Difference(law, ours, wanted)


def _verdicts(kit: _Kit, go: Answer) -> Iterator[_Difference]:
    """Yield where one takes what the other refuses."""
    for about, made in (
        ("whether parse takes it", kit.parts),
        ("whether expand takes it", kit.asked),
        ("whether expand with a tag takes it", kit.tagged),
    ):
        if (made is None) != (go.refused is not None):
            yield _Difference(about, "invalid" if made is None else "valid", _verdict(go))


def _verdict(go: Answer) -> str:
    return "valid" if go.refused is None else f"invalid ({go.refused})"


def _shrunk(oracle: Oracle, text: str, about: str) -> str:
    """Return what is left of a text without what a disagreement can do without."""
    while True:
        shorter = [
            text[:start] + text[start + width :]
            for width in sorted({max(1, len(text) >> shift) for shift in range(1, 8)}, reverse=True)
            for start in range(0, len(text), width)
        ]
        text, before = next(_disagreeing(oracle, shorter, about), text), text
        if text == before:
            return text


def _disagreeing(oracle: Oracle, candidates: list[str], about: str) -> Iterator[str]:
    """Yield the texts on which there is a disagreement about the same."""
    for kit, answers in _asked(oracle, candidates):
        if any(difference.about == about for difference in _differences(kit, answers)):
            yield kit.text


def _shown(answer: str | None) -> str:
    return "none" if answer is None else printable(answer)
