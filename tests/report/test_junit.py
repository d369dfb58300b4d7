"""junit.xml: a case a check, what failed in its body, nothing that XML or a terminal minds."""

from __future__ import annotations

import dataclasses
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import pandas as pd
import pytest

from kitref import runs, stores, tables
from kitref.engines import Engine
from kitref.report import junit
from kitref.report.record import Change, Had, Record

if TYPE_CHECKING:
    import docker

    from kitref.engines.transport import Transport

Status = Literal["same", "changed", "new", "gone", "not-asked"]

HOSTILE = "<script>alert(1)</script>\x1b[31m\x00\u202e&\"'\ufffe"
SHOWN = r"<script>alert(1)</script>\x1b[31m\x00\u202e&" + "\"'" + r"\ufffe"
IMAGE = "bastion.io/foo:local"
REASON = "Finding: \x1b[31mrule fixed\x1b[0m\n  \x1b]0;title\x07has <no> image\x08"


def _had(name: str, store: Literal["graph", "containerd"], version: str) -> Had:
    engine = Engine(
        name=name,
        url="unix:///nowhere",
        kind="docker",
        version=version,
        api_version="1.45",
        min_api_version="1.24",
        store=store,
        arch="amd64",
        source="docker.io <trixie>",
        private=True,
        _client=cast("docker.APIClient", None),
        _transport=cast("Transport", None),
    )
    return Had(title=engine.title, given=name, store=store, engine=engine)


LIVE = _had("docker-trixie", "containerd", "26.1.5")
OLD = _had("docker-bookworm", "graph", "20.10.24")
MISSING = Had(
    title="docker-sid/graph", given="docker-sid", store="graph", reason="apt could not fetch it"
)
SEVERAL = f"{LIVE.title},{OLD.title}"
NOT_ASKED = (
    "no engine of behaviour class docker-graph gave an answer;"
    " docker-sid/graph was skipped: apt could not fetch it"
)
WHY = "rule fixed changed"
NEW = "not in the baseline"
REGRESS = "kitref regress --engine docker-trixie/containerd"
PAPERMILL = "papermill notebooks/01-reproduce.ipynb out.ipynb -p engine docker-trixie -p store"


def _result(folder: Path, stem: str, status: runs.Status, **parameters: str) -> runs.Result:
    job = runs.Job(
        title=f"{stem} on {parameters.get('engine', 'all engines')}",
        notebook=folder / f"{stem}.ipynb",
        output=folder / "notebooks" / f"{stem}.{status}#1.ipynb",
        parameters=parameters | {"output": "/nowhere"},
    )
    if status != "skipped":
        job.output.parent.mkdir(exist_ok=True)
        job.output.write_text("{}")
    reason = {"passed": "", "skipped": MISSING.reason}.get(status, REASON)
    return runs.Result(job=job, status=status, seconds=1.5, reason=reason)


def _change(status: Status, engine: str, image: str = IMAGE) -> Change:
    return Change(
        status=status,
        behaviour="docker-containerd" if engine or status == "gone" else "docker-graph",
        engine=engine,
        image=image,
        tagged_as=f"docker.io/{image}" if status == "gone" else image,
        rule="fixed",
        was="" if status == "new" else f"{IMAGE}: found",
        now=f"docker.io/{IMAGE}: absent" if engine else "",
        why={"changed": WHY, "gone": WHY, "new": NEW}.get(status, ""),
    )


def make(folder: Path) -> Record:
    """Return a record with every status there is."""
    live = f"{LIVE.title} 26.1.5"
    rows = [
        ("docker-trixie", "26.1.5", "containerd", "9bb26e4c3", IMAGE, "absent", ""),
        ("docker-trixie", "26.1.5", "containerd", "fixed", IMAGE, "found", ""),
        (
            "docker-bookworm",
            "20.10.24",
            "graph",
            "9bb26e4c3",
            IMAGE,
            "not-asked",
            "timed\x1b[1m out",
        ),
        ("docker-bookworm", "20.10.24", "graph", "fixed", HOSTILE, "refused", "<b>invalid</b>"),
    ]
    lookups = pd.DataFrame(
        [(*row[:4], row[4], row[4], f"docker.io/{row[4]}", row[5], "", row[6]) for row in rows],
        columns=tables.LOOKUPS,
        dtype=str,
    )
    trixie = {"engine": "docker-trixie", "store": "containerd"}
    return Record(
        start="2026-01-02T03:04:05+00:00",
        end="2026-01-02T03:05:05+00:00",
        engines=(LIVE, OLD, MISSING),
        results=(
            _result(folder, "01-reproduce", "passed", **trixie),
            _result(folder, "01-reproduce", "error", **trixie, image="a b", old_rule="1234567e8"),
            _result(folder, "01-reproduce", "skipped", engine="docker-sid", store="graph"),
            _result(folder, "03-engines", "failed", engines=SEVERAL),
        ),
        lookups=lookups,
        reproduced=lookups.head(2),
        required=frozenset({MISSING.title}),
        folder=folder,
        changes=(
            _change("same", live),
            _change("changed", live),
            _change("changed", live, HOSTILE),
            _change("gone", ""),
            _change("new", live),
            _change("new", "own-docker/containerd 29.0.1"),
            _change("not-asked", ""),
        ),
    )


@pytest.fixture
def root(tmp_path: Path) -> ET.Element:
    junit.write(make(tmp_path), tmp_path / "junit.xml")
    return ET.fromstring((tmp_path / "junit.xml").read_bytes())  # noqa: S314 - our own


def _suite(root: ET.Element, name: str) -> ET.Element:
    (suite,) = [suite for suite in root if suite.get("name") == name]
    return suite


def _body(case: ET.Element, tag: str) -> str:
    said = case.find(tag)
    assert said is not None
    return said.text or ""


def test_the_shape_and_the_counts(root: ET.Element) -> None:
    assert root.tag == "testsuites"
    shapes = {suite.tag: {case.tag for case in suite} for suite in root}
    assert shapes == {"testsuite": {"testcase"}}
    tags = {said.tag for case in root.iter("testcase") for said in case}
    assert tags == {"failure", "error", "skipped", "system-out"}
    for element in (root, *root):
        cases = list(element.iter("testcase"))
        assert element.get("tests") == str(len(cases))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert element.get(name) == str(len(list(element.iter(tag)))), (element.attrib, name)
        assert float(element.get("time", "")) >= 0
    for case in root.iter("testcase"):
        assert {*case.attrib} == {"classname", "name", "time"}
        assert len(case) <= 1
    assert root.attrib == {
        "name": "kitref",
        "tests": "11", "failures": "5", "errors": "1", "skipped": "2", "time": "6.000",
    }  # fmt: skip
    assert {suite.get("timestamp") for suite in root} == {"2026-01-02T03:04:05+00:00"}


def test_each_status_is_what_junit_calls_it(root: ET.Element) -> None:
    cases = [(suite.get("name"), [[said.tag for said in case] for case in suite]) for suite in root]
    assert cases == [
        ("01-reproduce on docker-trixie", [[]]),
        ("01-reproduce on docker-trixie", [["error"]]),
        ("01-reproduce on docker-sid", [["skipped"]]),
        ("03-engines on all engines", [["failure"]]),
        ("baseline docker-containerd", [["failure"]]),
        (
            "baseline docker-containerd on docker-trixie/containerd 26.1.5",
            [[], ["failure"], ["failure"], ["failure"]],
        ),
        ("baseline docker-containerd on own-docker/containerd 29.0.1", [["system-out"]]),
        ("baseline docker-graph", [["skipped"]]),
    ]


def test_a_notebook_that_failed_says_why_and_how_to_see_it_again(root: ET.Element) -> None:
    (case,) = _suite(root, "03-engines on all engines")
    assert _body(case, "failure").split("\n") == [
        "Finding: rule fixed",
        r"  has <no> image\x08",
        "",
        f"reproduce: {REGRESS} --engine docker-bookworm/graph",
        f"or: papermill notebooks/03-engines.ipynb out.ipynb -p engines {SEVERAL}",
    ]


def test_parameters_stay_what_they_were(root: ET.Element) -> None:
    (error,) = root.iter("error")
    assert (error.text or "").split("\n")[-2:] == [
        f"reproduce: {REGRESS} -p image 'a b' -p old_rule 1234567e8",
        # papermill would make a number of what follows -p.
        f"or: {PAPERMILL} containerd -p image 'a b' -r old_rule 1234567e8",
    ]


def test_a_changed_answer_says_what_was_and_what_is(root: ET.Element) -> None:
    case = _suite(root, "baseline docker-containerd on docker-trixie/containerd 26.1.5")[1]
    assert case.get("name") == f"{IMAGE} by rule fixed, tagged as {IMAGE}"
    assert _body(case, "failure").split("\n") == [
        f"image:     {IMAGE}",
        f"tagged as: {IMAGE}",
        "rule:      fixed",
        "behaviour: docker-containerd",
        "engine:    docker-trixie/containerd 26.1.5",
        f"old value: {IMAGE}: found",
        f"new value: docker.io/{IMAGE}: absent",
        f"why:       {WHY}",
        f"reproduce: {REGRESS}",
    ]


def test_a_new_answer_is_a_failure_but_for_a_users_engine(root: ET.Element) -> None:
    case = _suite(root, "baseline docker-containerd on docker-trixie/containerd 26.1.5")[3]
    assert f"old value: none\nnew value: docker.io/{IMAGE}: absent" in _body(case, "failure")
    (message,) = (said.get("message") for said in case)
    assert message == (
        f"new: {IMAGE} by rule fixed: was not in the baseline, is docker.io/{IMAGE}: absent"
    )
    (own,) = _suite(root, "baseline docker-containerd on own-docker/containerd 29.0.1")
    assert _body(own, "system-out").startswith("new\n")


def test_an_answer_that_is_gone_is_looked_for_on_every_engine_of_its_class(
    root: ET.Element,
) -> None:
    (case,) = _suite(root, "baseline docker-containerd")
    assert "new value: none\n" in _body(case, "failure")
    assert _body(case, "failure").endswith(REGRESS)


def test_what_was_skipped_says_why(root: ET.Element) -> None:
    assert [said.get("message") for said in root.iter("skipped")] == [
        "docker-sid/graph is required: apt could not fetch it",
        NOT_ASKED,
    ]


def test_a_hostile_name_is_shown_and_not_obeyed(root: ET.Element) -> None:
    case = _suite(root, "baseline docker-containerd on docker-trixie/containerd 26.1.5")[2]
    assert case.get("name") == f"{SHOWN} by rule fixed, tagged as {SHOWN}"
    for text in (
        *root.itertext(),
        *(v for element in root.iter() for v in element.attrib.values()),
    ):
        assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("statuses", "changes", "required", "code", "lacking"),
    [
        pytest.param("passed", "same not-asked", "", 0, [], id="as-expected"),
        pytest.param("passed", "same changed", "", 1, [], id="changed"),
        pytest.param("passed", "gone", "", 1, [], id="gone"),
        pytest.param("passed", "new", "", 1, [], id="new"),
        pytest.param("passed failed", "same", "", 1, [], id="failed"),
        pytest.param("passed skipped", "same", "", 0, [], id="skipped"),
        pytest.param("passed", "changed", MISSING.title, 3, [MISSING.title], id="engine-required"),
        pytest.param(
            "failed skipped", "same", LIVE.title, 3, ["04-build on docker-trixie"],
            id="notebook-of-a-required-engine",
        ),
        pytest.param("passed skipped", "same", OLD.title, 0, [], id="notebook-of-another-engine"),
        pytest.param("skipped error", "gone", MISSING.title, 4, [MISSING.title], id="error"),
    ],
)  # fmt: skip
def test_the_exit_code_of_a_run(
    tmp_path: Path, statuses: str, changes: str, required: str, code: int, lacking: list[str]
) -> None:
    on = {"engine": LIVE.given, "store": LIVE.store}
    record = dataclasses.replace(
        make(tmp_path),
        results=tuple(
            _result(tmp_path, "04-build", cast("runs.Status", status), **on)
            for status in statuses.split()
        ),
        changes=tuple(
            _change(cast("Status", status), f"{LIVE.title} 26.1.5") for status in changes.split()
        ),
        required=frozenset({required} - {""}),
    )
    assert (record.exit_code, record.lacking) == (code, lacking)
    assert record.as_json()["exit_code"] == code


def test_a_newer_engine_than_any_known_is_told(tmp_path: Path) -> None:
    newer = _had("docker-29", "containerd", "29.0.1")
    record = dataclasses.replace(make(tmp_path), engines=(LIVE, newer, MISSING))
    assert [each["reason"] for each in record.as_json()["engines"]] == [
        "",
        stores.beyond("docker", "containerd", "29.0.1"),
        "apt could not fetch it",
    ]


def test_no_changes_and_no_results(tmp_path: Path) -> None:
    none = pd.DataFrame(columns=tables.LOOKUPS, dtype=str)
    record = Record(
        start="a", end="b", engines=(), results=(), lookups=none, reproduced=none,
        required=frozenset(), folder=tmp_path,
    )  # fmt: skip
    junit.write(record, tmp_path / "junit.xml")
    root = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - our own
    assert (root.get("tests"), len(root)) == ("0", 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("\x1b[1;31mred\x1b[0m", "red", id="colour"),
        pytest.param("\x1b]8;;file:///x\x1b\\link\x1b]8;;\x1b\\", "link", id="hyperlink"),
        pytest.param("a\r\nb\rc\td", "a\nb\\rc    d", id="lines-and-tabs"),
        pytest.param("\x1b", r"\x1b", id="escape-alone"),
        pytest.param("\ud800\U000e0001", r"\ud800\U000e0001", id="no-character"),
        pytest.param("é ≠ \\x00", "é ≠ \\x00", id="printable"),
    ],
)
def test_clean(text: str, said: str) -> None:
    assert junit.clean(text) == said


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("it's $HOME `x` \\ !", id="quotes"),
        pytest.param("a\nb\x1b'\\é\u202e\U0001f600", id="not-printable"),
        pytest.param("", id="empty"),
    ],
)
def test_a_command_gives_bash_the_very_value(value: str) -> None:
    job = runs.Job(
        title="", notebook=Path("n.ipynb"), output=Path("o"), parameters={"image": value}
    )
    command = junit.papermill(job)
    assert command.isascii()
    assert command.isprintable()
    printed = subprocess.run(
        ["bash", "-c", f"printf '%s|' {command}"],
        env={"LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    assert printed.stdout.decode() == f"papermill|notebooks/n.ipynb|out.ipynb|-p|image|{value}|"
