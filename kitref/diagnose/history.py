"""A build as every release would look its names up, and where that flips."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from typing import TYPE_CHECKING, Final

from kitref import rules
from kitref.diagnose.lookups import as_client
from kitref.linuxkit.client import of_release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitref.linuxkit import Build, Setting
    from kitref.linuxkit.path import Step
    from kitref.rules import Release

_AT_ONCE: Final = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one release finds.

    Attributes:
        release: The release.
        steps: Its look-up of each distinct name.
        gained: The names that it finds and the release before did not.
        lost: The names that it does not find, by the engine's answer, and that the last release
            with an answer did. A look-up that was not asked says nothing of a name.
    """

    release: Release
    steps: Mapping[str, Step]
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def finds(self, text: str) -> bool:
        """Whether the engine finds a name."""
        return self.steps[text].outcome == "found"

    @property
    def found(self) -> int:
        """How many of the names the engine finds."""
        return sum(map(self.finds, self.steps))

    @property
    def not_asked(self) -> int:
        """Of how many names the engine said nothing."""
        return sum(step.outcome == "not-asked" for step in self.steps.values())

    @property
    def flips(self) -> bool:
        """Whether something was gained or lost."""
        return bool(self.gained or self.lost)


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
    settings = [dataclasses.replace(setting, client=of_release(each)) for each in releases]
    pairs = [(text, each) for each in settings for text in texts]
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = pool.map(as_client, *zip(*pairs, strict=True)) if pairs else iter(())
        steps = [{text: next(answers) for text in texts} for _ in releases]
    rows: list[Row] = []
    had: dict[str, bool] = {}
    for release, of_it in zip(releases, steps, strict=True):
        has = {
            text: step.outcome == "found"
            for text, step in of_it.items()
            if step.outcome != "not-asked"
        }
        rows.append(
            Row(
                release=release,
                steps=of_it,
                gained=tuple(
                    text for text in has if rows and has[text] and not rows[-1].finds(text)
                ),
                lost=tuple(text for text in has if had.get(text) and not has[text]),
            )
        )
        had |= has
    return rows
