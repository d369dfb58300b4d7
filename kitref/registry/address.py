"""Where a pull of a name goes: the host, the repository and the reference, apart.

LinuxKit has pulled with the Go library go-containerregistry since 0.8.1, so what counts is how
*that* library reads a name (`pkg/name` there, `ParseReference` without options). It is more lenient
than distribution/reference, and it differs from it in one place that matters: a first part is a
host only if it has a `.` or a `:`. `localhost/foo` and `foo/bar/baz` are names on Docker Hub to it.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from kitref import errors
from kitref.reference import DOCKER_HUB

HUB_ADDRESS: Final = "index.docker.io"
"""Where go-containerregistry finds the host `docker.io` (`DefaultRegistry` there)."""

_REPOSITORY: Final = re.compile(r"[a-z0-9_./-]{2,255}")
_TAG: Final = re.compile(r"[A-Za-z0-9_.-]{1,127}")
_DIGEST: Final = re.compile(r"sha256:[a-f0-9]{64}")
_FORM: Final = "a pull needs HOST/PATH[:TAG][@DIGEST]"
# `Scheme` in registry.go: the hosts that may be without TLS.
_LOCAL: Final = re.compile(
    r"(.*\.)?localhost(:\d{1,5})?|127\.0\.0\.1(:\d{1,5})?|\[::1\](:\d{1,5})?"
)
_PRIVATE: Final = tuple(
    map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))  # RFC 1918
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a pull of a name goes.

    Attributes:
        host: The host as the name has it, `docker.io` where it has none.
        address: The host that is asked, `index.docker.io` for `docker.io`.
        repository: The repository on that host.
        reference: A tag or, where the name has one, the digest.
    """

    host: str
    address: str
    repository: str
    reference: str


def locate(asked: str) -> Place:
    """Read a name as LinuxKit's registry library does.

    Args:
        asked: The expanded name.

    Returns:
        Where its pull goes.

    Raises:
        errors.Unpullable: It is no name to that library.
    """
    base, at, digest = asked.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise errors.Unpullable(f"{_shown(asked)} has no valid digest after '@'", remedy=_FORM)
    name, colon, tag = base.rpartition(":")
    if not colon or "/" in tag:
        name, tag = base, ""
    if tag and not _TAG.fullmatch(tag):
        raise errors.Unpullable(f"{_shown(asked)} has no valid tag after ':'", remedy=_FORM)
    host, slash, repository = name.partition("/")
    if not slash or not {".", ":"} & set(host):
        host, repository = DOCKER_HUB, name
    if not is_authority(host):
        raise errors.Unpullable(f"{_shown(asked)} has no valid host before '/'", remedy=_FORM)
    # The library sends `..` as it is, and an HTTP client would leave the repository with it.
    if not _REPOSITORY.fullmatch(repository) or {".", ".."} & set(repository.split("/")):
        raise errors.Unpullable(f"{_shown(asked)} has no valid repository", remedy=_FORM)
    address = HUB_ADDRESS if host == DOCKER_HUB else host
    if address == HUB_ADDRESS and "/" not in repository:
        repository = f"library/{repository}"
    return Place(
        host=host, address=address, repository=repository, reference=digest or tag or "latest"
    )


def may_be_plain(address: str) -> bool:
    """Whether LinuxKit's registry library asks a host without TLS when TLS fails."""
    if _LOCAL.fullmatch(address):
        return True
    try:
        ip = ipaddress.IPv4Address(address.partition(":")[0])
    except ValueError:
        return False
    return any(ip in network for network in _PRIVATE)


def is_loopback(address: str) -> bool:
    """Whether a host, with or without a port, is this machine itself."""
    try:
        host = urlsplit(f"//{address}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_authority(host: str) -> bool:
    """Whether a text is the host of a URL, with or without a port (RFC 3986, 3.2.2)."""
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]+)?", host):
        return False
    try:
        return urlsplit(f"//{host}").port != 0
    except ValueError:  # no IPv6 address in the brackets; no such port
        return False


def _shown(asked: str) -> str:
    return errors.printable(asked[:100])
