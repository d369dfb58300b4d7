"""Names to measure with: made up, of the kinds that a registry's log or an image list has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable

SINGLE: Final = {
    "official": ["alpine", "nginx:1.25", "postgres:16-bookworm"],
    "user": ["user/repo", "linuxkit/runc:v1.0", "team/group/app:2"],
    "domain": ["bastion.io/foo:local", "registry.example.com:5000/team/app:v1.2.3"],
    "digest": ["alpine@sha256:" + "0123456789abcdef" * 4],
    "invalid: separators": ["a_", "-a", "a//b", "foo:"],
    "invalid: white space": ["al pine", "ghcr.io/a/b:c d"],
    "invalid: upper case": ["Alpine", "linuxkit/Runc:v1.0", "ghcr.io/User/repo:tag"],
    "invalid: image ID": ["0123456789abcdef" * 4],
}
"""Single names by kind."""

_WORDS: Final = ("alpine", "redis", "worker", "api", "front-end", "data_store", "ml.model", "x")
_DOMAINS: Final = (
    "ghcr.io", "quay.io", "registry.example.com:5000", "localhost", "gcr.io",
    "123456789012.dkr.ecr.us-east-1.amazonaws.com",
)  # fmt: skip
_TAGS: Final = ("", "", ":latest", ":v1.2.3", ":2024-06-18", ":3")


def column(count: int, seed: int = 1) -> pa.Array:
    """Return distinct names: a half of Docker Hub's, 5 % with a digest, 2 % invalid.

    Args:
        count: How many.
        seed: Which ones.

    Returns:
        An array of type string; a name has about 30 bytes.
    """
    random = np.random.default_rng(seed)

    def some(texts: Iterable[str]) -> pa.Array:
        choices = pa.array(list(texts), pa.large_string())
        return choices.take(pa.array(random.integers(0, len(choices), count)))

    def large(part: pa.Array | str) -> pa.Array | pa.Scalar:
        return pa.scalar(part, pa.large_string()) if isinstance(part, str) else part

    def joined(*parts: pa.Array | str) -> pa.Array:
        return pc.binary_join_element_wise(*(large(part) for part in parts), large(""))

    number = pa.array(random.permutation(count)).cast(pa.large_string())
    name = joined(some(_WORDS), number)
    digest = joined("@sha256:", pc.utf8_lpad(number, 64, "0"))
    kind = pa.array(random.integers(0, 100, count))
    domained = joined(some(_DOMAINS), "/", some(_WORDS), "/", name)
    names = pc.case_when(
        pc.make_struct(pc.less(kind, 20), pc.less(kind, 50)),
        name,
        joined(some(_WORDS), "/", name),
        domained,
    )
    ending = pc.case_when(
        pc.make_struct(
            pc.equal(pc.bit_wise_and(kind, 31), 7), pc.equal(pc.bit_wise_and(kind, 63), 9)
        ),
        digest,
        pa.scalar("_", pa.large_string()),
        some(_TAGS),
    )
    return joined(names, ending).cast(pa.string())
