"""What no real registry does: the test's own small servers misbehave, and each gets an answer."""

from __future__ import annotations

import base64
import hashlib
import http.server
import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from kitref.registry import Answer, Login, pull
from tests.registry.conftest import reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.registry.conftest import Fake

    Start = Callable[..., Fake]

Handler = http.server.BaseHTTPRequestHandler
IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "layers": []}).encode()
DIGEST = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
SECRET = "topsecret-password"  # noqa: S105 - of no one
BASIC = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()


def login(_address: str, _repository: str) -> Login:
    return Login(username="me", password=SECRET)


def ask(fake: Fake, **options: Any) -> Answer:  # noqa: ANN401 - those of `pull`
    given: dict[str, Any] = {
        "host_map": {"docker.io": fake.address},
        "ca": fake.ca,
        "credentials": login,
    }
    return pull("docker.io/foo/bar:1", **given | {"timeout": 5.0} | options)


def manifest(react: Callable[[Handler], None]) -> Callable[[Handler], None]:
    """React so to a request for a manifest, and take everyone in."""

    def either(handler: Handler) -> None:
        if handler.path == "/v2/":
            reply(handler)
        else:
            react(handler)

    return either


def challenge(header: str, then: Callable[[Handler], None]) -> Callable[[Handler], None]:
    """Ask for a login with this header, and react so to everything else."""

    def either(handler: Handler) -> None:
        if handler.path == "/v2/":
            reply(handler, 401, WWW_Authenticate=header)
        else:
            then(handler)

    return either


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", IMAGE)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * (1 << 16))


def endless_redirect(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "/elsewhere")
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * (1 << 16))


def drip_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(600):
        handler.wfile.write(b"X")
        handler.wfile.flush()
        time.sleep(0.1)


def drip_body(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", IMAGE)
    handler.end_headers()
    for _ in range(600):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def hang(_handler: Handler) -> None:
    time.sleep(3)


def redirect(status: int, to: str) -> Callable[[Handler], None]:
    return lambda handler: reply(handler, status, Location=to)


def index(*entries: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()


def test_a_single_manifest_is_found_whatever_its_platform(fake: Start) -> None:
    server = fake(
        manifest(lambda handler: reply(handler, 200, MANIFEST, IMAGE + "; charset=utf-8"))
    )
    answer = ask(server, arch="riscv64")
    assert (answer.outcome, answer.digest) == ("found", DIGEST)
    assert "does not compare" in answer.detail


@pytest.mark.parametrize(
    ("react", "said"),
    [
        pytest.param(lambda h: reply(h, 500), "500", id="500"),
        pytest.param(
            lambda h: reply(h, 429, b'{"errors": [{"code": "TOOMANYREQUESTS"}]}'),
            "429 TOOMANYREQUESTS",
            id="429",
        ),
        pytest.param(
            lambda h: reply(h, 200, b"<html>", "text/html"), "text/html, no manifest", id="html"
        ),
        pytest.param(lambda h: reply(h, 200, b"{", IMAGE), "no JSON object", id="json"),
        pytest.param(lambda h: reply(h, 200, b"[]", IMAGE), "no JSON object", id="list"),
        pytest.param(lambda h: reply(h, 200, b"\xff", IMAGE), "no JSON object", id="no-utf-8"),
        pytest.param(lambda h: reply(h, 200, b"[" * 10**6, IMAGE), "no JSON object", id="nested"),
        pytest.param(lambda h: reply(h, 200, b"{}", "x\x1b[31m"), "with something", id="escapes"),
        pytest.param(lambda h: reply(h, 204), "204", id="204"),
        pytest.param(endless, "more than 4 MiB", id="endless"),
        pytest.param(endless_redirect, "more than 4 MiB", id="endless-redirect"),
        pytest.param(
            lambda h: reply(h, 200, b" " * (5 << 20), IMAGE), "more than 4 MiB", id="huge"
        ),
        pytest.param(redirect(302, "/v2/foo/bar/manifests/1"), "more than 5 times", id="loop"),
        pytest.param(redirect(302, "http://127.0.0.1:1/"), "no address with TLS", id="downgrade"),
        pytest.param(redirect(302, "https://me:pw@127.0.0.1/"), "no address", id="with-a-login"),
        pytest.param(redirect(302, "https://127.0.0.1\\@a.example/"), "no address", id="backslash"),
        pytest.param(redirect(302, "file:///etc/passwd"), "no address", id="file"),
        pytest.param(redirect(302, "https://[:::]/"), "no address", id="ipv6"),
        pytest.param(redirect(302, ""), "more than 5 times", id="to-itself"),
        pytest.param(lambda h: h.wfile.write(b"\x16\x03junk\r\n\r\n"), "no HTTP", id="junk"),
        pytest.param(lambda h: h.wfile.close(), "connection", id="hangs-up"),
        pytest.param(
            lambda h: reply(h, 200, index(), INDEX), "its index has no platform", id="index"
        ),
        pytest.param(
            lambda h: reply(h, 200, b'{"manifests": {"a": 1}}', INDEX), "no platform", id="no-list"
        ),
        pytest.param(
            lambda h: reply(
                h,
                200,
                index(7, {}, {"platform": {"os": "linux", "architecture": "amd64"}, "digest": 3}),
                INDEX,
            ),
            "its index has",
            id="index-of-junk",
        ),
        pytest.param(
            lambda h: reply(
                h,
                200,
                index(
                    {
                        "digest": "sha256:" + "0" * 64,
                        "platform": {"os": "linux", "architecture": "amd64"},
                    }
                )
                if h.path.endswith("/1")
                else MANIFEST,
                INDEX if h.path.endswith("/1") else IMAGE,
            ),
            "another manifest than the digest's",
            id="another-digest",
        ),
    ],
)
def test_a_manifest_that_is_none(fake: Start, react: Callable[[Handler], None], said: str) -> None:
    began = time.monotonic()
    answer = ask(fake(manifest(react)))
    assert answer.outcome == (
        "absent" if "index has" in said or "platform" in said else "unreachable"
    )
    assert said in answer.detail
    assert str(answer).isprintable()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "react",
    [
        pytest.param(hang, id="hangs"),
        pytest.param(drip_headers, id="drips-headers"),
        pytest.param(drip_body, id="drips-body"),
    ],
)
@pytest.mark.parametrize("where", ["ping", "manifest", "token"])
def test_a_server_that_takes_its_time(
    fake: Start, react: Callable[[Handler], None], where: str
) -> None:
    if where == "token":
        slow = fake(react)
        bearer = f'Bearer realm="https://{slow.address}/token"'
        server = fake(challenge(bearer, reply))
    else:
        server = fake(react if where == "ping" else manifest(react))
    began = time.monotonic()
    answer = ask(server, timeout=1.0)
    assert time.monotonic() - began < 2.5
    assert answer.outcome == "unreachable"
    assert "no whole answer within 1 s" in answer.detail
    assert answer.exchanges[-1].status is None
    assert "no whole answer" in answer.exchanges[-1].note


@pytest.mark.parametrize(
    ("react", "said"),
    [
        pytest.param(lambda h: reply(h, 404, b"not here", "text/html"), "404", id="no-registry"),
        pytest.param(lambda h: reply(h, 403), "403", id="403"),
        pytest.param(lambda h: reply(h, 503), "503", id="503"),
    ],
)
def test_a_server_that_is_no_registry(
    fake: Start, react: Callable[[Handler], None], said: str
) -> None:
    answer = ask(fake(react))
    assert (answer.outcome, answer.detail) == (
        "unreachable",
        f"no registry there: it answers {said} to /v2/",
    )


@pytest.mark.parametrize(
    ("header", "outcome", "said"),
    [
        pytest.param("", "login-needed", "by no scheme", id="no-scheme"),
        pytest.param('Negotiate realm="x"', "login-needed", "by no scheme", id="negotiate"),
        pytest.param("Bearer", "unreachable", "no token server", id="no-realm"),
        pytest.param('Bearer realm="/token"', "unreachable", "no token server", id="no-url"),
        pytest.param(
            'Bearer realm="http://127.0.0.1:1/"', "unreachable", "no token server", id="no-tls"
        ),
        pytest.param(
            'Bearer realm="https://me:pw@127.0.0.1:1/"', "unreachable", "no token", id="login"
        ),
        pytest.param(
            'Bearer realm="https://127.0.0.1:1/"', "unreachable", "connection refused", id="closed"
        ),
        pytest.param('Negotiate, BASIC realm="a, b"', "found", "index", id="second-scheme"),
    ],
)
def test_challenges(fake: Start, header: str, outcome: str, said: str) -> None:
    body = index({"digest": DIGEST, "platform": {"os": "linux", "architecture": "amd64"}})

    def react(handler: Handler) -> None:
        if handler.headers.get("Authorization") != BASIC:
            reply(handler, 401)
        elif handler.path.endswith("/1"):
            reply(handler, 200, body, INDEX)
        else:
            reply(handler, 200, MANIFEST, IMAGE)

    answer = ask(fake(challenge(header, react)))
    assert answer.outcome == outcome
    assert said in answer.detail


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>", id="html"),
        pytest.param(b"{}", id="no-token"),
        pytest.param(b'{"token": 7}', id="number"),
        pytest.param(b'{"token": "a\\r\\nX-Evil: 1"}', id="header"),
        pytest.param(b" " * (5 << 20), id="huge"),
    ],
)
def test_a_token_that_is_none(fake: Start, body: bytes) -> None:
    tokens = fake(lambda handler: reply(handler, 200, body))
    server = fake(challenge(f'Bearer realm="https://{tokens.address}/"', reply))
    answer = ask(server)
    assert answer.outcome == "unreachable"
    assert "its token server" in answer.detail
    assert [path for _, path, _, _ in server.seen] == ["/v2/"]


def test_the_login_goes_to_the_token_server_and_the_token_to_the_registry(fake: Start) -> None:
    tokens = fake(lambda handler: reply(handler, 200, b'{"token": "abc"}'))
    server = fake(
        challenge(
            f'Bearer realm="https://{tokens.address}/t?a=b",service="s, t"',
            lambda handler: reply(handler, 200, MANIFEST, IMAGE),
        )
    )
    assert ask(server).outcome == "found"
    assert tokens.logins() == [BASIC]
    assert tokens.seen[0][1] == "/t?a=b&scope=repository%3Afoo%2Fbar%3Apull&service=s%2C+t"
    assert server.logins() == ["Bearer abc"]


def test_a_redirect_to_another_host_gets_no_login(fake: Start) -> None:
    other = fake(lambda handler: reply(handler, 200, MANIFEST, IMAGE))
    to = f"https://{other.address}/elsewhere?signature=hidden"
    server = fake(challenge("Basic", redirect(307, to)))
    answer = ask(server)
    assert answer.outcome == "found"
    assert server.logins() == [BASIC]
    assert [path for _, path, _, _ in other.seen] == ["/elsewhere?signature=hidden"]
    assert other.logins() == []
    assert "hidden" not in repr(answer)


def test_a_redirect_to_itself_keeps_the_login(fake: Start) -> None:
    def react(handler: Handler) -> None:
        if handler.path == "/moved":
            reply(handler, 200, MANIFEST, IMAGE)
        else:
            reply(handler, 307, Location="/moved")

    server = fake(challenge("Basic", react))
    assert ask(server).outcome == "found"
    assert server.logins() == [BASIC, BASIC]


def test_a_token_server_that_redirects_does_not_pass_the_login_on(fake: Start) -> None:
    other = fake(lambda handler: reply(handler, 200, b'{"token": "abc"}'))
    tokens = fake(redirect(307, f"https://{other.address}/"))
    server = fake(challenge(f'Bearer realm="https://{tokens.address}/"', reply))
    ask(server)
    assert tokens.logins() == [BASIC]
    assert (len(other.seen), other.logins()) == (1, [])
    ask(server, credentials=lambda *_: Login(identity_token=SECRET))
    assert [method for method, *_ in tokens.seen] == ["GET", "POST"]
    assert len(other.seen) == 1


def test_another_hosts_challenge_gets_no_login(fake: Start) -> None:
    tokens = fake(lambda handler: reply(handler, 200, b'{"token": "abc"}'))
    other = fake(
        lambda h: reply(h, 401, WWW_Authenticate=f'Bearer realm="https://{tokens.address}/"')
    )
    server = fake(redirect(307, f"https://{other.address}/v2/"))
    answer = ask(server)
    assert not answer.login_sent
    assert len(tokens.seen) == 1
    # The token of the anonymous, no more.
    assert (tokens.logins(), other.logins(), server.logins()) == ([], [], ["Bearer abc"])


def test_no_login_is_sent_without_tls(fake: Start) -> None:
    tokens = fake(lambda handler: reply(handler, 200, b'{"token": "abc"}'))
    for header in ("Basic", f'Bearer realm="https://{tokens.address}/"'):
        server = fake(challenge(header, lambda handler: reply(handler, 403)), tls=False)
        answer = ask(server)
        assert answer.outcome == "login-needed"
        assert answer.detail == "it answers 403, and no login was sent" or header != "Basic"
        assert not answer.login_sent
        assert BASIC not in (*server.logins(), *tokens.logins())


def test_a_registry_without_tls_on_this_machine_is_asked_without(fake: Start) -> None:
    server = fake(manifest(lambda handler: reply(handler, 200, MANIFEST, IMAGE)), tls=False)
    answer = pull(f"{server.address}/foo:1", credentials=login)
    assert (answer.outcome, answer.mapped) == ("found", False)
    assert [e.url.partition(":")[0] for e in answer.exchanges] == ["https", "http", "http"]


def test_offline_a_registry_leads_to_no_other_host(fake: Start) -> None:
    for header, react in (
        ('Bearer realm="https://auth.example/token"', reply),
        ("Basic", redirect(307, "https://blobs.example/x")),
    ):
        answer = ask(fake(challenge(header, react)), offline=True)
        assert answer.outcome == "not-asked"
        assert ".example, where it leads, is not asked" in answer.detail
        assert all(e.url.startswith("https://127.0.0.1:") for e in answer.exchanges)


def test_a_server_that_sends_the_login_back_shows_it_to_nobody(
    fake: Start, caplog: pytest.LogCaptureFixture
) -> None:
    counted = itertools.count()

    def react(handler: Handler) -> None:
        given = handler.headers.get("Authorization", "").partition(" ")[2]
        if next(counted):
            reply(handler, 500, json.dumps({"errors": [{"code": given}]}).encode(), given)
        else:
            reply(handler, 307, Location=f"/{given}/{SECRET}")

    caplog.set_level("INFO")
    server = fake(challenge("Basic", react))
    answer = ask(server)
    assert SECRET in server.seen[-1][1]
    shown = f"{answer} {answer!r} {caplog.text}"
    assert SECRET not in shown
    assert BASIC.partition(" ")[2] not in shown


def test_neither_netrc_nor_a_bundle_of_the_environment_is_used(
    fake: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(netrc))
    server = fake(challenge("Basic", lambda handler: reply(handler, 401)))
    answer = ask(server, credentials=lambda *_: None)
    assert answer.outcome == "login-needed"
    assert answer.detail == f"it answers 401, and there is no login for {server.address}"
    assert server.logins() == []


def test_a_proxy_is_not_asked_for_this_machine(
    fake: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = fake(manifest(lambda handler: reply(handler, 200, MANIFEST, IMAGE)))
    assert ask(server).outcome == "found"
    # RFC 2606: no such host; the closed proxy is all that is asked.
    answer = pull("registry.example/foo", credentials=lambda *_: None)
    assert answer.detail == "the proxy of the environment gives no way there"


def test_a_bundle_that_is_none_is_the_reason(fake: Start) -> None:
    server = fake(manifest(reply))
    server.ca.write_text("no certificate")
    answer = ask(server)
    assert (answer.outcome, server.seen) == ("unreachable", [])
