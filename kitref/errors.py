"""Every exception of the kit.

Each says what was wrong, where, and what to do about it. Rooms below raise them; only
the command line turns them into an exit code.
"""

from __future__ import annotations


class KitrefError(Exception):
    """Something went wrong that the kit foresaw.

    Args:
        what: What was wrong and where, one sentence without a full stop.
        remedy: What the reader can do about it, one sentence; empty where nothing can be done.
    """

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        """Return what was wrong and, after it, what to do."""
        return f"{self.what}: {self.remedy}" if self.remedy else self.what


class UsageError(KitrefError):
    """An argument or a parameter that cannot be taken; nothing was run."""


class UnknownRule(UsageError):
    """No rule, release or commit has this name."""


class EngineUnavailable(KitrefError):
    """No such engine could be had: it is skipped with this reason, never passed."""
