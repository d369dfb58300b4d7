"""The command `kitref`: arguments in, calls out, exit code.

Each command is in a module that is imported when the command runs, and imports what it needs
when it runs, so that none waits for what it does not use.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any

import click

from kitref import __version__, errors
from kitref.cli import ends

_COMMANDS = {
    "expand": "names",
    "expand-file": "columns",
    "parse": "names",
    "compare": "corpus",
    "oracle": "corpus",
    "diagnose": "diagnose",
    "bisect": "diagnose",
    "conform": "conform",
    "regress": "regress",
    "engines": "engines",
}


class _Kit(click.Group):
    """A group whose commands end with the kit's exit codes; only a crash shows a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click has it
        """Return the commands' names, in the order of the help page."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, whose module is imported now."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"kitref.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run a command, and turn what it raises into an exit code."""
        _buffer_output()
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except errors.KitrefError as error:
            ends.complain(error)
            ctx.exit(ends.exit_code(error))
        except BrokenPipeError:
            ends.drop_output()
            ctx.exit(ends.NOBODY_READS)
        except KeyboardInterrupt:
            ctx.exit(ends.INTERRUPTED)
        except OSError as error:
            ends.drop_output()
            click.secho(f"kitref: {error}", err=True, fg="red")
            ctx.exit(ends.CRASH)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - the one place where anything at all ends
            import traceback

            if lacking := _lacking(error):
                ends.complain(lacking)
                ctx.exit(ends.USAGE)
            traceback.print_exc()
            click.secho("kitref: crashed; please report the above", err=True, fg="red")
            ctx.exit(ends.CRASH)
        return result


def _lacking(error: Exception) -> errors.UsageError | None:
    """Return what to install, where an error is that a package of the extra is not there."""
    name = isinstance(error, ModuleNotFoundError) and error.name
    if not name or name.partition(".")[0] == "kitref":
        return None
    what = f"this command needs a package that is not there ({name})"
    return errors.UsageError(what, remedy="pip install 'kitref[kit]'")


def _buffer_output() -> None:
    """Have all three streams, and a buffer for the output where PYTHONUNBUFFERED took it away.

    Without one, Python hands each text to the system once, and drops what a pipe does not take.
    """
    for name in ("stdin", "stdout", "stderr"):  # one that was closed is None
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    if isinstance(sys.stdout.buffer, io.RawIOBase):
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(sys.stdout.buffer),
            encoding=sys.stdout.encoding,
            errors=sys.stdout.errors,
            line_buffering=True,
        )


@click.group(cls=_Kit, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kitref", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Which name does a tool ask a container engine for, and does the engine find the image?

    \b
    Exit codes: 0 all as expected, 1 a finding (such as an invalid name),
    2 wrong usage, 3 no engine, 4 a crash; 130 after Ctrl-C, 141 when nobody
    reads the output, 143 after SIGTERM. NO_COLOR=1 takes the colours away.
    """  # noqa: D301 - click's mark
    if os.environ.get("NO_COLOR"):
        ctx.color = False  # by default click looks whether it writes to a terminal
