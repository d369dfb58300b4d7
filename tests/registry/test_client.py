"""Pulls from a real registry: what it answers, and under which name it is asked."""

from __future__ import annotations

import base64
import json
import logging
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trustme

from kitref import errors, expand
from kitref.registry import Answer, Login, pull

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kitref.registry.private import Registry

    Give = Callable[[str], Registry]

pytestmark = pytest.mark.live

ALPINE = "docker.io/library/alpine:3"
LOGINS = ["basic", "bearer"]
WRONG = "not-the-password"


def wrong(_address: str, _repository: str) -> Login:
    return Login(username="tester", password=WRONG)


def ask(registry: Registry, asked: str = ALPINE, **options: object) -> Answer:
    """Pull from a private registry under the name of Docker Hub, offline but for it."""
    given = {
        "credentials": registry.login,
        "host_map": registry.host_map(),
        "ca": registry.ca,
        "offline": True,
    }
    return pull(asked, **given | options)  # type: ignore[arg-type]


def paths(answer: Answer) -> list[tuple[str, int | None]]:
    return [(urlsplit(exchange.url).path, exchange.status) for exchange in answer.exchanges]


@pytest.mark.parametrize("auth", ["none", *LOGINS])
def test_found(registries: Give, auth: str) -> None:
    registry = registries(auth)
    digest = registry.push_tiny("some/found", "1", "arm64")
    answer = ask(registry, "docker.io/some/found:1", arch="arm64")
    assert (answer.outcome, answer.digest) == ("found", digest)
    assert answer.login_sent is (auth != "none")
    assert paths(answer) == [
        ("/v2/", 200 if auth == "none" else 401),
        *([("/token", 200)] if auth == "bearer" else []),
        ("/v2/some/found/manifests/1", 200),
        (f"/v2/some/found/manifests/{digest}", 200),
    ]


@pytest.mark.parametrize("auth", LOGINS)
@pytest.mark.parametrize(
    "credentials",
    [pytest.param(None, id="no-login"), pytest.param(wrong, id="wrong-password")],
)
def test_login_needed(
    registries: Give, auth: str, credentials: Callable[[str, str], Login] | None
) -> None:
    answer = ask(registries(auth), credentials=credentials)
    assert (answer.outcome, answer.digest) == ("login-needed", "")
    assert "401 UNAUTHORIZED" in answer.detail
    assert answer.login_sent is (credentials is wrong)
    assert answer.exchanges[-1].status == 401


def test_an_identity_token_is_exchanged(registries: Give) -> None:
    registry = registries("bearer")
    login = Login(identity_token=registry.identity_token)
    answer = ask(registry, credentials=lambda _address, _repository: login)
    assert (answer.outcome, answer.login_sent) == ("found", True)
    assert ("POST", "/token") in [(e.method, urlsplit(e.url).path) for e in answer.exchanges]
    bad = Login(identity_token=WRONG)
    assert ask(registry, credentials=lambda *_: bad).outcome == "login-needed"


@pytest.mark.parametrize("auth", ["none", *LOGINS])
@pytest.mark.parametrize(
    ("asked", "options", "said"),
    [
        pytest.param("docker.io/library/none:3", {}, "404 MANIFEST_UNKNOWN", id="repository"),
        pytest.param("docker.io/library/alpine:4", {}, "404 MANIFEST_UNKNOWN", id="tag"),
        pytest.param(
            f"docker.io/library/alpine@sha256:{'0' * 64}", {}, "404 MANIFEST_UNKNOWN", id="digest"
        ),
        pytest.param(ALPINE, {"arch": "s390x"}, "linux/amd64, not linux/s390x", id="platform"),
    ],
)
def test_absent(
    registries: Give, auth: str, asked: str, options: dict[str, object], said: str
) -> None:
    answer = ask(registries(auth), asked, **options)
    assert answer.outcome == "absent"
    assert said in answer.detail


def test_another_authority_is_not_trusted(registries: Give, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    for ca in (other, None):
        answer = ask(registries("basic"), ca=ca)
        assert answer.outcome == "unreachable"
        assert answer.detail.startswith("TLS: unable to get local issuer certificate")
        assert not answer.login_sent
        assert [e.status for e in answer.exchanges] == [None]


def test_a_closed_port_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        answer = pull(f"{address}/foo")
    assert answer.outcome == "unreachable"
    assert answer.detail == "connection refused; without TLS: connection refused"
    assert [str(exchange) for exchange in answer.exchanges] == [
        f"GET https://{address}/v2/: connection refused",
        f"GET http://{address}/v2/: connection refused",
    ]


def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    answer = pull("registry.invalid/foo", credentials=lambda *_: None)  # RFC 6761: there is none
    assert answer.outcome == "unreachable"
    assert answer.detail == "its name does not resolve"


def test_no_name_is_refused_and_nobody_asked() -> None:
    answer = pull("docker.io/localhost:5000/foo")
    assert (answer.outcome, answer.host, answer.exchanges) == ("refused", "", ())


@pytest.mark.parametrize(
    "name",
    ["alpine:3", "user/repo", "bastion.io/foo:local", "host.example:5000/foo", "[::1]:5000/foo"],
)
def test_the_host_asked_is_the_host_of_the_expanded_name(registries: Give, name: str) -> None:
    registry = registries("none")
    asked = expand(name)
    host = asked.partition("/")[0]
    # Every host but the name's own would lead elsewhere: none of these is in the map.
    answer = ask(registry, asked, host_map={host: registry.address})
    assert (answer.host, answer.address, answer.mapped) == (host, registry.address, True)
    assert all(urlsplit(e.url).netloc == registry.address for e in answer.exchanges)
    assert len(answer.exchanges) >= 2
    elsewhere = ask(registry, asked, host_map={"other.example": registry.address})
    assert (elsewhere.outcome, elsewhere.host, elsewhere.exchanges) == ("not-asked", host, ())


def test_the_host_of_a_name_is_asked_without_a_map(registries: Give) -> None:
    registry = registries("none")
    answer = pull(f"{registry.address}/library/alpine:3", credentials=lambda *_: None)
    # Its authority is not the machine's: the refusal of TLS shows who was asked.
    assert [e.url for e in answer.exchanges] == [f"{registry.url}/v2/"]
    assert not answer.mapped


def test_the_map_stands_in_the_answer_and_the_name_stays(registries: Give) -> None:
    registry = registries("none")
    answer = ask(registry)
    assert answer.asked == ALPINE
    assert str(answer) == (
        f"{ALPINE}: found at docker.io, mapped to {registry.address} (linux/amd64 in an index)"
    )


@pytest.mark.parametrize(
    ("asked", "host_map"),
    [
        pytest.param("docker.io/library/alpine", None, id="no-map"),
        pytest.param("bastion.example/foo", {"docker.io": "127.0.0.1:1"}, id="another-host"),
        pytest.param("docker.io/foo/bar", {"docker.io": "registry.example"}, id="not-this-machine"),
        pytest.param("127.0.0.1:5000/foo", None, id="this-machine-without-a-map"),
    ],
)
def test_offline_asks_nobody(
    no_docker_config: Path, asked: str, host_map: dict[str, str] | None
) -> None:
    (no_docker_config / "config.json").mkdir()  # an error, were it read
    answer = pull(asked, host_map=host_map, offline=True)
    assert (answer.outcome, answer.exchanges) == ("not-asked", ())
    assert "offline" in answer.detail


def test_offline_reads_no_docker_configuration(registries: Give, no_docker_config: Path) -> None:
    registry = registries("basic")
    pair = base64.b64encode(f"tester:{registry.password}".encode()).decode()
    content = {"auths": {registry.address: {"auth": pair}}}
    (no_docker_config / "config.json").write_text(json.dumps(content))
    assert ask(registry, credentials=None).outcome == "login-needed"
    assert ask(registry, credentials=None, offline=False).outcome == "found"


def test_a_mapped_host_does_not_get_the_login_of_the_name(
    registries: Give, no_docker_config: Path
) -> None:
    registry = registries("basic")
    pair = base64.b64encode(f"tester:{registry.password}".encode()).decode()
    content = {
        "auths": {"https://index.docker.io/v1/": {"auth": pair}, "docker.io": {"auth": pair}}
    }
    (no_docker_config / "config.json").write_text(json.dumps(content))
    answer = ask(registry, credentials=None, offline=False)
    assert (answer.outcome, answer.login_sent) == ("login-needed", False)


def test_a_broken_configuration_is_the_reason(registries: Give, no_docker_config: Path) -> None:
    (no_docker_config / "config.json").write_text("{")
    answer = ask(registries("basic"), credentials=None, offline=False)
    assert answer.outcome == "login-needed"
    assert "config.json:1:2: no JSON" in answer.detail


@pytest.mark.parametrize("target", ["a b", "host/path", "https://host", "host:x", "user@host"])
def test_a_map_to_no_host_is_refused(target: str) -> None:
    with pytest.raises(errors.UsageError, match="host map"):
        pull(ALPINE, host_map={"docker.io": target})


def test_a_missing_authority_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="no file"):
        pull(ALPINE, ca=tmp_path / "none.pem")


@pytest.mark.parametrize("auth", LOGINS)
def test_no_secret_is_shown_or_logged(
    registries: Give, auth: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    registry = registries(auth)
    caplog.set_level(logging.DEBUG)
    answers = [ask(registry), ask(registry, credentials=wrong), ask(registry, arch="none")]
    pair = base64.b64encode(f"tester:{registry.password}".encode()).decode()
    shown = "".join(
        (*map(str, answers), *map(repr, answers), repr(registry), caplog.text, *capfd.readouterr())
    )
    for secret in (registry.password, registry.identity_token, pair, WRONG):
        assert secret not in shown
    assert "eyJ" not in shown  # how every JWT begins
    assert registry.address in caplog.text or "127.0.0.1" in caplog.text  # that there was a log
