"""Files: every format in and out, exact counts, and a run that goes on where another was killed."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kitref import UnknownRule, UsageError
from kitref.columns import files
from kitref.columns.files import Counts, Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
    seen: list[Counts] = []
    kept: dict[Path, int] = {}

    def progress(counts: Counts, _share: float) -> None:
        seen.append(counts)
        kept.update({path: path.stat().st_mtime_ns for path in whole})

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


def test_parts_of_another_task_are_not_taken(tmp_path: Path) -> None:
    given, made = tmp_path / "names.txt", tmp_path / "made.txt"
    given.write_text("alpine\n")
    parts = tmp_path / ".made.txt.parts"
    parts.mkdir()
    (parts / "task.json").write_text(json.dumps(["none", False, "", 7, 0]))
    (parts / "000000").write_text("wrong\n")
    (parts / "000000.json").write_text("[1, 1, 0, 0]")
    files.expand(given, made, Task())
    assert made.read_text() == "docker.io/library/alpine\n"


@pytest.mark.parametrize(
    ("name", "content", "made", "column"),
    [
        pytest.param("a.txt", b"x", "b.csv", "", id="another-format"),
        pytest.param("a.doc", b"x", "b.doc", "", id="no-format"),
        pytest.param("a.parquet.gz", b"x", "b.parquet.gz", "", id="packed-parquet"),
        pytest.param("a.parquet", b"x", "b.parquet", "", id="no-parquet"),
        pytest.param("a.txt", b"a\xff\n", "b.txt", "", id="no-utf-8"),
        pytest.param("a.txt.gz", b"plain", "b.txt.gz", "", id="no-gzip"),
        pytest.param("a.txt.xz", b"plain", "b.txt.xz", "", id="no-xz"),
        pytest.param("a.csv", b"", "b.csv", "", id="no-header"),
        pytest.param("a.csv", b"x,y\n1\n", "b.csv", "", id="short-row"),
        pytest.param("a.csv", b"x\n1\n", "b.csv", "z", id="no-such-column"),
        pytest.param("a.csv", b"asked\n1\n", "b.csv", "", id="asked-already"),
        pytest.param("a.txt", None, "b.txt", "", id="no-file"),
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
    assert not (tmp_path / made).exists()


def test_a_wrong_rule_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(UnknownRule):
        files.expand(tmp_path / "a.txt", tmp_path / "b.txt", Task(rule="v9.9"))
