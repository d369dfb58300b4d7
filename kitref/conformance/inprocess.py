"""A Python function as an adapter: ``python -m kitref.conformance.inprocess module:function``."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any


def main(name: str) -> None:
    """Answer the lines of standard input by a function.

    Args:
        name: ``module:function``; the module is looked for in the working directory too.
    """
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - a text is what belongs there
    module, _, path = name.partition(":")
    function: Any = importlib.import_module(module)
    for part in path.split("."):
        function = getattr(function, part)
    # What the function prints is no answer.
    sink, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        question = json.loads(line)
        try:
            said = function(question["text"], question["with_tag"])
        except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
            said = {"error": f"{type(error).__name__}: {error}"}
        answer = said if isinstance(said, Mapping) else {"asked": said}
        sink.write(json.dumps(dict(answer), default=repr) + "\n")
        sink.flush()


if __name__ == "__main__":
    main(sys.argv[1])
