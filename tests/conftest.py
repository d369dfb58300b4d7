"""What the tests share: the private engines, each started once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kitref import errors
from kitref.engines import Engine, private

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    SPECS = private.specs()
except errors.EngineUnavailable:
    SPECS = ()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that takes a `spec` every private engine of this machine."""
    if "spec" in metafunc.fixturenames:
        metafunc.parametrize("spec", SPECS, ids=lambda spec: spec.title, scope="session")


@pytest.fixture(scope="session")
def engine(spec: private.Spec) -> Iterator[Engine]:
    """Return the private engine of a spec, live; skip where it cannot be had."""
    try:
        started = private.start(spec)
    except errors.EngineUnavailable as error:
        pytest.skip(str(error))
    yield started.engine
    private.stop(started)


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    """Return one Docker engine with the containerd store, for tests that any engine serves."""
    try:
        started = private.start(private.choose("private", "containerd"))
    except errors.KitrefError as error:
        pytest.skip(str(error))
    yield started.engine
    private.stop(started)
