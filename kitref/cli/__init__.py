"""The command line: a module for each family of commands."""

from kitref.cli.program import main

__all__ = ["main"]
