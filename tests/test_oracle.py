"""The oracle: the kit and the corpus agree with Go's package, and a disagreement is caught."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import json
import re
import subprocess
import sys
from importlib import resources
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from kitref import cli, corpus, errors, expand, normalize, oracle, parse, reference
from kitref.engines import packages, places
from kitref.oracle import go, texts

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [case.text for case in corpus.load()]
SEED = 20_240_619
COUNT = 50_000


@pytest.fixture(scope="session")
def built() -> oracle.Oracle:
    """Return the oracle; skip, with the reason, where it cannot be had."""
    try:
        return oracle.build()
    except errors.EngineUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an empty cache and a network that nothing comes through."""
    config = tmp_path / "apt.conf"
    config.write_text(
        'Acquire::http::Proxy "http://127.0.0.1:9"; Acquire::https::Proxy "http://127.0.0.1:9";'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def changed_corpus(folder: Path, **changes: object) -> Path:
    """Write a copy of the kit's corpus with one case changed: `bastion.io/foo:local`."""
    lines = (resources.files("kitref") / "data" / "corpus.jsonl").read_text("ascii").splitlines()
    records = map(json.loads, lines)
    changed = [r | (changes if r["text"] == "bastion.io/foo:local" else {}) for r in records]
    file = folder / "changed.jsonl"
    file.write_text("".join(f"{json.dumps(record)}\n" for record in changed), "ascii")
    return file


# The texts.


def first(count: int, seed: int = SEED) -> list[str]:
    return list(itertools.islice(texts.generate(seed, TEXTS), count))


def test_a_seed_gives_the_same_texts_with_every_python() -> None:
    assert list(itertools.islice(texts.generate(7, ["alpine", "a.b/c:1"]), 8)) == [
        "az/g9/b:.a",
        "alpib/c:1",
        "::1/bg1/1__f10__59/a1._fg1:z95g",
        "DOCKER.IO/59@sha256:df1582afe362014a0f9e552df672fdf20cda4508ca81808e40eee225714461b2",
        "[fe80::1%eth0]/1a--5gg_aa/g/foo_bar:.a",
        "foo___bar.b5.aa--5:/51f",
        "a.Bc:11",
        "a.b/c:1",
    ]


def test_a_seed_gives_the_same_texts_however_many() -> None:
    assert first(1000)[:100] == first(100)


def test_another_seed_gives_other_texts() -> None:
    assert not set(first(1000)[:10]) & set(first(10, seed=SEED + 1))


def test_no_text_comes_twice() -> None:
    assert len(set(first(20_000))) == 20_000


def valid(text: str) -> bool:
    try:
        parse(text)
    except errors.InvalidReference:
        return False
    return True


def test_the_texts_lie_on_both_sides() -> None:
    assert 0.25 < sum(map(valid, first(5000))) / 5000 < 0.75


@pytest.mark.parametrize("length", range(253, 258))
def test_there_are_paths_of_every_length_at_the_limit(length: int) -> None:
    assert any(re.fullmatch(rf"[^/]*[.:][^/]*/[a/]{{{length}}}", text) for text in first(20_000))


@pytest.mark.parametrize("letter", ["\0", "\n", " ", "\u212a", "\udcff", "[", "@", "A"], ids=ascii)
def test_there_are_texts_with(letter: str) -> None:
    assert any(letter in text for text in first(5000))


# Agreement.


@pytest.mark.live
def test_the_corpus_agrees(built: oracle.Oracle) -> None:
    result = oracle.compare(built, corpus.load(), count=0, seed=SEED)
    assert (result.cases, result.disagreements) == (len(TEXTS), ()), str(result)


@pytest.mark.live
def test_generated_texts_agree(built: oracle.Oracle) -> None:
    result = oracle.compare(built, corpus.load(), count=COUNT, seed=SEED)
    assert (result.generated, result.disagreements) == (COUNT, ()), str(result)
    assert result.valid > COUNT / 4


@pytest.mark.live
def test_it_says_what_go_says(built: oracle.Oracle) -> None:
    alpine, oddity, refused = built.ask(["alpine", "a_b.io/foo:1", "a\x85\u2028\udcff"])
    assert alpine == oracle.Answer(
        domain="docker.io",
        path="library/alpine",
        familiar="alpine",
        canonical="docker.io/library/alpine",
        tagged="docker.io/library/alpine:latest",
    )
    assert (oddity.domain, oddity.path, oddity.tag) == ("", "a_b.io/foo", "1")
    assert "must be lowercase" in (refused.refused or "")
    assert built.ask([]) == []


@pytest.mark.live
def test_the_command_says_what_was_compared(built: oracle.Oracle) -> None:
    result = CliRunner().invoke(cli.main, ["oracle", "--count", "100", "--seed", "7"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:2] == [
        f"oracle: {built.title}",
        f"corpus: {len(TEXTS)} cases compared",
    ]
    assert "generated with seed 7: 100 texts compared" in result.stdout


@pytest.mark.live
def test_the_command_draws_a_seed_and_gives_it(built: oracle.Oracle) -> None:
    drawn = [
        json.loads(CliRunner().invoke(cli.main, ["oracle", "--count", "9", "--json"]).stdout)
        for _ in range(2)
    ]
    assert drawn[0]["seed"] != drawn[1]["seed"]
    assert (drawn[0]["oracle"], drawn[0]["generated"]) == (built.title, 9)


# Disagreement.


@pytest.mark.live
@pytest.mark.parametrize(
    "changes",
    [
        # The loader lets no part differ from the canonical name.
        pytest.param({"domain": "docker.io", "canonical": "docker.io/foo:local"}, id="domain"),
        pytest.param({"path": "bar", "canonical": "bastion.io/bar:local"}, id="path"),
        pytest.param({"tag": None, "canonical": "bastion.io/foo"}, id="tag"),
        pytest.param({"familiar": "foo:local"}, id="familiar"),
        pytest.param({"expanded": "docker.io/bastion.io/foo:local"}, id="expanded"),
        pytest.param({"expanded_with_tag": "bastion.io/foo:latest"}, id="with-tag"),
    ],
)
def test_a_wrong_value_in_the_corpus_is_named(
    built: oracle.Oracle, tmp_path: Path, changes: dict[str, object]
) -> None:
    about = {
        "expanded": "what the expansion means",
        "expanded_with_tag": "what the expansion with a tag means",
    }
    file = changed_corpus(tmp_path, **changes)
    result = oracle.compare(built, corpus.load(file), count=0, seed=SEED)
    (found,) = result.disagreements  # the first of a case
    key, value = next(iter(changes.items()))
    assert (found.text, found.about, found.who) == (
        "bastion.io/foo:local", about.get(key, key), "corpus",
    )  # fmt: skip
    assert found.ours == value
    assert found.go != found.ours


@pytest.mark.live
@pytest.mark.usefixtures("built")
def test_the_command_names_the_case_and_how_to_repeat_it(tmp_path: Path) -> None:
    nothing = dict.fromkeys((
        "domain", "path", "tag", "digest", "familiar", "canonical", "expanded", "expanded_with_tag",
    ))  # fmt: skip
    file = changed_corpus(tmp_path, **nothing, status="invalid")
    case = next(case for case in corpus.load(file) if case.text == "bastion.io/foo:local")
    result = CliRunner().invoke(cli.main, ["oracle", "--corpus", str(file), "--count", "0"])
    assert result.exit_code == 1
    assert result.stdout.startswith(
        f"case {case.id}: whether it is valid\n"
        "  text    bastion.io/foo:local\n"
        "  corpus  invalid\n"
        "  go      valid\n"
        f"  repeat  kitref oracle --corpus {file} --count 0\n"
    )
    assert result.stdout.endswith("disagreements: 1\n")


def wrong_parse(text: str) -> reference.Reference:
    """Lose the port of localhost, and of nothing else."""
    parsed = parse(text)
    port = parsed.domain.startswith("localhost:")
    return parsed._replace(domain="localhost") if port else parsed


def lax_expand(text: str, with_tag: bool = False) -> str:
    """Take a component of a path that ends with a dash, as distribution/reference does not."""
    return text if text.endswith("-") else expand(text, with_tag)


def expand_as_v1_0_1(text: str, with_tag: bool = False) -> str:
    """Expand as LinuxKit did when the bug was reported."""
    name = expand(text, with_tag)
    return f"docker.io/{name}" if text.count("/") == 1 and name.startswith(text) else name


@pytest.mark.live
def test_a_wrong_parse_is_named_and_shrunk(
    built: oracle.Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "parse", wrong_parse)
    result = oracle.compare(built, corpus.load(), count=20_000, seed=SEED)
    found = result.disagreements[0]
    assert result.disagreeing > len(result.disagreements) == 10
    assert (found.who, found.about, found.ours) == ("kit", "domain", "localhost")
    assert f"disagreements: {result.disagreeing}, the first 10 shown" in str(result)
    assert len(found.shrunk) == len("localhost:5/a")


@pytest.mark.live
@pytest.mark.parametrize(
    ("wrong", "about"),
    [
        pytest.param(lax_expand, "whether expand takes it", id="takes-too-much"),
        pytest.param(expand_as_v1_0_1, "what expand's answer means", id="the-bug"),
    ],
)
def test_a_wrong_expand_is_named(
    built: oracle.Oracle, monkeypatch: pytest.MonkeyPatch, wrong: object, about: str
) -> None:
    monkeypatch.setattr(normalize, "expand", wrong)
    result = oracle.compare(built, corpus.load(), count=0, seed=SEED)
    assert about in {found.about for found in result.disagreements}


@pytest.mark.live
def test_a_generated_text_that_disagrees_can_be_had_again(
    built: oracle.Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "parse", wrong_parse)
    cases = corpus.load()[:1]
    found = oracle.compare(built, cases, count=3000, seed=7).disagreements[0]
    count = int(found.repeat.rpartition(" ")[2])
    assert found.repeat == f"kitref oracle --seed 7 --count {count}"
    assert found.where == f"generated text {count}"
    again = oracle.compare(built, cases, count=count, seed=7)
    assert again.disagreements == (found,)


@pytest.mark.live
def test_a_crash_of_the_kit_names_the_text(
    built: oracle.Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "parse", int)
    with pytest.raises(ValueError, match="invalid literal") as caught:
        oracle.compare(built, corpus.load()[:1], count=0, seed=SEED)
    assert caught.value.__notes__ == [f"the text was {TEXTS[0]!a}"]


# Where it comes from.


@pytest.mark.live
@pytest.mark.usefixtures("cut_off")
def test_where_the_suite_cannot_be_had_it_is_skipped_with_the_reason() -> None:
    if packages.catalogue()["distribution"] != "debian":
        pytest.skip("elsewhere nothing is asked for")
    result = CliRunner().invoke(cli.main, ["oracle", "--count", "1"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "skipped, as Go's distribution/reference cannot be had: trixie: apt could not fetch" in (
        result.stderr
    )
    assert not list((places.cache() / "roots").glob("*.partial"))


def test_on_another_distribution_it_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packages, "catalogue", lambda: {"distribution": "ubuntu"})
    with pytest.raises(errors.EngineUnavailable, match="it comes from debian, and this is ubuntu"):
        oracle.build()


@pytest.mark.live
def test_two_runs_at_once_build_it_once(
    built: oracle.Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tree = places.cache() / "roots" / built.tree.path.name
    tree.mkdir(parents=True)
    for path in built.tree.path.iterdir():
        if path.name != "oracle":
            (tree / path.name).symlink_to(path)
    (tree / "oracle" / f"{built.path.name}.partial" / "of a run that was killed").mkdir(
        parents=True
    )
    code = "from kitref import oracle; oracle.build(lambda step, _: print(step))"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = pool.map(
            lambda _: subprocess.run(
                [sys.executable, "-c", code], check=True, capture_output=True, text=True
            ),
            range(2),
        )
        assert sorted(run.stdout for run in runs) == ["", "building\n"]
    names = sorted(path.name for path in (tree / "oracle").iterdir())
    assert names == [built.path.name, "lock"]


@pytest.mark.live
def test_the_program_is_as_gofmt_wants_it(built: oracle.Oracle, tmp_path: Path) -> None:
    with resources.as_file(resources.files("kitref.oracle") / "main.go") as file:
        assert go.run_go(built.tree, tmp_path, "gofmt", "-l", str(file)) == ""


@pytest.mark.live
def test_a_failure_of_go_says_why(built: oracle.Oracle, tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text("package\n")
    with pytest.raises(errors.EngineUnavailable, match=r"gofmt ended with 2 \(main\.go:1:9: exp"):
        go.run_go(built.tree, tmp_path, "gofmt", "main.go")


@pytest.mark.live
def test_a_program_that_is_gone_says_so(built: oracle.Oracle, tmp_path: Path) -> None:
    gone = dataclasses.replace(built, path=tmp_path / "gone")
    with pytest.raises(errors.EngineUnavailable, match="gone could not be run"):
        gone.ask(["alpine"])


@pytest.mark.live
def test_a_text_that_is_cut_off_is_no_answer(built: oracle.Oracle) -> None:
    run = subprocess.run(
        [built.path], input=b"\0\0\0\2a", capture_output=True, check=False, timeout=60
    )
    assert (run.returncode, run.stdout) == (1, b"")
    assert run.stderr == b"oracle: a text is cut off: unexpected EOF\n"
