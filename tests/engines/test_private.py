"""Private engines leave nothing behind, however they end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kitref import errors
from kitref.engines import places, private, sweep

pytestmark = pytest.mark.live

HOLDER = """
import sys, time
from kitref.engines import private
started = private.start(private.choose(sys.argv[1], "any"))
print(started.process.pid, started.lease.content["folder"], flush=True)
time.sleep(600)
"""


def _descendants(pid: int) -> set[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {pid} | {d for child in children for d in _descendants(int(child))}


def _alive(pid: int) -> bool:
    # A zombie's other threads may still be on their way out: all of them have to be gone.
    try:
        states = [t.joinpath("stat").read_text() for t in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(state.rpartition(")")[2].split()[0] not in "ZX" for state in states)


def _gone(pids: set[int]) -> bool:
    for _ in range(100):
        if not any(map(_alive, pids)):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("suite", sorted({spec.name for spec in private.specs()}))
def test_a_killed_kit_leaves_no_engine(suite: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, suite], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        pid, folder = holder.stdout.readline().split()
        engine = _descendants(int(pid))
        assert len(engine) > 1
        holder.send_signal(signal.SIGKILL)
    assert _gone(engine)
    assert Path(folder).exists()
    for _ in range(50):  # another run on this machine may be sweeping it just now
        sweep()
        if not Path(folder).exists():
            return
        time.sleep(0.1)
    pytest.fail(f"{folder} was left")


def test_a_stopped_engine_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    mounts = Path("/proc/self/mounts").read_text()
    started = private.start(private.choose("private", "any"))
    folder = Path(started.lease.content["folder"])
    engine = _descendants(started.process.pid)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent == tmp_path
    private.stop(started)
    assert _gone(engine)
    assert not list(tmp_path.iterdir())
    assert not started.lease.path.exists()
    assert Path("/proc/self/mounts").read_text() == mounts


def test_an_ordinary_users_path_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    private._namespaces.cache_clear()  # noqa: SLF001 - what was found with another PATH
    with private.running(private.choose("private", "any")) as engine:
        assert engine.ask("alpine").outcome == "absent"


def test_an_engine_opens_no_port_and_sees_no_network() -> None:
    started = private.start(private.choose("private", "any"))
    first = next(p for p in _descendants(started.process.pid) if p != started.process.pid)
    assert Path(f"/proc/{first}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    # Two header lines each; a listening socket would be a third.
    assert [
        len(Path(f"/proc/{first}/net/{t}").read_text().splitlines()) for t in ("tcp", "udp")
    ] == [1, 1]
    private.stop(started)


def test_a_detached_engine_is_stopped_by_its_address_or_title() -> None:
    spec = private.choose("private", "any")
    started = private.start(spec, detached=True)
    started.lease.let_go()  # as when the command that started it ends
    sweep()
    assert started.process.poll() is None
    other = private.start(spec, detached=True)
    other.lease.let_go()
    assert private.stop_detached(started.engine.url) == [spec.title]
    assert other.process.poll() is None
    assert spec.title in private.stop_detached(spec.title)
    for each in (started, other):
        each.process.wait(10)
        assert not Path(each.lease.content["folder"]).exists()


@pytest.mark.parametrize(
    ("engine", "store", "title"),
    [
        pytest.param("private", "any", "docker-sid/containerd", id="default"),
        pytest.param("bookworm", "any", "podman-bookworm/podman", id="suite-without-containerd"),
        pytest.param("trixie", "podman", "podman-trixie/podman", id="suite-and-store"),
        pytest.param("docker-trixie", "graph", "docker-trixie/graph", id="name-and-store"),
        pytest.param("private", "graph", "docker-sid/graph", id="newest-graph"),
    ],
)
def test_choose(engine: str, store: str, title: str) -> None:
    if not any(spec.suite == "sid" for spec in private.specs()):
        pytest.skip("these are Debian's suites")
    assert private.choose(engine, store).title == title


@pytest.mark.parametrize(
    ("engine", "store"),
    [
        pytest.param("nosuch", "any", id="engine"),
        pytest.param("private", "nosuch", id="store"),
        pytest.param("docker-bookworm", "containerd", id="a-store-that-version-lacks"),
    ],
)
def test_choose_refuses(engine: str, store: str) -> None:
    with pytest.raises(errors.UsageError, match="take"):
        private.choose(engine, store)


def test_a_suite_that_cannot_be_had_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "apt.conf"
    config.write_text(
        'Acquire::http::Proxy "http://127.0.0.1:9"; Acquire::https::Proxy "http://127.0.0.1:9";'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(errors.EngineUnavailable, match="apt could not fetch"):
        private.fetch(private.choose("private", "any"))
    assert not list((places.cache() / "roots").glob("*.partial"))
