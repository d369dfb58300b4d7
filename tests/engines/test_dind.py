"""Docker in Docker, as far as it goes where no registry has its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import docker as docker_py
import pytest

from kitref import errors
from kitref.engines import attach, dind, places

if TYPE_CHECKING:
    from kitref.engines import Engine

pytestmark = pytest.mark.live


def test_without_a_registry_it_says_so_and_leaves_nothing(docker: Engine) -> None:
    host = attach.connect(docker.url)
    client = docker_py.APIClient(base_url=docker.url, version="auto")
    before = client.images(all=True), client.containers(all=True)
    leases = dict(places.leases())
    with (
        pytest.raises(errors.EngineUnavailable, match=r"docker:26\.1\.3-dind could not be pulled"),
        dind.running(host, "26.1.3", "containerd"),
    ):
        pytest.fail("a private engine reaches no registry")
    assert (client.images(all=True), client.containers(all=True)) == before
    assert dict(places.leases()) == leases
    client.close()
    host.close()


def test_an_image_that_was_there_is_not_pulled_nor_removed(docker: Engine) -> None:
    name = "docker.io/library/docker:0.0.0-dind"
    image = docker.load("a user's image")
    docker.tag(image, name)
    host = attach.connect(docker.url)
    # It is no dind, so that its container cannot be started.
    with (
        pytest.raises(errors.EngineUnavailable, match=r"docker 0\.0\.0 could not be run"),
        dind.running(host, "0.0.0", "graph"),
    ):
        pytest.fail("there is nothing to run in it")
    assert docker.ask(name).image_id == image
    client = docker_py.APIClient(base_url=docker.url, version="auto")
    assert client.containers(all=True) == []
    client.close()
    host.close()
    docker.remove(name)
