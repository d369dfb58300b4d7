"""A real LinuxKit: its log, its runs, and that nothing of them stays.

No distribution packages a LinuxKit, so no CI runs one here: name one in KITREF_LINUXKIT to try it.
The reader of logs is tried on logs that others published, and on lines put together from the
formats in LinuxKit's source; the runs on stand-ins that only sleep, fail or speak.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kitref import errors, linuxkit
from kitref.engines import places, staying
from kitref.linuxkit import binary, find

if TYPE_CHECKING:
    from kitref.engines import Engine

LOGS = Path(__file__).parent / "logs"
REAL = os.environ.get("KITREF_LINUXKIT", "")


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param(
            "linuxkit-4045", [("docker.io/bastion.io/foo:local", "nowhere")], id="b710224-failed"
        ),
        pytest.param(
            "linuxkit-3776",
            [("docker.io/linuxkit/kernel:5.10.92", "registry")],
            id="2022-04-debug-on-a-terminal",
        ),
        pytest.param(
            "linuxkit-3756",
            [
                ("docker.io/linuxkit/init:7e3d51e6ab5896ecb36a4829450f7430f2878927", "registry"),
                ("docker.io/linuxkit/sysctl:bdc99eeedc224439ff237990ee06e5b992c8c1ae", "registry"),
            ],
            id="1df038e1b-without-debug",
        ),
        pytest.param(
            "linuxkit-1801",
            [("linuxkit/init:deea956a9ab07bf262083e93a86930bdc610cc2f", "nowhere")],
            id="2017-through-docker",
        ),
    ],
)
def test_a_recorded_log(log: str, expected: list[tuple[str, str]]) -> None:
    text = (LOGS / f"{log}.log").read_text()
    assert text.startswith("# From https://github.com/linuxkit/linuxkit/issues/")
    assert [(seen.asked, seen.ends) for seen in binary.read_log(text)] == expected


def debug(*messages: str) -> str:
    return "\n".join(f'time="2025-01-01T00:00:00Z" level=debug msg="{m}"' for m in messages)


NAME = "docker.io/bastion.io/foo:local"
CACHES = f"ImagePull to cache {NAME} trusted reference {NAME}"
PULLS = f"Image {NAME} arch amd64 not found in local cache, pulling"


@pytest.mark.parametrize(
    ("messages", "ends"),
    [
        pytest.param(
            [f"docker inspect image: {NAME}", f"docker inspect image: {NAME}...Done"],
            "engine",
            id="docker-has-it",
        ),
        pytest.param([f"docker inspect image: {NAME}"], "nowhere", id="cut-off-in-the-look-up"),
        pytest.param(
            [
                f"docker inspect image: {NAME}",
                CACHES,
                f"Image {NAME} arch amd64 found in local cache, not pulling",
            ],
            "cache",
            id="cache",
        ),
        pytest.param(
            [
                f"docker inspect image: {NAME}",
                CACHES,
                PULLS,
                f"ImageWrite retrieved {NAME} is index, saving",
            ],
            "registry",
            id="registry",
        ),
        pytest.param(
            [
                f"docker inspect image: {NAME}",
                f"docker inspect image: {NAME}...Done",
                CACHES,
                PULLS,
                f"could not pull image {NAME}: error getting manifest for trusted image {NAME}: x",
            ],
            "nowhere",
            id="docker-has-it-for-another-architecture",
        ),
        pytest.param(
            [CACHES, f"Instructed always to pull, so pulling image {NAME} arch amd64"],
            "registry",
            id="pull",
        ),
        pytest.param(
            [CACHES, f"Image {NAME} incomplete or invalid in local cache, error x, pulling"],
            "registry",
            id="broken-in-the-cache",
        ),
        pytest.param(
            [f"docker create: {NAME}", f"docker create: {NAME}...Done"], "engine", id="v0.8-has-it"
        ),
        pytest.param(
            [
                f"docker create: {NAME}",
                f"docker pull: {NAME}",
                f"docker pull: {NAME}...Done",
                f"docker create: {NAME}",
                f"docker create: {NAME}...Done",
            ],
            "registry",
            id="v0.8-pulls",
        ),
    ],
)  # fmt: skip
def test_what_the_source_would_write(messages: list[str], ends: str) -> None:
    (seen,) = binary.read_log("Add init containers:\n" + debug(*messages))
    assert (seen.asked, seen.ends) == (NAME, ends)


def test_a_failure_is_told_by_the_name_as_it_was_written() -> None:
    text = debug(CACHES, PULLS) + "\nError: could not pull image bastion.io/foo:local: no"
    assert [(s.asked, s.ends) for s in binary.read_log(text)] == [(NAME, "nowhere")]


def test_the_cache_is_asked_for_a_name_that_was_expanded_twice() -> None:
    text = debug(
        "docker inspect image: foo/bar",
        "ImagePull to cache docker.io/foo/bar trusted reference foo/bar",
        "Image docker.io/foo/bar arch amd64 found in local cache, not pulling",
    )
    assert [(s.asked, s.ends) for s in binary.read_log(text)] == [("foo/bar", "cache")]


@pytest.mark.parametrize("text", ["", "\n\n", '{"a": 1}', 'time="x" level=debug msg="\\q', "é\x00"])
def test_what_is_no_log_says_nothing(text: str) -> None:
    assert binary.read_log(text) == []


# The runs.


def program(folder: Path, *lines: str) -> Path:
    """Write a stand-in that answers to `version` as LinuxKit does, and then runs these lines."""
    path = folder / "linuxkit"
    version = 'case "$*" in *version*) echo "linuxkit version v0.0-stand-in"; exit 0;; esac'
    path.write_text("\n".join(("#!/bin/sh", version, *lines)) + "\n")
    path.chmod(0o755)
    return path


def setting(engine: Engine, release: str = "v1.8.2") -> linuxkit.Setting:
    return linuxkit.setting(find(release), engine, arch=engine.arch)


@pytest.mark.live
def test_a_difference_is_reported(docker: Engine, tmp_path: Path) -> None:
    stand_in = program(
        tmp_path,
        'echo "docker inspect image: docker.io/other/name"',
        'echo "docker inspect image: docker.io/other/name...Done"',
    )
    with staying(docker) as guest:
        guest.image(tagged_as="bastion.io/binary:t")
        found = binary.check(
            stand_in, ["bastion.io/binary:t", "kitref.invalid/no"], setting(docker)
        )
    assert found.version == "v0.0-stand-in"
    assert found.predicted["bastion.io/binary:t"].ends == "engine"
    first, second = found.differences
    assert "bastion.io/binary:t, which ends at engine; seen docker.io/other/name" in first
    assert "which ends at nowhere; seen docker.io/other/name, which ends at engine" in second


@pytest.mark.live
def test_what_a_run_is_given(
    docker: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINUXKIT_CACHE", "/somebody's")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("NO_PROXY", "*")
    stand_in = program(
        tmp_path, f'{{ env; pwd; cat build.yml; echo "ARGS $*"; }} > {tmp_path}/given'
    )
    binary.check(stand_in, ['a"b: c'], setting(docker, "nitro-cli@1.3.1"))
    given = (tmp_path / "given").read_text()
    variables = dict(re.findall(r"^(\w+)=(.*)$", given, re.MULTILINE))
    assert variables["DOCKER_HOST"] == docker.url
    assert variables["HOME"] == variables["TMPDIR"] != os.environ["HOME"]
    assert "LINUXKIT_CACHE" not in variables
    assert variables["HTTPS_PROXY"].startswith("http://127.0.0.1:")
    assert variables["NO_PROXY"] == variables["no_proxy"] == ""
    assert not Path(variables["DOCKER_CONFIG"]).exists()
    assert '{"init": ["a\\"b: c"]}' in given
    assert "ARGS -v=2 build --docker --arch" in given
    assert not Path(variables["HOME"]).exists()


@pytest.mark.live
def test_a_run_that_does_not_end(docker: Engine, tmp_path: Path) -> None:
    stand_in = program(tmp_path, "sleep 600")
    begun = time.monotonic()
    found = binary.check(stand_in, ["a", "b", "c"], setting(docker), seconds=0.5)
    assert time.monotonic() - begun < 20
    assert {seen.ends for seen in found.seen.values()} == {"nowhere"}
    assert found.seen["a"].said == ("no end after 0.5 seconds",)


@pytest.mark.live
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="missing"),
        pytest.param("#!/bin/sh\necho hello\n", id="another-program"),
        pytest.param("#!/bin/sh\nexit 3\n", id="fails"),
        pytest.param("no program", id="no-format"),
    ],
)
def test_what_is_no_linuxkit(docker: Engine, tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "thing"
    if text is not None:
        path.write_text(text)
        path.chmod(0o755)
    with pytest.raises(errors.UsageError, match="thing") as caught:
        binary.check(path, ["a"], setting(docker))
    assert caught.value.remedy


RUN = """
import sys
from kitref import linuxkit
from kitref.engines import attach
from kitref.linuxkit import binary
setting = linuxkit.setting(linuxkit.find("v1.8.2"), attach.connect(sys.argv[1]))
binary.check(sys.argv[2], ["a", "b", "c", "d", "e", "f"], setting)
"""


@pytest.mark.live
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name)
def test_nothing_stays(
    docker: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "pids").mkdir()
    stand_in = program(tmp_path, f"touch {tmp_path}/pids/$$", "exec sleep 600")
    with subprocess.Popen(
        [sys.executable, "-c", RUN, docker.url, stand_in], stderr=subprocess.PIPE
    ) as run:
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "pids").iterdir())) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run.send_signal(number)
    assert run.returncode != 0
    pids = [int(each.name) for each in (tmp_path / "pids").iterdir()]
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            break
        time.sleep(0.1)
    else:
        pytest.fail("a program goes on")
    for lease in places.abandoned():  # of the kill: the next start's sweep
        if str(lease.content.get("folder", "")).startswith(str(tmp_path)):
            places.discard(Path(lease.content["folder"]))
            lease.end()
        else:
            lease.let_go()
    assert not list(tmp_path.glob("kitref-*"))


@pytest.mark.live
@pytest.mark.skipif(not REAL, reason="no LinuxKit: name one in KITREF_LINUXKIT")
def test_a_real_linuxkit_does_what_is_predicted(engine: Engine) -> None:
    said = subprocess.run([REAL, "version"], check=True, capture_output=True, text=True).stdout
    release = re.search(r"linuxkit version (v[0-9.]+)", said)
    assert release, said
    with staying(engine) as guest:
        names = ["bastion.io/real:t", "foouser/real:t", "real:t"]
        for name in names:
            guest.image(tagged_as=name)
        found = binary.check(REAL, [*names, "bastion.io/none:t"], setting(engine, release[1]))
    assert found.differences == []
