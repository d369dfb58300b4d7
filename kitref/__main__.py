"""`python -m kitref` is the command `kitref`."""

from kitref.cli import main

main(prog_name="kitref")
