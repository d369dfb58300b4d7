"""The project's own files are in step with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kitref

CLONE = Path(__file__).parent.parent
PROJECT = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [
    Requirement(line)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in group
    if line != "kitref[engines]"  # its own: one extra that has another in it
]
LOCK = dict(
    line.split("==") for line in (CLONE / "requirements.lock").read_text().splitlines() if line
)


def test_the_version_stands_in_one_sense() -> None:
    assert kitref.__version__ == PROJECT["version"]


def test_the_lock_is_plain() -> None:
    lines = (CLONE / "requirements.lock").read_text().splitlines()
    assert lines
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.name)
def test_the_lock_holds_what_the_project_allows(requirement: Requirement) -> None:
    locked = {canonicalize_name(name): version for name, version in LOCK.items()}
    assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def test_the_conda_environment_is_the_projects_own() -> None:
    dependencies = yaml.safe_load((CLONE / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    assert f"python{PROJECT['requires-python']}" in dependencies
    extras = sorted(PROJECT["optional-dependencies"])
    assert pip == [f"-e .[{','.join(extras)}]"]


def test_the_changelog_names_the_version_or_what_is_to_come() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (CLONE / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] in ("Unreleased", PROJECT["version"])


def test_every_file_of_data_says_where_it_is_from() -> None:
    data = CLONE / "kitref" / "data"
    titles = re.findall(r"^## (.+)", (data / "README.md").read_text(), re.MULTILINE)
    files = {path.name for path in data.iterdir() if path.is_file()} - {"README.md"}
    assert {name for title in titles for name in title.split(", ")} == files
