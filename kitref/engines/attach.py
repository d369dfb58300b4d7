"""The user's own engine: where the docker and podman commands would look for it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import docker.context
import docker.tls
from docker import utils

from kitref import errors
from kitref.engines import tunnel
from kitref.engines.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker.tls import TLSConfig


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an engine may be: its URL, how that came about, and certificates if it needs them."""

    url: str
    origin: str
    tls: TLSConfig | None = None


def connect(url: str, tls: TLSConfig | None = None) -> Engine:
    """Connect to the engine at a URL.

    Args:
        url: As in DOCKER_HOST. With DOCKER_TLS_VERIFY and DOCKER_CERT_PATH set, a ``tcp://``
            address is spoken to over TLS, as the docker command does.
        tls: The client's certificates, where they are known otherwise.

    Returns:
        The engine.

    Raises:
        EngineUnavailable: Nothing answers there.
        EngineAddressError: This is no engine's address.
    """
    check(url)
    return Engine.connect(
        url,
        name=_name(url),
        source="attached: named by the user",
        private=False,
        tls=tls or _tls(url),
    )


def check(url: str) -> None:
    """Refuse a text that is no engine's address; nothing is asked.

    Raises:
        EngineAddressError: It is none.
    """
    if url.startswith("ssh://"):
        tunnel.command(url)
        return
    try:
        utils.parse_host(url)
    except (docker.errors.DockerException, ValueError) as error:
        raise errors.EngineAddressError(
            f"{url!r} is no engine's address ({error})",
            remedy="write it as in DOCKER_HOST: unix:///var/run/docker.sock, tcp://HOST:PORT or"
            " ssh://USER@HOST",
        ) from error


def find() -> Engine:
    """Connect to the user's own engine, the first that answers of `addresses`.

    Raises:
        EngineUnavailable: None answers; says where it was looked for.
    """
    tried = []
    for address in addresses():
        try:
            return Engine.connect(
                address.url,
                name=_name(address.url),
                source=f"attached: {address.origin}",
                private=False,
                tls=address.tls,
            )
        except errors.EngineUnavailable as error:
            tried.append(f"{address.origin}: {error.what}")
            if not address.origin.startswith("socket"):
                break  # the user named this one; another would be a surprise
    raise errors.EngineUnavailable(
        "no engine of your own answers "
        f"({'; '.join(tried) or 'there is no DOCKER_HOST, no context and no socket'})",
        remedy="set DOCKER_HOST, or leave --engine out for private engines",
    )


def addresses() -> Iterator[Address]:
    """Yield where the user's engine may be, in the order of the docker command.

    DOCKER_HOST, then the docker command's current context (DOCKER_CONTEXT or its configuration),
    then CONTAINER_HOST of Podman, then the sockets that exist where engines put them.

    Raises:
        UsageError: The current context is none, or cannot be read.
    """
    if host := os.environ.get("DOCKER_HOST"):
        yield Address(url=host, origin="DOCKER_HOST", tls=_tls(host))
        return
    context = _context(os.environ.get("DOCKER_CONTEXT", ""))
    if context is not None and context.name != "default" and context.Host:
        yield Address(
            url=context.Host, origin=f"docker context {context.name}", tls=context.TLSConfig
        )
        return
    if host := os.environ.get("CONTAINER_HOST"):
        yield Address(url=host, origin="CONTAINER_HOST")
        return
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    home = Path.home()
    for socket in (
        Path("/var/run/docker.sock"),
        Path(runtime) / "docker.sock",
        home / ".docker/run/docker.sock",
        home / ".docker/desktop/docker.sock",
        home / ".colima/default/docker.sock",
        Path(runtime) / "podman/podman.sock",
        Path("/run/podman/podman.sock"),
    ):
        if socket.is_socket():
            yield Address(url=f"unix://{socket}", origin=f"socket {socket}")


def _context(named: str) -> docker.context.Context | None:
    """Return the context of a name; without one, that of Docker's configuration."""
    try:
        context = docker.context.ContextAPI.get_context(named or None)
    except Exception as error:  # Docker's client raises no better one itself
        raise errors.UsageError(
            f"Docker's configuration names no context that can be read ({error})",
            remedy="see `docker context ls`",
        ) from error
    if named and context is None:
        raise errors.UsageError(
            f"DOCKER_CONTEXT is {named!r}, and there is no such context",
            remedy="see `docker context ls`",
        )
    return context


def _tls(url: str) -> TLSConfig | None:
    """Return the certificates that the docker command would use for a TCP address."""
    if not url.startswith("tcp://"):
        return None
    try:
        found: TLSConfig | None = utils.kwargs_from_env(
            environment=os.environ | {"DOCKER_HOST": url}
        ).get("tls")
    except docker.errors.TLSParameterError as error:
        folder = os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker"
        raise errors.EngineUnavailable(
            f"DOCKER_TLS_VERIFY asks for TLS to {url}, and {folder} has not all of ca.pem, cert.pem"
            " and key.pem",
            remedy="set DOCKER_CERT_PATH, or unset DOCKER_TLS_VERIFY",
        ) from error
    return found or None


def _name(url: str) -> str:
    """Return what to call an engine of the user's: by its socket or host, without folders."""
    return "own-" + url.rstrip("/").rpartition("/")[2].rpartition("@")[2].removesuffix(".sock")
