"""The rules, by commit and by release. What is expected was written by hand from their history."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from kitref import RULES, Expansion, InvalidReference, UnknownRule, UsageError, expand, rule
from kitref.rules import releases

if TYPE_CHECKING:
    from kitref.rules import Tool

DIGEST = "sha256:" + "0" * 64

ALWAYS_HUB = ("da533297c", "9bb26e4c3", "54d9db865", "c836e54d2")
WITH_TAG = ("54d9db865", "4496612c7", "c836e54d2", "5e42d050a", "fixed")
WITHOUT_TAG = ("none", "da533297c", "9bb26e4c3")
ALL_NAMES = ("none", *ALWAYS_HUB[:3], "4496612c7", "c836e54d2", "5e42d050a", "fixed")

# text, and what it becomes: always under docker.io, only bare names, LinuxKit's own fix
OLD = [
    pytest.param("alpine", *["docker.io/library/alpine"] * 3, id="official"),
    pytest.param("user/repo", "docker.io/user/repo", "user/repo", "docker.io/user/repo", id="user"),
    pytest.param(
        "bastion.io/foo:local",
        "docker.io/bastion.io/foo:local",
        *["bastion.io/foo:local"] * 2,
        id="the-bug",
    ),
    pytest.param("h:5000/foo", "docker.io/h:5000/foo", *["h:5000/foo"] * 2, id="port"),
    pytest.param("localhost/a", "docker.io/localhost/a", *["localhost/a"] * 2, id="localhost"),
    pytest.param("docker.io/a", "docker.io/docker.io/a", *["docker.io/a"] * 2, id="hub-twice"),
    pytest.param("Foo/bar", "docker.io/Foo/bar", "Foo/bar", "docker.io/Foo/bar", id="upper-case"),
    pytest.param("foo/bar/baz", *["foo/bar/baz"] * 3, id="nested-left"),
    pytest.param("a.b/c/d", *["a.b/c/d"] * 3, id="domain-nested"),
    pytest.param("", *["docker.io/library/"] * 3, id="empty"),
    pytest.param("/", "docker.io//", "/", "docker.io//", id="slash"),
    pytest.param("a.b/", "docker.io/a.b/", *["a.b/"] * 2, id="domain-only"),
    pytest.param("A B\n\x00é\udcff", *["docker.io/library/A B\n\x00é\udcff"] * 3, id="no-name"),
    pytest.param("//", *["//"] * 3, id="two-slashes"),
]


@pytest.mark.parametrize(("text", "always", "bare", "unless"), OLD)
def test_an_old_rule_expands_blindly(text: str, always: str, bare: str, unless: str) -> None:
    assert rule("none").expand(text).asked == text
    for name in ALWAYS_HUB:
        assert rule(name).expand(text).asked == always
    assert rule("4496612c7").expand(text).asked == bare
    assert rule("5e42d050a").expand(text).asked == unless


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        pytest.param("alpine", "docker.io/library/alpine:latest", id="added"),
        pytest.param("alpine:3", "docker.io/library/alpine:3", id="has-one"),
        pytest.param("a/b/c", "a/b/c:latest", id="nested"),
        pytest.param("localhost:5000/foo/bar", "localhost:5000/foo/bar", id="port-taken-for-tag"),
        pytest.param(f"a/b/c@{DIGEST}", f"a/b/c@{DIGEST}", id="digest-taken-for-tag"),
        pytest.param("", "docker.io/library/:latest", id="empty"),
    ],
)
def test_an_old_rule_adds_a_tag_where_there_is_no_colon(text: str, asked: str) -> None:
    for name in WITH_TAG[:-1]:
        assert rule(name).expand(text, with_tag=True).asked == asked


@pytest.mark.parametrize("name", WITHOUT_TAG)
def test_a_rule_without_the_option_cannot_add_a_tag(name: str) -> None:
    with pytest.raises(UsageError, match="cannot add a tag"):
        rule(name).expand("alpine", with_tag=True)


@pytest.mark.parametrize(
    ("name", "text", "with_tag", "asked", "reason"),
    [
        pytest.param("none", "a", False, "a", "asked for as typed", id="none"),
        pytest.param(
            "fixed",
            "a",
            False,
            "docker.io/library/a",
            "no '/': an official image of Docker Hub",
            id="official",
        ),
        pytest.param(
            "fixed",
            "a/b",
            False,
            "docker.io/a/b",
            "first part is no domain: an image of Docker Hub",
            id="user",
        ),
        pytest.param(
            "fixed", "a.b/c", False, "a.b/c", "first part is a domain: it has a '.'", id="dot"
        ),
        pytest.param(
            "fixed", "a:1/c", False, "a:1/c", "first part is a domain: it has a ':'", id="colon"
        ),
        pytest.param(
            "fixed",
            "localhost/c",
            False,
            "localhost/c",
            "first part is a domain: localhost",
            id="localhost",
        ),
        pytest.param(
            "fixed",
            "A/c",
            True,
            "A/c:latest",
            "first part is a domain: it has upper case; no tag: latest",
            id="upper-case",
        ),
        pytest.param(
            "9bb26e4c3",
            "a.b/c",
            False,
            "docker.io/a.b/c",
            "one '/': taken for an image of a Docker Hub user",
            id="the-bug",
        ),
        pytest.param(
            "5e42d050a",
            "a/b/c:1",
            True,
            "a/b/c:1",
            "two or more '/': left as it is; nothing to add a tag to",
            id="left",
        ),
    ],
)
def test_an_expansion_says_why(
    name: str, text: str, with_tag: bool, asked: str, reason: str
) -> None:
    expansion = rule(name).expand(text, with_tag)
    assert expansion == Expansion(text=text, rule=name, asked=asked, reason=reason)


@pytest.mark.parametrize("with_tag", [False, True], ids=["plain", "with-tag"])
@pytest.mark.parametrize("text", ["a", "a/b", "a.b/c", "a:1", f"a@{DIGEST}", "h:1/a"])
def test_the_fixed_rule_is_expand(text: str, with_tag: bool) -> None:
    assert rule("fixed").expand(text, with_tag).asked == expand(text, with_tag)


def test_the_fixed_rule_refuses_an_invalid_name() -> None:
    with pytest.raises(InvalidReference):
        rule("fixed").expand("A B")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("fixed", "fixed", id="fixed"),
        pytest.param("none", "none", id="none"),
        pytest.param("9bb26e4c3", "9bb26e4c3", id="commit"),
        pytest.param("9bb26e4", "9bb26e4c3", id="commit-7"),
        pytest.param("9bb26e4c3" + "0" * 31, "9bb26e4c3", id="commit-40"),
        pytest.param("v0.7", "none", id="v0.7"),
        pytest.param("v0.8", "da533297c", id="v0.8"),
        pytest.param("v1.0.1", "9bb26e4c3", id="v1.0.1"),
        pytest.param("1.0.1", "9bb26e4c3", id="without-v"),
        pytest.param("linuxkit@v1.2.0", "54d9db865", id="linuxkit"),
        pytest.param("linuxkit@1.3.0", "5e42d050a", id="linuxkit-without-v"),
        pytest.param("nitro-cli@1.3.1", "9bb26e4c3", id="nitro"),
        pytest.param("nitro-cli@v1.3.2", "54d9db865", id="nitro-with-v"),
        pytest.param("nitro-cli@v1.5.0", "5e42d050a", id="nitro-newest"),
    ],
)
def test_a_rule_has_names(name: str, expected: str) -> None:
    assert rule(name).name == expected


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("fixd", "did you mean fixed?", id="misspelt"),
        pytest.param("9bb26e", "did you mean 9bb26e4c3?", id="commit-6"),
        pytest.param("9bb26e4c4", "did you mean 9bb26e4c3", id="commit-wrong"),
        pytest.param("9BB26E4C3", "a rule is none, da533297c", id="commit-upper-case"),
        pytest.param("9bb26e4c3" + "0" * 32, "a rule is none", id="commit-41"),
        pytest.param("v99.0", "the newest known is linuxkit@v1.8.2", id="newer"),
        pytest.param("nitro-cli@9", "the newest known is nitro-cli@v1.5.0", id="nitro-newer"),
        pytest.param("v0.6", "the oldest known is linuxkit@v0.7, with rule none", id="older"),
        pytest.param("v1.1.0", "next to it are linuxkit@v1.0.1 and linuxkit@v1.2.0", id="between"),
        pytest.param("nitro-cli", "did you mean nitro-cli@v", id="no-version"),
        pytest.param("", "a rule is none", id="empty"),
        pytest.param("\x1b[31m", "a rule is none", id="control"),
        pytest.param("v1.0.1\n", "did you mean v1.0.1", id="line-feed"),
        pytest.param("v...", "the oldest known", id="dots"),
        pytest.param("x" * 1000, "a rule is none", id="long"),
    ],
)
def test_an_unknown_rule_is_refused_with_a_remedy(name: str, says: str) -> None:
    with pytest.raises(UnknownRule) as caught:
        rule(name)
    error = caught.value
    assert says in error.remedy
    assert error.what.isprintable()
    assert len(error.what) < 120


def test_there_is_every_rule_oldest_first() -> None:
    assert tuple(each.name for each in RULES) == ALL_NAMES
    dates = [each.date for each in RULES if each.date]
    assert dates == sorted(dates)
    assert all(each.summary for each in RULES)
    assert [each.name for each in RULES if each.has_with_tag] == list(WITH_TAG)


@pytest.mark.parametrize(
    ("name", "carriers"),
    [
        pytest.param("none", ["linuxkit@v0.7"], id="none"),
        pytest.param("da533297c", ["linuxkit@v0.8"], id="da533297c"),
        pytest.param(
            "9bb26e4c3",
            [
                "linuxkit@v0.8.1",
                "linuxkit@v1.0.0",
                "linuxkit@v1.0.1",
                "nitro-cli@v1.2.1",
                "nitro-cli@v1.2.2",
                "nitro-cli@v1.2.3",
                "nitro-cli@v1.3.0",
                "nitro-cli@v1.3.1",
            ],
            id="9bb26e4c3",
        ),
        pytest.param("54d9db865", ["linuxkit@v1.2.0", "nitro-cli@v1.3.2"], id="54d9db865"),
        pytest.param("4496612c7", [], id="4496612c7"),
        pytest.param("c836e54d2", [], id="c836e54d2"),
        pytest.param("fixed", [], id="fixed"),
    ],
)
def test_a_rule_knows_the_releases_that_carry_it(name: str, carriers: list[str]) -> None:
    assert [release.name for release in rule(name).releases] == carriers


@pytest.mark.parametrize("tool", ["linuxkit", "nitro-cli"])
def test_the_releases_are_in_order_and_carry_known_rules(tool: Tool) -> None:
    known = [release for release in releases() if release.tool == tool]
    assert [release.date for release in known] == sorted(release.date for release in known)
    numbers = [[int(n) for n in re.findall(r"\d+", release.version)] for release in known]
    assert numbers == sorted(numbers)
    assert {release.rule for release in known} <= set(ALL_NAMES)


def test_a_release_says_how_its_client_speaks_to_an_engine() -> None:
    by_name = {release.name: release for release in releases()}
    old, new = by_name["nitro-cli@v1.3.1"], by_name["linuxkit@v1.8.2"]
    assert (old.docker_client_api, old.api_negotiation, old.linuxkit) == ("1.41", False, "b710224")
    assert (new.docker_client_api, new.api_negotiation, new.linuxkit) == ("1.50", True, "v1.8.2")
    assert by_name["linuxkit@v0.7"].docker_client_api is None
