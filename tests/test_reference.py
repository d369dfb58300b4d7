"""Parsing. What is expected was written by hand from distribution/reference's reading."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kitref import InvalidReference, KitrefError, Reference, parse

HEX = "0123456789abcdef" * 4
SHA256 = f"sha256:{HEX}"
SHA512 = f"sha512:{HEX}{HEX}"
HUB = "docker.io"

# text, domain, path, tag, digest, familiar
VALID = [
    pytest.param("alpine", HUB, "library/alpine", None, None, "alpine", id="official"),
    pytest.param("alpine:3", HUB, "library/alpine", "3", None, "alpine:3", id="official-tag"),
    pytest.param("foo:80", HUB, "library/foo", "80", None, "foo:80", id="port-like-tag"),
    pytest.param("user/repo", HUB, "user/repo", None, None, "user/repo", id="user"),
    pytest.param("foo/bar/baz", HUB, "foo/bar/baz", None, None, "foo/bar/baz", id="nested"),
    pytest.param("library/a/b", HUB, "library/a/b", None, None, "library/a/b", id="library-nested"),
    pytest.param("library/a", HUB, "library/a", None, None, "a", id="library"),
    pytest.param("docker.io/a", HUB, "library/a", None, None, "a", id="hub-domain"),
    pytest.param("docker.io/a/b", HUB, "a/b", None, None, "a/b", id="hub-domain-user"),
    pytest.param("index.docker.io/a", HUB, "library/a", None, None, "a", id="index"),
    pytest.param("index.docker.io/a/b:c", HUB, "a/b", "c", None, "a/b:c", id="index-user"),
    pytest.param("DOCKER.IO/a", "DOCKER.IO", "a", None, None, "DOCKER.IO/a", id="hub-upper-case"),
    pytest.param("b.io/foo:local", "b.io", "foo", "local", None, "b.io/foo:local", id="dot"),
    pytest.param("h:5000/foo", "h:5000", "foo", None, None, "h:5000/foo", id="port"),
    pytest.param("localhost/a", "localhost", "a", None, None, "localhost/a", id="localhost"),
    pytest.param("localhost", HUB, "library/localhost", None, None, "localhost", id="no-slash"),
    pytest.param("Foo/bar", "Foo", "bar", None, None, "Foo/bar", id="upper-case-domain"),
    pytest.param("[::1]/a", "[::1]", "a", None, None, "[::1]/a", id="ipv6"),
    pytest.param("[::1]:5/a:b", "[::1]:5", "a", "b", None, "[::1]:5/a:b", id="ipv6-port"),
    pytest.param("[ABC]/a", "[ABC]", "a", None, None, "[ABC]/a", id="brackets-upper-case"),
    pytest.param("a_b/c", HUB, "a_b/c", None, None, "a_b/c", id="underscore-user"),
    pytest.param("a_b.io/c", "", "a_b.io/c", None, None, "a_b.io/c", id="oddity"),
    pytest.param("a_b.io/c:d", "", "a_b.io/c", "d", None, "a_b.io/c:d", id="oddity-tag"),
    pytest.param(f"a@{SHA256}", HUB, "library/a", None, SHA256, f"a@{SHA256}", id="digest"),
    pytest.param(f"a:b@{SHA512}", HUB, "library/a", "b", SHA512, f"a:b@{SHA512}", id="both"),
    pytest.param(f"{HEX}x", HUB, f"library/{HEX}x", None, None, f"{HEX}x", id="65-digits"),
    pytest.param(f"a/{HEX}", HUB, f"a/{HEX}", None, None, f"a/{HEX}", id="id-in-a-path"),
    pytest.param(f"sha256:{HEX}", HUB, "library/sha256", HEX, None, SHA256, id="digest-as-tag"),
    pytest.param("a" * 247, HUB, "library/" + "a" * 247, None, None, "a" * 247, id="bare-247"),
    pytest.param(
        "b.io/" + "a" * 255, "b.io", "a" * 255, None, None, "b.io/" + "a" * 255, id="path-255"
    ),
    pytest.param(
        "a" * 300 + ".b/c", "a" * 300 + ".b", "c", None, None, "a" * 300 + ".b/c", id="long-domain"
    ),
]

# text, start, end, reason
INVALID = [
    pytest.param("", 0, 0, "empty name", id="empty"),
    pytest.param(HEX, 0, 64, "64 hex digits are an image ID, not a name", id="image-id"),
    pytest.param("https://a.b/c", 0, 8, "a URL scheme is no part of a name", id="scheme"),
    pytest.param("a b", 1, 2, "white space", id="blank"),
    pytest.param("alpine\n", 6, 7, "white space", id="line-feed"),
    pytest.param("a\x00", 1, 2, "control character", id="nul"),
    pytest.param("a\x9b2J", 1, 2, "control character", id="c1"),
    pytest.param("a\udcff", 1, 2, "bytes that are no UTF-8", id="surrogate"),
    pytest.param("aéé", 1, 3, "character outside ASCII", id="accents"),
    pytest.param("\u212a.b/c", 0, 1, "character outside ASCII", id="kelvin-sign"),
    pytest.param("a%b", 1, 2, "'%' is no part of a name", id="percent"),
    pytest.param("UPPER", 0, 5, "upper case in the path", id="upper-case"),
    pytest.param("a.b/fooBAR:V", 7, 10, "upper case in the path", id="upper-case-path"),
    pytest.param("foo:", 4, 4, "empty tag after ':'", id="empty-tag"),
    pytest.param(":foo", 0, 0, "empty path", id="tag-only"),
    pytest.param(f"@{SHA256}", 0, 0, "empty path", id="digest-only"),
    pytest.param("a.b/", 4, 4, "empty path", id="domain-only"),
    pytest.param("/a", 0, 1, "slash at the start", id="leading-slash"),
    pytest.param("a//b", 1, 3, "double slash", id="double-slash"),
    pytest.param("docker.io//b", 10, 11, "slash at the start", id="double-slash-domain"),
    pytest.param("a/b/", 3, 4, "slash at the end of the path", id="trailing-slash"),
    pytest.param("a+b", 1, 2, "'+' in the path", id="plus"),
    pytest.param("[abc]/a", 0, 1, "'[' in the path", id="brackets-no-domain"),
    pytest.param("-a", 0, 1, "a component of the path starts with '-'", id="leading-dash"),
    pytest.param("a/.b", 2, 3, "a component of the path starts with '.'", id="leading-dot"),
    pytest.param("a_/b", 1, 2, "a component of the path ends with '_'", id="trailing-underscore"),
    pytest.param("a..b", 1, 3, "separators in a row: '..'", id="two-dots"),
    pytest.param("a___b", 1, 4, "separators in a row: '___'", id="three-underscores"),
    pytest.param("a:.b", 2, 3, "tag starts with '.'", id="tag-dot"),
    pytest.param("a:b:c", 3, 4, "':' in the tag", id="two-tags"),
    pytest.param("a:" + "t" * 129, 2, 131, "tag longer than 128", id="tag-129"),
    pytest.param("a@", 2, 2, "empty digest after '@'", id="empty-digest"),
    pytest.param("a@sha256", 2, 8, "digest without ':'", id="digest-no-colon"),
    pytest.param(
        "a@md5:" + "0" * 32, 2, 5, "digest algorithm not supported", id="digest-algorithm"
    ),
    pytest.param(
        f"a@SHA256:{HEX}", 2, 8, "digest algorithm not supported", id="digest-upper-case-name"
    ),
    pytest.param(
        f"a@sha256:{HEX[1:]}", 9, 72, "sha256 digest needs 64 hex digits, has 63", id="digest-63"
    ),
    pytest.param(
        f"a@sha384:{HEX}", 9, 73, "sha384 digest needs 96 hex digits, has 64", id="digest-384"
    ),
    pytest.param("a@sha256:" + "A" * 64, 9, 73, "upper case in the digest", id="digest-upper-case"),
    pytest.param(f"a@sha256:g{HEX[1:]}", 9, 10, "'g' in the digest", id="digest-letter"),
    pytest.param(f"a@{SHA256}@{SHA256}", 73, 74, "'@' in the digest", id="two-digests"),
    pytest.param("a_b:5000/foo", 1, 2, "'_' in the domain", id="domain-underscore"),
    pytest.param("a..b/c", 1, 3, "empty component of the domain", id="domain-two-dots"),
    pytest.param("a.b-/c", 3, 4, "'-' at an end of a component of the domain", id="domain-dash"),
    pytest.param("a.b:/c", 3, 4, "empty port after ':'", id="empty-port"),
    pytest.param("a.b:x/c", 3, 5, "port is no number", id="port-letters"),
    pytest.param(":80/c", 0, 1, "no host before ':'", id="no-host"),
    pytest.param("::1/c", 0, 1, "no host before ':'", id="ipv6-bare"),
    pytest.param("fe80::1/c", 4, 6, "an IPv6 address without brackets", id="ipv6-bare-prefix"),
    pytest.param("[::1/c", 0, 4, "'[' without ']'", id="ipv6-open"),
    pytest.param("[::x]/c", 3, 4, "'x' in the IPv6 address", id="ipv6-letter"),
    pytest.param("[]:80/c", 0, 2, "empty IPv6 address", id="ipv6-empty"),
    pytest.param("[::1]x/c", 5, 6, "'x' in the IPv6 address", id="ipv6-rest"),
    pytest.param(
        "a" * 248, 0, 248, "path longer than 255 characters, with library/ 256", id="bare-248"
    ),
    pytest.param(
        "docker.io/" + "a" * 248,
        10,
        258,
        "path longer than 255 characters, with library/ 256",
        id="hub-248",
    ),
    pytest.param(
        "b.io/" + "a" * 256, 5, 261, "path longer than 255 characters, has 256", id="path-256"
    ),
    pytest.param(
        "a_b.io/" + "c" * 249, 0, 256, "path longer than 255 characters, has 256", id="oddity-256"
    ),
]


def long(unit: str) -> str:
    """Repeat a text up to ten megabytes."""
    return unit * (10_000_000 // len(unit))


# Long texts that a backtracking match, or one that keeps every step, would choke on.
ADVERSARIAL = [
    pytest.param(long("a-"), id="dashes"),
    pytest.param(long("-") + "!", id="only-dashes"),
    pytest.param(long("a.") + "!", id="dots"),
    pytest.param(long("a.") + "/a", id="dots-domain"),
    pytest.param(long("a/"), id="slashes"),
    pytest.param(long("a__"), id="underscores"),
    pytest.param(long("_"), id="only-underscores"),
    pytest.param(long(":"), id="colons"),
    pytest.param(long("a:") + "/b", id="ports"),
    pytest.param("[" + long(":"), id="open-bracket"),
    pytest.param(long("[") + "A/b", id="brackets"),
    pytest.param(long("[:") + "/b", id="bracket-pairs"),
    pytest.param("[" + long("]") + ":/b", id="closing-brackets"),
    pytest.param("a@" + long("sha256:"), id="digests"),
    pytest.param("a@sha256:" + long("0"), id="digits"),
    pytest.param("a@" + long("a+") + ":0", id="algorithms"),
    pytest.param("a:" + long("t"), id="tag"),
    pytest.param(long("a"), id="letters"),
    pytest.param(long("A"), id="upper-case"),
    pytest.param(long("a+"), id="plus"),
    pytest.param(long("é"), id="accents"),
    pytest.param(long(" "), id="blanks"),
    pytest.param(long("0") + "/" + long("A"), id="digits-upper-case"),
]

names = st.from_regex(
    r"((localhost|[a-zA-Z0-9]{1,3}(\.[a-z-]{1,2})?)(:[0-9]{1,3})?/)?"
    r"[a-z0-9]([._-]?[a-z0-9]){0,3}(/[a-z_.]{1,4}){0,2}(:[a-zA-Z0-9_.-]{1,6})?",
    fullmatch=True,
) | st.sampled_from([case.values[0] for case in VALID]).map(str)
anything = st.text(st.characters(), max_size=40) | st.text("aA0._-/:@[]+ \n", max_size=12) | names


@pytest.mark.parametrize(("text", "domain", "path", "tag", "digest", "familiar"), VALID)
def test_parse_takes(
    text: str, domain: str, path: str, tag: str | None, digest: str | None, familiar: str
) -> None:
    parsed = parse(text)
    assert parsed == Reference(domain=domain, path=path, tag=tag, digest=digest)
    assert parsed.familiar == familiar


@pytest.mark.parametrize(
    ("text", "name", "canonical"),
    [
        pytest.param("alpine", "docker.io/library/alpine", "docker.io/library/alpine", id="bare"),
        pytest.param("a.b/c:d", "a.b/c", "a.b/c:d", id="tag"),
        pytest.param(f"a.b/c@{SHA256}", "a.b/c", f"a.b/c@{SHA256}", id="digest"),
        pytest.param(f"a.b/c:d@{SHA256}", "a.b/c", f"a.b/c:d@{SHA256}", id="both"),
        pytest.param("a_b.io/c:d", "a_b.io/c", "a_b.io/c:d", id="oddity"),
    ],
)
def test_name_and_canonical_form(text: str, name: str, canonical: str) -> None:
    parsed = parse(text)
    assert (parsed.name, parsed.canonical, str(parsed)) == (name, canonical, canonical)


@pytest.mark.parametrize(("text", "start", "end", "reason"), INVALID)
def test_parse_refuses_with_place_and_reason(text: str, start: int, end: int, reason: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse(text)
    error = caught.value
    assert (error.text, error.reason, error.start, error.end) == (text, reason, start, end)
    assert error.remedy


def test_the_error_points_at_the_fault() -> None:
    with pytest.raises(InvalidReference) as caught:
        parse("a.b/fooBAR:V")
    assert str(caught.value) == (
        "invalid reference: upper case in the path\n"
        "  a.b/fooBAR:V\n"
        "         ^^^\n"
        "write the path in lower case"
    )


def test_the_error_shows_no_control_character_and_keeps_the_carets_in_place() -> None:
    with pytest.raises(InvalidReference) as caught:
        parse("é\x1b[2J")
    _, shown, carets, _ = str(caught.value).split("\n")
    assert shown == r"  \xe9\x1b[2J"
    assert carets == r"      ^^^^"


def test_the_error_of_a_long_text_is_short() -> None:
    with pytest.raises(InvalidReference) as caught:
        parse("a" * 1000 + "B" * 1000 + "c" * 1000)
    _, shown, carets, _ = str(caught.value).split("\n")
    assert shown == "  ..." + "a" * 20 + "B" * 40 + "..."
    assert carets == "  " + " " * 23 + "^" * 40


def test_the_error_is_one_of_the_kit_and_a_value_error() -> None:
    with pytest.raises(KitrefError):
        parse("")
    with pytest.raises(ValueError, match="empty name"):
        parse("")


@pytest.mark.parametrize("read_before", [True, False], ids=["read", "unread"])
def test_the_error_can_be_sent_to_another_process(read_before: bool) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse("a b")
    if read_before:
        assert caught.value.reason
    for sent in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):  # noqa: S301 - made here
        assert (sent.text, sent.reason, sent.start) == ("a b", "white space", 1)
        assert str(sent) == str(caught.value)


def test_the_error_has_no_other_attributes() -> None:
    with pytest.raises(InvalidReference) as caught:
        parse("")
    assert not hasattr(caught.value, "no_such_attribute")


def test_a_reference_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        parse("alpine").tag = "3"  # type: ignore[misc]


@given(anything)
@example("\ud800")
@example("a" * 64)
def test_any_text_gives_an_answer_or_a_fault_within_it(text: str) -> None:
    error = fault_of(text)
    if error is None:
        parsed = parse(text)
        assert parse(str(parsed)) == parsed
        assert text.endswith(parsed.path.removeprefix("library/") + str(parsed)[len(parsed.name) :])
    else:
        assert 0 <= error.start <= error.end <= len(text)
        assert error.reason
        assert not error.reason.startswith("no valid")
        assert str(error).isascii()


def fault_of(text: str) -> InvalidReference | None:
    try:
        parse(text)
    except InvalidReference as error:
        return error
    return None


@given(names)
def test_an_error_is_printed_with_carets_under_the_text(name: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse(name + "\t")
    _, shown, carets, _ = str(caught.value).split("\n")
    assert shown[carets.index("^") :] == r"\t"


@pytest.mark.parametrize("text", ADVERSARIAL)
def test_a_long_text_is_refused_at_once(text: str) -> None:
    # Nothing is timed: with a match that is not linear this would not end.
    with pytest.raises(InvalidReference) as caught:
        parse(text)
    assert 0 <= caught.value.start <= caught.value.end <= len(text)
    assert len(str(caught.value)) < 500


def test_a_domain_has_no_length_limit() -> None:
    domain = long("a-b.") + "c"
    assert parse(f"{domain}/d").domain == domain
