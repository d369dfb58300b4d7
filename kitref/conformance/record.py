"""What `make conformance` wrote: every implementation's verdicts and findings."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from kitref import errors

_REMEDY = "write one by `python -m adapters --output FILE`, in a clone of kitref"


def load(file: str = "") -> dict[str, Any]:
    """Read what a survey wrote.

    Args:
        file: The file; empty for the kit's own.

    Returns:
        The record, with ``implementations``.

    Raises:
        UsageError: There is no such file, or it is no such record.
    """
    path = Path(file) if file else resources.files("kitref") / "data" / "conformance.json"
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise errors.UsageError(f"{path}: cannot be read ({error})", remedy=_REMEDY) from error
    if not isinstance(record, dict) or "implementations" not in record:
        raise errors.UsageError(f"{path}: no survey of implementations", remedy=_REMEDY)
    return record
