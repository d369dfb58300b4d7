"""The fixed ReferenceExpand: it adds what a name lacks, and rewrites nothing that is there."""

from __future__ import annotations

from typing import Final

from kitref.errors import InvalidReference
from kitref.grammar import PATH_LIMIT, match_name
from kitref.reference import find_fault, parse

_ALWAYS_FITS: Final = PATH_LIMIT - len("library/")


def expand(text: str, with_tag: bool = False) -> str:
    """Expand a name to the one to ask a container engine for.

    Whatever the name lacks is added: the domain of Docker Hub, `library/` for an official image.
    What is there stays as it is, so that an engine finds the same image under both, and a
    second time changes nothing. Which texts are names is distribution/reference's own answer.

    Args:
        text: A name as a user types it: `alpine`, `user/repo`, `bastion.io/foo:local`.
        with_tag: Whether to add `:latest` where there is neither a tag nor a digest.

    Returns:
        The name with its domain.

    Raises:
        InvalidReference: The text is no valid reference.
    """
    match = match_name(text)
    if match is None:
        raise InvalidReference(text, find_fault)
    if len(text) > _ALWAYS_FITS:
        parse(text)  # counts the path, and refuses one that is too long
    if "/" not in text:
        lacking = "docker.io/library/"
    elif match["own"] is None:
        lacking = "docker.io/"
    else:
        lacking = ""
    if with_tag and match.lastgroup == "path":  # no tag and no digest after it
        return f"{lacking}{text}:latest"
    return lacking + text
