"""The grammar: what each named pattern takes, and that a match costs no more than it must."""

from __future__ import annotations

import itertools
import re

import pytest

from kitref.grammar import DIGEST_DIGITS, PATTERNS

ZEROS = {name: f"{name}:{'0' * n}" for name, n in DIGEST_DIGITS.items()}

TAKEN = {
    "domain": [
        "a",
        "A",
        "0",
        "a-b",
        "a--b",
        "a.b",
        "A.b-C.d",
        "localhost",
        "localhost:5000",
        "127.0.0.1:1",
        "xn--n3h.com",
        "a:00000000000",
        "[::1]",
        "[::1]:5000",
        "[:]",
        "[abc]",
        "[2001:DB8::1]",
    ],
    "path": ["a", "0", "a/b", "a.b", "a_b", "a__b", "a-b", "a---b", "a.b/c_d/e__f/g--h", "0/1"],
    "tag": ["a", "_", "A", "0", "v1.0", "a.", "a-", "_.-", "t" * 128],
    "digest": [*ZEROS.values(), "sha256:" + "0123456789abcdef" * 4],
    "image_id": ["0" * 64, "0123456789abcdef" * 4],
    "own_domain": ["localhost/", "a.b/", "a:1/", "A/", "aB/", "[::1]/", "./", ":/", "a_b.io/"],
}
REFUSED = {
    "domain": [
        "",
        "-a",
        "a-",
        ".a",
        "a.",
        "a..b",
        "a.-b",
        "a-.b",
        "a_b",
        "a:",
        "a:b",
        ":1",
        "a:1:2",
        "[]",
        "[::1",
        "::1",
        "[::1]:",
        "[::1%eth0]",
        "[g]",
        "a\n",
        "é",
        "a/b",
    ],
    "path": [
        "",
        "A",
        "a/",
        "/a",
        "a//b",
        "a.",
        ".a",
        "a..b",
        "a._b",
        "a-_b",
        "a___b",
        "_a",
        "a-",
        "a-.b",
        "a\n",
        "é",
        "\N{ARABIC-INDIC DIGIT ONE}",
    ],
    "tag": ["", ".a", "-a", "a/b", "a:b", "a\n", "é", "t" * 129],
    "digest": [
        "",
        "sha256:",
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "SHA256:" + "0" * 64,
        "sha384:" + "0" * 64,
        "md5:" + "0" * 32,
        "sha256:" + "0" * 64 + "\n",
    ],
    "image_id": ["0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n"],
    "own_domain": ["", "/", "a/", "a-b_c/", "localhosts/", "localhost", "a.b", "a/b.c/", "é/"],
}


def cases(table: dict[str, list[str]]) -> list[object]:
    return [
        pytest.param(name, text, id=f"{name}-{ascii(text)[:24]}-{len(text)}")
        for name, texts in table.items()
        for text in texts
    ]


@pytest.mark.parametrize(("name", "text"), cases(TAKEN))
def test_a_pattern_takes(name: str, text: str) -> None:
    assert re.fullmatch(PATTERNS[name], text)


@pytest.mark.parametrize(("name", "text"), cases(REFUSED))
def test_a_pattern_refuses(name: str, text: str) -> None:
    assert not re.fullmatch(PATTERNS[name], text)


@pytest.mark.parametrize(
    ("letters", "longest"),
    [
        pytest.param("aA0._-/:", 4, id="names"),
        pytest.param("a._-/", 6, id="separators"),
        pytest.param("aA[]:/0", 4, id="addresses"),
        pytest.param(["a", ":", "@", "/", ".", "-", ZEROS["sha256"]], 4, id="suffixes"),
    ],
)
@pytest.mark.parametrize("name", ["name", "reference"])
def test_possessive_repetition_changes_no_answer(
    name: str, letters: str | list[str], longest: int
) -> None:
    # Before Python 3.11.5 (Debian 12's is older) this fails for most ways to write a pattern.
    backtracking = re.compile(re.sub(r"(?<=[+*?}])\+", "", PATTERNS[name]))
    possessive = re.compile(PATTERNS[name])
    for length in range(longest + 1):
        for text in map("".join, itertools.product(letters, repeat=length)):
            ours, plain = possessive.fullmatch(text), backtracking.fullmatch(text)
            assert (ours and ours.groups()) == (plain and plain.groups()), text


def test_the_patterns_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PATTERNS["tag"] = ""  # type: ignore[index]
