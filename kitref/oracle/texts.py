"""Texts to compare on: mutated from a corpus and from the grammar, the same ones for a seed.

Most are nearly names, since a difference between two parsers lies where a name just is one or just
is none.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypeVar

from kitref.grammar import DIGEST_DIGITS, PATH_LIMIT, TAG_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_T = TypeVar("_T")

_LOWER: Final = "abfgz"
_UPPER: Final = "AFGZ"
_DIGITS: Final = "0159"
_IMAGE_ID_DIGITS: Final = 64
_SEPARATORS: Final = "._-/:@"
# White space and controls of every kind, letters that change under `lower`, look-alikes of what the
# grammar knows, and a byte that is no UTF-8.
_STRANGE: Final = (
    " \t\n\r\v\0\x1b\x7f\x85\xa0\u2028\ufeff%~+*$\\[]()"
    "\xe9\xdf\u0130\u0131\u017f\u01c5\u212a\u0430\u0660\uff0f\uff0e\uff21\uff41\u2044\u200b\u0301"
    "\U0001d552\U0001f600\udcff"
)
# What a mutation puts in: half of it is what names are made of, as the rest refuses most of them.
_ALPHABETS: Final = (_SEPARATORS, _SEPARATORS, _LOWER, _DIGITS, _UPPER, "[]+", _STRANGE)

_FIRSTS: Final = (
    "docker.io", "index.docker.io", "DOCKER.IO", "docker.io:443", "registry-1.docker.io",
    "localhost", "LOCALHOST", "localhost:5000", "localhos", "localhost.", "library", "user", "User",
    "gcr.io", "a.b.c:80", "host:5000", "host:", ":5000", "host:5x", "127.0.0.1", "127.0.0.1:0",
    "[::1]", "[::1]:5000", "[fe80::A]", "[fe80::1%eth0]", "[]", "[::1", "::1", "xn--a.b", "a_b.io",
    "a__b.c", "a-.b", "-a.b", "a..b", "a.b.", ".a", "a--b.c", "A_b", "a_b", "0", "",
)  # fmt: skip
_COMPONENTS: Final = (
    "alpine", "a", "0", "foo_bar", "foo__bar", "foo___bar", "a-b", "a--b", "a.b", "a..b", "a._b",
    "a-.b", "library", "foo-", "_foo", ".foo", "foo.", "A", "localhost", "docker.io", "a1-b2_c3.d",
    "",
)  # fmt: skip
_BETWEEN: Final = (".", "_", "__", "-", "--", "---", ".", "_", "__", "-", "--", "___", "..", "._")
_TAG_STARTS: Final = f"{_LOWER}{_UPPER}{_DIGITS}_"
_TAGS: Final = ("latest", "v1.0", "5000", "_", "-", ".a", "-a", "A_b-c.d", "", "a:b", "a/b", "+")
_ALGORITHMS: Final = ("md5", "sha1", "SHA256", "sha256+b64", "blake3", "sha256.", "")


def generate(seed: int, corpus: Sequence[str]) -> Iterator[str]:
    """Generate texts without end, none of them twice.

    Args:
        seed: Which texts; the same ones in the same order for the same seed and corpus, with every
            Python.
        corpus: Texts to mutate and to splice, one at least.

    Yields:
        A text.
    """
    texts = _Texts(seed, corpus)
    # How many of each kind there are, of twenty.
    kinds = (
        *[texts.mutated_name] * 11,
        *[texts.mutated_case] * 5,
        *[texts.mutated_splice] * 2,
        *[texts.short] * 2,
    )
    seen: set[int] = set()  # hashes, as a million texts would take three times the room
    while True:
        text = texts.pick(kinds)()
        if (key := hash(text)) not in seen:
            seen.add(key)
            yield text


class _Texts:
    """A source of texts.

    Args:
        seed: Which texts.
        corpus: Texts to mutate and to splice.
    """

    def __init__(self, seed: int, corpus: Sequence[str]) -> None:
        # Of its methods, `random` alone is promised to stay the same from version to version.
        self._random = random.Random(seed).random  # noqa: S311 - nothing is kept secret with it
        self._corpus = corpus

    def pick(self, among: Sequence[_T]) -> _T:
        """Return one of several."""
        return among[self._below(len(among))]

    def mutated_name(self) -> str:
        """Return a name from the grammar, with a change or two or with none."""
        return self._mutated(self._name(), self.pick((0, 0, 0, 0, 0, 1, 2)))

    def mutated_case(self) -> str:
        """Return a text of the corpus with a change or more."""
        return self._mutated(self.pick(self._corpus), self.pick((1, 1, 2, 3)))

    def mutated_splice(self) -> str:
        """Return the beginning of a text of the corpus with the end of another, or changed."""
        one, other = self.pick(self._corpus), self.pick(self._corpus)
        text = one[: self._below(len(one) + 1)] + other[self._below(len(other) + 1) :]
        return self._mutated(text, self.pick((0, 0, 1)))

    def short(self) -> str:
        """Return a few letters, of those that decide what a name is."""
        return self._letters("aA0._-/:@", self._below(10))

    def _below(self, limit: int) -> int:
        return int(self._random() * limit)

    def _chance(self, share: float) -> bool:
        return self._random() < share

    def _letters(self, among: str, length: int) -> str:
        return "".join([self.pick(among) for _ in range(length)])

    def _hex(self, length: int) -> str:
        """Return hex digits; thirteen of them are as much as one random number holds."""
        numbers = [int(self._random() * 16**13) for _ in range(length // 13 + 1)]
        return "".join([f"{number:013x}" for number in numbers])[:length]

    def _around(self, limit: int) -> int:
        """Return a length at a limit or up to three on either side."""
        return limit - 3 + self._below(7)

    # Names from the grammar, or with a part that it does not know.

    def _name(self) -> str:
        first = f"{self._first()}/" if self._chance(0.65) else ""
        tag = f":{self._tag()}" if self._chance(0.45) else ""
        digest = f"@{self._digest()}" if self._chance(0.3) else ""
        return first + self._path() + tag + digest

    def _first(self) -> str:
        """Return what may be a domain, with a port or without."""
        if self._chance(0.6):
            return self.pick(_FIRSTS)
        host = ".".join([self._component() for _ in range(1 + self._below(3))])
        port = f":{self._letters(_DIGITS, self._below(7))}" if self._chance(0.3) else ""
        return host + port

    def _path(self) -> str:
        if self._chance(0.05):
            return self._long_path()
        if self._chance(0.02):
            return self._hex(self._around(_IMAGE_ID_DIGITS))
        return "/".join([self._component() for _ in range(1 + self._below(3))])

    def _long_path(self) -> str:
        """Return a path of about the limit, with room for `library/` or without."""
        length = self._around(PATH_LIMIT - self.pick((0, len("library/"))))
        component = self.pick((1, 3, 60, length))
        return "/".join(["a" * component] * length)[:length]

    def _component(self) -> str:
        """Return a component of a path: a known one, or words with separators between."""
        if self._chance(0.2):
            return self.pick(_COMPONENTS)
        component = self._word()
        for _ in range(self.pick((0, 0, 1, 2))):
            component += self.pick(_BETWEEN) + self._word()
        return component

    def _word(self) -> str:
        return self._letters(_LOWER + _DIGITS, 1 + self._below(3))

    def _tag(self) -> str:
        if self._chance(0.3):
            return self.pick(_TAGS)
        length = self._around(TAG_LIMIT - 1) if self._chance(0.2) else self._below(8)
        return self.pick(_TAG_STARTS) + self._letters(_TAG_STARTS + ".-", length)

    def _digest(self) -> str:
        """Return a digest: of ten, eight as they should be and two with something wrong."""
        algorithm = self.pick(tuple(DIGEST_DIGITS))
        length = DIGEST_DIGITS[algorithm]
        if self._chance(0.8):
            return f"{algorithm}:{self._hex(length)}"
        return self.pick((
            f"{algorithm}:{self._hex(self._around(length))}",
            f"{algorithm}:{self._hex(self.pick((0, 32, 64, 96, 128)))}",
            f"{algorithm}:{self._hex(length).upper()}",
            f"{algorithm}{self._hex(length)}",
            f"{self.pick(_ALGORITHMS)}:{self._hex(length)}",
        ))  # fmt: skip

    # What is done to texts.

    def _mutated(self, text: str, changes: int) -> str:
        for _ in range(changes):
            text = self._changed(text)
        return text

    def _changed(self, text: str) -> str:
        """Return a text with one change, anywhere."""
        start = self._below(len(text) + 1)
        end = start + 1 + self._below(3)
        head, part, tail = text[:start], text[start:end], text[end:]
        new = self.pick(self.pick(_ALPHABETS))
        return self.pick((
            head + new + part + tail,
            head + tail,
            head + new + part[1:] + tail,
            head + part + part + tail,
            head + part[::-1] + tail,
            head + part.swapcase() + tail,
            tail + head,
        ))  # fmt: skip
