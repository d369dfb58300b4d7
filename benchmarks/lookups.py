"""Look-ups on a live engine: the kit's own, and a client that does nothing but ask."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import docker

from kitref import RULES, stores
from kitref.engines import staying
from kitref.engines.matrix import ask_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kitref.engines import Engine


class _Bare(http.client.HTTPConnection):
    """A connection to an engine's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


@contextlib.contextmanager
def tagged(engine: Engine, count: int) -> Iterator[list[str]]:
    """Tag an image in an engine for the length of a ``with`` block.

    Args:
        engine: A private engine.
        count: How many names to return.

    Yields:
        Names to ask for; every second one is there.
    """
    with staying(engine) as guest:
        guest.image(tagged_as=stores.NOBODY)
        yield [stores.NOBODY if at % 2 else f"absent.example/n{at}" for at in range(count)]


def bare(engine: Engine, names: Sequence[str]) -> float:
    """Return the seconds that Python's own HTTP needs to ask for names, one after the other."""
    connection = _Bare(engine.url.removeprefix("unix://"))
    start = time.perf_counter()
    for name in names:
        path = urllib.parse.quote(name, safe="/:@")
        connection.request("GET", f"/v{engine.api_version}/images/{path}/json")
        connection.getresponse().read()
    took = time.perf_counter() - start
    connection.close()
    return took


def client(engine: Engine, names: Sequence[str]) -> float:
    """Return the seconds that the Engine API's own client needs."""
    with contextlib.closing(docker.APIClient(engine.url, version=engine.api_version)) as own:
        start = time.perf_counter()
        for name in names:
            with contextlib.suppress(docker.errors.ImageNotFound):
                own.inspect_image(name)
        return time.perf_counter() - start


def kit(engine: Engine, names: Sequence[str], at_once: int) -> float:
    """Return the seconds that the kit needs.

    Args:
        engine: The engine.
        names: The names.
        at_once: How many to ask for at a time.
    """
    start = time.perf_counter()
    answers = engine.ask_all(names, at_once=at_once)
    took = time.perf_counter() - start
    if [answer.outcome for answer in answers] != ["absent", "found"] * (len(names) // 2):
        raise ValueError(f"{engine.title} did not answer what it was asked")
    return took


def matrix(engines: Sequence[Engine], images: Sequence[str]) -> tuple[int, float, float]:
    """Ask engines side by side for names as every rule makes them.

    Args:
        engines: Private engines.
        images: The names.

    Returns:
        How many look-ups that were, the seconds of a processor that this process took, and the
        seconds until all were answered.
    """
    own, start = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(len(engines)) as pool:
        each = pool.map(lambda engine: ask_all(engine, images, RULES)[1], engines)
        made = sum(map(len, each))
    return made, time.process_time() - own, time.perf_counter() - start
