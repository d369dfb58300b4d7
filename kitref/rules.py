"""Every rule by which LinuxKit ever turned a name into the one it asks for, and the fixed one.

The old rules split a name at its slashes and look no further: none of them reports an invalid name.
Their source is `src/cmd/linuxkit/util/reference.go` of linuxkit/linuxkit (the first lived in
`src/cmd/linuxkit/moby/config.go`). Which release has which rule is in `data/`.
"""

import functools
import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from kitref import normalize
from kitref.errors import UnknownRule, UsageError
from kitref.reference import is_domain

Tool = Literal["linuxkit", "nitro-cli"]
"""A program that ships LinuxKit's rules: LinuxKit itself, or the AWS Nitro Enclaves CLI."""


class Expansion(NamedTuple):
    """What a rule makes of a name.

    Attributes:
        text: The name as it was given.
        rule: The rule's name.
        asked: The name that the engine is asked for.
        reason: Why, in a few words.
    """

    text: str
    rule: str
    asked: str
    reason: str


class Release(NamedTuple):
    """A release of a tool, as far as its look-ups go.

    Attributes:
        tool: `linuxkit` or `nitro-cli`.
        version: The release's tag, with its `v`.
        date: When it came out, as YYYY-MM-DD.
        linuxkit: The LinuxKit in it: a release, or the commit where it is none.
        rule: The name of the rule that it carries.
        docker_client_api: The highest Engine API version that its Docker client speaks; None where
            it is not recorded.
        api_negotiation: Whether the client goes down to the version that the engine speaks. One
            that does not is refused by an engine whose lowest version is higher.
    """

    tool: Tool
    version: str
    date: str
    linuxkit: str
    rule: str
    docker_client_api: str | None
    api_negotiation: bool

    @property
    def name(self) -> str:
        """The name by which `rule` knows the release, such as `nitro-cli@v1.3.1`."""
        return f"{self.tool}@{self.version}"


class Rule(NamedTuple):
    """A rule: how a name becomes the one that an engine is asked for.

    Attributes:
        name: `none`, `fixed`, or the commit that brought the rule in.
        commit: That commit, its first nine hex digits; None where there is none.
        date: The commit's date as YYYY-MM-DD; None where there is none.
        summary: What the rule does, one sentence.
        has_with_tag: Whether it has the option to add `:latest`.
        decide: The rule itself: from a text to the name asked for (without the option) and why.
    """

    name: str
    commit: str | None
    date: str | None
    summary: str
    has_with_tag: bool
    decide: Callable[[str], tuple[str, str]]

    @property
    def releases(self) -> tuple[Release, ...]:
        """The releases of LinuxKit and of the Nitro CLI that carry the rule, oldest first."""
        return tuple(release for release in releases() if release.rule == self.name)

    def expand(self, text: str, with_tag: bool = False) -> Expansion:
        """Expand a name as this rule does.

        Args:
            text: A name; the old rules take any text.
            with_tag: Whether to add `:latest` where the rule finds that a tag is missing.

        Returns:
            The name that the engine is asked for, with the reason.

        Raises:
            InvalidReference: The rule is the fixed one, and the text is no valid reference.
            UsageError: `with_tag` is asked of a rule that has no such option.
        """
        if with_tag and not self.has_with_tag:
            raise UsageError(
                f"rule {self.name} cannot add a tag",
                remedy="leave out with-tag, or take a rule of 2024-02-28 (54d9db865) or later",
            )
        asked, reason = self.decide(text)
        if with_tag:
            tagged = _tagged(self, text, asked)
            reason = f"{reason}; {_TAG_REASONS[tagged != asked]}"
            asked = tagged
        return Expansion(text=text, rule=self.name, asked=asked, reason=reason)


_TAG_REASONS: Final = {True: "no tag: latest", False: "nothing to add a tag to"}


def _tagged(rule: Rule, text: str, asked: str) -> str:
    if rule is FIXED:
        return normalize.expand(text, with_tag=True)
    # Kept: a `:` anywhere counts as a tag, also that of a port (`localhost:5000/foo` gets no
    # `:latest`) or of a digest. Source: 54d9db865 and every rule after it.
    return asked if ":" in asked else f"{asked}:latest"


# The reasons. Each is about slashes, as the rules are.
_BARE: Final = "no '/': an official image of Docker Hub"
_AS_TYPED: Final = "asked for as typed"
_ONE_SLASH: Final = "one '/': taken for an image of a Docker Hub user"
_HUB: Final = "first part is no domain: an image of Docker Hub"
_MORE_SLASHES: Final = "two or more '/': left as it is"


def _none(text: str) -> tuple[str, str]:
    return text, _AS_TYPED


def _always_docker_hub(text: str) -> tuple[str, str]:
    """Expand as da533297c, 9bb26e4c3, 54d9db865 and c836e54d2 do."""
    # Kept: no look at the first part, and this is the bug: `bastion.io/foo` becomes
    # `docker.io/bastion.io/foo`, and `docker.io/foo` becomes `docker.io/docker.io/foo`.
    # Kept: `foo/bar/baz` is left without a domain, and an empty text becomes `docker.io/library/`.
    slashes = text.count("/")
    if slashes == 0:
        return f"docker.io/library/{text}", _BARE
    if slashes == 1:
        return f"docker.io/{text}", _ONE_SLASH
    return text, _MORE_SLASHES


def _bare_only(text: str) -> tuple[str, str]:
    """Expand as 4496612c7 does."""
    if "/" in text:
        return text, "has a '/': left as it is"
    return f"docker.io/library/{text}", _BARE


def _unless_domain(text: str) -> tuple[str, str]:
    """Expand as 5e42d050a does."""
    first, _, _ = text.partition("/")
    # Kept: `Foo/bar` is taken for a Docker Hub user's, where Docker takes `Foo` for a domain.
    if text.count("/") == 1 and ("." in first or ":" in first or first == "localhost"):
        return text, _domain_reason(first)
    return _always_docker_hub(text)


def _fixed(text: str) -> tuple[str, str]:
    asked = normalize.expand(text)
    first, slash, _ = text.partition("/")
    if not slash:
        return asked, _BARE
    return asked, _domain_reason(first) if is_domain(first) else _HUB


def _domain_reason(first: str) -> str:
    for mark in (".", ":"):
        if mark in first:
            return f"first part is a domain: it has a '{mark}'"
    return "first part is a domain: " + (first if first == "localhost" else "it has upper case")


def _of_commit(
    commit: str,
    date: str,
    decide: Callable[[str], tuple[str, str]],
    *,
    has_with_tag: bool,
    summary: str,
) -> Rule:
    return Rule(
        name=commit,
        commit=commit,
        date=date,
        summary=summary,
        has_with_tag=has_with_tag,
        decide=decide,
    )


FIXED: Final = Rule(
    name="fixed",
    commit=None,
    date=None,
    summary="Adds the domain that is missing, as Docker itself reads the name.",
    has_with_tag=True,
    decide=_fixed,
)

RULES: Final = (
    Rule(
        name="none",
        commit=None,
        date=None,
        summary="Before 2019-09-30 a name was looked up as typed.",
        has_with_tag=False,
        decide=_none,
    ),
    _of_commit(
        "da533297c",
        "2019-09-30",
        _always_docker_hub,
        has_with_tag=False,
        summary="Puts docker.io/ before every name with one '/': the bug begins here.",
    ),
    _of_commit(
        "9bb26e4c3",
        "2021-04-30",
        _always_docker_hub,
        has_with_tag=False,
        summary="The same, in a place of its own.",
    ),
    _of_commit(
        "54d9db865",
        "2024-02-28",
        _always_docker_hub,
        has_with_tag=True,
        summary="The same; on request :latest, where the result has no ':'.",
    ),
    _of_commit(
        "4496612c7",
        "2024-03-15",
        _bare_only,
        has_with_tag=True,
        summary="Leaves every name with a '/' as it is.",
    ),
    _of_commit(
        "c836e54d2",
        "2024-04-24",
        _always_docker_hub,
        has_with_tag=True,
        summary="Puts docker.io/ before every name with one '/' again: the bug as reported.",
    ),
    _of_commit(
        "5e42d050a",
        "2024-06-18",
        _unless_domain,
        has_with_tag=True,
        summary="LinuxKit's own fix: the same unless the first part is a domain.",
    ),
    FIXED,
)
"""Every rule, oldest first, and the fixed one."""


def rule(name: str) -> Rule:
    """Return a rule.

    Args:
        name: `fixed`; `none` (LinuxKit before 2019-09-30); a commit, seven hex digits or more; a
            release, as `v1.0.1` or `linuxkit@v1.0.1` or `nitro-cli@1.3.1`, with or without `v`.

    Returns:
        The rule of that name, of that commit, or that the release carries.

    Raises:
        UnknownRule: There is none.
    """
    for each in RULES:
        if each.name == name or _is_commit(name, each.commit):
            return each
    if release := re.fullmatch(_RELEASE_NAME, name):
        return rule(_release(release["tool"] or "linuxkit", f"v{release['version']}").rule)
    raise UnknownRule(f"no rule is called {_shown(name)}", remedy=_suggestion(name))


@functools.cache
def releases() -> tuple[Release, ...]:
    """Return the releases of LinuxKit and of the Nitro CLI that are known, oldest first each."""
    return (*_read("linuxkit"), *_read("nitro-cli"))


_RELEASE_NAME: Final = r"(?:(?P<tool>linuxkit|nitro-cli)@)?v?(?P<version>[0-9.]{1,20})"
_COMMIT_DIGITS: Final = 7


def _is_commit(name: str, commit: str | None) -> bool:
    # The commits are known by their first nine digits; what comes after them cannot be checked.
    if commit is None or not re.fullmatch(rf"[0-9a-f]{{{_COMMIT_DIGITS},40}}", name):
        return False
    return commit.startswith(name) or name.startswith(commit)


def _release(tool: str, version: str) -> Release:
    known = [release for release in releases() if release.tool == tool]
    for release in known:
        if release.version == version:
            return release
    older = [release for release in known if _order(release.version) < _order(version)]
    if len(older) == len(known):
        remedy = f"the newest known is {known[-1].name}, with rule {known[-1].rule}"
    elif not older:
        remedy = f"the oldest known is {known[0].name}, with rule {known[0].rule}"
    else:
        remedy = f"next to it are {older[-1].name} and {known[len(older)].name}"
    raise UnknownRule(f"no {tool} release {version} is known", remedy=remedy)


def _order(version: str) -> list[int]:
    return [int(number or 0) for number in version.removeprefix("v").split(".")]


def _suggestion(name: str) -> str:
    import difflib  # noqa: PLC0415 - only a wrong name needs it

    names = [each.name for each in RULES]
    of_releases = [release.name for release in releases()]
    bare = [known.removeprefix("linuxkit@") for known in of_releases]
    close = difflib.get_close_matches(name[:80], dict.fromkeys([*names, *of_releases, *bare]))
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"a rule is {', '.join(names)}, or a release such as v1.0.1 or nitro-cli@v1.3.1"


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 60 else f"{name[:60]}...")  # noqa: PLR2004


def _read(tool: Tool) -> list[Release]:
    import csv  # noqa: PLC0415 - whoever needs no releases need not wait for them
    from importlib import resources  # noqa: PLC0415

    file = resources.files("kitref") / "data" / f"{tool}-releases.csv"
    lines = file.read_text("utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return [
        Release(
            tool=tool,
            version=row["version"],
            date=row["date"],
            linuxkit=row.get("linuxkit", row["version"]),
            rule=row["rule"],
            docker_client_api=row["docker_client_api"] or None,
            api_negotiation=row["api_negotiation"] == "yes",
        )
        for row in rows
    ]
