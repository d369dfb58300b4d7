"""Notebooks run headless: each ends in its own way, and the others go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from kitref import errors, runs

DECLARED = (
    'name: str = "x"  # what it is\ncount: int = 1\nshare: float = 0.5\nwhether: bool = False'
)


def _notebook(path: Path, *cells: str) -> Path:
    nb = nbformat.v4.new_notebook()
    nb.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nb.cells.append(nbformat.v4.new_code_cell(DECLARED, metadata={"tags": ["parameters"]}))
    nb.cells.extend(map(nbformat.v4.new_code_cell, cells))
    nbformat.write(nb, path)
    return path


def _job(folder: Path, title: str, *cells: str, **parameters: object) -> runs.Job:
    return runs.Job(
        title=title,
        notebook=_notebook(folder / f"{title}.ipynb", *cells),
        output=folder / f"{title}.out.ipynb",
        parameters=parameters,
    )


def test_each_ends_in_its_own_way(tmp_path: Path) -> None:
    endings = {
        "passes": "assert (name, count) == ('y', 2)",
        "finds": "from kitref.errors import Finding\nraise Finding('alpine is not found')",
        "raises": "1 / 0",
        "hangs": "import time\ntime.sleep(600)",
        "dies": "import os\nos._exit(3)",
    }
    jobs = [_job(tmp_path, title, cell, name="y", count=2) for title, cell in endings.items()]
    states: list[str] = []
    with runs.environment(tmp_path), runs.Crew(tmp_path, cell_seconds=8) as crew:
        results = crew.run(jobs, report=lambda job, state: states.append(f"{job.title} {state}"))
    assert [(r.job.title, r.status, r.reason) for r in results] == [
        ("passes", "passed", ""),
        ("finds", "failed", "Finding: alpine is not found"),
        ("raises", "error", "ZeroDivisionError: division by zero"),
        ("hangs", "error", "a cell took longer than 8 s"),
        ("dies", "error", "its kernel died"),
    ]
    assert "passes cell 3 of 3" in states
    assert any(state.startswith("passes passed in ") for state in states)
    assert all(job.output.exists() for job in jobs[:3])


KILLED = """
import sys, time
from pathlib import Path
from kitref import runs
if __name__ == "__main__":
    notebook = Path(sys.argv[1])
    output = notebook.with_suffix(".out.ipynb")
    job = runs.Job(title="t", notebook=notebook, output=output, parameters={})
    with runs.environment(notebook.parent), runs.Crew(notebook.parent) as crew:
        crew.run([job], report=lambda job, state: print(state, flush=True))
"""


def test_kernels_are_there_before_their_notebooks_and_gone_after_them(tmp_path: Path) -> None:
    def kernels() -> list[Path]:
        return [
            process
            for process in Path("/proc").glob("[0-9]*")
            if f"{tmp_path}/".encode() in _command(process)
        ]

    with runs.environment(tmp_path), runs.Crew(tmp_path, at_once=2):
        deadline = time.monotonic() + 60
        while len(kernels()) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(kernels()) == 2
    assert kernels() == []


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""  # it has ended


def test_a_killed_run_leaves_no_kernel(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    notebook = _notebook(
        tmp_path / "n.ipynb",
        "import os, pathlib, time",
        f"pathlib.Path({str(said)!r}).write_text(str(os.getpid()))\ntime.sleep(600)",
    )
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    with subprocess.Popen([sys.executable, script, notebook], stdout=subprocess.DEVNULL) as run:
        for _ in range(300):
            if said.exists() and said.read_text():
                break
            time.sleep(0.1)
        kernel = Path("/proc") / said.read_text()
        assert kernel.exists()
        run.kill()
    for _ in range(150):
        if not kernel.exists():
            return
        time.sleep(0.1)
    pytest.fail("the kernel still runs")


def test_parameters_are_read_as_their_types(tmp_path: Path) -> None:
    notebook = _notebook(tmp_path / "n.ipynb")
    given = {"name": "7", "count": "7", "share": "0.25", "whether": "True"}
    assert runs.check_parameters(notebook, given) == {
        "name": "7",
        "count": 7,
        "share": 0.25,
        "whether": True,
    }


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        pytest.param({"nosuch": "x"}, "no parameter 'nosuch': it has count, name", id="unknown"),
        pytest.param({"count": "many"}, "count takes int, not 'many'", id="int"),
        pytest.param({"share": "half"}, "share takes float, not 'half'", id="float"),
        pytest.param({"whether": "maybe"}, "whether takes bool, not 'maybe'", id="bool"),
        pytest.param({"name": 7}, "name takes str, not 7", id="str"),
    ],
)
def test_wrong_parameters_are_refused(
    tmp_path: Path, parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(errors.UsageError, match=message):
        runs.check_parameters(_notebook(tmp_path / "n.ipynb"), parameters)


def test_the_environment_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", "/mine")
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    with runs.environment(tmp_path, KITREF_X="1"):
        assert os.environ["IPYTHONDIR"].startswith(str(tmp_path))
        assert os.environ["KITREF_X"] == "1"
    assert os.environ["IPYTHONDIR"] == "/mine"
    assert {"MPLCONFIGDIR", "KITREF_X"}.isdisjoint(os.environ)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    latest = tmp_path / "latest"

    def write(word: str, error: Exception | None = None) -> None:
        with runs.fresh(latest) as partial:
            (partial / word).touch()
            (partial / "results.json").write_text('{"kit": {"name": "kitref"}}')
            if error:
                raise error

    write("first")
    with pytest.raises(OSError, match="disk"):
        write("second", OSError("disk"))
    assert {p.name for p in tmp_path.rglob("*")} == {"latest", "first", "results.json"}
    write("third")
    assert {p.name for p in tmp_path.rglob("*")} == {"latest", "third", "results.json"}


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    latest = tmp_path / "latest"
    (tmp_path / ".latest.partial" / "folder").mkdir(parents=True)
    (tmp_path / ".latest.partial" / "of-a-run-that-died").touch()
    with runs.fresh(latest) as partial:
        assert list(partial.iterdir()) == []
        (partial / "first").touch()
        with pytest.raises(errors.UsageError, match="another run"), runs.fresh(latest):
            pytest.fail("both write to it")
    assert [p.name for p in tmp_path.rglob("*")] == ["latest", "first"]


def test_an_empty_folder_and_what_a_link_leads_to_are_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with runs.fresh(tmp_path / "link") as partial:
        (partial / "made").touch()
    assert (tmp_path / "link").is_symlink()
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["made"]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        pytest.param("mine", "is not the folder of a run", id="files"),
        pytest.param("link", "mine would be replaced", id="link"),
        pytest.param("other", "is not the folder of a run", id="another's-results"),
        pytest.param("broken", "is not the folder of a run", id="no-json"),
        pytest.param(".", "is not the folder of a run", id="here"),
        pytest.param("..", "is not the folder of a run", id="parent"),
        pytest.param("/", "is not the folder of a run", id="root"),
        pytest.param("mine/thesis.txt", "Not a directory", id="file"),
        pytest.param("mine/thesis.txt/latest", "Not a directory", id="in-a-file"),
        pytest.param("/proc/latest", "cannot be written", id="not-writable"),
    ],
)
def test_nothing_but_a_run_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, message: str
) -> None:
    here = tmp_path / "parent" / "here"
    for name, content in {
        "mine/thesis.txt": "years",
        "other/results.json": '{"kit": "climbing"}',
        "broken/results.json": "{",
    }.items():
        (here / name).parent.mkdir(parents=True)
        (here / name).write_text(content)
    (here / "link").symlink_to("mine")
    monkeypatch.chdir(here)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(errors.UsageError, match=message), runs.fresh(Path(folder)):
        pytest.fail("something would be run")
    assert sorted(tmp_path.rglob("*")) == before
