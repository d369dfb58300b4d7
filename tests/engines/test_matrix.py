"""Every name asked for as every rule makes it, and what the answers have to be."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from typing import TYPE_CHECKING

import pytest
from docker import APIClient

from kitref import RULES, errors, stores
from kitref.engines import RUNNING, Engine, Survey, examine_all, matrix, staying, survey, survey_all

if TYPE_CHECKING:
    import pathlib

pytestmark = pytest.mark.live

IMAGES = ("alpine:local", "user/repo", "bastion.io/foo:t", "localhost:5000/foo", "foo/bar/baz")
KEPT_APART = {"graph": False, "containerd": True, "podman": True}


TRANSPORTS = ("sha256:", "dir:", "docker-archive:", "oci:", "oci-archive:", "sif:")


@pytest.fixture(scope="module")
def answers(engine: Engine) -> Survey:
    """Return what an engine answers to a few names."""
    return survey(engine, IMAGES, list(RULES))


def test_the_answers_are_as_they_have_to_be(answers: Survey) -> None:
    (line,) = examine_all([answers])
    assert line.endswith(f"{len(answers.lookups)} look-ups as expected")
    # Each is tagged in two ways, but for the one that is written in full; the six that may be a
    # transport's are asked for besides, and Docker puts `sha256` on no image.
    rounds = 5 * 2 - 1 + 6 * 2 - (answers.engine.kind == "docker")
    assert len(answers.lookups) == rounds * len(RULES)


def test_two_names_collide_in_a_graph_store_alone(answers: Survey) -> None:
    assert answers.collision.kept_apart is KEPT_APART[answers.engine.store]


def test_a_wrong_model_is_found(answers: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    behaviour = stores.classify(answers.engine.kind, answers.engine.store, answers.engine.version)
    graph = answers.engine.store == "graph"
    other = stores.CLASSES["docker-containerd" if graph else "docker-graph"]
    wrong = dataclasses.replace(behaviour, key=other.key)
    monkeypatch.setattr(stores, "classify", lambda *_: wrong)
    with pytest.raises(errors.Finding, match="the model says") as caught:
        examine_all([answers])
    lines = str(caught.value).splitlines()
    assert all(answers.engine.title in line for line in lines[:10])
    assert lines[10:] == ([f"and {lines[10].split()[1]} more"] if len(lines) > 10 else [])


def test_a_model_in_which_no_tag_is_not_latest_is_found(
    answers: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "_tagged", lambda form, _reference: form)
    with pytest.raises(errors.Finding, match=r"tagged \S+:latest: \S+: the model says absent"):
        examine_all([answers])


def test_a_model_of_podman_that_forgets_a_transport_is_found(
    answers: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answers.engine.kind == "docker":
        pytest.skip("to Docker these are names")
    for transport in TRANSPORTS:
        others = re.compile("|".join(other for other in TRANSPORTS if other != transport))
        wrong = dataclasses.replace(stores.CLASSES["podman"], refused=others)
        monkeypatch.setattr(stores, "classify", lambda *_, wrong=wrong: wrong)
        with pytest.raises(errors.Finding, match=rf"tagged \S+: {transport}\S+: the model says"):
            examine_all([answers])


def test_podman_keeps_its_own_short_names_apart(answers: Survey) -> None:
    if answers.engine.kind == "docker":
        assert answers.short_names == {}
        return
    through_api, by_podman, unenforced = answers.short_names
    assert unenforced == "through the API, compat_api_enforce_docker_hub=false"
    wrong = answers.short_names | {by_podman: answers.short_names[through_api]}
    with pytest.raises(errors.Finding, match=r"foo:t, tagged by Podman's own command"):
        examine_all([dataclasses.replace(answers, short_names=wrong)])


def test_podmans_own_command_tags_a_short_name_under_localhost(engine: Engine) -> None:
    if engine.kind == "docker":
        pytest.skip("Docker has no short names of its own")
    with staying(engine) as guest:
        image = guest.image(tagged_as=stores.NOBODY)
        # What `podman tag` asks the service for.
        with contextlib.closing(APIClient(base_url=engine.url, version="1.40")) as client:
            tag = f"{client.base_url}/v4.0.0/libpod/images/{image}/tag"
            assert client.post(tag, params={"repo": "foo", "tag": "t"}).status_code == 201
        assert "localhost/foo:t" in engine.names()
        guest.untag("localhost/foo:t")


def test_an_old_rule_in_place_of_the_fixed_one_is_found(answers: Survey) -> None:
    if answers.engine.store == "graph":
        pytest.skip("a graph store forgives it")
    old = {(x.image, x.tagged_as): x for x in answers.lookups if x.expansion.rule == "9bb26e4c3"}
    swapped = tuple(
        dataclasses.replace(
            old[x.image, x.tagged_as],
            expansion=old[x.image, x.tagged_as].expansion._replace(rule="fixed"),
        )
        if x.expansion.rule == "fixed"
        else x
        for x in answers.lookups
    )
    with pytest.raises(errors.Finding, match=r"rule fixed, tagged \S*bastion\.io/foo:t"):
        examine_all([dataclasses.replace(answers, lookups=swapped)])


def test_names_are_told_the_same_together_and_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where one could be taken for another, it is: by familiar form, by default, by search registry.
    images = [
        "alpine", "alpine:latest", "docker.io/alpine", "library/alpine", "localhost/alpine",
        "bastion.io/alpine:local", "docker.io/bastion.io/alpine:local", "alpine:local", "alpine:t",
        "foo", "user/foo", "localhost:5000/foo", "Foo/bar", "cafe", "e/f/g", "index.docker.io/f/g",
    ]  # fmt: skip
    assert len(matrix.apart(images)) < len(images) / 2
    together = matrix.ask_all(engine, images, list(RULES))[1]
    monkeypatch.setattr(matrix, "apart", lambda images: [[image] for image in images])
    alone = matrix.ask_all(engine, images, list(RULES))[1]
    said = [
        [(each.image, each.tagged_as, each.expansion, each.outcome) for each in some]
        for some in (together, alone)
    ]
    assert len(said[0]) >= len(images) * len(RULES)
    assert {outcome for *_, outcome in said[0]} >= {"found", "absent"}
    assert said[0] == said[1]


def test_names_that_could_be_taken_for_each_other_are_apart() -> None:
    images = ["foo", "docker.io/foo", "foo:t", "a/foo", "bar", "x.y/foo:latest", "x.y:1/bar"]
    assert matrix.apart(images) == [
        ["foo", "foo:t", "bar"], ["docker.io/foo", "x.y:1/bar"], ["a/foo"], ["x.y/foo:latest"],
    ]  # fmt: skip
    many = [f"foo/n{number}" for number in range(70)]
    assert [len(group) for group in matrix.apart(many)] == [32, 32, 6]


def test_an_engine_that_is_gone_takes_no_answers_of_others_with_it(
    docker: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    here = {"url": docker.url, "name": docker.name, "source": docker.source}
    gone = here | {"url": f"unix://{tmp_path}/gone.sock"}
    running = tmp_path / "engines.json"
    monkeypatch.setenv(RUNNING, f"{running}")
    running.write_text(json.dumps({"gone/graph": gone, "here/containerd": here}))
    (answered,), (lost,) = survey_all("all", IMAGES, list(RULES))
    assert len(answered.lookups) > len(RULES)
    assert "gone.sock" in str(lost)
    running.write_text(json.dumps({"gone/graph": gone}))
    with pytest.raises(errors.EngineUnavailable, match=r"gone\.sock"):
        survey_all("all", IMAGES, list(RULES))


def test_a_question_that_was_not_asked_proves_nothing(answers: Survey) -> None:
    unasked = dataclasses.replace(answers.lookups[0], outcome="not-asked", detail="timed out")
    dead = dataclasses.replace(answers, lookups=(unasked, *answers.lookups[1:]))
    with pytest.raises(errors.EngineUnavailable, match="timed out"):
        examine_all([dead])
