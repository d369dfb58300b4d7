"""The cache, temporary folders, and leases that outlive their holders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kitref import errors
from kitref.engines import places


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "kitref"


def test_the_cache_is_where_xdg_says(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.cache() == cache
    # The specification: a relative path is to be ignored.
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert places.cache() == Path("/home/somebody/.cache/kitref")


def test_a_cache_that_cannot_be_written_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    with pytest.raises(errors.EngineUnavailable, match="set XDG_CACHE_HOME"):
        places.Lease.take({})


def test_a_temporary_folder_has_room_for_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    folder = places.temporary()
    assert len(str(folder / "podman.sock")) < 108
    assert folder.stat().st_mode & 0o777 == 0o700
    places.discard(folder)
    assert not folder.exists()


def test_a_lease_that_is_held_is_not_abandoned() -> None:
    lease = places.Lease.take({"kind": "test"})
    assert list(places.abandoned()) == []
    assert [content for _, content in places.leases()] == [{"kind": "test"}]
    lease.end()
    assert list(places.leases()) == []


def test_a_lease_of_the_dead_is_found_with_what_it_said_last() -> None:
    killed = (
        "import os, signal\n"
        "from kitref.engines import places\n"
        "lease = places.Lease.take({'names': ['a', 'b', 'c']})\n"
        "lease.write({'names': []})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", killed], check=False)
    (lease,) = places.abandoned()
    assert lease.content == {"names": []}
    # Looked at by us, it is held again.
    assert list(places.abandoned()) == []
    lease.end()
    assert list(places.abandoned()) == []


def test_a_lease_killed_before_its_first_word_is_dropped(cache: Path) -> None:
    (cache / "leases").mkdir(parents=True)
    (cache / "leases/x.json").touch()
    assert list(places.abandoned()) == []
    assert not (cache / "leases/x.json").exists()
