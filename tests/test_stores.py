"""The model of the stores, against answers that real engines gave (moby and Podman sources too)."""

from __future__ import annotations

import pytest

from kitref import stores


@pytest.mark.parametrize(
    ("kind", "store", "version", "name"),
    [
        pytest.param("docker", "graph", "20.10.24+dfsg1", "docker-graph-20", id="20.10"),
        pytest.param("docker", "graph", "26.1.5+dfsg1", "docker-graph", id="26-graph"),
        pytest.param("docker", "containerd", "28.5.2", "docker-containerd", id="28-containerd"),
        pytest.param("docker", "containerd", "99.0.0", "docker-containerd", id="newer-than-known"),
        pytest.param("podman", "podman", "4.3.1", "podman", id="podman"),
        pytest.param("docker", "graph", "unknown", "docker-graph", id="no-version"),
    ],
)
def test_classify(kind: str, store: str, version: str, name: str) -> None:
    assert stores.classify(kind, store, version).name == name


@pytest.mark.parametrize(
    ("kind", "store", "version", "said"),
    [
        pytest.param("docker", "graph", "28.5.2+dfsg1", "", id="newest-docker"),
        pytest.param("podman", "podman", "5.8.6", "", id="newest-podman"),
        pytest.param("docker", "graph", "unknown", "", id="no-version"),
        pytest.param(
            "docker", "containerd", "29.0.1",
            "newer than Docker 28, the newest whose answers are known; compared with class"
            " docker-containerd", id="docker",
        ),
        pytest.param(
            "podman", "podman", "5.10.0-dev",
            "newer than Podman 5.8, the newest whose answers are known; compared with class podman",
            id="podman-minor",
        ),
    ],
)  # fmt: skip
def test_an_engine_newer_than_any_known_is_told(
    kind: str, store: str, version: str, said: str
) -> None:
    assert stores.beyond(kind, store, version) == said


_ALL = ("docker-graph-20", "docker-graph", "docker-containerd", "podman")


@pytest.mark.parametrize(
    ("tagged_as", "asked", "outcomes"),  # a letter a class, in the order of _ALL
    [
        pytest.param("alpine:local", "docker.io/library/alpine:local", "ffff", id="official"),
        pytest.param("alpine:local", "index.docker.io/library/alpine:local", "ffff", id="old-hub"),
        pytest.param("user/repo", "docker.io/user/repo:latest", "ffff", id="latest"),
        pytest.param("bastion.io/foo", "docker.io/bastion.io/foo", "ffaa", id="the-bug"),
        pytest.param("docker.io/bastion.io/foo", "bastion.io/foo", "ffaa", id="the-bug-reversed"),
        pytest.param("localhost:5000/foo", "docker.io/localhost:5000/foo", "rrrr", id="port"),
        pytest.param("docker.io/alpine", "docker.io/docker.io/alpine", "aaaa", id="twice"),
        pytest.param("bastion.io/foo", "BASTION.IO/foo", "aaaa", id="case"),
        pytest.param("bastion.io/foo", "Bastion/foo", "raar", id="domain-by-case"),
    ],
)
def test_predict(tagged_as: str, asked: str, outcomes: str) -> None:
    predicted = [
        stores.predict(stores.CLASSES[name], tagged_as=tagged_as, asked=asked) for name in _ALL
    ]
    words = {"f": "found", "a": "absent", "r": "refused"}
    assert predicted == [words[letter] for letter in outcomes]


def test_explain_shows_the_keys() -> None:
    lines = stores.explain(
        stores.CLASSES["docker-graph"], ["a.io/b", "docker.io/a.io/b:1", "a:b:c"]
    )
    assert lines.splitlines()[:2] == [
        "a.io/b  ->  a.io/b:latest",
        "docker.io/a.io/b:1  ->  a.io/b:1",
    ]
    assert lines.splitlines()[2].startswith("a:b:c  ->  none: ")
