"""The grammar of an image reference, as named patterns, and nothing else.

    reference  = [domain "/"] path [":" tag] ["@" digest]
    domain     = host [":" port]

It is the grammar of the Go package distribution/reference (`regexp.go`, the same in v0.6.0 and
since), narrowed to the digests that opencontainers/go-digest takes afterwards (`algorithm.go`), so
that one match says it all but for one thing: the length of the path, `PATH_LIMIT`.

Every repetition is possessive, which keeps a match linear in the length of the text, in time and in
memory. That is right because no repetition is followed by anything that it could have eaten itself:
`++` can be read as `+`, and the language stays the same.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH_LIMIT: Final = 255
"""The most characters of a path, with the `library/` of an official image (`reference.go`)."""

TAG_LIMIT: Final = 128
"""The most characters of a tag (`regexp.go`)."""

DIGEST_DIGITS: Final[Mapping[str, int]] = MappingProxyType(
    {"sha256": 64, "sha384": 96, "sha512": 128}
)
"""How many hex digits, all in lower case, a digest of each algorithm has (`algorithm.go`)."""


def _patterns() -> dict[str, str]:
    """Put the patterns together, each out of those above it."""
    # Kept: `xx*+` where `x++` would read better. Before Python 3.11.5 (Debian 12 has 3.11.2) a
    # possessive group that fails after its first repeat does not go back to where it began
    # (https://github.com/python/cpython/issues/106052). Written so, it can only fail before.
    letters = "[A-Za-z0-9]"
    host_name = rf"{letters}++(?:(?:\.|-++){letters}{letters}*+)*+"
    ipv6 = r"\[[A-Fa-f0-9:]++\]"
    domain = rf"(?:{host_name}|{ipv6})(?::[0-9]++)?"
    # To the grammar, a slash between two components of a path is one more separator.
    path = "[a-z0-9]++(?:(?:[./_]|__|-++)[a-z0-9][a-z0-9]*+)*+"
    tag = rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{TAG_LIMIT - 1}}}+"
    digest = "|".join(rf"{name}:[a-f0-9]{{{n}}}" for name, n in DIGEST_DIGITS.items())
    image_id = "[a-f0-9]{64}"
    # What a name begins with that has a domain of its own, be that one a good one or not; without
    # it the domain is understood. Upper case can only be a domain, as a path has none. Source:
    # `splitDockerDomain` in `normalize.go`.
    own_domain = "(?:localhost|[^/.:A-Z]*+[.:A-Z][^/]*+)/"
    suffix = rf"(?::(?P<tag>{tag}))?(?:@(?P<digest>{digest}))?"
    return {
        "domain": domain,
        "path": path,
        "tag": tag,
        "digest": digest,
        "image_id": image_id,
        "own_domain": own_domain,
        "reference": rf"(?:(?P<domain>{domain})/)?(?P<path>{path}){suffix}",
        # A reference as a user types it: its first part is a domain only where it has to be one,
        # and an image's ID looks like a path, and is none.
        # Kept: a first part with both `.` and `_` (`a_b.io/foo`) is a domain to the split and none
        # to the grammar, but a fine path: the domain is then empty. Source: Go's `Parse`.
        "name": rf"(?!{image_id}\Z)(?:(?={own_domain})(?P<own>)(?:(?P<domain>{domain})/)?)?"
        rf"(?P<path>{path}){suffix}",
    }


PATTERNS: Final[Mapping[str, str]] = MappingProxyType(_patterns())
"""Every pattern by name; each is meant to match a whole text."""

match_name: Final = re.compile(PATTERNS["name"]).fullmatch
"""Match a reference as a user types it, with the groups own (empty; there where the name has a
domain of its own), domain, path, tag and digest.

A method bound once: to look it up on the pattern each time is a tenth of the time of a name.
"""
