"""What LinuxKit's YAML library, go-yaml v3, takes a scalar for (`resolve` in its resolve.go)."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import math
import re
from typing import Final

_CORE: Final = "tag:yaml.org,2002:"
_WORDS: Final = {
    "<<": "merge",
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), "null"),
    **dict.fromkeys(("true", "True", "TRUE", "false", "False", "FALSE"), "boolean"),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), "number"),
    **{f"{sign}.{word}": "number" for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")},
}
# The tags that a value has to fit, and what it may be to fit them.
_FITTING: Final = {
    f"{_CORE}null": {"null"},
    f"{_CORE}bool": {"boolean"},
    f"{_CORE}int": {"integer"},
    f"{_CORE}float": {"integer", "number"},
    f"{_CORE}timestamp": {"other"},
}
_INTEGER: Final = re.compile(
    r"(?P<sign>[-+]?)(?P<base>0[xX]|0[bB]|0[oO]|0(?=[0-7])|)(?P<digits>[0-9a-fA-F]+)"
)
_BASES: Final = {"0x": 16, "0b": 2, "0o": 8, "0": 8, "": 10}
_LONGEST: Final = 64  # digits, of a number in 64 bits
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_FRACTION: Final = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")
_CLOCK: Final = r"[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\.[0-9]+)?"
_DATE: Final = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
    rf"([Tt]{_CLOCK}(Z|[-+][0-9]{{2}}:[0-9]{{2}})| {_CLOCK})?"
)


def resolve(value: str, tag: str | None, *, plain: bool) -> tuple[str, str]:
    """Return what a scalar is, and its value.

    Args:
        value: The text, without its quotes.
        tag: Its tag, in full; None where it has none.
        plain: Whether it stands without quotes.

    Returns:
        `null`, `boolean`, `integer` (also where a decimal point or an exponent makes a whole number
        of it), `number` or `string`, as JSON Schema has it, or `merge` or `other` (a date, and what
        has a tag of its own), which are strings too, but no keys; and the value, decoded if its tag
        is `!!binary`.

    Raises:
        ValueError: The value does not fit its tag; says why.
    """
    if tag in (None, "!"):
        return _plain(value) if plain else "string", value
    if tag == f"{_CORE}binary":
        try:
            return "other", base64.b64decode(value, validate=True).decode("utf-8", "replace")
        except ValueError as error:
            raise ValueError(f"!!binary that is no base64 ({error})") from error
    if fitting := _FITTING.get(str(tag)):
        if (kind := _plain(value)) not in fitting:
            raise ValueError(f"a {kind} that is tagged as !!{str(tag).removeprefix(_CORE)}")
        return kind, value
    # Also a tag that would make other libraries execute something.
    return "string" if tag == f"{_CORE}str" else "other", value


def _plain(text: str) -> str:
    """Return what a text is that stands without quotes."""
    if word := _WORDS.get(text):
        return word
    if text[0] == ".":
        return _number(float(text)) if _FRACTION.fullmatch(text) else "string"
    if text[0] not in "+-0123456789":
        return "string"
    if date := _DATE.fullmatch(text):
        with contextlib.suppress(ValueError):
            dt.date(*map(int, date.group("year", "month", "day")))
            return "other"
    digits = text.replace("_", "")
    if (integer := _integer(digits)) is not None:
        return "integer" if -(1 << 63) <= integer < 1 << 63 else "number"
    return _number(float(digits)) if _FLOAT.fullmatch(digits) else "string"


def _integer(text: str) -> int | None:
    """Return an integer in 64 bits, with a sign or without; None for what is none."""
    found = _INTEGER.fullmatch(text)
    if found is None or len(found["digits"]) > _LONGEST:
        return None
    try:
        value = int(found["sign"] + found["digits"], _BASES[found["base"].lower()])
    except ValueError:  # a digit that the base has not
        return None
    lowest, bound = (-(1 << 63), 1 << 63) if found["sign"] else (0, 1 << 64)
    return value if lowest <= value < bound else None


def _number(value: float) -> str:
    if math.isinf(value):  # too large: go-yaml leaves the text as it is
        return "string"
    return "integer" if value.is_integer() and abs(value) < 1 << 63 else "number"
