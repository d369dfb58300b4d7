"""The path of a name: containerd's parser, and on live engines every step and every end."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitref import corpus, errors, linuxkit, registry, rules
from kitref.engines import private, staying
from kitref.linuxkit import find, read
from tests.linuxkit.test_cache import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitref.engines import Engine

# What containerd's reference package 1.6.20 (Debian bookworm) prints of a text, null where it
# refuses it: texts of the corpus, the same with a change, and random ones.
PARSED = [
    json.loads(line)
    for line in Path(__file__).with_name("containerd-reference.jsonl").read_text().splitlines()
]


def printed(text: str) -> str | None:
    try:
        return read(text)
    except ValueError:
        return None


def test_read_is_what_containerd_prints() -> None:
    assert len(PARSED) > 500
    wrong = [
        (case["text"], case["printed"], said)
        for case in PARSED
        if (said := printed(case["text"])) != case["printed"]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("docker.io/library/alpine", "docker.io/library/alpine", id="no-tag"),
        pytest.param("localhost:5000/foo:t", "localhost:5000/foo:t", id="port"),
        pytest.param("a.b/c@sha256:ff", "a.b/c@sha256:ff", id="digest"),
        pytest.param("a.b/c:t@sha256:ff", "a.b/c:t@sha256:ff", id="tag-and-digest"),
        pytest.param("foo/bar/baz", "foo/bar/baz", id="the-host-is-foo"),
        pytest.param("docker.io/foo//bar", "docker.io/foo/bar", id="cleaned"),
        pytest.param("docker.io/foo:", "docker.io/foo", id="empty-tag-is-dropped"),
        pytest.param("docker.io/foo?x", "docker.io/foo", id="query-is-dropped"),
        pytest.param("docker.io/Foo Bar", "docker.io/Foo Bar", id="it-knows-no-grammar"),
        pytest.param("", None, id="no-host"),
        pytest.param("/foo", None, id="no-host-before-the-slash"),
        pytest.param("foo:latest", None, id="tag-taken-for-a-port"),
        pytest.param("https://docker.io/foo", None, id="scheme"),
    ],
)
def test_read(text: str, expected: str | None) -> None:
    assert printed(text) == expected


@given(text=st.text(max_size=30))
def test_read_ends_for_any_text(text: str) -> None:
    said = printed(text)
    assert said is None or said


@pytest.mark.parametrize("case", corpus.load(), ids=lambda case: case.id)
def test_read_leaves_a_valid_name_alone(case: corpus.Case) -> None:
    if case.status == "valid" and case.expanded:
        assert printed(case.expanded) == case.expanded


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_a_second_expansion_changes_no_valid_name(rule: rules.Rule) -> None:
    for case in corpus.load():
        if case.status != "valid":
            continue
        with contextlib.suppress(errors.InvalidReference, ValueError):
            name = read(rule.expand(case.text).asked)
            assert rule.name == "none" or read(rule.expand(name).asked) == name


# Live.


class Asked:
    """A registry that answers what it is told to, and counts; stands in for `registry.pull`."""

    def __init__(self, outcome: registry.Outcome = "login-needed") -> None:
        self.outcome: registry.Outcome = outcome
        self.names: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, asked: str) -> registry.Answer:
        """Answer."""
        with self.lock:
            self.names.append(asked)
        return registry.Answer(asked=asked, arch="amd64", outcome=self.outcome, detail="told")


def setting(
    engine: Engine | errors.KitrefError,
    release: str,
    ask: Asked | None = None,
    **options: Any,  # noqa: ANN401 - the rest of a Setting
) -> linuxkit.Setting:
    options.setdefault("arch", getattr(engine, "arch", "amd64"))
    options.setdefault("cache", Path("/nonexistent"))
    return linuxkit.Setting(client=find(release), engine=engine, registry=ask or Asked(), **options)


def outcomes(path: linuxkit.Path) -> dict[str, tuple[str, str]]:
    return {step.stage: (step.asked, step.outcome) for step in path.steps}


@pytest.mark.live
def test_the_bug_and_its_mend(docker: Engine) -> None:
    image = "bastion.io/path:local"
    with staying(docker) as guest:
        image_id = guest.image(tagged_as=image)
        old = linuxkit.follow_one(image, setting(docker, "v1.0.1"))
        new = linuxkit.follow_one(image, setting(docker, "v1.8.2"))
    asked = f"docker.io/{image}"
    assert outcomes(old) == {
        "expansion": (asked, "named"),
        "parser": (asked, "named"),
        "docker": (asked, "absent"),
        "cache": (asked, "not-asked"),
        "registry": (asked, "login-needed"),
    }
    assert (old.ends, old.asked) == ("nowhere", asked)
    assert new.ends == "engine"
    assert [step.stage for step in new.steps] == ["expansion", "parser", "docker"]
    found = new.step("docker")
    assert found is not None
    assert found.image_id == image_id
    assert f"API {min('1.50', docker.api_version, key=lambda v: float(v[2:]))}" in found.detail


@pytest.mark.live
@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"docker": False}, "only --docker asks it", id="no-docker"),
        pytest.param({"pull": True}, "--pull passes over it", id="pull"),
    ],
)
def test_a_build_that_does_not_ask_docker(
    docker: Engine, options: dict[str, bool], words: str
) -> None:
    with staying(docker) as guest:
        guest.image(tagged_as="bastion.io/path:local")
        path = linuxkit.follow_one(
            "bastion.io/path:local", setting(docker, "v1.8.2", Asked("found"), **options)
        )
    step = path.step("docker")
    assert step is not None
    assert (step.outcome, step.detail) == ("not-asked", words)
    assert path.ends == "registry"


@pytest.mark.live
def test_v0_8_asks_docker_anyway_and_takes_its_word(docker: Engine) -> None:
    with staying(docker) as guest:
        guest.image(tagged_as="foouser/path:local")
        path = linuxkit.follow_one("foouser/path:local", setting(docker, "v0.8", docker=False))
    assert path.ends == "engine"
    gone = Asked("found")
    path = linuxkit.follow_one("foouser/path:local", setting(docker, "v0.8", gone, docker=False))
    assert (path.ends, gone.names) == ("registry", ["docker.io/foouser/path:local"])
    refused = Asked("found")
    path = linuxkit.follow_one("localhost:5000/UPPER", setting(docker, "v0.8", refused))
    assert outcomes(path)["docker"][1] == "refused"
    assert (path.ends, refused.names) == ("nowhere", [])


@pytest.mark.live
@pytest.mark.parametrize(
    ("release", "ends", "wrong_arch"),
    [
        pytest.param("v1.5.1", "engine", False, id="before-the-check"),
        pytest.param("v1.5.2", "nowhere", True, id="since-the-check"),
        pytest.param("nitro-cli@1.3.3", "engine", False, id="nitro-before"),
        pytest.param("nitro-cli@1.3.4", "nowhere", True, id="nitro-since"),
    ],
)
def test_the_architecture(docker: Engine, release: str, ends: str, wrong_arch: bool) -> None:
    image = "bastion.io/path:local"
    other = "arm64" if docker.arch == "amd64" else "amd64"
    with staying(docker) as guest:
        guest.image(tagged_as=image)
        mine = linuxkit.follow_one(image, setting(docker, release))
        theirs = linuxkit.follow_one(image, setting(docker, release, arch=other))
    assert mine.ends == "engine"
    step = theirs.step("docker")
    assert step is not None
    assert (theirs.ends, step.wrong_arch) == (ends, wrong_arch)
    if wrong_arch:
        assert f"for {docker.arch}, and {other} is asked for" in step.detail


@pytest.fixture(scope="module")
def strict() -> Iterator[Engine]:
    """Return a Docker engine that takes no API version below 1.44."""
    newest = private.choose("private", "graph")
    with private.running(newest, variables={"DOCKER_MIN_API_VERSION": "1.44"}) as engine:
        if engine.min_api_version != "1.44":
            pytest.skip(f"{engine.title} {engine.version} knows no DOCKER_MIN_API_VERSION")
        yield engine


@pytest.mark.live
@pytest.mark.parametrize(
    ("release", "given", "outcome", "version"),
    [
        pytest.param("nitro-cli@1.3.1", "", "not-asked", "1.41", id="pinned"),
        pytest.param("nitro-cli@1.3.1", "1.44", "found", "1.44", id="pinned-and-the-variable"),
        pytest.param("v1.0.1", "", "not-asked", "1.43", id="negotiating-knows-no-better"),
        pytest.param("v1.0.1", "1.44", "not-asked", "1.43", id="negotiating-reads-no-variable"),
        pytest.param("v1.2.0", "", "not-asked", "1.42", id="v1.2.0"),
        pytest.param("v1.3.0", "", "found", "1.45", id="v1.3.0"),
        pytest.param("nitro-cli@1.3.3", "", "found", "1.46", id="nitro-1.3.3"),
    ],
)
def test_the_api_version(
    strict: Engine, release: str, given: str, outcome: str, version: str
) -> None:
    with staying(strict) as guest:
        guest.image(tagged_as="app:latest")
        path = linuxkit.follow_one("app:latest", setting(strict, release, api_version=given))
    step = path.step("docker")
    assert step is not None
    assert step.outcome == outcome
    assert f"API {version}: " in step.detail
    if outcome == "not-asked":
        assert f"client version {version} is too old" in step.detail
        assert path.ends == "nowhere"


@pytest.mark.live
def test_the_cache_comes_after_the_engine(docker: Engine, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "cache")
    root = layout.index(docker.arch)
    layout.name(root, "docker.io/foouser/path:local")
    ask = Asked()
    how = setting(docker, "v1.8.2", ask, cache=layout.folder)
    path = linuxkit.follow_one("foouser/path:local", how)
    assert (path.ends, path.steps[-1].image_id, ask.names) == ("cache", root["digest"], [])
    pulled = linuxkit.follow_one("foouser/path:local", dataclasses.replace(how, pull=True))
    assert (pulled.ends, ask.names) == ("nowhere", ["docker.io/foouser/path:local"])
    with staying(docker) as guest:
        guest.image(tagged_as="foouser/path:local")
        assert linuxkit.follow_one("foouser/path:local", how).ends == "engine"


@pytest.mark.live
def test_the_cache_is_asked_for_a_name_expanded_twice(docker: Engine, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "cache")
    layout.name(layout.index(docker.arch), "docker.io/foo/path")
    path = linuxkit.follow_one("foo//path", setting(docker, "v1.0.1", cache=layout.folder))
    assert outcomes(path)["docker"][0] == "foo/path"
    assert outcomes(path)["cache"] == ("docker.io/foo/path", "found")
    path = linuxkit.follow_one("a.b/%25zz", setting(docker, "v1.8.2"))
    assert outcomes(path)["cache"] == ("a.b/%zz", "refused")
    assert path.ends == "nowhere"


@pytest.mark.parametrize(
    ("release", "text", "stage"),
    [
        pytest.param("fixed", "UPPER", "expansion", id="the-fixed-rule"),
        pytest.param("v1.8.2", "a.b/%zz", "parser", id="containerds-parser"),
        pytest.param("9bb26e4c3", "a:b/c/d", "parser", id="no-port"),
    ],
)
def test_a_name_that_is_refused_asks_nobody(release: str, text: str, stage: str) -> None:
    ask = Asked()
    path = linuxkit.follow_one(text, setting(errors.EngineUnavailable("none"), release, ask))
    assert path.steps[-1].stage == stage
    assert (path.steps[-1].outcome, path.ends, ask.names) == ("refused", "nowhere", [])
    assert path.steps[-1].detail
    assert stage in str(path.steps[-1])


@pytest.mark.parametrize("text", ["alpine", "alpine:3.20", "foo/bar:t", "bastion.io/foo:local"])
def test_v0_7_looks_a_name_up_as_typed(text: str) -> None:
    path = linuxkit.follow_one(text, setting(errors.EngineUnavailable("none"), "v0.7"))
    assert path.asked == text
    assert [step.outcome for step in path.steps] == ["named", "named", "not-asked"]
    assert path.ends == "nowhere"


@pytest.mark.live
def test_an_engine_that_is_away_was_not_asked() -> None:
    started = private.start(private.choose("private", "any"))
    private.stop(started)
    for engine in (started.engine, errors.EngineUnavailable("nothing answers")):
        ask = Asked("absent")
        path = linuxkit.follow_one("foo", setting(engine, "v1.8.2", ask, arch="amd64"))
        step = path.step("docker")
        assert step is not None
        assert (step.outcome, path.ends) == ("not-asked", "nowhere")
        assert step.detail
        assert ask.names == ["docker.io/library/foo"]


@pytest.mark.live
def test_a_thousand_names_take_seconds_and_each_is_asked_once(docker: Engine) -> None:
    names = [f"bastion.io/many{number}:t" for number in range(1000)]
    ask = Asked()
    begun = time.monotonic()
    paths = linuxkit.follow([*names, *names], setting(docker, "v1.8.2", ask))
    assert time.monotonic() - begun < 30
    assert list(paths) == names
    assert {path.ends for path in paths.values()} == {"nowhere"}
    assert {outcomes(path)["docker"][1] for path in paths.values()} == {"absent"}
    assert collections.Counter(ask.names) == dict.fromkeys(names, 1)
