"""The house: a room knows only the rooms above it, and nobody waits for what is not used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import ForwardRef

import pytest

import kitref
from kitref import errors

PACKAGE = Path(kitref.__file__).parent

# From the top down, as in the design. A room need not be there yet; one that is there stands here.
ROOMS = (
    "errors",
    "grammar",
    "reference",
    "normalize",
    "rules",
    "corpus",
    "stores",
    "compare",
    "engines",
    "oracle",
    "registry",
    "linuxkit",
    "diagnose",
    "conformance",
    "columns",
    "tables",
    "runs",
    "report",
    "baseline",
    "regression",
    "cli",
)
# What `import kitref` gives comes from here and above; whoever imports it must stand below.
FACE = "rules"
HEAVY = {
    "bcrypt", "click", "dask", "docker", "jwt", "matplotlib", "numba", "pandas", "papermill",
    "fsspec", "polars", "pyarrow", "requests", "rich", "trustme",
}  # fmt: skip


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_known(file: Path) -> set[str]:
    """Return the rooms that a file imports from, also those it needs for types only."""
    known = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports go by full name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "kitref":
                part = rest.split(".")[0]
                known.add(part if part in ROOMS else FACE)
    return known


FILES = sorted(
    file
    for file in PACKAGE.rglob("*.py")
    if file.parent != PACKAGE or file.name not in ("__init__.py", "__main__.py")
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_knows_only_the_rooms_above_it(file: Path) -> None:
    room = room_of(file)
    assert room in ROOMS, "a new room needs its place in the design and in this list"
    allowed = {*ROOMS[: ROOMS.index(room)], room if file.parent != PACKAGE else ""}
    assert rooms_known(file) <= allowed


def test_the_face_of_the_package_stands_on_the_rules_and_above() -> None:
    assert rooms_known(PACKAGE / "__init__.py") <= set(ROOMS[: ROOMS.index(FACE) + 1])


def modules_loaded(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    return set(run.stdout.split("\n")[-2].split())


def test_importing_kitref_loads_nothing_heavy() -> None:
    loaded = modules_loaded("import kitref")
    assert {module for module in loaded if module.startswith("kitref.")} == {
        "kitref.errors",
        "kitref.grammar",
        "kitref.normalize",
        "kitref.reference",
        "kitref.rules",
    }
    # The last three are the dearest of the standard library that a room here might be tempted by.
    assert not loaded & (HEAVY | {"csv", "dataclasses", "inspect"})


@pytest.mark.parametrize(
    "record", [errors.Fault, kitref.Reference, kitref.Expansion, kitref.Release, kitref.Rule]
)
def test_importing_kitref_compiles_no_type_of_a_record(record: type) -> None:
    types = record.__annotations__
    assert types
    assert not [field for field, of in types.items() if isinstance(of, ForwardRef)]


ENGINE = {"click", "docker", "requests"}


@pytest.mark.parametrize(
    ("arguments", "used"),
    [
        pytest.param("expand alpine", {"click"}, id="expand"),
        pytest.param("parse alpine", {"click"}, id="parse"),
        pytest.param("--version", {"click"}, id="version"),
        pytest.param("compare {names} --format json", {"click"}, id="compare-json"),
        pytest.param("compare {names}", {"click", "rich"}, id="compare"),
        pytest.param("compare {names} --format csv", {"click", "pandas", "pyarrow"}, id="csv"),
        pytest.param(
            "expand-file {names} {folder}/asked.txt",
            # pyarrow looks whether what it makes an array of is of pandas.
            {"click", "fsspec", "numba", "pandas", "pyarrow"},
            id="expand-file",
        ),
        pytest.param(
            "diagnose --offline --engine {engine} --image a.b/c", ENGINE | {"rich"}, id="diagnose"
        ),
        pytest.param("conform --case nested-foo-bar-baz -- false", ENGINE | {"rich"}, id="conform"),
        pytest.param("oracle --corpus {folder}/none", ENGINE | {"rich"}, id="oracle"),
        pytest.param("engines list", ENGINE, id="engines"),
    ],
)
def test_a_command_loads_nothing_that_it_does_not_use(
    tmp_path: Path, arguments: str, used: set[str]
) -> None:
    (tmp_path / "names.txt").write_text("alpine\n")
    places = {
        "names": tmp_path / "names.txt", "folder": tmp_path, "engine": f"unix://{tmp_path}/none",
    }  # fmt: skip
    words = [word.format(**places) for word in arguments.split()]
    loaded = modules_loaded(
        "from kitref.cli import main\n"
        f"try: main({words!r}, standalone_mode=False)\n"
        "except SystemExit: pass"
    )
    assert loaded & HEAVY == used
