"""Which one cause follows from a name's path and the kit's own look-ups beside it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import re
from typing import TYPE_CHECKING, Final

from kitref import errors, normalize
from kitref.diagnose import remedies as mend
from kitref.diagnose.lookups import Listed, Lookups
from kitref.diagnose.records import CAUSES, Cause, Diagnosis, Elsewhere, Remedy
from kitref.engines import Answer
from kitref.linuxkit import cache, follow_one
from kitref.reference import DOCKER_HUB, is_domain, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kitref.engines import Engine
    from kitref.linuxkit import Build, Path, Setting
    from kitref.linuxkit.path import Step
    from kitref.reference import Reference

_AT_ONCE: Final = 16
_TOO_OLD: Final = re.compile(r"client version .* is too (old|new)", re.IGNORECASE)
_NOT_LET_IN: Final = re.compile(r"permission denied|: 40[13]: ", re.IGNORECASE)
_NO_LOCAL_IMAGE: Final = "whether the engine has the image"


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
    listed = Listed(setting.engine)

    def end(text: str) -> tuple[Path, Cause | None, list[Remedy]]:
        path = follow_one(text, setting)
        case = _Case(Lookups(text, setting, listed), path, elsewhere, verify=verify)
        return path, *case.judge()

    distinct = list(dict.fromkeys(name.text for name in build.names))
    done: dict[str, tuple[Path, Cause | None, list[Remedy]]] = {}
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        for text, ended in zip(distinct, pool.map(end, distinct), strict=True):
            done[text] = ended
            report(len(done), len(distinct))
    return [
        Diagnosis(name=name, path=path, cause=cause, remedies=tuple(remedies))
        for name in build.names
        for path, cause, remedies in [done[name.text]]
    ]


class _Case:
    """One name: its path, the look-ups beside it, and what follows from them."""

    def __init__(
        self, look: Lookups, path: Path, elsewhere: Sequence[Elsewhere], *, verify: bool
    ) -> None:
        self.look = look
        self.path = path
        self.elsewhere = elsewhere
        self.verify = verify
        self.text = look.text
        self.client = look.setting.client

    def judge(self) -> tuple[Cause | None, list[Remedy]]:
        """Go through the causes, the nearest to the user's file first."""
        if self.path.ends == "engine":
            return None, []
        if self.look.fault:
            return self.invalid(self.look.fault)
        if not self.look.setting.asks_docker:
            return self.docker_not_asked()
        return self.docker_asked(self.path.step("docker"))

    def docker_asked(self, step: Step | None) -> tuple[Cause | None, list[Remedy]]:
        """Return why the engine that was asked did not give the user's image."""
        if step is not None and step.outcome == "not-asked":
            return self.engine_silent(step)
        if step is not None and step.wrong_arch:
            return self.other_architecture(step)
        if self.look.found_here:
            return self.rewritten(step)
        if self.away:
            return self.other_engine(step, *self.away)
        if self.path.ends != "nowhere":
            return None, []  # a cache or a registry has it, which is what they are for
        alike = self.look.alike()
        return self.under_another_name(step, *alike) if alike else self.not_local()

    # What each cause says, and what mends it.

    def invalid(self, fault: errors.InvalidReference) -> tuple[Cause, list[Remedy]]:
        evidence = [f"{self.client.title} reports no invalid name, and goes on with it"]
        evidence += map(str, self.path.steps[1:])
        lower = self.text.lower()
        remedies = [Remedy(what=fault.remedy)] if fault.remedy else []
        with contextlib.suppress(errors.InvalidReference):
            parse(lower)
            if self.look.live and self.look.live.ask(lower).outcome == "found":
                remedies = mend.write(self.look, lower, "the engine has it in lower case")
        return _cause("invalid-name", fault.what, evidence), remedies

    def docker_not_asked(self) -> tuple[Cause | None, list[Remedy]]:
        pull = self.look.setting.pull
        would = self.look.would()
        if would.outcome != "found":
            if self.path.ends != "nowhere":
                return None, []  # no local image is passed over
            if not (self.look.found_here or self.away):
                return self.not_local(would)
        do = "leave out --pull" if pull else "give the build --docker"
        why = f"it is {'given --pull' if pull else 'not given --docker'}, so Docker is not asked"
        evidence = [str(each) for each in self.path.steps if each.stage == "docker"]
        evidence += [str(would), f"the build ends: {self.path.steps[-1]}"]
        command = "linuxkit build --docker ..."
        if would.outcome == "found":
            remedies = [mend.live(do, would, command=command)]
            return _cause("docker-not-asked", why, evidence), remedies
        after, more = self.docker_asked(would)
        cause = _cause("docker-not-asked", why, evidence)
        return _both(cause, "when it is", after), _first(do, command, more)

    def engine_silent(self, step: Step) -> tuple[Cause, list[Remedy]]:
        live = self.look.live
        if live is not None and _TOO_OLD.search(step.detail):
            return self.api_version_refused(step, live)
        if self.away:
            return self.other_engine(step, *self.away)
        missing = [_NO_LOCAL_IMAGE, *self.unheard]
        passes = "LinuxKit passes over that, and pulls"
        if _NOT_LET_IN.search(step.detail):
            why = f"this user may not ask the engine; {passes}"
            remedy = Remedy(
                what="let this user speak to the engine",
                command="sudo usermod -aG docker $USER && newgrp docker",
            )
            if live:
                why = f"the engine answers, and does not let this user ask for an image; {passes}"
                remedy = Remedy(what="let this user pass, in the engine's authorization plugin")
            return _cause("permission-denied", why, [str(step)], missing), [remedy]
        why = f"no answer came from the engine that LinuxKit asks; {passes}"
        remedy = Remedy(
            what="start the engine, or point LinuxKit at the one that runs",
            command="export DOCKER_HOST=unix:///path/to/docker.sock",
        )
        if live:
            why = f"the engine gave no answer about the name; {passes}"
            remedy = Remedy(what="see in the engine's log why it gives no answer")
        return _cause("engine-unreachable", why, [str(step)], missing), [remedy]

    def api_version_refused(self, step: Step, live: Engine) -> tuple[Cause, list[Remedy]]:
        asks_in = self.client.version_for(live, self.look.setting.api_version)
        why = (
            f"{self.client.title} asks in API version {asks_in}, and the engine takes"
            f" {live.min_api_version or '?'} to {live.api_version}; LinuxKit passes over that"
            " refusal and pulls"
        )
        remedies = [*mend.api_version(self.look), *mend.release(self.look)]
        missing = [] if remedies else [_NOTHING_MENDS]
        evidence = [str(step), *self.look.said_here()]
        return _cause("api-version-refused", why, evidence, missing), remedies

    def other_architecture(self, step: Step) -> tuple[Cause, list[Remedy]]:
        arch = self.look.setting.arch
        why = f"the engine has it, and not for {arch}; LinuxKit takes that for no image"
        return _cause("architecture-differs", why, [str(step)]), [
            *mend.architecture(self.look, step.asked),
            Remedy(
                what=f"build the image for {arch}",
                command=f"docker build --platform linux/{arch} -t {self.text} ...",
            ),
        ]

    def rewritten(self, step: Step | None) -> tuple[Cause, list[Remedy]]:
        asked = self.path.asked if step is None else step.asked
        evidence = [str(self.path.steps[0]), *_said(step), *self.look.said_here()]
        if step is None:
            evidence.append(f"asked for: {asked}")
        why = (
            f"{self.client.title} makes {asked} of it, which is another name; the image is there as"
            f" {self.text}"
        )
        remedies = [
            *mend.release(self.look),
            *mend.tag(self.look, self.text, asked, verify=self.verify),
            *mend.spell(self.look),
        ]
        missing = [] if remedies else [_NOTHING_MENDS]
        return _cause("domain-rewritten", why, evidence, missing), remedies

    def other_engine(
        self, step: Step | None, origin: str, engine: Engine, answer: Answer
    ) -> tuple[Cause, list[Remedy]]:
        evidence = [*_said(step), *self.look.said(engine, answer)]
        why = (
            f"the image is in the engine of the {origin}; LinuxKit knows no contexts, and asks"
            " DOCKER_HOST or the default socket"
        )
        what, command = "point LinuxKit at that engine", f"export DOCKER_HOST={engine.url}"
        look = self.look.at(engine)
        would = look.would()
        if would.outcome == "found":
            remedies = [mend.live(what, would, command=command)]
            return _cause("other-engine", why, evidence), remedies
        after, more = _Case(look, self.path, (), verify=self.verify).docker_asked(would)
        cause = _cause("other-engine", why, evidence)
        return _both(cause, "there", after), _first(what, command, more)

    def under_another_name(
        self, step: Step | None, code: str, other: Reference
    ) -> tuple[Cause, list[Remedy]]:
        live, name = self.look.live, other.familiar
        answer = live.ask(other.canonical) if live else None
        evidence = [
            *_said(step),
            *self.look.said_here(),
            *self.look.said(live, answer, other.canonical),
        ]
        why = f"there is no {self.text} in the engine, and there is {name}"
        asked = self.path.asked if step is None else step.asked
        return _cause(code, why, evidence, self.unheard), [
            *mend.write(self.look, name, "it is there under this name"),
            *mend.tag(self.look, name, asked, verify=self.verify),
        ]

    def not_local(self, would: Step | None = None) -> tuple[Cause, list[Remedy]]:
        """Return what follows where no engine, cache or registry gives the image.

        Args:
            would: What the engine says that the build does not ask.
        """
        if tagged := self.port_taken_for_tag():
            return tagged
        answer = self.path.answer
        outcome = answer.outcome if answer else ""
        evidence = [str(each) for each in self.path.steps if each.stage != "expansion"]
        missing = self.unheard
        if would is not None:
            evidence.append(str(would))
            if self.look.here is None or self.look.here.outcome == "not-asked":
                missing = [f"{_NO_LOCAL_IMAGE} ({would.detail})", *missing]
        if answer and outcome == "not-asked":
            missing = [*missing, f"whether a registry has it ({answer.detail})"]
            if self.nested():
                return self.nested_hub_name(answer.address, evidence, missing)
        build = mend.make(self.look, self.path.asked)
        if answer and outcome == "login-needed":
            why = f"it is in no engine at hand, and a login is needed at {answer.route}"
            if self.nested():
                why += ", which is asked with docker.io/ in front of the name or without"
            host = "" if answer.host == DOCKER_HUB else f" {answer.host}"
            return _cause("registry-login", why, evidence, missing), [
                Remedy(what="log in", command=f"docker login{host}"),
                *build,
            ]
        if answer and outcome == "unreachable":
            why = f"it is in no engine at hand, and no registry answers at {answer.route}"
            return _cause("registry-unreachable", why, evidence, missing), [
                Remedy(what=f"make {answer.address} reachable"),
                *build,
            ]
        why = "no engine, cache or registry that was asked has it"
        return _cause("no-such-image", why, evidence, missing), (
            mend.make(self.look, self.path.asked, pulls=True)
        )

    def nested(self) -> bool:
        """Whether the rule leaves a nested name of Docker Hub without its domain."""
        first, _, rest = self.path.asked.partition("/")
        hub = self.look.meant is not None and self.look.meant.domain == DOCKER_HUB
        return hub and "/" in rest and not is_domain(first)

    def nested_hub_name(
        self, address: str, evidence: list[str], missing: list[str]
    ) -> tuple[Cause, list[Remedy]]:
        first = self.path.asked.partition("/")[0]
        why = (
            "the rule leaves it without docker.io/, so that its first part can be read as a host:"
            f" to containerd's parser a pull goes to {first}, and the registry library of this"
            f" release asks {address}"
        )
        fixed = normalize.expand(self.text)
        return _cause("nested-hub-name", why, evidence, missing), [
            *mend.write_for_pull(self.look, fixed, "with its domain it is read in one way only"),
            *mend.make(self.look, self.path.asked),
        ]

    def port_taken_for_tag(self) -> tuple[Cause, list[Remedy]] | None:
        """Return the cause where the cache has the name with the tag that the rule left out."""
        rule, meant = self.client.rule, self.look.meant
        if not rule.has_with_tag or meant is None or meant.tag or meant.digest:
            return None
        asked = rule.expand(self.text, with_tag=True).asked
        if asked.endswith(":latest"):
            return None
        setting = self.look.setting
        there = cache.look_up(setting.cache, f"{asked}:latest", setting.arch)
        if there.outcome != "found":
            return None
        evidence = [
            *(str(each) for each in self.path.steps if each.stage == "cache"),
            f"with-tag: {self.text} becomes {asked}, without :latest",
            f"cache: {asked}:latest: found ({there.digest})",
        ]
        why = f"the ':' of the port counts as one of a tag, so {asked} is looked up without :latest"
        tagged = f"{self.text}:latest"
        return _cause("port-taken-for-tag", why, evidence), (
            mend.write_for_pull(self.look, tagged, "with its tag it is found in the cache")
        )

    # The user's other engines.

    @functools.cached_property
    def asked_elsewhere(self) -> list[tuple[Elsewhere, Answer]]:
        """What each other engine says to the name as the user wrote it."""
        return [(place, self.ask_at(place)) for place in self.elsewhere]

    def ask_at(self, place: Elsewhere) -> Answer:
        if isinstance(place.engine, errors.KitrefError):
            return Answer(outcome="not-asked", detail=place.engine.what)
        return self.look.typed(place.engine)

    @property
    def away(self) -> tuple[str, Engine, Answer] | None:
        """Another engine that has the image, how it was found, and its answer."""
        for place, answer in self.asked_elsewhere:
            if answer.outcome == "found" and not isinstance(place.engine, errors.KitrefError):
                return place.origin, place.engine, answer
        return None

    @property
    def unheard(self) -> list[str]:
        """The other engines that gave no answer, as what is not known."""
        return [
            f"whether the engine of the {place.origin} has the image ({answer.detail})"
            for place, answer in self.asked_elsewhere
            if answer.outcome == "not-asked"
        ]


_NOTHING_MENDS: Final = "what mends it, as no later release finds it on this engine"


def _cause(code: str, why: str, evidence: Iterable[str], missing: Sequence[str] = ()) -> Cause:
    once = tuple(dict.fromkeys(evidence))
    return Cause(code=code, why=why, evidence=once, missing="; ".join(missing))


def _said(step: Step | None) -> list[str]:
    return [str(step)] if step else []


def _both(cause: Cause, when: str, after: Cause | None) -> Cause:
    """Return a cause that hides a second one, with what is known of both."""
    if after is None:
        return cause
    why = f"{cause.why}; and {when}, {CAUSES[after.code]}: {after.why}"
    missing = [after.missing] if after.missing else []
    return _cause(cause.code, why, [*cause.evidence, *after.evidence], missing)


def _first(what: str, command: str, more: list[Remedy]) -> list[Remedy]:
    """Return a remedy that is not enough, and those that have to follow it."""
    return [Remedy(what=f"{what}, and also as follows" if more else what, command=command), *more]
