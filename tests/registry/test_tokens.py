"""The test's own token server gives a token for what is asked, to its one user, and to no other."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import jwt
import pytest
import requests

from kitref.registry import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import trustme

PASSWORD, IDENTITY = "pass word", "identity"
SCOPE = "repository:foo/bar:pull,push"


@pytest.fixture
def server(tmp_path: Path, authority: trustme.CA) -> Iterator[str]:
    own = authority.issue_cert("127.0.0.1")
    pem = tmp_path / "server.pem"
    own.private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issuer = tokens.Issuer(
        key=own.private_key_pem.bytes(), certificate=own.cert_chain_pems[0].bytes().decode()
    )
    with tokens.listening(issuer, "tester", PASSWORD, IDENTITY, pem) as url:
        yield url


def test_a_token_allows_what_was_asked(server: str, tmp_path: Path) -> None:
    ca = str(tmp_path / "ca.pem")
    given = requests.get(
        server, params={"scope": SCOPE}, auth=("tester", PASSWORD), verify=ca, timeout=10
    ).json()
    claims = jwt.decode(given["token"], options={"verify_signature": False})
    assert claims["access"] == [
        {"type": "repository", "name": "foo/bar", "actions": ["pull", "push"]}
    ]
    assert (claims["aud"], claims["sub"]) == (tokens.SERVICE, "tester")
    form = {"scope": SCOPE, "refresh_token": IDENTITY}
    assert requests.post(server, data=form, verify=ca, timeout=10).status_code == 200


@pytest.mark.parametrize(
    "login", [None, ("tester", "other"), ("other", PASSWORD), ("", "")], ids=str
)
def test_nobody_else_gets_a_token(
    server: str, tmp_path: Path, login: tuple[str, str] | None
) -> None:
    ca = str(tmp_path / "ca.pem")
    answer = requests.get(server, auth=login, verify=ca, timeout=10)
    assert (answer.status_code, "token" in answer.json()) == (401, False)
    form = {"refresh_token": PASSWORD}
    assert requests.post(server, data=form, verify=ca, timeout=10).status_code == 401


def test_a_client_that_says_nothing_holds_up_nobody(server: str, tmp_path: Path) -> None:
    address = ("127.0.0.1", urlsplit(server).port or 0)
    with contextlib.closing(socket.create_connection(address)):
        ca = str(tmp_path / "ca.pem")
        assert requests.get(server, verify=ca, timeout=5).status_code == 401
