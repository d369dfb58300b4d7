"""The baseline: what engines are expected to answer, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from kitref import baseline, errors

if TYPE_CHECKING:
    from pathlib import Path

    from kitref.report.record import Change

FOUND = ("docker-trixie", "26.1.5", "containerd", "fixed", "a.io/b", "a.io/b", "a.io/b", "found")
ABSENT = (*FOUND[:3], "9bb26e4c3", "a.io/b", "a.io/b", "docker.io/a.io/b", "absent")
PODMAN = ("podman-trixie", "5.4.2", "podman", *FOUND[3:])
OLD = ("docker-bookworm", "20.10.24", "graph", *FOUND[3:])
OTHERS = tuple(
    (name, version, store, "none", "z:1", "z:1", "z:1", "found")
    for name, version, store in (OLD[:3], ("docker-sid", "28.5.2", "graph"), FOUND[:3], PODMAN[:3])
)
"""A line for every class, without which a baseline is none."""


def _lookups(*rows: tuple[str, ...]) -> pd.DataFrame:
    columns = ["engine", "version", "store", "rule", "tagged_as", "image", "asked", "outcome"]
    return pd.DataFrame(rows, columns=columns, dtype=str)


def _compare(folder: Path, *rows: tuple[str, ...]) -> list[Change]:
    changes = baseline.compare(_lookups(*rows), baseline.read(folder))
    return [change for change in changes if change.image != "z:1"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a baseline of three look-ups on two classes, and a line for every class."""
    baseline.update(_lookups(FOUND, ABSENT, PODMAN, *OTHERS), tmp_path)
    return tmp_path


def test_a_baseline_is_text_to_read(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "docker-containerd.csv", "docker-graph-20.csv", "docker-graph.csv", "podman.csv",
    ]  # fmt: skip
    assert (folder / "docker-containerd.csv").read_text() == (
        "image,tagged_as,asked,outcome,rules\n"
        "a.io/b,a.io/b,a.io/b,found,fixed\n"
        "a.io/b,a.io/b,docker.io/a.io/b,absent,9bb26e4c3\n"
        "z:1,z:1,z:1,found,none\n"
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
    assert [change.status for change in _compare(folder, *rows)] == statuses.split()


def test_what_a_run_that_died_did_not_ask_is_not_gone(folder: Path) -> None:
    expected = baseline.read(folder)
    changes = baseline.compare(_lookups(FOUND, PODMAN), expected, complete=False)
    assert [c.status for c in changes if c.image == "a.io/b"] == ["not-asked", "same", "same"]


def test_what_is_new_is_a_finding_but_for_a_users_engine(folder: Path) -> None:
    own = ("own-docker", *FOUND[1:3], "none", *FOUND[4:])
    of_own, new = (c for c in _compare(folder, OLD, own) if c.status == "new")
    assert (new.engine, new.differs) == ("docker-bookworm/graph 20.10.24", True)
    assert new.why == (
        "not in the baseline: a line of it was removed, or the corpus grew;"
        " --update-baseline writes it"
    )
    assert (of_own.engine, of_own.differs) == ("own-docker/containerd 26.1.5", False)


def test_a_change_says_both_values_the_engine_and_the_name(folder: Path) -> None:
    changed = (*ABSENT[:-1], "found")
    first = _compare(folder, FOUND, changed, PODMAN)[0]
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
            "rule 9bb26e4c3 changed: it asks for another name than docker-containerd.csv:2;"
            " a pull goes to no host, not to docker.io",
            id="old-rule",
        ),
        pytest.param(
            ("docker-trixie", "26.1.5", "containerd", "fixed", *["com/foo"] * 2, "a.io/b", "found"),
            "rule fixed changed: it asks for another name than docker-containerd.csv:3;"
            " a pull goes to a.io, not to docker.io",
            id="rule",
        ),
    ],
)
def test_a_change_says_what_changed(tmp_path: Path, row: tuple[str, ...], why: str) -> None:
    hub = (*FOUND[:4], "com/foo", "com/foo", "docker.io/com/foo", "found")
    baseline.update(_lookups(ABSENT, hub, *OTHERS), tmp_path)
    (change,) = (c for c in _compare(tmp_path, row) if c.status == "changed")
    assert change.why.replace(f"{tmp_path}/", "") == why


@pytest.mark.parametrize(
    ("was", "becomes", "line", "why"),
    [
        pytest.param(
            "b,found", "b,absent", 2, "the engine answers as the model of its store does",
            id="outcome",
        ),
        pytest.param(
            "docker.io/com/foo,found", "com/foo,found", 5,
            "rule fixed makes docker.io/com/foo of it, as ever", id="asked",
        ),
        pytest.param(
            "b,a.io/b,found,fixed", "b,b,found,fixed", 2, "rule fixed makes a.io/b of it, as ever",
            id="asked-of-no-case",
        ),
        pytest.param(
            "docker.io/a.io/b,absent", "b,absent", 3,
            "rule 9bb26e4c3 makes docker.io/a.io/b of it, as ever", id="asked-by-an-old-rule",
        ),
    ],
)  # fmt: skip
def test_a_tampered_baseline_is_told_from_a_changed_engine(
    tmp_path: Path, was: str, becomes: str, line: int, why: str
) -> None:
    hub = (*FOUND[:4], "com/foo", "com/foo", "docker.io/com/foo", "found")
    # The same rule and name in another line: tagged otherwise, or on another engine.
    again = (*ABSENT[:4], "docker.io/a.io/b", *ABSENT[5:-1], "found")
    rows = FOUND, ABSENT, hub, again, PODMAN
    file, *_ = baseline.update(_lookups(*rows, *OTHERS), tmp_path)
    lines = file.read_text().splitlines()
    assert was in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(was, becomes)
    file.write_text("\n".join(lines) + "\n")
    (change,) = (c for c in _compare(tmp_path, *rows) if c.status == "changed")
    assert change.why == f"{file}:{line}: the baseline was edited, or is out of date: {why}"


def test_names_of_a_users_engine_are_compared_without_what_makes_them_unique(folder: Path) -> None:
    own = "a.io/kitref-0123456789ab-b"
    row = ("own-docker", "29.0.0", "containerd", "fixed", own, "a.io/b", own, "found")
    changes = _compare(folder, row, ABSENT, PODMAN)
    assert [change.status for change in changes] == ["same", "same", "same"]


def test_engines_of_one_class_that_differ_are_no_baseline(tmp_path: Path) -> None:
    other = ("docker-sid", "28.5.2", *FOUND[2:-1], "absent")
    with pytest.raises(errors.Finding, match=r"docker-trixie.*docker-sid.*docker-containerd"):
        baseline.update(_lookups(FOUND, other), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_fixed_rule_that_is_not_the_corpus_s_makes_no_baseline(tmp_path: Path) -> None:
    nested = (*FOUND[:4], "a/b/c/d", "a/b/c/d", "a/b/c/d", "found")
    with pytest.raises(
        errors.Finding, match=r"corpus says that a/b/c/d becomes docker\.io/a/b/c/d"
    ):
        baseline.update(_lookups(FOUND, nested), tmp_path)
    assert list(tmp_path.iterdir()) == []


HEADER = b"image,tagged_as,asked,outcome,rules\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(HEADER, "podman.csv: holds no answer", id="header-alone"),
        pytest.param(b"", "podman.csv: holds no answer", id="empty"),
        pytest.param(None, "podman.csv: cannot be read (Is a directory)", id="folder"),
        pytest.param(
            HEADER + b"a,a,a,found,none\na,a,a,maybe,fixed\n",
            "podman.csv:3: not a line of a baseline: 'a,a,a,maybe,fixed'", id="outcome",
        ),
        pytest.param(HEADER + b"a,a\n", "podman.csv:2: not a line of a baseline", id="columns"),
        pytest.param(b"a,a,a,found,none\n", "podman.csv:1: not a line", id="no-header"),
        pytest.param(HEADER + b"a\xff\n", "podman.csv:2: byte 0xff is no UTF-8", id="no-utf-8"),
        pytest.param(HEADER + b'"a"b,a,a,found,none\n', "podman.csv:2: no CSV", id="quote"),
        pytest.param(
            HEADER + b"a,a,a,found,none fixed\na,a,b,absent,fixed\n",
            "podman.csv:3: rule fixed, a tagged a already has an answer at ", id="twice",
        ),
    ],
)  # fmt: skip
def test_a_broken_baseline_is_told_with_file_and_line(
    folder: Path, content: bytes | None, said: str
) -> None:
    path = folder / "podman.csv"
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(errors.UsageError) as caught:
        baseline.read(folder)
    assert str(caught.value).startswith(f"{folder}/{said}")
    assert caught.value.remedy == "restore the file from version control"


def test_a_baseline_without_a_class_is_none(folder: Path) -> None:
    (folder / "docker-graph.csv").unlink()
    with pytest.raises(
        errors.UsageError, match=r"docker-graph\.csv: cannot be read \(No such file"
    ):
        baseline.read(folder)


def test_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="--update-baseline"):
        baseline.read(tmp_path)
