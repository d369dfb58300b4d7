"""Podman: the name that an image has after `tag`, in a private engine of kitref's."""

from contract import answer

from kitref import errors, stores
from kitref.engines import private
from kitref.engines.guest import Guest, staying


def parts(guest: Guest, image_id: str, text: str) -> dict[str, str | None]:
    """Return the canonical name or the refusal; a digest cannot be tagged, nor all be asked."""
    engine = guest.engine
    asked = engine.ask(text)
    if asked.outcome == "refused":
        raise ValueError(asked.detail)
    if asked.outcome == "not-asked" or "@" in text:
        return {}
    before = set(engine.names())
    try:
        engine.tag(image_id, text)
    except errors.EngineUnavailable as error:
        raise ValueError("it would not tag an image with it") from error
    (name,) = set(engine.names()) - before
    engine.remove(name)
    canonical = name if text.endswith(":latest") else name.removesuffix(":latest")
    return {"canonical": canonical}


with private.running(private.choose("private", "podman")) as running, staying(running) as stay:
    image = stay.image(tagged_as=stores.NOBODY)
    answer(lambda text: parts(stay, image, text))
