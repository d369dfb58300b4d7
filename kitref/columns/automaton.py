"""Patterns into one automaton, which tells texts apart, a step a byte, by which of them they match.

It is made of the patterns themselves, with Python's own parser of regular expressions and the
textbook construction (Thompson's, then sets of states), so that no grammar is written twice.
"""

from __future__ import annotations

import functools
import re

# Kept: two modules of Python's that it does not document. They have had these names since 3.11,
# and tests hold that what is made with them answers as `re` itself does.
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_BYTES: Final = frozenset(range(256))


class Automaton(NamedTuple):
    """A deterministic automaton over bytes; a text begins in state 0.

    Texts that end in one state match the same patterns as a whole.

    Attributes:
        classes: The class of each of the 256 bytes; no pattern tells bytes of one class apart.
        steps: For each state, the state that follows it by class.
        examples: For each state, a shortest text that ends there.
    """

    classes: list[int]
    steps: list[list[int]]
    examples: list[bytes]


def build(patterns: Iterable[str]) -> Automaton:
    """Build the automaton of several patterns.

    Args:
        patterns: The patterns; ``.`` stands for any byte. A possessive repetition is read as a
            plain one, so it may only stand where that takes the same texts.

    Returns:
        The automaton.

    Raises:
        NotImplementedError: There is something in a pattern that no automaton is made of here.
    """
    graph = _Graph()
    start = graph.state()
    for pattern in patterns:
        graph.add(parser.parse(pattern, re.DOTALL), graph.fork(start))
    classes, members = _classes({taken for arrows in graph.arrows for taken, _ in arrows})
    closure = functools.cache(graph.closure)
    begin = closure(frozenset([start]))
    numbers, todo, examples = {begin: 0}, [begin], [b""]
    steps: list[list[int]] = []
    for here in todo:  # which grows; the shortest texts come first
        followers: list[set[int]] = [set() for _ in range(max(classes) + 1)]
        for taken, there in (arrow for state in here for arrow in graph.arrows[state]):
            for each in members[taken]:
                followers[each].add(there)
        row = [closure(frozenset(states)) for states in followers]
        for each, follower in enumerate(row):
            if follower not in numbers:
                numbers[follower] = len(todo)
                todo.append(follower)
                examples.append(examples[len(steps)] + bytes([classes.index(each)]))
        steps.append([numbers[follower] for follower in row])
    return Automaton(classes=classes, steps=steps, examples=examples)


def _classes(sets: set[frozenset[int]]) -> tuple[list[int], dict[frozenset[int], list[int]]]:
    """Return the class of each byte, and for each set of bytes the classes in it."""
    numbers: dict[tuple[bool, ...], int] = {}
    classes = [
        numbers.setdefault(tuple(byte in taken for taken in sets), len(numbers))
        for byte in sorted(_BYTES)
    ]
    return classes, {taken: sorted({classes[byte] for byte in taken}) for taken in sets}


class _Graph:
    """States with two kinds of arrows: over bytes, and over nothing at all.

    Attributes:
        arrows: For each state, the bytes that lead on from it, and where to.
        free: For each state, those that can be entered from it over nothing.
    """

    def __init__(self) -> None:
        self.arrows: list[list[tuple[frozenset[int], int]]] = []
        self.free: list[list[int]] = []

    def state(self) -> int:
        """Add a state, and return its number."""
        self.arrows.append([])
        self.free.append([])
        return len(self.free) - 1

    def fork(self, state: int) -> int:
        """Add a state that can be entered from another over nothing."""
        self.free[state].append(self.state())
        return self.free[state][-1]

    def closure(self, states: frozenset[int]) -> frozenset[int]:
        """Return states with all that can be entered from them, but for mere forks."""
        reached = set(states)
        todo = list(reached)
        while todo:
            new = set(self.free[todo.pop()]) - reached
            reached |= new
            todo += new
        return frozenset(state for state in reached if self.arrows[state] or not self.free[state])

    def add(self, tree: Any, state: int) -> int:  # noqa: ANN401 - Python's own tree, without types
        """Add a pattern behind a state, and return the state behind the pattern."""
        for code, what in tree:
            if code is op.SUBPATTERN:
                state = self.add(what[-1], state)
            elif code is op.BRANCH:
                ends = [self.add(branch, self.fork(state)) for branch in what[1]]
                state = self._joined(ends)
            elif code in (op.MAX_REPEAT, op.POSSESSIVE_REPEAT):
                least, most, repeated = what
                state = self._repeated(repeated, least, most, state)
            else:
                self.arrows[state].append((_bytes(code, what), self.state()))
                state = self.arrows[state][-1][1]
        return state

    def _repeated(self, tree: Any, least: int, most: int, state: int) -> int:  # noqa: ANN401
        for _ in range(least):
            state = self.add(tree, state)
        if most is op.MAXREPEAT:
            state = self.fork(state)
            self.free[self.add(tree, state)].append(state)
            return self.fork(state)
        ends = [state]
        for _ in range(most - least):
            ends.append(self.add(tree, self.fork(ends[-1])))
        return self._joined(ends)

    def _joined(self, states: list[int]) -> int:
        after = self.state()
        for state in states:
            self.free[state].append(after)
        return after


def _bytes(code: Any, what: Any) -> frozenset[int]:  # noqa: ANN401
    """Return the bytes that one element of a pattern takes."""
    if code is op.ANY:
        return _BYTES
    if code is op.LITERAL:
        return frozenset([what]) & _BYTES
    if code is op.NOT_LITERAL:
        return _BYTES - {what}
    if code is op.RANGE:
        low, high = what
        return frozenset(range(low, high + 1)) & _BYTES
    if code is op.IN and what[0][0] is op.NEGATE:
        return _BYTES - _bytes(op.IN, what[1:])
    if code is op.IN:
        return frozenset().union(*(_bytes(*each) for each in what))
    raise NotImplementedError(f"no automaton is made of {code}")
