"""Registries for the tests: real ones, and small servers that misbehave as no real one will."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from kitref import errors
from kitref.registry.private import Registry, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def registries() -> Iterator[Callable[[str], Registry]]:
    """Return what gives a private registry, started once for each way to ask for a login."""
    with contextlib.ExitStack() as stack:
        running: dict[str, Registry] = {}

        def give(auth: Any) -> Registry:  # noqa: ANN401 - a parameter of a test
            if auth not in running:
                try:
                    running[auth] = stack.enter_context(serving(auth))
                except errors.EngineUnavailable as error:
                    pytest.skip(str(error))
                running[auth].push_tiny("library/alpine", "3", "amd64")
            return running[auth]

        yield give


@pytest.fixture(autouse=True)
def no_docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a Docker configuration of its own, with nothing in it."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fake:
    """A server that stands in for a registry which misbehaves.

    Attributes:
        address: Its host and port.
        ca: The file with its authority's certificate.
        seen: The requests so far: method, path, headers, body.
    """

    address: str
    ca: Path
    seen: list[tuple[str, str, dict[str, str], bytes]]

    def logins(self) -> list[str]:
        """Return the Authorization headers of the requests so far."""
        return [
            headers["Authorization"] for _, _, headers, _ in self.seen if "Authorization" in headers
        ]


Reaction = Any
"""What a fake does with a request: a function of the handler."""


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def fake(tmp_path: Path, authority: trustme.CA) -> Iterator[Callable[..., Fake]]:
    """Return what starts a server that reacts to every request by a function of its handler."""
    with contextlib.ExitStack() as stack:

        def start(react: Reaction, *, tls: bool = True) -> Fake:
            seen: list[tuple[str, str, dict[str, str], bytes]] = []

            class Handler(http.server.BaseHTTPRequestHandler):
                def handle_any(self) -> None:
                    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    seen.append((self.command, self.path, dict(self.headers), body))
                    react(self)

                do_GET = do_POST = handle_any  # noqa: N815 - the names that http.server calls

                def log_message(self, *_: object) -> None:
                    pass

            class Server(http.server.ThreadingHTTPServer):
                def handle_error(self, *_: object) -> None:
                    """Print nothing about a client that hung up."""

            server = stack.enter_context(Server(("127.0.0.1", 0), Handler))
            server.block_on_close = False
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                authority.issue_cert("127.0.0.1").configure_cert(context)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            ca = tmp_path / "ca.pem"
            authority.cert_pem.write_to_path(str(ca))
            return Fake(address=f"127.0.0.1:{server.server_port}", ca=ca, seen=seen)

        yield start


def reply(
    handler: http.server.BaseHTTPRequestHandler,
    status: int = 200,
    body: bytes = b"",
    kind: str = "application/json",
    **headers: str,
) -> None:
    """Answer a request of a fake."""
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)
