"""The adapter contract: one JSON object a line in, one a line out. docs/conformance.md has it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS: Final = ("domain", "path", "tag", "digest", "familiar", "canonical", "asked")
"""What an adapter may claim of a text."""

LINE_LIMIT: Final = 1 << 20
"""Bytes of one line of an adapter; an answer to the longest case has a few thousand."""

Trouble = Literal["time-out", "crash", "missing", "malformed", "torrent"]
"""Why there is no answer to a case."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an adapter is asked: one line.

    Attributes:
        id: The question's name; with the tag wanted it ends with ``+tag``.
        text: The text, any Unicode.
        with_tag: Whether `asked` is to have ``:latest`` where there is no tag and no digest.
    """

    id: str
    text: str
    with_tag: bool = False

    @property
    def line(self) -> bytes:
        """The line, ASCII JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=True).encode() + b"\n"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an adapter answered to one question.

    Attributes:
        claims: The parts that it claims; one that it does not know is not among them.
        error: Why it refuses the text; empty where it does not.
        trouble: Why there is no answer; None where there is one.
        detail: The trouble in words.
        id: The question that it says it answers; None where it does not say.
    """

    claims: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    error: str = ""
    trouble: Trouble | None = None
    detail: str = ""
    id: object = None


def read(line: bytes) -> Reply:
    """Read one line of an adapter.

    Args:
        line: The line, without its end.

    Returns:
        The reply; one that breaks the contract is `malformed`, and says how.
    """
    try:
        value = json.loads(line, object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as error:
        return _malformed(f"no JSON ({error}): {line[:80]!r}")
    if not isinstance(value, dict):
        return _malformed(f"no JSON object: {line[:80]!r}")
    return dataclasses.replace(_said(value), id=value.get("id"))


def _said(value: Mapping[str, Any]) -> Reply:
    """Return what an object of an adapter says."""
    refusal = value.get("error")
    if refusal is not None:
        # Words, or an object as `kitref expand --json` has it.
        reason = refusal.get("reason", refusal) if isinstance(refusal, dict) else refusal
        return Reply(error=str(reason)[:500] or "no reason given")
    unknown = sorted(value.keys() - {*PARTS, "id", "text", "with_tag", "error"})
    if unknown:
        return _malformed(f"no such part: {', '.join(unknown)[:80]}; there are {', '.join(PARTS)}")
    claims = {part: value[part] for part in PARTS if part in value}
    for part, claim in claims.items():
        if claim is not None and not isinstance(claim, str):
            return _malformed(f"{part} is {claim!r}"[:100] + ", no text and no null")
    return Reply(claims=claims)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs; of two claims for one part none is the answer."""
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"twice {next(key for key in value if keys.count(key) > 1)!r}"[:80])
    return value


def _malformed(detail: str) -> Reply:
    return Reply(trouble="malformed", detail=detail)
