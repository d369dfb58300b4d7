"""Every name asked for as every rule makes it, and what the answers have to be."""

from __future__ import annotations

import dataclasses

import pytest

from kitref import RULES, errors, stores
from kitref.engines import Engine, Survey, examine_all, survey

pytestmark = pytest.mark.live

IMAGES = ("alpine:local", "user/repo", "bastion.io/foo:t", "localhost:5000/foo", "foo/bar/baz")
KEPT_APART = {"graph": False, "containerd": True, "podman": True}


@pytest.fixture(scope="module")
def answers(engine: Engine) -> Survey:
    """Return what an engine answers to a few names."""
    return survey(engine, IMAGES, list(RULES))


def test_the_answers_are_as_they_have_to_be(answers: Survey) -> None:
    (line,) = examine_all([answers])
    assert line.endswith(f"{len(answers.lookups)} look-ups as expected")
    # The three without a domain are tagged in two ways.
    assert len(answers.lookups) == (5 + 3) * len(RULES)


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
    assert answers.engine.title in str(caught.value)


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


def test_a_question_that_was_not_asked_proves_nothing(answers: Survey) -> None:
    unasked = dataclasses.replace(answers.lookups[0], outcome="not-asked", detail="timed out")
    dead = dataclasses.replace(answers, lookups=(unasked, *answers.lookups[1:]))
    with pytest.raises(errors.EngineUnavailable, match="timed out"):
        examine_all([dead])
