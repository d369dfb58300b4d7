"""How each LinuxKit asks an engine: typed by hand from its source and its tags."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from kitref import errors, rules
from kitref.engines import Engine
from kitref.linuxkit import client

if TYPE_CHECKING:
    from collections.abc import Mapping


def engine(lowest: str, highest: str) -> Engine:
    """Return an engine that says which versions it takes; nobody asks it anything."""
    return Engine(
        name="e", url="unix:///e", kind="docker", version="1", api_version=highest,
        min_api_version=lowest, store="graph", arch="amd64", source="", private=True,
        _client=None,  # type: ignore[arg-type]
        _transport=None,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("release", "highest", "given", "version"),
    [
        pytest.param("nitro-cli@1.3.1", "1.51", "", "1.41", id="pinned"),
        pytest.param("nitro-cli@1.3.1", "1.40", "", "1.41", id="pinned-does-not-go-down"),
        pytest.param("nitro-cli@1.3.1", "1.51", "1.44", "1.44", id="pinned-reads-the-variable"),
        pytest.param("v1.0.1", "1.51", "", "1.43", id="its-own-highest"),
        pytest.param("v1.0.1", "1.40", "", "1.40", id="goes-down"),
        pytest.param("v1.0.1", "1.51", "1.44", "1.43", id="negotiating-reads-no-variable"),
        pytest.param("v1.8.2", "1.9", "", "1.9", id="versions-are-no-decimals"),
    ],
)
def test_the_version_it_asks_in(release: str, highest: str, given: str, version: str) -> None:
    assert client.find(release).version_for(engine("1.12", highest), given) == version


@pytest.mark.parametrize(
    ("release", "checks_arch", "always_docker", "unknown"),
    [
        pytest.param("v0.7", False, True, {"prefix", "volumes"}, id="v0.7"),
        pytest.param("v0.8", False, True, {"prefix", "volumes"}, id="v0.8"),
        pytest.param("v0.8.1", False, False, {"prefix", "volumes"}, id="v0.8.1"),
        pytest.param("v1.4.0", False, False, {"prefix", "volumes"}, id="v1.4.0"),
        pytest.param("v1.5.0", False, False, {"prefix"}, id="v1.5.0"),
        pytest.param("v1.5.1", False, False, {"prefix"}, id="v1.5.1"),
        pytest.param("v1.5.2", True, False, {"prefix"}, id="v1.5.2"),
        pytest.param("v1.8.2", True, False, {"prefix"}, id="v1.8.2"),
        pytest.param("nitro-cli@1.3.1", False, False, {"volumes"}, id="nitro-1.3.1"),
        pytest.param("nitro-cli@1.3.2", False, False, {"volumes"}, id="nitro-1.3.2"),
        pytest.param("nitro-cli@1.3.3", False, False, set(), id="nitro-1.3.3"),
        pytest.param("nitro-cli@1.3.4", True, False, set(), id="nitro-1.3.4"),
        pytest.param("nitro-cli@1.5.0", True, False, set(), id="nitro-1.5.0"),
    ],
)
def test_what_a_release_does(
    release: str, checks_arch: bool, always_docker: bool, unknown: set[str]
) -> None:
    found = client.find(release)
    assert (found.checks_arch, found.always_docker) == (checks_arch, always_docker)
    assert set(found.unknown_keys) == unknown


def test_every_release_has_a_client() -> None:
    for release in rules.releases():
        found = client.of_release(release)
        assert (found.title, found.rule.name) == (release.name, release.rule)
        assert client.find(release.name) == found


@pytest.mark.parametrize("name", ["fixed", "9bb26e4c3", "9bb26e4"])
def test_a_rule_asks_as_the_newest_release(name: str) -> None:
    newest, found = client.find("v1.8.2"), client.find(name)
    assert found.title == f"rule {rules.rule(name).name}"
    assert found.unknown_keys == {}
    same = dataclasses.replace(newest, title=found.title, rule=found.rule, unknown_keys={})
    assert found == same


@pytest.mark.parametrize("name", ["v9.9.9", "nonsense", ""])
def test_no_such_release(name: str) -> None:
    with pytest.raises(errors.UnknownRule):
        client.find(name)


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        pytest.param({}, "unix:///var/run/docker.sock", id="default"),
        pytest.param({"DOCKER_HOST": ""}, "unix:///var/run/docker.sock", id="empty"),
        pytest.param({"DOCKER_HOST": "tcp://h:2376"}, "tcp://h:2376", id="named"),
        pytest.param({"DOCKER_CONTEXT": "x"}, "unix:///var/run/docker.sock", id="no-contexts"),
        pytest.param({"CONTAINER_HOST": "unix:///p"}, "unix:///var/run/docker.sock", id="podman"),
    ],
)  # fmt: skip
def test_the_engine_that_it_asks(environment: Mapping[str, str], host: str) -> None:
    assert client.host(environment) == host


@pytest.mark.parametrize(("given", "version"), [("", ""), ("1.44", "1.44"), ("v1.44", "1.44")])
def test_docker_api_version(given: str, version: str) -> None:
    assert client.api_version({"DOCKER_API_VERSION": given}) == version


@pytest.mark.parametrize("given", ["1", "latest", "1.44.1", "1.x", "/../", "٣.٤"])
def test_docker_api_version_that_is_none(given: str) -> None:
    with pytest.raises(errors.UsageError, match="no API version"):
        client.api_version({"DOCKER_API_VERSION": given})
