"""The user's own engine is looked for where the docker and podman commands look."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kitref import errors
from kitref.engines import Engine, attach, opened

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return an empty home, with no engine named anywhere."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    return tmp_path


def _context(home: Path, url: str) -> None:
    folder = home / ".docker/contexts/meta" / hashlib.sha256(b"mine").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(
        json.dumps(
            {
                "Name": "mine",
                "Metadata": {},
                "Endpoints": {"docker": {"Host": url, "SkipTLSVerify": False}},
            }
        )
    )
    (home / ".docker/config.json").write_text('{"currentContext": "mine"}')


def test_docker_host(docker: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker.url)
    with opened("own") as own:
        assert (own.version, own.source, own.private) == (
            docker.version,
            "attached: DOCKER_HOST",
            False,
        )


def test_tls_without_certificates(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(nothing))
    with pytest.raises(errors.EngineUnavailable, match=f"{nothing} has not all of ca.pem"):
        attach.find()


def test_a_notebook_by_hand_takes_away_what_a_killed_one_left(docker: Engine) -> None:
    code = (
        "import os; from kitref.engines import opened, staying\n"
        f"with opened({docker.url!r}) as own, staying(own) as guest:\n"
        "    guest.image(tagged_as='bastion.io/alpine:latest'); os._exit(0)"
    )
    before = docker.names()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert docker.names() != before
    with opened(docker.url):
        assert docker.names() == before


def test_the_docker_commands_context(docker: Engine, nothing: Path) -> None:
    _context(nothing, docker.url)
    with opened("own") as own:
        assert own.source == "attached: docker context mine"
        assert own.store == "containerd"


def test_docker_context_goes_before_the_configuration(
    docker: Engine, nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _context(nothing, docker.url)
    (nothing / ".docker/config.json").write_text('{"currentContext": "default"}')
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    assert [address.origin for address in attach.addresses()] == ["docker context mine"]


@pytest.mark.parametrize(
    ("context", "config", "meta", "expected"),
    [
        pytest.param("none", "{}", "", "DOCKER_CONTEXT is 'none'", id="no-such-context"),
        pytest.param("", '{"currentContext": 5}', "", "no context that can be read", id="number"),
        pytest.param("mine", "{}", "{", "Detected corrupted meta file", id="broken"),
    ],
)
def test_a_context_that_is_none(
    nothing: Path,
    monkeypatch: pytest.MonkeyPatch,
    context: str,
    config: str,
    meta: str,
    expected: str,
) -> None:
    _context(nothing, "unix:///nowhere.sock")
    (nothing / ".docker/config.json").write_text(config)
    if meta:
        next(nothing.rglob("meta.json")).write_text(meta)
    monkeypatch.setenv("DOCKER_CONTEXT", context)
    with pytest.raises(errors.UsageError, match=expected):
        list(attach.addresses())


def test_docker_host_goes_before_the_context(
    docker: Engine, nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _context(nothing, "unix:///nowhere.sock")
    monkeypatch.setenv("DOCKER_HOST", docker.url)
    assert [address.origin for address in attach.addresses()] == ["DOCKER_HOST"]


def test_a_known_socket(docker: Engine, nothing: Path) -> None:
    (nothing / "docker.sock").symlink_to(docker.url.removeprefix("unix://"))
    assert f"socket {nothing}/docker.sock" in [a.origin for a in attach.addresses()]


def test_an_engine_that_was_named_and_is_away_is_not_replaced(
    docker: Engine, nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nothing / "docker.sock").symlink_to(docker.url.removeprefix("unix://"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(errors.EngineUnavailable, match=r"DOCKER_HOST.*/nowhere\.sock"):
        attach.find()


def test_another_store_than_the_engine_has(docker: Engine) -> None:
    with (
        pytest.raises(errors.UsageError, match="has the image store containerd, not graph"),
        opened(docker.url, "graph"),
    ):
        pytest.fail("it has another store")


@pytest.mark.parametrize("url", ["gopher://x", "tcp://"])
def test_no_address(url: str) -> None:
    with pytest.raises(errors.UsageError, match="DOCKER_HOST"):
        attach.connect(url)
