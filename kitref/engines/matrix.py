"""Many look-ups: every name of a set, tagged in several ways, asked for as every rule makes it."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from typing import TYPE_CHECKING

from kitref import errors, stores
from kitref.engines import private
from kitref.engines.engine import Lookup
from kitref.engines.guest import Guest, staying
from kitref.reference import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kitref.engines.engine import Engine
    from kitref.rules import Rule

COLLIDING = ("bastion.io/foo:local", "docker.io/bastion.io/foo:local")
"""Two names with one familiar form."""

_TRANSPORTS = ("sha256:", "dir:", "docker-archive:", "oci:", "oci-archive:", "sif:")

TRANSPORTS = tuple(f"{transport}dbcc1c35ac38" for transport in _TRANSPORTS)
"""Names that Podman takes for the beginning of an ID, or for a transport and a path. They are
always asked for: each holds one word of what the model says that Podman refuses."""

TOGETHER = 32
"""How many names are in a store at a time at most, so that progress is seen."""

BY_ID = {
    "docker": {
        "the ID": "found",
        "its first 12 digits": "found",
        "docker.io/library/ and those": "absent",
    },
    "podman": {
        "the ID": "found",
        "its first 12 digits": "absent",
        "docker.io/library/ and those": "absent",
    },
}
"""What an engine answers to an image's ID: Docker looks for IDs and their beginnings beside names;
Podman's Docker API takes anything shorter than a whole ID for a short name of Docker Hub."""

_THROUGH_API = "through the API"
_BY_PODMAN = "by Podman's own command, as localhost/foo:t"
_UNENFORCED = "through the API, compat_api_enforce_docker_hub=false"

SHORT_NAMES = {
    _THROUGH_API: {
        "foo:t": "found",
        "docker.io/library/foo:t": "found",
        "localhost/foo:t": "absent",
    },
    _BY_PODMAN: {
        "foo:t": "absent",
        "docker.io/library/foo:t": "absent",
        "localhost/foo:t": "found",
    },
    _UNENFORCED: {
        "docker.io/library/foo:t": "absent",
        "localhost/foo:t": "found",
    },
}
"""What Podman answers about the short name `foo:t`, by how the image was tagged with it: its Docker
API takes a short name for one of Docker Hub, its own commands for one of localhost, and so does the
API where containers.conf(5) says so. Then no rule that adds docker.io/ finds the image."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Collision:
    """Two names, two images: what an engine answers when both are tagged.

    Attributes:
        names: The two names, in the order in which they were tagged.
        tagged: The IDs of the two images, in that order.
        answered: The IDs that the engine gave for the two names.
    """

    names: tuple[str, str]
    tagged: tuple[str, str]
    answered: tuple[str | None, str | None]

    @property
    def kept_apart(self) -> bool:
        """Whether each name still leads to its own image."""
        return self.tagged == self.answered


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What one engine answered to everything that it was asked.

    Attributes:
        engine: The engine.
        image_id: The ID of the image that all names were put on.
        lookups: The look-ups.
        collision: Two names with the same familiar form, and what became of them.
        by_id: What the engine answers to the image's ID, its first digits, and what the fixed rule
            makes of those: an ID is no name, and outside what the rule promises.
        short_names: What Podman answers about a short name, as `SHORT_NAMES` has it; empty for
            Docker, which has none of its own.
    """

    engine: Engine
    image_id: str
    lookups: tuple[Lookup, ...]
    collision: Collision
    by_id: dict[str, str]
    short_names: dict[str, dict[str, str]]


def survey(engine: Engine, images: Sequence[str], rules: Sequence[Rule]) -> Survey:
    """Ask an engine everything: every name, two names that may collide, an ID, short names.

    Args:
        engine: The engine.
        images: Valid names without a digest; `TRANSPORTS` are asked for besides.
        rules: The rules.

    Returns:
        Its answers.
    """
    image_id, lookups = ask_all(engine, list(dict.fromkeys((*images, *TRANSPORTS))), rules)
    return Survey(
        engine=engine,
        image_id=image_id,
        lookups=tuple(lookups),
        collision=collide(engine, *COLLIDING),
        by_id=ask_by_id(engine),
        short_names=ask_short_names(engine),
    )


def ask_by_id(engine: Engine) -> dict[str, str]:
    """Ask an engine for an image by its ID.

    Args:
        engine: The engine.

    Returns:
        The outcome for the whole ID, for its first twelve digits, and for those as the fixed rule
        would expand them if they were a name.
    """
    with staying(engine) as guest:
        digits = guest.image(tagged_as=stores.NOBODY).partition(":")[2]
        return {
            "the ID": engine.ask(digits).outcome,
            "its first 12 digits": engine.ask(digits[:12]).outcome,
            "docker.io/library/ and those": engine.ask(f"docker.io/library/{digits[:12]}").outcome,
        }


def ask_short_names(engine: Engine) -> dict[str, dict[str, str]]:
    """Ask Podman for a short name, tagged in each way that there is.

    Args:
        engine: The engine. Beside a private one another is started, with the setting by which
            Docker's API leaves short names to Podman.

    Returns:
        The outcomes, as `SHORT_NAMES` has them; nothing for Docker.

    Raises:
        EngineUnavailable: The other Podman did not start.
    """
    if engine.kind != "podman":
        return {}
    said = {
        how: _ask_short_name(engine, tagged_as, how)
        for how, tagged_as in ((_THROUGH_API, "foo:t"), (_BY_PODMAN, "localhost/foo:t"))
    }
    if engine.private:
        with private.running(
            private.choose(engine.name, engine.store),
            variables={"CONTAINERS_CONF": "/engine/containers.conf"},
            files={"containers.conf": "[engine]\ncompat_api_enforce_docker_hub=false\n"},
        ) as other:
            said[_UNENFORCED] = _ask_short_name(other, "foo:t", _UNENFORCED)
    return said


def _ask_short_name(engine: Engine, tagged_as: str, how: str) -> dict[str, str]:
    with staying(engine) as guest:
        guest.image(tagged_as=tagged_as)
        return {name: engine.ask(guest.own(name)).outcome for name in SHORT_NAMES[how]}


def ask_all(
    engine: Engine,
    images: Sequence[str],
    rules: Sequence[Rule],
    report: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[str, list[Lookup]]:
    """Ask an engine for every name as every rule makes it.

    Each name is in the store while it is asked for, tagged as it was written and, in a second
    round, under its canonical name with the tag written out; and no other is that could be taken
    for it. Names that one rule and another make alike are asked for once.

    Args:
        engine: The engine.
        images: Valid names without a digest, which cannot be tagged.
        rules: The rules.
        report: Called with how many names are done, and of how many.

    Returns:
        The ID of the one image that all names were put on, and the look-ups. ``tagged_as`` is empty
        where the engine would not take the name.
    """
    lookups: dict[str, list[Lookup]] = {image: [] for image in images}
    done = 0
    with staying(engine) as guest:
        image_id = guest.image(tagged_as=stores.NOBODY)
        for group in apart(images):
            report(done, len(images))
            fitting = [image for image in group if _fits(guest, image)]
            as_written = {image: image for image in fitting}
            in_full = {image: full for image in fitting if (full := _in_full(image)) != image}
            for tagged in (as_written, in_full):
                for image, said in _ask(guest, image_id, tagged, rules).items():
                    # Both are the same where the engine takes the name neither way.
                    if not lookups[image] or lookups[image][0].tagged_as != said[0].tagged_as:
                        lookups[image] = lookups[image] + said
            done += len(group)
        report(done, len(images))
    return image_id, list(itertools.chain.from_iterable(lookups.values()))


def apart(images: Iterable[str]) -> list[list[str]]:
    """Put names into groups in which none can be taken for another.

    What rules and engines put before a name, or leave out there, ends before the last part of its
    path; and what they put behind it is `:latest`.

    Args:
        images: Valid names.

    Returns:
        The groups, of `TOGETHER` names at most.
    """
    seen: collections.Counter[tuple[str, str]] = collections.Counter()
    groups: dict[int, list[str]] = collections.defaultdict(list)
    for image in images:
        reference = parse(image)
        key = reference.path.rpartition("/")[2], reference.tag or "latest"
        groups[seen[key]].append(image)
        seen[key] += 1
    return [
        group[first : first + TOGETHER]
        for group in groups.values()
        for first in range(0, len(group), TOGETHER)
    ]


def collide(engine: Engine, first: str, second: str) -> Collision:
    """Tag two images with two names and ask for both.

    Args:
        engine: The engine.
        first: The name that is tagged first.
        second: The name that is tagged second.

    Returns:
        What came of it. In a graph store two names can share one key: the second then takes the
        first one's place without a word.
    """
    with staying(engine) as guest:
        names = (guest.own(first), guest.own(second))
        tagged = (guest.image(tagged_as=first), guest.image(tagged_as=second))
        answered = (engine.ask(names[0]).image_id, engine.ask(names[1]).image_id)
    return Collision(names=(first, second), tagged=tagged, answered=answered)


def _ask(
    guest: Guest, image_id: str, tagged: Mapping[str, str], rules: Sequence[Rule]
) -> dict[str, list[Lookup]]:
    """Ask for names, each tagged in one way, as every rule makes them."""
    names = [guest.own(tagged_as) for tagged_as in tagged.values()]
    # Some engines refuse a name that is valid elsewhere (`Foo/bar`); asking still tells.
    faults = guest.tag_all(image_id, names)
    names = ["" if fault else name for name, fault in zip(names, faults, strict=True)]
    expansions = {image: [rule.expand(guest.own(image)) for rule in rules] for image in tagged}
    asked = list({each.asked for some in expansions.values() for each in some})
    answers = dict(zip(asked, guest.engine.ask_all(asked), strict=True))
    guest.untag(*filter(None, names))
    return {
        image: [
            Lookup(
                engine=guest.engine,
                expansion=expansion,
                image=image,
                tagged_as=name,
                outcome=answer.outcome,
                image_id=answer.image_id,
                detail=answer.detail,
            )
            for expansion in some
            if (answer := answers[expansion.asked])
        ]
        for name, (image, some) in zip(names, expansions.items(), strict=True)
    }


def _fits(guest: Guest, image: str) -> bool:
    """Whether a name can be made the kit's own and still says the same."""
    if image.startswith(_TRANSPORTS) and not guest.engine.private:
        return False  # it would begin with another word
    try:
        parse(guest.own(_in_full(image)))
    except errors.InvalidReference:
        return False  # at the limit of a name's length
    return True


def _in_full(image: str) -> str:
    reference = parse(image)
    # Not by `kitref.stores`, which is under test here: it says that no tag means latest.
    return reference.canonical if reference.tag else f"{reference.canonical}:latest"
