"""LinuxKit's cache: an OCI image layout, read by name and platform, and never written.

The layout is that of the OCI image-spec (`image-layout.md`); LinuxKit keeps a name in the
annotation `org.opencontainers.image.ref.name` of a descriptor in `index.json`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, Final, Literal

NAME: Final = "org.opencontainers.image.ref.name"
"""The annotation that holds a name."""

_LIMIT: Final = 16 << 20  # bytes of an index, a manifest or a configuration
_DIGEST: Final = re.compile(r"(sha256|sha512):([0-9a-f]{64,128})")
_INDEXES: Final = frozenset(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """What a cache has of a name.

    Attributes:
        outcome: `found`; `absent`; `not-asked` (there is no cache, or it cannot be read).
        digest: The digest of what the name points to; empty unless found.
        detail: Why, in words.
    """

    outcome: Literal["found", "absent", "not-asked"]
    digest: str = ""
    detail: str = ""


class _Broken(Exception):
    """A file of the layout that is not what it should be."""


def default() -> Path:
    """Return where LinuxKit keeps its cache without `--cache`."""
    return Path.home() / ".linuxkit" / "cache"


def look_up(folder: Path, name: str, arch: str) -> Cached:
    """Look a name up as LinuxKit does.

    Args:
        folder: The cache.
        name: The name, literally.
        arch: The architecture, in Go's words.

    Returns:
        What the cache has; whatever is in the folder, this is an answer and no exception.
    """
    if not (folder / "index.json").is_file():
        return Cached(outcome="not-asked", detail=f"there is no cache in {folder}")
    try:
        return _found(folder, name, arch)
    except (_Broken, OSError) as error:
        return Cached(outcome="not-asked", detail=f"the cache in {folder} cannot be read: {error}")


def names(folder: Path) -> list[str]:
    """Return the names that a cache holds, sorted; none where it cannot be read."""
    try:
        manifests = _manifests(_read(folder / "index.json"))
    except (_Broken, OSError):
        return []
    return sorted({name for each in manifests if (name := _name(each))})


def _found(folder: Path, name: str, arch: str) -> Cached:
    described = [each for each in _manifests(_read(folder / "index.json")) if _name(each) == name]
    if not described:
        return Cached(outcome="absent", detail=f"the cache has no {name}")
    digest, kind = str(described[0].get("digest")), described[0].get("mediaType")
    content = _blob(folder, digest)
    if kind in _INDEXES:
        platforms = [
            platform.get("architecture")
            for each in _manifests(content)
            if isinstance(platform := each.get("platform"), dict)
        ]
    else:
        config = content.get("config")
        if not isinstance(config, dict):
            raise _Broken(f"{digest} is no manifest")
        platforms = [_blob(folder, str(config.get("digest"))).get("architecture")]
    if arch not in platforms:
        return Cached(outcome="absent", detail=f"the cache has {name}, and not for {arch}")
    return Cached(outcome="found", digest=digest)


def _blob(folder: Path, digest: str) -> dict[str, Any]:
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise _Broken(f"{digest[:100]!r} is no digest")
    return _read(folder / "blobs" / match[1] / match[2])


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise _Broken(f"{path.name} is missing")
    with path.open("rb") as file:
        content = file.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise _Broken(f"{path.name} is larger than {_LIMIT >> 20} MiB")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _Broken(f"{path.name} is no JSON") from error
    if not isinstance(value, dict):
        raise _Broken(f"{path.name} is no JSON object")
    return value


def _manifests(index: dict[str, Any]) -> list[dict[str, Any]]:
    listed = index.get("manifests")
    if not isinstance(listed, list):
        raise _Broken("an index without manifests")
    return [each for each in listed if isinstance(each, dict)]


def _name(descriptor: dict[str, Any]) -> str:
    annotations = descriptor.get("annotations")
    return str(annotations.get(NAME, "")) if isinstance(annotations, dict) else ""
