"""From the path of each name of a build to one cause, and the remedies that mend it.

LinuxKit ignores every error of its look-up in the Docker engine, so the one line that a user sees,
a failed pull, has many causes. Here a cause is named only with the evidence that it rests on: the
look-ups that LinuxKit makes and the kit's own beside them, literal names included. A remedy is
tried, by look-ups that change nothing on the user's engine, before it is called verified.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import re
import threading
from typing import TYPE_CHECKING, Final, Literal

from kitref import errors, normalize, rules, stores
from kitref.engines import staying
from kitref.linuxkit import ask_docker, cache, follow_one, read
from kitref.linuxkit.client import of_release
from kitref.linuxkit.path import Step
from kitref.reference import DOCKER_HUB, is_domain, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kitref.engines import Answer, Engine
    from kitref.linuxkit import Build, Client, Name, Path, Setting
    from kitref.reference import Reference
    from kitref.rules import Release

CAUSES: Final = {
    "invalid-name": "the name is no valid reference",
    "docker-not-asked": "the build does not ask Docker",
    "other-engine": "the image is in another engine than the one that LinuxKit asks",
    "domain-rewritten": "the rule puts docker.io/ in front of a name that has a domain",
    "nested-hub-name": "the rule leaves a nested Hub name without its domain",
    "port-taken-for-tag": "the rule takes the port for a tag, and adds no :latest",
    "api-version-refused": "the engine refuses the client's API version",
    "architecture-differs": "the image has another architecture",
    "other-tag": "the image is there under another tag",
    "other-domain": "the image is there under another domain",
    "other-case": "the image is there in another case",
    "permission-denied": "the engine may not be asked by this user",
    "engine-unreachable": "the engine cannot be reached",
    "registry-login": "the registry needs a login",
    "registry-unreachable": "the registry cannot be reached",
    "no-such-image": "there is no such image",
}
"""Every cause, and what it says."""

Verified = Literal["live", "model", "no"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a path does not end at the user's local image.

    Attributes:
        code: A key of `CAUSES`.
        why: What happens, in a sentence.
        evidence: What it rests on, a line each: who was asked for what, and the answer.
        missing: What was not asked and could tell more; empty where nothing is open.
    """

    code: str
    why: str
    evidence: tuple[str, ...]
    missing: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What mends a cause.

    Attributes:
        what: What to do, in a sentence.
        command: The command or the line that does it; empty where there is none.
        verified: `live` (tried by a look-up on this engine), `model` (by the model of its store),
            or `no`.
        proof: The look-up that verified it; empty where none did.
    """

    what: str
    command: str = ""
    verified: Verified = "no"
    proof: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What comes of one name of a build.

    Attributes:
        name: The name, with its file, line and column.
        path: What LinuxKit does with it, step by step.
        cause: Why it does not end at the user's local image; None where it does, or where there is
            no local image and a cache or a registry has it.
        remedies: What mends that, those that were verified first.
    """

    name: Name
    path: Path
    cause: Cause | None
    remedies: tuple[Remedy, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Another engine of the user's than the one that LinuxKit asks.

    Attributes:
        engine: The engine.
        origin: How it was found: the docker CLI's context.
    """

    engine: Engine
    origin: str


def diagnose(
    build: Build,
    setting: Setting,
    *,
    elsewhere: Sequence[Elsewhere] = (),
    verify: bool = False,
    report: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Diagnosis]:
    """Follow every name of a build, and say where it does not end at the user's local image.

    Args:
        build: The build.
        setting: How it is built: the LinuxKit, the engine that it asks, the options.
        elsewhere: Other engines of the user's, where the image may be instead.
        verify: Whether to try a `docker tag` on an image of the kit's own.
        report: Called with how many distinct names are done, and of how many.

    Returns:
        A diagnosis a name, in the order of the build.
    """
    listed = _Listed(setting.engine)
    distinct = list(dict.fromkeys(name.text for name in build.names))
    done: dict[str, tuple[Path, Cause | None, tuple[Remedy, ...]]] = {}
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        cases = pool.map(
            lambda text: _Case(text, setting, elsewhere, listed, verify=verify).end(), distinct
        )
        for text, ended in zip(distinct, cases, strict=True):
            done[text] = ended
            report(len(done), len(distinct))
    return [
        Diagnosis(name=name, path=path, cause=cause, remedies=remedies)
        for name in build.names
        for path, cause, remedies in [done[name.text]]
    ]


def bisect(build: Build, setting: Setting, tool: str = "linuxkit") -> list[Row]:
    """Ask this engine for the names of a build as every release would.

    Args:
        build: The build.
        setting: How it is built; the LinuxKit in it is replaced by each release's.
        tool: `linuxkit` or `nitro-cli`.

    Returns:
        A row a release, oldest first.
    """
    texts = list(dict.fromkeys(name.text for name in build.names))
    releases = [release for release in rules.releases() if release.tool == tool]
    pairs = [(release, text) for release in releases for text in texts]
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        steps = list(pool.map(lambda pair: _step(pair[1], setting, of_release(pair[0])), pairs))
    rows: list[Row] = []
    for at, release in enumerate(releases):
        of_it = dict(zip(texts, steps[at * len(texts) : (at + 1) * len(texts)], strict=True))
        found = sum(step.outcome == "found" for step in of_it.values())
        flips = bool(rows) and found != rows[-1].found
        rows.append(Row(release=release, steps=of_it, found=found, flips=flips))
    return rows


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one release finds.

    Attributes:
        release: The release.
        steps: Its look-up of each distinct name.
        found: How many of them the engine finds.
        flips: Whether that differs from the release before.
    """

    release: Release
    steps: Mapping[str, Step]
    found: int
    flips: bool


class _Listed:
    """The names of the images in an engine, asked for once and when somebody needs them."""

    def __init__(self, engine: Engine | errors.KitrefError) -> None:
        self.engine = engine
        self.lock = threading.Lock()
        self.known: list[Reference] | None = None

    def references(self) -> list[Reference]:
        with self.lock:
            if self.known is None:
                self.known = list(self._read())
            return self.known

    def _read(self) -> Iterator[Reference]:
        if isinstance(self.engine, errors.KitrefError):
            return
        try:
            names = self.engine.names()
        except errors.EngineUnavailable:
            return
        for name in names:
            with contextlib.suppress(errors.InvalidReference):
                yield parse(name)


class _Case:
    """One name: its path, the kit's own look-ups beside it, and what follows from them."""

    def __init__(
        self,
        text: str,
        setting: Setting,
        elsewhere: Sequence[Elsewhere],
        listed: _Listed,
        *,
        verify: bool,
    ) -> None:
        self.text = text
        self.setting = setting
        self.elsewhere = elsewhere
        self.listed = listed
        self.verify = verify
        self.path = follow_one(text, setting)
        self.live = None if isinstance(setting.engine, errors.KitrefError) else setting.engine
        try:
            self.meant: Reference | None = parse(text)
        except errors.InvalidReference as error:
            self.meant, self.fault = None, error

    def end(self) -> tuple[Path, Cause | None, tuple[Remedy, ...]]:
        """Return the path, the cause and the remedies."""
        if self.path.ends == "engine":
            return self.path, None, ()
        cause, remedies = self.judge()
        ordered = sorted(remedies, key=lambda remedy: remedy.verified == "no")
        return self.path, cause, tuple(ordered)

    def judge(self) -> tuple[Cause | None, list[Remedy]]:
        """Go through the causes, the nearest to the user's file first."""
        if self.meant is None:
            return self.invalid()
        if not self.setting.asks_docker:
            return self.docker_not_asked()
        return self.docker_asked(self.path.step("docker"))

    def docker_asked(self, step: Step | None) -> tuple[Cause | None, list[Remedy]]:
        """Return why the engine that was asked did not give the user's image."""
        if step is not None and step.outcome == "not-asked":
            return self.engine_silent(step)
        if step is not None and step.wrong_arch:
            return self.other_architecture(step)
        here = self.ask_typed()
        if here is not None and here.outcome == "found":
            return self.rewritten(step, here)
        for place in self.elsewhere:
            answer = place.engine.ask(self.typed)
            if answer.outcome == "found":
                return self.other_engine(step, place, answer)
        if alike := self.alike():
            return self.under_another_name(step, *alike)
        return self.not_local()

    # What each cause says, and what mends it.

    def invalid(self) -> tuple[Cause, list[Remedy]]:
        fault = self.fault
        evidence = [f"{self.setting.client.title} reports no invalid name, and goes on with it"]
        evidence += map(str, self.path.steps[1:])
        lower = self.text.lower()
        remedies = [Remedy(what=fault.remedy)] if fault.remedy else []
        with contextlib.suppress(errors.InvalidReference):
            parse(lower)
            if self.live and self.live.ask(lower).outcome == "found":
                remedies = [self.write(lower, "the engine has it in lower case")]
        return self.cause("invalid-name", fault.what, evidence), remedies

    def docker_not_asked(self) -> tuple[Cause | None, list[Remedy]]:
        setting = self.setting
        option = "it is given --pull" if setting.pull else "it is not given --docker"
        would = self.would(setting.client)
        here = self.ask_typed()
        has = would if would.outcome == "found" else here
        if has is None or has.outcome != "found":
            # No local image is passed over.
            return (None, []) if self.path.ends != "nowhere" else self.not_local()
        if self.path.ends != "nowhere" and would.outcome != "found":
            return None, []
        step = self.path.steps[-1]
        evidence = [str(each) for each in self.path.steps if each.stage == "docker"]
        evidence += [str(would), f"the build ends: {step}"]
        do = "leave out --pull" if setting.pull else "give the build --docker"
        what = "linuxkit build --docker ..."
        if would.outcome == "found":
            remedies = [Remedy(what=do, command=what, verified="live", proof=str(would))]
            return self.cause("docker-not-asked", f"{option}, so Docker is not asked", evidence), (
                remedies
            )
        after, more = self.docker_asked(would)
        then = f"; and when it is, {CAUSES[after.code]}" if after else ""
        cause = self.cause(
            "docker-not-asked", f"{option}, so Docker is not asked{then}",
            [*evidence, *(after.evidence if after else ())],
        )  # fmt: skip
        return cause, [Remedy(what=f"{do}, and also as follows", command=what), *more]

    def engine_silent(self, step: Step) -> tuple[Cause, list[Remedy]]:
        setting, client = self.setting, self.setting.client
        if self.live is not None and _TOO_OLD.search(step.detail):
            why = (
                f"{client.title} asks in API version"
                f" {client.version_for(self.live, setting.api_version)}, and the engine takes"
                f" {self.live.min_api_version or '?'} to {self.live.api_version}; LinuxKit passes"
                " over that refusal and pulls"
            )
            remedies = []
            if not client.negotiates:
                for version in dict.fromkeys((self.live.min_api_version, self.live.api_version)):
                    tried = self.would(client, api_version=version)
                    if version and tried.outcome == "found":
                        remedies.append(
                            Remedy(
                                what="let the client ask in a version that the engine takes",
                                command=f"export DOCKER_API_VERSION={version}",
                                verified="live", proof=str(tried),
                            )
                        )  # fmt: skip
                        break
            return self.cause("api-version-refused", why, [str(step)]), [
                *remedies,
                *self.release(),
            ]
        for place in self.elsewhere:
            answer = place.engine.ask(self.typed)
            if answer.outcome == "found":
                return self.other_engine(step, place, answer)
        if "ermission denied" in step.detail:
            return self.cause(
                "permission-denied",
                "this user may not speak to the engine; LinuxKit passes over that, and pulls",
                [str(step)], missing="whether the engine has the image",
            ), [
                Remedy(
                    what="let this user speak to the engine",
                    command="sudo usermod -aG docker $USER && newgrp docker",
                )
            ]  # fmt: skip
        return self.cause(
            "engine-unreachable",
            "no answer came from the engine that LinuxKit asks; it passes over that, and pulls",
            [str(step)], missing="whether the engine has the image",
        ), [
            Remedy(
                what="start the engine, or point LinuxKit at the one that runs",
                command="export DOCKER_HOST=unix:///path/to/docker.sock",
            )
        ]  # fmt: skip

    def other_architecture(self, step: Step) -> tuple[Cause, list[Remedy]]:
        arch = self.setting.arch
        remedies = [
            Remedy(
                what=f"build the image for {arch}",
                command=f"docker build --platform linux/{arch} -t {self.text} ...",
            )
        ]
        if self.live and (has := self.live.ask(step.asked).arch):
            other = dataclasses.replace(self.setting, arch=has)
            tried = ask_docker(step.asked, other)
            if tried.outcome == "found":
                remedies.append(
                    Remedy(
                        what=f"or build for {has}", command=f"linuxkit build --arch {has} ...",
                        verified="live", proof=str(tried),
                    )
                )  # fmt: skip
        why = f"the engine has it, and not for {arch}; LinuxKit takes that for no image"
        return self.cause("architecture-differs", why, [str(step)]), remedies

    def rewritten(self, step: Step | None, here: Answer) -> tuple[Cause, list[Remedy]]:
        asked = self.path.asked if step is None else step.asked
        evidence = [str(self.path.steps[0]), *([str(step)] if step else []), self.said(here)]
        if step is None or step.outcome == "not-asked":
            evidence.append(f"asked for: {asked}")
        why = (
            f"{self.setting.client.title} makes {asked} of it, which is another name; the image is"
            f" there as {self.text}"
        )
        return self.cause("domain-rewritten", why, evidence), [
            *self.release(),
            *self.rename(asked),
            *self.names(),
        ]

    def other_engine(
        self, step: Step | None, place: Elsewhere, answer: Answer
    ) -> tuple[Cause, list[Remedy]]:
        where = place.engine.url
        evidence = [*([str(step)] if step else []), self.said(answer, place.engine)]
        why = (
            f"the image is in the engine of the {place.origin}; LinuxKit knows no contexts, and"
            " asks DOCKER_HOST or the default socket"
        )
        there = ask_docker(self.path.asked, dataclasses.replace(self.setting, engine=place.engine))
        verified: Verified = "live" if there.outcome == "found" else "no"
        remedy = Remedy(
            what="point LinuxKit at that engine", command=f"export DOCKER_HOST={where}",
            verified=verified, proof=str(there),
        )  # fmt: skip
        return self.cause("other-engine", why, evidence), [remedy]

    def under_another_name(
        self, step: Step | None, code: str, other: Reference
    ) -> tuple[Cause, list[Remedy]]:
        name = other.familiar
        assert self.live is not None  # noqa: S101 - it listed the name
        answer = self.live.ask(other.canonical)
        evidence = [*([str(step)] if step else []), self.said(answer, name=other.canonical)]
        why = f"there is no {self.text} in the engine, and there is {name}"
        return self.cause(code, why, evidence), [
            self.write(name, "it is there under this name"),
            Remedy(
                what="or give the image the name that the file has, if it is the same image",
                command=f"docker tag {name} {self.text}",
            ),
        ]

    def not_local(self) -> tuple[Cause | None, list[Remedy]]:
        """Return what follows where no engine at hand has the image under any name like it."""
        if self.path.ends != "nowhere":
            return None, []  # a cache or a registry has it, which is what they are for
        evidence = [str(each) for each in self.path.steps if each.stage != "expansion"]
        if tagged := self.port_taken_for_tag():
            return tagged
        answer = self.path.answer
        outcome = answer.outcome if answer else "not-asked"
        if self.nested():
            return self.nested_hub_name(evidence)
        if answer and outcome == "login-needed":
            why = f"it is in no engine at hand, and {answer.route} asks for a login"
            host = "" if answer.host == DOCKER_HUB else f" {answer.host}"
            return self.cause("registry-login", why, evidence), [
                Remedy(what="log in", command=f"docker login{host}"),
                Remedy(what="or build the image", command=f"docker build -t {self.text} ..."),
            ]
        if answer and outcome == "unreachable":
            why = f"it is in no engine at hand, and {answer.route} gives no answer of a registry"
            return self.cause("registry-unreachable", why, evidence), [
                Remedy(what=f"make {answer.address} reachable, or build the image")
            ]
        missing = "whether a registry has it: --offline" if outcome == "not-asked" else ""
        return self.cause(
            "no-such-image", "no engine, cache or registry that was asked has it", evidence,
            missing=missing,
        ), [
            Remedy(what="build it", command=f"docker build -t {self.text} ..."),
            Remedy(what="or pull it", command=f"docker pull {self.text}"),
        ]  # fmt: skip

    def nested(self) -> bool:
        """Whether the rule leaves a nested name of Docker Hub without its domain."""
        asked = self.path.asked
        first, _, rest = asked.partition("/")
        hub = self.meant is not None and self.meant.domain == DOCKER_HUB
        return hub and "/" in rest and not is_domain(first)

    def nested_hub_name(self, evidence: list[str]) -> tuple[Cause, list[Remedy]]:
        first = self.path.asked.partition("/")[0]
        answer = self.path.answer
        asks = f"; the registry library of this release asks {answer.address}" if answer else ""
        why = (
            f"the rule leaves it without docker.io/, so that its first part is read as a host: to"
            f" containerd's parser a pull goes to {first}{asks}"
        )
        fixed = normalize.expand(self.text)
        return self.cause("nested-hub-name", why, evidence), [
            self.write(fixed, "with its domain it can be read in one way only"),
            Remedy(
                what="build it, if it is to be local", command=f"docker build -t {self.text} ..."
            ),
        ]

    def port_taken_for_tag(self) -> tuple[Cause, list[Remedy]] | None:
        """Return the cause where the cache has the name with the tag that the rule left out."""
        rule = self.setting.client.rule
        if not rule.has_with_tag or self.meant is None or self.meant.tag or self.meant.digest:
            return None
        asked = rule.expand(self.text, with_tag=True).asked
        if asked.endswith(":latest"):
            return None
        there = cache.look_up(self.setting.cache, f"{asked}:latest", self.setting.arch)
        if there.outcome != "found":
            return None
        evidence = [
            *(str(each) for each in self.path.steps if each.stage == "cache"),
            f"with-tag: {self.text} becomes {asked}, without :latest",
            f"cache: {asked}:latest: found ({there.digest})",
        ]
        why = f"the ':' of the port counts as one of a tag, so {asked} is looked up without :latest"
        return self.cause("port-taken-for-tag", why, evidence), [
            self.write(f"{self.text}:latest", "with its tag it is found in the cache")
        ]

    # Look-ups of the kit's own, and the remedies that rest on them.

    @property
    def typed(self) -> str:
        """What to ask an engine for the name as the user wrote it, and not for an image's ID."""
        return self.meant.canonical if self.meant and _HEX.fullmatch(self.text) else self.text

    def ask_typed(self) -> Answer | None:
        """Ask the engine that LinuxKit asks for the name as the user wrote it."""
        return self.live.ask(self.typed) if self.live else None

    def said(self, answer: Answer, engine: Engine | None = None, name: str = "") -> str:
        """Return a look-up of the kit's own in one line."""
        asked = engine or self.live
        where = f"{asked.title} {asked.version}" if asked else ""
        detail = answer.detail or answer.image_id
        return f"kit: {name or self.typed}: {answer.outcome} ({where}: {detail})"

    def would(self, client: Client, *, text: str = "", api_version: str = "") -> Step:
        """Ask the engine for a name as a client would."""
        setting = self.setting
        if api_version:
            setting = dataclasses.replace(setting, api_version=api_version)
        return _step(text or self.text, setting, client)

    def alike(self) -> tuple[str, Reference] | None:
        """Return an image of the engine whose name differs in one thing only."""
        meant = self.meant
        if meant is None:
            return None
        tag = meant.tag or "latest"
        wanted = (_folded(meant), (meant.domain, meant.path), (_bare(meant), tag))
        for at, code in enumerate(("other-case", "other-tag", "other-domain")):
            for other in self.listed.references():
                has = (_folded(other), (other.domain, other.path), (_bare(other), other.tag))
                if has[at] == wanted[at]:
                    return code, other
        return None

    def release(self) -> list[Remedy]:
        """Return the earliest later release that finds the image on this engine."""
        title = self.setting.client.title
        tool = "nitro-cli" if title.startswith("nitro-cli@") else "linuxkit"
        known = [each for each in rules.releases() if each.tool == tool]
        at = next((i for i, each in enumerate(known) if each.name == title), -1)
        for each in known[at + 1 :]:
            tried = self.would(of_release(each))
            if tried.outcome == "found":
                return [
                    Remedy(
                        what=f"use {tool} {each.version} of {each.date} or later",
                        verified="live", proof=str(tried),
                    )
                ]  # fmt: skip
        return [Remedy(what=f"no later release of {tool} finds it on this engine")]

    def rename(self, asked: str) -> list[Remedy]:
        """Return the tag that would make this release find the image."""
        if self.live is None:
            return []
        behaviour = stores.classify(self.live.kind, self.live.store, self.live.version)
        try:
            parse(asked)
        except errors.InvalidReference:
            return []  # no image can have that name
        model = stores.predict(behaviour, tagged_as=asked, asked=asked)
        if model != "found":
            return []
        verified: Verified = "model"
        proof = f"model of {behaviour.name}: {asked}: {model}"
        if self.verify:
            proof, found = self.try_tag()
            verified = "live" if found else "no"
        return [
            Remedy(
                what="or give the image the name that this release asks for",
                command=f"docker tag {self.text} {asked}", verified=verified, proof=proof,
            )
        ]  # fmt: skip

    def try_tag(self) -> tuple[str, bool]:
        """Try the tag on an image of the kit's own, under a name of its own like the user's."""
        assert self.live is not None  # noqa: S101 - who calls it has asked
        with staying(self.live) as guest:
            image_id = guest.image(tagged_as=f"{_OWN}:kitref")
            own = guest.own(self.text)
            asked = self.setting.client.rule.expand(own).asked
            guest.tag(image_id, asked)
            tried = self.would(self.setting.client, text=own)
            guest.untag(asked)
        return f"on an image of the kit's own: {tried}", tried.image_id == image_id

    def names(self) -> list[Remedy]:
        """Return another way to write the name that this release finds."""
        assert self.meant is not None  # noqa: S101 - an invalid name has no other
        ways = (self.meant.familiar, normalize.expand(self.text), self.meant.canonical)
        for way in dict.fromkeys(ways):
            if way != self.text and self.would(self.setting.client, text=way).outcome == "found":
                return [self.write(way, "this release finds it so")]
        return []

    def write(self, name: str, why: str) -> Remedy:
        """Return the remedy of another name in the file, tried as the build would ask for it."""
        tried = self.would(self.setting.client, text=name)
        verified: Verified = "live" if tried.outcome == "found" else "no"
        return Remedy(
            what=f"write {name} in the file: {why}", command=name, verified=verified,
            proof=str(tried),
        )  # fmt: skip

    def cause(self, code: str, why: str, evidence: Iterable[str], missing: str = "") -> Cause:
        return Cause(code=code, why=why, evidence=tuple(evidence), missing=missing)


_AT_ONCE: Final = 16
_TOO_OLD: Final = re.compile(r"client version .* is too (old|new)", re.IGNORECASE)
_HEX: Final = re.compile(r"(sha256:)?[0-9a-f]+")
_OWN: Final = "kitref.invalid/verify"


def _step(text: str, setting: Setting, client: Client) -> Step:
    """Ask the engine for a name as a client would that is told to."""
    setting = dataclasses.replace(setting, client=client)
    try:
        asked = read(client.rule.expand(text).asked)
    except (errors.InvalidReference, ValueError) as error:
        return Step(stage="docker", asked=text, outcome="refused", detail=str(error))
    return ask_docker(asked, setting)


def _folded(reference: Reference) -> str:
    tagged = reference.canonical if reference.tag else f"{reference.canonical}:latest"
    return tagged.casefold()


def _bare(reference: Reference) -> str:
    """Return a path as it is without what Docker Hub adds to it."""
    return (
        reference.path.removeprefix("library/")
        if reference.domain == DOCKER_HUB
        else (reference.path)
    )
