"""LinuxKit's cache: an OCI image layout, read by name and platform, and never written.

The layout is that of the OCI image-spec (`image-layout.md`); LinuxKit keeps a name in the
annotation `org.opencontainers.image.ref.name` of a descriptor in `index.json`.
"""

from __future__ import annotations

import dataclasses
import functools
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
        outcome: `found`; `absent` (also where something of it is missing, or it is not there for
            the platform: LinuxKit then pulls it); `not-asked` (there is no cache, or its list of
            names cannot be read).
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
    try:
        named = _named(folder)
    except FileNotFoundError:
        return Cached(outcome="not-asked", detail=f"there is no cache in {folder}")
    except (_Broken, OSError) as error:
        return Cached(outcome="not-asked", detail=f"the cache in {folder} cannot be read: {error}")
    if name not in named:
        return Cached(outcome="absent", detail=f"the cache has no {name}")
    try:
        return _look_into(folder, named[name], name, arch)
    except (_Broken, OSError) as error:
        detail = f"the cache has {name} incomplete or broken: {error}"
        return Cached(outcome="absent", detail=detail)


def names(folder: Path) -> list[str]:
    """Return the names that a cache holds, sorted; none where it cannot be read."""
    try:
        return sorted(_named(folder))
    except (_Broken, OSError):
        return []


def _named(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the descriptors of each name, read anew when the list of names has changed."""
    index = folder / "index.json"
    return _parsed(folder, index.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _parsed(folder: Path, _changed: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for descriptor in _list(_read(folder, "index.json"), "manifests"):
        annotations = descriptor.get("annotations")
        if isinstance(annotations, dict) and isinstance(name := annotations.get(NAME), str):
            found.setdefault(name, []).append(descriptor)
    return found


def _look_into(folder: Path, described: list[dict[str, Any]], name: str, arch: str) -> Cached:
    """Return whether what a name points to is whole (`ValidateImage` in LinuxKit)."""
    # An image goes before an index of the same name (`FindRoot`).
    images = [each for each in described if each.get("mediaType") not in _INDEXES]
    root = (images or described)[0]
    digest = str(root.get("digest"))
    if images:
        # Kept: LinuxKit does not compare the architecture of a single image.
        for layer in _list(_whole(folder, root), "layers"):
            _file(folder, _blob(layer))
        return Cached(outcome="found", digest=digest)
    offered = []
    for each in _list(_read(folder, _blob(root)), "manifests"):
        platform = each.get("platform")
        about = platform if isinstance(platform, dict) else {}
        offered.append(f"{about.get('os')}/{about.get('architecture')}")
        if offered[-1] == f"linux/{arch}":
            _whole(folder, each)
            return Cached(outcome="found", digest=digest)
    has = ", ".join(dict.fromkeys(offered[:20])) or "no platform"
    return Cached(outcome="absent", detail=f"the cache has {name} for {has}, not linux/{arch}")


def _whole(folder: Path, descriptor: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest whose configuration is there too."""
    manifest = _read(folder, _blob(descriptor))
    config = manifest.get("config")
    if not isinstance(config, dict):
        raise _Broken(f"{_blob(descriptor)} is no manifest")
    _read(folder, _blob(config))
    return manifest


def _blob(descriptor: dict[str, Any]) -> str:
    """Return where the content of a descriptor lies."""
    match = _DIGEST.fullmatch(str(descriptor.get("digest")))
    if match is None:
        raise _Broken(f"{str(descriptor.get('digest'))[:100]!r} is no digest")
    return f"blobs/{match[1]}/{match[2]}"


def _file(folder: Path, name: str) -> Path:
    """Return a regular file of the cache; none that a link leads out to."""
    path = folder / name
    if not path.is_file():
        raise _Broken(f"{name} is missing")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _Broken(f"{name} leads out of the cache")
    return path


def _read(folder: Path, name: str) -> dict[str, Any]:
    with _file(folder, name).open("rb") as file:
        content = file.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise _Broken(f"{name} is larger than {_LIMIT >> 20} MiB")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _Broken(f"{name} is no JSON") from error
    if not isinstance(value, dict):
        raise _Broken(f"{name} is no JSON object")
    return value


def _list(value: dict[str, Any], key: str) -> list[dict[str, Any]]:
    listed = value.get(key)
    if not isinstance(listed, list):
        raise _Broken(f"no list of {key} where one belongs")
    return [each for each in listed if isinstance(each, dict)]
