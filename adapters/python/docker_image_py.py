"""docker-image-py: a port of distribution/reference."""

from contract import answer
from docker_image import reference


def parts(text: str) -> dict[str, str | None]:
    """Return the parts of a normalized name."""
    named = reference.Reference.parse_normalized_named(text)
    domain, path = named.split_hostname()
    return {
        "domain": domain,
        "path": path,
        "tag": named["tag"] or None,
        "digest": named["digest"] or None,
        "canonical": named.string(),
    }


answer(parts)
