"""Every exception of the kit.

Each says what was wrong, where, and what to do about it. Rooms below raise them; only
the command line turns them into an exit code.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


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


class EngineAddressError(UsageError):
    """A text that is no engine's address."""


class UnknownRule(UsageError):
    """No rule, release or commit has this name."""


class EngineUnavailable(KitrefError):
    """No such engine could be had: it is skipped with this reason, never passed."""


class CorpusError(UsageError):
    """A corpus that cannot be read: the file, the line, and what was expected there."""


class BuildFileError(UsageError):
    """A LinuxKit file that cannot be read or that LinuxKit refuses: file, line and column."""


class CredentialsError(UsageError):
    """Docker's configuration or a helper of it gives no login and no plain no; says why."""


class Unpullable(KitrefError, ValueError):
    """A name that LinuxKit's registry library takes for none: no registry is asked for it."""


class Finding(KitrefError):
    """A check did not hold: a regression, or an engine that answers otherwise than expected."""


class Fault(NamedTuple):
    """What makes a text no valid reference.

    Attributes:
        reason: What is wrong, in words.
        start: Where it begins in the text.
        end: Where it ends; the same as `start` where something is missing.
        remedy: What to do about it.
    """

    reason: str
    start: int
    end: int
    remedy: str


class InvalidReference(KitrefError, ValueError):
    """A text that is no valid reference.

    Making one costs little: where the fault lies is worked out when someone asks.

    Args:
        text: The text as it was given.
        find_fault: What finds the fault; a function of a module, so that the error can be pickled.

    Attributes:
        text: The text as it was given.
        reason: What is wrong, in words.
        start: Where the fault begins in the text.
        end: Where it ends; the same as `start` where something is missing.
        what: The reason, as a sentence.
        remedy: What to do about it.
    """

    reason: str
    start: int
    end: int

    if TYPE_CHECKING:

        def __init__(self, text: str, find_fault: Callable[[str], Fault]) -> None: ...

    else:
        # One written in Python takes as long as a match does. Both arguments are in `args`.
        __init__ = ValueError.__init__

    @property
    def text(self) -> str:
        """The text as it was given."""
        text: str = self.args[0]
        return text

    def __getattr__(self, name: str) -> object:
        """Work out the fault when one of its attributes is read for the first time."""
        if name not in _OF_THE_FAULT:
            raise AttributeError(name)
        self.reason, self.start, self.end, self.remedy = self.args[1](self.text)
        self.what = f"invalid reference: {self.reason}"
        return self.__dict__[name]

    def __str__(self) -> str:
        """Return the reason, the text with carets under the fault, and what to do."""
        shown, at, width = _clip(self.text, self.start, self.end)
        return f"{self.what}\n  {shown}\n  {' ' * at}{'^' * width}\n{self.remedy}"


_OF_THE_FAULT = frozenset({"reason", "start", "end", "what", "remedy"})
_FAULT_COLUMNS = 40
_SIDE_COLUMNS = 20


def printable(text: str) -> str:
    """Write a text so that a terminal shows all of it and obeys none of it.

    Args:
        text: Any text.

    Returns:
        The text in printable ASCII, everything else and the backslash escaped as Python does.
    """
    return text.encode("unicode_escape").decode("ascii")


def _clip(text: str, start: int, end: int) -> tuple[str, int, int]:
    """Return what is shown of a text, and where in it the fault begins and how wide it is."""
    left, right = max(0, start - _SIDE_COLUMNS), end + _SIDE_COLUMNS
    before = printable(text[left:start])[-_SIDE_COLUMNS:]
    fault = printable(text[start : min(end, start + _FAULT_COLUMNS)])
    if cut := len(fault) > _FAULT_COLUMNS or end > start + _FAULT_COLUMNS:
        fault = fault[:_FAULT_COLUMNS]
    after = "" if cut else printable(text[end:right])[:_SIDE_COLUMNS]
    before = f"...{before}" if left else before
    after = f"{after}..." if cut or right < len(text) else after
    return before + fault + after, len(before), max(1, len(fault))
