"""The private registry is a real one, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from kitref import errors
from kitref.engines import sweep
from kitref.registry import pull
from kitref.registry.private import serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from kitref.registry.private import Registry

pytestmark = pytest.mark.live

HOLDER = """
import time
from kitref.registry.private import serving
with serving("bearer") as registry:
    print(registry.pid, registry.ca.parent, flush=True)
    time.sleep(600)
"""


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    ("auth", "status", "scheme"),
    [
        pytest.param("none", 200, None, id="none"),
        pytest.param("basic", 401, "Basic", id="basic"),
        pytest.param("bearer", 401, "Bearer", id="bearer"),
    ],
)
def test_it_asks_for_a_login(
    registries: Callable[[str], Registry], auth: str, status: int, scheme: str | None
) -> None:
    registry = registries(auth)
    answer = requests.get(f"{registry.url}/v2/", verify=str(registry.ca), timeout=10)
    assert answer.status_code == status
    assert answer.headers.get("Docker-Distribution-API-Version") == "registry/2.0"
    given = answer.headers.get("WWW-Authenticate")
    assert (given and given.partition(" ")[0]) == scheme
    assert registry.address.startswith("127.0.0.1:")


def test_its_authority_is_its_own(registries: Callable[[str], Registry]) -> None:
    ca = registries("none").ca.read_text()
    assert ca != registries("basic").ca.read_text()
    assert ssl.PEM_cert_to_DER_cert(ca)
    assert registries("none").ca.parent.stat().st_mode & 0o777 == 0o700


def test_it_listens_on_loopback_only(registries: Callable[[str], Registry]) -> None:
    registry = registries("none")
    port = int(registry.address.rpartition(":")[2])
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]


def test_it_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    monkeypatch.setenv("TMPDIR", str(parent))
    monkeypatch.setattr("tempfile.tempdir", None)
    with contextlib.suppress(ZeroDivisionError), serving("bearer") as registry:
        assert list(parent.iterdir()) == [registry.ca.parent]
        _ = 1 / 0
    assert gone(registry.pid)
    assert not list(parent.iterdir())
    answer = pull(f"{registry.address}/foo")
    assert answer.detail == "connection refused; without TLS: connection refused"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill-9"])
def test_an_ended_kit_leaves_no_registry(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        pid, folder = holder.stdout.readline().split()
        assert Path(f"/proc/{pid}").exists()
        holder.send_signal(how)
    assert gone(int(pid))
    if how == signal.SIGINT:
        assert not Path(folder).exists()
    for _ in range(50):  # another run on this machine may be sweeping it just now
        sweep()
        if not Path(folder).exists():
            return
        time.sleep(0.1)
    pytest.fail(f"{folder} was left")


def test_no_such_way_to_ask() -> None:
    with pytest.raises(errors.UsageError, match="none, basic, bearer"), serving("digest"):  # type: ignore[arg-type]
        pass


def test_a_registry_that_takes_nothing_says_so() -> None:
    with serving("none") as registry:
        pass
    with pytest.raises(errors.EngineUnavailable, match="did not take foo:latest"):
        registry.push_tiny("foo")
