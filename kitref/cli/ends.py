"""How a command ends: its exit code, and what it says before."""

from __future__ import annotations

import os
import sys

import click

from kitref import errors

FINDING, USAGE, NO_ENGINE, CRASH = 1, 2, 3, 4
# As a shell says it: 128 and the signal's number.
INTERRUPTED, NOBODY_READS = 130, 141


def end_on_sigterm() -> None:
    """Let SIGTERM, as CI sends it, unwind all that is under way, and a terminal that is closed."""
    import signal

    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) is not signal.SIG_IGN:  # as under nohup
            signal.signal(each, lambda number, _frame: sys.exit(128 + number))


def complain(error: errors.KitrefError) -> None:
    """Say on standard error what was wrong, and what to do."""
    if isinstance(error, errors.InvalidReference):
        what, _, rest = str(error).partition("\n")
    else:
        what, rest = error.what, error.remedy
    click.secho(f"kitref: {what}", err=True, fg="red")
    if rest:
        click.echo(rest, err=True)


def exit_code(error: errors.KitrefError) -> int:
    """Return the exit code that an error asks for."""
    if isinstance(error, errors.UsageError):
        return USAGE
    return NO_ENGINE if isinstance(error, errors.EngineUnavailable) else FINDING


def drop_output() -> None:
    """Let nothing more be written where nobody reads."""
    # Python flushes the output once more at its end, and would complain again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
