"""Files: every format in and out, exact counts, and a run that goes on where another was killed."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kitref
from kitref import UnknownRule, UsageError
from kitref.columns import files
from kitref.columns.files import Counts, Task

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ["alpine", "", "UP", "a.b/c:d", "x/y"]
ASKED = ["docker.io/library/alpine", None, None, "a.b/c:d", "docker.io/x/y"]
COUNTS = Counts(rows=5, valid=3, invalid=1, changed=2)
PACKERS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "": (bytes, bytes),
    ".gz": (gzip.compress, gzip.decompress),
    ".bz2": (bz2.compress, bz2.decompress),
    ".xz": (lzma.compress, lzma.decompress),
    ".zst": (
        lambda text: pa.compress(text, "zstd", asbytes=True),
        lambda text: pa.CompressedInputStream(pa.BufferReader(text), "zstd").read(),
    ),
}


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("part", [2, 1000], ids=["parts", "one-part"])
def test_text(tmp_path: Path, suffix: str, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PART", part)
    monkeypatch.setattr(files, "_BLOCK", 12)
    pack, unpack = PACKERS[suffix]
    given, made = tmp_path / f"names.txt{suffix}", tmp_path / f"made.txt{suffix}"
    given.write_bytes(pack("\n".join(NAMES).encode()))
    assert files.expand(given, made, Task()) == COUNTS
    assert unpack(made.read_bytes()).decode() == "".join(f"{name or ''}\n" for name in ASKED)
    assert sorted(path.name for path in tmp_path.iterdir()) == [made.name, given.name]


@pytest.mark.parametrize("suffix", PACKERS)
def test_csv(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PART", 2)
    pack, unpack = PACKERS[suffix]
    given, made = tmp_path / f"names.csv{suffix}", tmp_path / f"made.csv{suffix}"
    rows = [["note", "image"], *(['two\nlines, "quoted"', name] for name in NAMES)]
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    given.write_bytes(pack(text.getvalue().encode()))
    assert files.expand(given, made, Task()) == COUNTS
    read = list(csv.reader(io.StringIO(unpack(made.read_bytes()).decode(), newline="")))
    assert read == [[*row, asked or ""] for row, asked in zip(rows, ["asked", *ASKED], strict=True)]


@pytest.mark.parametrize("part", [2, 1000], ids=["parts", "one-part"])
@pytest.mark.parametrize("encoded", [True, False], ids=["dictionary", "plain"])
def test_parquet(tmp_path: Path, part: int, encoded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PART", part)
    given, made = tmp_path / "names.parquet", tmp_path / "made.parquet"
    column = pa.array(NAMES)
    table = pa.table({"n": range(5), "image": column.dictionary_encode() if encoded else column})
    pq.write_table(table, given, row_group_size=3)
    assert files.expand(given, made, Task()) == COUNTS
    read = pq.read_table(made)
    groups = [pq.ParquetFile(made).read_row_group(at) for at in range(2 if part == 2 else 1)]
    assert pa.concat_tables(groups).equals(read)
    assert read.column_names == ["n", "image", "asked"]
    assert read["n"].to_pylist() == list(range(5))
    assert (read["image"].to_pylist(), read["asked"].to_pylist()) == (NAMES, ASKED)


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".parquet"])
def test_a_file_without_a_name(tmp_path: Path, suffix: str) -> None:
    given, made = tmp_path / f"names{suffix}", tmp_path / f"made{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table({"name": pa.array([], pa.string())}), given)
    else:
        given.write_text("name\n" if suffix == ".csv" else "")
    assert files.expand(given, made, Task()) == Counts()
    assert made.read_bytes() == {".txt": b"", ".csv": b'"name","asked"\n'}.get(
        suffix, made.read_bytes()
    )


def test_the_column_the_rule_and_the_tag(tmp_path: Path) -> None:
    given, made = tmp_path / "names.csv", tmp_path / "made.csv"
    given.write_text("image,other\nx,a.b/c\n")
    task = Task(rule="c836e54d2", with_tag=True, column="other")
    assert files.expand(given, made, task) == Counts(rows=1, valid=1, changed=1)
    assert made.read_text().splitlines()[1] == '"x","a.b/c","docker.io/a.b/c:latest"'


@pytest.mark.parametrize("suffix", [".txt.gz", ".csv.zst", ".parquet"])
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, suffix: str) -> None:
    given, made = tmp_path / f"names{suffix}", tmp_path / f"made{suffix}"
    names = [f"user/image{n}" if n % 7 else f"UP{n}" for n in range(60_000)]
    write(given, names)
    code = (
        "import sys, pathlib; from kitref.columns import files\n"
        "files._PART, files._BLOCK = 1000, 20000\n"
        "files.expand(*map(pathlib.Path, sys.argv[1:]), files.Task())"
    )
    run = subprocess.Popen([sys.executable, "-c", code, f"{given}", f"{made}"])
    parts = tmp_path / f".{made.name}.parts"
    while not (parts / "000002.json").exists() and run.poll() is None:
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not made.exists()
    whole = {path: path.stat().st_mtime_ns for path in parts.glob("*.json")}
    (parts / "000099.half").write_text("what it was at")
    with (parts / "whole").open("ab") as file:
        file.write(b"what it was at")
    seen: list[Counts] = []
    kept: dict[Path, int] = {}

    def progress(counts: Counts, _share: float) -> None:
        seen.append(counts)
        kept.update({path: path.stat().st_mtime_ns for path in whole})
        assert not (parts / "000099.half").exists()

    counts = files.expand(given, made, Task(), progress)
    assert counts == Counts(rows=60_000, valid=51_428, invalid=8_572, changed=51_428)
    assert read_asked(made) == [None if n.startswith("UP") else f"docker.io/{n}" for n in names]
    assert kept == whole
    assert seen[0].rows > 2000
    assert not parts.exists()


def write(path: Path, names: list[str]) -> None:
    table = pa.table({"name": names})
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=2500)
        return
    head = "name\n" if ".csv" in path.suffixes else ""
    pack = PACKERS[path.suffix][0]
    path.write_bytes(pack((head + "\n".join(names) + "\n").encode()))


def read_asked(path: Path) -> list[str | None]:
    if path.suffix == ".parquet":
        asked: list[str | None] = pq.read_table(path)["asked"].to_pylist()
        return asked
    text = PACKERS[path.suffix][1](path.read_bytes()).decode()
    if ".csv" in path.suffixes:
        return [row["asked"] or None for row in csv.DictReader(io.StringIO(text))]
    return [line or None for line in text.split("\n")[:-1]]


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="this"),
        pytest.param({0: 1}, id="older-format"),
        pytest.param({1: "0.0.1"}, id="older-version"),
        pytest.param({2: "elsewhere.txt"}, id="another-file"),
        pytest.param({3: "none"}, id="another-rule"),
        pytest.param({4: True}, id="with-tag"),
        pytest.param({6: 99}, id="another-size"),
        pytest.param({7: 99}, id="another-time"),
    ],
)
def test_only_parts_of_this_very_task_are_taken(tmp_path: Path, changed: dict[int, object]) -> None:
    given, made = tmp_path / "names.txt", tmp_path / "made.txt"
    given.write_text("alpine\nb\n")
    parts = tmp_path / ".made.txt.parts"
    parts.mkdir()
    size, time_of = given.stat().st_size, given.stat().st_mtime_ns
    of = [2, kitref.__version__, f"{given}", "fixed", False, "", size, time_of]
    of = [changed.get(at, each) for at, each in enumerate(of)]
    (parts / "task").write_text(json.dumps(of))
    (parts / "whole").write_text("taken\nand cut")
    (parts / "000000.json").write_text("[1, 1, 0, 0, 6]")
    counts = files.expand(given, made, Task())
    first = "docker.io/library/alpine" if changed else "taken"
    assert made.read_text() == f"{first}\ndocker.io/library/b\n"
    assert counts == Counts(rows=2, valid=2, changed=2 if changed else 1)


def test_a_part_that_is_not_all_there_is_not_taken(tmp_path: Path) -> None:
    given, made = tmp_path / "names.txt", tmp_path / "made.txt"
    given.write_text("alpine\nb\n")

    class KilledError(Exception):
        """What ends the first run, and leaves its parts."""

    def progress(_counts: Counts, _share: float) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        files.expand(given, made, Task(), progress)
    (tmp_path / ".made.txt.parts" / "whole").write_text("docker")
    assert files.expand(given, made, Task()) == Counts(rows=2, valid=2, changed=2)
    assert made.read_text() == "docker.io/library/alpine\ndocker.io/library/b\n"


def test_a_part_is_one_for_its_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BATCH", 10)
    monkeypatch.setattr(files, "_PART_BYTES", 1000)
    table = pa.table({"name": ["alpine"] * 100, "more": ["x" * 100] * 100})
    pq.write_table(table, tmp_path / "a.parquet")
    rows: list[int] = []
    files.expand(
        tmp_path / "a.parquet", tmp_path / "b.parquet", Task(),
        lambda counts, _share: rows.append(counts.rows),
    )  # fmt: skip
    assert rows == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert pq.read_table(tmp_path / "b.parquet").drop("asked").equals(table)


@pytest.mark.parametrize(
    ("name", "content", "made", "column"),
    [
        pytest.param("a.txt", b"x", "b.csv", "", id="another-format"),
        pytest.param("a.doc", b"x", "b.doc", "", id="no-format"),
        pytest.param("a.parquet.gz", b"x", "b.parquet.gz", "", id="packed-parquet"),
        pytest.param("a.parquet", b"x", "b.parquet", "", id="no-parquet"),
        pytest.param("a.csv", b"\xff\n1\n", "b.csv", "", id="no-utf-8-in-the-header"),
        pytest.param("a.txt.gz", b"plain", "b.txt.gz", "", id="no-gzip"),
        pytest.param("a.txt.xz", b"plain", "b.txt.xz", "", id="no-xz"),
        pytest.param("a.csv", b"", "b.csv", "", id="no-header"),
        pytest.param("a.csv", b"x,y\n1\n", "b.csv", "", id="short-row"),
        pytest.param("a.csv", b"x\n1\n", "b.csv", "z", id="no-such-column"),
        pytest.param("a.csv", b"asked\n1\n", "b.csv", "", id="asked-already"),
        pytest.param("a.csv", b"x,x\n1,2\n", "b.csv", "", id="two-of-one-name"),
        pytest.param("a.txt", None, "b.txt", "", id="no-file"),
        pytest.param("a.txt", b"x", "a.txt", "", id="in-is-out"),
        pytest.param("a.txt", b"x", "a.txt/b.txt", "", id="out-under-a-file"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, name: str, content: bytes | None, made: str, column: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        files.expand(tmp_path / name, tmp_path / made, Task(column=column))
    assert caught.value.remedy
    assert caught.value.what.startswith(f"{tmp_path}/")
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert left == ({} if content is None else {name: content})


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param([], id="none"),
        pytest.param(["name", "name"], id="two-of-one-name"),
    ],
)
def test_columns_that_are_not_the_names(tmp_path: Path, columns: list[str]) -> None:
    table = pa.Table.from_arrays([pa.array(["a"])] * len(columns), names=columns)
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"a\.parquet: .* column"):
        files.expand(tmp_path / "a.parquet", tmp_path / "b.parquet", Task())


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to], ids=["soft", "hard"])
def test_a_link_to_what_is_read_is_not_written(
    tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    given, made = tmp_path / "a.txt", tmp_path / "b.txt"
    given.write_text("alpine\n")
    link(made, given)
    with pytest.raises(UsageError, match="the file that is read"):
        files.expand(given, made, Task())
    assert given.read_text() == "alpine\n"


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpine\n")
    (tmp_path / "b.txt").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        files.expand(tmp_path / "a.txt", tmp_path / "b.txt", Task())


@pytest.mark.parametrize(
    ("name", "content", "made"),
    [
        pytest.param("a.txt", b"a\xff\nb\n", b"\ndocker.io/library/b\n", id="text"),
        pytest.param(
            "a.csv", b"x\na\xff\nb\n",
            b'"x","asked"\n"a\xff",\n"b","docker.io/library/b"\n', id="csv",
        ),
    ],
)  # fmt: skip
def test_what_is_no_utf_8_is_an_invalid_name(
    tmp_path: Path, name: str, content: bytes, made: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    counts = files.expand(tmp_path / name, tmp_path / f"made-{name}", Task())
    assert counts == Counts(rows=2, valid=1, invalid=1, changed=1)
    assert (tmp_path / f"made-{name}").read_bytes() == made


def test_an_old_rule_leaves_bytes_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\xff\n")
    counts = files.expand(tmp_path / "a.txt", tmp_path / "b.txt", Task(rule="none"))
    assert counts == Counts(rows=1, valid=1)
    assert (tmp_path / "b.txt").read_bytes() == b"a\xff\n"


def test_an_empty_line_of_a_single_column_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name\na\n\nb\n")
    counts = files.expand(tmp_path / "a.csv", tmp_path / "b.csv", Task())
    assert counts == Counts(rows=3, valid=2, changed=2)
    assert (tmp_path / "b.csv").read_text().splitlines()[2] == '"",'


def test_a_column_of_nulls_alone(tmp_path: Path) -> None:
    pq.write_table(pa.table({"name": pa.nulls(2)}), tmp_path / "a.parquet")
    assert files.expand(tmp_path / "a.parquet", tmp_path / "b.parquet", Task()) == Counts(rows=2)
    assert pq.read_table(tmp_path / "b.parquet")["asked"].to_pylist() == [None, None]


def test_a_suffix_in_upper_case(tmp_path: Path) -> None:
    (tmp_path / "A.TXT.GZ").write_bytes(gzip.compress(b"alpine\n"))
    files.expand(tmp_path / "A.TXT.GZ", tmp_path / "b.txt", Task())
    assert (tmp_path / "b.txt").read_text() == "docker.io/library/alpine\n"


def test_no_two_runs_are_at_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpine\n")
    parts = tmp_path / ".b.txt.parts"
    with files.alone(parts, "b.txt"):
        (parts / "000000.json").write_text("of the other run")
        with pytest.raises(UsageError, match=r"b\.txt: another run is at it"):
            files.expand(tmp_path / "a.txt", tmp_path / "b.txt", Task())
        assert (parts / "000000.json").read_text() == "of the other run"
    files.expand(tmp_path / "a.txt", tmp_path / "b.txt", Task())
    assert (tmp_path / "b.txt").read_text() == "docker.io/library/alpine\n"


def test_what_fails_elsewhere_is_no_fault_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpine\n")

    def progress(_counts: Counts, _share: float) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        files.expand(tmp_path / "a.txt", tmp_path / "b.txt", Task(), progress)


def test_nothing_is_left_where_there_is_no_room(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpine\n" * 1000)
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, most))
    try:
        with pytest.raises(UsageError, match=r"b\.txt: cannot be written"):
            files.expand(tmp_path / "a.txt", tmp_path / "b.txt", Task())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_wrong_rule_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(UnknownRule):
        files.expand(tmp_path / "a.txt", tmp_path / "b.txt", Task(rule="v9.9"))
