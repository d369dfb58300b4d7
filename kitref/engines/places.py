"""Where the kit keeps things: its cache, and temporary folders that survive no run.

A *lease* is a small file in the cache that says what has to be cleaned up should its holder
die: the temporary folder of a private engine, the names put on a user's engine. The holder keeps
it locked (and an engine inherits the lock), so a lease whose lock is free belongs to the dead,
and whoever starts next cleans up after it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kitref import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOCKET_PATH_MAX = 90  # of the 108 bytes of sun_path (unix(7)), the rest is for the socket's name


def cache() -> Path:
    """Return the kit's cache: ``kitref`` under XDG_CACHE_HOME (XDG Base Directory)."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The specification: a relative path there is to be ignored.
    base = Path(home) if home.startswith("/") else Path.home() / ".cache"
    return base / "kitref"


def temporary() -> Path:
    """Make a folder that only the user can enter, short enough for a unix socket in it."""
    parent = tempfile.gettempdir()
    return Path(
        tempfile.mkdtemp(prefix="kitref-", dir=parent if len(parent) < _SOCKET_PATH_MAX else "/tmp")  # noqa: S108 - mkdtemp makes it private
    )


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[int]:
    """Hold a lock on a file, made where it is missing, and wait for it if need be.

    Args:
        path: The file.
        shared: Whether others may hold it too, so long as they all share.

    Yields:
        The file descriptor that holds the lock; a child that inherits it holds it as well.

    Raises:
        EngineUnavailable: The file cannot be written to, and so nothing can be fetched or started.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.EngineUnavailable(
            f"the kit's cache cannot be written: {error.strerror}: {error.filename}",
            remedy="set XDG_CACHE_HOME to a folder that you can write to",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


class Lease:
    """What has to be cleaned up after its holder.

    Attributes:
        path: The file.
        content: What it says; `write` changes it.
        descriptor: The descriptor with the lock.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.content: dict[str, Any] = {}

    @classmethod
    def take(cls, content: dict[str, Any]) -> Self:
        """Make a lease that says this, and hold it."""
        folder = cache() / "leases"
        # Under the folder's lock: a sweep must not see the file before it is locked.
        with locked(folder.with_suffix(".lock")):
            folder.mkdir(exist_ok=True)
            descriptor, name = tempfile.mkstemp(suffix=".json", dir=folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            lease = cls(Path(name), descriptor)
            lease.write(content)
        return lease

    def write(self, content: dict[str, Any]) -> None:
        """Replace what it says, on disk before anything is done that it must undo."""
        self.content = content
        text = json.dumps(content).encode()
        # Padded, never shortened: a kill between two calls leaves whole JSON.
        os.pwrite(self.descriptor, text.ljust(os.fstat(self.descriptor).st_size), 0)
        os.fsync(self.descriptor)

    def let_go(self) -> None:
        """Release the lock and leave the file to its other holders."""
        os.close(self.descriptor)

    def end(self) -> None:
        """Remove it: everything has been cleaned up."""
        self.path.unlink(missing_ok=True)
        self.let_go()


def leases() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the leases that are held, with what they say."""
    for path in sorted((cache() / "leases").glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            yield path, json.loads(path.read_text())


def abandoned() -> Iterator[Lease]:
    """Yield the leases of the dead, each held while it is looked at."""
    folder = cache() / "leases"
    if not folder.is_dir():
        return
    for path in sorted(folder.glob("*.json")):
        with locked(folder.with_suffix(".lock")):
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
        lease = Lease(path, descriptor)
        try:
            lease.content = json.loads(path.read_text())
        except ValueError:
            lease.end()  # killed before the first word: nothing had been done yet
            continue
        yield lease


def discard(folder: Path) -> None:
    """Remove a temporary folder, whatever is in it."""
    shutil.rmtree(folder, ignore_errors=True)
