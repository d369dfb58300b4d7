"""A pure model of how image stores resolve a name. It predicts; only an engine proves.

Every store keeps names in one form and brings what it is asked for into that form first. The forms
differ, and that is the whole of LinuxKit's bug: under ``docker.io/bastion.io/foo`` a graph store
looks for ``bastion.io/foo``, and a containerd store does not.

Sources: moby/moby ``daemon/internal/refstore/store.go`` (graph driver) and
``daemon/containerd/image.go`` (containerd); containers/podman ``pkg/util`` and the registry
short names of containers/common. Each class is confirmed by the engines themselves in every run.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final, Literal

from kitref import errors
from kitref.grammar import PATH_LIMIT
from kitref.reference import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kitref.reference import Reference

Outcome = Literal["found", "absent", "refused"]
"""What a store can say about a name."""

MARKS: Final = {"found": "✓", "absent": "✗", "refused": "!", "not-asked": "?"}
"""A mark for each outcome of a look-up; it always stands beside the word."""

NOBODY: Final = "kitref.invalid/anchor:kitref"
"""A name that nobody asks for: that of the image, where what is asked for is no name."""


NEWEST: Final = {"docker": (28,), "podman": (5, 8)}
"""The newest version of each kind of engine whose answers are known, as far as it matters."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BehaviourClass:
    """The engines that answer alike.

    Attributes:
        name: ``docker-graph-20``, ``docker-graph``, ``docker-containerd`` or ``podman``.
        why: How its store keeps names, in a sentence.
        key: What it makes of a valid name before it looks it up.
        older_grammar: Whether names are read by the grammar that distribution/reference had before
            2022: no IPv6 address, no domain by nothing but an upper-case letter (``Foo/bar``), and
            a limit of 255 characters that counts the domain in.
        refused: What is no name to it besides, as a pattern for the beginning of a text.
    """

    name: str
    why: str
    key: Callable[[Reference], str]
    older_grammar: bool = False
    refused: re.Pattern[str] | None = None


def classify(kind: str, store: str, version: str) -> BehaviourClass:
    """Return the behaviour class of an engine.

    Args:
        kind: ``docker`` or ``podman``.
        store: ``graph``, ``containerd`` or ``podman``.
        version: The engine's version; one newer than any known falls in the newest class.

    Returns:
        The class.
    """
    if kind == "podman":
        return CLASSES["podman"]
    if store == "containerd":
        return CLASSES["docker-containerd"]
    major = re.match(r"\d+", version)
    return CLASSES["docker-graph-20" if major and int(major[0]) <= 20 else "docker-graph"]  # noqa: PLR2004 - the release in its name


def beyond(kind: str, store: str, version: str) -> str:
    """Return what is to be said of an engine that is newer than any known.

    Args:
        kind: ``docker`` or ``podman``.
        store: ``graph``, ``containerd`` or ``podman``.
        version: The engine's version.

    Returns:
        The newest known version, and the class with which this one is compared; empty where it is
        known, or says no version.
    """
    newest = NEWEST[kind]
    release = re.match(r"\d+(\.\d+)*", version)
    if not release or tuple(map(int, release[0].split(".")))[: len(newest)] <= newest:
        return ""
    known = f"{kind.capitalize()} {'.'.join(map(str, newest))}"
    return (
        f"newer than {known}, the newest whose answers are known; compared with class"
        f" {classify(kind, store, version).name}"
    )


def predict(behaviour: BehaviourClass, *, tagged_as: str, asked: str) -> Outcome:
    """Predict what a store says, if one image is in it under one name.

    Args:
        behaviour: The store's behaviour class.
        tagged_as: The name under which the image was tagged, a valid one.
        asked: The name that is looked up, any text but an image ID.

    Returns:
        The outcome that the model expects.
    """
    try:
        reference = parse(asked)
    except errors.InvalidReference:
        return "refused"
    if behaviour.older_grammar and _needs_newer_grammar(reference):
        return "refused"
    if behaviour.refused and behaviour.refused.match(asked):
        return "refused"
    return "found" if behaviour.key(reference) == behaviour.key(parse(tagged_as)) else "absent"


def explain(behaviour: BehaviourClass, names: Sequence[str]) -> str:
    """Return what a store makes of names before it looks them up, a line each.

    Args:
        behaviour: The store's behaviour class.
        names: The names: the tagged one first, then those that are asked for.

    Returns:
        Lines for a reader: each name, and the key that the model looks for.
    """
    lines = []
    for name in names:
        try:
            key = behaviour.key(parse(name))
        except errors.InvalidReference as error:
            key = f"none: {error.reason}"
        lines.append(f"{name}  ->  {key}")
    return "\n".join(lines)


def _needs_newer_grammar(reference: Reference) -> bool:
    """Whether a reference is valid only since 2022."""
    domain = reference.domain
    by_case_alone = domain != domain.lower() and not any(mark in domain for mark in ".:")
    name = f"{domain}/{reference.path}"
    return by_case_alone or domain.startswith("[") or len(name) > PATH_LIMIT


def _tagged(form: str, reference: Reference) -> str:
    """Return a form of a reference with the tag that it has when it names none."""
    return form if reference.tag or reference.digest else f"{form}:latest"


def _familiar(reference: Reference) -> str:
    return _tagged(reference.familiar, reference)


def _canonical(reference: Reference) -> str:
    return _tagged(reference.canonical, reference)


CLASSES = {
    behaviour.name: behaviour
    for behaviour in (
        BehaviourClass(
            name="docker-graph-20",
            why="keyed by familiar name: docker.io/ in front of a name changes nothing",
            key=_familiar,
            older_grammar=True,
        ),
        BehaviourClass(
            name="docker-graph",
            why="keyed by familiar name: docker.io/ in front of a name changes nothing",
            key=_familiar,
        ),
        BehaviourClass(
            name="docker-containerd",
            why="keyed by canonical name: docker.io/ in front of a domain is another name",
            key=_canonical,
        ),
        BehaviourClass(
            name="podman",
            why="keyed by canonical name: docker.io/ in front of a domain is another name",
            key=_canonical,
            older_grammar=True,
            # The beginning of an ID, and the transports of containers/image that take any path.
            refused=re.compile(r"sha256:|(?:dir|docker-archive|oci|oci-archive|sif):"),
        ),
    )
}
"""Every behaviour class, by name."""
