"""podman-py: how it splits a name for a pull."""

from contract import answer
from podman.api import parse_repository


def parts(text: str) -> dict[str, str | None]:
    """Return the tag or digest; it leaves domain and path in one, and those to the engine."""
    _, tag = parse_repository(text)
    digest = tag if tag and ":" in tag else None
    return {"tag": None if digest else tag, "digest": digest}


answer(parts)
