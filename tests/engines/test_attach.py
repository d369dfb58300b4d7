"""The user's own engine is looked for where the docker and podman commands look."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import trustme

from kitref import errors
from kitref.engines import Engine, attach, opened, places

if TYPE_CHECKING:
    from collections.abc import Iterator
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


def test_ssh_says_why_it_does_not_get_there(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "me@host: Permission denied (publickey)."
    (nothing / "ssh").write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 255\n")
    (nothing / "ssh").chmod(0o700)
    monkeypatch.setenv("PATH", str(nothing), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(nothing / "cache"))
    with pytest.raises(errors.EngineUnavailable, match=r"Permission denied \(publickey\)"):
        attach.connect("ssh://me@host")
    assert list(places.leases()) == []


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


def test_a_context_keeps_its_certificates(
    docker: Engine, nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they go before what a session has
        monkeypatch.delenv(name, raising=False)
    authority = trustme.CA()
    with _behind_tls(docker, authority) as url:
        _context(nothing, url)
        name = hashlib.sha256(b"mine").hexdigest()
        folder = nothing / ".docker/contexts/tls" / name / "docker"
        folder.mkdir(parents=True)
        own = authority.issue_cert("me@here")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        own.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        own.private_key_pem.write_to_path(folder / "key.pem")
        (address,) = attach.addresses()
        with contextlib.closing(attach.connect(address.url, address.tls)) as live:
            assert live.version == docker.version
        with pytest.raises(errors.EngineUnavailable):
            attach.connect(address.url)


@contextlib.contextmanager
def _behind_tls(engine: Engine, authority: trustme.CA) -> Iterator[str]:
    """Put an engine behind a port of this machine that asks for a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as client,
                socket.socket(socket.AF_UNIX) as to,
            ):
                to.connect(engine.url.removeprefix("unix://"))
                back = threading.Thread(target=copy, args=(to, client))
                back.start()
                copy(client, to)
                to.shutdown(socket.SHUT_RDWR)
                back.join()

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                target.sendall(part)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


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


@pytest.mark.parametrize("url", ["gopher://x", "tcp://", "tcp://x:99999", "tcp://[::1"])
def test_no_address(url: str) -> None:
    with pytest.raises(errors.UsageError, match="DOCKER_HOST"):
        attach.connect(url)
