"""The way to an engine: what is sent, and over how many connections."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING

import docker
import pytest
import urllib3

from kitref.engines.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Server(http.server.ThreadingHTTPServer):
    """A server that writes down what it is asked for, and the client's port."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.ports: set[int] = set()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.ports.add(self.client_address[1])
        self.send_response(302 if self.path.endswith("/moved") else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def _client(host: str) -> docker.APIClient:
    return docker.APIClient(base_url=f"tcp://{host}", version="1.41")


def test_a_path_is_sent_as_it_is_over_one_connection(server: _Server) -> None:
    paths = ["/v1.41/images/a//b/../c/json", "/v1.41/images/a%00b/json", "/v1.41/images/moved"]
    client = _client(f"127.0.0.1:{server.server_port}")
    transport = Transport(client, 10)
    statuses = [transport.request("GET", path).status for path in paths]
    client.close()
    assert server.asked == paths
    assert statuses == [200, 200, 302]
    assert len(server.ports) == 1


def test_a_proxy_of_the_environment_is_asked(
    server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    client = _client("engine.invalid:2375")
    assert Transport(client, 10).request("GET", "/v1.41/images/alpine/json").status == 200
    client.close()
    assert server.asked == ["http://engine.invalid:2375/v1.41/images/alpine/json"]


def test_no_answer_is_an_error(server: _Server) -> None:
    client = _client(f"127.0.0.1:{server.server_port}")
    server.server_close()
    server.shutdown()
    with pytest.raises(urllib3.exceptions.HTTPError):
        Transport(client, 10).request("GET", "/v1.41/images/alpine/json")
    client.close()
