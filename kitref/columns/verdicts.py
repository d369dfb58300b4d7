"""What is to be done with a text, by the state of an automaton in which it ends.

The automaton tells texts apart by every question that is asked of a name. What to do is then the
same for all texts that end in one state, and `rules` and `reference` say it for an example of each.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from kitref import reference, rules
from kitref.columns import automaton
from kitref.errors import InvalidReference
from kitref.grammar import PATH_LIMIT, PATTERNS

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

QUESTIONS: Final = (
    PATTERNS["image_id"],
    PATTERNS["reference"],
    rf"{PATTERNS['own_domain']}.*",  # has it a domain of its own?
    rf"{PATTERNS['domain']}/.*",  # is that one to the grammar?
    rf"{PATTERNS['path']}(?:[:@].*)?",  # is all of it a path, but for tag and digest?
    rf"(?:{PATTERNS['domain']}/)?{PATTERNS['path']}",  # is there neither tag nor digest?
    r"[^/]*",
    r"(?:index\.)?docker\.io/.*",
    r"(?:index\.)?docker\.io/[^/]*",
)
"""What the fixed rule and a parse ask of a text. These questions are all that there are:

- A text is a name if it is no image's ID, is a reference, and has a domain of its own or is all
  path. The last is asked because a reference such as `[abc]/foo` is neither.
- The name's domain is the one that it begins with, if it has one of its own that is one to the
  grammar; otherwise it is Docker Hub, or empty where it has one of its own.
- `library/` is put before a path without a slash, which only a name without a slash has, or one
  with a single slash behind Docker Hub's domain.
- `:latest` is put behind a name that has neither tag nor digest.
"""

OLD_QUESTIONS: Final = (
    r"[^/]*",
    r"[^/]*/[^/]*",
    r"(?:localhost|[^/]*[.:][^/]*)/.*",  # a domain first? As rule 5e42d050a asks
    r"[^:]*",
)
"""What the old rules ask of a text: how many slashes and whether a colon it has, and a domain."""

_HUB: Final = reference.DOCKER_HUB
_OFFICIAL: Final = "library/"
_ALWAYS_FITS: Final = PATH_LIMIT - len(_OFFICIAL)


ADDITIONS: Final = tuple(
    (before, after)
    for before in ("", f"{_HUB}/", f"{_HUB}/{_OFFICIAL}")
    for after in ("", ":latest")
)
"""What is put before a name and after it; a verdict of `expanding` is a place in here."""

PARTINGS: Final = (
    *((_HUB, behind, before) for behind in (False, True) for before in ("", _OFFICIAL)),
    ("", False, ""),
    (None, True, ""),
)
"""How a name is taken apart: its domain, None where that is what stands before the first slash;
whether its path begins behind that slash; what is put before the path. A verdict of `parsing` is a
place in here. No two of these make the same of one name, but where `docker.io` is typed, and there
the first holds for `index.docker.io`, too: so one example tells the way for all."""

NOTHING: Final = 0b1000_0000
"""The verdict that gives null: the text is no valid name, or is null itself."""


class Machine(NamedTuple):
    """An automaton that ends in verdicts, laid out for the scanner.

    Attributes:
        classes: The class of each byte.
        steps: The rows of the automaton, one behind the other. A state is the place of its row.
        verdicts: The verdict of each state, at the place of its row.
        limit: The most bytes of a name whose path need not be counted.
    """

    classes: npt.NDArray[np.uint32]
    steps: npt.NDArray[np.uint32]
    verdicts: npt.NDArray[np.uint8]
    limit: int


@functools.cache
def expanding(rule: rules.Rule, with_tag: bool) -> Machine:
    """Return the machine that expands names by a rule.

    Args:
        rule: The rule.
        with_tag: Whether to add `:latest`, as the rule does it.

    Returns:
        The machine.

    Raises:
        UsageError: `with_tag` is asked of a rule that has no such option.
    """
    ways = {f"{before}{{}}{after}": n for n, (before, after) in enumerate(ADDITIONS)}

    def verdict(example: str) -> int:
        asked = rule.expand(example, with_tag).asked
        return next(number for way, number in ways.items() if way.format(example) == asked)

    if rule is rules.FIXED:
        return _machine(QUESTIONS, verdict, _ALWAYS_FITS)
    return _machine(OLD_QUESTIONS, verdict, sys.maxsize)


@functools.cache
def parsing() -> Machine:
    """Return the machine that takes names apart."""

    def verdict(example: str) -> int:
        parsed = reference.parse(example)
        first, _, rest = example.partition("/")
        ways = [
            (first if domain is None else domain, before + _path(rest if behind else example))
            for domain, behind, before in PARTINGS
        ]
        return ways.index((parsed.domain, parsed.path))

    return _machine(QUESTIONS, verdict, _ALWAYS_FITS)


def _path(name: str) -> str:
    return name.partition("@")[0].partition(":")[0]


_build = functools.cache(automaton.build)


def _machine(questions: tuple[str, ...], verdict: Callable[[str], int], limit: int) -> Machine:
    """Return the machine whose verdicts are those of the examples."""
    made = _build(questions)
    width = max(made.classes) + 1
    steps = np.array(made.steps, np.uint32) * width
    verdicts = np.full(steps.size, NOTHING, np.uint8)
    for state, example in enumerate(made.examples):
        with contextlib.suppress(InvalidReference):
            # What is no UTF-8 is no column's; an example of it is as good as one that is.
            verdicts[state * width] = verdict(example.decode(errors="surrogateescape"))
    classes = np.array(made.classes, np.uint32)
    return Machine(classes=classes, steps=steps.ravel(), verdicts=verdicts, limit=limit)
