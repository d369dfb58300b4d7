"""report.html: a run as people read it, in one file that needs no network."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

import kitref
from kitref.errors import printable
from kitref.report import junit
from kitref.stores import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import jinja2

    from kitref import runs
    from kitref.report.record import Change, Had, Record

_MEANINGS = {
    0: "all as expected",
    1: "a finding",
    3: "no engine, or one that was required, could be had",
    4: "a notebook ended in an error",
}

_MARKS = MARKS | {
    "passed": "✓", "failed": "✗", "error": "‼", "skipped": "○", "available": "✓",
    "same": "=", "changed": "≠", "gone": "∅", "new": "+",
    "pass": "✓", "fail": "✗", "not-claimed": "○", "allowed": "≈", "known": "○",
    "known-passes": "+", "time-out": "‼", "crash": "‼", "missing": "‼", "malformed": "‼",
    "torrent": "‼",
}  # fmt: skip
"""A mark for each status; as an outcome's, it always stands beside the word."""

_TONES = {
    "passed": "good", "failed": "bad", "error": "bad", "skipped": "warn", "available": "good",
    "same": "good", "changed": "bad", "gone": "bad", "new": "warn",
    "found": "good", "absent": "bad", "refused": "warn",
    "pass": "good", "fail": "bad", "known": "warn", "known-passes": "bad", "time-out": "bad",
    "crash": "bad", "missing": "bad", "malformed": "bad", "torrent": "bad",
}  # fmt: skip

_LABELS = {"tagged_as": "tagged as", "image_id": "image ID", "asked": "asked for"}
_FIRST = ("image", "tagged_as", "rule", "asked", "outcome")
_NAMES = frozenset({"image", "tagged_as", "asked"})


class Column(NamedTuple):
    """A column: its label, what stands in it, and how wide it is."""

    label: str
    kind: str = "text"

    @property
    def width(self) -> str:
        """How wide it is, as the style sheet calls it."""
        return "name" if self.kind == "link" else self.kind


_CHANGE = (
    Column("image", "name"),
    Column("status", "status"),
    Column("old value", "name"),
    Column("new value", "name"),
    Column("engine", "title"),
    Column("reason", "prose"),
    Column("reproduce", "command"),
    Column("rule"),
    Column("tagged as", "name"),
    Column("behaviour"),
)
"""The columns of what `_change` returns."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that can be sorted, and filtered by text and by the status of a row."""

    id: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]

    @property
    def status(self) -> int:
        """Which column has the status of a row."""
        return [column.kind for column in self.columns].index("status")

    @property
    def by(self) -> str:
        """What the field is called that filters by it."""
        return self.columns[self.status].label.capitalize()

    @property
    def statuses(self) -> list[tuple[object, int]]:
        """Every status with how many rows have it."""
        return Counter(row[self.status] for row in self.rows).most_common()


def write(record: Record, path: Path) -> None:
    """Write a record as a page.

    Args:
        record: The record.
        path: The file; links lead from its folder to the executed notebooks, and the record's
            folder is taken to be this one.
    """
    environment = _environment()
    page = environment.get_template("report.html.j2").render(
        _summary(record),
        style_hash=_hash(environment, "report.css"),
        script_hash=_hash(environment, "report.js"),
        marks=_MARKS,
        tones=_TONES,
        failures=[_failure(record, r) for r in record.results if r.status in ("failed", "error")],
        differing=_differing(record),
        neither=_neither(record),
        engines=_engines(record),
        notebooks=_notebooks(record),
        lookups=_lookups(record),
        matrices=_matrices(record),
    )
    path.write_text(page, encoding="utf-8", newline="\n")


def write_page(
    path: Path, *, title: str, sentence: str, good: bool, tables: Sequence[Table]
) -> None:
    """Write a page of tables, in the same dress.

    Args:
        path: The file.
        title: The question that the page answers.
        sentence: The answer.
        good: Whether all is as it should be.
        tables: The tables.
    """
    environment = _environment()
    page = environment.get_template("page.html.j2").render(
        title=title,
        sentence=sentence,
        verdict="passed" if good else "failed",
        style_hash=_hash(environment, "report.css"),
        script_hash=_hash(environment, "report.js"),
        marks=_MARKS,
        tones=_TONES,
        tables=tables,
    )
    path.write_text(page, encoding="utf-8", newline="\n")


def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 - for the page alone

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kitref", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        # Whatever is put into the page is clean; a template's own text and macros are not text.
        finalize=lambda value: junit.clean(value) if type(value) is str else value,
    )
    environment.filters["unquote"] = unquote
    return environment


def _hash(environment: jinja2.Environment, name: str) -> str:
    """Return what the content security policy calls the page's own script or style."""
    text = f"\n{environment.get_template(name).render()}"
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _summary(record: Record) -> dict[str, Any]:
    """Return what the page says of the whole run."""
    missing = {had.title for had in record.engines if had.engine is None}
    code = record.exit_code
    results = _count((r.status for r in record.results), ("passed", "failed", "error", "skipped"))
    changes = _count(
        (change.status for change in record.changes),
        ("same", "changed", "gone", "new", "not-asked"),
    )
    return {
        "start": record.start,
        "end": record.end,
        "exit_code": code,
        "meaning": _MEANINGS[code],
        "verdict": {0: "passed", 3: "skipped", 4: "error"}.get(code, "failed"),
        "sentence": _sentence(results, changes, len(missing)),
        "version": kitref.__version__,
        "missing": record.lacking,
        "skipped": bool(missing or results["skipped"] or changes["not-asked"]),
        "results_counts": results,
        "changes_counts": changes,
        "lookups_counts": _count(record.lookups["outcome"], tuple(MARKS)),
        "compared": bool(record.changes),
    }


def _count(words: Iterable[str], order: tuple[str, ...]) -> dict[str, int]:
    counts = Counter(words)
    return {word: counts[word] for word in order}


def _sentence(results: dict[str, int], changes: dict[str, int], missing: int) -> str:
    said = ", ".join(f"{count} {status}" for status, count in results.items() if count)
    said = f"Notebook runs: {said or 'none'}."
    if any(changes.values()):
        compared = ", ".join(f"{count} {status}" for status, count in changes.items() if count)
        said += f" Answers against the baseline: {compared}."
    return f"{said} Engines skipped: {missing}." if missing else said


def _failure(record: Record, result: runs.Result) -> dict[str, str]:
    return {
        "status": result.status,
        "title": result.job.title,
        "reason": result.reason or "no reason was given",
        "rerun": junit.rerun(record, result),
        "papermill": junit.papermill(result.job),
        "executed": _executed(record, result),
    }


def _differing(record: Record) -> Table:
    return Table(
        id="table-differing",
        caption="Each answer that is changed, gone or new, and what reproduces it",
        columns=_CHANGE,
        rows=[_change(record, change, change.why) for change in record.changes if change.differs],
    )


def _neither(record: Record) -> Table:
    return Table(
        id="table-neither",
        caption="Answers that were not asked for, and new ones of a user's own engine",
        columns=_CHANGE,
        rows=[
            _change(record, change, change.why or junit.not_asked(record, change))
            for change in record.changes
            if change.status != "same" and not change.differs
        ],
    )


def _change(record: Record, change: Change, why: str) -> list[str]:
    return [
        printable(change.image),
        change.status,
        change.was or "none",
        change.now or "none",
        change.engine or "none",
        why,
        junit.rerun(record, change),
        change.rule,
        "the same" if change.tagged_as == change.image else printable(change.tagged_as),
        change.behaviour,
    ]


def _engines(record: Record) -> Table:
    return Table(
        id="table-engines",
        caption="The engines of the run, those that were skipped with the reason",
        columns=[
            Column("engine", "title"),
            Column("status", "status"),
            *map(Column, ("kind", "version", "API", "store")),
            Column("source", "title"),
            Column("required"),
            Column("reason", "prose"),
        ],
        rows=[
            _engine(had, "yes" if had.title in record.required else "no") for had in record.engines
        ],
    )


def _engine(had: Had, required: str) -> list[str]:
    if (engine := had.engine) is None:
        return [had.title, "skipped", "", "", "", had.store, "", required, had.reason]
    return [
        had.title,
        "available",
        engine.kind,
        engine.version,
        f"{engine.min_api_version} to {engine.api_version}",
        engine.store,
        engine.source,
        required,
        had.note,
    ]


def _notebooks(record: Record) -> Table:
    return Table(
        id="table-notebooks",
        caption="Each run of a notebook, with the executed notebook",
        columns=[
            Column("run", "title"),
            Column("status", "status"),
            Column("seconds", "number"),
            Column("executed notebook", "link"),
            Column("reason", "prose"),
            Column("reproduce", "command"),
        ],
        rows=[
            [
                result.job.title,
                result.status,
                f"{result.seconds:.1f}",
                _executed(record, result),
                result.reason,
                junit.papermill(result.job),
            ]
            for result in record.results
        ],
    )


def _executed(record: Record, result: runs.Result) -> str:
    """Return the address of an executed notebook, empty where there is none."""
    output = result.job.output
    if not output.exists():
        return ""
    return quote(os.fsencode(output.relative_to(record.folder).as_posix()))


def _lookups(record: Record) -> Table:
    """Return every look-up, the columns in which there is something."""
    lookups = record.lookups.fillna("")
    filled = [str(name) for name in lookups if lookups[name].astype(bool).any()]
    names = [name for name in _FIRST if name in filled]
    names += [name for name in filled if name not in names]
    columns = [map(printable if name in _NAMES else str, lookups[name]) for name in names]
    return Table(
        id="table-lookups",
        caption="Every look-up: what was asked for, and what the engine said",
        columns=[Column(_LABELS.get(name, name.replace("_", " ")), _kind(name)) for name in names],
        rows=list(zip(*columns, strict=True)),
    )


def _kind(name: str) -> str:
    if name == "outcome":
        return "status"
    return "name" if name in _NAMES else "text"


def _matrices(record: Record) -> list[dict[str, Any]]:
    """Return a matrix an image of the reproduction, and one that counts all look-ups."""
    images: dict[str, list[dict[Any, Any]]] = {}
    for row in record.reproduced.to_dict("records"):
        images.setdefault(row["image"], []).append(row)
    matrices = [_matrix(f"Is {printable(image)} found?", rows) for image, rows in images.items()]
    if len(record.lookups) > len(record.reproduced):
        caption = f"All {len(record.lookups)} look-ups, by engine and rule"
        matrices.append(_matrix(caption, record.lookups.to_dict("records")))
    return matrices


def _matrix(caption: str, lookups: list[dict[Any, Any]]) -> dict[str, Any]:
    """Return what each engine says under each rule, the outcomes counted."""
    rules = sorted({row["rule"] for row in lookups}, key=lambda rule: (rule == "fixed", rule))
    counts: dict[tuple[str, str], dict[str, Counter[str]]] = {}
    for row in lookups:
        engine = f"{row['engine']}/{row['store']}", row["version"]
        said = counts.setdefault(engine, {rule: Counter() for rule in rules})
        said[row["rule"]][row["outcome"]] += 1
    return {
        "caption": caption,
        "rules": rules,
        "rows": [
            (*engine, [_in_order(said) for said in of.values()]) for engine, of in counts.items()
        ],
    }


def _in_order(said: Counter[str]) -> list[tuple[str, int]]:
    return [(outcome, said[outcome]) for outcome in MARKS if said[outcome]]
