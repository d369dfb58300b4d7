"""What live engines answer when they are asked for a raw name."""

from __future__ import annotations

import re

import pytest

from kitref import errors, rule
from kitref.engines import Engine, private, staying
from kitref.engines.transport import NoAnswer, Response, Transport

pytestmark = pytest.mark.live

KEEPS_APART = {"graph": "found", "containerd": "absent", "podman": "absent"}
"""What a store answers for docker.io/ in front of a name that has a domain."""


def test_an_engine_says_what_it_is(engine: Engine, spec: private.Spec) -> None:
    assert (engine.kind, engine.store, engine.name) == (spec.kind, spec.store, spec.name)
    assert re.match(r"\d+\.\d+\.\d+", engine.version)
    assert re.fullmatch(r"\d\.\d+", engine.api_version)
    assert engine.source.startswith(("debian ", "ubuntu "))
    assert engine.private


def test_the_bug_and_its_mend(engine: Engine) -> None:
    image = "bastion.io/alpine:latest"
    with staying(engine) as guest:
        image_id = guest.image(tagged_as=image)
        old = guest.lookup(rule("9bb26e4c3"), image)
        new = guest.lookup(rule("fixed"), image)
    assert (old.expansion.asked, old.outcome) == (
        "docker.io/bastion.io/alpine:latest",
        KEEPS_APART[engine.store],
    )
    assert (new.expansion.asked, new.outcome, new.image_id) == (image, "found", image_id)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        pytest.param("docker.io/localhost:5000/foo", "refused", id="port-inside-the-path"),
        pytest.param("bastion.io/UPPER", "refused", id="upper-case-path"),
        pytest.param("bastion.io/kitref-none:nowhere", "absent", id="nobody-has-it"),
        pytest.param("bastion.io//foo", "not-asked", id="the-router-cleans-the-path"),
        pytest.param("", "not-asked", id="empty"),
    ],
)
def test_outcomes(engine: Engine, name: str, outcome: str) -> None:
    assert engine.ask(name).outcome == outcome


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(Response(200, b""), id="broken-off-in-the-headers"),
        pytest.param(Response(200, b"<html>Log in</html>"), id="a-proxys-page"),
        pytest.param(Response(200, b'{"Id": ""}'), id="no-image"),
        pytest.param(Response(404, b"Cannot GET /v1.41/images/a/json"), id="no-engines-404"),
    ],
)
def test_what_no_engine_says_is_no_answer(
    docker: Engine, monkeypatch: pytest.MonkeyPatch, response: Response
) -> None:
    monkeypatch.setattr(Transport, "requests", lambda *_: [response])
    assert docker.ask("alpine").outcome == "not-asked"


def test_a_name_that_an_engine_did_not_answer_to_was_not_refused(
    docker: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transport, "requests", lambda *_: [NoAnswer("it hangs")])
    with pytest.raises(errors.EngineUnavailable, match="did not answer"):
        docker.tag_all("an ID", ["alpine"])


def test_two_images_of_a_stay_differ(engine: Engine) -> None:
    with staying(engine) as guest:
        first = guest.image(tagged_as="bastion.io/one:t")
        second = guest.image(tagged_as="bastion.io/two:t")
        assert engine.ask("bastion.io/one:t").image_id == first
        assert engine.ask("bastion.io/two:t").image_id == second
    assert first != second
    assert engine.ask("bastion.io/one:t").outcome == "absent"


def test_an_engine_that_died_was_not_asked() -> None:
    started = private.start(private.choose("private", "any"))
    private.stop(started)
    answer = started.engine.ask("alpine")
    assert (answer.outcome, answer.image_id) == ("not-asked", None)
    assert answer.detail


def test_an_old_client_is_no_evidence_about_names() -> None:
    newest = private.choose("private", "graph")
    with private.running(newest, variables={"DOCKER_MIN_API_VERSION": "1.44"}) as engine:
        if engine.min_api_version != "1.44":
            pytest.skip(f"{engine.title} {engine.version} knows no DOCKER_MIN_API_VERSION")
        answer = engine.ask("alpine", api_version="1.41")
    assert answer.outcome == "not-asked"
    assert "client version 1.41 is too old" in answer.detail
