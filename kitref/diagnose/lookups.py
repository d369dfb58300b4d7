"""The kit's own look-ups beside a name's path; they change nothing on the user's engine."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import threading
from typing import TYPE_CHECKING, Final

from kitref import errors
from kitref.linuxkit import ask_docker, read
from kitref.linuxkit.path import Step
from kitref.reference import DOCKER_HUB, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitref.engines import Answer, Engine
    from kitref.linuxkit import Client, Setting
    from kitref.reference import Reference

_HEX: Final = re.compile(r"(sha256:)?[0-9a-f]+")


def as_client(text: str, setting: Setting) -> Step:
    """Ask the engine for a name as the client does when it is told to.

    Args:
        text: The name as the user wrote it.
        setting: The build.

    Returns:
        The step. A name that the client does not come to ask for was refused.
    """
    try:
        asked = read(setting.client.rule.expand(text).asked)
    except (errors.InvalidReference, ValueError) as error:
        return Step(stage="docker", asked=text, outcome="refused", detail=str(error))
    return ask_docker(asked, setting)


class Listed:
    """The names of the images in an engine, asked for once and when somebody needs them."""

    def __init__(self, engine: Engine | errors.KitrefError) -> None:
        self.engine = engine
        self.lock = threading.Lock()
        self.known: dict[str, dict[object, Reference]] | None = None

    def alike(self, wanted: Reference) -> tuple[str, Reference] | None:
        """Return an image whose name differs in one thing only, and the cause which that is."""
        with self.lock:
            if self.known is None:
                self.known = {code: {} for code in _ALIKE}
                for name in self._read():
                    for code, key in _ALIKE.items():
                        self.known[code].setdefault(key(name), name)
        for code, key in _ALIKE.items():
            if other := self.known[code].get(key(wanted)):
                return code, other
        return None

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


class Lookups:
    """What can be asked about one name of a build.

    Args:
        text: The name as the user wrote it.
        setting: The build.
        listed: The names in its engine.

    Attributes:
        live: The engine; None where it cannot be had.
        meant: The name, parsed; None where it is invalid.
        fault: Why it is invalid.
    """

    def __init__(self, text: str, setting: Setting, listed: Listed) -> None:
        self.text = text
        self.setting = setting
        self.listed = listed
        self.live = None if isinstance(setting.engine, errors.KitrefError) else setting.engine
        self.meant: Reference | None = None
        self.fault: errors.InvalidReference | None = None
        try:
            self.meant = parse(text)
        except errors.InvalidReference as error:
            self.fault = error

    def at(self, engine: Engine) -> Lookups:
        """Return the same in another engine."""
        setting = dataclasses.replace(self.setting, engine=engine)
        return Lookups(self.text, setting, Listed(engine))

    def typed(self, engine: Engine) -> Answer:
        """Ask an engine for the name as the user wrote it."""
        return engine.ask(self._typed)

    @functools.cached_property
    def here(self) -> Answer | None:
        """What the engine that LinuxKit asks says to the name as the user wrote it."""
        return self.typed(self.live) if self.live else None

    @property
    def found_here(self) -> bool:
        """Whether that engine has the image under the name as the user wrote it."""
        return self.here is not None and self.here.outcome == "found"

    def would(self, client: Client | None = None, *, text: str = "", api: str = "") -> Step:
        """Ask for a name as a client does when it is told to.

        Args:
            client: The client; by default the build's.
            text: The name; by default the build's.
            api: DOCKER_API_VERSION; by default the build's.
        """
        setting = dataclasses.replace(
            self.setting,
            client=client or self.setting.client,
            api_version=api or self.setting.api_version,
        )
        return as_client(text or self.text, setting)

    def said(self, engine: Engine | None, answer: Answer | None, name: str = "") -> list[str]:
        """Return a look-up of the kit's own in one line; none where none was made."""
        if engine is None or answer is None:
            return []
        said = answer.detail or answer.image_id
        where = f"{engine.title} {engine.version}: {said}"
        return [f"kit: {name or self._typed}: {answer.outcome} ({where})"]

    def said_here(self) -> list[str]:
        """Return the look-up of the name as the user wrote it in one line."""
        return self.said(self.live, self.here)

    def alike(self) -> tuple[str, Reference] | None:
        """Return an image of the engine whose name differs in one thing only."""
        return self.listed.alike(self.meant) if self.meant else None

    @property
    def _typed(self) -> str:
        """What to ask an engine for the name as the user wrote it, and not for an image's ID."""
        return self.meant.canonical if self.meant and _HEX.fullmatch(self.text) else self.text


def _tag(reference: Reference) -> str:
    return reference.tag or "latest"


def _folded(reference: Reference) -> object:
    return f"{reference.domain}/{reference.path}".casefold(), _tag(reference).casefold()


def _place(reference: Reference) -> object:
    return reference.domain, reference.path


def _bare(reference: Reference) -> object:
    """Return a path as it is without what Docker Hub adds to it, and the tag."""
    path = reference.path
    if reference.domain == DOCKER_HUB:
        path = path.removeprefix("library/")
    return path, _tag(reference)


_ALIKE: Final[dict[str, Callable[[Reference], object]]] = {
    "other-case": _folded,
    "other-tag": _place,
    "other-domain": _bare,
}
"""What is equal in two names that differ in one thing only, by the cause that this is."""
