"""The token server of the private registry: a small one, made for tests, and no more than that.

It stands in for the server that Docker Hub's challenge names. It knows one user, gives a token for
what is asked to whoever has the password or the identity token, and none to anyone else.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hmac
import http.server
import json
import secrets
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import jwt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVICE = "kitref's private registry"
ISSUER = "kitref's token server for tests"
_SECONDS = 300


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """What makes tokens that the registry believes.

    Attributes:
        key: The private key, in PEM.
        certificate: Its certificate, in PEM; the registry trusts the authority that signed it.
    """

    key: bytes = dataclasses.field(repr=False)
    certificate: str

    def mint(self, scopes: list[str], user: str) -> str:
        """Make a token (the distribution project's token specification).

        Args:
            scopes: What it allows: ``repository:NAME:pull,push``.
            user: Who it is for.
        """
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "exp": now + _SECONDS,
            "nbf": now - 10,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": [
                {"type": kind, "name": name, "actions": actions.split(",")}
                for kind, _, rest in (scope.partition(":") for scope in scopes)
                for name, _, actions in [rest.rpartition(":")]
            ],
        }
        chain = [base64.b64encode(ssl.PEM_cert_to_DER_cert(self.certificate)).decode()]
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"x5c": chain})


@contextlib.contextmanager
def listening(
    issuer: Issuer, username: str, password: str, identity_token: str, certificate: Path
) -> Iterator[str]:
    """Run the token server for the length of a ``with`` block, in a thread.

    Args:
        issuer: What makes its tokens.
        username: The one user.
        password: Their password.
        identity_token: What they may give instead, by POST.
        certificate: The key and the certificate that it serves TLS with, in PEM.

    Yields:
        Its URL, on loopback.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            pair = base64.b64encode(f"{username}:{password}".encode()).decode()
            given = self.headers.get("Authorization", "")
            query = parse_qs(urlsplit(self.path).query)
            self._answer(query, given, f"Basic {pair}")

        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), 1 << 16)
            form = parse_qs(self.rfile.read(length).decode())
            self._answer(form, form.get("refresh_token", [""])[0], identity_token)

        def _answer(self, query: dict[str, list[str]], given: str, wanted: str) -> None:
            if hmac.compare_digest(given.encode(), wanted.encode()):
                token = issuer.mint(query.get("scope", []), username)
                self._send(200, {"token": token, "access_token": token, "expires_in": _SECONDS})
            else:
                self._send(401, {"errors": [{"code": "UNAUTHORIZED"}]})

        def _send(self, status: int, record: dict[str, Any]) -> None:
            body = json.dumps(record).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: a request holds the password."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Server(http.server.ThreadingHTTPServer):
        def get_request(self) -> tuple[Any, Any]:
            # The handshake is left to the connection's own thread: one that hangs holds up nobody.
            connection, address = super().get_request()
            connection.settimeout(10)
            return context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            ), address

        def handle_error(self, *_: object) -> None:
            """Print nothing about a client that hangs up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}/token"
        finally:
            server.shutdown()
            thread.join()
