"""A distribution's packages, fetched and unpacked into the cache, never installed.

apt fetches them with its own signature checks, with its state, cache and sources in a folder of
the kit's, and dpkg-deb unpacks them with everything that they depend on. What comes out is a tree
(a `Root`) that an engine runs in whatever the machine's own libraries are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import threading
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Any

from kitref import errors
from kitref.engines import places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_KEYRINGS = "/usr/share/keyrings/"
_TOOLS = ("apt-get", "dpkg-deb", "tar")
_UNTAR = (
    "tar", "-x", "--no-same-owner", "--keep-directory-symlink", "--exclude=./var/run",
    "--exclude=./usr/share/doc", "--exclude=./usr/share/man", "--exclude=./usr/share/locale",
)  # fmt: skip
_FOLDERS = (
    "proc", "dev", "sys", "tmp", "run", "opt", "engine", "var/tmp", "var/lib/docker", "etc/docker",
    "etc/containers",
)  # fmt: skip
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """An unpacked package with all it depends on.

    Attributes:
        path: The tree.
        lock: The file to hold a shared lock on while something runs in the tree.
        package: The package that it was made for, ``docker.io``.
        version: That package's version.
        suite: The suite that it comes from.
        versions: Every package in the tree, with its version.
    """

    path: Path
    lock: Path
    package: str
    version: str
    suite: str
    versions: dict[str, str]


def catalogue() -> dict[str, Any]:
    """Return the engines of this machine's distribution, and what apt is to be asked for.

    Returns:
        The distribution's table of ``data/engines.toml``, with ``packages``, ``distribution`` and
        ``codename``.

    Raises:
        EngineUnavailable: The machine is no Debian or Ubuntu, or has no apt.
    """
    data = tomllib.loads((resources.files("kitref") / "data" / "engines.toml").read_text())
    release = _os_release()
    family = next((name for name in (release.get("ID"),) if name in data), None)
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if family is None or missing:
        raise errors.EngineUnavailable(
            f"private engines need {', '.join(missing)}"
            if family
            else "private engines come from Debian or Ubuntu, and this is "
            + release.get("PRETTY_NAME", "neither"),
            remedy="give the kit an engine of your own (--engine own, or --engine URL)",
        )
    return {
        **data[family],
        "packages": data["packages"],
        "distribution": family,
        "codename": release.get("VERSION_CODENAME", ""),
    }


def fetched(suite: str, kind: str) -> Root | None:
    """Return the tree that the cache has, or None."""
    path = _path(suite, kind)
    try:
        record = json.loads((path / "kitref.json").read_text())
    except FileNotFoundError:
        return None
    return Root(
        path=path,
        lock=path.with_suffix(".lock"),
        package=record["package"],
        version=record["version"],
        suite=suite,
        versions=record["packages"],
    )


def fetch(
    suite: str, kind: str, packages: list[str], progress: Callable[[str, float], None]
) -> Root:
    """Return an unpacked tree with these packages, fetched where the cache does not have it.

    Two runs may ask for the same at once: one fetches, the other waits and takes what came.

    Args:
        suite: The suite, ``trixie``.
        kind: What the tree is for; with the suite it names it in the cache.
        packages: What to ask apt for; the first one gives the version.
        progress: Called with a step in words and the share of it that is done, 0 to 1.

    Returns:
        The tree.

    Raises:
        EngineUnavailable: The suite or a package could not be had; says why in apt's words.
    """
    if (root := fetched(suite, kind)) is not None:
        return root
    path = _path(suite, kind)
    progress("waiting for another run", 0)
    with places.locked(path.with_suffix(".lock")):
        if (root := fetched(suite, kind)) is not None:
            return root
        workshop = path.with_suffix(".partial")
        shutil.rmtree(workshop, ignore_errors=True)  # of a run that was killed
        try:
            debs = _download(workshop, suite, packages, progress)
            tree = workshop / "tree"
            _unpack(debs, tree, progress)
            version = next(v for p, v in map(_name_and_version, debs) if p == packages[0])
            record = {
                "package": packages[0],
                "version": version,
                "packages": dict(map(_name_and_version, debs)),
            }
            (tree / "kitref.json").write_text(json.dumps(record, indent=1))
            tree.rename(path)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
    root = fetched(suite, kind)
    if root is None:
        raise errors.EngineUnavailable(f"{path} vanished while it was made")
    return root


def remove_all() -> Iterator[tuple[str, str]]:
    """Remove every tree of the cache that nothing runs in.

    Yields:
        The name of each tree, and ``removed`` or why it was kept.
    """
    for path in sorted(p for p in (places.cache() / "roots").glob("*") if p.suffix == ""):
        with open(path.with_suffix(".lock"), "a") as lock:  # noqa: PTH123
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield path.name, "kept: an engine runs from it"
                continue
            shutil.rmtree(path)
            yield path.name, "removed"


def _path(suite: str, kind: str) -> Path:
    return places.cache() / "roots" / f"{kind}-{suite}"


def _os_release() -> dict[str, str]:
    """Return /etc/os-release (os-release(5)) as a dict, empty where there is none."""
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release()
    return {}


def _sources(suite: str) -> str:
    """Return a sources.list for a suite, on the mirror that the machine itself is set up for."""
    about = catalogue()
    # What an update would fetch: it needs neither lists on the disk nor a lock, nor the network.
    wanted = _apt(["update", "--print-uris"], {"Debug::NoLocking": "true"}).stdout
    mirrors = re.findall(
        rf"^'(\S+)/dists/{re.escape(about['codename'])}/InRelease'", wanted, re.MULTILINE
    )
    if not mirrors:
        raise errors.EngineUnavailable(
            f"apt has no source for {about['codename']}, so there is no mirror to ask",
            remedy="check /etc/apt/sources.list and /etc/apt/sources.list.d",
        )
    keyring = next(
        (_KEYRINGS + name for name in about["keyrings"] if os.path.exists(_KEYRINGS + name)),  # noqa: PTH110
        None,
    )
    signed = f"[signed-by={keyring}] " if keyring else ""
    components = " ".join(dict.fromkeys(("main", about["component"])))
    return f"deb {signed}{mirrors[0]} {suite} {components}\n"


def _apt(
    arguments: list[str],
    options: dict[str, str],
    watch: Callable[[float], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run apt-get with options, and call `watch` with the share that is done."""
    read, write = os.pipe()
    try:
        process = subprocess.Popen(
            [
                "apt-get",
                *(f"-o{key}={value}" for key, value in options.items()),
                f"-oAPT::Status-Fd={write}",
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            pass_fds=(write,),
        )
    finally:
        os.close(write)
    with process, os.fdopen(read) as status:
        # apt's progress-reporting.txt: dlstatus:FILE:PERCENT:WORDS
        def follow() -> None:
            for line in status:
                if watch and (share := re.match(r"\w+:\d+:([\d.]+):", line)):
                    watch(float(share[1]) / 100)

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        output, _ = process.communicate()
        follower.join()
    return subprocess.CompletedProcess(arguments, process.returncode, output, "")


def _download(
    workshop: Path, suite: str, packages: list[str], progress: Callable[[str, float], None]
) -> list[Path]:
    """Fetch packages with all they depend on into a workshop, and return the files."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (workshop / folder).mkdir(parents=True)
    (workshop / "status").touch()
    (workshop / "sources.list").write_text(_sources(suite))
    options = {
        "Dir::State": f"{workshop}/state",
        "Dir::State::status": f"{workshop}/status",  # nothing is installed: fetch the whole closure
        "Dir::Cache": f"{workshop}/cache",
        "Dir::Etc::sourcelist": f"{workshop}/sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "APT::Sandbox::User": "",  # the cache is the user's own; apt's user cannot enter it
        "APT::Install-Recommends": "false",
        "APT::Update::Error-Mode": "any",
    }
    steps = (
        ("reading the package list", ["update"]),
        ("downloading", ["install", "--yes", "--download-only", *packages]),
    )
    for step, arguments in steps:
        progress(step, 0)
        done = _apt(arguments, options, lambda share, step=step: progress(step, share))  # type: ignore[misc]
        if done.returncode and "is expired" in done.stdout:
            # A development suite is signed anew daily, and a mirror may lag: its date is let go,
            # its signature is still checked.
            options["Acquire::Check-Valid-Until"] = "false"
            done = _apt(arguments, options)
        if done.returncode:
            reasons = re.findall(r"^E: (.*)", done.stdout, re.MULTILINE) or [done.stdout[-300:]]
            raise errors.EngineUnavailable(
                f"{suite}: apt could not fetch {packages[0]} ({'; '.join(reasons[:3])})",
                remedy="check the network and the machine's apt sources, then run it again",
            )
    return sorted((workshop / "cache/archives").glob("*.deb"))


def _unpack(debs: list[Path], tree: Path, progress: Callable[[str, float], None]) -> None:
    """Unpack packages side by side into one tree, with the merged /usr that their suites expect."""
    for link, target in _LINKS.items():
        (tree / target).mkdir(parents=True)
        (tree / link).symlink_to(target)
    for folder in _FOLDERS:
        (tree / folder).mkdir(parents=True, exist_ok=True)
    (tree / "var/run").symlink_to("/run")
    for done, deb in enumerate(debs):
        progress("unpacking", done / len(debs))
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", deb],
            stdout=subprocess.PIPE,
        ) as source:
            unpacked = subprocess.run(
                [*_UNTAR, "-C", tree],
                stdin=source.stdout,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        if source.returncode or unpacked.returncode:
            raise errors.EngineUnavailable(
                f"{deb.name} could not be unpacked ({unpacked.stderr.strip()[-300:]})",
                remedy=f"check the space under {places.cache()}",
            )
    # Podman asks for a policy before it loads an image (containers-policy.json(5)).
    (tree / "etc/containers/policy.json").write_text(
        '{"default":[{"type":"insecureAcceptAnything"}]}'
    )
    progress("unpacked", 1)


def _name_and_version(deb: Path) -> tuple[str, str]:
    """Return the package and its version, as the file name of an archive has them."""
    name, version, _ = deb.name.split("_")
    return name, version.replace("%3a", ":")
