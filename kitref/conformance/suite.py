"""The suite: a program run over the corpus, a verdict a question, disagreements settled live."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal

from kitref import errors
from kitref.conformance.contract import Question, Reply
from kitref.conformance.runner import SECONDS, run
from kitref.engines import staying
from kitref.reference import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kitref.conformance.profiles import Expected, Profile
    from kitref.corpus import Case
    from kitref.engines import Engine, Guest

Verdict = Literal[
    "pass", "fail", "not-claimed", "allowed", "known", "known-passes",
    "time-out", "crash", "missing", "malformed", "torrent",
]  # fmt: skip
"""What comes of a question.

`not-claimed`: nothing that it claims is in the profile. `allowed`: another answer than Go's where
recognised implementations differ. `known`: a known failure; `known-passes`: one that no longer is.
"""

BROKEN: Final = frozenset({"fail", "known-passes"})
TROUBLE: Final = frozenset({"time-out", "crash", "missing", "malformed", "torrent"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One question, its reply and the verdict.

    Attributes:
        case: The case.
        question: The question; its id ends with ``+tag`` where the tag was wanted.
        expected: What the profile expects.
        reply: What the program answered.
        verdict: What comes of it.
        differences: The parts that differ: what is expected and what was given.
        reason: Why it is a known failure; empty where it is none.
        settled: What an engine says to the name that the program would ask for; empty where none
            was asked.
    """

    case: Case
    question: Question
    expected: Expected
    reply: Reply
    verdict: Verdict
    differences: Mapping[str, tuple[str | None, str | None]]
    reason: str = ""
    settled: str = ""

    @property
    def given(self) -> str:
        """The answer in words."""
        if self.reply.trouble:
            return f"{self.reply.trouble}: {self.reply.detail}"
        if self.reply.error:
            return f"refused: {self.reply.error}"
        return ", ".join(f"{part}={claim}" for part, claim in self.reply.claims.items())

    @property
    def wanted(self) -> str:
        """What is expected, in words: the parts that differ, or the refusal."""
        if self.expected.parts is None:
            return "refused"
        parts = self.differences or self.expected.parts
        return ", ".join(f"{part}={self.expected.parts.get(part)}" for part in parts)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Conformance:
    """What came of a run.

    Attributes:
        command: The adapter.
        profile: The profile.
        judged: A verdict a question, in the order of the corpus.
        start: When it started, RFC 3339.
        end: When it ended.
        engine: The engine that settled disagreements; empty where none was asked.
        options: The options that it ran with, but for the profile and the cases.
    """

    command: Sequence[str]
    profile: Profile
    judged: Sequence[Judged]
    start: str
    end: str
    engine: str = ""
    options: Sequence[str] = ()

    @property
    def counts(self) -> Counter[str]:
        """How many questions have which verdict."""
        return Counter(each.verdict for each in self.judged)

    @property
    def families(self) -> dict[str, Counter[str]]:
        """The same by family."""
        found: dict[str, Counter[str]] = {}
        for each in self.judged:
            found.setdefault(each.case.family, Counter())[each.verdict] += 1
        return dict(sorted(found.items()))

    @property
    def exit_code(self) -> int:
        """Return the run's exit code.

        4 where the program crashed or hung, 1 where it does not conform or claims nothing, else 0.
        """
        found = set(self.counts)
        if found & {"time-out", "crash"}:
            return 4
        # Whoever claims nothing has shown nothing.
        shown = found & {"pass", "known", "allowed"}
        return 1 if found & (BROKEN | TROUBLE) or not shown else 0


def conform(
    command: Sequence[str],
    cases: Sequence[Case],
    profile: Profile,
    *,
    known: Mapping[str, str],
    seconds: float = SECONDS,
    report: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Judged]:
    """Run a program over cases.

    Args:
        command: Its adapter.
        cases: The cases.
        profile: What it is to answer.
        known: Known failures: the reason by the question's id.
        seconds: How long it may take for its next line.
        report: Called with how many questions are answered, and of how many.

    Returns:
        A verdict a question; a case is asked with the tag wanted too where the profile says
        something of that.

    Raises:
        UsageError: The adapter cannot be started.
    """
    asked = []
    for case in cases:
        for with_tag in (False, True):
            expected = profile.expect(case, with_tag)
            if expected is not None:
                name = f"{case.id}+tag" if with_tag else case.id
                question = Question(id=name, text=case.text, with_tag=with_tag)
                asked.append((case, question, expected))
    replies = run(command, [question for _, question, _ in asked], seconds=seconds, report=report)
    return [
        _judge(case, question, expected, reply, known.get(question.id, ""))
        for (case, question, expected), reply in zip(asked, replies, strict=True)
    ]


def settle(
    judged: Sequence[Judged],
    engine: Engine,
    *,
    report: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Judged]:
    """Ask an engine for the name that the program would ask for, where it disagrees.

    Args:
        judged: The verdicts.
        engine: A live engine; an image of the kit's own is tagged with the text and taken away. On
            a user's engine text and name get the run's number, as `Guest.own` says.
        report: Called with how many disagreements are settled, and of how many.

    Returns:
        The verdicts, those that fail with what the engine says.
    """
    failing = [each for each in judged if each.verdict == "fail"]
    settled = {}
    for each in failing:
        settled[each.question] = f"{engine.title} {engine.version}: {_settled(each, engine)}"
        report(len(settled), len(failing))
    return [dataclasses.replace(each, settled=settled.get(each.question, "")) for each in judged]


def _settled(each: Judged, engine: Engine) -> str:
    asks = each.case.text if each.reply.error else _asks(each.reply.claims)
    if obstacle := _obstacle(each.case, asks):
        return f"not asked: {obstacle}"
    if each.case.status == "invalid":
        return f"no image can have that name; {asks} is {engine.ask(asks).outcome}"
    with staying(engine) as guest:
        return _looked_up(each, guest, asks=guest.own(asks))


def _looked_up(each: Judged, guest: Guest, *, asks: str) -> str:
    """Return under which names an engine finds an image that is tagged with a case's text."""
    name = guest.own(each.case.text)
    try:
        parse(name)  # with the run's number it can be too long
        image_id = guest.image(tagged_as=each.case.text)
    except (errors.EngineUnavailable, errors.InvalidReference) as error:
        return f"not asked: {error.what}"
    control, answer = guest.engine.ask(name), guest.engine.ask(asks)
    if (control.outcome, control.image_id) != ("found", image_id):
        return f"not asked: {name} itself is {control.outcome} where an image is tagged with it"
    if each.reply.error:
        return f"finds the image under {name}, which the program refuses: this breaks for users"
    match answer.outcome, answer.image_id == image_id:
        case "not-asked", _:
            said = f"not asked for {asks}: {answer.detail}"
        case "found", True:
            said = f"finds the image under {asks} all the same"
        case "found", False:
            said = f"finds another image under {asks}: this breaks for users"
        case outcome, _:
            said = f"{outcome} under {asks}: this breaks for users"
    return said


def _obstacle(case: Case, asks: str) -> str:
    """Return why no engine can be asked for a name in place of a case's; empty where one can."""
    if not asks:
        return "the program claims no name to ask for"
    try:
        # Half of a pair of surrogates is no character: there are no bytes to send for it.
        asks.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return "no engine can be asked for half a character"
    return "no image can be given a digest" if case.digest else ""


def _asks(claims: Mapping[str, str | None]) -> str:
    """Return the name that a program would ask for, put together where it claims parts alone."""
    if name := claims.get("asked") or claims.get("canonical"):
        return name
    if not (claims.get("domain") and claims.get("path")):
        return ""
    marks = {"domain": "", "path": "/", "tag": ":", "digest": "@"}
    return "".join(f"{mark}{claims[part]}" for part, mark in marks.items() if claims.get(part))


def _judge(case: Case, question: Question, expected: Expected, reply: Reply, reason: str) -> Judged:
    verdict, differences = _compare(expected, reply)
    if reason and verdict in TROUBLE | {"fail"}:
        verdict = "known"
    elif reason and verdict == "pass":
        verdict = "known-passes"
    return Judged(
        case=case,
        question=question,
        expected=expected,
        reply=reply,
        verdict=verdict,
        differences=differences,
        reason=reason,
    )


def _compare(
    expected: Expected, reply: Reply
) -> tuple[Verdict, dict[str, tuple[str | None, str | None]]]:
    if reply.trouble:
        return reply.trouble, {}
    wrong: Verdict = "allowed" if expected.free else "fail"
    if reply.error:
        return ("pass" if expected.parts is None else wrong), {}
    if expected.parts is None:
        # It takes a text that is none, whatever it makes of it; to claim nothing is no answer.
        return (wrong if any(reply.claims.values()) else "not-claimed"), {}
    claimed = reply.claims.keys() & expected.parts.keys()
    if not claimed:
        return "not-claimed", {}
    differences = {
        part: (expected.parts[part], reply.claims[part])
        for part in expected.parts
        # No tag and an empty one are the same claim.
        if part in claimed and (expected.parts[part] or None) != (reply.claims[part] or None)
    }
    return (wrong if differences else "pass"), differences
