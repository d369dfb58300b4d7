"""The automaton: texts that end in one state are alike to every pattern, as `re` matches them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitref import corpus
from kitref.columns import automaton
from kitref.grammar import PATTERNS

GRAMMAR = [PATTERNS[name] for name in ("domain", "path", "tag", "digest", "reference")]
MADE = automaton.build(GRAMMAR)


def end_of(made: automaton.Automaton, text: bytes) -> int:
    state = 0
    for byte in text:
        state = made.steps[state][made.classes[byte]]
    return state


def matched(patterns: list[str], text: bytes) -> list[bool]:
    return [re.fullmatch(pattern.encode(), text, re.DOTALL) is not None for pattern in patterns]


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("", id="nothing"),
        pytest.param("ab", id="letters"),
        pytest.param("a|bc|", id="branches"),
        pytest.param("a.c", id="any"),
        pytest.param("[a-c]", id="range"),
        pytest.param("[^a/]b", id="all-but-some"),
        pytest.param("[^a]b", id="all-but-one"),
        pytest.param("a?b", id="option"),
        pytest.param("(?:ab)*", id="any-number"),
        pytest.param("(a|b)+c", id="one-or-more"),
        pytest.param("a{2}b{1,3}c{2,}", id="counted"),
        pytest.param("a++b*+c?+", id="possessive"),
    ],
)
@given(text=st.text("abc/\n", max_size=8).map(str.encode))
def test_a_state_knows_whether_a_text_matches(pattern: str, text: bytes) -> None:
    made = automaton.build([pattern])
    example = made.examples[end_of(made, text)]
    assert matched([pattern], example) == matched([pattern], text)


@pytest.mark.parametrize("pattern", ["(?=a)", r"a\Z", r"\bA", "(a)\\1"])
def test_what_no_automaton_is_made_of_is_refused(pattern: str) -> None:
    with pytest.raises(NotImplementedError):
        automaton.build([pattern])


def test_every_state_has_an_example_that_ends_there() -> None:
    assert [end_of(MADE, example) for example in MADE.examples] == list(range(len(MADE.steps)))


@given(
    st.binary(max_size=20)
    | st.sampled_from(corpus.load()).map(lambda c: c.text.encode(errors="surrogateescape"))
)
def test_texts_of_one_state_match_the_same_patterns(text: bytes) -> None:
    example = MADE.examples[end_of(MADE, text)]
    assert matched(GRAMMAR, example) == matched(GRAMMAR, text)
