"""What look-ups prove: does each engine answer as it should?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitref import errors, stores

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitref.engines.engine import Lookup


def examine(lookups: Iterable[Lookup], *, image_id: str, mends: str = "fixed") -> list[str]:
    """Examine look-ups of one tagged image.

    Two things have to hold. The rule that mends the bug finds the image, with its ID, where it was
    tagged under the name that the rule was given. And each engine answers as the model of its
    store predicts; where it does not, one of the two is wrong, and both are shown.

    Args:
        lookups: The look-ups.
        image_id: The ID of the image that was tagged.
        mends: The name of the rule that has to find it.

    Returns:
        What was checked, a line each.

    Raises:
        EngineUnavailable: A question was not asked: nothing is proved.
        Finding: Something does not hold.
    """
    checked, wrong = [], []
    for lookup in lookups:
        engine, expansion = lookup.engine, lookup.expansion
        question = f"{engine.title} {engine.version}, rule {expansion.rule}: {expansion.asked}"
        answer = f"{lookup.outcome} {lookup.image_id or lookup.detail}"
        if lookup.outcome == "not-asked":
            raise errors.EngineUnavailable(
                f"{question} was not asked ({lookup.detail})",
                remedy="run it again with a live engine",
            )
        behaviour = stores.classify(engine.kind, engine.store, engine.version)
        model = stores.predict(behaviour, tagged_as=lookup.tagged_as, asked=expansion.asked)
        if expansion.rule == mends and lookup.tagged_as == expansion.text:
            expected = "found"
        else:
            expected = model
        if lookup.outcome != expected:
            wrong.append(f"{question}: expected {expected}, the engine says {answer}")
        elif lookup.outcome != model:
            wrong.append(f"{question}: the model says {model}, the engine says {answer}")
        elif lookup.image_id not in (None, image_id):
            wrong.append(f"{question}: expected image {image_id}, the engine says {answer}")
        else:
            checked.append(f"{question}: {answer}")
    if wrong:
        raise errors.Finding("; ".join(wrong))
    return checked
