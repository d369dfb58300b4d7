"""What a diagnosis says: a cause, what it rests on, and what mends it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from kitref import errors
    from kitref.engines import Engine
    from kitref.linuxkit import Name, Path

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
    "engine-unreachable": "the engine gives no answer",
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
        missing: What is not known and could tell more; empty where nothing is open.
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
        verified: `live` (tried by a look-up), `model` (by the model of the engine's store), or
            `no` (it could not be tried).
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
        remedies: What mends that. Each is enough by itself, but for a first one that says that
            another has to follow.
    """

    name: Name
    path: Path
    cause: Cause | None
    remedies: tuple[Remedy, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Another engine of the user's than the one that LinuxKit asks.

    Attributes:
        engine: The engine, or why it cannot be had.
        origin: How it was found: the docker CLI's context.
    """

    engine: Engine | errors.KitrefError
    origin: str
