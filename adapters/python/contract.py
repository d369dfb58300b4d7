"""The lines of kitref's adapter contract, answered by a function."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def answer(function: Callable[[str], Mapping[str, str | None]]) -> None:
    """Answer standard input.

    Args:
        function: From a text to the parts that the program knows; what it raises is a refusal.
    """
    for line in sys.stdin:
        try:
            said = dict(function(json.loads(line)["text"]))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the program's answer
            said = {"error": str(error) or type(error).__name__}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
