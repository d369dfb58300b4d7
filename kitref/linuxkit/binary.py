"""A real LinuxKit: run on the names of a build, its debug log read, and put beside the prediction.

The log's words are those of `docker/cmd.go`, `cache/write.go`, `moby/docker.go`, `moby/image.go`
and `moby/build/build.go` in LinuxKit's source, from v0.7 to v1.8.2.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from kitref import errors
from kitref.engines import places
from kitref.linuxkit.path import follow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kitref.linuxkit import path
    from kitref.linuxkit.path import Setting

Ends = Literal["engine", "cache", "registry", "nowhere"]

_AT_ONCE: Final = 4  # each is a process that reads a whole image
_NOWHERE: Final = "http://127.0.0.1:9"  # the discard port, RFC 863: nothing listens there

# logrus, on a terminal and off it, and a plain line.
_ENTRY: Final = re.compile(
    r'(?:time="[^"]*" level=\w+ msg=(?P<quoted>"(?:[^"\\]|\\.)*"|\S+)'
    r"|[A-Z]{4}\[\d+\] (?P<shown>.*?)|(?P<plain>.*?))\s*"
)
_EVENTS: Final = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("has", r"docker (?:inspect image|create): (\S+)\.\.\.Done"),
        ("asks", r"docker (?:inspect image|create): (\S+)"),
        ("pulls", r"docker pull: (\S+)(?<!\.\.\.Done)"),
        ("caches", r"ImagePull to cache (\S+) trusted reference (\S+)"),
        ("cached", r"Image (\S+)(?: arch \S+)? found in local cache, not pulling"),
        ("pulls", r"Image (\S+)(?: arch \S+)? not found in local cache, pulling"),
        ("pulls", r"Image (\S+)(?: arch \S+)? incomplete or invalid in local cache, .*"),
        ("pulls", r"Instructed always to pull, so pulling image (\S+) arch \S+"),
        ("fails", r".*?could not pull image (\S+): .*"),
    )
)
_ENDS: Final[dict[str, Ends]] = {
    "asks": "nowhere", "has": "engine", "caches": "nowhere", "cached": "cache",
    "pulls": "registry", "fails": "nowhere",
}  # fmt: skip
"""Where an image comes from, by the last that is told of it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a real LinuxKit did with a name, by its log.

    Attributes:
        asked: The name that it asked for; empty where it came to no look-up.
        ends: Where the image came from: `engine`, `cache`, `registry` or `nowhere`.
        said: The lines of the log that it rests on, or why there are none.
    """

    asked: str
    ends: Ends
    said: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A real LinuxKit beside the prediction.

    Attributes:
        version: What it calls itself.
        predicted: By the name as the user wrote it, the path that the kit predicts with an empty
            cache, which is what the real one is given.
        seen: By the same name, what it did.
    """

    version: str
    predicted: Mapping[str, path.Path]
    seen: Mapping[str, Seen]

    @property
    def differences(self) -> list[str]:
        """Where the two differ, a line each."""
        return [
            f"{errors.printable(text)}: predicted {errors.printable(foretold.asked)}, which ends at"
            f" {foretold.ends}; seen {errors.printable(seen.asked or 'no look-up')}, which ends at"
            f" {seen.ends} ({seen.said[-1] if seen.said else 'it said nothing of it'})"
            for text, foretold in self.predicted.items()
            for seen in [self.seen[text]]
            if seen.ends != foretold.ends or seen.asked not in ("", foretold.asked)
        ]


def check(
    binary: str | os.PathLike[str],
    texts: Iterable[str],
    setting: Setting,
    *,
    offline: bool = True,
    seconds: float = 60.0,
) -> Check:
    """Let a real LinuxKit build each name for itself, and put what it did beside the prediction.

    It gets a home, a cache and an output in a throw-away folder. It knows of no host map.

    Args:
        binary: The program.
        texts: The names as the user wrote them; each distinct one is built once.
        setting: The build. The engine has to be a live one.
        offline: Whether to keep it from registries, and from logins.
        seconds: How long one build may take.

    Returns:
        Both, and where they differ.

    Raises:
        EngineUnavailable: The setting has no engine.
        UsageError: The program cannot be run, or is no LinuxKit.
    """
    if isinstance(setting.engine, errors.KitrefError):
        raise errors.EngineUnavailable(setting.engine.what, remedy=setting.engine.remedy)
    distinct = list(dict.fromkeys(texts))
    program = os.path.abspath(binary)  # noqa: PTH100 - a link keeps its name
    if shutil.which(program) is None:
        raise errors.UsageError(f"{program} is no program", remedy="name the linuxkit program")
    with _folder() as folder:
        shop = _Workshop(program, folder, setting, offline=offline, seconds=seconds)
        version = shop.version()
        seen = shop.build_all(distinct)
        predicted = follow(distinct, dataclasses.replace(setting, cache=folder / "no-cache"))
    return Check(version=version, predicted=predicted, seen=seen)


def read_log(text: str) -> list[Seen]:
    """Read a log of `linuxkit build`.

    Args:
        text: What it wrote, best with its debug messages (`-v`, since v1.6 `-v=2`). Without them
            nothing tells that a name was found in the engine.

    Returns:
        What was asked for, in order, and where each image came from. A pull of which no failure is
        told counts as one that ended at the registry.
    """
    ends: dict[str, Ends] = {}
    said: dict[str, list[str]] = {}
    expanded_again: dict[str, str] = {}
    for line in text.splitlines():
        kind, groups = _event(line)
        if not kind:
            continue
        name = groups[-1]
        if kind == "caches":
            expanded_again[groups[0]] = name
        elif kind in ("cached", "pulls"):
            name = expanded_again.get(name, name)
        elif kind == "fails" and name not in ends:  # told by the name as the user wrote it
            name = next(reversed(ends), name)
        said.setdefault(name, []).append(line.strip())
        # Looked up by Docker, and not there yet; created from what Docker has just pulled.
        known = kind == "asks" and name in ends
        if not known and (kind, ends.get(name)) != ("has", "registry"):
            ends[name] = _ENDS[kind]
    return [Seen(asked=name, ends=ends[name], said=tuple(said[name])) for name in ends]


def _event(line: str) -> tuple[str, tuple[str, ...]]:
    """Return what a line tells, and the names in it; nothing where it tells nothing."""
    entry = _ENTRY.fullmatch(line)
    if entry is None:
        return "", ()
    message = entry["shown"] or entry["plain"] or ""
    if quoted := entry["quoted"]:
        message = quoted
        if quoted.startswith('"'):
            with contextlib.suppress(ValueError):  # Go's escapes are JSON's, but for \x and \a
                message = json.loads(quoted)
    for kind, pattern in _EVENTS:
        if found := pattern.fullmatch(message.strip()):
            return kind, found.groups()
    return "", ()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Have a folder that is gone afterwards, also after a kill, by the next start's sweep."""
    folder = places.temporary()
    lease = places.Lease.take({"kind": "private", "title": "linuxkit", "folder": f"{folder}"})
    try:
        yield folder
    finally:
        places.discard(folder)
        lease.end()


class _Workshop:
    """Runs of one program, in one folder."""

    def __init__(
        self, program: str, folder: Path, setting: Setting, *, offline: bool, seconds: float
    ) -> None:
        self.program = program
        self.folder = folder
        self.setting = setting
        self.seconds = seconds
        self.environment = self._environment(offline=offline)
        self.lock = threading.Lock()
        self.running: set[subprocess.Popen[str]] = set()
        self.over = False
        self.verbose = "-v"

    def version(self) -> str:
        """Return what the program says that it is, and learn how it is made to talk."""
        # Since v1.6 `-v` takes a level, of which 2 is debug; before, it was a switch.
        for verbose in ("-v=2", "-v"):
            code, output = self._run(verbose, "version")
            said = re.search(r"linuxkit version \S+", output)
            if code == 0 and said:
                self.verbose = verbose
                return said[0].removeprefix("linuxkit version ")
        raise errors.UsageError(
            f"{self.program} is no LinuxKit: `version` ended with {code} and"
            f" {errors.printable(output.strip()[-200:])!r}",
            remedy="name the linuxkit program itself",
        )

    def build_all(self, texts: list[str]) -> dict[str, Seen]:
        """Build names side by side; nothing of it goes on when this ends, however it ends."""
        pool = concurrent.futures.ThreadPoolExecutor(_AT_ONCE)
        try:
            return dict(zip(texts, pool.map(self._build, range(len(texts)), texts), strict=True))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            with self.lock:
                self.over = True
                for process in self.running:
                    _kill(process)
            pool.shutdown()

    def _build(self, number: int, text: str) -> Seen:
        """Build one name by itself: LinuxKit ends at the first that it cannot have."""
        home = self.folder / f"{number}"
        home.mkdir()
        # JSON is YAML, and leaves no question how a name is quoted.
        (home / "build.yml").write_text(json.dumps({"init": [text]}))
        setting = self.setting
        options = ["--docker"] * setting.docker + ["--pull"] * setting.pull
        code, output = self._run(
            self.verbose, "build", *options, "--arch", setting.arch, "--format", "tar",
            "--name", "out", "--dir", ".", "build.yml", folder=home,
        )  # fmt: skip
        shutil.rmtree(home, ignore_errors=True)
        if code is None:
            return Seen(asked="", ends="nowhere", said=(f"no end after {self.seconds:g} seconds",))
        found = read_log(output)
        if found and code == 0:
            return found[0]
        last = tuple(output.strip().splitlines()[-1:]) or (f"it ended with {code}",)
        if not found:
            return Seen(asked="", ends="nowhere", said=last)
        # A build can fail for another reason than its image, and has none to show then.
        where = found[0].ends if found[0].ends in ("engine", "cache") else "nowhere"
        return dataclasses.replace(found[0], ends=where, said=found[0].said + last)

    def _run(self, *arguments: str, folder: Path | None = None) -> tuple[int | None, str]:
        """Run the program; return its exit code, None where it took too long, and its output."""
        # The kernel ends it with the thread that waits for it (prctl(2), PR_SET_PDEATHSIG).
        tied = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
        home = folder or self.folder
        with self.lock:
            if self.over:
                return None, ""
            try:
                process = subprocess.Popen(
                    (*tied, self.program, *arguments),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    cwd=home,
                    env=self.environment | {"HOME": f"{home}", "TMPDIR": f"{home}"},
                    start_new_session=True,  # Ctrl-C is for the kit; it ends its children itself
                )
            except OSError as error:
                raise errors.UsageError(
                    f"{self.program} cannot be run ({error.strerror})",
                    remedy="name the linuxkit program",
                ) from error
            self.running.add(process)
        try:
            output, _ = process.communicate(timeout=self.seconds)
        except subprocess.TimeoutExpired:
            return None, ""
        else:
            return process.returncode, output
        finally:
            _kill(process)
            process.communicate()
            with self.lock:
                self.running.discard(process)

    def _environment(self, *, offline: bool) -> dict[str, str]:
        """Return the user's environment with the engine, and without the cache and the logins."""
        setting, engine = self.setting, self.setting.engine
        environment = {
            name: value for name, value in os.environ.items() if name != "LINUXKIT_CACHE"
        }
        environment |= {"LC_ALL": "C", "DOCKER_HOST": getattr(engine, "url", "")}
        if setting.api_version:
            environment["DOCKER_API_VERSION"] = setting.api_version
        if offline:
            proxies = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
            # A host that is excepted from the proxy would be asked.
            environment |= dict.fromkeys(proxies, _NOWHERE) | {"NO_PROXY": "", "no_proxy": ""}
            environment["DOCKER_CONFIG"] = f"{self.folder}/no-logins"
        else:
            environment.setdefault("DOCKER_CONFIG", f"{Path.home()}/.docker")
        return environment


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a program and all that it has started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
