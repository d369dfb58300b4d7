"""report.html: what it says, to whom, and that it needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pandas as pd
import pytest

from kitref import tables
from kitref.report import html
from kitref.report.record import Record
from tests.report.test_junit import HOSTILE, IMAGE, NEW, NOT_ASKED, SEVERAL, SHOWN, WHY, make

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VOID = {"meta", "col", "input", "br"}


class _Element:
    """An element of the page, as a browser would have it."""

    def __init__(self, tag: str, attributes: dict[str, str | None]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[_Element | str] = []

    def all(self, tag: str) -> list[_Element]:
        return [element for element in self.walk() if element.tag == tag]

    def walk(self) -> Iterator[_Element]:
        for child in self.children:
            if isinstance(child, _Element):
                yield child
                yield from child.walk()

    def get(self, name: str) -> str:
        return self.attributes.get(name) or ""

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


class _Page(HTMLParser):
    """The page as a tree; a tag that is not closed, or not opened, is refused."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = _Element("", {})
        self.open = [self.root]
        self.feed(text)
        self.close()
        assert self.open == [self.root]
        elements = [element for element in self.root.walk() if element.get("id")]
        self.ids = {element.get("id"): element for element in elements}
        assert len(self.ids) == len(elements)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = _Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)

    def rows(self, table: str) -> list[list[str]]:
        (body,) = self.ids[table].all("tbody")
        return [
            [cell.words for cell in row.walk() if cell.tag in ("th", "td")]
            for row in body.all("tr")
        ]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return make(tmp_path)


@pytest.fixture
def page(record: Record) -> _Page:
    html.write(record, record.folder / "report.html")
    return _Page((record.folder / "report.html").read_text("utf-8"))


def _of(page: _Page, name: str) -> _Element:
    (section,) = [s for s in page.root.all("section") if s.get("aria-labelledby") == name]
    return section


def test_the_summary(page: _Page) -> None:
    summary = _of(page, "summary")
    terms = dict(
        zip(
            [term.words for term in summary.all("dt")],
            [said.words for said in summary.all("dd")],
            strict=True,
        )
    )
    assert terms["Started"] == "2026-01-02T03:04:05+00:00"
    assert terms["Ended"] == "2026-01-02T03:05:05+00:00"
    assert terms["Exit code"] == "4: a notebook ended in an error"
    assert terms["Required, not had"] == "docker-sid/graph"
    counts = {
        table.all("caption")[0].words: table.all("tbody")[0] for table in summary.all("table")
    }
    assert {name: [row.words for row in body.all("tr")] for name, body in counts.items()} == {
        "Notebook runs": ["✓ passed1", "✗ failed1", "‼ error1", "○ skipped1"],
        "Look-ups": ["✓ found1", "✗ absent1", "! refused1", "? not-asked1"],
        "Answers, compared with the baseline": [
            "= same1", "≠ changed2", "∅ gone1", "+ new2", "? not-asked1",
        ],
    }  # fmt: skip


def test_engines(page: _Page) -> None:
    assert page.rows("table-engines") == [
        ["docker-trixie/containerd", "✓ available", "docker", "26.1.5", "1.24 to 1.45",
         "containerd", "docker.io <trixie>", "no", ""],
        ["docker-bookworm/graph", "✓ available", "docker", "20.10.24", "1.24 to 1.45", "graph",
         "docker.io <trixie>", "no", ""],
        ["docker-sid/graph", "○ skipped", "", "", "", "graph", "", "yes", "apt could not fetch it"],
    ]  # fmt: skip


def test_failures_and_what_reproduces_them(page: _Page) -> None:
    articles = _of(page, "failures").all("article")
    assert [article.all("h4")[0].words for article in articles] == [
        "‼ error 01-reproduce on docker-trixie",
        "✗ failed 03-engines on all engines",
    ]
    assert [pre.text for pre in articles[1].all("pre")] == [
        "Finding: rule fixed\n  has <no> image\\x08",
        "kitref regress --engine docker-trixie/containerd --engine docker-bookworm/graph",
        f"papermill notebooks/03-engines.ipynb out.ipynb -p engines {SEVERAL}",
    ]
    found, absent = f"{IMAGE}: found", f"docker.io/{IMAGE}: absent"
    live, command = "docker-trixie/containerd", "kitref regress --engine docker-trixie/containerd"
    assert page.rows("table-differing") == [
        [name, status, was, now, engine, why, command, "fixed", tagged_as, "docker-containerd"]
        for name, tagged_as, status, was, now, engine, why in (
            (IMAGE, "the same", "≠ changed", found, absent, f"{live} 26.1.5", WHY),
            (SHOWN, "the same", "≠ changed", found, absent, f"{live} 26.1.5", WHY),
            (IMAGE, f"docker.io/{IMAGE}", "∅ gone", found, "none", "none", WHY),
            (IMAGE, "the same", "+ new", "none", absent, f"{live} 26.1.5", NEW),
        )
    ]


def test_what_neither_passed_nor_failed(page: _Page) -> None:
    assert [(row[1], row[5]) for row in page.rows("table-neither")] == [
        ("+ new", NEW),
        ("? not-asked", NOT_ASKED),
    ]


def test_links_lead_to_the_executed_notebooks(page: _Page, record: Record) -> None:
    links = [link.get("href") for link in page.ids["table-notebooks"].all("a")]
    assert links == [f"notebooks/{name}%231.ipynb" for name in (
        "01-reproduce.passed", "01-reproduce.error", "03-engines.failed",
    )]  # fmt: skip
    assert all((record.folder / unquote(link)).is_file() for link in links)
    assert [row[3] for row in page.rows("table-notebooks")][2] == "none"


def test_the_matrices(page: _Page) -> None:
    tables_ = _of(page, "matrix").all("table")
    said = [
        [cell.words for cell in t.walk() if cell.tag in ("caption", "th", "td")] for t in tables_
    ]
    assert said == [
        [f"Is {IMAGE} found?", "engine", "version", "rule 9bb26e4c3", "rule fixed",
         "docker-trixie/containerd", "26.1.5", "✗ absent", "✓ found"],
        ["All 4 look-ups, by engine and rule", "engine", "version", "rule 9bb26e4c3", "rule fixed",
         "docker-trixie/containerd", "26.1.5", "✗ absent", "✓ found",
         "docker-bookworm/graph", "20.10.24", "? not-asked", "! refused"],
    ]  # fmt: skip


def test_lookups(page: _Page) -> None:
    assert page.rows("table-lookups")[2:] == [
        [IMAGE, IMAGE, "9bb26e4c3", f"docker.io/{IMAGE}", "? not-asked", "docker-bookworm",
         "20.10.24", "graph", "timed out"],
        [SHOWN, SHOWN, "fixed", f"docker.io/{SHOWN}", "! refused", "docker-bookworm", "20.10.24",
         "graph", "<b>invalid</b>"],
    ]  # fmt: skip


def test_a_hostile_name_is_shown_and_not_obeyed(page: _Page, record: Record) -> None:
    text = (record.folder / "report.html").read_text("utf-8")
    assert HOSTILE in set(record.lookups["image"])
    assert text.replace("\n", "").isprintable()
    assert len(page.root.all("script")) == 1
    assert not page.root.all("b")
    assert not [n for e in page.root.walk() for n in e.attributes if n.startswith("on")]


def test_it_needs_no_other_file_and_no_network(page: _Page) -> None:
    tags = {element.tag for element in page.root.walk()}
    assert not tags & {"link", "img", "iframe", "object", "embed", "base", "form", "svg"}
    for element in page.root.walk():
        assert not element.attributes.keys() & {"src", "srcset", "action", "style", "background"}
        assert not re.match(r"[a-z]+:|//", element.get("href"))
    (style,), (script,) = page.root.all("style"), page.root.all("script")
    assert not re.search(r"url\(|@import|//", style.text)
    assert not re.search(r"fetch|XMLHttp|import|https?:|innerHTML", script.text)


def test_the_policy_lets_only_its_own_script_and_style_run(page: _Page) -> None:
    (policy,) = [m.get("content") for m in page.root.all("meta") if m.get("http-equiv")]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    for tag in ("style", "script"):
        (element,) = page.root.all(tag)
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert directives[f"{tag}-src"] == f"'sha256-{digest}'"
    assert directives["default-src"] == "'none'"


def test_landmarks_headings_and_names(page: _Page) -> None:
    (document,) = page.root.all("html")
    assert document.get("lang") == "en"
    assert [len(page.root.all(tag)) for tag in ("title", "h1", "main", "header", "nav")] == [1] * 5
    levels = [int(e.tag[1]) for e in page.root.walk() if re.fullmatch(r"h[1-6]", e.tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    (body,) = page.root.all("body")
    first = next(body.walk())
    assert (first.tag, first.get("href")) == ("a", "#main")
    for element in page.root.walk():
        for name in ("aria-labelledby", "aria-controls", "data-of"):
            assert all(one in page.ids for one in element.get(name).split())
        if element.get("href").startswith("#"):
            assert element.get("href")[1:] in page.ids
        if element.tag in ("input", "select"):
            assert any(element in label.walk() for label in page.root.all("label"))
        if element.get("role") == "region":
            assert element.get("aria-labelledby")
            assert element.get("tabindex") == "0"


def test_tables_can_be_sorted_filtered_and_read_out(page: _Page) -> None:
    for table in page.root.all("table"):
        assert table.all("caption")[0].words
        assert all(cell.get("scope") in ("row", "col") for cell in table.all("th"))
    filters = [element for element in page.root.walk() if element.get("role") == "search"]
    assert [element.get("data-of") for element in filters] == [
        "table-differing", "table-engines", "table-notebooks", "table-lookups", "table-neither",
    ]  # fmt: skip
    for element in filters:
        table = page.ids[element.get("data-of")]
        rows = table.all("tbody")[0].all("tr")
        (status,) = [e for e in element.walk() if e.get("role") == "status"]
        assert status.words == f"{len(rows)} of {len(rows)} rows shown"
        headers = table.all("thead")[0].all("th")
        assert all([child.tag for child in header.walk()] == ["button"] for header in headers)
        options = {option.get("value") for option in element.all("option")}
        assert options == {"", *(row.get("data-status") for row in rows)}
        assert f"{element.get('data-of')}-more" in page.ids


def test_no_outcome_is_told_by_colour_alone(page: _Page) -> None:
    told = [e for e in page.root.walk() if "status" in e.get("class").split()]
    assert len(told) > 30
    for element in (e for e in told if e.tag == "span"):
        mark, word = element.words.split(" ")
        assert not mark.isalnum()
        assert re.fullmatch(r"[a-z-]+", word)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast(page: _Page, scheme: int) -> None:
    (style,) = page.root.all("style")
    blocks = re.findall(r":root \{(.*?)\}", style.text, re.DOTALL)
    assert len(blocks) == 2
    colours = dict(re.findall(r"--(\w+): (#\w{6});", blocks[scheme]))
    assert len(colours) == 11
    for ground in ("page", "stripe", "head"):
        for ink in ("ink", "dim", "link", "good", "bad", "warn"):
            # WCAG 2.2, 1.4.3 for text, 1.4.11 for the edge of a field.
            assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        assert _contrast(colours["control"], colours[ground]) >= 3


def test_a_run_of_nothing(tmp_path: Path) -> None:
    none = pd.DataFrame(columns=tables.LOOKUPS, dtype=str)
    record = Record(
        start="a", end="b", engines=(), results=(), lookups=none, reproduced=none,
        required=frozenset(), folder=tmp_path,
    )  # fmt: skip
    html.write(record, tmp_path / "report.html")
    page = _Page((tmp_path / "report.html").read_text("utf-8"))
    assert "No engine was asked for a name." in _of(page, "matrix").words
    assert "This run was not compared with the baseline." in _of(page, "baseline").words
    assert "None of what was asked failed." in _of(page, "failures").words
    assert "exit code 3" in page.root.all("title")[0].words
