"""The suite: its verdicts, its profiles, what it writes, and the command."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import stat
import subprocess
import sys
import time
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


def picky(text: str, with_tag: bool) -> dict[str, str | None]:
    """Refuse nested names, claim but parts of others, and what no engine can be asked for."""
    if text == "foo/bar/baz":
        raise ValueError("no")
    if text.startswith("host"):
        return {"domain": "docker.io", "path": "library/host", "tag": "5000/foo"}
    if text == "localhost/foo":
        return {"asked": "\ud800"}
    if text == "localhost:5000/foo":
        return {"asked": "localhost:5000//foo"}
    if text == "alpine":
        return {"domain": "other.example"}
    if text == "UPPER":
        return {"asked": "docker.io/kitref/UPPER"}
    return right(text, with_tag) | {"asked": "docker.io/kitref/" + text}


def panics(text: str, with_tag: bool) -> dict[str, str | None]:
    """Answer as the kit does, but die of one name where the tag is wanted."""
    if with_tag and text == BASTION.text:
        sys.exit(3)
    return right(text, with_tag)


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


def test_a_known_failure_is_that_of_one_question_and_may_be_a_crash() -> None:
    known = {f"{BASTION.id}+tag": "panics"}
    found = judged("panics", "fixed", BASTION.id, **known)
    assert [each.verdict for each in found] == ["pass", "known"]
    assert record(found, []).exit_code == 0
    plain = judged("panics", "fixed", BASTION.id, **{BASTION.id: "panics"})
    assert [each.verdict for each in plain] == ["known-passes", "crash"]


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


def case_of(text: str) -> str:
    return next(case.id for case in CASES.values() if case.text == text)


def test_a_disagreement_is_settled_live(docker: Engine) -> None:
    found = suite.settle(judged("old", "fixed", BASTION.id), docker)
    assert found[0].verdict == "fail"
    assert found[0].settled.endswith(
        "absent under docker.io/bastion.io/foo:local: this breaks for users"
    )
    harmless = suite.settle(judged("old", "fixed", case_of("foo/bar/baz")), docker)
    assert harmless[0].settled.endswith("finds the image under foo/bar/baz all the same")
    assert docker.ask("bastion.io/foo:local").outcome == "absent"


@pytest.mark.parametrize(
    ("text", "settled"),
    [
        pytest.param("foo/bar/baz", "finds the image under foo/bar/baz, which the program refuses:"
                     " this breaks for users", id="refused"),
        pytest.param("host:5000/foo", "refused under docker.io/library/host:5000/foo:"
                     " this breaks for users", id="put-together-of-parts"),
        pytest.param("localhost/foo", "not asked: no engine can be asked for half a character",
                     id="half-a-character"),
        pytest.param("localhost:5000/foo", "not asked for localhost:5000//foo: ",
                     id="an-answer-that-is-none"),
        pytest.param("alpine", "not asked: the program claims no name to ask for", id="no-name"),
        pytest.param("bastion.io/foo", "absent under docker.io/kitref/bastion.io/foo:"
                     " this breaks for users", id="absent"),
        pytest.param("UPPER", "no image can have that name; docker.io/kitref/UPPER is refused",
                     id="no-name-at-all"),
    ],
)  # fmt: skip
def test_what_settling_says(docker: Engine, text: str, settled: str) -> None:
    found = suite.settle(judged("picky", "fixed", case_of(text))[:1], docker)
    assert found[0].verdict == "fail"
    assert found[0].settled.startswith(f"{docker.title} {docker.version}: {settled}")


def test_on_a_users_engine_names_are_the_kits_own(docker: Engine) -> None:
    users = dataclasses.replace(docker, private=False)
    found = suite.settle(judged("old", "fixed", BASTION.id, case_of("foo/bar/baz")), users)
    said = [each.settled for each in found]
    assert re.search(r"absent under docker\.io/bastion\.io/kitref-\w+-foo:local: this", said[0])
    assert re.search(r"finds the image under foo/bar/kitref-\w+-baz all the same", said[-1])
    (long, _) = suite.settle(judged("picky", "fixed", "length-name-user-255"), users)
    assert re.search("not asked: .* 255", long.settled), long.settled


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
        pytest.param('{"id": ["x"], "reason": "x"}', r"2: no case is called \['x'\]", id="no-text"),
        pytest.param("[" * 100_000, "2:1: no JSON", id="deep"),
        pytest.param(json.dumps({"id": BASTION.id}), "2: expected an object", id="no-reason"),
        pytest.param(json.dumps({"id": BASTION.id, "reason": " "}), "has no reason", id="empty"),
    ],
)
def test_a_broken_list_of_known_failures(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "known.jsonl"
    file.write_text(f"\n{line}\n")
    with pytest.raises(errors.UsageError, match=complaint):
        conformance.load_known(file, CASES.keys())


def test_a_list_of_known_failures_of_any_hand(tmp_path: Path) -> None:
    file = tmp_path / "known.jsonl"
    lines = [f'{{"id": "{BASTION.id}{mark}", "reason": "a\u2028b"}}' for mark in ("", "+tag")]
    file.write_text("\ufeff" + "\r\n".join(lines), "utf-8", newline="")
    known = conformance.load_known(file, CASES.keys())
    assert known == {BASTION.id: "a\u2028b", f"{BASTION.id}+tag": "a\u2028b"}


def test_what_repeats_a_case_has_the_options_of_the_run(tmp_path: Path) -> None:
    known = tmp_path / "known.jsonl"
    known.write_text("")
    run = _conform("--known", str(known), "--seconds", "9", "--corpus", "kitref/data/corpus.jsonl",
                   "--case", BASTION.id, "--json", "--python", f"{NAME}:one_wrong")  # fmt: skip
    (case,) = json.loads(run.stdout)["cases"]
    options = f"--corpus kitref/data/corpus.jsonl --known {known} --seconds 9 --case {BASTION.id}"
    repeated = f"kitref conform --profile docker {options} --python {NAME}:one_wrong"
    assert case["repeat"] == repeated


def test_results_can_be_read_whatever_a_program_claims(tmp_path: Path) -> None:
    found = judged("picky", "fixed", case_of("localhost/foo"))[:1]
    said.write(record(found, []), tmp_path)
    (case,) = json.loads((tmp_path / "results.json").read_text())["cases"]
    assert case["given"] == {"asked": r"\ud800"}


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
        pytest.param(["--seconds", "inf", "--", "cat"], 2, "not in the range", id="seconds"),
        pytest.param(["--seconds", "nan", "--", "cat"], 2, "takes a number", id="seconds-none"),
        pytest.param(["--known", "", "--", "cat"], 2, "cannot be read", id="known"),
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
def test_what_ends_a_run_ends_the_adapter(number: signal.Signals, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hangs = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    command = [sys.executable, "-m", "kitref", "conform", "--", sys.executable, "-c", hangs]
    # Whoever runs the tests may ignore it (nohup), and what they start would, too.
    before = signal.signal(number, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        signal.signal(number, before)
        while not (pid.exists() and pid.read_text()):
            assert run.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)  # to be past the start of it
        run.send_signal(number)
        assert run.wait(30) == 128 + number
    assert not Path(f"/proc/{pid.read_text()}").exists()


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
