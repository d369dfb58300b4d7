"""References: taking a name apart, its canonical and its familiar form, and what is wrong with it.

The answers are those of the Go package distribution/reference (`ParseNormalizedNamed` and what it
calls), which is what Docker uses, for every text, including which texts are refused.
"""

import re
from typing import Final, NamedTuple

from kitref.errors import Fault, InvalidReference, printable
from kitref.grammar import DIGEST_DIGITS, PATH_LIMIT, PATTERNS, TAG_LIMIT, match_name

DOCKER_HUB: Final = "docker.io"
_DOCKER_INDEX: Final = "index.docker.io"  # what Docker Hub was called once
_OFFICIAL: Final = "library/"


# A NamedTuple, as all records of the rooms that `import kitref` loads: the module dataclasses
# takes longer to import than all of them together, and a frozen one four times as long to make.
# These rooms have no `from __future__ import annotations`: with it typing compiles the type of
# each field, and the first thing compiled costs Python as much as a room.
class Reference(NamedTuple):
    """A name of an image, taken apart.

    Attributes:
        domain: The registry's domain with its port. Empty only in Go's oddity (`a_b.io/foo`).
        path: The repository path; `library/` stands before an official image's name.
        tag: The tag, None where there is none.
        digest: The digest with its algorithm, None where there is none.
    """

    domain: str
    path: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """The domain and the path."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def canonical(self) -> str:
        """The whole name, with tag and digest where it has them; no `:latest` is added."""
        domain, path, tag, digest = self
        return _joined(f"{domain}/{path}" if domain else path, tag, digest)

    @property
    def familiar(self) -> str:
        """The name as Docker shows it: without `docker.io/`, and without `library/` after it.

        Source: `familiarizeName` in `normalize.go`.
        """
        if self.domain != DOCKER_HUB:
            return self.canonical
        official = self.path.removeprefix(_OFFICIAL)
        return _joined(self.path if "/" in official else official, self.tag, self.digest)

    def __str__(self) -> str:
        """Return the canonical name."""
        return self.canonical


def parse(text: str) -> Reference:
    """Take a name apart.

    Args:
        text: A name as a user types it; one without a domain is one of Docker Hub's.

    Returns:
        Its parts.

    Raises:
        InvalidReference: The text is no valid reference.
    """
    match = match_name(text)
    if match is None:
        raise InvalidReference(text, find_fault)
    own, domain, path, tag, digest = match.groups()
    if own is None or domain == _DOCKER_INDEX:
        domain = DOCKER_HUB
    if domain == DOCKER_HUB and "/" not in path:
        path = _OFFICIAL + path
    if len(path) > PATH_LIMIT:
        raise InvalidReference(text, find_fault)
    return Reference(domain or "", path, tag, digest)


def is_domain(first: str) -> bool:
    """Say whether what stands before a name's first slash is a domain.

    Args:
        first: The first part of a name that has a slash.

    Returns:
        True if it is one, False if it is a user or an organisation of Docker Hub. The source is
        `splitDockerDomain` in `normalize.go`: upper case can only be a domain, as a path has none.
    """
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def _joined(name: str, tag: str | None, digest: str | None) -> str:
    if tag is not None:
        name = f"{name}:{tag}"
    return name if digest is None else f"{name}@{digest}"


# What is wrong with a text. Nothing from here on decides whether a text is valid.


_Sign = tuple[str, str, str]
"""A pattern that shows what is wrong with a part of a name, the reason, and the remedy."""

_NAME_FORM: Final = "a name is [domain/]path[:tag][@digest], as in ghcr.io/linuxkit/runc:v1.0"
_PATH_FORM: Final = "a path has lower-case letters and digits, with one of . _ __ or dashes between"
_TAG_FORM: Final = "a tag has letters, digits, _ . and -, and starts with none of the last two"
_DIGEST_FORM: Final = "give the whole digest as the registry shows it: sha256: and 64 hex digits"
_DOMAIN_FORM: Final = "write the domain as host or host:port, as in registry.example.com:5000"
_IPV6_FORM: Final = "write an IPv6 address as in [::1]:5000"

# Each table is read from the top; `{found}` is what the pattern found. A pattern looks ahead by a
# fixed width or possessively only, so that a search takes time linear in the length of the text.
_TEXT_SIGNS: Final = (
    (r"\A\Z", "empty name", "give the name of an image, such as alpine"),
    (
        rf"\A{PATTERNS['image_id']}\Z",
        "64 hex digits are an image ID, not a name",
        "ask for the image by a name, or by name@sha256:digest",
    ),
    (
        r"\A[A-Za-z][A-Za-z0-9+.-]*+://",
        "a URL scheme is no part of a name",
        "leave out everything up to and including //",
    ),
    (
        r"\r\Z",
        "a carriage return at the end",
        "save the file with LF line ends, not with those of Windows",
    ),
    (r"\s++", "white space", "take it out; mind a line end that came along"),
    (r"[\x00-\x1f\x7f-\x9f]++", "control character", "take it out"),
    (r"[\ud800-\udfff]++", "bytes that are no UTF-8", "a name is plain ASCII"),
    (r"[^\x00-\x7f]++", "character outside ASCII", "a name is plain ASCII"),
    (r"[^A-Za-z0-9._:/@+\[\]-]", "'{found}' is no part of a name", _NAME_FORM),
)
_DOMAIN_SIGNS: Final = (
    (r"\A:", "no host before ':'", _DOMAIN_FORM),
    (r":[^:]*+:", "an IPv6 address without brackets", _IPV6_FORM),
    (r":\Z", "empty port after ':'", "give the port, or leave out the ':'"),
    (r":[0-9]*+[^0-9]", "port is no number", "give the port as a number"),
    (r"[^A-Za-z0-9.:-]", "'{found}' in the domain", _DOMAIN_FORM),
    (r"\A\.|\.\.|\.(?=:|\Z)", "empty component of the domain", "take out the '.'"),
    (r"\A-|(?<=\.)-|-(?=[.:]|\Z)", "'-' at an end of a component of the domain", _DOMAIN_FORM),
)
_IPV6_SIGNS: Final = (
    (r"\A[^\]]*+\Z", "'[' without ']'", _IPV6_FORM),
    (r"\A\[\]", "empty IPv6 address", _IPV6_FORM),
    (r"[^A-Fa-f0-9:\[\]]|(?<=.)\[", "'{found}' in the IPv6 address", _IPV6_FORM),
    (r"\](?!:[0-9]++\Z|\Z)", "something other than a port after ']'", _IPV6_FORM),
)
_PATH_SIGNS: Final = (
    (r"\A\Z", "empty path", _NAME_FORM),
    (r"\A/", "slash at the start", "take it out"),
    (r"//++", "double slash", "leave one"),
    (r"/\Z", "slash at the end of the path", "take it out, or name the repository after it"),
    (r"[A-Z]++", "upper case in the path", "write the path in lower case"),
    (r"[^a-z0-9._/-]", "'{found}' in the path", _PATH_FORM),
    (r"(?:\A|(?<=/))[._-]", "a component of the path starts with '{found}'", _PATH_FORM),
    (r"[._-](?=/|\Z)", "a component of the path ends with '{found}'", _PATH_FORM),
    (r"___++|\.[._-]|_[.-]|-[._]", "separators in a row: '{found}'", _PATH_FORM),
)
_TAG_SIGNS: Final = (
    (r"\A\Z", "empty tag after ':'", "give the tag, or leave out the ':'"),
    (r"\A[.-]", "tag starts with '{found}'", _TAG_FORM),
    (r"[^A-Za-z0-9_.-]", "'{found}' in the tag", _TAG_FORM),
    (r"\A.++", f"tag longer than {TAG_LIMIT}", f"a tag has {TAG_LIMIT} characters at most"),
)
_DIGITS_SIGNS: Final = (
    (r"[A-F]++", "upper case in the digest", "write its hex digits in lower case"),
    (r"[^a-f0-9]", "'{found}' in the digest", _DIGEST_FORM),
)


def find_fault(text: str) -> Fault:
    """Find what makes a text no valid reference.

    Args:
        text: A text that `parse` refuses.

    Returns:
        The first fault, with its place in the text.
    """
    if fault := _first_sign(_TEXT_SIGNS, text):
        return fault
    first, slash, _ = text.partition("/")
    domain, start = DOCKER_HUB, 0
    if slash and is_domain(first):
        if _matches("domain", first):
            domain, start = first, len(first) + 1
        elif _matches("path", first):
            domain = ""
        else:
            return _domain_fault(first)
    name, at, digest = text[start:].partition("@")
    path, colon, tag = name.partition(":")
    fault = _path_fault(path, start, domain)
    if not fault and colon:
        fault = _tag_fault(tag, start + len(path) + 1)
    if not fault and at:
        fault = _digest_fault(digest, start + len(name) + 1)
    return fault or Fault("no valid reference", 0, len(text), _NAME_FORM)


def _domain_fault(domain: str) -> Fault:
    signs = _IPV6_SIGNS if domain.startswith("[") else _DOMAIN_SIGNS
    return _first_sign(signs, domain) or Fault("no valid domain", 0, len(domain), _DOMAIN_FORM)


def _path_fault(path: str, start: int, domain: str) -> Fault | None:
    end = start + len(path)
    if not _matches("path", path):
        fault = _first_sign(_PATH_SIGNS, path, start)
        return fault or Fault("no valid path", start, end, _PATH_FORM)
    official = domain in (DOCKER_HUB, _DOCKER_INDEX) and "/" not in path
    length = len(path) + (len(_OFFICIAL) if official else 0)
    if length > PATH_LIMIT:
        counted = f", with {_OFFICIAL} {length}" if official else f", has {length}"
        reason = f"path longer than {PATH_LIMIT} characters{counted}"
        return Fault(reason, start, end, "shorten it; the domain does not count")
    return None


def _tag_fault(tag: str, start: int) -> Fault | None:
    if _matches("tag", tag):
        return None
    fault = _first_sign(_TAG_SIGNS, tag, start)
    return fault or Fault("no valid tag", start, start + len(tag), _TAG_FORM)


def _digest_fault(digest: str, start: int) -> Fault | None:
    if _matches("digest", digest):
        return None
    algorithm, colon, digits = digest.partition(":")
    end = start + len(algorithm)
    if not digest:
        return Fault("empty digest after '@'", start, start, _DIGEST_FORM)
    if not colon:
        return Fault("digest without ':'", start, end, _DIGEST_FORM)
    if algorithm not in DIGEST_DIGITS:
        known = ", ".join(DIGEST_DIGITS)
        return Fault("digest algorithm not supported", start, end, f"supported are {known}")
    start, end = end + 1, start + len(digest)
    wanted = DIGEST_DIGITS[algorithm]
    reason = f"{algorithm} digest needs {wanted} hex digits, has {len(digits)}"
    fault = _first_sign(_DIGITS_SIGNS, digits, start)
    return fault or Fault(reason, start, end, _DIGEST_FORM)


def _matches(pattern: str, part: str) -> bool:
    return re.fullmatch(PATTERNS[pattern], part) is not None


def _first_sign(signs: tuple[_Sign, ...], part: str, start: int = 0) -> Fault | None:
    """Return the fault of the first sign in a table that a part of a name shows, if any."""
    for pattern, reason, remedy in signs:
        if found := re.search(pattern, part):
            # A stretch of any length must not make the reason as long.
            said = reason.replace("{found}", printable(found[0][:8]))
            return Fault(said, start + found.start(), start + found.end(), remedy)
    return None
