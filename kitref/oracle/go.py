"""Go's distribution/reference as a program: built from the distribution's packages, and asked.

The packages are fetched and unpacked as the engines are. Go runs straight from the unpacked tree
and is told to write nowhere else; the program that it builds is kept in the tree, so that what
removes the one removes the other.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from kitref import errors
from kitref.engines import packages, places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

SUITE = "trixie"
"""The oldest suite of Debian that has the package."""

_DISTRIBUTION = "debian"
_PACKAGE = "golang-github-distribution-reference-dev"
_GO = "golang-go"
_KIND = "go"
_CANNOT = "skipped, as Go's distribution/reference cannot be had"
_REMEDY = "run it on Debian with a mirror within reach; until then nothing is compared"


class Answer(NamedTuple):
    """What distribution/reference makes of a text.

    Attributes:
        refused: Why it is no reference, in the package's own words; None if it is one, and only
            then is any of the others set.
        domain: The domain.
        path: The path.
        tag: The tag, None where there is none.
        digest: The digest, None where there is none.
        familiar: The familiar name.
        canonical: The canonical name.
        tagged: The canonical name with `:latest` where there is neither a tag nor a digest.
    """

    refused: str | None = None
    domain: str | None = None
    path: str | None = None
    tag: str | None = None
    digest: str | None = None
    familiar: str | None = None
    canonical: str | None = None
    tagged: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """The program, built.

    Attributes:
        path: The program.
        tree: The tree that it lies in.
        title: Which version of the package it is, in words.
    """

    path: Path
    tree: packages.Root
    title: str

    def ask(self, texts: Iterable[str]) -> list[Answer]:
        """Return what distribution/reference makes of texts, in their order.

        Args:
            texts: Any texts; a lone surrogate stands for a byte that is no UTF-8.

        Returns:
            An answer for each.

        Raises:
            EngineUnavailable: The program was removed or failed.
        """
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        given = b"".join(len(text).to_bytes(4, "big") + text for text in encoded)
        with places.locked(self.tree.lock, shared=True):
            output = _output([self.path], given=given)
        # One array is read in half the time that as many lines take.
        records = json.loads("[" + output.rstrip("\n").replace("\n", ",") + "]")
        answers = [Answer(**record) for record in records]
        if len(answers) != len(encoded):
            raise errors.EngineUnavailable(
                f"{self.path} answered {len(answers)} of {len(encoded)} texts"
            )
        return answers


def build(progress: Callable[[str, float], None] = lambda _step, _share: None) -> Oracle:
    """Return the program, fetched and built where the cache does not have it.

    Two runs may ask for it at once: one builds, the other waits and takes what came.

    Args:
        progress: Called with a step in words and the share of it that is done, 0 to 1.

    Returns:
        The program.

    Raises:
        EngineUnavailable: It cannot be had here; says why.
    """
    tree = _fetch(progress)
    source = (resources.files("kitref.oracle") / "main.go").read_bytes()
    made_of = hashlib.sha256(source + json.dumps(tree.versions, sort_keys=True).encode())
    path = tree.path / "oracle" / made_of.hexdigest()[:16]
    # The tree's own lock as well, so that it is not removed while Go reads it.
    with places.locked(tree.lock, shared=True):
        if not tree.path.is_dir():
            raise errors.EngineUnavailable(f"{tree.path} was removed", remedy="run it again")
        with places.locked(tree.path / "oracle" / "lock") as lock:
            if not path.exists():
                progress("building", 0)
                _build(tree, source, path, lock)
    title = f"distribution/reference {tree.version} of Debian {tree.suite}"
    return Oracle(path=path, tree=tree, title=title)


def run_go(tree: packages.Root, folder: Path, *command: str, holding: tuple[int, ...] = ()) -> str:
    """Run a program of an unpacked Go in a folder, and return its output.

    Args:
        tree: The tree.
        folder: The folder that everything which the program writes goes to.
        command: The program, ``go`` or ``gofmt``, and its arguments.
        holding: Locks that it holds as well, should it outlive a kit that is killed.

    Returns:
        What it printed.

    Raises:
        EngineUnavailable: It failed; says how.
    """
    root = (tree.path / "usr/lib/go").resolve()
    # Nothing of the user's environment: a GOFLAGS or a GOPROXY of theirs is for other builds.
    variables = {
        "GOROOT": f"{root}",
        "GOPATH": f"{tree.path}/usr/share/gocode",
        "GO111MODULE": "off",
        "GOTOOLCHAIN": "local",
        "GOENV": "off",
        "CGO_ENABLED": "0",
        "GOCACHE": f"{folder}/cache",
        "HOME": f"{folder}",  # Go counts its uses in there (telemetry.go.dev)
        "TMPDIR": f"{folder}",
        "PATH": f"{root}/bin",
    }
    return _output(
        [root / "bin" / command[0], *command[1:]],
        folder=folder,
        variables=variables,
        holding=holding,
    )


def _fetch(progress: Callable[[str, float], None]) -> packages.Root:
    """Return the unpacked packages."""
    try:
        distribution = packages.catalogue()["distribution"]
        if distribution == _DISTRIBUTION:
            return packages.fetch(SUITE, _KIND, [_PACKAGE, _GO], progress)
    except errors.EngineUnavailable as error:
        raise errors.EngineUnavailable(f"{_CANNOT}: {error.what}", remedy=_REMEDY) from error
    raise errors.EngineUnavailable(
        f"{_CANNOT}: it comes from {_DISTRIBUTION}, and this is {distribution}", remedy=_REMEDY
    )


def _build(tree: packages.Root, source: bytes, path: Path, lock: int) -> None:
    """Build the program; it appears at its path as a whole or not at all."""
    workshop = path.with_suffix(".partial")
    shutil.rmtree(workshop, ignore_errors=True)  # of a run that was killed
    workshop.mkdir()
    try:
        (workshop / "main.go").write_bytes(source)
        build = ("go", "build", "-trimpath", "-o", "program", "main.go")
        run_go(tree, workshop, *build, holding=(lock,))
        (workshop / "program").rename(path)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _output(
    command: list[Path | str],
    *,
    given: bytes = b"",
    folder: Path | None = None,
    variables: dict[str, str] | None = None,
    holding: tuple[int, ...] = (),
) -> str:
    """Run a program and return what it printed."""
    try:
        run = subprocess.run(
            command,
            input=given,
            capture_output=True,
            cwd=folder,
            env=variables,
            pass_fds=holding,
            check=False,
        )
    except OSError as error:
        raise errors.EngineUnavailable(f"{command[0]} could not be run ({error})") from error
    if run.returncode:
        said = (run.stderr or run.stdout).decode(errors="replace").strip()[-300:]
        raise errors.EngineUnavailable(f"{command[0]} ended with {run.returncode} ({said})")
    return run.stdout.decode()
