"""An engine behind ssh:// is reached by the user's ssh, and nothing of the way is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import docker as docker_py
import pytest

from kitref import errors
from kitref.engines import Engine, opened, places, staying, sweep, tunnel

if TYPE_CHECKING:
    from collections.abc import Iterator

OPTIONS = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-T", "--"]
DIAL = "docker system dial-stdio"

BRIDGE = """
import os, socket, sys, threading
engine = socket.socket(socket.AF_UNIX)
engine.connect({engine!r})

def back():
    while part := engine.recv(65536):
        os.write(1, part)
    os._exit(0)

threading.Thread(target=back, daemon=True).start()
while part := os.read(0, 65536):
    engine.sendall(part)
"""

RECORD = """
import json, os, sys
opened = [int(name) for name in os.listdir("/proc/self/fd")]
with open({record!r}, "a") as record:
    print(json.dumps([sys.argv[1:], os.getsid(0) == os.getpid(), sorted(opened)[:-1]]), file=record)
"""

HOLDER = """
import os, signal, socket, sys
from kitref.engines import tunnel
live = tunnel.Tunnel("ssh://host")
with socket.socket(socket.AF_UNIX) as near:
    near.connect(live.url.removeprefix("unix://"))
    near.sendall(b"hello")
    try:
        print(live.url, flush=True)
        signal.pause()
    except KeyboardInterrupt:
        near.sendall(b"clean up")
        print(near.recv(100).decode(), flush=True)
live.close()
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that goes before all others on PATH, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    return tmp_path


@pytest.fixture
def far() -> Iterator[socket.socket]:
    """Return what listens where the fake ssh leads."""
    folder = places.temporary()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(60)
        listener.bind(f"{folder}/far.sock")
        listener.listen()
        yield listener
    places.discard(folder)


def _program(path: Path, code: str, **values: object) -> None:
    path.write_text(f"#!{sys.executable} -I\n" + code.format(**values))
    path.chmod(0o700)


def _near(live: tunnel.Tunnel) -> socket.socket:
    near = socket.socket(socket.AF_UNIX)
    near.settimeout(60)
    near.connect(live.url.removeprefix("unix://"))
    return near


def _children() -> set[str]:
    """Return the numbers of our processes, also of those that ended and nobody waited for."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {child for task in tasks for child in task.read_text().split()}


def _accept(far: socket.socket) -> socket.socket:
    connection, _ = far.accept()
    connection.settimeout(60)
    return connection


@pytest.mark.parametrize(
    ("url", "before", "host", "there"),
    [
        pytest.param("ssh://host", [], "host", DIAL, id="host"),
        pytest.param("ssh://Build-Box/", [], "Build-Box", DIAL, id="an-alias-keeps-its-case"),
        pytest.param("ssh://me@host", ["-l", "me"], "host", DIAL, id="user"),
        pytest.param("ssh://host:", [], "host", DIAL, id="empty-port"),
        pytest.param(
            "ssh://me%40corp@host:2222", ["-l", "me@corp", "-p", "2222"], "host", DIAL, id="port"
        ),
        pytest.param("ssh://[::1]:22", ["-p", "22"], "::1", DIAL, id="ipv6"),
        pytest.param("ssh://-oProxyCommand=x", [], "-oProxyCommand=x", DIAL, id="no-option"),
        pytest.param(
            "ssh://host/run/user/1000/docker.sock",
            [],
            "host",
            "docker --host=unix:///run/user/1000/docker.sock system dial-stdio",
            id="socket",
        ),
        pytest.param(
            "ssh://host/a%20b;$(reboot)",
            [],
            "host",
            "docker '--host=unix:///a b;$(reboot)' system dial-stdio",
            id="a-socket-is-one-word-there",
        ),
    ],
)
def test_the_command(url: str, before: list[str], host: str, there: str) -> None:
    assert tunnel.command(url) == ["ssh", *before, *OPTIONS, host, there]


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("ssh://", id="empty"),
        pytest.param("ssh:///run/docker.sock", id="no-host"),
        pytest.param("ssh://host:port", id="port"),
        pytest.param("ssh://::1", id="ipv6-without-brackets"),
        pytest.param("ssh://host?a=b", id="query"),
        pytest.param("ssh://host#a", id="fragment"),
        pytest.param("ssh://host/a\n", id="newline"),
        pytest.param("ssh://host/a%00", id="nul"),
        pytest.param("tcp://host:2375", id="scheme"),
    ],
)
def test_no_address(url: str) -> None:
    with pytest.raises(errors.EngineAddressError, match="no password, no query, no fragment"):
        tunnel.Tunnel(url)


@pytest.mark.parametrize("url", ["ssh://me:secret@host", "ssh://me:sec@ret@host:x"])
def test_a_password_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(errors.EngineAddressError) as refused:
        tunnel.Tunnel(url)
    assert "no password" in str(refused.value)
    assert "sec" not in str(refused.value)
    assert "ret" not in str(refused.value)


def test_no_ssh(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(errors.EngineUnavailable, match="install OpenSSH"):
        tunnel.Tunnel("ssh://host")
    assert list(places.leases()) == []


def test_each_connection_has_an_ssh_of_its_own(here: Path, far: socket.socket) -> None:
    record = here / "record"
    _program(here / "bin/ssh", RECORD + BRIDGE, record=str(record), engine=far.getsockname())
    with contextlib.closing(tunnel.Tunnel("ssh://me@host")) as live:
        for words in (b"one", b"two"):
            with _near(live) as near:
                near.sendall(words)
                with _accept(far) as there:
                    assert there.recv(100) == words
                    there.sendall(words.upper())
                    assert near.recv(100) == words.upper()
                    near.close()
                    assert there.recv(100) == b""  # its ssh has ended: it closes nothing itself
        assert live.said == ""
    # Neither the listener nor the other connection nor the lease is theirs, nor our terminal.
    expected = [["-l", "me", *OPTIONS, "host", DIAL], True, [0, 1, 2]]
    assert [json.loads(line) for line in record.read_text().splitlines()] == [expected, expected]


def test_what_ssh_said_is_kept(here: Path) -> None:
    said = "a\\nb\\nWarning: \\x1b[31mred\\r\\n\\nme@host: Permission denied (publickey).\\r\\n"
    _program(here / "bin/ssh", "import sys; sys.stderr.write('" + said + "'); sys.exit(255)")
    with contextlib.closing(tunnel.Tunnel("ssh://host")) as live:
        for _ in range(2):
            with _near(live) as near:
                assert near.recv(100) == b""
        assert live.said == "b / Warning: \\x1b[31mred / me@host: Permission denied (publickey)."
    assert live.said == ""


def test_an_ssh_that_cannot_be_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{here}/bin")
    (here / "bin/ssh").write_text("#!/nowhere\n")
    (here / "bin/ssh").chmod(0o700)
    with contextlib.closing(tunnel.Tunnel("ssh://host")) as live:
        with _near(live) as near:
            assert near.recv(100) == b""
        assert live.said == "ssh cannot be run (No such file or directory)"


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("", id="ends"),
        pytest.param("import signal; signal.signal(15, signal.SIG_IGN)", id="would-not-end"),
    ],
)
def test_close_leaves_nothing(
    here: Path, far: socket.socket, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    monkeypatch.setattr(tunnel, "_END_SECONDS", 0.1)
    _program(here / "bin/ssh", before + BRIDGE, engine=far.getsockname())
    before_it = threading.enumerate(), _children()
    live = tunnel.Tunnel("ssh://host")
    folder = Path(live.url.removeprefix("unix://")).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    with _near(live) as near, _accept(far) as there:
        near.sendall(b"hello")
        assert there.recv(100) == b"hello"
        live.close()
        assert near.recv(100) == b""
        assert there.recv(100) == b""
    assert not folder.exists()
    assert (threading.enumerate(), _children()) == before_it
    assert list(places.leases()) == []
    live.close()


@pytest.fixture
def holder(here: Path, far: socket.socket) -> Iterator[subprocess.Popen[str]]:
    """Return a process that holds a connection through a tunnel, as in a terminal of its own."""
    _program(here / "bin/ssh", BRIDGE, engine=far.getsockname())
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        process.kill()


def test_after_a_kill_ssh_ends_and_the_next_start_takes_the_folder(
    holder: subprocess.Popen[str], far: socket.socket
) -> None:
    assert holder.stdout is not None
    folder = Path(holder.stdout.readline().strip().removeprefix("unix://")).parent
    with _accept(far) as there:
        assert there.recv(100) == b"hello"
        holder.kill()
        assert there.recv(100) == b""
    holder.wait()
    assert folder.is_dir()
    sweep()
    assert not folder.exists()
    assert list(places.leases()) == []


def test_after_ctrl_c_the_way_is_still_there(
    holder: subprocess.Popen[str], far: socket.socket
) -> None:
    assert holder.stdout is not None
    folder = Path(holder.stdout.readline().strip().removeprefix("unix://")).parent
    with _accept(far) as there:
        assert there.recv(100) == b"hello"
        os.killpg(holder.pid, signal.SIGINT)  # as a terminal does
        assert there.recv(100) == b"clean up"
        there.sendall(b"done")
        assert holder.stdout.readline() == "done\n"
    assert holder.wait() == 0
    assert not folder.exists()


@pytest.mark.live
def test_a_live_engine(here: Path, docker: Engine) -> None:
    _program(here / "bin/ssh", BRIDGE, engine=docker.url.removeprefix("unix://"))
    with (
        contextlib.closing(tunnel.Tunnel("ssh://host")) as live,
        contextlib.closing(docker_py.APIClient(base_url=live.url, version="auto")) as client,
    ):
        assert client.version()["Version"] == docker.version


@pytest.mark.live
def test_an_engine_behind_ssh_answers_as_it_does_here(here: Path, docker: Engine) -> None:
    record = here / "record"
    engine = docker.url.removeprefix("unix://")
    _program(here / "bin/ssh", RECORD + BRIDGE, record=str(record), engine=engine)
    before, children = docker.names(), _children()
    names = [f"absent.example/n{number}" for number in range(20)]
    with opened("ssh://me@host") as far, staying(far) as guest:
        assert (far.version, far.store, far.url) == (docker.version, "containerd", "ssh://me@host")
        image_id = guest.image(tagged_as="bastion.io/foo:local")
        own = guest.own("bastion.io/foo:local")
        assert [lease["url"] for _, lease in places.leases() if "url" in lease] == [far.url]
        here_too, there = (each.ask_all([own, *names]) for each in (docker, far))
        assert there == here_too
        assert (there[0].image_id, there[1].outcome) == (image_id, "absent")
    assert docker.names() == before
    assert _children() == children
    # Each is a login: connections are kept, and few.
    assert len(record.read_text().splitlines()) < len(names)


@pytest.fixture
def sshd(here: Path, docker: Engine) -> Iterator[str]:
    """Return the address of an engine behind a real sshd; skip where there is none."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    programs = [shutil.which(name, path=path) for name in ("sshd", "ssh", "ssh-keygen")]
    if None in programs:
        pytest.skip("there is no sshd: install openssh-server")
    daemon, client, keygen = map(str, programs)
    for key in ("host", "mine", "other"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", here / key], check=True)
    _program(here / "dial", BRIDGE, engine=docker.url.removeprefix("unix://"))
    (here / "dial.sh").write_text(
        f'test "$SSH_ORIGINAL_COMMAND" = "{DIAL}" && exec {shlex.quote(str(here / "dial"))}\n'
        'echo "$SSH_ORIGINAL_COMMAND: command not found" >&2; exit 127\n'
    )
    (here / "authorized").write_text(
        f'command="sh {here}/dial.sh" {(here / "mine.pub").read_text()}'
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (here / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {here}/host\nPidFile none\n"
        f"AuthorizedKeysFile {here}/authorized\nStrictModes no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin yes\n"
    )
    (here / "known").write_text(f"[127.0.0.1]:{port} {(here / 'host.pub').read_text()}")
    (here / "ssh_config").write_text(
        f"IdentityFile {here}/mine\nIdentitiesOnly yes\nUserKnownHostsFile {here}/known\n"
    )
    (here / "bin/ssh").write_text(f'#!/bin/sh\n{client} -F {here}/ssh_config "$@"\n')  # no exec
    (here / "bin/ssh").chmod(0o700)
    with subprocess.Popen(
        [daemon, "-D", "-e", "-f", here / "sshd_config"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            if "listening" not in (said := process.stderr.readline()):
                pytest.skip(f"sshd does not run here: {said}")
            tried = subprocess.run(
                [here / "bin/ssh", "-o", "BatchMode=yes", "-p", f"{port}", "127.0.0.1", "true"],
                capture_output=True,
                text=True,
                check=False,
            )
            if "true: command not found" not in tried.stderr:
                pytest.skip(f"sshd lets nobody in here: {tried.stdout}{tried.stderr}")
            yield f"ssh://127.0.0.1:{port}"
        finally:
            process.terminate()


def _refused(url: str) -> str:
    with contextlib.closing(tunnel.Tunnel(url)) as live, _near(live) as near:
        with contextlib.suppress(ConnectionResetError):
            assert near.recv(100) == b""
        return live.said


@pytest.mark.live
def test_a_real_sshd(here: Path, docker: Engine, sshd: str) -> None:
    with (
        contextlib.closing(tunnel.Tunnel(sshd)) as live,
        contextlib.closing(docker_py.APIClient(base_url=live.url, version="auto")) as client,
    ):
        assert client.version()["Version"] == docker.version
        assert live.said == ""
    assert "command not found" in _refused(f"{sshd}/run/docker.sock")
    (here / "mine").write_bytes((here / "other").read_bytes())
    assert "Permission denied (publickey)" in _refused(sshd)
    (here / "known").write_text("")
    assert "Host key verification failed" in _refused(sshd)
