"""The way to an engine: what is sent, and over how many connections."""

from __future__ import annotations

import _thread
import contextlib
import http.server
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import docker
import pytest

from kitref.engines.transport import AT_ONCE, NoAnswer, Response, Transport

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator
    from types import FrameType

    from _typeshed import TraceFunction


class _Server(http.server.ThreadingHTTPServer):
    """A server that writes down what it is asked for, and the client's port."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.ports: set[int] = set()
        self.together = threading.Barrier(AT_ONCE)
        self.silent = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that have gone."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.ports.add(self.client_address[1])
        if self.path.startswith("/together"):
            self.server.together.wait(10)
        if self.path == "/silence":
            self.server.silent.wait(10)
        if self.path == "/headers":
            self.send_response(200)
            self.send_header("X-Long", "x" * 400_000)
        self.send_response(302 if self.path.endswith("/moved") else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        self.send_response(411 if self.headers["Content-Length"] is None else 201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


_ENGINE = """
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            if not line.strip():
                self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    request_queue_size = 128
with Server(sys.argv[1], Handler) as server:
    print(flush=True)
    server.serve_forever()
"""


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.silent.set()
        server.shutdown()


@contextlib.contextmanager
def _to(host: str, scheme: str = "tcp://") -> Iterator[Transport]:
    client = docker.APIClient(base_url=f"{scheme}{host}", version="1.41")
    transport = Transport(client, f"{scheme}{host}", 10)
    yield transport
    transport.close()
    client.close()


def _request(transport: Transport, method: str, path: str) -> Response:
    (answer,) = transport.requests(method, [path])
    if isinstance(answer, NoAnswer):
        raise answer
    return answer


def _here(server: _Server) -> contextlib.AbstractContextManager[Transport]:
    return _to(f"127.0.0.1:{server.server_port}")


def test_a_path_is_sent_as_it_is_over_one_connection(server: _Server) -> None:
    paths = ["/v1.41/images/a//b/../c/json", "/v1.41/images/a%00b/json", "/v1.41/images/moved"]
    with _here(server) as transport:
        answers = [_request(transport, "GET", path) for path in paths]
    assert server.asked == paths
    assert answers == [Response(200, b"{}"), Response(200, b"{}"), Response(302, b"{}")]
    assert len(server.ports) == 1


def test_a_request_without_a_body_says_so(server: _Server) -> None:
    with _here(server) as transport:
        assert _request(transport, "POST", "/tag") == Response(201, b"")
        assert _request(transport, "GET", "/alpine") == Response(200, b"{}")


def test_many_are_sent_at_a_time_and_answered_in_order(server: _Server) -> None:
    # The server answers none before it has as many.
    paths = [f"/together/{number}" for number in range(AT_ONCE * 3)] + ["/moved"]
    with _here(server) as transport:
        answers = transport.requests("GET", paths)
    assert sorted(server.asked) == sorted(paths)
    assert answers == [Response(200, b"{}")] * AT_ONCE * 3 + [Response(302, b"{}")]
    assert len(server.ports) == AT_ONCE


def test_threads_do_not_disturb_each_other(server: _Server) -> None:
    answers: dict[int, Response] = {}
    with _here(server) as transport:

        def ask(number: int) -> None:
            answers[number] = _request(transport, "GET", f"/together/{number}")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == dict.fromkeys(range(AT_ONCE), Response(200, b"{}"))


def test_a_forked_process_has_connections_of_its_own(server: _Server) -> None:
    with _here(server) as transport:
        _request(transport, "GET", "/parent")
        child = os.fork()
        if not child:
            os._exit(_request(transport, "GET", "/moved").status != http.HTTPStatus.FOUND)
        assert os.waitpid(child, 0)[1] == 0
        assert _request(transport, "GET", "/parent") == Response(200, b"{}")
    assert server.asked == ["/parent", "/moved", "/parent"]
    assert len(server.ports) == 2


def test_high_descriptors_are_waited_for(server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr("kitref.engines.transport.time.sleep", rests.append)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    high = 2048  # of which select(2) knows the first 1024
    if hard != resource.RLIM_INFINITY and hard < high:
        pytest.skip("this process may have no such descriptors")
    with _here(server) as transport, contextlib.ExitStack() as many:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, high), hard))
        many.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while many.enter_context(open(os.devnull)).fileno() < 1024:  # noqa: PTH123
            pass
        timer = threading.Timer(0.1, server.silent.set)
        timer.start()
        assert _request(transport, "GET", "/silence") == Response(200, b"{}")
    assert rests


def test_ctrl_c_is_heard_while_an_engine_says_nothing(server: _Server) -> None:
    timer = threading.Timer(0.3, _thread.interrupt_main)
    with _here(server) as transport:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            transport.requests("GET", ["/silence"] * 3)
        server.silent.set()
        assert _request(transport, "GET", "/after") == Response(200, b"{}")


def test_after_ctrl_c_at_any_line_the_next_question_has_its_own_answer(server: _Server) -> None:
    lines = 0  # until Ctrl-C

    def count(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        nonlocal lines
        if frame.f_code is not Transport.requests.__code__:
            return None
        lines -= event == "line"
        if lines < 0:
            raise KeyboardInterrupt
        return count

    with _here(server) as transport:
        for last in range(40):
            lines = last
            try:
                sys.settrace(count)
                transport.requests("GET", ["/moved"] * 2)
            except KeyboardInterrupt:
                assert _request(transport, "GET", "/after") == Response(200, b"{}")
            finally:
                sys.settrace(None)
    assert server.asked.count("/after") > len("the lines of that method")


def test_an_answer_that_libcurl_refuses_without_a_word_is_none(server: _Server) -> None:
    with _here(server) as transport, pytest.raises(NoAnswer, match="libcurl"):
        _request(transport, "GET", "/headers")


def test_a_proxy_of_the_environment_is_asked(
    server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with _to("engine.invalid:2375") as transport:
        assert _request(transport, "GET", "/v1.41/images/alpine/json").status == 200
        monkeypatch.setenv("no_proxy", "engine.invalid")
    assert server.asked == ["http://engine.invalid:2375/v1.41/images/alpine/json"]
    with (
        _to("engine.invalid:2375") as transport,
        pytest.raises(NoAnswer, match="resolve host"),
    ):
        _request(transport, "GET", "/v1.41/images/alpine/json")


def test_an_engine_that_was_restarted_is_asked_again(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "engine.sock"

    def start() -> subprocess.Popen[bytes]:
        path.unlink(missing_ok=True)
        started = subprocess.Popen(
            [sys.executable, "-c", _ENGINE, path], stdout=subprocess.PIPE, bufsize=0
        )
        assert started.stdout
        started.stdout.readline()
        return started

    with _to(f"{path}", "unix://") as transport:
        for method in ("GET", "POST", "DELETE"):
            with start() as engine:
                answers = transport.requests(method, ["/"] * AT_ONCE * 2)
                engine.kill()
            assert answers == [Response(200, b"{}")] * AT_ONCE * 2


@pytest.mark.parametrize("slashes", ["unix://", "unix:///"])
def test_a_socket_of_any_name_that_takes_one_connection_at_a_time(
    tmp_path: pathlib.Path, slashes: str
) -> None:
    def answer(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                if not line.strip():
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()
                time.sleep(0.01)  # meanwhile its queue is full

    path = tmp_path / "🎉.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}")
        listener.listen(0)
        threading.Thread(target=accept, daemon=True).start()
        with _to(f"{path}".lstrip("/"), slashes) as transport:
            assert transport.requests("GET", ["/"] * 64) == [Response(200, b"{}")] * 64
        listener.shutdown(socket.SHUT_RDWR)


def test_what_is_too_long_for_libcurl_has_no_answer(server: _Server) -> None:
    with _here(server) as transport:
        long, short = transport.requests("GET", ["/" * 9_000_000, "/"])
    assert isinstance(long, NoAnswer)
    assert short == Response(200, b"{}")


def test_an_address_outside_ascii_is_sent_as_the_client_sends_it(
    server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    with _to("b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.invalid:2375/a b") as transport:
        assert _request(transport, "GET", "/alpine").status == 200
    assert server.asked == ["http://xn--bcher-kva.invalid:2375/a%20b/alpine"]


def test_no_answer_is_an_error(server: _Server) -> None:
    server.shutdown()
    server.server_close()
    with _here(server) as transport:
        with pytest.raises(NoAnswer, match="connect"):
            _request(transport, "GET", "/v1.41/images/alpine/json")
        assert [type(each) for each in transport.requests("GET", ["/a", "/b"])] == [NoAnswer] * 2
