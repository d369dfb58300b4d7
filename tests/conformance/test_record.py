"""The record of a survey: read with clear errors, and tabulated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kitref import conformance, corpus, errors, tables

if TYPE_CHECKING:
    from pathlib import Path

RECORD = {
    "cases": 3,
    "implementations": [
        {
            "name": "one",
            "language": "c",
            "profile": "docker",
            "version": "1",
            "skipped": None,
            "verdicts": {"pass": 5, "fail": 4, "crash": 1, "time-out": 2},
            "findings": [
                {
                    "what": "refuses a name",
                    "valid": True,
                    "family": "nested",
                    "answers": 3,
                    "case": "nested-foo-bar-baz",
                    "text": "foo/bar/baz",
                    "given": "refused: no",
                    "wanted": "domain=docker.io",
                },
                {
                    "what": "refuses a name",
                    "valid": True,
                    "family": "official",
                    "answers": 1,
                    "case": "official-one-digit",
                    "text": "1",
                    "given": "refused: no",
                    "wanted": "domain=docker.io",
                },
                {
                    "what": "takes what is no name",
                    "valid": False,
                    "family": "slashes",
                    "answers": 2,
                    "case": "slashes-only",
                    "text": "/",
                    "given": "path=/",
                    "wanted": "refused",
                },
            ],
        },
        {
            "name": "two",
            "language": "c",
            "profile": "docker",
            "version": None,
            "skipped": "no compiler",
            "verdicts": {},
            "findings": [],
        },
    ],
}


def test_one_that_was_skipped_shows_its_reason_and_counts_for_nothing() -> None:
    rows = tables.implementations(RECORD).to_dict("index")
    assert {key: rows["one"][key] for key in ("right", "wrong", "no answer")} == {
        "right": 5,
        "wrong": 4,
        "no answer": 3,
    }
    assert rows["two"]["version"] == "skipped: no compiler"
    assert "two" not in tables.differing(RECORD, corpus.load())


def test_names_that_differ_are_counted_by_family_valid_or_not() -> None:
    cases = corpus.load()
    valid, invalid = (
        tables.differing(RECORD, cases, valid=each).to_dict() for each in (True, False)
    )
    assert {family: n for family, n in valid["one"].items() if n} == {
        "nested": 3,
        "official": 1,
        "all": 4,
    }
    assert {family: n for family, n in invalid["one"].items() if n} == {"slashes": 2, "all": 2}
    assert valid["names"]["all"] + invalid["names"]["all"] == len(cases)


def test_a_way_is_shown_with_its_shortest_case() -> None:
    table = tables.findings(RECORD)
    shown = table[["what", "answers", "families", "case"]].to_numpy().tolist()
    assert shown == [
        ["refuses a name", 4, 2, "official-one-digit"],
        ["takes what is no name", 2, 1, "slashes-only"],
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        pytest.param("{", "cannot be read", id="no JSON"),
        pytest.param("[]", "no survey", id="no object"),
        pytest.param(json.dumps({"cases": 1}), "no survey", id="another object"),
        pytest.param(None, "cannot be read", id="no file"),
    ],
)
def test_a_file_that_is_no_record_is_refused_by_name(
    content: str | None, what: str, tmp_path: Path
) -> None:
    file = tmp_path / "record.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(errors.UsageError, match=what) as raised:
        conformance.load_record(str(file))
    assert str(file) in str(raised.value)
