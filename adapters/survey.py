"""What each implementation answers to the corpus: verdicts by family, and what to tell whom."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from adapters.build import build
from kitref import conformance, errors
from kitref.conformance.suite import BROKEN, TROUBLE
from kitref.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from adapters.build import Adapter
    from kitref.conformance import Judged
    from kitref.corpus import Case

_WIDTH = 200  # columns of an answer; of a longer one the digest tells it from others
_DERIVED = frozenset({"canonical", "familiar"})  # they differ where another part does


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One way in which an implementation differs on a family of names, with its smallest case.

    Attributes:
        what: The way, in words.
        valid: Whether the texts are names to the profile; those that are none it should refuse.
        family: The family.
        answers: How many answers of the family differ in this way.
        case: The id of the case with the shortest text.
        text: That text.
        given: What the implementation makes of it, in words.
        wanted: What its profile expects, in words.
    """

    what: str
    valid: bool
    family: str
    answers: int
    case: str
    text: str
    given: str
    wanted: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """An implementation and what came of its run.

    Attributes:
        adapter: Its adapter.
        version: Its version; empty where it was skipped.
        skipped: Why it was not run; empty where it was.
        verdicts: How many answers have which verdict.
        answers: What it answers wherever that does not pass, by the question's id.
        findings: What to tell its maintainers, the most frequent first.
    """

    adapter: Adapter
    version: str = ""
    skipped: str = ""
    verdicts: Counter[str] = dataclasses.field(default_factory=Counter)
    answers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def as_json(self) -> dict[str, Any]:
        """The same as kitref/data/conformance.json has it."""
        return {
            "name": self.adapter.name,
            "language": self.adapter.language,
            "project": self.adapter.project,
            "profile": self.adapter.profile,
            "version": self.version or None,
            "skipped": self.skipped or None,
            "verdicts": dict(sorted(self.verdicts.items())),
            "findings": [dataclasses.asdict(each) for each in self.findings],
            "answers": dict(sorted(self.answers.items())),
        }


def survey(
    adapter: Adapter, cases: Sequence[Case], progress: Callable[[str, float], None]
) -> Surveyed:
    """Build an adapter and run it over cases.

    Args:
        adapter: The adapter.
        cases: The cases.
        progress: Called with a step in words and the share of it that is done, 0 to 1.

    Returns:
        What came of it; an adapter that cannot be built is skipped, and says why.
    """
    try:
        built = build(adapter, progress)
    except errors.EngineUnavailable as error:
        return Surveyed(adapter=adapter, skipped=error.what)
    profile = conformance.profile(adapter.profile)
    judged = conformance.conform(
        built.command,
        cases,
        profile,
        known={},
        seconds=adapter.seconds,
        report=lambda done, of: progress("answered", done / of),
    )
    return Surveyed(
        adapter=adapter,
        version=built.version,
        verdicts=Counter(each.verdict for each in judged),
        answers=differing(judged),
        findings=find(judged),
    )


def differing(judged: Iterable[Judged]) -> dict[str, str]:
    """Return what is answered wherever that does not pass, in words, by the question's id.

    Args:
        judged: The verdicts of a run.
    """
    return {each.question.id: _in_words(each) for each in judged if each.verdict != "pass"}


def _in_words(each: Judged) -> str:
    if each.reply.trouble:
        return each.reply.trouble
    # The reason can be the runtime's, in words that change with its version.
    said = "refused" if each.reply.error else printable(each.given)
    if len(said) > _WIDTH:
        said = f"{said[:_WIDTH]}... sha256:{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    return f"{each.verdict}: {said}"


def find(judged: Iterable[Judged]) -> tuple[Finding, ...]:
    """Group what differs by the way in which it does, and by family.

    Args:
        judged: The verdicts of a run.

    Returns:
        The groups: those of valid names first, then by way and family.
    """
    groups: dict[tuple[bool, str, str], list[Judged]] = {}
    for each in judged:
        if each.verdict in BROKEN | TROUBLE:
            invalid = each.expected.parts is None
            groups.setdefault((invalid, _way(each), each.case.family), []).append(each)
    return tuple(_finding(*key, groups[key]) for key in sorted(groups))


def _way(each: Judged) -> str:
    if each.reply.trouble:
        return each.reply.trouble
    if each.expected.parts is None:
        return "takes what is no name"
    if each.reply.error:
        return "refuses a name"
    parts = [part for part in each.differences if part not in _DERIVED] or list(each.differences)
    return f"reads another {' and '.join(parts)}"


def _finding(invalid: bool, what: str, family: str, differing: Sequence[Judged]) -> Finding:
    smallest = min(differing, key=lambda each: (len(each.case.text), each.case.text))
    return Finding(
        what=what,
        valid=not invalid,
        family=family,
        answers=len(differing),
        case=smallest.case.id,
        text=smallest.case.text,
        given=smallest.given,
        wanted=smallest.wanted,
    )
