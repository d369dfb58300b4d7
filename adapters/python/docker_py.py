"""docker-py: how it splits a name for a pull."""

from contract import answer
from docker.auth import resolve_repository_name
from docker.utils import parse_repository_tag


def parts(text: str) -> dict[str, str | None]:
    """Return what `APIClient.pull` makes of a name; its one field is a tag or a digest."""
    repository, tag = parse_repository_tag(text)
    domain, path = resolve_repository_name(repository)
    digest = tag if tag and ":" in tag else None
    # It leaves an official image's library/ to the engine: no claim of the path then.
    path_known = {} if domain == "docker.io" and "/" not in path else {"path": path}
    return {"domain": domain, "tag": None if digest else tag, "digest": digest, **path_known}


answer(parts)
