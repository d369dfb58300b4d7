"""The GitHub Action and the pre-commit hooks, as far as that goes without GitHub."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CLONE = Path(__file__).parents[1]
SCRIPT = CLONE / "ci" / "action.sh"
ADAPTER = f"'{sys.executable}' -m kitref.conformance.inprocess kitref:expand"

# What GitHub's documentation of metadata syntax says of a composite action, by hand.
TEXT = {"type": "string"}
FLAT = {"type": "object", "additionalProperties": TEXT}
STEP = {
    "type": "object",
    "required": ["shell", "run"],
    "additionalProperties": False,
    "properties": {"name": TEXT, "id": TEXT, "shell": TEXT, "run": TEXT, "if": TEXT, "env": FLAT},
}
ACTION = {
    "type": "object",
    "required": ["name", "description", "runs"],
    "additionalProperties": False,
    "properties": {
        "name": TEXT,
        "description": TEXT,
        "branding": {"type": "object", "required": ["icon", "color"]},
        "inputs": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["description"],
                "additionalProperties": False,
                "properties": {
                    "description": TEXT, "required": {"type": "boolean"}, "default": TEXT,
                },
            },
        },
        "outputs": {
            "type": "object",
            "additionalProperties": {"type": "object", "required": ["description", "value"]},
        },
        "runs": {
            "type": "object",
            "required": ["using", "steps"],
            "additionalProperties": False,
            "properties": {
                "using": {"const": "composite"},
                "steps": {"type": "array", "minItems": 1, "items": STEP},
            },
        },
    },
}  # fmt: skip
# pre-commit's documentation, "creating new hooks".
HOOKS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["id", "name", "entry", "language"],
        "additionalProperties": False,
        "properties": {
            "id": TEXT, "name": TEXT, "entry": TEXT, "language": TEXT, "files": TEXT,
            "description": TEXT, "require_serial": {"type": "boolean"},
            "pass_filenames": {"type": "boolean"}, "always_run": {"type": "boolean"},
            "additional_dependencies": {"type": "array", "items": TEXT},
        },
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        pytest.param("action.yml", ACTION, id="action"),
        pytest.param(".pre-commit-hooks.yaml", HOOKS, id="hooks"),
    ],
)
def test_the_yaml_is_what_its_reader_takes(name: str, schema: dict[str, Any]) -> None:
    validator = importlib.import_module("jsonschema").Draft202012Validator(schema)
    content = yaml.safe_load((CLONE / name).read_text())
    assert [str(error) for error in validator.iter_errors(content)] == []


def test_the_script_reads_what_the_action_hands_on() -> None:
    content = yaml.safe_load((CLONE / "action.yml").read_text())
    handed = content["runs"]["steps"][1]["env"].keys()
    read = {f"KITREF_{name.upper()}" for name in content["inputs"]} | {"KITREF"}
    assert handed == read
    assert all(name in SCRIPT.read_text() for name in read)


def _run(folder: Path, **variables: str) -> tuple[int, str, str]:
    summary, outputs = folder / "summary.md", folder / "outputs"
    run = subprocess.run(
        ["bash", str(SCRIPT)], check=False, capture_output=True, text=True, timeout=300,
        cwd=folder,
        env={**os.environ, "KITREF": str(Path(sys.executable).parent / "kitref"),
             "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(outputs), **variables},
    )  # fmt: skip
    return run.returncode, summary.read_text() if summary.exists() else "", run.stderr


def test_conform_in_a_job(tmp_path: Path) -> None:
    code, summary, _ = _run(tmp_path, KITREF_CONFORM=ADAPTER, KITREF_PROFILE="fixed")
    assert code == 0
    assert summary.startswith("### kitref conform: exit code 0\n")
    assert "pass" in summary
    assert (tmp_path / "kitref-report" / "conform" / "report.html").exists()
    code, summary, _ = _run(tmp_path, KITREF_CONFORM="false")
    assert (code, "exit code 4" in summary) == (4, True)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        pytest.param("build.yml", "build.yml", id="plain"),
        pytest.param("'my build.yml'\n", "my build.yml", id="space"),
    ],
)
def test_diagnose_in_a_job(tmp_path: Path, given: str, name: str) -> None:
    shutil.copy(CLONE / "examples" / "nitro-629" / "build.yml", tmp_path / name)
    code, summary, _ = _run(
        tmp_path, KITREF_DIAGNOSE=given, KITREF_LINUXKIT="v1.0.1",
        DOCKER_HOST=f"unix://{tmp_path}/none.sock",
    )  # fmt: skip
    assert code == 1
    assert "engine-unreachable" in summary
    sarif = json.loads((tmp_path / "kitref-report" / "kitref.sarif").read_text())
    assert sarif["runs"][0]["results"][0]["ruleId"] == "engine-unreachable"
    assert (tmp_path / "outputs").read_text() == "sarif=kitref-report/kitref.sarif\n"


@pytest.mark.parametrize(
    ("variables", "exit_code", "says"),
    [
        pytest.param(
            {"KITREF_CONFORM": "false", "KITREF_DIAGNOSE": "nowhere.yml"},
            2,
            "nowhere.yml",
            id="both",
        ),
        pytest.param({"KITREF_CONFORM": "'false"}, 2, "not closed", id="open-quote"),
        pytest.param(
            {"KITREF_CONFORM": "x", "KITREF": "/nowhere/kitref"}, 4, "/nowhere", id="no-kitref"
        ),
        pytest.param({"KITREF_DIAGNOSE": "x", "KITREF": "./killed"}, 4, "", id="killed"),
        pytest.param({}, 2, "conform or diagnose", id="nothing-asked-for"),
    ],
)
def test_the_heaviest_exit_code_wins(
    tmp_path: Path, variables: dict[str, str], exit_code: int, says: str
) -> None:
    (tmp_path / "killed").write_text("#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "killed").chmod(0o755)
    code, _, stderr = _run(tmp_path, **variables)
    assert code == exit_code
    assert says in stderr
