"""Known failures: JSON Lines, each ``{"id": CASE or CASE+tag, "reason": WHY}``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

from kitref import errors

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def load(path: Path, ids: Collection[str]) -> dict[str, str]:
    """Read known failures.

    Args:
        path: The file.
        ids: The cases that there are.

    Returns:
        The reason by the question's id: the case's, with ``+tag`` where the tag is wanted.

    Raises:
        UsageError: The file cannot be read, or a line is none; names file and line.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.UsageError(f"{path}: cannot be read ({error})") from error
    known: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            _refuse(f"{where}:{getattr(error, 'colno', 1)}: no JSON")
        if not isinstance(record, dict) or record.keys() != {"id", "reason"}:
            _refuse(f"{where}: expected an object with id and reason, and nothing else")
        name, reason = record["id"], record["reason"]
        if not isinstance(name, str) or name.removesuffix("+tag") not in ids:
            _refuse(f"{where}: no case is called {name!r}")
        if not isinstance(reason, str) or not reason.strip():
            _refuse(f"{where}: {name} has no reason")
        if name in known:
            _refuse(f"{where}: {name} again")
        known[name] = reason
    return known


def _refuse(what: str) -> NoReturn:
    raise errors.UsageError(what, remedy='write a line as {"id": "CASE", "reason": "WHY"}')
