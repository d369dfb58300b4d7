"""Engines that the kit starts for itself: real ones, in namespaces of their own.

No root is needed, nothing is installed, no TCP port is opened, no bridge or firewall rule is
made. An engine's data lies on a tmpfs inside its own mount namespace and its processes in its own
process namespace, so the kernel clears both away with its first process: a private engine is
stopped by killing it, and loses nothing that anyone wants.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from kitref import errors
from kitref.engines import packages, places
from kitref.engines.engine import Engine, Kind, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_START_SECONDS = 60  # measured 0.3 to 1.2; a loaded machine takes longer
_TOOLS = ("unshare", "setpriv", "mount", "chroot", "env", "sh")
_UNSHARE = (
    "unshare",
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--propagation=private",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A private engine that can be asked for: a suite's package with one image store."""

    suite: str
    kind: Kind
    store: Store

    @property
    def name(self) -> str:
        """Return the engine's name, ``docker-trixie``."""
        return f"{self.kind}-{self.suite}"

    @property
    def title(self) -> str:
        """Return the name with the store, ``docker-trixie/containerd``."""
        return f"{self.name}/{self.store}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A private engine that runs: what it is, its first process, and its lease."""

    engine: Engine
    process: subprocess.Popen[bytes]
    lease: places.Lease


def specs() -> tuple[Spec, ...]:
    """Return the private engines of this machine's distribution, oldest suite first.

    Raises:
        EngineUnavailable: The machine is neither Debian nor Ubuntu.
    """
    return tuple(
        Spec(suite=row["suite"], kind=row["kind"], store=store)
        for row in packages.catalogue()["engines"]
        for store in row["stores"]
    )


def choose(engine: str, store: str) -> Spec:
    """Return the private engine that a user means.

    Args:
        engine: ``private`` (the newest suite that has the store), a suite (``trixie``) or a name
            (``docker-trixie``).
        store: ``graph``, ``containerd``, ``podman``, or ``any`` (containerd where there is one).

    Returns:
        The engine.

    Raises:
        UsageError: There is none like that; names those that there are.
        EngineUnavailable: The machine is neither Debian nor Ubuntu.
    """
    if store not in ("any", *get_args(Store)):
        raise errors.UsageError(
            f"there is no image store {store!r}", remedy="take any, graph, containerd or podman"
        )
    known = specs()
    fitting = [
        spec
        for spec in known
        if engine in ("private", spec.suite, spec.name) and store in ("any", spec.store)
    ]
    if not fitting:
        raise errors.UsageError(
            f"there is no private engine {engine!r} with store {store!r}",
            remedy="take one of " + ", ".join(spec.title for spec in known),
        )
    return next((spec for spec in reversed(fitting) if spec.store == "containerd"), fitting[-1])


def fetch(
    spec: Spec, progress: Callable[[str, float], None] = lambda _step, _share: None
) -> packages.Root:
    """Return the engine's unpacked packages, fetched where the cache does not have them.

    Args:
        spec: The engine.
        progress: Called with a step in words and the share of it that is done.

    Raises:
        EngineUnavailable: They could not be had.
    """
    wanted = packages.catalogue()["packages"][spec.kind]
    return packages.fetch(spec.suite, spec.kind, wanted, progress)


@contextlib.contextmanager
def running(
    spec: Spec, *, variables: dict[str, str] | None = None, files: dict[str, str] | None = None
) -> Iterator[Engine]:
    """Run a private engine for the length of a ``with`` block.

    Args:
        spec: The engine.
        variables: Environment variables for the engine, ``DOCKER_MIN_API_VERSION`` say.
        files: What it finds in its folder, which it sees as ``/engine``: names and texts.

    Yields:
        The engine.

    Raises:
        EngineUnavailable: It could not be fetched or did not start.
    """
    started = start(spec, variables=variables, files=files)
    try:
        yield started.engine
    finally:
        stop(started)


def start(
    spec: Spec,
    *,
    detached: bool = False,
    variables: dict[str, str] | None = None,
    files: dict[str, str] | None = None,
) -> Running:
    """Start a private engine and wait until it answers.

    Args:
        spec: The engine.
        detached: Whether it is to outlive this process; else the kernel ends it with us.
        variables: Environment variables for the engine.
        files: What it finds in ``/engine``: names and texts.

    Returns:
        The running engine; give it to `stop`.

    Raises:
        EngineUnavailable: It could not be fetched or did not start; says what its log says last.
    """
    namespaces = _namespaces()
    root = fetch(spec)
    folder = places.temporary()
    lease = places.Lease.take(
        {"kind": "private", "title": spec.title, "folder": str(folder), "detached": detached}
    )
    command = (
        *(() if detached else ("setpriv", "--pdeathsig", "KILL")),
        *namespaces,
        *("sh", f"{folder}/launch.sh", f"{root.path}", f"{folder}"),
        *(f"{name}={value}" for name, value in (variables or {}).items()),
        *("chroot", f"{root.path}"),
        *_command(spec),
    )
    try:
        _prepare(spec, folder, files or {})
        with places.locked(root.lock, shared=True) as in_use:
            process = (
                _spawner()
                .submit(_spawn, command, folder / "log", (lease.descriptor, in_use))
                .result()
            )
    except BaseException:
        places.discard(folder)
        lease.end()
        raise
    url = f"unix://{folder}/{spec.kind}.sock"
    lease.write(lease.content | {"pid": process.pid, "url": url})
    try:
        engine = _wait(spec, root, process, folder, url)
    except BaseException:
        _end(process, folder, lease)
        raise
    return Running(engine=engine, process=process, lease=lease)


def stop(started: Running) -> None:
    """End a private engine, and everything of it."""
    started.engine.close()
    _end(started.process, Path(started.lease.content["folder"]), started.lease)


def stop_detached(title: str | None = None) -> list[str]:
    """Stop the engines that `start` left running.

    Sweep first: the leases that are left then are held by the living, so their numbers are
    still their own.

    Args:
        title: Only those with this name or title, or the one at this URL.

    Returns:
        The titles of those that were stopped.
    """
    stopped = []
    for path, content in places.leases():
        if not content.get("detached") or not {"pid", "url"} <= content.keys():
            continue
        names = (content["title"], content["title"].partition("/")[0], content["url"])
        if title and title not in names:
            continue
        with contextlib.suppress(ProcessLookupError):
            _kill(content["pid"])
        places.discard(Path(content["folder"]))
        path.unlink(missing_ok=True)
        stopped.append(content["title"])
    return stopped


@functools.cache
def _namespaces() -> tuple[str, ...]:
    """Return the command that makes an engine's namespaces on this machine.

    A user namespace first, as any user may have one; where the machine forbids them, root can do
    without.
    """
    # Debian keeps chroot where an ordinary user's PATH does not lead; launch.sh looks there.
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=path) is None]
    if missing:
        raise errors.EngineUnavailable(
            f"private engines need {', '.join(missing)}", remedy="install util-linux and coreutils"
        )
    for command in ((*_UNSHARE, "--map-root-user"), *([_UNSHARE] if os.geteuid() == 0 else [])):
        tried = subprocess.run(
            [*command, "sh", "-c", "mount -t tmpfs tmpfs /tmp && mount -t proc proc /proc"],
            capture_output=True,
            text=True,
            check=False,
        )
        if tried.returncode == 0:
            return command
    raise errors.EngineUnavailable(
        f"this machine gives no namespaces for private engines ({tried.stderr.strip()})",
        remedy="in a container, run it with --privileged; elsewhere see the sysctls"
        " kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns; or"
        " give the kit an engine of your own with --engine",
    )


@functools.cache
def _spawner() -> concurrent.futures.ThreadPoolExecutor:
    """Return the one thread that starts engines.

    The kernel sends a child its parent-death signal when the *thread* that made it ends
    (prctl(2), PR_SET_PDEATHSIG), so engines are made by a thread that lives as long as we do.
    """
    return concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="engines")


def _spawn(
    command: tuple[str, ...], log: Path, descriptors: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    """Start an engine's first process; it inherits the descriptors, and the locks on them."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            pass_fds=descriptors,
            start_new_session=True,  # Ctrl-C is for the kit; it ends its engines itself
        )


def _prepare(spec: Spec, folder: Path, files: dict[str, str]) -> None:
    """Write what an engine needs in its folder."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    launch = resources.files("kitref.engines") / "launch.sh"
    (folder / "launch.sh").write_text(launch.read_text())
    if spec.kind == "docker":
        # Set either way: distributions differ in which store is the default.
        features = {"features": {"containerd-snapshotter": spec.store == "containerd"}}
        (folder / "daemon.json").write_text(json.dumps(features))


def _command(spec: Spec) -> tuple[str, ...]:
    """Return the engine's own command line, as it is run inside its tree."""
    if spec.kind == "podman":
        return (
            "podman", "--root=/run/data/root", "--runroot=/run/data/runroot",
            "--storage-driver=vfs", "--events-backend=file", "--cgroup-manager=cgroupfs",
            "system", "service", "--time=0", "unix:///engine/podman.sock",
        )  # fmt: skip
    # These drivers work on every kernel and without privilege; a layerless image needs no better.
    driver = "native" if spec.store == "containerd" else "vfs"
    return (
        "dockerd", "--host=unix:///engine/docker.sock", "--config-file=/engine/daemon.json",
        f"--storage-driver={driver}", "--group=0", "--bridge=none", "--iptables=false",
        "--ip6tables=false", "--userland-proxy=false",
    )  # fmt: skip


def _wait(
    spec: Spec, root: packages.Root, process: subprocess.Popen[bytes], folder: Path, url: str
) -> Engine:
    """Return the engine once it answers."""
    deadline = time.monotonic() + _START_SECONDS
    source = f"{packages.catalogue()['distribution']} {root.suite}: {root.package} {root.version}"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if _listens(url.removeprefix("unix://")):
            with contextlib.suppress(errors.EngineUnavailable):
                return Engine.connect(url, name=spec.name, source=source, private=True)
        time.sleep(0.05)
    said = (folder / "log").read_text(errors="replace").strip().splitlines()[-3:]
    state = f"ended with {process.returncode}" if process.poll() is not None else "does not answer"
    raise errors.EngineUnavailable(
        f"{spec.title} was started and {state} ({' / '.join(said) or 'its log is empty'})",
        remedy="`kitref engines clean` fetches it anew",
    )


def _listens(path: str) -> bool:
    """Whether something listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(path)
        return True
    return False


def _end(process: subprocess.Popen[bytes], folder: Path, lease: places.Lease) -> None:
    """Kill an engine, wait for it, and remove what it leaves."""
    if process.poll() is None:
        _kill(process.pid)
        process.wait()
    places.discard(folder)
    lease.end()


def _kill(pid: int) -> None:
    """Kill an engine: its namespace's first process, with which the kernel kills all others."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    # The child first: its parent then reaps it and ends by itself, so no zombie is left to others.
    for victim in [*map(int, children), *([] if children else [pid])]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
