"""The baseline: what engines are expected to answer, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from kitref import baseline, errors

if TYPE_CHECKING:
    from pathlib import Path

FOUND = ("docker-trixie", "26.1.5", "containerd", "fixed", "a.io/b", "a.io/b", "a.io/b", "found")
ABSENT = (*FOUND[:3], "9bb26e4c3", "a.io/b", "a.io/b", "docker.io/a.io/b", "absent")
PODMAN = ("podman-trixie", "5.4.2", "podman", *FOUND[3:])
OLD = ("docker-bookworm", "20.10.24", "graph", *FOUND[3:])


def _lookups(*rows: tuple[str, ...]) -> pd.DataFrame:
    columns = ["engine", "version", "store", "rule", "tagged_as", "image", "asked", "outcome"]
    return pd.DataFrame(rows, columns=columns, dtype=str)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a baseline of three look-ups on two classes."""
    baseline.update(_lookups(FOUND, ABSENT, PODMAN), tmp_path)
    return tmp_path


def test_a_baseline_is_text_to_read(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["docker-containerd.csv", "podman.csv"]
    assert (folder / "docker-containerd.csv").read_text() == (
        "image,tagged_as,asked,outcome,rules\n"
        "a.io/b,a.io/b,a.io/b,found,fixed\n"
        "a.io/b,a.io/b,docker.io/a.io/b,absent,9bb26e4c3\n"
    )


@pytest.mark.parametrize(
    ("rows", "statuses"),
    [
        pytest.param((FOUND, ABSENT, PODMAN), "same same same", id="same"),
        pytest.param((FOUND, (*ABSENT[:-1], "found"), PODMAN), "changed same same", id="outcome"),
        pytest.param(
            (FOUND, (*ABSENT[:-2], "b", "absent"), PODMAN), "changed same same", id="asked"
        ),
        pytest.param((FOUND, PODMAN), "gone same same", id="gone"),
        pytest.param((FOUND, ABSENT), "same same not-asked", id="no-such-engine"),
        pytest.param(
            (FOUND, (*ABSENT[:-1], "not-asked"), PODMAN), "not-asked same same", id="dead"
        ),
        pytest.param((FOUND, ABSENT, PODMAN, OLD), "same same new same", id="new-class"),
        pytest.param((FOUND, ABSENT, PODMAN, FOUND), "same same same same", id="two-of-a-class"),
    ],
)
def test_compare(folder: Path, rows: tuple[tuple[str, ...], ...], statuses: str) -> None:
    assert [c.status for c in baseline.compare(_lookups(*rows), folder)] == statuses.split()


def test_a_change_says_both_values_the_engine_and_the_name(folder: Path) -> None:
    changed = (*ABSENT[:-1], "found")
    first = baseline.compare(_lookups(FOUND, changed, PODMAN), folder)[0]
    assert (first.was, first.now) == ("docker.io/a.io/b: absent", "docker.io/a.io/b: found")
    assert (first.engine, first.image, first.rule) == (
        "docker-trixie/containerd 26.1.5",
        "a.io/b",
        "9bb26e4c3",
    )


@pytest.mark.parametrize(
    ("row", "why"),
    [
        pytest.param(
            (*ABSENT[:-1], "found"),
            "the engine changed: absent is also what the model of its store says",
            id="engine",
        ),
        pytest.param(
            (*ABSENT[:-2], "b", "absent"),
            "rule 9bb26e4c3 changed: it asks for another name;"
            " a pull goes to no host, not to docker.io",
            id="old-rule",
        ),
        pytest.param(
            ("docker-trixie", "26.1.5", "containerd", "fixed", *["com/foo"] * 2, "a.io/b", "found"),
            "rule fixed changed: it asks for another name; a pull goes to a.io, not to docker.io",
            id="rule",
        ),
    ],
)
def test_a_change_says_what_changed(tmp_path: Path, row: tuple[str, ...], why: str) -> None:
    hub = (*FOUND[:4], "com/foo", "com/foo", "docker.io/com/foo", "found")
    baseline.update(_lookups(ABSENT, hub), tmp_path)
    (change,) = (c for c in baseline.compare(_lookups(row), tmp_path) if c.status == "changed")
    assert change.why == why


@pytest.mark.parametrize(
    ("was", "becomes", "why"),
    [
        pytest.param(
            "b,found",
            "b,absent",
            "the engine answers as the model of its store does",
            id="outcome",
        ),
        pytest.param(
            "docker.io/com/foo", "com/foo", "rule fixed makes docker.io/com/foo of it, as ever",
            id="asked",
        ),
    ],
)  # fmt: skip
def test_a_tampered_baseline_is_told_from_a_changed_engine(
    tmp_path: Path, was: str, becomes: str, why: str
) -> None:
    rows = FOUND, (*FOUND[:4], "com/foo", "com/foo", "docker.io/com/foo", "found")
    (file,) = baseline.update(_lookups(*rows), tmp_path)
    file.write_text(file.read_text().replace(was, becomes, 1))
    (change,) = (c for c in baseline.compare(_lookups(*rows), tmp_path) if c.status == "changed")
    line = 2 if was == "b,found" else 3
    assert change.why == f"{file}:{line}: the baseline was edited, or is out of date: {why}"


def test_names_of_a_users_engine_are_compared_without_what_makes_them_unique(folder: Path) -> None:
    own = "a.io/kitref-0123456789ab-b"
    row = ("own-docker", "29.0.0", "containerd", "fixed", own, "a.io/b", own, "found")
    changes = baseline.compare(_lookups(row, ABSENT, PODMAN), folder)
    assert [change.status for change in changes] == ["same", "same", "same"]


def test_engines_of_one_class_that_differ_are_no_baseline(tmp_path: Path) -> None:
    other = ("docker-sid", "28.5.2", *FOUND[2:-1], "absent")
    with pytest.raises(errors.Finding, match=r"docker-trixie.*docker-sid.*docker-containerd"):
        baseline.update(_lookups(FOUND, other), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("a.io/b,a.io/b,a.io/b,maybe,fixed", id="outcome"),
        pytest.param("a.io/b,a.io/b", id="columns"),
    ],
)
def test_a_broken_baseline_is_told_with_file_and_line(folder: Path, line: str) -> None:
    path = folder / "podman.csv"
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(errors.UsageError, match=r"podman\.csv:3: not a line of a baseline"):
        baseline.compare(_lookups(FOUND), folder)


def test_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="--update-baseline"):
        baseline.compare(_lookups(FOUND), tmp_path)
