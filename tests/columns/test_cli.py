"""The command `kitref expand-file`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from kitref import cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """Return a file of names, one of them invalid."""
    file = tmp_path / "names.csv"
    file.write_text("id,image\n1,alpine\n2,UP\n3,a.b/c\n")
    return file


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.main, ["expand-file", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_counts_and_a_finding(names: Path) -> None:
    made = names.with_name("made.csv")
    assert run(f"{names}", f"{made}") == (1, "3 names: 2 valid, 1 invalid, 1 changed\n", "")
    assert made.read_text().splitlines() == [
        '"id","image","asked"',
        '"1","alpine","docker.io/library/alpine"',
        '"2","UP",',
        '"3","a.b/c","a.b/c"',
    ]


def test_json_and_an_old_rule(names: Path) -> None:
    made = names.with_name("made.csv")
    code, out, _ = run(f"{names}", f"{made}", "--rule", "v1.0.1", "--column", "image", "--json")
    assert code == 0
    assert json.loads(out) == {"rows": 3, "valid": 3, "invalid": 0, "changed": 3}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--column", "nosuch"], id="column"),
        pytest.param(["--rule", "v9.9"], id="rule"),
        pytest.param(["--rule", "none", "--with-tag"], id="with-tag"),
    ],
)
def test_wrong_usage(names: Path, arguments: list[str]) -> None:
    code, out, err = run(f"{names}", f"{names.with_name('made.csv')}", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("kitref: ")
    assert not names.with_name("made.csv").exists()


def test_no_such_file(tmp_path: Path) -> None:
    code, _, err = run(f"{tmp_path}/no.txt", f"{tmp_path}/made.txt")
    assert code == 2
    assert "no such file" in err
