"""What look-ups prove: does each engine answer as it should?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitref import errors, stores
from kitref.engines.matrix import BY_ID, SHORT_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kitref.engines.engine import Lookup
    from kitref.engines.matrix import Survey

_SHOWN = 10


def examine_all(surveys: Iterable[Survey]) -> list[str]:
    """Examine what engines answered to everything that they were asked.

    Five things have to hold, on every engine: each answer is what the model of its store predicts;
    a name and what the fixed rule makes of it lead to the same image, or both to none; two names
    with one key collide and two with two do not; an ID is found, but not as a name; Podman keeps
    short names of its own apart from those of Docker Hub.

    Args:
        surveys: The answers of each engine.

    Returns:
        What was checked, a line an engine.

    Raises:
        EngineUnavailable: A question was not asked: nothing is proved.
        Finding: Something does not hold; names the engines and the names, the first ten.
    """
    checked: list[str] = []
    wrong: list[str] = []
    for each in surveys:
        engine = each.engine
        behaviour = stores.classify(engine.kind, engine.store, engine.version)
        found = [
            *_unlike_model(each, behaviour),
            *_unlike_each_other(each),
            *_unlike_collision(each, behaviour),
        ]
        if each.by_id != (expected := BY_ID[engine.kind]):
            found.append(f"asked by ID: expected {expected}, the engine says {each.by_id}")
        for how, said in each.short_names.items():
            if said != (expected := SHORT_NAMES[how]):
                found.append(f"foo:t, tagged {how}: expected {expected}, the engine says {said}")
        wrong.extend(f"{engine.title} {engine.version}: {line}" for line in found)
        checked.append(f"{engine.title} {engine.version}: {len(each.lookups)} look-ups as expected")
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise errors.Finding("\n".join([*wrong[:_SHOWN], *more]))
    return checked


def _unlike_model(each: Survey, behaviour: stores.BehaviourClass) -> Iterator[str]:
    """Yield the answers that the model of the store does not predict."""
    for lookup in each.lookups:
        asked = lookup.expansion.asked
        question = f"rule {lookup.expansion.rule}, tagged {lookup.tagged_as or 'nothing'}: {asked}"
        if lookup.outcome == "not-asked":
            raise errors.EngineUnavailable(
                f"{each.engine.title}: {question} was not asked ({lookup.detail})",
                remedy="run it again with a live engine",
            )
        model = stores.predict(behaviour, tagged_as=lookup.tagged_as or stores.NOBODY, asked=asked)
        if lookup.outcome != model:
            yield f"{question}: the model says {model}, the engine says {lookup.outcome}"
        elif lookup.image_id not in (None, each.image_id):
            yield f"{question}: expected image {each.image_id}, the engine says {lookup.image_id}"


def _unlike_each_other(each: Survey) -> Iterator[str]:
    """Yield the names that lead to another image than what the fixed rule makes of them."""
    typed: dict[tuple[str, str], Lookup] = {}
    for lookup in each.lookups:
        key = (lookup.image, lookup.tagged_as)
        if lookup.expansion.rule == "none":
            typed[key] = lookup
        elif lookup.expansion.rule == "fixed" and (other := typed.get(key)):
            answers = (other.outcome, other.image_id), (lookup.outcome, lookup.image_id)
            # Outside the property: a name that the engine refuses, or takes for something else.
            if other.outcome != "refused" and answers[0] != answers[1]:
                yield (
                    f"rule fixed, tagged {lookup.tagged_as}: {other.expansion.asked} is"
                    f" {other.outcome}, {lookup.expansion.asked} is {lookup.outcome}"
                )


def _unlike_collision(each: Survey, behaviour: stores.BehaviourClass) -> Iterator[str]:
    """Yield a collision that the model does not predict, or one that it does and that was none."""
    first, second = each.collision.names
    collides = stores.predict(behaviour, tagged_as=first, asked=second) == "found"
    expected = (each.collision.tagged[1],) * 2 if collides else each.collision.tagged
    if each.collision.answered != expected:
        yield f"{first} and {second}: expected {expected}, got {each.collision.answered}"


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
