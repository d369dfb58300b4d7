"""Live engines: find one, start a private one, put a tiny image in it, ask it for a name."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kitref import errors
from kitref.engines import attach, dind, private
from kitref.engines.engine import Answer, Engine, Lookup
from kitref.engines.evidence import examine, examine_all
from kitref.engines.guest import Guest, staying, sweep
from kitref.engines.matrix import Survey, survey
from kitref.engines.private import Spec, specs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kitref.rules import Rule

__all__ = [
    "Answer",
    "Engine",
    "Guest",
    "Lookup",
    "Spec",
    "Survey",
    "at_hand",
    "examine",
    "examine_all",
    "opened",
    "specs",
    "staying",
    "survey",
    "survey_all",
    "sweep",
]

RUNNING = "KITREF_ENGINES"
"""The environment variable that names the file with the engines that a run shares: by title, as
JSON. It is written once they are there; the kernels that read it are started before that."""


@contextlib.contextmanager
def opened(engine: str = "private", store: str = "any") -> Iterator[Engine]:
    """Have an engine for the length of a ``with`` block.

    Args:
        engine: ``private`` (one that the kit starts, of the newest suite with that store), a suite
            (``trixie``), a private engine's name (``docker-trixie``), ``own`` (the engine that the
            docker or podman command would use), a URL as in DOCKER_HOST, or
            ``docker:VERSION-dind`` (that Docker, run in a container of your own engine).
        store: ``graph``, ``containerd``, ``podman``, or ``any``.

    Yields:
        The engine. One that this run already has is shared, any other private one is started
        and ended with the block.

    Raises:
        UsageError: There is no such engine, or it has another store.
        EngineUnavailable: It could not be had.
    """
    if shared := _shared().get(f"{engine}/{store}"):
        live = Engine.connect(
            shared["url"], name=shared["name"], source=shared["source"], private=True
        )
        with contextlib.closing(live):
            yield live
    elif engine == "own" or "://" in engine:
        if RUNNING not in os.environ:
            sweep()  # a notebook by hand: nobody else takes away what a killed one left
        live = attach.find() if engine == "own" else attach.connect(engine)
        with contextlib.closing(live):
            if store not in ("any", live.store):
                raise errors.UsageError(
                    f"{engine} has the image store {live.store}, not {store}",
                    remedy="leave the store out, or give that engine's own",
                )
            yield live
    elif version := dind.version(engine):
        dind.check_store(engine, store)
        with (
            contextlib.closing(attach.find()) as host,
            dind.running(host, version, "graph" if store == "graph" else "containerd") as live,
        ):
            yield live
    else:
        with private.running(private.choose(engine, store)) as live:
            yield live


def at_hand(engines: str = "all") -> list[tuple[str, str]]:
    """Return the engines of a run, or the private ones where there is no run.

    Args:
        engines: ``all``, or engines and stores, comma-separated: ``docker-trixie/containerd``.

    Returns:
        What to give `opened`: pairs of engine and store.
    """
    if engines != "all":
        titles = [title.strip() for title in engines.split(",")]
    else:
        titles = list(_shared()) or [s.title for s in specs()]
    pairs = (title.rpartition("/") for title in titles)
    return [(engine, store) if engine else (store, "any") for engine, _, store in pairs]


def _shared() -> dict[str, dict[str, str]]:
    """Return the engines that this run shares; none where there is no run."""
    file = Path(os.environ.get(RUNNING, ""))
    shared: dict[str, dict[str, str]] = json.loads(file.read_text()) if file.is_file() else {}
    return shared


def survey_all(
    engines: str, images: Sequence[str], rules: Sequence[Rule]
) -> tuple[list[Survey], list[errors.EngineUnavailable]]:
    """Ask several engines everything, side by side.

    Args:
        engines: As in `at_hand`.
        images: Valid names without a digest.
        rules: The rules.

    Returns:
        The answers of each engine that gave all of them, and why others did not.

    Raises:
        EngineUnavailable: None did.
    """

    def one(pair: tuple[str, str]) -> Survey | errors.EngineUnavailable:
        try:
            with opened(*pair) as live:
                return survey(live, images, rules)
        except errors.EngineUnavailable as error:
            return error

    pairs = at_hand(engines)
    with concurrent.futures.ThreadPoolExecutor(len(pairs)) as pool:
        each = list(pool.map(one, pairs))
    surveys = [one for one in each if isinstance(one, Survey)]
    lost = [one for one in each if isinstance(one, errors.EngineUnavailable)]
    if not surveys:
        raise lost[0]
    return surveys, lost
