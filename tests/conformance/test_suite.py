"""The suite: its verdicts, its profiles, what it writes, and the command."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kitref import conformance, corpus, errors, expand, parse, rule, runs
from kitref.conformance import runner, suite
from kitref.report import conformance as said

if TYPE_CHECKING:
    from kitref.engines import Engine

CASES = {case.id: case for case in corpus.load()}
BASTION = next(case for case in CASES.values() if case.text == "bastion.io/foo:local")
NAME = "tests.conformance.test_suite"


# Adapters in Python, run as `module:function`.


def right(text: str, with_tag: bool) -> dict[str, str | None]:
    """Answer as the kit does."""
    parsed = parse(text)
    names = {"familiar": parsed.familiar, "canonical": parsed.canonical}
    return {**parsed._asdict(), **names, "asked": expand(text, with_tag)}


def old(text: str, with_tag: bool) -> str:  # noqa: ARG001 - the contract's
    """Ask as LinuxKit v1.0.1 does."""
    return rule("v1.0.1").expand(text).asked


def one_wrong(text: str, with_tag: bool) -> dict[str, str | None]:
    """Answer as the kit does, but for one name."""
    return right(text, with_tag) | ({"tag": "latest"} if text == BASTION.text else {})


def judged(function: str, profile: str, *ids: str, **known: str) -> list[conformance.Judged]:
    cases = [CASES[name] for name in ids] if ids else list(CASES.values())
    return conformance.conform(
        runner.in_process(f"{NAME}:{function}"), cases, conformance.profile(profile), known=known
    )


def test_what_is_right_passes() -> None:
    verdicts = {each.verdict for each in judged("right", "fixed")}
    assert verdicts == {"pass"}


def test_one_wrong_answer_is_caught_and_named() -> None:
    wrong = [each for each in judged("one_wrong", "docker") if each.verdict != "pass"]
    assert [each.question.id for each in wrong] == [BASTION.id]
    assert wrong[0].differences == {"tag": ("local", "latest")}


def test_containerds_own_answer_is_recorded_for_every_case() -> None:
    file = resources.files("kitref") / "data" / "containerd.json"
    assert list(json.loads(file.read_bytes())["printed"]) == list(CASES)


def test_an_old_rule_conforms_to_its_own_profile_alone() -> None:
    assert {each.verdict for each in judged("old", "linuxkit@v1.0.1")} == {"pass"}
    failing = {each.case.text for each in judged("old", "fixed") if each.verdict == "fail"}
    assert {"bastion.io/foo:local", "foo/bar/baz"} <= failing


@pytest.mark.parametrize(
    ("text", "profile", "parts"),
    [
        pytest.param("alpine", "docker", ("docker.io", "library/alpine", None), id="docker"),
        pytest.param("UPPER", "docker", None, id="docker-invalid"),
        pytest.param("com/foo", "containerd", "com/foo", id="containerd-any-host"),
        pytest.param("UPPER", "containerd", "UPPER", id="containerd-any-case"),
        pytest.param("alpine:3.19", "containerd", None, id="containerd-port"),
        pytest.param("Foo/bar", "docker", ("Foo", "bar", None), id="docker-upper-case-domain"),
        pytest.param("Foo/bar", "podman", None, id="podman-no-domain-by-case-alone"),
        pytest.param("bastion.io/foo:local", "linuxkit@v1.0.1",
                     "docker.io/bastion.io/foo:local", id="linuxkit"),
        pytest.param("bastion.io/foo:local", "linuxkit@v1.3.0", "bastion.io/foo:local", id="its"),
    ],
)  # fmt: skip
def test_what_a_profile_expects(text: str, profile: str, parts: Any) -> None:  # noqa: ANN401
    case = next((case for case in CASES.values() if case.text == text), None)
    assert case is not None
    expected = conformance.profile(profile).expect(case, False)
    assert expected is not None
    if parts is None or expected.parts is None:
        assert (expected.parts, parts) == (None, None)
    elif isinstance(parts, str):
        assert expected.parts == {"asked": parts}
    else:
        assert tuple(expected.parts[name] for name in ("domain", "path", "tag")) == parts


def test_a_known_failure_and_one_that_passes() -> None:
    found = judged("one_wrong", "docker", BASTION.id, **{BASTION.id: "old"})
    assert (found[0].verdict, found[0].reason) == ("known", "old")
    passes = judged("right", "docker", BASTION.id, **{BASTION.id: "old"})
    assert passes[0].verdict == "known-passes"


def test_who_claims_nothing_has_shown_nothing() -> None:
    nothing = [sys.executable, "-c", "import sys\nfor _ in sys.stdin: print('{}', flush=True)"]
    profile = conformance.profile("docker")
    found = conformance.conform(nothing, [BASTION], profile, known={})
    assert [each.verdict for each in found] == ["not-claimed"]
    assert record(found, nothing).exit_code == 1


def record(found: list[conformance.Judged], command: list[str]) -> conformance.Conformance:
    return conformance.Conformance(
        command=command,
        profile=conformance.profile("docker"),
        judged=found,
        start=runs.now(),
        end=runs.now(),
    )


def test_a_disagreement_is_settled_live(docker: Engine) -> None:
    found = suite.settle(judged("old", "fixed", BASTION.id), docker)
    assert found[0].verdict == "fail"
    assert found[0].settled.endswith(
        "absent under docker.io/bastion.io/foo:local: this breaks for users"
    )
    nested = next(case for case in CASES.values() if case.text == "foo/bar/baz")
    harmless = suite.settle(judged("old", "fixed", nested.id), docker)
    assert harmless[0].settled.endswith("finds the image under foo/bar/baz all the same")
    assert docker.ask("bastion.io/foo:local").outcome == "absent"


def test_what_is_written(tmp_path: Path) -> None:
    found = judged("one_wrong", "docker", BASTION.id)
    command = runner.in_process(f"{NAME}:one_wrong")
    said.write(record(found, command), tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["exit_code"], results["counts"]) == (1, {"fail": 1})
    (case,) = results["cases"]
    assert case["differences"] == ["tag"]
    repeated = f"kitref conform --profile docker --case {BASTION.id} --python {NAME}:one_wrong"
    assert case["repeat"] == repeated
    root = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - of our own making
    assert (root.get("tests"), root.get("failures")) == ("1", "1")
    failure = root.find(".//failure")
    assert failure is not None
    assert repeated in (failure.text or "")
    assert BASTION.source in (failure.text or "")
    page = (tmp_path / "report.html").read_text()
    assert "bastion.io/foo:local" in page
    assert "http" not in page.partition("<body>")[0].replace("http-equiv", "")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        pytest.param("{", r"known\.jsonl:2:\d+: no JSON", id="json"),
        pytest.param('{"id": "nobody", "reason": "x"}', "2: no case is called 'nobody'", id="id"),
        pytest.param(json.dumps({"id": BASTION.id}), "2: expected an object", id="no-reason"),
        pytest.param(json.dumps({"id": BASTION.id, "reason": " "}), "has no reason", id="empty"),
    ],
)
def test_a_broken_list_of_known_failures(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "known.jsonl"
    file.write_text(f"\n{line}\n")
    with pytest.raises(errors.UsageError, match=complaint):
        conformance.load_known(file, CASES.keys())


def _conform(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kitref", "conform", *arguments],
        check=False, capture_output=True, text=True, timeout=120,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "exit_code", "shows"),
    [
        pytest.param(["--python", f"{NAME}:right", "--family", "ipv6"], 0, "pass", id="good"),
        pytest.param(["--python", f"{NAME}:old", "--profile", "fixed", "--case", BASTION.id], 1,
                     "expected: asked=bastion.io/foo:local", id="bad"),
        pytest.param([], 2, "give a command", id="no-command"),
        pytest.param(["--profile", "x", "--", "cat"], 2, "no profile 'x'", id="profile"),
        pytest.param(["--case", "x", "--", "cat"], 2, "no 'x' in the corpus", id="case"),
        pytest.param(["--output", "docs", "--", "/nowhere/adapter"], 2, "not the folder of a run",
                     id="output"),
        pytest.param(["--", "/nowhere/adapter"], 2, "cannot be started", id="no-such-command"),
        pytest.param(["--case", BASTION.id, "--", "false"], 4, "crash", id="crash"),
        pytest.param(["--python", "nowhere:f"], 2, "No module named 'nowhere'", id="module"),
        pytest.param(["--python", "kitref:nosuch"], 2, "no attribute 'nosuch'", id="function"),
    ],
)  # fmt: skip
def test_the_command(arguments: list[str], exit_code: int, shows: str) -> None:
    run = _conform(*arguments)
    assert run.returncode == exit_code, run.stderr
    assert shows in run.stdout + run.stderr
    assert run.stderr.count("kitref: crashed") == 0


def test_an_adapter_in_shell_from_the_page_works(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text()
    for language, name, exit_code in (("sh", "adapter.sh", 1), ("python", "adapter.py", 0)):
        code = page.partition(f"```{language}\n")[2].partition("```")[0]
        file = tmp_path / name
        file.write_text(code)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        command = [sys.executable, str(file)] if language == "python" else [str(file)]
        run = _conform(
            "--profile",
            "fixed",
            "--family",
            "domain",
            "--family",
            "nested",
            "--json",
            "--",
            *command,
        )
        assert run.returncode == exit_code, run.stdout[-500:] + run.stderr
        verdicts = {case["verdict"] for case in json.loads(run.stdout)["cases"]}
        assert "pass" in verdicts
        assert not verdicts & {"malformed", "missing", "crash"}
