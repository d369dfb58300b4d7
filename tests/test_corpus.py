"""The corpus: what it holds, what the loader refuses, and whether the kit agrees with it."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kitref import InvalidReference, corpus, expand, parse, rule
from kitref.compare import pull_host
from kitref.errors import CorpusError

DATA = Path(str(resources.files("kitref") / "data"))
CASES = corpus.load()
VALID = [case for case in CASES if case.status != "invalid"]
INVALID = [case for case in CASES if case.status == "invalid"]

# By name, since the library brings no types; it comes with jupyterlab.
Validator = importlib.import_module("jsonschema").Draft202012Validator
SCHEMA = json.loads((DATA / "corpus.schema.json").read_bytes())
VALIDATOR = Validator(SCHEMA)

RECORD: dict[str, Any] = {
    "id": "domain-a",
    "text": "a.b/c:1",
    "family": "domain",
    "status": "valid",
    "domain": "a.b",
    "path": "c",
    "tag": "1",
    "digest": None,
    "familiar": "a.b/c:1",
    "canonical": "a.b/c:1",
    "expanded": "a.b/c:1",
    "expanded_with_tag": "a.b/c:1",
    "why": "A dot.",
    "source": "https://example.com/1",
    "expected_by": "hand",
}
# A reason that begins with one of these leans on the case before it.
LEANING = re.compile(
    r"(after|also|and|another|as|before|behind|but|either|here|its?|neither|nor|not|of|or|so|such"
    r"|that|the (other|same)|their|them|these|they|this|those|too)\b",
    re.IGNORECASE,
)
PARTS = ("domain", "path", "tag", "digest")
NAMES = ("familiar", "canonical", "expanded", "expanded_with_tag")
NO_CASE = RECORD | dict.fromkeys((*PARTS, *NAMES)) | {"status": "invalid"}


def line_of(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def ids(case: corpus.Case) -> str:
    return case.id


# What it holds.


def test_the_schema_is_one() -> None:
    Validator.check_schema(SCHEMA)


def test_every_line_fits_the_schema() -> None:
    for line in (DATA / "corpus.jsonl").read_text(encoding="utf-8").splitlines():
        assert [error.message for error in VALIDATOR.iter_errors(json.loads(line))] == []


def test_it_has_400_cases_or_more() -> None:
    assert len(CASES) >= 400


@pytest.mark.parametrize("key", ["id", "text", "why"])
def test_no_two_cases_share(key: str) -> None:
    twice = [value for value, n in Counter(getattr(case, key) for case in CASES).items() if n > 1]
    assert twice == []


@pytest.mark.parametrize("family", corpus.families())
def test_a_family_has_cases(family: str) -> None:
    assert [case for case in CASES if case.family == family]


def test_the_file_is_plain_ascii_sorted_and_in_one_order_of_keys() -> None:
    lines = (DATA / "corpus.jsonl").read_bytes().decode("ascii").splitlines()
    records = [json.loads(line) for line in lines]
    fields = [field.name for field in dataclasses.fields(corpus.Case)]
    assert {tuple(record) for record in records} == {tuple(fields)}
    assert [json.dumps(record) for record in records] == lines
    places = [(record["family"], record["id"]) for record in records]
    assert places == sorted(places)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_an_id_begins_with_its_family(case: corpus.Case) -> None:
    assert case.id.startswith(f"{case.family}-")


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_reason_stands_on_its_own(case: corpus.Case) -> None:
    assert not LEANING.match(case.why)
    assert len(case.why.split()) >= 6
    assert ". " not in case.why, "more than one sentence"


@pytest.mark.parametrize("case", VALID, ids=ids)
def test_the_names_are_made_of_the_parts(case: corpus.Case) -> None:
    ending = (f":{case.tag}" if case.tag else "") + (f"@{case.digest}" if case.digest else "")
    name = f"{case.domain}/{case.path}" if case.domain else case.path
    assert case.canonical == f"{name}{ending}"
    assert case.familiar is not None
    assert case.familiar.endswith(ending)
    assert case.expanded is not None
    assert case.expanded.endswith(case.text)
    latest = "" if ending else ":latest"
    assert case.expanded_with_tag == f"{case.expanded}{latest}"


# What the kit makes of it.


@pytest.mark.parametrize("case", VALID, ids=ids)
def test_parse_agrees(case: corpus.Case) -> None:
    found = parse(case.text)
    assert {part: getattr(found, part) for part in PARTS} == {
        part: getattr(case, part) for part in PARTS
    }
    assert (found.familiar, found.canonical) == (case.familiar, case.canonical)


@pytest.mark.parametrize("case", VALID, ids=ids)
def test_the_fixed_rule_agrees(case: corpus.Case) -> None:
    for with_tag, expected in ((False, case.expanded), (True, case.expanded_with_tag)):
        asked = rule("fixed").expand(case.text, with_tag).asked
        goes, should = pull_host("fixed", asked), pull_host("fixed", expected or "")
        assert expand(case.text, with_tag) == asked
        assert asked == expected, (
            f"rule fixed, {case.text}: asks for {asked}, expected {expected};"
            f" a pull goes to {goes or 'no host'}, expected {should or 'no host'}"
        )


@pytest.mark.parametrize("case", VALID, ids=ids)
def test_expand_twice_is_expand_once(case: corpus.Case) -> None:
    assert case.expanded is not None
    assert case.expanded_with_tag is not None
    assert expand(case.expanded) == case.expanded
    assert expand(case.expanded_with_tag, with_tag=True) == case.expanded_with_tag


@pytest.mark.parametrize("case", VALID, ids=ids)
def test_an_expansion_means_the_same(case: corpus.Case) -> None:
    assert parse(case.expanded or "").canonical == case.canonical


@pytest.mark.parametrize("case", INVALID, ids=ids)
def test_both_refuse(case: corpus.Case) -> None:
    with pytest.raises(InvalidReference):
        parse(case.text)
    with pytest.raises(InvalidReference):
        expand(case.text)
    with pytest.raises(InvalidReference):
        expand(case.text, with_tag=True)


# What the loader does.


def test_load_reads_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_bytes(line_of(RECORD) + line_of(NO_CASE | {"id": "domain-b", "text": "A"}))
    case, no_case = corpus.load(file)
    assert case == corpus.Case(**RECORD)
    assert no_case.canonical is None
    assert corpus.load(str(file)) == (case, no_case)


def test_load_takes_a_last_line_without_an_end_and_the_ends_of_windows(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    second = line_of(RECORD | {"id": "domain-b", "text": "a.b/d"}).rstrip()
    file.write_bytes(line_of(RECORD).replace(b"\n", b"\r\n") + second)
    assert len(corpus.load(file)) == 2


def test_a_line_separator_of_unicode_ends_no_line(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    record = NO_CASE | {"text": "a\u2028b"}
    file.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
    assert corpus.load(file)[0].text == "a\u2028b"


def test_a_case_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CASES[0].text = "x"  # type: ignore[misc]


# Lines that are JSON objects, and no cases: the schema's own affair.
NO_CASES: dict[str, tuple[dict[str, Any], str]] = {
    "key missing": (
        {key: value for key, value in RECORD.items() if key != "why"},
        ":1: key why is missing, expected the reason in one sentence",
    ),
    "key unknown": (RECORD | {"colour": "red"}, ": key 'colour' is unknown, expected one of id,"),
    "wrong type": (RECORD | {"text": 7}, ":1:20: text is 7, expected string"),
    "wrong type of tag": (RECORD | {"tag": 1}, ": tag is 1, expected string or null"),
    "wrong type of id": (RECORD | {"id": ["a"]}, ":1:2: id is ['a'], expected string"),
    "id in capitals": (RECORD | {"id": "Domain_A"}, ":1:2: id is 'Domain_A', expected the case's"),
    "id with a line end": (RECORD | {"id": "domain-a\n"}, ": id is 'domain-a\\n', expected the"),
    "family unknown": (RECORD | {"family": "foo"}, ": family is 'foo', expected the group"),
    "status unknown": (RECORD | {"status": "maybe"}, ": status is 'maybe', expected valid, inva"),
    "source no address": (RECORD | {"source": "hearsay"}, ": source is 'hearsay', expected the"),
    "why without a stop": (RECORD | {"why": "A dot"}, ": why is 'A dot', expected the reason"),
    "expected by the kit": (RECORD | {"expected_by": "us"}, ": expected_by is 'us', expected who"),
    "digest of no algorithm": (RECORD | {"digest": "md5:0"}, ": digest is 'md5:0', expected the"),
    "tag too long": (RECORD | {"tag": "a" * 129}, "(131 characters), expected the tag"),
    "path too long": (RECORD | {"path": "a" * 256}, "(258 characters), expected the repository"),
    "valid without parts": (
        NO_CASE | {"status": "valid"},
        ": domain is None, expected string (an invalid text has no parts, any other has",
    ),
    "valid without an expansion": (
        RECORD | {"expanded": None},
        ": expanded is None, expected string (an invalid text has no parts",
    ),
    "valid with an empty domain": (
        RECORD | {"domain": ""},
        ": domain is '', expected a domain (only an oddity of Go's has an empty one",
    ),
    "invalid with a path": (
        NO_CASE | {"path": "c"},
        ": path is 'c', expected null (an invalid text has no parts",
    ),
    "invalid with an expansion": (
        NO_CASE | {"expanded_with_tag": "c"},
        ": expanded_with_tag is 'c', expected null",
    ),
}
# Files that break before the schema is asked, or where it cannot see the fault.
NO_CORPORA: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", ":1:1: an empty file"),
    "empty line": (line_of(RECORD) + b"\n" + line_of(NO_CASE), ":2:1: no JSON: Expecting value"),
    "no json": (b"alpine\n", ":1:1: no JSON: Expecting value"),
    "cut off": (line_of(RECORD) + line_of(RECORD)[:40] + b"\n", ":2:"),
    "two on a line": (line_of(RECORD).rstrip() * 2 + b"\n", "no JSON: Extra data"),
    "a list": (b"[1]\n", ":1: the line is [1], expected object"),
    "a string": (b'"alpine"\n', ":1: the line is 'alpine', expected object"),
    "deeply nested": (b"[" * 200_000 + b"\n", ":1: no JSON of ours: "),
    "a huge number": (b"[" + b"1" * 10_000 + b"]\n", ":1: no JSON of ours: "),
    "nan": (line_of(RECORD | {"tag": float("nan")}), ":1: no JSON of ours: NaN is no JSON"),
    "infinity": (line_of(RECORD | {"tag": float("inf")}), ":1: no JSON of ours: Infinity is no"),
    "bom": (b"\xef\xbb\xbf" + line_of(RECORD), ":1:1: a byte order mark"),
    "latin-1": (line_of(RECORD).replace(b"A dot", b"\xc4 dot"), ": byte 0xc4 is no UTF-8"),
    "utf-16": (line_of(RECORD).decode().encode("utf-16"), ":1:1: byte 0xff is no UTF-8"),
    "key twice": (
        line_of(RECORD).replace(b"{", b'{"tag": null, ', 1),
        ":1: no JSON of ours: key 'tag' stands twice",
    ),
    "half a surrogate pair": (
        line_of(RECORD | {"text": "a\ud800"}),
        ":1:20: text is 'a\\ud800', expected the name exactly as it was given",
    ),
    "id of another family": (
        line_of(RECORD | {"id": "port-a"}),
        ":1:2: id is 'port-a', expected domain- and a few words",
    ),
    "canonical of other parts": (
        line_of(RECORD | {"canonical": "a.b/c"}),
        ": canonical is 'a.b/c', its parts make 'a.b/c:1'",
    ),
    "id twice": (
        line_of(RECORD) + line_of(RECORD | {"text": "x.y/z"}),
        ":2: id 'domain-a' is already that of line 1",
    ),
    "text twice": (
        line_of(RECORD) + line_of(RECORD | {"id": "domain-b"}),
        ":2: text 'a.b/c:1' is already that of line 1",
    ),
}
REFUSED = {key: (line_of(record), message) for key, (record, message) in NO_CASES.items()}
REFUSED |= NO_CORPORA


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_load_refuses(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        corpus.load(file)
    assert str(caught.value).startswith(f"{file}:")
    assert message in str(caught.value)
    assert caught.value.remedy
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("record", [case for case, _ in NO_CASES.values()], ids=NO_CASES)
def test_jsonschema_refuses_what_the_loader_refuses(record: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(record)


@settings(deadline=None)  # it writes files
@given(
    record=st.sampled_from([RECORD, NO_CASE]),
    key=st.sampled_from([*RECORD, "colour"]),
    value=st.none()
    | st.integers()
    | st.sampled_from([*RECORD.values(), "invalid", "implementation-defined", "tag", ""])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
    | st.from_regex(r"sha256:[0-9a-f]{64}\n?", fullmatch=True),
)
def test_jsonschema_and_the_loader_agree(
    record: dict[str, Any], key: str, value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    changed = record | {key: value}
    file = tmp_path_factory.getbasetemp() / "changed.jsonl"
    file.write_bytes(line_of(changed))
    try:
        corpus.load(file)
    except CorpusError as error:
        # That one value contradicts another is nothing that a schema can say.
        assume(not re.search("its parts make|and a few words", str(error)))
        loaded = False
    else:
        loaded = True
    assert loaded == VALIDATOR.is_valid(changed)


def test_load_refuses_a_directory(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"cannot be read \(Is a directory\)"):
        corpus.load(tmp_path)


def test_load_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none\.jsonl: cannot be read \(No such file"):
        corpus.load(tmp_path / "none.jsonl")


def test_load_refuses_a_path_that_is_none() -> None:
    with pytest.raises(CorpusError, match="cannot be read"):
        corpus.load("a\0b")
