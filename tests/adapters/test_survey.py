"""The adapters: what the quick ones answer is what is recorded, and a wrong answer is seen.

All of them are run where KITREF_ADAPTERS=all; some take long to fetch.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from adapters.build import Adapter, Built, adapters, build
from adapters.survey import differing, find, survey
from kitref import conformance, corpus, errors

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL = adapters()
CASES = corpus.load()
RECORDED = {each["name"]: each for each in conformance.load_record()["implementations"]}

each_adapter = pytest.mark.parametrize("adapter", ALL, ids=lambda adapter: adapter.name)

# What an adapter answers to all cases, once for all tests.
answered = functools.cache(survey)

# Passes an adapter's lines on, but for the answers that it replaces.
MEDDLER = """
import json, subprocess, sys
names, answer, *command = sys.argv[1:]
questions = sys.stdin.readlines()
run = subprocess.run(command, input="".join(questions), stdout=subprocess.PIPE, text=True)
for question, line in zip(questions, run.stdout.splitlines(), strict=True):
    print(answer if json.loads(question)["id"] in names.split() else line)
"""
WRONG = json.dumps({"domain": "wrong.example", "path": "x", "tag": "x", "asked": "wrong.example/x"})


def built(adapter: Adapter) -> Built:
    if not adapter.quick and os.environ.get("KITREF_ADAPTERS") != "all":
        pytest.skip("not quick: set KITREF_ADAPTERS=all")
    try:
        return build(adapter)
    except errors.EngineUnavailable as error:
        pytest.skip(str(error))


def test_the_record_is_of_the_corpus_and_of_every_adapter() -> None:
    assert conformance.load_record()["cases"] == len(CASES)
    assert list(RECORDED) == [adapter.name for adapter in ALL]
    for adapter in ALL:
        recorded = RECORDED[adapter.name]
        assert recorded["skipped"] is None
        assert (recorded["profile"], recorded["project"]) == (adapter.profile, adapter.project)
        assert sum(recorded["verdicts"].values()) == len(CASES)


def test_there_are_six_independent_implementations_in_three_languages() -> None:
    others = [adapter for adapter in ALL if not adapter.defines]
    assert len(others) >= 6
    assert len({adapter.language for adapter in others}) >= 3


@each_adapter
def test_what_defines_a_profile_passes_all_of_it(adapter: Adapter) -> None:
    assert (set(RECORDED[adapter.name]["verdicts"]) == {"pass"}) == adapter.defines


def changed(found: Mapping[str, str], recorded: Mapping[str, str]) -> dict[str, object]:
    """Return what is answered otherwise than recorded, by case.

    How many texts one that hangs has no answer to depends on the machine.
    """
    if "time-out" in recorded.values():
        hung = {case for each in (found, recorded) for case in each if each[case] == "time-out"}
    else:
        hung = set()
    return {
        case: (recorded.get(case, "pass"), found.get(case, "pass"))
        for case in (found.keys() | recorded.keys()) - hung
        if found.get(case) != recorded.get(case)
    }


def record_of(adapter: Adapter) -> dict[str, str]:
    made = built(adapter)
    recorded = RECORDED[adapter.name]
    if made.version != recorded["version"]:  # Debian's move within a suite
        pytest.skip(f"{made.version} is here, and {recorded['version']} recorded")
    answers: dict[str, str] = recorded["answers"]
    return answers


@each_adapter
def test_an_adapter_answers_what_is_recorded(adapter: Adapter) -> None:
    recorded = record_of(adapter)
    assert changed(answered(adapter, CASES, silent).answers, recorded) == {}


@each_adapter
def test_one_wrong_answer_is_caught_and_named(adapter: Adapter) -> None:
    recorded = record_of(adapter)
    profile = conformance.profile(adapter.profile)
    expected = {case.id: profile.expect(case, False) for case in CASES}
    strict = {name: each for name, each in expected.items() if each and not each.free}
    # A right answer, a wrong one that becomes another, and a refusal.
    kinds = [
        [name for name, each in strict.items() if name not in recorded and each.parts],
        [name for name in strict if recorded.get(name, "").startswith("fail")],
        [name for name, each in strict.items() if each.parts is None],
    ]
    victims = {names[0] for names in kinds if names}
    asked = [case for case in CASES if case.id in victims] + list(CASES[:10])
    command = (sys.executable, "-c", MEDDLER, " ".join(victims), WRONG, *built(adapter).command)
    meddled = conformance.conform(command, asked, profile, known={}, seconds=60)
    there = {name: recorded[name] for name in recorded if name in {case.id for case in asked}}
    assert changed(differing(meddled), there).keys() == victims


def silent(_step: str, _share: float) -> None:
    """Show no progress."""


def judged(function: str, *texts: str) -> list[conformance.Judged]:
    cases = [case for case in CASES if case.text in texts]
    command = conformance.runner.in_process(f"{__name__}:{function}")
    return conformance.conform(command, cases, conformance.profile("docker"), known={}, seconds=5)


def old(text: str, with_tag: bool) -> dict[str, str | None]:  # noqa: ARG001 - the contract's
    """Read names as LinuxKit did, and refuse one."""
    if text == "localhost:5000/foo":
        raise ValueError("no")
    return {"domain": "docker.io", "path": text.partition(":")[0]}


def test_findings_are_grouped_by_way_and_family_with_the_shortest_text() -> None:
    texts = ("bastion.io/foo", "a.b/c", "localhost:5000/foo", "user/repo", "UPPER")
    found = find(judged("old", *texts))
    assert [(each.what, each.valid, each.family, each.answers, each.text) for each in found] == [
        ("reads another domain and path", True, "domain", 2, "a.b/c"),
        ("refuses a name", True, "localhost", 1, "localhost:5000/foo"),
        ("takes what is no name", False, "upper-case", 1, "UPPER"),
    ]
    assert found[0].given == "domain=docker.io, path=a.b/c"
    assert found[0].wanted == "domain=a.b, path=c"


def test_an_adapter_that_cannot_be_had_is_skipped_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    adapter = next(each for each in ALL if each.name == "docker-py")
    found = survey(adapter, CASES, silent)
    assert "No matching distribution found for docker==" in found.skipped
    said: dict[str, Any] = found.as_json
    assert said["verdicts"] == {}
    assert found.verdicts == Counter()


PAGE = (Path(__file__).parents[2] / "docs" / "findings.md").read_text("utf-8")
SECTIONS = {each.partition("\n")[0]: each for each in PAGE.split("\n## ")[1:]}


def test_the_page_for_maintainers_has_all_that_differ_and_only_those() -> None:
    assert set(SECTIONS) == {name for name, each in RECORDED.items() if each["findings"]}


@pytest.mark.parametrize("name", SECTIONS)
def test_each_case_on_the_page_is_a_finding_of_the_record(name: str) -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+?) \|", SECTIONS[name], re.MULTILINE)
    assert rows
    profile = conformance.profile(RECORDED[name]["profile"])
    cases = {case.id: case for case in CASES}
    for case, text, gives in rows:
        said = RECORDED[name]["answers"][case]
        if text.startswith("`"):
            start, _, _ = text.strip("`").replace("\\n", "\n").partition("…")
            assert cases[case].text.startswith(start)
        if "no answer" in gives:
            assert said == "time-out"
        elif "refuses" in gives or "null" in gives:
            assert said == "fail: refused"
        elif "takes" in gives:
            expected = profile.expect(cases[case], False)
            assert (expected and expected.parts, said[:6]) == (None, "fail: ")
            assert said != "fail: refused"
        else:
            for part, value in re.findall(r"(domain|path|tag) `([^`…]+)", gives):
                assert f"{part}={value}" in said


@pytest.mark.parametrize(
    ("profile", "refuses"), [pytest.param("podman", 57, id="podman"),
                             pytest.param("containerd", 86, id="containerd")],
)  # fmt: skip
def test_the_page_says_how_many_valid_names_a_profile_has_refused(
    profile: str, refuses: int
) -> None:
    valid = [case for case in corpus.load() if case.status != "invalid"]
    expected = [conformance.profile(profile).expect(case, False) for case in valid]
    assert sum(each is not None and each.parts is None for each in expected) == refuses
    assert len(valid) == 614
    assert re.search(rf"refuses {refuses} (of the 614 valid names|that name no host)", PAGE)
    notebook = (Path(__file__).parents[2] / "notebooks" / "06-conformance.ipynb").read_text("utf-8")
    assert re.search(rf"refuses? {refuses} (of these 614 names|that name)", notebook)
