"""Logins come from Docker's configuration as docker/cli keeps them, and a broken one says so."""

from __future__ import annotations

import base64
import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from kitref import errors
from kitref.registry import credentials, docker_login
from kitref.registry.credentials import Login

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cret:with-colon"  # noqa: S105 - of no one
AUTH = base64.b64encode(f"me:{SECRET}".encode()).decode()
HUB = "index.docker.io"


@pytest.mark.parametrize(
    ("auths", "address", "login"),
    [
        pytest.param({"a.b:5000": {"auth": AUTH}}, "a.b:5000", ("me", SECRET, ""), id="host"),
        pytest.param({"https://a.b/v1/": {"auth": AUTH}}, "a.b", ("me", SECRET, ""), id="url"),
        pytest.param(
            {f"https://{HUB}/v1/": {"auth": AUTH}}, HUB, ("me", SECRET, ""), id="docker-hub"
        ),
        pytest.param(
            {"a.b": {"auth": "bm86bm8="}, "a.b/some/repo": {"auth": AUTH}},
            "a.b",
            ("me", SECRET, ""),
            id="repository-first",
        ),
        pytest.param(
            {"a.b": {"auth": "", "identitytoken": "idt"}}, "a.b", ("", "", "idt"), id="identity"
        ),
        pytest.param(
            {"a.b": {"username": "me", "password": "pw"}},
            "a.b",
            ("me", "pw", ""),
            id="plain-fields",
        ),
    ],
)
def test_a_login_of_the_file(
    no_docker_config: Path, auths: dict[str, object], address: str, login: tuple[str, str, str]
) -> None:
    (no_docker_config / "config.json").write_text(json.dumps({"auths": auths}))
    found = docker_login(address, "some/repo")
    assert found is not None
    assert (found.username, found.password, found.identity_token) == login


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="no-file"),
        pytest.param("", id="empty-file"),
        pytest.param("{}", id="no-auths"),
        pytest.param('{"auths": {"a.b": {}}}', id="empty-entry"),
        # Docker Hub's key is a URL (DefaultAuthKey): LinuxKit does not read this one.
        pytest.param(json.dumps({"auths": {"docker.io": {"auth": AUTH}}}), id="docker.io"),
        pytest.param(json.dumps({"auths": {"a.b.c": {"auth": AUTH}}}), id="longer-host"),
        pytest.param(json.dumps({"auths": {"a.b:443": {"auth": AUTH}}}), id="with-port"),
    ],
)
def test_no_login_in_the_file(no_docker_config: Path, content: str | None) -> None:
    if content is not None:
        (no_docker_config / "config.json").write_text(content)
    assert docker_login("a.b", "repo") is None
    assert docker_login(HUB, "repo") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b'{"auths":\n {"a.b": x', "config.json:2:10: no JSON", id="syntax"),
        pytest.param(b"[1]", "no JSON object", id="no-object"),
        pytest.param(b'{"auths": ["a"]}', "auths is no JSON object", id="auths"),
        pytest.param(b'{"auths": {"a.b": 1}}', "no valid login for a.b", id="entry"),
        pytest.param(b'{"auths": {"a.b": {"auth": "%%%"}}}', "no valid login", id="base64"),
        pytest.param(b'{"auths": {"a.b": {"auth": "bm8="}}}', "no valid login", id="no-colon"),
        pytest.param(b'{"auths": {"a.b": {"auth": 7}}}', "no valid login", id="number"),
        pytest.param(
            b'{"auths": {"a.b": {"identitytoken": 7}}}', "no valid login", id="token-number"
        ),
        pytest.param(b"\xff\xfe{}", "no JSON", id="utf-16"),
        pytest.param(b"[" * 100_000, "no JSON", id="nested"),
        pytest.param(b" " * (1 << 21), "at most", id="huge"),
        pytest.param(b'{"credsStore": 7}', "helper that is no name", id="helper-number"),
        pytest.param(b'{"credsStore": "../evil"}', "helper that is no name", id="helper-path"),
        pytest.param(b'{"credsStore": "is-missing"}', "is not in PATH", id="helper-missing"),
    ],
)
def test_a_broken_file_says_so(no_docker_config: Path, content: bytes, said: str) -> None:
    (no_docker_config / "config.json").write_bytes(content)
    with pytest.raises(errors.CredentialsError, match=said):
        docker_login("a.b", "repo")


def test_a_folder_or_a_fifo_for_a_file_holds_up_nobody(no_docker_config: Path) -> None:
    os.mkfifo(no_docker_config / "config.json")
    assert docker_login("a.b", "repo") is None
    (no_docker_config / "config.json").unlink()
    (no_docker_config / "config.json").mkdir()
    with pytest.raises(errors.CredentialsError, match="Is a directory"):
        docker_login("a.b", "repo")


@pytest.fixture
def helper(no_docker_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a helper that the configuration names for a.b and for Docker Hub."""
    helpers = dict.fromkeys(("a.b", f"https://{HUB}/v1/"), "fake")
    (no_docker_config / "config.json").write_text(json.dumps({"credHelpers": helpers}))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "docker-credential-fake"


def write(helper: Path, script: str) -> None:
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "login"),
    [
        pytest.param(
            """read -r u; printf '{"Username":"%s","Secret":"%s"}' "$u" "$1" """,
            ("a.b", "get", ""),
            id="password-by-the-host",
        ),
        pytest.param(
            """echo '{"Username":"<token>","Secret":"idt"}'""", ("", "", "idt"), id="identity-token"
        ),
        pytest.param("echo credentials not found in native keychain; exit 1", None, id="none"),
        pytest.param("""echo '{"Username":"","Secret":""}'""", None, id="empty"),
        pytest.param(
            """exec <&-; echo '{"Username":"me","Secret":"x"}'""",
            ("me", "x", ""),
            id="reads-nothing",
        ),
    ],
)
def test_a_helper(helper: Path, script: str, login: tuple[str, str, str] | None) -> None:
    write(helper, script)
    found = docker_login("a.b", "repo")
    assert login == (found and (found.username, found.password, found.identity_token))


def test_a_helper_is_asked_for_docker_hub_by_its_url(helper: Path) -> None:
    write(helper, """read -r url; echo "{\\"Username\\":\\"$url\\",\\"Secret\\":\\"x\\"}" """)
    found = docker_login(HUB, "library/alpine")
    assert found is not None
    assert found.username == "https://index.docker.io/v1/"
    assert docker_login("other.example", "repo") is None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param("echo TOPSECRET; exit 3", "failed with 3", id="fails"),
        pytest.param("echo TOPSECRET", "something other than a login", id="garbage"),
        pytest.param("echo '[\"TOPSECRET\"]'", "something other than a login", id="list"),
        pytest.param("""echo '{"Username":"TOPSECRET"}'""", "other than a login", id="no-secret"),
        pytest.param("""echo '{"Username":1,"Secret":2}'""", "other than a login", id="numbers"),
        pytest.param("yes TOPSECRET", "prints more than", id="endless"),
        pytest.param("echo TOPSECRET; sleep 60", "did not answer within", id="hangs"),
        pytest.param("sleep 60 & exit 0", "did not answer within", id="hangs-in-a-child"),
    ],
)
def test_a_broken_helper_says_so(
    helper: Path, script: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "HELPER_SECONDS", 0.5)
    write(helper, script)
    began = time.monotonic()
    with pytest.raises(errors.CredentialsError, match=said) as caught:
        docker_login("a.b", "repo")
    assert "TOPSECRET" not in str(caught.value)
    assert time.monotonic() - began < 10


def test_a_login_shows_no_secret() -> None:
    login = Login(username="me", password=SECRET, identity_token="idt-secret")  # noqa: S106
    assert SECRET not in f"{login} {login!r}"
    assert "idt-secret" not in f"{login} {login!r}"
