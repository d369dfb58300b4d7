"""The time line of a run."""

from __future__ import annotations

import pytest

from kitref.report import timeline
from kitref.report.timeline import Span


def span(lane: str, what: str, start: float, end: float) -> Span:
    return Span(lane=lane, what=what, start=start, end=end)


def test_states_become_spans() -> None:
    said = []
    clock = timeline.Clock(lambda *state: said.append(state))
    states = [
        ("e", "downloading 10%"), ("e", "starting"), ("e", "ready: docker"),
        ("n", "starting"), ("n", "cell 2 of 5"), ("n", "cell 4 of 5"), ("n", "passed in 3 s"),
        ("baseline", "7 same"),
    ]  # fmt: skip
    for state in states:
        clock(*state)
    assert said == states
    assert [(each.lane, each.what) for each in clock.spans()] == [
        ("e", "fetch"), ("e", "engine start"),
        ("n", "kernel start"), ("n", "imports"), ("n", "cell 4 of 5"),
    ]  # fmt: skip
    assert all(0 <= each.start <= each.end <= clock.seconds + 0.01 for each in clock.spans())


@pytest.mark.parametrize(
    ("spans", "cores", "seconds"),
    [
        pytest.param([], 2, 0.0, id="nothing"),
        pytest.param(
            [("a", "engine start", 0, 2), ("b", "engine start", 0, 5)], 2, 5.0, id="slowest"
        ),
        pytest.param(
            [("n", "kernel start", 0, 2), ("n", "imports", 2, 3)], 2, 3.0, id="one-kernel"
        ),
        pytest.param(
            [(n, what, 0, 3) for n in "abcdef" for what in ("kernel start", "imports")],
            2, 12.0, id="six-kernels-three-at-once",
        ),
        pytest.param([("n", "cell 5 of 9", 0, 60)], 2, 0.0, id="cells-are-work"),
    ],
)  # fmt: skip
def test_what_cannot_be_avoided(
    spans: list[tuple[str, str, float, float]], cores: int, seconds: float
) -> None:
    assert timeline.unavoidable([span(*each) for each in spans], cores) == seconds


def test_it_is_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    timeline.show([span("e", "engine start", 0, 5), span("n", "cell 3 of 4", 5, 10)], 10)
    out = capsys.readouterr().out
    assert "e" * 20 in out
    assert "#" * 20 in out
    assert "ratio 2.00" in out
