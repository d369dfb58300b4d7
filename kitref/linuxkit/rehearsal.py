"""A build's paths with real images and a real registry: old beside fixed, on an engine at hand."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from kitref import errors, registry, stores
from kitref.linuxkit import cache
from kitref.linuxkit.path import Setting, follow
from kitref.reference import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kitref.engines import Guest
    from kitref.linuxkit.client import Client
    from kitref.linuxkit.path import Path
    from kitref.registry.private import Registry


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What came of each name under each LinuxKit.

    Attributes:
        tagged: The image that was tagged with each name.
        names: The name as the user wrote it, by the one that stood in for it on the engine.
        paths: By the LinuxKit's title and the name that stood in, the path.
    """

    tagged: Mapping[str, str]
    names: Mapping[str, str]
    paths: Mapping[str, Mapping[str, Path]]


def rehearse(
    texts: Iterable[str],
    clients: Sequence[Client],
    *,
    guest: Guest,
    server: Registry,
    arch: str = "",
) -> Rehearsal:
    """Tag an image with each name, and follow the names as each LinuxKit would.

    Args:
        texts: The names as the user wrote them.
        clients: The LinuxKits.
        guest: The stay in the engine; on a user's engine names of the kit's own stand in.
        server: The private registry that every host leads to; no other is asked, and no login is
            sent.
        arch: The architecture; empty for the engine's own.

    Returns:
        What came of it.

    Raises:
        UsageError: A name cannot be tagged.
    """
    tagged, names = {}, {}
    for text in dict.fromkeys(texts):
        try:
            if parse(text).digest:
                raise errors.UsageError(
                    f"{text}: an image cannot be tagged with a digest", remedy="leave it out"
                )
        except errors.InvalidReference as error:
            raise errors.UsageError(f"{text}: {error.what}", remedy=error.remedy) from error
        own = guest.own(text)
        names[own] = text
        tagged[own] = guest.image(tagged_as=text)
    paths = {}
    for client in clients:
        hosts = {_host(client, own) for own in names}
        ask = functools.partial(
            registry.pull,
            arch=arch or guest.engine.arch,
            host_map=server.host_map(*hosts),
            ca=server.ca,
            offline=True,
        )
        setting = Setting(
            client=client,
            host_map=server.host_map(*hosts),
            engine=guest.engine,
            cache=cache.default(),
            registry=ask,
            arch=arch or guest.engine.arch,
        )
        paths[client.title] = follow(names, setting)
    return Rehearsal(tagged=tagged, names=names, paths=paths)


def examine(rehearsal: Rehearsal, *, guest: Guest, mends: str) -> list[str]:
    """Examine a rehearsal.

    Args:
        rehearsal: What came of it.
        guest: The stay in the engine.
        mends: The title of the LinuxKit whose paths have to end at the tagged images.

    Returns:
        What was checked, a line each.

    Raises:
        EngineUnavailable: A look-up was not asked: nothing is proved.
        Finding: Something does not hold.
    """
    engine = guest.engine
    behaviour = stores.classify(engine.kind, engine.store, engine.version)
    checked, wrong = [], []
    for title, paths in rehearsal.paths.items():
        for own, path in paths.items():
            step = path.step("docker")
            line = f"{title}, {rehearsal.names[own]}: ends at {path.ends}"
            if step is None:
                wrong.append(f"{line}, and no engine was asked")
                continue
            if step.outcome == "not-asked":
                raise errors.EngineUnavailable(f"{line}: {errors.printable(str(step))}")
            model = stores.predict(behaviour, tagged_as=own, asked=step.asked)
            if step.outcome != model:
                wrong.append(f"{line}: the model says {model}, the engine says {step.outcome}")
            elif model == "found" and step.image_id != rehearsal.tagged[own]:
                wrong.append(f"{line}: another image than the tagged one: {step.image_id}")
            elif title == mends and path.ends != "engine":
                wrong.append(f"{line}, and not at the engine")
            elif path.answer and path.answer.outcome not in ("login-needed", "refused"):
                wrong.append(f"{line}: a login was expected to be asked for: {path.answer}")
            else:
                checked.append(f"{line} ({path.steps[-1].detail})")
    if wrong:
        raise errors.Finding("; ".join(wrong))
    return checked


def _host(client: Client, text: str) -> str:
    try:
        return registry.locate(client.rule.expand(text).asked).host
    except (errors.InvalidReference, errors.Unpullable):
        return "kitref.invalid"
