"""How a release's LinuxKit asks a Docker engine: in which API version, and what it checks."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
from typing import TYPE_CHECKING, Final

from kitref import errors, rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitref.engines import Engine
    from kitref.rules import Release, Rule

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
"""Where LinuxKit's Docker client looks without DOCKER_HOST (`DefaultDockerHost` there)."""

_ARCH_CHECKED: Final = "2024-08-29"
"""From this day on `HasImage` takes an image of another architecture for none (linuxkit#4072)."""

_VOLUMES: Final = "2024-07-28"
"""LinuxKit v1.5.0 came out: the first whose schema knows `volumes` (linuxkit#4065)."""

_VERSION: Final = re.compile(r"[0-9]{1,3}\.[0-9]{1,4}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A LinuxKit, as far as its look-ups go.

    Attributes:
        title: What it is called: a release, or a rule in the client of the newest release.
        rule: How it expands names.
        api_version: The highest Engine API version that its Docker client speaks; empty where that
            is not recorded, and then the engine's own is taken.
        negotiates: Whether it goes down to the engine's version. One that does not takes
            DOCKER_API_VERSION instead; one that does, does not read it.
        checks_arch: Whether an image of another architecture counts as none.
        always_docker: Whether Docker is asked without `--docker` too, and pulls: LinuxKit up to
            v0.8, which has no cache of its own (linuxkit#3573 brought it in late 2020). What Docker
            answers then is final, unless it is that there is no such image.
        unknown_keys: What the kit knows at the top of a file and this LinuxKit refuses there, and
            what to do about it.
    """

    title: str
    rule: Rule
    api_version: str
    negotiates: bool
    checks_arch: bool
    always_docker: bool = False
    unknown_keys: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def version_for(self, engine: Engine, api_version: str = "") -> str:
        """Return the API version that the client asks an engine in.

        Args:
            engine: The engine.
            api_version: DOCKER_API_VERSION; empty where it is not set.

        Returns:
            The version. Going down is all that the client does: an engine whose lowest version is
            higher than the client's highest refuses it all the same.
        """
        highest = self.api_version or engine.api_version
        if not self.negotiates:
            return api_version or highest
        return min(highest, engine.api_version or highest, key=_order)


def of_release(release: Release) -> Client:
    """Return the LinuxKit of a release of LinuxKit or of the Nitro CLI."""
    of_date = {each.version: each.date for each in rules.releases() if each.tool == "linuxkit"}
    # A LinuxKit between releases, named by its commit, is older than the CLI that carries it.
    date = of_date.get(release.linuxkit, release.date)
    unknown = {}
    if release.tool != "nitro-cli":
        unknown["prefix"] = "it is an addition of the LinuxKit that the Nitro CLI ships"
    if date < _VOLUMES:
        unknown["volumes"] = "use LinuxKit v1.5.0 or later"
    return Client(
        title=release.name,
        rule=rules.rule(release.rule),
        api_version=release.docker_client_api or "",
        negotiates=release.api_negotiation,
        checks_arch=date >= _ARCH_CHECKED,
        always_docker=release.rule in ("none", "da533297c"),
        unknown_keys=unknown,
    )


def of_rule(name: str) -> Client:
    """Return a rule in the client of LinuxKit's newest release.

    Args:
        name: As for `kitref.rule`.
    """
    newest = [release for release in rules.releases() if release.tool == "linuxkit"][-1]
    rule = rules.rule(name)
    return dataclasses.replace(
        of_release(newest), title=f"rule {rule.name}", rule=rule, unknown_keys={}
    )


def find(name: str) -> Client:
    """Return the LinuxKit of a name: a release (`v1.0.1`, `nitro-cli@1.3.1`), or a rule.

    Raises:
        UnknownRule: There is none.
    """
    rule = rules.rule(name)  # says what is wrong with a name that is neither
    tool, _, version = name.rpartition("@")
    wanted = f"{tool or 'linuxkit'}@v{version.removeprefix('v')}"
    for release in rules.releases():
        if release.name == wanted:
            return of_release(release)
    return of_rule(rule.name)


def api_version(environment: Mapping[str, str] = os.environ) -> str:
    """Return DOCKER_API_VERSION, empty where it is not set.

    Raises:
        UsageError: It is no version.
    """
    given = environment.get("DOCKER_API_VERSION", "").removeprefix("v")
    if given and not _VERSION.fullmatch(given):
        raise errors.UsageError(
            f"DOCKER_API_VERSION is {given!r}, which is no API version", remedy="write it as 1.44"
        )
    return given


def host(environment: Mapping[str, str] = os.environ) -> str:
    """Return the address of the engine that LinuxKit asks; it knows no docker CLI contexts."""
    return environment.get("DOCKER_HOST") or DEFAULT_HOST


def machine_arch() -> str:
    """Return this machine's architecture in Go's words, which LinuxKit builds for by default."""
    machine = platform.machine().lower()
    return _OTHER_WORDS.get(machine, machine)


def architecture(given: str) -> str:
    """Return an architecture that a user named; this machine's where none was.

    Raises:
        UsageError: It is not in Go's words, by which images have theirs.
    """
    if meant := _OTHER_WORDS.get(given):
        raise errors.UsageError(
            f"no image is for {given}: Go's words count", remedy=f"write {meant}"
        )
    return given or machine_arch()


_OTHER_WORDS: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def _order(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]
