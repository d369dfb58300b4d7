"""A guest leaves an engine exactly as it was."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import docker as docker_py
import pytest

from kitref import errors
from kitref.engines import Engine, attach, staying, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live

INTRUDER = """
import sys, time
from kitref.engines import attach, staying
live = attach.connect(sys.argv[1])
with staying(live) as guest:
    guest.image(tagged_as="bastion.io/alpine:latest")
    guest.engine.load(guest.lease.content["runs"][0])  # as if killed between loading and tagging
    print(flush=True)
    time.sleep(600)
"""


def _state(engine: Engine) -> tuple[list[str], list[object]]:
    client = docker_py.APIClient(base_url=engine.url, version="auto")
    images = [
        {key: image.get(key) for key in ("Id", "RepoTags", "RepoDigests", "Labels")}
        for image in client.images(all=True)
    ]
    containers = client.containers(all=True)
    client.close()
    return sorted(json.dumps(image, sort_keys=True) for image in images), containers


@pytest.fixture
def room(engine: Engine) -> Iterator[Engine]:
    """Return an engine as a user's own, with an image and names that are the user's."""
    image = engine.load("a user's image")
    for name in ("bastion.io/alpine:latest", "alpine:latest"):
        engine.tag(image, name)
    own = attach.connect(engine.url)
    yield own
    own.close()
    for name in ("bastion.io/alpine:latest", "alpine:latest"):
        engine.remove(name)


def test_nothing_changes(room: Engine) -> None:
    before = _state(room)
    assert len(before[0]) == 1
    with staying(room) as stay:
        image_id = stay.image(tagged_as="bastion.io/alpine:latest")
        name = stay.own("bastion.io/alpine:latest")
        assert room.ask(name).image_id == image_id
        assert _state(room) != before
    assert _state(room) == before


def test_nothing_changes_after_an_exception(room: Engine) -> None:
    before = _state(room)

    def be_interrupted() -> None:
        with staying(room) as stay:
            stay.image(tagged_as="bastion.io/alpine:latest")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert _state(room) == before


def test_what_the_engine_does_after_an_exception_goes_at_the_next_start(room: Engine) -> None:
    before = _state(room)
    with contextlib.suppress(KeyboardInterrupt), staying(room) as stay:
        stay.image(tagged_as="bastion.io/alpine:latest")
        raise KeyboardInterrupt
    assert _state(room) == before
    late = room.load(stay.lease.content["runs"][0])
    room.tag(late, stay.own("bastion.io/alpine:latest"))
    assert _state(room) != before
    sweep()
    assert _state(room) == before


def test_nothing_changes_after_a_kill_and_the_next_start(room: Engine) -> None:
    before = _state(room)
    with subprocess.Popen(
        [sys.executable, "-c", INTRUDER, room.url], stdout=subprocess.PIPE
    ) as intruder:
        assert intruder.stdout is not None
        intruder.stdout.readline()
        assert _state(room) != before
        intruder.send_signal(signal.SIGKILL)
    sweep()
    assert _state(room) == before


def test_a_name_of_the_users_is_not_given_away(room: Engine) -> None:
    with staying(room) as stay:
        image = stay.image(tagged_as="alpine")
        with pytest.raises(errors.UsageError, match="not the kit's"):
            stay.tag(image, "bastion.io/alpine:latest")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param("alpine", "kitref-{}-alpine", id="bare"),
        pytest.param("user/repo:1", "user/kitref-{}-repo:1", id="user"),
        pytest.param("localhost:5000/a/b", "localhost:5000/a/kitref-{}-b", id="port"),
    ],
)
def test_a_name_keeps_its_shape_on_a_users_engine(docker: Engine, name: str, shape: str) -> None:
    own = attach.connect(docker.url)
    with staying(own) as stay:
        assert stay.own(name) == shape.format(stay.run)
    own.close()
    with staying(docker) as stay:
        assert stay.own(name) == name
