"""Where a pull goes, as go-containerregistry reads names.

The answers were typed from what its `name.ParseReference` printed (0.20.1, Debian trixie's package
golang-github-google-go-containerregistry-dev, built with Debian's Go).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitref import errors
from kitref.registry import locate
from kitref.registry.address import is_authority, is_loopback, may_be_plain

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("asked", "address", "repository", "reference"),
    [
        pytest.param("docker.io/foo/bar", "index.docker.io", "foo/bar", "latest", id="hub"),
        pytest.param(
            "docker.io/alpine", "index.docker.io", "library/alpine", "latest", id="library"
        ),
        pytest.param(
            "docker.io/library/alpine:3", "index.docker.io", "library/alpine", "3", id="official"
        ),
        pytest.param(
            "index.docker.io/alpine", "index.docker.io", "library/alpine", "latest", id="index"
        ),
        pytest.param(
            "registry-1.docker.io/foo", "registry-1.docker.io", "foo", "latest", id="hub-1"
        ),
        # A first part is a host only with a dot or a colon.
        pytest.param("foo/bar/baz", "index.docker.io", "foo/bar/baz", "latest", id="nested"),
        pytest.param("localhost/foo", "index.docker.io", "localhost/foo", "latest", id="localhost"),
        pytest.param("localhost:5000/foo", "localhost:5000", "foo", "latest", id="port"),
        pytest.param("bastion.io/foo:local", "bastion.io", "foo", "local", id="domain"),
        pytest.param("A.B/foo", "A.B", "foo", "latest", id="upper-case-domain"),
        pytest.param("[::1]:5000/foo", "[::1]:5000", "foo", "latest", id="ipv6-port"),
        pytest.param("[2001:db8::1]/foo:t", "[2001:db8::1]", "foo", "t", id="ipv6"),
        pytest.param(f"a.b/foo@{DIGEST}", "a.b", "foo", DIGEST, id="digest"),
        pytest.param(f"a.b/foo:t@{DIGEST}", "a.b", "foo", DIGEST, id="tag-and-digest"),
        pytest.param("a.b/foo:", "a.b", "foo", "latest", id="empty-tag"),
        pytest.param("a.b/-foo", "a.b", "-foo", "latest", id="lenient-path"),
        pytest.param("a_b.io/foo", "a_b.io", "foo", "latest", id="lenient-host"),
    ],
)
def test_locate(asked: str, address: str, repository: str, reference: str) -> None:
    place = locate(asked)
    assert (place.address, place.repository, place.reference) == (address, repository, reference)


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param("Foo/bar", id="upper-case-path"),
        pytest.param("docker.io/localhost:5000/foo", id="port-in-path"),
        pytest.param("a.b/f", id="one-character"),
        pytest.param("a.b:x/foo", id="port-no-number"),
        pytest.param("a.b/foo@sha256:aa", id="short-digest"),
        pytest.param("a.b/foo@", id="empty-digest"),
        pytest.param("a.b/foo:" + "t" * 128, id="long-tag"),
        pytest.param("a.b/" + "f" * 256, id="long-path"),
        pytest.param("", id="empty"),
        pytest.param("a.b/foo\nbar", id="line-end"),
        # To these the library has no objection; a URL has.
        pytest.param("a.b/../../foo", id="dots"),
        pytest.param("a.b:99999/foo", id="no-such-port"),
        pytest.param("[:::]/foo", id="no-such-ipv6"),
    ],
)
def test_locate_refuses(asked: str) -> None:
    with pytest.raises(errors.Unpullable):
        locate(asked)


@given(st.text())
def test_any_text_is_located_or_refused(text: str) -> None:
    try:
        place = locate(text)
    except errors.Unpullable as error:
        assert str(error).isprintable()  # noqa: PT017 - either is fine
    else:
        assert is_authority(place.address)


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        pytest.param("localhost", True, id="localhost"),
        pytest.param("localhost:5000", True, id="localhost-port"),
        pytest.param("x.localhost:1", True, id="below-localhost"),
        pytest.param("127.0.0.1:5000", True, id="loopback"),
        pytest.param("127.0.0.2", False, id="other-loopback"),
        pytest.param("[::1]:5000", True, id="ipv6-loopback"),
        pytest.param("[2001:db8::1]", False, id="ipv6"),
        pytest.param("10.1.2.3:80", True, id="private"),
        pytest.param("172.32.0.1", False, id="past-private"),
        pytest.param("notlocalhost", False, id="notlocalhost"),
        pytest.param("localhost.evil.example", False, id="localhost-in-front"),
    ],
)
def test_may_be_plain(address: str, plain: bool) -> None:
    assert may_be_plain(address) is plain


@pytest.mark.parametrize(
    ("address", "here"),
    [
        pytest.param("127.0.0.1:5000", True, id="ipv4"),
        pytest.param("127.9.9.9", True, id="all-of-127"),
        pytest.param("[::1]:5000", True, id="ipv6"),
        pytest.param("localhost", True, id="localhost"),
        pytest.param("10.1.2.3", False, id="private"),
        pytest.param("127.0.0.1.example", False, id="looks-like"),
        pytest.param("[:::]", False, id="broken"),
        pytest.param("127.0.0.1@evil.example", False, id="user"),
    ],
)
def test_is_loopback(address: str, here: bool) -> None:
    assert is_loopback(address) is here
