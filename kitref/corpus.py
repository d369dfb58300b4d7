"""The reference corpus: texts given as the names of images, and what each must become.

The cases are data (`data/corpus.jsonl`, one a line), so that anyone can read, extend and reuse
them. What a line holds is said in one place, `data/corpus.schema.json`: the loader reads its
rules from there, and refuses a file that breaks them with file, line and, where it is known,
column.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from kitref.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.resources.abc import Traversable

__all__ = ["Case", "Status", "families", "load", "taggable"]

Status = Literal["valid", "invalid", "implementation-defined"]

_DATA = resources.files("kitref") / "data"
_BOM = b"\xef\xbb\xbf"
_SEE_SCHEMA = "see kitref/data/corpus.schema.json for what a line holds"

# The names that JSON Schema gives to the kinds of values, as far as the schema uses them.
_KINDS: dict[str, type] = {"object": dict, "string": str, "null": type(None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One text, and what it must become.

    Attributes:
        id: The case's name, unique in the corpus.
        text: The text as it was given; unique too.
        family: The group that the case belongs to.
        status: Whether the text is a valid reference; `implementation-defined` where recognised
            implementations differ, and then the parts are those of Go's distribution/reference.
        domain: The registry's domain with its port. Like the parts below, None if invalid.
        path: The repository path.
        tag: The tag, None where there is none.
        digest: The digest with its algorithm, None where there is none.
        familiar: The familiar name with tag and digest.
        canonical: The canonical name with tag and digest, no `:latest` added.
        expanded: What the fixed rule makes of the text.
        expanded_with_tag: The same with `:latest` where there is neither tag nor digest.
        why: The reason, one sentence.
        source: The address of the issue, specification or documentation behind it.
        expected_by: Who says what is expected: `hand`, or an implementation with its version.
    """

    id: str
    text: str
    family: str
    status: Status
    domain: str | None
    path: str | None
    tag: str | None
    digest: str | None
    familiar: str | None
    canonical: str | None
    expanded: str | None
    expanded_with_tag: str | None
    why: str
    source: str
    expected_by: str


def load(path: str | Path | None = None) -> tuple[Case, ...]:
    """Read a corpus.

    Args:
        path: A JSON Lines file of cases; the kit's own if not given.

    Returns:
        The cases, in the order of the file.

    Raises:
        CorpusError: The file cannot be read, or a line of it is no case.
    """
    return _kit_corpus() if path is None else _read(Path(path))


def families() -> tuple[str, ...]:
    """Return the families that a case can belong to, in alphabetical order."""
    return tuple(_schema()["properties"]["family"]["enum"])


def taggable(per_family: int = 0) -> list[str]:
    """Return names of the kit's corpus that an image can be tagged with.

    Args:
        per_family: How many of each family at most, the first by id; 0 means all.

    Returns:
        Valid names without a digest, in the order of the corpus.
    """
    taken: Counter[str] = Counter()
    names = []
    for case in load():
        if case.status == "valid" and case.digest is None:
            taken[case.family] += 1
            if not per_family or taken[case.family] <= per_family:
                names.append(case.text)
    return names


@functools.cache
def _kit_corpus() -> tuple[Case, ...]:
    return _read(_DATA / "corpus.jsonl")


@functools.cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((_DATA / "corpus.schema.json").read_bytes())
    return schema


def _read(file: Traversable) -> tuple[Case, ...]:
    try:
        content = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(
            f"{file}: cannot be read ({reason})", remedy="give a JSON Lines file of cases"
        ) from error
    if content.startswith(_BOM):
        _refuse(f"{file}:1:1", "a byte order mark", "save it as UTF-8 without one")
    lines = content.removesuffix(b"\n").split(b"\n")
    if lines == [b""]:
        _refuse(f"{file}:1:1", "an empty file where a case was expected", _SEE_SCHEMA)
    cases: list[Case] = []
    seen: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines, start=1):
        case = _case(line, f"{file}:{number}")
        for key in ("id", "text"):
            value = getattr(case, key)
            first = seen.setdefault((key, value), number)
            if first != number:
                _refuse(
                    f"{file}:{number}",
                    f"{key} {_shown(value)} is already that of line {first}",
                    "change one of the two or remove it",
                )
        cases.append(case)
    return tuple(cases)


def _case(line: bytes, where: str) -> Case:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        column = len(line[: error.start].decode()) + 1
        _refuse(
            f"{where}:{column}", f"byte {line[error.start]:#04x} is no UTF-8", "save it as UTF-8"
        )
    try:
        record = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        _refuse(
            f"{where}:{error.colno}", f"no JSON: {error.msg}", "put one JSON object on the line"
        )
    except (ValueError, RecursionError) as error:
        _refuse(where, f"no JSON of ours: {error}", _SEE_SCHEMA)
    for key, fault in itertools.chain(_faults(record, _schema()), _contradictions(record)):
        at = re.search(rf'"{re.escape(key)}"\s*:', text) if key else None
        _refuse(f"{where}:{at.start() + 1}" if at else where, fault, _SEE_SCHEMA)
    return Case(**record)


def _refuse(where: str, what: str, remedy: str) -> NoReturn:
    raise CorpusError(f"{where}: {what}", remedy=remedy)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _once(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    record: dict[str, object] = {}
    for key, value in pairs:
        if key in record:
            raise ValueError(f"key {_shown(key)} stands twice")
        record[key] = value
    return record


def _faults(value: object, schema: dict[str, Any], key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the key and the fault of everything in a value that breaks a schema.

    This reads the part of JSON Schema that the corpus's schema is written in. The library
    jsonschema knows all of it, but takes two seconds to import; a test holds the two together.
    """
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    wanted = schema.get("description") or " or ".join(kinds)
    if kinds and not isinstance(value, tuple(_KINDS[kind] for kind in kinds)):
        yield key, f"{key or 'the line'} is {_shown(value)}, expected {' or '.join(kinds)}"
        return
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        yield key, f"{key} is {_shown(value)}, expected {wanted}"
    if isinstance(value, str) and not _text_fits(value, schema):
        yield key, f"{key} is {_shown(value)}, expected {wanted}"
    if isinstance(value, dict):
        yield from _object_faults(value, schema)
    for part in schema.get("allOf", []):
        fits = not any(_faults(value, part["if"], key))
        for at, fault in _faults(value, part.get("then" if fits else "else", {}), key):
            yield at, f"{fault} ({part['description']})"


def _contradictions(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a schema cannot say: which values have to agree with others."""
    family, canonical = record["family"], record["canonical"]
    if not record["id"].startswith(f"{family}-"):
        yield "id", f"id is {_shown(record['id'])}, expected {family}- and a few words"
    if canonical is None:
        return
    domain = f"{record['domain']}/" if record["domain"] else ""
    tag = f":{record['tag']}" if record["tag"] else ""
    digest = f"@{record['digest']}" if record["digest"] else ""
    if canonical != (whole := f"{domain}{record['path']}{tag}{digest}"):
        yield "canonical", f"canonical is {_shown(canonical)}, its parts make {_shown(whole)}"


def _object_faults(record: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    properties: dict[str, Any] = schema.get("properties", {})
    for key in schema.get("required", []):
        if key not in record:
            yield "", f"key {key} is missing, expected {properties[key]['description']}"
    for key, value in record.items():
        if key in properties:
            yield from _faults(value, properties[key], key)
        elif schema.get("additionalProperties") is False:
            yield key, f"key {_shown(key)} is unknown, expected one of {', '.join(properties)}"


def _text_fits(text: str, schema: dict[str, Any]) -> bool:
    # Half of a surrogate pair is text to Python, but to no program that reads UTF-8.
    return (
        schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text))
        and re.search(schema.get("pattern", ""), text) is not None
        and not any("\ud800" <= letter <= "\udfff" for letter in text)
    )


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)} characters)"  # noqa: PLR2004
