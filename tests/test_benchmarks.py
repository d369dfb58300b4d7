"""What the bench says of a goal that is not met."""

from __future__ import annotations

import pytest

from benchmarks.figures import Figures


@pytest.mark.parametrize(
    ("group", "note"),
    [
        pytest.param("one name, user: time", "A half of it is the match", id="a-beginning"),
        pytest.param(
            "one name, invalid: image ID: time",
            "The same: a half of it",
            id="the-longest-beginning",
        ),
        pytest.param(
            "a name of 10 MB", "Nothing is known that keeps this", id="no-note-of-its-own"
        ),
    ],
)
def test_a_missed_goal_has_one_note(group: str, note: str) -> None:
    figures = Figures(1)
    figures.keep(group, "ns", "kitref", 2.0, "<= 1")
    page, _ = figures.report()
    assert page.partition("| **no** |\n\n")[2].startswith(note)
    assert page.partition("| **no** |\n\n")[2].count("\n") == 1


def test_a_goal_that_is_met_has_no_note() -> None:
    figures = Figures(1)
    figures.keep("one name, user: time", "ns", "kitref", 1.0, "<= 1")
    page, _ = figures.report()
    assert page.endswith("| kitref |  | 1.00 | ≤ 1 | yes |\n")


def test_the_best_of_each_side_counts_in_a_turn_with_rounds() -> None:
    base, kit = iter([8.0, 4.0, 16.0]), iter([1.0, 3.0, 2.0])
    figures = Figures(1)
    figures.compare(
        "a group", "ns", lambda: next(base), {"kit": lambda: next(kit)}, {"kit": "<= 1"}, rounds=3
    )
    [figure] = figures.all
    assert (figure.ratio, figure.took, figure.met) == (0.25, 1.0, True)
