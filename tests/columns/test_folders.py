"""Folders, object stores and a Dask cluster: every file once, whoever does it and whoever dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import dask.config
import distributed
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from kitref import UsageError
from kitref.columns import files, folders
from kitref.columns.files import Counts, Task
from kitref.errors import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES, ROWS = 12, 3000
INVALID = -(-ROWS // 100)  # every hundredth, beginning with the first
ALL = Counts(
    rows=FILES * ROWS,
    valid=FILES * (ROWS - INVALID),
    invalid=FILES * INVALID,
    changed=FILES * (ROWS - INVALID),
)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Return a folder with files of names, every hundredth of them invalid."""
    folder = tmp_path / "given"
    folder.mkdir()
    for file in range(FILES):
        names = [f"UP{row}" if row % 100 == 0 else f"u/f{file}r{row}" for row in range(ROWS)]
        pq.write_table(pa.table({"name": names}), folder / f"{file:02}.parquet")
    return folder


@pytest.fixture
def cluster() -> Iterator[distributed.LocalCluster]:
    """Return a cluster of two processes."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def assert_all_is_there(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == [f"{n:02}.parquet" for n in range(FILES)]
    for file, path in enumerate(sorted(made.iterdir())):
        assert pq.read_table(path)["asked"].to_pylist() == [
            None if row % 100 == 0 else f"docker.io/u/f{file}r{row}" for row in range(ROWS)
        ]


def test_a_folder(given: Path, tmp_path: Path) -> None:
    shares: list[float] = []
    rows: list[int] = []

    def progress(counts: Counts, share: float) -> None:
        rows.append(counts.rows)
        shares.append(share)

    made = tmp_path / "made"
    assert folders.expand(f"{given}", f"{made}", Task(), progress=progress) == ALL
    assert (rows[-1], shares[-1]) == (ALL.rows, 1)
    assert (rows, shares) == (sorted(rows), sorted(shares))
    assert_all_is_there(made)


def test_what_is_whole_is_not_done_again(given: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    broken = [given / "03.parquet", given / "05.parquet"]
    whole = broken[0].read_bytes(), broken[1].read_bytes()
    for path in broken:
        path.write_bytes(b"not yet")
    with pytest.raises(UsageError, match=r"2 of 12 files.*\n.*/03\.parquet: .*\n.*/05\.parquet: "):
        folders.expand(f"{given}", f"{made}", Task())
    before = {path: path.stat().st_mtime_ns for path in made.glob("*.parquet")}
    assert len(before) == FILES - 2
    for path, content in zip(broken, whole, strict=True):
        path.write_bytes(content)
    assert folders.expand(f"{given}", f"{made}", Task()) == ALL
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert_all_is_there(made)


def test_another_task_is_done_anew(given: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    job = folders.Job(
        given=f"{given}/00.parquet", made=f"{made}/00.parquet", mark=f"{made}/00.json"
    )
    made.mkdir()
    assert folders.work(job, Task()).changed == ROWS - INVALID
    assert folders.work(job, Task(rule="none")).changed == 0
    assert pq.read_table(f"{made}/00.parquet")["asked"][1].as_py() == "u/f0r1"


class Bare(MemoryFileSystem):  # type: ignore[misc]
    """A store that makes no folder for what is fetched from it, as s3fs makes none."""

    protocol = "bare"
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path.replace("bare://", "memory://"))
        return stripped

    def get_file(self, rpath: str, lpath: str, **_: object) -> None:
        """Fetch a file, into a folder that is there."""
        with Path(lpath).open("wb") as file:
            file.write(self.cat_file(rpath))


@pytest.fixture
def store() -> Iterator[Bare]:
    """Return a store that knows no folders."""
    fsspec.register_implementation("bare", Bare, clobber=True)
    yield Bare()
    Bare.store.clear()
    Bare.pseudo_dirs[:] = [""]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param("bare://bucket/given", "bare://bucket/made", id="there"),
        pytest.param("bare://bucket/given", "{0}/made", id="from-there"),
        pytest.param("{0}/given", "bare://bucket/made", id="to-there"),
    ],
)
def test_an_object_store(
    given: Path, tmp_path: Path, store: Bare, source: str, target: str
) -> None:
    for file in given.iterdir():
        store.pipe_file(f"/bucket/given/{file.name}", file.read_bytes())
    target = target.format(tmp_path)
    assert folders.expand(source.format(tmp_path), target, Task()) == ALL
    system, made = fsspec.url_to_fs(target)
    assert [path.removeprefix(f"{made}/") for path in sorted(system.find(made))] == [
        f"{n:02}.parquet" for n in range(FILES)
    ]
    with system.open(f"{made}/03.parquet") as file:
        assert pq.read_table(file)["asked"][1].as_py() == "docker.io/u/f3r1"


def test_a_store_that_is_not_reached(store: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    class BotoCoreError(Exception):
        """What s3fs lets through of its client's."""

    def unreached(*_: object) -> None:
        raise BotoCoreError("no such host")

    module = types.ModuleType("botocore.exceptions")
    monkeypatch.setattr(module, "BotoCoreError", BotoCoreError, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Bare, "isdir", unreached)
    with pytest.raises(UsageError, match=r"bare://a\.txt: cannot be read \(no such host\)"):
        folders.expand("bare://a.txt", "bare://b.txt", Task())
    assert store.find("/") == []


def test_a_file_in_an_object_store(store: Bare) -> None:
    store.pipe_file("/bucket/a.txt", b"alpine\n")
    folders.expand("bare://bucket/a.txt", "bare://bucket/b.txt", Task())
    assert store.find("/bucket") == ["/bucket/a.txt", "/bucket/b.txt"]
    assert store.cat_file("/bucket/b.txt") == b"docker.io/library/alpine\n"


@pytest.mark.parametrize(
    ("source", "target", "what"),
    [
        pytest.param("bare:///no/a.txt", "bare:///b/c.txt", "a.txt: there is no", id="none"),
        pytest.param("bare:///b/a.csv", "bare:///b/c.csv", "a.csv: no column", id="fault"),
        pytest.param("bare:///b/a.csv", "bare:///b/a.csv", "a.csv is bare", id="in-is-out"),
        pytest.param("bare:///b", "bare:///b/c", "c is bare:///b, or lies in it", id="within"),
    ],
)
@pytest.mark.usefixtures("store")
def test_what_cannot_be_done_in_an_object_store(source: str, target: str, what: str) -> None:
    Bare().pipe_file("/b/a.csv", b"x\n1\n")
    with pytest.raises(UsageError) as caught:
        folders.expand(source, target, Task(column="z"))
    assert caught.value.what.startswith("bare:///")
    assert what in caught.value.what
    assert Bare().find("/") == ["/b/a.csv"]


def test_a_cluster_one_of_whose_workers_is_killed(
    given: Path, tmp_path: Path, cluster: distributed.LocalCluster
) -> None:
    made = tmp_path / "made"
    pids = [worker.pid for worker in cluster.workers.values()]
    killed: list[int] = []

    def kill_one(_counts: Counts, _share: float) -> None:
        if not killed:
            killed.append(pids[0])
            os.kill(pids[0], signal.SIGKILL)
            time.sleep(0.1)

    counts = folders.expand(f"{given}", f"{made}", Task(), cluster.scheduler_address, kill_one)
    assert killed
    assert counts == ALL
    assert_all_is_there(made)


def test_a_fault_in_a_file_comes_back_from_a_worker(
    given: Path, tmp_path: Path, cluster: distributed.LocalCluster
) -> None:
    (given / "05.parquet").write_bytes(b"nonsense")
    (tmp_path / "made" / "07.parquet").mkdir(parents=True)
    with pytest.raises(UsageError) as caught:
        folders.expand(f"{given}", f"{tmp_path}/made", Task(), cluster.scheduler_address)
    assert "2 of 12 files" in caught.value.what
    assert f"{given}/05.parquet: cannot be read" in caught.value.what
    assert f"{tmp_path}/made/07.parquet is a folder" in caught.value.what
    assert len([path for path in (tmp_path / "made").glob("*.parquet") if path.is_file()]) == 10


def test_a_relative_path_is_the_same_for_a_worker(
    tmp_path: Path, cluster: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("alpine\n")
    monkeypatch.chdir(tmp_path)
    folders.expand("a.txt", "b.txt", Task(), cluster.scheduler_address)
    assert (tmp_path / "b.txt").read_text() == "docker.io/library/alpine\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_a_worker_that_was_given_up_does_not_break_the_next(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpine\n")
    job = folders.Job(
        given=f"{tmp_path}/a.txt", made=f"{tmp_path}/b.txt", apart=f"{tmp_path}/parts"
    )
    while_first_is_at_it: list[Counts] = []

    def progress(_counts: Counts, _share: float) -> None:
        while_first_is_at_it.append(folders.work(job, Task()))

    first = folders.work(job, Task(), progress)
    assert [first] == while_first_is_at_it == [Counts(rows=1, valid=1, changed=1)]
    assert (tmp_path / "b.txt").read_text() == "docker.io/library/alpine\n"


def test_a_cluster_without_workers(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_PATIENCE", 0.5)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        pytest.raises(EngineUnavailable, match="has no workers"),
    ):
        folders.expand(f"{given}", f"{given}-made", Task(), cluster.scheduler_address)


@pytest.mark.parametrize("address", ["nonsense", "foo://x:1", "127.0.0.1:notaport"])
def test_no_address_of_a_scheduler(given: Path, address: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        folders.expand(f"{given}", f"{given}-made", Task(), address)


def test_no_scheduler(given: Path, tmp_path: Path) -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        pytest.raises(EngineUnavailable, match=r"127\.0\.0\.1:9"),
    ):
        folders.expand(f"{given}", f"{tmp_path}/made", Task(), "tcp://127.0.0.1:9")


@pytest.mark.parametrize("url", ["nosuch://bucket/a.txt"])
def test_an_unknown_kind_of_url(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        folders.expand(url, f"{tmp_path}/a.txt", Task())
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("made", "what"),
    [
        pytest.param("given", "or lies in it", id="in-is-out"),
        pytest.param("given/made", "or lies in it", id="out-in-in"),
        pytest.param(".", "or lies in it", id="files-in-in"),
        pytest.param("link/made", "or lies in it", id="through-a-link"),
        pytest.param("file/made", "cannot be written", id="under-a-file"),
    ],
)
def test_folders_that_are_not_written(tmp_path: Path, made: str, what: str) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "a.txt").write_text("alpine\n")
    (tmp_path / "given" / "given").mkdir()
    (tmp_path / "given" / "given" / "b.txt").write_text("alpine\n")
    (tmp_path / "link").symlink_to(tmp_path / "given")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=what):
        folders.expand(f"{tmp_path}/given", f"{tmp_path}/{made}", Task())
    assert content(tmp_path / "given") == {"a.txt": b"alpine\n", "given/b.txt": b"alpine\n"}


def test_no_two_runs_are_at_one_folder(given: Path, tmp_path: Path) -> None:
    with (
        files.alone(tmp_path / "made" / ".kitref", "made"),
        pytest.raises(UsageError, match="another run is at it"),
    ):
        folders.expand(f"{given}", f"{tmp_path}/made", Task())


def test_notes_of_who_wrote_the_files_are_left_out(given: Path, tmp_path: Path) -> None:
    for name in ("_SUCCESS", ".00.parquet.crc"):
        (given / name).touch()
    (given / "_temporary").mkdir()
    assert folders.expand(f"{given}", f"{tmp_path}/made", Task()) == ALL
    assert_all_is_there(tmp_path / "made")


TREE = {
    "year=2023/part-0.txt": "alpine",
    "year=2024/part-0.txt": "redis",
    "year=2024/month=1/part-0.txt": "nginx",
    "part-0.txt": "x/y",
}


def grow(folder: Path) -> None:
    """Write a tree with four files, each of one name, and notes."""
    for path in (*TREE, "_temporary/0/part-0.txt", "year=2023/.part-0.crc", ".git/HEAD"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(TREE.get(path, "UP"))


def assert_tree(made: dict[str, bytes]) -> None:
    assert made == {
        "year=2023/part-0.txt": b"docker.io/library/alpine\n",
        "year=2024/part-0.txt": b"docker.io/library/redis\n",
        "year=2024/month=1/part-0.txt": b"docker.io/library/nginx\n",
        "part-0.txt": b"docker.io/x/y\n",
    }


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {f"{path.relative_to(folder)}": path.read_bytes() for path in files}


def test_folders_in_a_folder(tmp_path: Path) -> None:
    grow(tmp_path / "given")
    counts = folders.expand(f"{tmp_path}/given", f"{tmp_path}/made", Task())
    assert counts == Counts(rows=4, valid=4, changed=4)
    assert_tree(content(tmp_path / "made"))


def test_folders_in_a_folder_by_a_cluster(
    tmp_path: Path, cluster: distributed.LocalCluster
) -> None:
    grow(tmp_path / "given")
    folders.expand(f"{tmp_path}/given", f"{tmp_path}/made", Task(), cluster.scheduler_address)
    assert_tree(content(tmp_path / "made"))


@pytest.mark.parametrize("target", ["bare:///bucket/made", "{0}/made"], ids=["there", "here"])
def test_folders_in_an_object_store(tmp_path: Path, store: Bare, target: str) -> None:
    grow(tmp_path)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        store.pipe_file(f"/bucket/given/{path.relative_to(tmp_path)}", path.read_bytes())
    folders.expand("bare:///bucket/given", target.format(tmp_path), Task())
    prefix = "/bucket/made/"
    there = {path.removeprefix(prefix): store.cat_file(path) for path in store.find(prefix)}
    assert_tree(content(tmp_path / "made") or there)


def test_files_of_one_name_have_marks_of_their_own(tmp_path: Path) -> None:
    grow(tmp_path / "given")
    (tmp_path / "given" / "zz.txt.gz").write_text("no gzip")
    with pytest.raises(UsageError, match=r"1 of 5 files.*\n.*zz\.txt\.gz: cannot be read"):
        folders.expand(f"{tmp_path}/given", f"{tmp_path}/made", Task())
    before = {path: (tmp_path / "made" / path).stat().st_mtime_ns for path in TREE}
    (tmp_path / "given" / "zz.txt.gz").unlink()
    assert folders.expand(f"{tmp_path}/given", f"{tmp_path}/made", Task()).rows == 4
    assert {path: (tmp_path / "made" / path).stat().st_mtime_ns for path in TREE} == before
    assert_tree(content(tmp_path / "made"))


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    given = tmp_path / "given"
    grow(given)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.txt").write_text("a.b/c")
    (given / "to-elsewhere").symlink_to(tmp_path / "elsewhere")
    (given / "latest").symlink_to(given / "year=2024")
    (given / "year=2023" / "up").symlink_to(given)
    (given / "year=2024" / "other").symlink_to(given / "year=2023")
    (tmp_path / "elsewhere" / "self").symlink_to(tmp_path / "elsewhere")
    assert folders.expand(f"{given}", f"{tmp_path}/made", Task()).rows == 5
    made = content(tmp_path / "made")
    assert made.pop("to-elsewhere/b.txt") == b"a.b/c\n"
    assert_tree(made)


@pytest.mark.parametrize("place", ["{0}/given", "bare:///given"], ids=["here", "there"])
@pytest.mark.usefixtures("store")
def test_a_tree_without_a_file_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "given" / "within").mkdir(parents=True)
    (tmp_path / "given" / "_SUCCESS").touch()
    Bare().pipe_file("/given/within/_SUCCESS", b"")
    with pytest.raises(UsageError, match="given: there is no file in it"):
        folders.expand(place.format(tmp_path), f"{tmp_path}/made", Task())
    assert not (tmp_path / "made").exists()


def test_a_run_that_is_stopped_leaves_no_thread_at_work(given: Path, tmp_path: Path) -> None:
    class StoppedError(Exception):
        """What stops the run."""

    def progress(_counts: Counts, _share: float) -> None:
        raise StoppedError

    before = threading.active_count()
    with pytest.raises(StoppedError):
        folders.expand(f"{given}", f"{tmp_path}/made", Task(), progress=progress)
    assert threading.active_count() == before
    assert folders.expand(f"{given}", f"{tmp_path}/made", Task()) == ALL
    assert_all_is_there(tmp_path / "made")


def test_a_name_with_colons_is_that_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a::b.txt").write_text("alpine\n")
    folders.expand(f"{tmp_path}/a::b.txt", f"{tmp_path}/c::d.txt", Task())
    assert (tmp_path / "c::d.txt").read_text() == "docker.io/library/alpine\n"


def test_a_folder_with_something_else_in_it(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "a.doc").write_text("x")
    with pytest.raises(UsageError, match=r"a\.doc"):
        folders.expand(f"{tmp_path}/given", f"{tmp_path}/made", Task())
    assert files.kind(tmp_path / "a.txt.zst") == "text"
