"""oras-py: how it splits the name of an artifact."""

from contract import answer
from oras.container import Container


def parts(text: str) -> dict[str, str | None]:
    """Return the parts; a tag that it makes up where there is none is no claim."""
    made = Container(text)
    path = f"{made.namespace}/{made.repository}" if made.namespace else made.repository
    claims = {"domain": made.registry, "path": path, "digest": made.digest or None}
    if made.tag and text.endswith(f":{made.tag}"):
        claims["tag"] = made.tag
    return claims


answer(parts)
