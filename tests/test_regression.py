"""A whole regression on live engines: what it writes, what it refuses, and its exit codes."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from kitref import tables
from kitref.engines import Engine, places

pytestmark = pytest.mark.live

CLONE = Path(__file__).parent.parent
TRIXIE = ("--engine", "docker-trixie/graph", "--engine", "docker-trixie/containerd")


def _regress(
    folder: Path, *arguments: str, **variables: str
) -> tuple[subprocess.CompletedProcess[str], Path]:
    latest = folder / "latest"
    run = subprocess.run(
        [sys.executable, "-m", "kitref", "regress", "--output", latest, *arguments],
        cwd=CLONE,
        env={name: value for name, value in os.environ.items() if name != "CI"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return run, latest


def _cut_off(folder: Path) -> dict[str, str]:
    """Return variables with which no suite can be fetched, and the cache is empty."""
    config = folder / "apt.conf"
    config.write_text('Acquire::http::Proxy "http://127.0.0.1:9";')
    return {"APT_CONFIG": str(config), "XDG_CACHE_HOME": str(folder / "cache")}


def test_a_run_and_what_it_writes(tmp_path: Path) -> None:
    run, latest = _regress(tmp_path, *TRIXIE, NO_COLOR="1")
    if "skipped" in run.stderr:
        pytest.skip(run.stderr)
    assert run.returncode == 0, run.stderr
    assert "\x1b" not in run.stdout
    assert sorted(path.name for path in latest.iterdir()) == [
        "junit.xml", "lookups.csv", "notebooks", "report.html", "reproduce.svg", "results.json",
    ]  # fmt: skip
    with (latest / "lookups.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == tables.LOOKUPS
    assert [(row["store"], row["rule"], row["asked"], row["outcome"]) for row in rows[:4]] == [
        ("graph", "9bb26e4c3", "docker.io/bastion.io/alpine:latest", "found"),
        ("graph", "fixed", "bastion.io/alpine:latest", "found"),
        ("containerd", "9bb26e4c3", "docker.io/bastion.io/alpine:latest", "absent"),
        ("containerd", "fixed", "bastion.io/alpine:latest", "found"),
    ]
    record = json.loads((latest / "results.json").read_text())
    assert [(e["name"], e["store"], e["status"]) for e in record["engines"]] == [
        ("docker-trixie", "graph", "available"),
        ("docker-trixie", "containerd", "available"),
    ]
    assert [(n["notebook"], n["status"]) for n in record["notebooks"]] == [
        ("03-engines.ipynb", "passed"),
        ("01-reproduce.ipynb", "passed"),
        ("01-reproduce.ipynb", "passed"),
        ("04-linuxkit-build.ipynb", "passed"),
        ("04-linuxkit-build.ipynb", "passed"),
    ]
    cells = [
        cell
        for notebook in (latest / "notebooks").iterdir()
        for cell in json.loads(notebook.read_text())["cells"]
        if "picture.draw" in "".join(cell["source"])
    ]
    assert len(cells) == 4
    assert all("image/svg+xml" in cell["outputs"][-1]["data"] for cell in cells)
    # Every answer of the classes that were asked is the baseline's; the others were not asked.
    assert set(record["baseline"]) == {"same", "not-asked"}
    assert record["baseline"]["same"] > 1000
    for notebook in record["notebooks"]:
        executed = json.loads((latest / notebook["executed"]).read_text())
        assert executed["metadata"]["papermill"]["exception"] is None
    assert ET.parse(latest / "reproduce.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own
    junit = ET.parse(latest / "junit.xml").getroot()  # noqa: S314 - our own
    assert len(junit.findall(".//testcase")) > 1000
    assert junit.findall(".//failure") == []
    assert "passed" in run.stdout
    assert "lookups.csv" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("-p", "nosuch", "1"), "has a parameter 'nosuch'", id="parameter"),
        pytest.param(("-p", "engine", "x"), "set by the run itself", id="reserved-parameter"),
        pytest.param(("-p", "old_rule", "v0.0"), "v0.0", id="rule"),
        pytest.param(("-p", "image", "UPPER"), "upper case", id="image"),
        pytest.param(("-p", "image", f"a@sha256:{'0' * 64}"), "with a digest", id="digest"),
        pytest.param(("--engine", "gopher://x"), "no engine's address", id="address"),
        pytest.param(("--engine", "docker:29-dind/podman"), "store 'podman'", id="dind-store"),
        pytest.param(("--engine", "docker:a b-dind"), "no private engine", id="dind-version"),
        pytest.param(("--engine", "nosuch"), "no private engine 'nosuch'", id="engine"),
        pytest.param((*TRIXIE, "--require", "sid"), "required engine 'sid'", id="required"),
        pytest.param(("--baseline", "nowhere"), "no baseline in nowhere", id="baseline"),
        pytest.param(
            ("--update-baseline", "-p", "per_family", "1"),
            "leave out --engine and --parameter",
            id="baseline-of-other-parameters",
        ),
        pytest.param(
            ("--update-baseline", *TRIXIE), "that of a whole run", id="baseline-of-some-engines"
        ),
        pytest.param(("--notebooks", "nowhere"), "there is no nowhere", id="notebooks"),
    ],
)
def test_wrong_usage_is_refused_before_anything_runs(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    run, latest = _regress(tmp_path, *arguments)
    assert run.returncode == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert not latest.exists()


def test_an_engine_that_cannot_be_had_is_skipped(tmp_path: Path) -> None:
    run, latest = _regress(tmp_path, *TRIXIE, "--require", "all", **_cut_off(tmp_path))
    assert run.returncode == 3
    assert "apt could not fetch docker.io" in run.stdout
    assert "0 passed, 0 failed, 0 error, 5 skipped" in run.stdout
    assert "required, and not had: docker-trixie/containerd, docker-trixie/graph" in run.stdout
    record = json.loads((latest / "results.json").read_text())
    assert {(n["status"], n["executed"]) for n in record["notebooks"]} == {("skipped", None)}
    assert all("apt could not fetch" in e["reason"] for e in record["engines"])


def test_one_that_is_skipped_leaves_the_others(docker: Engine, tmp_path: Path) -> None:
    arguments = ("--engine", docker.url, "--engine", "docker-bookworm")
    cut_off = _cut_off(tmp_path)
    run, latest = _regress(tmp_path, *arguments, "--require", docker.url, **cut_off)
    assert run.returncode == 3
    # It was had, but not the registry that the build's notebook needs.
    assert f"required, and not had: 04-linuxkit-build on {docker.url}" in run.stdout
    run, latest = _regress(tmp_path, *arguments, **cut_off)
    assert run.returncode == 0, run.stderr
    record = json.loads((latest / "results.json").read_text())
    assert [n["status"] for n in record["notebooks"]] == ["passed"] * 2 + ["skipped"] * 3
    with (latest / "lookups.csv").open() as file:
        rows = list(csv.DictReader(file))
    # On a user's engine the kit works under a name of its own.
    assert {row["image"] for row in rows[:2]} == {"bastion.io/alpine:latest"}
    assert all(re.search(r"kitref-[0-9a-f]{12}-", row["tagged_as"]) for row in rows)
    # Without that, they are the baseline's.
    assert record["baseline"]["same"] > 1000


def test_a_rule_that_is_not_mended_is_a_finding(tmp_path: Path) -> None:
    unmended = ("-p", "image", "bastion.io/other:1", "-p", "new_rule", "c836e54d2")
    run, _ = _regress(tmp_path, *TRIXIE[2:], *unmended)
    if "skipped" in run.stderr:
        pytest.skip(run.stderr)
    assert run.returncode == 1
    assert "rule c836e54d2: docker.io/bastion.io/other:1: expected found" in run.stdout


def test_ctrl_c_leaves_a_users_engine_as_it_was(docker: Engine, tmp_path: Path) -> None:
    before = docker.names()
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "kitref", "regress"),
            *("--output", tmp_path / "latest", "--engine", docker.url),
        ],
        cwd=CLONE,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as run:
        deadline = time.monotonic() + 120
        while docker.names() == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert docker.names() != before
        os.killpg(run.pid, signal.SIGINT)  # while a kernel has an image there
        assert run.wait(120) == 130
    assert docker.names() == before


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "kitref", "regress", "--output", tmp_path / "latest", *TRIXIE],
        cwd=CLONE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "cell" in line:
                break
        os.killpg(run.pid, signal.SIGINT)
        run.stderr.read()
        assert run.wait(60) == 130
    time.sleep(0.2)
    ours = [c for _, c in places.leases() if c.get("folder", "").startswith(str(tmp_path))]
    assert ours == []
    assert [path.name for path in tmp_path.iterdir()] == []
