"""Docker versions that the distribution lacks: ``docker:VERSION-dind`` on an attached engine.

The report's 26.1.3 and Docker 29 are had so. It needs a registry that has the image, so it is not
exercised where there is none: what is tested without one is that the image's absence is reported
and that nothing is left on the engine.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import time
from typing import TYPE_CHECKING

import docker
import requests

from kitref import errors
from kitref.engines import places
from kitref.engines.engine import LABEL, Engine, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_SECONDS = 60
_CAPABILITIES = ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "MKNOD", "DAC_READ_SEARCH"]
"""Enough for dockerd; ``--privileged`` asks for CAP_SYS_RESOURCE, which some machines lack."""


_COMMAND = [
    "--host=unix:///engine/docker.sock",
    f"--group={os.getgid()}",
    "--config-file=/engine/daemon.json",
    "--iptables=false",
    "--ip6tables=false",
    "--bridge=none",
]


def version(engine: str) -> str:
    """Return the version in ``docker:VERSION-dind``, or nothing where it is not of that form."""
    form = re.fullmatch(r"docker:([A-Za-z0-9_][A-Za-z0-9_.-]{0,122})-dind", engine)
    return form[1] if form else ""


def check_store(engine: str, store: str) -> None:
    """Refuse an image store that no Docker has.

    Raises:
        UsageError: It is neither ``graph`` nor ``containerd`` nor ``any``.
    """
    if store not in ("any", "graph", "containerd"):
        raise errors.UsageError(
            f"{engine} has no image store {store!r}", remedy="take graph or containerd"
        )


@contextlib.contextmanager
def running(host: Engine, release: str, store: Store) -> Iterator[Engine]:
    """Run a Docker of any version in a container of an attached engine.

    The container has no network, is removed when it ends, and its engine listens on a unix socket
    in a folder of this machine that only the user can enter: the attached engine must be on this
    machine too.

    Args:
        host: The engine to run it on.
        release: The version in the image's tag, ``26.1.3``.
        store: ``graph`` or ``containerd``.

    Yields:
        The engine in the container.

    Raises:
        EngineUnavailable: The image could not be pulled, or the engine did not start.
    """
    image, name = f"docker.io/library/docker:{release}-dind", f"kitref-{secrets.token_hex(6)}"
    client = docker.APIClient(base_url=host.url, version="auto")
    folder = places.temporary()
    lease = places.Lease.take(
        {"kind": "dind", "url": host.url, "container": name, "image": None, "folder": str(folder)}
    )
    try:
        _pull(client, host, image, lease)
        features = {"features": {"containerd-snapshotter": store == "containerd"}}
        (folder / "daemon.json").write_text(json.dumps(features))
        client.start(_create(client, image, name, folder.as_posix()))
        engine = _wait(f"unix://{folder}/docker.sock", release, host)
        with contextlib.closing(engine):
            yield engine
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise errors.EngineUnavailable(
            f"docker {release} could not be run on {host.title} ({error})"
        ) from error
    finally:
        client.close()
        places.discard(folder)
        if remove(host, lease):
            lease.end()
        else:
            lease.let_go()  # the next start tries again


def remove(host: Engine, lease: places.Lease) -> bool:
    """Remove what a lease says was made on the attached engine; nothing there is no error.

    Returns:
        Whether all of it is gone; not so where the engine is.
    """
    client = docker.APIClient(base_url=host.url, version=host.api_version)
    try:
        with contextlib.suppress(docker.errors.NotFound):
            client.remove_container(lease.content["container"], v=True, force=True)
        if lease.content["image"]:
            host.remove(lease.content["image"])
    except (docker.errors.DockerException, requests.RequestException, errors.EngineUnavailable):
        return False
    finally:
        client.close()
    return True


def _pull(client: docker.APIClient, host: Engine, image: str, lease: places.Lease) -> None:
    """Pull the image if the engine does not have it; one that was there is not ours to remove."""
    if host.ask(image).outcome == "found":
        return
    lease.write(lease.content | {"image": image})
    try:
        for line in client.pull(image, stream=True, decode=True):
            if "error" in line:
                raise errors.EngineUnavailable(f"{image} could not be pulled ({line['error']})")
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise errors.EngineUnavailable(
            f"{image} could not be pulled ({getattr(error, 'explanation', None) or error})",
            remedy="check the version, and that the engine reaches the registry",
        ) from error


def _create(client: docker.APIClient, image: str, name: str, folder: str) -> str:
    """Create the container and return its ID."""
    container = client.create_container(
        image,
        name=name,
        labels={LABEL: name},
        entrypoint="dockerd",
        command=_COMMAND,
        volumes=["/var/lib/docker", "/engine"],
        host_config=client.create_host_config(
            auto_remove=True,
            binds=[f"{folder}:/engine"],
            cap_add=_CAPABILITIES,
            network_mode="none",
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        ),
    )
    return str(container["Id"])


def _wait(url: str, release: str, host: Engine) -> Engine:
    """Return the engine in the container once it answers."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return Engine.connect(
                url,
                name=f"docker-{release}",
                source=f"docker:{release}-dind on {host.name}",
                private=True,
            )
        except errors.EngineUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
