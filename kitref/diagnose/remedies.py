"""What mends a cause, tried before it is given; what was tried in vain is not given."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Final

from kitref import errors, normalize, rules, stores
from kitref.diagnose.records import Remedy
from kitref.engines import staying
from kitref.linuxkit import ask_docker, follow_one
from kitref.linuxkit.client import of_release
from kitref.reference import parse

if TYPE_CHECKING:
    from kitref.diagnose.lookups import Lookups
    from kitref.diagnose.records import Verified
    from kitref.engines import Engine
    from kitref.linuxkit.path import Step
    from kitref.rules import Release

_OWN: Final = "kitref.invalid/verify"


def release(look: Lookups) -> list[Remedy]:
    """Return the earliest later release from which on all find the image on this engine."""
    later = _later(look, look.text)
    return [live(f"use {_named(later[0])}", later[1])] if later else []


def write(look: Lookups, name: str, why: str) -> list[Remedy]:
    """Return another name to write in the file, with a later release where it takes both."""
    tried = look.would(text=name)
    if tried.outcome == "found":
        return [live(f"write {name} in the file: {why}", tried, command=name)]
    if tried.outcome == "not-asked":
        return [Remedy(what=f"write {name} in the file: {why}", command=name)]
    if later := _later(look, name):
        what = f"write {name} in the file, and use {_named(later[0])}: {why}"
        return [live(what, later[1], command=name)]
    return []


def write_for_pull(look: Lookups, name: str, why: str) -> list[Remedy]:
    """Return another name to write in the file, for a cache or a registry to find."""
    what = f"write {name} in the file: {why}"
    end = follow_one(name, look.setting).steps[-1]
    if end.outcome == "found":
        return [live(what, end, command=name)]
    return [Remedy(what=what, command=name)] if end.outcome == "not-asked" else []


def spell(look: Lookups) -> list[Remedy]:
    """Return another way to write the same name, which this release finds."""
    assert look.meant is not None  # noqa: S101 - an invalid name has no other
    ways = (look.meant.familiar, normalize.expand(look.text), look.meant.canonical)
    for way in dict.fromkeys(ways):
        if way != look.text and (tried := look.would(text=way)).outcome == "found":
            return [live(f"write {way} in the file: this release finds it so", tried, command=way)]
    return []


def tag(look: Lookups, image: str, asked: str, *, verify: bool) -> list[Remedy]:
    """Return the tag that makes this release find an image.

    Args:
        look: The name.
        image: A name that the image has.
        asked: The name that the release asks for.
        verify: Whether to try it, on an image of the kit's own.
    """
    name, proof = _findable(look, asked)
    if look.live is None or not name or name == image:
        return []
    remedy = Remedy(
        what="give the image the name that this release asks for",
        command=f"docker tag {image} {name}",
        verified="model",
        proof=proof,
    )
    if not verify:
        return [remedy]
    tried, image_id = _try_tag(look, look.live, as_asked=name == asked)
    if tried.image_id != image_id:
        return []
    proof = f"on an image of the kit's own: {tried}"
    return [dataclasses.replace(remedy, verified="live", proof=proof)]


def make(look: Lookups, asked: str, *, pulls: bool = False) -> list[Remedy]:
    """Return how to make the image, under a name by which this release finds it.

    Args:
        look: The name.
        asked: The name that the release asks for.
        pulls: Whether it may be somewhere to be pulled from.
    """
    if look.live is None:
        name, proof = look.text, ""
    else:
        name, proof = _findable(look, asked)
    remedies = []
    if name:
        command = f"docker build -t {name} ..."
        verified: Verified = "model" if proof else "no"
        remedies = [Remedy(what="build it", command=command, verified=verified, proof=proof)]
    if pulls and name == look.text:
        remedies.append(Remedy(what="pull it", command=f"docker pull {name}"))
    return remedies


def api_version(look: Lookups) -> list[Remedy]:
    """Return the API version that a client which does not negotiate finds the image in."""
    client, engine = look.setting.client, look.live
    if engine is None or client.negotiates:
        return []
    for version in dict.fromkeys((engine.min_api_version, engine.api_version)):
        if version and (tried := look.would(api=version)).outcome == "found":
            what = "let the client ask in a version that the engine takes"
            return [live(what, tried, command=f"export DOCKER_API_VERSION={version}")]
    return []


def architecture(look: Lookups, asked: str) -> list[Remedy]:
    """Return the build for the architecture that the image has."""
    has = look.live.ask(asked).arch if look.live else ""
    tried = ask_docker(asked, dataclasses.replace(look.setting, arch=has))
    if not has or tried.outcome != "found":
        return []
    return [live(f"build for {has}", tried, command=f"linuxkit build --arch {has} ...")]


def live(what: str, tried: Step, *, command: str = "") -> Remedy:
    """Return a remedy that a look-up has shown to help."""
    return Remedy(what=what, command=command, verified="live", proof=str(tried))


def _later(look: Lookups, text: str) -> tuple[Release, Step] | None:
    """Return the earliest later release from which on all find a name, and its look-up."""
    title = look.setting.client.title
    tool = "nitro-cli" if title.startswith("nitro-cli@") else "linuxkit"
    known = [each for each in rules.releases() if each.tool == tool]
    at = next((i for i, each in enumerate(known) if each.name == title), -1)
    found = None
    tried: dict[object, Step] = {}
    for each in reversed(known[at + 1 :]):
        client = of_release(each)
        sort = client.rule.name, client.api_version, client.negotiates, client.checks_arch
        if sort not in tried:
            tried[sort] = look.would(client, text=text)
        if tried[sort].outcome != "found":
            break
        found = each, tried[sort]
    return found


def _named(later: Release) -> str:
    return f"{later.tool} {later.version} of {later.date} or later"


def _findable(look: Lookups, asked: str) -> tuple[str, str]:
    """Return a name by which an image is found where a name is asked for, and the model's word.

    Both are empty where there is none.
    """
    if look.live is None:
        return "", ""
    behaviour = stores.classify(look.live.kind, look.live.store, look.live.version)
    for name in dict.fromkeys((look.text, asked)):
        with contextlib.suppress(errors.InvalidReference):
            # No image is tagged with a digest.
            if parse(name).digest:
                continue
            if stores.predict(behaviour, tagged_as=name, asked=asked) == "found":
                return name, f"model of {behaviour.name}: {asked}: found"
    return "", ""


def _try_tag(look: Lookups, engine: Engine, *, as_asked: bool) -> tuple[Step, str]:
    """Try a tag on an image of the kit's own, under a name of its own like the user's."""
    with staying(engine) as guest:
        image_id = guest.image(tagged_as=f"{_OWN}:kitref")
        own = guest.own(look.text)
        name = look.setting.client.rule.expand(own).asked if as_asked else own
        guest.tag(image_id, name)
        tried = look.would(text=own)
        guest.untag(name)
    return tried, image_id
