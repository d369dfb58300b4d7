"""The notebooks: their form, and that what the offline ones show is what they show when run."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kitref import engines

if TYPE_CHECKING:
    from kitref.engines import Engine

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
EXPANSIONS, CONFORMANCE = NOTEBOOKS / "02-expansions.ipynb", NOTEBOOKS / "06-conformance.ipynb"
OFFLINE = [EXPANSIONS, CONFORMANCE]
# What `make conformance` would write of two implementations, one of which could not be had.
SURVEY = json.dumps({
    "cases": 2,
    "implementations": [
        {
            "name": "one", "language": "c", "profile": "docker", "version": "1", "skipped": None,
            "verdicts": {"pass": 1, "fail": 1},
            "findings": [{
                "what": "refuses a name", "valid": True, "family": "nested", "answers": 1,
                "case": "nested-foo-bar-baz", "text": "foo/bar/baz", "given": "refused: no",
                "wanted": "domain=docker.io",
            }],
        },
        {
            "name": "two", "language": "c", "profile": "docker", "version": None,
            "skipped": "no compiler", "verdicts": {}, "findings": [],
        },
    ],
})  # fmt: skip
LIVE = [notebook for notebook in ALL if notebook not in OFFLINE]

notebooks = pytest.mark.parametrize("notebook", ALL, ids=lambda notebook: notebook.stem)
offline = pytest.mark.parametrize("notebook", OFFLINE, ids=lambda notebook: notebook.stem)
live = pytest.mark.parametrize("notebook", LIVE, ids=lambda notebook: notebook.stem)


def content_of(notebook: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(notebook.read_text("utf-8"))
    return content


def cells_of(notebook: Path, kind: str = "code") -> list[tuple[str, list[str]]]:
    """Return the source and the tags of every cell of a kind."""
    return [
        ("".join(cell["source"]), cell["metadata"].get("tags", []))
        for cell in content_of(notebook)["cells"]
        if cell["cell_type"] == kind
    ]


def nbval(
    notebook: Path, folder: Path, *, option: str = "--nbval", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a notebook, and compare every output with the one that it was saved with."""
    names = (
        "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
        "MPLCONFIGDIR",
    )  # fmt: skip
    places = {name: str(folder / name.lower()) for name in names}
    command = [sys.executable, "-m", "pytest", option, "-p", "no:cacheprovider", "-q"]
    return subprocess.run(
        # Not this project's options: a warning of Jupyter's is no fault of the notebook.
        [*command, "-c", os.devnull, "--rootdir", str(folder), str(notebook)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**os.environ, **places, **environment},
    )


@offline
def test_an_offline_notebook_shows_what_it_shows_when_run(notebook: Path, tmp_path: Path) -> None:
    run = nbval(notebook, tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{len(cells_of(notebook))} passed" in run.stdout


@pytest.mark.parametrize(
    ("notebook", "was", "becomes"),
    [
        pytest.param(EXPANSIONS, "1122 names", "1121 names", id="text"),
        pytest.param(EXPANSIONS, "<td>203</td>", "<td>202</td>", id="table"),
        pytest.param(EXPANSIONS, "88 %", "87 %", id="picture"),
        pytest.param(CONFORMANCE, "<td>433</td>", "<td>434</td>", id="verdict"),
    ],
)
def test_a_changed_output_is_seen(notebook: Path, tmp_path: Path, was: str, becomes: str) -> None:
    content = content_of(notebook)
    outputs = [output for cell in content["cells"] for output in cell.get("outputs", [])]
    changed = 0
    for output in outputs:
        for key, said in [*output.get("data", {}).items(), ("text", output.get("text", ""))]:
            text = "".join(said)
            if was in text and not changed:
                changed += 1
                holder = output if key == "text" else output["data"]
                holder[key] = text.replace(was, becomes, 1)
    assert changed == 1
    copy = tmp_path / notebook.name
    copy.write_text(json.dumps(content))
    run = nbval(copy, tmp_path)
    assert run.returncode == 1, run.stdout + run.stderr
    assert f"1 failed, {len(cells_of(notebook)) - 1} passed" in run.stdout


@pytest.mark.parametrize(
    ("notebook", "given", "content", "others"),
    [
        pytest.param(
            EXPANSIONS, "corpus", "a.io/b\nalpine\nfoo:\n", {"rules": "v1.0.1, fixed"}, id="names"
        ),
        pytest.param(CONFORMANCE, "results", SURVEY, {}, id="survey"),
    ],
)
def test_an_offline_notebook_runs_with_other_parameters(
    notebook: Path, given: str, content: str, others: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "given"
    file.write_text(content)
    changed = notebook.read_text("utf-8")
    for name, value in {given: str(file), **others}.items():
        was = rf"{name}: str = \"\""
        assert changed.count(was) == 1
        changed = changed.replace(was, rf"{name}: str = \"{value}\"")
    copy = tmp_path / notebook.name
    copy.write_text(changed)
    run = nbval(copy, tmp_path, option="--nbval-lax")
    assert run.returncode == 0, run.stdout + run.stderr


@live
def test_a_live_notebook_runs_with_its_default_parameters(
    notebook: Path, tmp_path: Path, docker: Engine
) -> None:
    """Lax, as it is kept without outputs; what the live answers are, the notebook itself checks."""
    had = {"url": docker.url, "name": docker.name, "source": docker.source}
    shared = tmp_path / "engines.json"
    shared.write_text(json.dumps({"private/any": had}))
    run = nbval(notebook, tmp_path, option="--nbval-lax", **{engines.RUNNING: str(shared)})
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{len(cells_of(notebook))} passed" in run.stdout


@offline
def test_an_offline_notebook_is_kept_with_its_outputs(notebook: Path) -> None:
    code = [cell for cell in content_of(notebook)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    shown = json.dumps([cell["outputs"] for cell in code])
    for never in (f"{NOTEBOOKS.parent}/", "/tmp/", "/home/", "Traceback"):  # noqa: S108 - not to be found
        assert never not in shown


@live
def test_a_live_notebook_is_kept_without_outputs(notebook: Path) -> None:
    code = [cell for cell in content_of(notebook)["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)


@notebooks
def test_the_title_is_a_question_with_its_answer_under_it(notebook: Path) -> None:
    title, _, answer = cells_of(notebook, "markdown")[0][0].partition("\n\n")
    assert content_of(notebook)["cells"][0]["cell_type"] == "markdown"
    assert title.startswith("# ")
    assert title.endswith("?")
    assert 1 <= len(answer.splitlines()) <= 3


@notebooks
def test_it_ends_with_what_was_checked_what_was_skipped_and_the_versions(notebook: Path) -> None:
    title, _, words = cells_of(notebook, "markdown")[-1][0].partition("\n\n")
    assert title == "## What was checked, what was skipped, versions"
    assert words
    last = content_of(notebook)["cells"][-1]
    assert last["id"] == "versions"
    assert "kitref {kitref.__version__}, Python {platform.python_version()}" in "".join(
        last["source"]
    )


@notebooks
def test_a_picture_is_shown_as_svg_with_its_words(notebook: Path) -> None:
    for cell in content_of(notebook)["cells"]:
        source = "".join(cell["source"])
        if "picture.draw" not in source:
            continue
        assert "SVG(picture.svg(" in source.splitlines()[-1]
        assert "alt=" in source
        for output in cell["outputs"]:
            assert 'role="img" aria-label="' in "".join(output["data"]["image/svg+xml"])


@notebooks
def test_one_cell_has_the_parameters_each_with_type_and_comment(notebook: Path) -> None:
    (source,) = [source for source, tags in cells_of(notebook) if "parameters" in tags]
    lines = source.splitlines()
    for statement in ast.parse(source).body:
        assert isinstance(statement, ast.AnnAssign), ast.unparse(statement)
        assert statement.value is not None
        of_it = lines[statement.lineno - 1 : statement.end_lineno]
        assert any("  # " in line for line in of_it), f"no comment: {ast.unparse(statement)}"


@notebooks
def test_the_kernel_is_python3_and_nothing_of_a_machine_is_kept(notebook: Path) -> None:
    content = content_of(notebook)
    assert content["metadata"]["kernelspec"]["name"] == "python3"
    assert content["metadata"].keys() == {"kernelspec", "language_info"}
    assert content["metadata"]["language_info"] == {"name": "python"}
    for cell in content["cells"]:
        assert cell["metadata"].keys() <= {"tags"}, cell["id"]


@notebooks
def test_cells_are_short_and_define_nothing(notebook: Path) -> None:
    for source, _ in cells_of(notebook):
        assert len(source.splitlines()) <= 15, source
        defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        assert not any(isinstance(node, defined) for node in ast.walk(ast.parse(source))), source


@notebooks
def test_no_cell_hides_its_result(notebook: Path) -> None:
    assert not [source for source, _ in cells_of(notebook) if source.rstrip().endswith(";")]


@offline
def test_only_the_cell_with_the_versions_is_not_compared(notebook: Path) -> None:
    ignored = [source for source, tags in cells_of(notebook) if "nbval-ignore-output" in tags]
    assert len(ignored) == 1
    assert "__version__" in ignored[0]
    assert "NBVAL" not in notebook.read_text("utf-8").upper().replace("NBVAL-IGNORE-OUTPUT", "")
