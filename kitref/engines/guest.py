"""Images of the kit's own in an engine, and none of them left behind.

A user's engine is a guest room. Every image that the kit makes carries a label with the run's
number, every name that it gives on a user's engine carries that number too, and both are
written into a lease before they are made. So they can be told from anyone else's and taken away
again: when the block ends, after Ctrl-C or an exception, and after a kill at the next start.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from kitref import errors
from kitref.engines import attach, dind, places
from kitref.reference import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kitref.engines.engine import Engine, Lookup
    from kitref.rules import Rule


@dataclasses.dataclass(slots=True, kw_only=True)
class Guest:
    """The kit's stay in one engine.

    Attributes:
        engine: The engine.
        run: The run's number, in the label of each image and in names on a user's engine.
        lease: What to clean up, on disk.
        stays: How many images this stay has made, so that each is another.
    """

    engine: Engine
    run: str
    lease: places.Lease
    stays: int = 0

    def image(self, *, tagged_as: str) -> str:
        """Make an image in the engine; each call makes another one.

        Args:
            tagged_as: The name to tag it with, as the user wrote it.

        Returns:
            The image's ID.

        Raises:
            EngineUnavailable: The engine took no image, or not with this name.
        """
        self.stays += 1
        run = f"{self.run}-{self.stays}"
        self._note(runs=[*self.lease.content["runs"], run])
        image_id = self.engine.load(run)
        self.tag(image_id, self.own(tagged_as))
        return image_id

    def lookup(self, rule: Rule, image: str, *, tagged_as: str | None = None) -> Lookup:
        """Ask the engine for a name as a rule expands it.

        Args:
            rule: The rule.
            image: The name as the user wrote it.
            tagged_as: The name under which the image was tagged, if another.

        Returns:
            The look-up.
        """
        return self.engine.lookup(
            rule.expand(self.own(image)), image=image, tagged_as=self.own(tagged_as or image)
        )

    def tag(self, image_id: str, name: str) -> None:
        """Put a name on an image of the kit's, as `tag_all` does with many.

        Raises:
            EngineUnavailable: The engine would not do it.
            UsageError: As there.
        """
        self._to_tag([name])
        self.engine.tag(image_id, name)

    def tag_all(self, image_id: str, names: Sequence[str]) -> list[str]:
        """Put names on an image of the kit's, as `Engine.tag_all` does.

        Args:
            image_id: The image.
            names: The names; on a user's engine such as `own` made.

        Returns:
            For each name what was wrong, empty where the image has it now.

        Raises:
            UsageError: A name is somebody else's on a user's engine.
            EngineUnavailable: The engine did not answer.
        """
        self._to_tag(names)
        return self.engine.tag_all(image_id, names)

    def _to_tag(self, names: Sequence[str]) -> None:
        """Write down names that are about to be given."""
        for name in names:
            if not self.engine.private and self.run not in name:
                raise errors.UsageError(f"{name} is not the kit's to give on {self.engine.title}")
        self._note(names=[*self.lease.content["names"], *names])

    def untag(self, *names: str) -> None:
        """Take names off again.

        By their canonical form: `1` or `cafe` could be the beginning of an image's ID, even of
        somebody else's, and engines take it for one where it fits.

        Raises:
            EngineUnavailable: The engine did not do it.
        """
        self.engine.remove(*(parse(name).canonical for name in names))
        gone = set(names)
        self._note(names=[name for name in self.lease.content["names"] if name not in gone])

    def _note(self, **what: list[str]) -> None:
        """Write down what there is to clean up."""
        self.lease.write(self.lease.content | what)

    def own(self, name: str) -> str:
        """Return the name to use for a name in this engine.

        Args:
            name: The name as the user wrote it.

        Returns:
            In a private engine the name itself. In a user's engine the same name with the run's
            number in front of the last part of its path: domain, number of parts, tag and spelling
            stay, so every rule treats it alike, and nobody else has it.
        """
        if self.engine.private:
            return name
        path, slash, last = name.rpartition("/")
        return f"{path}{slash}kitref-{self.run}-{last}"


@contextlib.contextmanager
def staying(engine: Engine) -> Iterator[Guest]:
    """Be a guest in an engine for the length of a ``with`` block.

    Args:
        engine: The engine.

    Yields:
        The stay. When it ends, every name and image that it made is gone.
    """
    run = secrets.token_hex(6)
    lease = places.Lease.take({"kind": "guest", "url": engine.url, "names": [], "runs": []})
    guest = Guest(engine=engine, run=run, lease=lease)
    try:
        yield guest
    except BaseException:
        clean(engine, lease)
        # What it was asked for last the engine may do yet: the next start looks again.
        lease.let_go()
        raise
    if clean(engine, lease):
        lease.end()
    else:
        lease.let_go()  # the next start tries again


def clean(engine: Engine, lease: places.Lease) -> bool:
    """Remove from an engine what a lease says that the kit made there.

    Returns:
        Whether all of it is gone; not so where the engine is.
    """
    try:
        ours = {image for run in lease.content["runs"] for image, _ in engine.made_by(run)}
        for name in lease.content["names"]:
            # A name can have moved to another image since: then it is no longer ours.
            canonical = parse(name).canonical
            if engine.ask(canonical).image_id in ours:
                engine.remove(canonical)
        for run in lease.content["runs"]:
            for image, names in engine.made_by(run):
                if not names:  # somebody else's name keeps it
                    engine.remove(image)
    except (errors.EngineUnavailable, OSError):
        # A private engine took everything with it.
        return engine.private
    return True


def sweep() -> None:
    """Clean up after everything whose kit was killed, in every engine that can be reached."""
    for lease in places.abandoned():
        url = lease.content.get("url", "")
        if lease.content.get("kind") == "private" or _left(url, lease):
            if folder := lease.content.get("folder"):
                places.discard(Path(folder))
            lease.end()
        else:
            lease.let_go()  # its engine is away: the next start tries again


def _left(url: str, lease: places.Lease) -> bool:
    """Leave an engine as it was, and say whether nothing of the kit's is in it any more."""
    try:
        engine = attach.connect(url)
    except errors.KitrefError:
        # A private engine's socket in a folder that is gone: so is all that the engine had.
        return url.startswith("unix://") and not Path(url.removeprefix("unix://")).parent.is_dir()
    with contextlib.closing(engine):
        if lease.content["kind"] == "dind":
            return dind.remove(engine, lease)
        return clean(engine, lease)
