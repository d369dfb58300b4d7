"""The adapters, each built in an environment of its own that is kept in the kit's cache."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kitref import conformance, errors
from kitref.engines import packages, places, private
from kitref.oracle.go import SUITE, run_go

if TYPE_CHECKING:
    from collections.abc import Callable

_HERE: Final = Path(__file__).parent
_SECONDS: Final = 600  # for one installation
_GO: Final = "golang-go"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter of the project.

    Attributes:
        name: What it is called.
        language: What the implementation is written in.
        means: How it is had: ``go``, ``debian``, ``pypi``, ``npm`` or ``engine``.
        profile: Whose reading it is held against.
        project: The address of what it tests.
        pins: What is installed: Debian packages, or PyPI's or npm's with their versions.
        program: The adapter.
        quick: Whether the tests run it, and so CI.
        defines: Whether its reading is the profile.
        seconds: How long it may take for a case.
    """

    name: str
    language: str
    means: str
    profile: str
    project: str
    pins: tuple[str, ...]
    program: Path
    quick: bool = False
    defines: bool = False
    seconds: float = conformance.SECONDS


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An adapter that can be run: its command, and which version it tests."""

    command: tuple[str, ...]
    version: str


def adapters() -> tuple[Adapter, ...]:
    """Return the adapters of adapters.toml, in its order."""
    listed = tomllib.loads((_HERE / "adapters.toml").read_text("utf-8"))
    return tuple(
        Adapter(
            name=name,
            language=each["language"],
            means=each["means"],
            profile=each["profile"],
            project=each["project"],
            pins=tuple(each["pins"]),
            program=_HERE / each["program"],
            quick=each.get("quick", False),
            defines=each.get("defines", False),
            seconds=each.get("seconds", conformance.SECONDS),
        )
        for name, each in listed.items()
    )


def build(
    adapter: Adapter, progress: Callable[[str, float], None] = lambda _step, _share: None
) -> Built:
    """Build an adapter, where the cache does not have it.

    Args:
        adapter: The adapter.
        progress: Called with a step in words and the share of it that is done, 0 to 1.

    Raises:
        EngineUnavailable: It cannot be had here; says why.
    """
    makers = {"go": _go, "debian": _debian, "pypi": _pypi, "npm": _npm, "engine": _engine}
    made_of = hashlib.sha256(repr((adapter.pins, sys.version)).encode()).hexdigest()[:12]
    home = places.cache() / "adapters" / f"{adapter.name}-{made_of}"
    with places.locked(home.with_suffix(".lock")):
        return makers[adapter.means](adapter, home, progress)


def _go(adapter: Adapter, home: Path, progress: Callable[[str, float], None]) -> Built:
    # The quick one takes the oracle's tree; the others share one, as they have much in common.
    name = "go" if adapter.quick else "adapters-go"
    together = (each for each in adapters() if (each.means, each.quick) == ("go", adapter.quick))
    wanted = [*(pin for each in together for pin in each.pins), _GO]
    tree = _tree(name, wanted, progress)
    sources = [adapter.program, adapter.program.with_name("contract.go")]
    made_of = b"".join(each.read_bytes() for each in sources) + repr(tree.versions).encode()
    program = home / hashlib.sha256(made_of).hexdigest()[:16]
    if not program.exists():
        progress("building", 0)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        copies = [Path(shutil.copy(source, home)).name for source in sources]
        with places.locked(tree.lock, shared=True) as lock:
            build = ("go", "build", "-trimpath", "-o", "program", *copies)
            run_go(tree, home, *build, holding=(lock,))
        (home / "program").rename(program)
    return Built(command=(str(program),), version=tree.versions[adapter.pins[0]])


def _debian(adapter: Adapter, _home: Path, progress: Callable[[str, float], None]) -> Built:
    tree = _tree(f"adapters-{adapter.name}", list(adapter.pins), progress)
    command = (sys.executable, str(adapter.program), str(tree.path))
    return Built(command=command, version=tree.version)


def _engine(adapter: Adapter, _home: Path, progress: Callable[[str, float], None]) -> Built:
    tree = private.fetch(private.choose("private", adapter.pins[0]), progress)
    return Built(command=(sys.executable, str(adapter.program)), version=tree.version)


def _tree(name: str, wanted: list[str], progress: Callable[[str, float], None]) -> packages.Root:
    if (distribution := packages.catalogue()["distribution"]) != "debian":
        raise errors.EngineUnavailable(f"it comes from Debian, and this is {distribution}")
    return packages.fetch(SUITE, name, wanted, progress)


def _pypi(adapter: Adapter, home: Path, progress: Callable[[str, float], None]) -> Built:
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        progress("installing", 0)
        shutil.rmtree(home, ignore_errors=True)
        # The kit's pip installs into it: a pip of its own takes longer than all the rest.
        _install(sys.executable, "-m", "venv", "--without-pip", str(home))
        _install(
            sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet",
            "--disable-pip-version-check", *adapter.pins,
        )  # fmt: skip
        (home / "ready").touch()
    return Built(command=(str(python), str(adapter.program)), version=_pinned(adapter, "=="))


def _npm(adapter: Adapter, home: Path, progress: Callable[[str, float], None]) -> Built:
    if not (shutil.which("node") and shutil.which("npm")):
        raise errors.EngineUnavailable("there is no node and npm", remedy="install nodejs and npm")
    if not (home / "ready").exists():
        progress("installing", 0)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        _install(
            "npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts",
            "--prefix", str(home), "--cache", str(home / "npm-cache"), *adapter.pins,
        )  # fmt: skip
        (home / "ready").touch()
    where = f"NODE_PATH={home / 'node_modules'}"
    command = ("env", where, "node", str(adapter.program))
    return Built(command=command, version=_pinned(adapter, "@"))


def _pinned(adapter: Adapter, mark: str) -> str:
    return adapter.pins[0].rpartition(mark)[2]


def _install(*command: str) -> None:
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise errors.EngineUnavailable(str(error)) from error
    if run.returncode:
        said = (run.stderr.strip() or run.stdout.strip())[-300:]
        raise errors.EngineUnavailable(
            f"{command[0]} failed ({said})", remedy="check the package registry"
        )
