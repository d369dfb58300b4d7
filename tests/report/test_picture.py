"""The picture says with words and marks what it says with colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from kitref import tables
from kitref.report import picture

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    ("docker-trixie", "26.1.5", "containerd", "9bb26e4c3", "absent"),
    ("docker-trixie", "26.1.5", "containerd", "fixed", "found"),
    ("podman-trixie", "5.4.2", "podman", "9bb26e4c3", "not-asked"),
    ("podman-trixie", "5.4.2", "podman", "fixed", "refused"),
]


def _matrix() -> pd.DataFrame:
    table = pd.DataFrame(ROWS, columns=["engine", "version", "store", "rule", "outcome"])
    return tables.matrix(table.assign(image="bastion.io/foo"))


def test_matrix() -> None:
    assert _matrix().to_dict("list") == {
        "engine": ["docker-trixie", "podman-trixie"],
        "version": ["26.1.5", "5.4.2"],
        "store": ["containerd", "podman"],
        "image": ["bastion.io/foo", "bastion.io/foo"],
        "9bb26e4c3": ["✗ absent", "? not-asked"],
        "fixed": ["✓ found", "! refused"],
    }


def test_the_picture_says_it_in_words_and_always_the_same(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        picture.save(picture.draw(_matrix(), title="Found?"), tmp_path / name, alt="two engines")
    text = (tmp_path / "one.svg").read_text()
    for said in ("✗ absent", "✓ found", "! refused", "? not-asked", "docker-trixie", "Found?"):
        assert said in text
    assert "two engines" in text
    assert text == (tmp_path / "two.svg").read_text()


def test_shares_are_said_in_words_and_no_column_is_out_of_view() -> None:
    counts = pd.DataFrame(
        {"names": [3, 1, 4], "old": [3, 0, 3], "fixed": [0, 0, 0]}, index=["port", "user", "all"]
    )
    said = picture.shares_in_words(counts, title="Wrong?")
    assert said == "Wrong? Of 4 names in 2 families: old 75 %, fixed 0 %."
    drawn = picture.svg(picture.draw_shares(counts, title="Wrong?", labels={}), alt=said)
    element = drawn[drawn.index("<svg") :].partition(">")[0]
    assert f'role="img" aria-label="{said}"' in element
    assert 'style="max-width:100%;height:auto"' in element
    assert f"<title>{said}</title>" in drawn
