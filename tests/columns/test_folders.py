"""Folders, object stores and a Dask cluster: every file once, whoever does it and whoever dies."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import dask.config
import distributed
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kitref import UsageError
from kitref.columns import files, folders
from kitref.columns.files import Counts, Task
from kitref.errors import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    broken = given / "11.parquet"
    whole, kept = broken.read_bytes(), broken.stat()
    broken.write_bytes(b"not yet")
    with pytest.raises(UsageError):
        folders.expand(f"{given}", f"{made}", Task())
    before = {path: path.stat().st_mtime_ns for path in made.glob("*.parquet")}
    assert len(before) == FILES - 1
    broken.write_bytes(whole)
    assert kept.st_size == broken.stat().st_size
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


def test_an_object_store(given: Path) -> None:
    store = fsspec.filesystem("memory")
    store.put(f"{given}/", "/bucket/given/", recursive=True)
    try:
        counts = folders.expand("memory://bucket/given", "memory://bucket/made", Task())
        assert counts == ALL
        made = sorted(store.ls("/bucket/made", detail=False))
        assert made == [f"/bucket/made/{n:02}.parquet" for n in range(FILES)]
        with store.open(made[3]) as file:
            assert pq.read_table(file)["asked"][1].as_py() == "docker.io/u/f3r1"
    finally:
        store.rm("/bucket", recursive=True)


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
    with pytest.raises(UsageError, match=r"05\.parquet"):
        folders.expand(f"{given}", f"{tmp_path}/made", Task(), cluster.scheduler_address)


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


def test_a_folder_with_something_else_in_it(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "a.doc").write_text("x")
    with pytest.raises(UsageError, match=r"a\.doc"):
        folders.expand(f"{tmp_path}/given", f"{tmp_path}/made", Task())
    assert files.kind(tmp_path / "a.txt.zst") == "text"
