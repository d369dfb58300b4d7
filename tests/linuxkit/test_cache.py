"""LinuxKit's cache: an OCI layout of the tests' own, whole, broken, and never written."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from kitref.linuxkit import cache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
NAME = "docker.io/library/alpine:3"


class Layout:
    """An OCI layout in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifests: list[Any] = []
        (folder / "blobs" / "sha256").mkdir(parents=True)

    def blob(self, value: Any) -> dict[str, Any]:  # noqa: ANN401
        """Put content in, and return its descriptor."""
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / "blobs" / "sha256" / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    def path(self, descriptor: dict[str, str]) -> Path:
        """Return where the content of a descriptor lies."""
        return self.folder / "blobs" / descriptor["digest"].replace(":", "/")

    def image(self, arch: str) -> dict[str, Any]:
        """Put an image in."""
        manifest = {
            "schemaVersion": 2,
            "config": self.blob({"architecture": arch, "os": "linux"}),
            "layers": [self.blob(f"layer of {arch}".encode())],
        }
        return self.blob(manifest) | {"mediaType": MANIFEST}

    def index(self, *archs: str, kind: str = INDEX) -> dict[str, Any]:
        """Put an index of images in."""
        manifests = [
            self.image(arch) | {"platform": {"os": "linux", "architecture": arch}} for arch in archs
        ]
        return self.blob({"schemaVersion": 2, "manifests": manifests}) | {"mediaType": kind}

    def name(self, descriptor: dict[str, Any], name: str = NAME) -> None:
        """Give a descriptor a name."""
        self.manifests.append(descriptor | {"annotations": {cache.NAME: name}})
        self.write({"schemaVersion": 2, "manifests": self.manifests})

    def write(self, value: Any) -> None:  # noqa: ANN401
        """Write the list of names."""
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        (self.folder / "index.json").write_bytes(content)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "cache")


@pytest.mark.parametrize("kind", [INDEX, LIST])
@pytest.mark.parametrize(
    ("arch", "outcome"), [("amd64", "found"), ("arm64", "found"), ("s390x", "absent")]
)
def test_an_index(layout: Layout, kind: str, arch: str, outcome: str) -> None:
    root = layout.index("amd64", "arm64", kind=kind)
    layout.name(root)
    found = cache.look_up(layout.folder, NAME, arch)
    assert found.outcome == outcome
    if outcome == "found":
        assert found.digest == root["digest"]
    else:
        assert "linux/amd64, linux/arm64, not linux/s390x" in found.detail


def test_a_single_image_is_taken_for_every_architecture(layout: Layout) -> None:
    layout.name(layout.image("arm64"))
    assert cache.look_up(layout.folder, NAME, "amd64").outcome == "found"


@pytest.mark.parametrize(
    "name",
    [
        "docker.io/library/alpine", "docker.io/library/alpine:", "docker.io/library/ALPINE:3",
        "library/alpine:3", "", "docker.io/library/alpine:3 ", "../../etc/passwd",
    ],
)  # fmt: skip
def test_only_the_very_name(layout: Layout, name: str) -> None:
    layout.name(layout.index("amd64"))
    assert cache.look_up(layout.folder, name, "amd64").outcome == "absent"


def test_names(layout: Layout) -> None:
    layout.name(layout.index("amd64"), "b")
    layout.name(layout.index("arm64"), "a")
    layout.manifests.append({"digest": "sha256:0"})
    layout.manifests.append({"digest": "sha256:0", "annotations": {cache.NAME: 7}})
    layout.write({"manifests": [*layout.manifests, None, "x"]})
    assert cache.names(layout.folder) == ["a", "b"]
    assert cache.names(layout.folder / "none") == []


def test_a_change_is_seen(layout: Layout) -> None:
    layout.name(layout.index("amd64"))
    assert cache.look_up(layout.folder, "b", "amd64").outcome == "absent"
    time.sleep(0.01)
    layout.name(layout.index("amd64"), "b")
    assert cache.look_up(layout.folder, "b", "amd64").outcome == "found"


def _no_index(layout: Layout, _root: dict[str, Any]) -> None:
    (layout.folder / "index.json").unlink()


def _layer_gone(layout: Layout, _root: dict[str, Any]) -> None:
    image = layout.image("amd64")
    layout.path(json.loads(layout.path(image).read_bytes())["layers"][0]).unlink()
    layout.manifests.clear()
    layout.name(image)


def _config_gone(layout: Layout, root: dict[str, Any]) -> None:
    (manifest,) = json.loads(layout.path(root).read_bytes())["manifests"]
    layout.path(json.loads(layout.path(manifest).read_bytes())["config"]).unlink()


def _fifo(layout: Layout, root: dict[str, Any]) -> None:
    layout.path(root).unlink()
    os.mkfifo(layout.path(root))


def _link_out(layout: Layout, root: dict[str, Any]) -> None:
    outside = layout.folder.parent / "outside"
    layout.path(root).rename(outside)
    layout.path(root).symlink_to(outside)


def _large(layout: Layout, root: dict[str, Any]) -> None:
    with layout.path(root).open("wb") as file:
        file.truncate(1 << 30)


def _replaced(content: Any) -> Callable[[Layout, dict[str, Any]], None]:  # noqa: ANN401
    def do(layout: Layout, root: dict[str, Any]) -> None:
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        layout.path(root).write_bytes(text)

    return do


def _root(content: Any) -> Callable[[Layout, dict[str, Any]], None]:  # noqa: ANN401
    return lambda layout, _: layout.write(content)


def _digest(digest: Any) -> Callable[[Layout, dict[str, Any]], None]:  # noqa: ANN401
    def do(layout: Layout, root: dict[str, Any]) -> None:
        layout.manifests.clear()
        layout.name(root | {"digest": digest})

    return do


@pytest.mark.parametrize(
    ("harm", "outcome", "words"),
    [
        pytest.param(_no_index, "not-asked", "there is no cache in", id="no-index"),
        pytest.param(_root(b"{"), "not-asked", "index.json is no JSON", id="index-no-json"),
        pytest.param(_root(b"\xff\xfe"), "not-asked", "is no JSON", id="index-no-text"),
        pytest.param(_root(b"[" * 100_000), "not-asked", "is no JSON", id="index-nested"),
        pytest.param(_root([]), "not-asked", "is no JSON object", id="index-array"),
        pytest.param(_root({}), "not-asked", "no list of manifests", id="index-without-manifests"),
        pytest.param(_root({"manifests": {}}), "not-asked", "no list", id="manifests-no-list"),
        pytest.param(_root({"manifests": [1]}), "absent", "has no", id="no-descriptor"),
        pytest.param(
            lambda layout, root: layout.path(root).unlink(), "absent", "is missing", id="no-blob"
        ),
        pytest.param(_layer_gone, "absent", "is missing", id="no-layer"),
        pytest.param(_config_gone, "absent", "is missing", id="no-configuration"),
        pytest.param(_fifo, "absent", "is missing", id="a-fifo-does-not-hang"),
        pytest.param(_link_out, "absent", "leads out of the cache", id="link-out"),
        pytest.param(_large, "absent", "larger than 16 MiB", id="large"),
        pytest.param(_replaced(b"x"), "absent", "is no JSON", id="blob-no-json"),
        pytest.param(_replaced({"manifests": 1}), "absent", "no list", id="blob-without-manifests"),
        pytest.param(
            _replaced({"manifests": [{"platform": 7}]}), "absent", "None/None", id="no-platform"
        ),
        pytest.param(_digest("sha256:../../../etc/passwd"), "absent", "is no digest", id="path"),
        pytest.param(_digest(None), "absent", "is no digest", id="no-digest"),
        pytest.param(_digest(["x" * 10_000]), "absent", "is no digest", id="long-digest"),
    ],
)
def test_a_broken_cache_is_an_answer(
    layout: Layout,
    harm: Callable[[Layout, dict[str, Any]], None],
    outcome: str,
    words: str,
) -> None:
    root = layout.index("amd64")
    layout.name(root)
    assert cache.look_up(layout.folder, NAME, "amd64").outcome == "found"
    time.sleep(0.01)
    harm(layout, root)
    found = cache.look_up(layout.folder, NAME, "amd64")
    assert (found.outcome, found.digest) == (outcome, "")
    assert words in found.detail
    assert len(found.detail) < 400 + len(str(layout.folder))


@pytest.mark.parametrize("name", ["missing", "file", "file/below"])
def test_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    assert cache.look_up(tmp_path / name, NAME, "amd64").outcome == "not-asked"


def _state(folder: Path) -> dict[str, tuple[int, int, int]]:
    return {
        f"{path}": (about.st_size, about.st_mtime_ns, about.st_mode)
        for path in sorted(folder.rglob("*"))
        for about in [path.lstat()]
    }


def test_it_is_never_written(layout: Layout) -> None:
    layout.name(layout.index("amd64"))
    before = _state(layout.folder)
    for name in (NAME, "other"):
        cache.look_up(layout.folder, name, "amd64")
    cache.look_up(layout.folder / "none", NAME, "amd64")
    assert _state(layout.folder) == before


def test_a_thousand_names_take_no_time(layout: Layout) -> None:
    root = layout.index("amd64")
    for number in range(1000):
        layout.manifests.append(root | {"annotations": {cache.NAME: f"n{number}"}})
    layout.name(root)
    begun = time.process_time()
    assert all(
        cache.look_up(layout.folder, f"n{number}", "amd64").outcome == "found"
        for number in range(1000)
    )
    assert time.process_time() - begun < 5


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.default() == tmp_path / ".linuxkit" / "cache"
