"""What each kind of program is to answer to a case, and who says so."""

from __future__ import annotations

import dataclasses
import functools
import json
from importlib import resources
from typing import TYPE_CHECKING, Final

from kitref import errors, rules, stores
from kitref.rules import FIXED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kitref.corpus import Case

NAMES: Final = ("docker", "fixed", "containerd", "podman", "linuxkit@RELEASE")
"""The profiles; for `linuxkit@` also a rule's name, as in `kitref.rule`."""

_PARTS: Final = ("domain", "path", "tag", "digest", "familiar", "canonical")
_NOBODY: Final = stores.NOBODY


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a program is to answer to a case.

    Attributes:
        parts: The parts, those that it claims being held against these; None where the text is to
            be refused.
        free: Whether another answer is allowed too: recognised implementations differ on purpose.
        source: Who says so.
    """

    parts: Mapping[str, str | None] | None
    free: bool
    source: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A kind of program.

    Attributes:
        name: Its name.
        why: Whose reading it is, in a sentence.
        expect: From a case, and whether the tag is wanted, to what is expected; None where the
            profile says nothing of it.
    """

    name: str
    why: str
    expect: Callable[[Case, bool], Expected | None]


def profile(name: str) -> Profile:
    """Return a profile.

    Args:
        name: One of `NAMES`.

    Raises:
        UsageError: There is none.
    """
    if name == "docker":
        return Profile(
            name=name, why="distribution/reference, as Docker reads names", expect=_docker
        )
    if name == "fixed":
        return Profile(
            name=name, why="distribution/reference, and the fixed ReferenceExpand", expect=_fixed
        )
    if name == "containerd":
        return Profile(name=name, why="containerd's strict reference.Parse", expect=_containerd)
    if name == "podman":
        return Profile(name=name, why="Podman's Docker API", expect=_podman)
    if name.startswith("linuxkit@"):
        rule = rules.rule(name.removeprefix("linuxkit@"))

        def expect(case: Case, with_tag: bool) -> Expected | None:
            if rule is FIXED:
                return _fixed(case, with_tag)
            if with_tag and not rule.has_with_tag:
                return None
            asked = rule.expand(case.text, with_tag).asked
            return Expected(parts={"asked": asked}, free=False, source=f"rule {rule.name}")

        return Profile(name=name, why=rule.summary, expect=expect)
    raise errors.UsageError(f"there is no profile {name!r}", remedy=f"there are {', '.join(NAMES)}")


def _docker(case: Case, with_tag: bool) -> Expected | None:
    if with_tag:
        return None
    parts = {part: getattr(case, part) for part in _PARTS} if case.status != "invalid" else None
    free = case.status == "implementation-defined"
    return Expected(parts=parts, free=free, source=case.expected_by)


def _fixed(case: Case, with_tag: bool) -> Expected | None:
    expected = _docker(case, with_tag=False)
    if expected is None or expected.parts is None:
        return expected
    asked = case.expanded_with_tag if with_tag else case.expanded
    return dataclasses.replace(expected, parts={**expected.parts, "asked": asked})


def _containerd(case: Case, with_tag: bool) -> Expected | None:
    if with_tag:
        return None
    answers, source = _recorded()
    if case.id not in answers:
        return None
    printed = answers[case.id]
    parts = None if printed is None else {"asked": printed}
    return Expected(parts=parts, free=False, source=source)


@functools.cache
def _recorded() -> tuple[dict[str, str | None], str]:
    """Return what containerd's own package answered to each case, and which release of it."""
    file = resources.files("kitref") / "data" / "containerd.json"
    record = json.loads(file.read_bytes())
    return record["printed"], record["expected_by"]


def _podman(case: Case, with_tag: bool) -> Expected | None:
    expected = _docker(case, with_tag)
    if expected is None or expected.parts is None:
        return expected
    # What Podman refuses is the model's word, which live look-ups hold (reports/baseline).
    refused = (
        stores.predict(stores.CLASSES["podman"], tagged_as=_NOBODY, asked=case.text) == "refused"
    )
    source = "the model of Podman, held by live look-ups"
    return dataclasses.replace(expected, parts=None, source=source) if refused else expected
