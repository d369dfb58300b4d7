"""A name's whole path through `linuxkit build`, step by step: what was asked, what was answered.

Expansion, containerd's reference parser, the Docker engine where the build asks it, LinuxKit's
cache, the registry: the order of `imageSource` and `ImagePull` in LinuxKit's source. Every error of
the Docker look-up is passed over there, and the next is tried.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import pathlib
import posixpath
import re
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote

from kitref import errors, registry
from kitref.linuxkit import cache
from kitref.linuxkit.client import api_version, architecture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kitref.engines import Engine
    from kitref.linuxkit.client import Client
    from kitref.registry import Answer

Stage = Literal["expansion", "parser", "docker", "cache", "registry"]
Outcome = Literal["named", "found", "absent", "refused", "not-asked", "login-needed", "unreachable"]

_AT_ONCE: Final = 16  # engines answer look-ups side by side; more gain nothing


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The build whose path is followed.

    Attributes:
        client: The LinuxKit.
        engine: The engine that it asks, or why that cannot be had.
        docker: Whether the build is given `--docker`.
        pull: Whether the build is given `--pull`.
        arch: The architecture that is built for, in Go's words.
        api_version: DOCKER_API_VERSION; empty where it is not set.
        cache: The folder of LinuxKit's cache.
        registry: Asks a registry for an expanded name.
        host_map: The hosts in whose place it asks another address, for whoever shows the build.
    """

    client: Client
    engine: Engine | errors.KitrefError
    cache: pathlib.Path
    registry: Callable[[str], Answer]
    docker: bool = True
    pull: bool = False
    arch: str = "amd64"
    api_version: str = ""
    host_map: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def asks_docker(self) -> bool:
        """Whether the Docker engine is asked at all."""
        return (self.docker or self.client.always_docker) and not self.pull


def setting(
    client: Client,
    engine: Engine | errors.KitrefError,
    *,
    docker: bool = True,
    pull: bool = False,
    arch: str = "",
    folder: str = "",
    offline: bool = True,
    host_map: Mapping[str, str] | None = None,
    ca: pathlib.Path | None = None,
) -> Setting:
    """Return the setting of a build on this machine.

    Args:
        client: The LinuxKit.
        engine: The engine that it asks, or why that cannot be had.
        docker: Whether the build is given `--docker`.
        pull: Whether the build is given `--pull`.
        arch: The architecture; empty for this machine's.
        folder: LinuxKit's cache; empty for its default.
        offline: Whether to ask no registry but those on this machine that the map leads to.
        host_map: Hosts, and the address to ask in the place of each.
        ca: The certificates to trust for mapped hosts, in PEM.

    Raises:
        UsageError: DOCKER_API_VERSION is no version, or the architecture is not in Go's words.
    """
    wanted = architecture(arch)
    ask = functools.partial(
        registry.pull, arch=wanted, offline=offline, host_map=host_map or {}, ca=ca
    )
    return Setting(
        client=client,
        engine=engine,
        docker=docker,
        pull=pull,
        arch=wanted,
        api_version=api_version(),
        cache=pathlib.Path(folder) if folder else cache.default(),
        registry=ask,
        host_map=host_map or {},
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a path.

    Attributes:
        stage: Which.
        asked: The name that was asked for, literally.
        outcome: What came of it. `named`: the expansion or the parser gave a name to go on with.
            `found`, `absent` and `refused` as in `kitref.engines.Lookup`. `not-asked` is no answer
            about the name, or not on this build's path. A registry can also say `login-needed`, or
            be `unreachable`.
        detail: Why, in words.
        image_id: The image that an engine found, or the digest in a cache or registry.
        wrong_arch: Whether the engine has the image in another architecture than is asked for.
    """

    stage: Stage
    asked: str
    outcome: Outcome
    detail: str = ""
    image_id: str = ""
    wrong_arch: bool = False

    def __str__(self) -> str:
        """Return it in one line."""
        said = f" ({self.detail})" if self.detail else ""
        return f"{self.stage}: {self.asked}: {self.outcome}{said}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The path of one name.

    Attributes:
        text: The name as the user wrote it.
        steps: What happens, in order, up to where it ends.
        ends: Where: `engine`, `cache`, `registry` or `nowhere`.
        answer: The registry's whole answer, where one was asked.
    """

    text: str
    steps: tuple[Step, ...]
    ends: str
    answer: Answer | None = None

    def step(self, stage: Stage) -> Step | None:
        """Return the step of a stage; None where the path does not come to it."""
        return next((step for step in self.steps if step.stage == stage), None)

    @property
    def asked(self) -> str:
        """The name that the engine, the cache and the registry are asked for."""
        return self.steps[min(1, len(self.steps) - 1)].asked


def follow(texts: Iterable[str], setting: Setting) -> dict[str, Path]:
    """Follow names side by side, each distinct name once.

    Args:
        texts: The names as the user wrote them.
        setting: The build.

    Returns:
        The path of each distinct name.
    """
    distinct = list(dict.fromkeys(texts))
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        paths = pool.map(lambda text: follow_one(text, setting), distinct)
        return dict(zip(distinct, paths, strict=True))


def follow_one(text: str, setting: Setting) -> Path:
    """Follow one name.

    Args:
        text: The name as the user wrote it.
        setting: The build.

    Returns:
        Its path.
    """
    rule = setting.client.rule
    try:
        expansion = rule.expand(text)
    except errors.InvalidReference as error:
        step = Step(stage="expansion", asked=text, outcome="refused", detail=error.what)
        return Path(text=text, steps=(step,), ends="nowhere")
    steps = [
        Step(
            stage="expansion", asked=expansion.asked, outcome="named",
            detail=f"rule {rule.name}: {expansion.reason}",
        )
    ]  # fmt: skip
    try:
        # The rule of before 2019-09-30 goes with the Go of its day: see `read`.
        name = read(expansion.asked, any_port=rule.name == "none")
    except ValueError as error:
        steps.append(
            Step(stage="parser", asked=expansion.asked, outcome="refused", detail=str(error))
        )
        return Path(text=text, steps=tuple(steps), ends="nowhere")
    steps.append(Step(stage="parser", asked=name, outcome="named"))
    for ends, look_up in (("engine", _docker), ("cache", _cache)):
        steps.append(look_up(name, setting))
        if steps[-1].outcome == "found":
            return Path(text=text, steps=tuple(steps), ends=ends)
        if _stops(steps[-1], setting):
            return Path(text=text, steps=tuple(steps), ends="nowhere")
    answer = setting.registry(name)
    steps.append(
        Step(
            stage="registry", asked=name, outcome=answer.outcome, image_id=answer.digest,
            detail=f"{answer.route}: {answer.detail}" if answer.host else answer.detail,
        )
    )  # fmt: skip
    ends = "registry" if answer.outcome == "found" else "nowhere"
    return Path(text=text, steps=tuple(steps), ends=ends, answer=answer)


def ask_docker(name: str, setting: Setting) -> Step:
    """Ask the engine for a name as the client does, whether or not the build would.

    Args:
        name: The name, literally.
        setting: The build.

    Returns:
        The step.
    """
    engine, client = setting.engine, setting.client
    if isinstance(engine, errors.KitrefError):
        return Step(stage="docker", asked=name, outcome="not-asked", detail=engine.what)
    version = client.version_for(engine, setting.api_version)
    answer = engine.ask(name, api_version=version)
    detail = f"{engine.title} {engine.version}, API {version}: {answer.detail or answer.image_id}"
    if answer.outcome == "found" and client.checks_arch and answer.arch != setting.arch:
        return Step(
            stage="docker", asked=name, outcome="absent", image_id=answer.image_id or "",
            detail=f"{detail}, for {answer.arch}, and {setting.arch} is asked for",
            wrong_arch=True,
        )  # fmt: skip
    return Step(
        stage="docker", asked=name, outcome=answer.outcome, detail=detail,
        image_id=answer.image_id or "",
    )  # fmt: skip


def _stops(step: Step, setting: Setting) -> bool:
    """Whether the build fails at a step that found nothing, with nothing else tried."""
    if step.stage == "cache":
        return step.outcome == "refused"
    # A LinuxKit that pulls through Docker does so when Docker says "No such image" (`ImageTar`).
    return setting.asks_docker and setting.client.always_docker and step.outcome != "absent"


def _docker(name: str, setting: Setting) -> Step:
    if setting.asks_docker:
        return ask_docker(name, setting)
    why = "--pull passes over it" if setting.pull else "only --docker asks it"
    return Step(stage="docker", asked=name, outcome="not-asked", detail=why)


def _cache(name: str, setting: Setting) -> Step:
    if setting.pull:
        return Step(stage="cache", asked=name, outcome="not-asked", detail="--pull passes over it")
    if setting.client.always_docker:
        return Step(stage="cache", asked=name, outcome="not-asked", detail="there is none yet")
    # Kept: for the cache alone the name is expanded and read a second time (`ImagePull`), so
    # `foo//bar`, which the parser made `foo/bar` of, is looked up as `docker.io/foo/bar` there.
    again = setting.client.rule.expand(name).asked
    try:
        again = read(again)
    except ValueError as error:  # an escape that the first reading resolved
        return Step(stage="cache", asked=again, outcome="refused", detail=str(error))
    found = cache.look_up(setting.cache, again, setting.arch)
    return Step(
        stage="cache", asked=again, outcome=found.outcome, detail=found.detail,
        image_id=found.digest,
    )  # fmt: skip


def read(text: str, *, any_port: bool = False) -> str:
    """Read a name as containerd's reference parser does, and return what that prints.

    Source: `reference.Parse` and `Spec.String` of containerd: the text is read as a URL without its
    scheme, by `Parse` of Go's net/url; the first ``:`` or ``@`` in its path begins the object.

    Args:
        text: The expanded name.
        any_port: Whether any text may follow a host's ``:``, as in Go before 1.12.8 of 2019-08-13:
            with it ``alpine:3`` could be looked up as typed, as the host ``alpine:3``.

    Returns:
        The name that LinuxKit looks up.

    Raises:
        ValueError: The parser refuses it; says why.
    """
    rest, _, fragment = text.partition("#")
    if "://" in text:
        raise ValueError("invalid reference: a scheme in it")
    if re.search(r"[\x00-\x1f\x7f]", rest):
        raise ValueError("a control character in it")
    _unescaped(fragment)
    authority, slash, path = rest.partition("?")[0].partition("/")
    user, at, host = authority.rpartition("@")
    host = _host(host, any_port=any_port)
    if at and not _USER.fullmatch(user):
        raise ValueError("an invalid character before the '@'")
    _unescaped(user)
    if not host:
        raise ValueError("hostname required")
    path = _unescaped(slash + path)
    mark = re.search("[:@]", path)
    found = path[mark.start() :] if mark else ""
    locator = posixpath.normpath(f"{host}/{path[: mark.start()] if mark else path}")
    if found.startswith(":"):
        found = found[1:]
        return f"{locator}:{found}" if found and found[0] != "@" else locator + found
    return locator + found


# What Go's net/url lets stand in a host and before its `@`: RFC 3986, 3.2, and the characters that
# browsers send. An escape in a host is one of a byte that is no ASCII, or of the percent sign.
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:\[\]<>\"\x80-\U0010ffff]|%25|%[89A-Fa-f].)*", re.DOTALL
)
_USER: Final = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORT: Final = re.compile(r"(:[0-9]*)?")


def _host(text: str, *, any_port: bool) -> str:
    """Return a host, its escapes resolved (`parseHost` of net/url)."""
    _, mark, port = text.rpartition("]" if text.startswith("[") else ":")
    if text.startswith("[") and not mark:
        raise ValueError("no ']' after the host")
    if mark == ":":
        port = f":{port}"
    if mark and not (any_port and mark == ":") and not _PORT.fullmatch(port):
        raise ValueError(f"invalid port {port!r} after the host")
    if not _HOST.fullmatch(text):
        raise ValueError("an invalid character in the host")
    return _unescaped(text)


def _unescaped(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError("an invalid escape in it")
    return unquote(text, errors="surrogateescape")
