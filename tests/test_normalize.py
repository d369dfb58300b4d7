"""The fixed rule. What is expected was written by hand from the design's table."""

from __future__ import annotations

import pytest
from hypothesis import given

from kitref import InvalidReference, expand, parse
from tests.test_reference import INVALID, anything, fault_of, names

SHA256 = "sha256:" + "0123456789abcdef" * 4

# text, asked, asked with tag
EXPANDED = [
    pytest.param(
        "alpine", "docker.io/library/alpine", "docker.io/library/alpine:latest", id="official"
    ),
    pytest.param(
        "alpine:3", "docker.io/library/alpine:3", "docker.io/library/alpine:3", id="official-tag"
    ),
    pytest.param("user/repo", "docker.io/user/repo", "docker.io/user/repo:latest", id="user"),
    pytest.param(
        "foo/bar/baz", "docker.io/foo/bar/baz", "docker.io/foo/bar/baz:latest", id="nested"
    ),
    pytest.param("library/a", "docker.io/library/a", "docker.io/library/a:latest", id="library"),
    pytest.param("bastion.io/foo:local", "bastion.io/foo:local", "bastion.io/foo:local", id="dot"),
    pytest.param("host:5000/foo", "host:5000/foo", "host:5000/foo:latest", id="port"),
    pytest.param("localhost/foo", "localhost/foo", "localhost/foo:latest", id="localhost"),
    pytest.param(
        "localhost:5000/foo", "localhost:5000/foo", "localhost:5000/foo:latest", id="port-no-tag"
    ),
    pytest.param("Foo/bar", "Foo/bar", "Foo/bar:latest", id="upper-case-domain"),
    pytest.param("[::1]/foo", "[::1]/foo", "[::1]/foo:latest", id="ipv6"),
    pytest.param("docker.io/alpine", "docker.io/alpine", "docker.io/alpine:latest", id="hub"),
    pytest.param(
        "index.docker.io/alpine",
        "index.docker.io/alpine",
        "index.docker.io/alpine:latest",
        id="index",
    ),
    pytest.param("a_b.io/foo", "a_b.io/foo", "a_b.io/foo:latest", id="oddity"),
    pytest.param("a_b/foo", "docker.io/a_b/foo", "docker.io/a_b/foo:latest", id="underscore-user"),
    pytest.param(
        "localhost",
        "docker.io/library/localhost",
        "docker.io/library/localhost:latest",
        id="localhost-no-slash",
    ),
    pytest.param("foo:80", "docker.io/library/foo:80", "docker.io/library/foo:80", id="port-tag"),
    pytest.param(
        f"foo@{SHA256}",
        f"docker.io/library/foo@{SHA256}",
        f"docker.io/library/foo@{SHA256}",
        id="digest",
    ),
    pytest.param(
        f"a.b/foo:1@{SHA256}", f"a.b/foo:1@{SHA256}", f"a.b/foo:1@{SHA256}", id="tag-and-digest"
    ),
    pytest.param(
        "a" * 247,
        "docker.io/library/" + "a" * 247,
        "docker.io/library/" + "a" * 247 + ":latest",
        id="bare-247",
    ),
    pytest.param(
        "a.b/" + "c" * 255, "a.b/" + "c" * 255, "a.b/" + "c" * 255 + ":latest", id="path-255"
    ),
]


@pytest.mark.parametrize(("text", "asked", "with_tag"), EXPANDED)
def test_expand_adds_what_is_missing(text: str, asked: str, with_tag: str) -> None:
    assert expand(text) == asked
    assert expand(text, with_tag=True) == with_tag


@pytest.mark.parametrize(("text", "start", "end", "reason"), INVALID)
def test_expand_refuses_what_parse_refuses(text: str, start: int, end: int, reason: str) -> None:
    for with_tag in (False, True):
        with pytest.raises(InvalidReference) as caught:
            expand(text, with_tag)
        error = caught.value
        assert (error.start, error.end, error.reason) == (start, end, reason)


@given(anything)
def test_expand_takes_what_parse_takes_and_keeps_the_canonical_form(text: str) -> None:
    if fault_of(text):
        with pytest.raises(InvalidReference):
            expand(text)
    else:
        assert parse(expand(text)) == parse(text)


@given(names)
def test_expand_rewrites_nothing_and_a_second_time_changes_nothing(name: str) -> None:
    if fault_of(name):
        return
    asked, tagged = expand(name), expand(name, with_tag=True)
    assert asked in (name, f"docker.io/{name}", f"docker.io/library/{name}")
    assert expand(asked) == asked
    assert expand(tagged, with_tag=True) == tagged
    assert expand(tagged) == tagged
    assert tagged in (asked, f"{asked}:latest")
    assert "/" in asked
