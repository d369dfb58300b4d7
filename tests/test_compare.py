"""Old against new: what each rule asks for, what it changes, and how the command shows it."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from kitref import cli, compare, corpus, rule, tables
from kitref.errors import CorpusError, Finding, KitrefError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

STORES = ("docker-graph-20", "docker-graph", "docker-containerd", "podman")
HEX = "1a3f5e7d" * 8


def kitref(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["compare", *arguments])


def compared(text: str, old: str = "9bb26e4c3", new: str = "fixed") -> compare.Comparison:
    (record,) = compare.compare([compare.Name(text=text)], old=rule(old), new=rule(new))
    return record


def asked(text: str, by: str) -> compare.Asked:
    (record,) = compare.ask([compare.Name(text=text)], [rule(by)])
    return record


@pytest.mark.parametrize(
    ("text", "old", "new", "model"),
    [
        pytest.param(
            "bastion.io/foo:local", "docker.io/bastion.io/foo:local", "bastion.io/foo:local",
            ["found", "found", "absent → found", "absent → found"], id="the-bug",
        ),
        pytest.param(
            "alpine", "docker.io/library/alpine", "docker.io/library/alpine", ["found"] * 4,
            id="official",
        ),
        pytest.param(
            "foo/bar/baz", "foo/bar/baz", "docker.io/foo/bar/baz", ["found"] * 4, id="nested",
        ),
        pytest.param(
            "localhost:5000/foo", "docker.io/localhost:5000/foo", "localhost:5000/foo",
            ["refused → found"] * 4, id="port",
        ),
        pytest.param(
            "docker.io/alpine", "docker.io/docker.io/alpine", "docker.io/alpine",
            ["absent → found"] * 4, id="hub-twice",
        ),
        pytest.param(
            "Foo/bar", "docker.io/Foo/bar", "Foo/bar",
            ["refused", "refused → found", "refused → found", "refused"], id="upper-case",
        ),
        pytest.param(
            "foo:", "docker.io/library/foo:", None, ["refused → not-asked"] * 4, id="invalid",
        ),
        pytest.param(
            HEX, f"docker.io/library/{HEX}", None, ["absent → not-asked"] * 4,
            id="invalid-but-not-as-expanded",
        ),
        pytest.param("", "docker.io/library/", None, ["refused → not-asked"] * 4, id="empty"),
    ],
)  # fmt: skip
def test_what_two_rules_ask_for_and_what_it_changes(
    text: str, old: str, new: str | None, model: list[str]
) -> None:
    record = compared(text)
    assert (record.old.asked, record.new.asked) == (old, new)
    assert record.differs == (old != new)
    assert [effect.store for effect in record.model] == list(STORES)
    assert [str(effect) for effect in record.model] == model


def test_an_invalid_name_has_its_reason_and_the_fixed_rule_refuses_it_for_that() -> None:
    record = compared("foo:")
    assert record.fault == "empty tag after ':'"
    assert record.new.note == "the rule refuses the name: empty tag after ':'"
    assert record.old.note == "what is asked for is no valid name"
    assert compared("foo").fault == ""


@pytest.mark.parametrize(
    ("text", "by", "host", "note"),
    [
        pytest.param(
            "foo/bar/baz", "5e42d050a", "foo", "a pull goes to foo, not to docker.io", id="nested"
        ),
        pytest.param("foo/bar/baz", "fixed", "docker.io", "", id="nested-fixed"),
        pytest.param(
            "user/repo", "4496612c7", "user", "a pull goes to user, not to docker.io", id="user"
        ),
        pytest.param(
            "a.io/b", "v1.0.1", "docker.io", "a pull goes to docker.io, not to a.io", id="the-bug"
        ),
        pytest.param("alpine", "none", "docker.io", "", id="through-docker"),
        pytest.param("index.docker.io/a/b", "fixed", "index.docker.io", "", id="alias"),
        pytest.param("a_b.io/foo", "fixed", "a_b.io", "", id="no-domain-in-go"),
        pytest.param("[::1]:5000/foo", "fixed", "[::1]:5000", "", id="ipv6"),
        pytest.param(
            "localhost:1/a", "v1.0.1", None, "what is asked for is no valid name", id="invalid"
        ),
    ],
)
def test_the_host_of_a_pull(text: str, by: str, host: str | None, note: str) -> None:
    record = asked(text, by)
    assert (record.host, record.note) == (host, note)


@pytest.mark.parametrize(
    ("text", "by", "verdict"),
    [
        pytest.param("a.io/b", "9bb26e4c3", "wrong", id="another-image"),
        pytest.param("Foo/bar", "5e42d050a", "wrong", id="no-name"),
        pytest.param("foo/bar/baz", "5e42d050a", "right", id="without-domain"),
        pytest.param("index.docker.io/a", "fixed", "right", id="alias"),
        pytest.param("A", "none", "invalid", id="invalid"),
    ],
)
def test_whether_docker_reads_both_alike(text: str, by: str, verdict: str) -> None:
    assert asked(text, by).verdict == verdict


def test_the_fixed_rule_is_right_about_the_corpus() -> None:
    lines = compare.examine(compare.ask(compare.load(), compare.choose("")))
    invalid = sum(case.status == "invalid" for case in corpus.load())
    valid = len(corpus.load()) - invalid
    assert lines == [
        f"checked: rule fixed asks for {valid} valid names as Docker reads them",
        f"checked: rule fixed refuses {invalid} invalid names",
    ]


@pytest.mark.parametrize(
    ("by", "text", "said"),
    [
        pytest.param("da533297c", "a.io/b", "asks for 'docker.io/a.io/b' (a pull", id="da533297c"),
        pytest.param("9bb26e4c3", "a.io/b", "asks for 'docker.io/a.io/b' (a pull", id="9bb26e4c3"),
        pytest.param("54d9db865", "a.io/b", "asks for 'docker.io/a.io/b' (a pull", id="54d9db865"),
        pytest.param("4496612c7", "u/r", "(a pull goes to u, not to docker.io)", id="4496612c7"),
        pytest.param("c836e54d2", "a.io/b", "asks for 'docker.io/a.io/b' (a pull", id="c836e54d2"),
        pytest.param("5e42d050a", "a/b/c", "Docker reads 'docker.io/a/b/c'", id="5e42d050a-nested"),
        pytest.param("5e42d050a", "Foo/bar", "(what is asked for is no valid", id="5e42d050a-case"),
        pytest.param("none", "foo:\x1b", r"first 'foo:\\x1b'", id="none-invalid"),
    ],
)
def test_every_old_rule_is_a_finding_with_rule_and_name(by: str, text: str, said: str) -> None:
    with pytest.raises(Finding) as raised:
        compare.examine([asked(text, by)], new=by)
    assert f"rule {by} is wrong about 1 of 1 names" in raised.value.what
    assert said in raised.value.what


def test_a_rule_that_is_not_there_is_skipped() -> None:
    assert compare.examine([asked("a", "none")]) == ["skipped: rule fixed is not among the rules"]


def test_rules_are_chosen_by_any_of_their_names() -> None:
    names = [each.name for each in compare.choose(" v1.0.1, 9bb26e4c3 ,fixed,")]
    assert names == ["9bb26e4c3", "fixed"]
    assert len(compare.choose("")) == 8


# Files of names.


@pytest.mark.parametrize(
    ("file", "content", "column", "texts"),
    [
        pytest.param("n.txt", b"a\nb c\n\n\xef\xbb\xbfd", "", ["a", "b c", "\ufeffd"], id="text"),
        pytest.param("names", b"\xef\xbb\xbfa\r\n", "", ["a\r"], id="no-suffix-bom-crlf"),
        pytest.param("n.csv", b"id,image\n1,a/b\n2,\n", "", ["a/b"], id="csv-by-known-name"),
        pytest.param("n.csv", b"image,name\n1,a\n", "", ["a"], id="csv-name-first"),
        pytest.param("n.csv", b"x,y\na,b\n", "", ["a"], id="csv-first"),
        pytest.param("n.CSV", b"x,y\r\na,b\r\n", "y", ["b"], id="csv-given-crlf"),
        pytest.param("n.csv", b'name\n"a\nb"\n\n', "", ["a\nb"], id="csv-line-end-in-cell"),
        pytest.param("n.csv", "name\na\u2028b\n".encode(), "", ["a\u2028b"], id="csv-separator"),
    ],
)
def test_names_are_read(
    tmp_path: Path, file: str, content: bytes, column: str, texts: list[str]
) -> None:
    (tmp_path / file).write_bytes(content)
    names = compare.load(tmp_path / file, column=column)
    assert names == tuple(compare.Name(text=text) for text in texts)


def test_the_names_of_a_corpus_have_families(tmp_path: Path) -> None:
    nested = [case.text for case in corpus.load() if case.family == "nested"]
    assert [name.text for name in compare.load(families="nested")] == nested
    line = json.dumps({field: getattr(corpus.load()[0], field) for field in corpus.Case.__slots__})
    (tmp_path / "own.jsonl").write_text(f"{line}\n")
    assert compare.load(tmp_path / "own.jsonl") == (
        compare.Name(text=corpus.load()[0].text, family=corpus.load()[0].family),
    )


@pytest.mark.parametrize(
    ("file", "content", "column", "said"),
    [
        pytest.param("n.txt", None, "", "n.txt: cannot be read (No such file", id="missing"),
        pytest.param(".", None, "", "cannot be read (Is a directory)", id="directory"),
        pytest.param("a\0b", None, "", "cannot be read (embedded null byte)", id="nul"),
        pytest.param("n.txt", b"a\nb\xffc\n", "", "n.txt:2:2: byte 0xff is no", id="no-utf-8"),
        pytest.param("n.txt", b"\n\n", "", "n.txt: no name in it", id="no-name"),
        pytest.param("n.csv", b"", "", "n.csv:1: no header", id="csv-empty"),
        pytest.param("n.csv", b"name\n", "", "n.csv: no name in it", id="csv-header-alone"),
        pytest.param("n.csv", b"x,y\na,b\n", "z", "n.csv:1: no column 'z'", id="csv-column"),
        pytest.param("n.csv", b"x,name\na,b\nc\n", "", ":3: 1 columns, expected 2", id="csv-row"),
        pytest.param("n.csv", b'name\n"a"b\n', "", "n.csv:2: no CSV", id="csv-quote"),
        pytest.param("n.csv", b"name\n\xff\n", "", "n.csv:2:1: byte 0xff", id="csv-no-utf-8"),
        pytest.param("n.jsonl", b"{}\n", "", "n.jsonl:1: key id is missing", id="corpus"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_with_place_and_remedy(
    tmp_path: Path, file: str, content: bytes | None, column: str, said: str
) -> None:
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(CorpusError) as raised:
        compare.load(tmp_path / file, column=column)
    assert said in raised.value.what
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("file", "options", "said"),
    [
        pytest.param("", {"column": "x"}, "the corpus of the kit has no columns", id="kit"),
        pytest.param("n.txt", {"column": "x"}, "has no columns", id="text"),
        pytest.param("n.txt", {"families": "nested"}, "has no families", id="families"),
        pytest.param("", {"families": "nestd"}, "no family is called 'nestd'", id="family"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(
    file: str, options: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError) as raised:
        compare.load(file, **options)
    assert said in raised.value.what
    assert raised.value.remedy


def test_parquet_without_pyarrow_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "n.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(CorpusError) as raised:
        compare.load(tmp_path / "n.parquet")
    assert raised.value.what.endswith("n.parquet: Parquet needs pyarrow")
    assert raised.value.remedy == "pip install pyarrow, or give the names as CSV or text"


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = importlib.import_module("pyarrow.parquet")
    file = tmp_path / "n.parquet"
    parquet.write_table(arrow.table({"n": [1, 2], "name": ["a", None], "x": ["b", ""]}), file)
    assert compare.load(file) == (compare.Name(text="a"),)
    assert compare.load(file, column="x") == (compare.Name(text="b"),)
    with pytest.raises(CorpusError, match="row 1: 1 is no text"):
        compare.load(file, column="n")
    with pytest.raises(CorpusError, match="no column 'z'"):
        compare.load(file, column="z")
    file.write_bytes(b"no parquet")
    with pytest.raises(CorpusError, match="no Parquet"):
        compare.load(file)


# The command.


@pytest.fixture
def names(tmp_path: Path) -> str:
    """Return a file with a name that changes, one that does not, and an ugly one."""
    file = tmp_path / "names.txt"
    file.write_bytes(b"bastion.io/foo\nalpine\n<b>|`\x1b[31m\n")
    return str(file)


UGLY = "<b>|`\x1b[31m"


def test_json_is_an_object_a_line(names: str) -> None:
    lines = kitref(names, "--format", "json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["bastion.io/foo", "alpine", UGLY]
    assert json.loads(lines[0]) == {
        "name": "bastion.io/foo",
        "family": None,
        "fault": None,
        "differs": True,
        "old": {
            "rule": "9bb26e4c3",
            "asked": "docker.io/bastion.io/foo",
            "reason": "one '/': taken for an image of a Docker Hub user",
            "host": "docker.io",
            "note": "a pull goes to docker.io, not to bastion.io",
        },
        "new": {
            "rule": "fixed",
            "asked": "bastion.io/foo",
            "reason": "first part is a domain: it has a '.'",
            "host": "bastion.io",
            "note": None,
        },
        "model": {
            "docker-graph-20": {"old": "found", "new": "found"},
            "docker-graph": {"old": "found", "new": "found"},
            "docker-containerd": {"old": "absent", "new": "found"},
            "podman": {"old": "absent", "new": "found"},
        },
    }


def test_csv_has_names_as_they_are(names: str) -> None:
    rows = list(csv.DictReader(io.StringIO(kitref(names, "--format", "csv").stdout, newline="")))
    assert [row["name"] for row in rows] == ["bastion.io/foo", "alpine", UGLY]
    assert [row["differs"] for row in rows] == ["yes", "no", "yes"]
    assert rows[0]["old_asked"] == "docker.io/bastion.io/foo"
    assert rows[0]["model.podman.old"] == "absent"
    assert (rows[2]["new_asked"], rows[2]["model.podman.new"]) == ("", "not-asked")


def test_markdown_is_a_table_that_no_name_breaks(names: str) -> None:
    said, _, head, _, *rows = kitref(names, "--format", "md").stdout.splitlines()
    assert said.startswith("The rules differ on 1 of 2 valid names and on 1 of 1 invalid ones.")
    assert "the word of a model" in said
    assert head.startswith("| name | old: 9bb26e4c3 asks for | old: note | new: fixed asks for |")
    assert len(rows) == 3
    assert rows[0].endswith("| yes | found | found | absent → found | absent → found |")
    assert rows[2].startswith(r"| `<b>\|\x60\x1b[31m` | `docker.io/library/<b>")


class _Cells(HTMLParser):
    """The texts of a page's cells."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Open a cell."""
        del attrs
        self.seen.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        """Fill it."""
        if self.cells:
            self.cells[-1] += data.rstrip("\n ")


def test_html_is_a_page_of_its_own_that_no_name_breaks(names: str) -> None:
    page = kitref(names, "--format", "html").stdout
    cells = _Cells()
    cells.feed(page)
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "<b>|`\\x1b[31m" in [cell.strip() for cell in cells.cells]
    assert not cells.seen & {"b", "script", "link", "img"}
    assert "absent → found" in page


def test_html_and_markdown_hold_long_names_whole(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("a" * 5000)
    for form in ("html", "md"):
        assert "a" * 5000 in kitref(str(tmp_path / "long.txt"), "--format", form).stdout


def test_the_table_is_plain_without_a_terminal(names: str) -> None:
    shown = kitref(names).stdout
    assert "\x1b" not in shown
    for said in (r"<b>|`\x1b[31m", "the same", "docker-containerd, podman: absent → found"):
        assert said in shown
    assert "The rules differ on 1 of 2 valid names" in shown


def test_only_changed_leaves_out_the_rest(names: str) -> None:
    lines = kitref(names, "--only-changed", "--format", "json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["bastion.io/foo", UGLY]


@pytest.mark.parametrize("form", ["table", "csv", "json", "md", "html"])
def test_every_format_can_do_with_nothing_to_show(form: str) -> None:
    same = ["--old", "v1.0.1", "--new", "9bb26e4c3", "--family", "nested", "--only-changed"]
    result = kitref(*same, "--check", "--format", form)
    assert (result.exit_code, result.stderr) == (0, "")
    if form == "csv":
        # As of something to show: a line of names, and nothing else.
        header = kitref("--family", "nested", "--format", form).stdout.splitlines()[0]
        assert header.startswith("family,name,fault,differs,old_rule,old_asked,old_host,old_note,")
        assert result.stdout == f"{header}\n"


@pytest.mark.parametrize("form", ["table", "csv", "json", "md", "html"])
def test_every_format_can_show_the_whole_corpus(form: str) -> None:
    result = kitref("--format", form)
    assert (result.exit_code, result.stderr) == (0, "")
    control = {letter for letter in result.stdout if not letter.isprintable()} - {"\n"}
    assert form == "csv" or not control


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param([], 0, id="only-shows"),
        pytest.param(["--check"], 1, id="check-differs"),
        pytest.param(["--check", "--only-changed"], 1, id="check-only-changed"),
        pytest.param(["--check", "--old", "fixed"], 0, id="check-same"),
        pytest.param(["--old", "nothing"], 2, id="unknown-rule"),
        pytest.param(["--family", "nothing"], 2, id="families-of-a-text"),
        pytest.param(["--column", "x"], 2, id="column-of-a-text"),
        pytest.param(["--format", "xml"], 2, id="unknown-format"),
    ],
)
def test_the_exit_code(names: str, arguments: list[str], code: int) -> None:
    result = kitref(names, *arguments)
    assert result.exit_code == code
    assert bool(result.stderr) == (code == 2)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_reader_that_goes_away_is_no_finding(form: str, unbuffered: str) -> None:
    command = [sys.executable, "-m", "kitref", "compare", "--format", form]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    ) as run:
        assert run.stdout
        assert run.stderr
        run.stdout.read(1)
        run.stdout.close()
        assert (run.stderr.read(), run.wait(timeout=60)) == (b"", 141)


def test_a_file_that_is_not_there_ends_with_2() -> None:
    result = kitref("/nowhere/names.txt")
    assert result.exit_code == 2
    assert result.stderr.startswith("kitref: /nowhere/names.txt: cannot be read (No such file")


# What the notebook shows.


def test_the_figures_of_a_rule() -> None:
    given = [
        compare.Name(text=text, family=family)
        for text, family in (("a.io/b", "x"), ("a/b/c", "x"), ("alpine", "y"), ("foo:", "z"))
    ]
    chosen = compare.choose("9bb26e4c3,fixed")
    table = tables.expansions(compare.ask(given, chosen))
    counts = tables.wrongly(table)
    assert counts.to_dict("index") == {
        "x": {"names": 2, "9bb26e4c3": 1, "fixed": 0},
        "y": {"names": 1, "9bb26e4c3": 0, "fixed": 0},
        "all": {"names": 3, "9bb26e4c3": 1, "fixed": 0},
    }
    assert list(tables.verdicts(table).loc["9bb26e4c3"]) == [3, 1, 2, 1, 1]
    assert list(tables.verdicts(table).loc["fixed"]) == [3, 0, 0, 1, 0]
    assert tables.side_by_side(table)["9bb26e4c3"].to_list() == [
        "✗ docker.io/…", "! as typed", "docker.io/library/…", "✗ docker.io/library/…",
    ]  # fmt: skip
    assert tables.side_by_side(table)["fixed"].to_list() == [
        "as typed", "docker.io/…", "docker.io/library/…", "refused",
    ]  # fmt: skip


def test_no_valid_name_is_no_row_but_the_sum() -> None:
    table = tables.expansions(compare.ask([compare.Name(text="foo:")], compare.choose("")))
    assert tables.wrongly(table).index.to_list() == ["all"]


def test_a_rule_is_carried_from_its_first_release_to_its_last() -> None:
    carried = tables.releases(compare.choose("9bb26e4c3,c836e54d2,da533297c"))
    assert carried["LinuxKit"].to_list() == ["v0.8.1 to v1.0.1", "no release", "v0.8"]
    assert carried["Nitro CLI"].to_list() == ["v1.2.1 to v1.3.1", "no release", "no release"]


def test_the_error_of_an_unknown_rule_is_the_kits() -> None:
    with pytest.raises(KitrefError):
        compare.choose("fixed,nothing")
